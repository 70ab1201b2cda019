"""`marketmaker run` on a paper exchange whose price stream, after three seconds, stays connected and says nothing more.

python -m tests.support.silent_daemon CONFIG [options of run]
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from marketmaker import launch
from marketmaker.__main__ import main
from marketmaker.sim.venue import PaperExchange

SILENT_AFTER_S = 3.0


class Muffled:
    """A price listener that hears nothing once `deaf` is set."""

    deaf = False

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def on_price(self, *args: Any) -> None:
        if not Muffled.deaf:
            self.inner.on_price(*args)

    def on_confirming_price(self, *args: Any) -> None:
        if not Muffled.deaf:
            self.inner.on_confirming_price(*args)

    def stream_up(self) -> None:
        self.inner.stream_up()

    def stream_down(self, reason: str) -> None:
        self.inner.stream_down(reason)


class SilentExchange(PaperExchange):
    async def stream_prices(self, instrument: Any, listener: Any) -> None:
        asyncio.get_running_loop().call_later(SILENT_AFTER_S, setattr, Muffled, "deaf", True)
        await super().stream_prices(instrument, Muffled(listener))


if __name__ == "__main__":
    launch.PaperExchange = SilentExchange  # type: ignore[misc]
    sys.argv[1:1] = ["run"]
    sys.exit(main())
