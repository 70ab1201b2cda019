"""`marketmaker run` on a paper exchange that, after a second, answers no placement and tells nothing of any, nor of trades.

    python -m tests.support.hanging_daemon CONFIG [options of run]

Prints HANGING on standard error when the first placement hangs.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from marketmaker import launch
from marketmaker.__main__ import main
from marketmaker.errors import OutcomeUnknown
from marketmaker.sim.venue import PaperExchange

HANG_AFTER_S = 1.0
HANGING = "HANGING"


class HangingExchange(PaperExchange):
    async def connect(self) -> None:
        await super().connect()
        asyncio.get_running_loop().call_later(HANG_AFTER_S, self._hang)

    def _hang(self) -> None:
        self.hang_placements = True

    async def fetch_fills(self, *args: Any) -> Any:
        """Else a hung order that was filled meanwhile would be settled by its trades."""
        if self.hang_placements:
            raise OutcomeUnknown("says nothing")
        return await super().fetch_fills(*args)

    def place(self, *args: Any) -> Any:
        if self.hang_placements:
            print(HANGING, file=sys.stderr, flush=True)
            asyncio.get_running_loop().call_soon(self.drop_order_stream)
        return super().place(*args)


if __name__ == "__main__":
    launch.PaperExchange = HangingExchange  # type: ignore[misc]
    sys.argv[1:1] = ["run"]
    sys.exit(main())
