"""The venue's own switch that cancels our orders when it has not heard from us for a while, kept from going off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from marketmaker.adapters.tasks import Tasks
from marketmaker.errors import VenueError


class DeadMansSwitch:
    """`arm(symbol, after_s)` sets the switch, or with 0 switches it off. `after_s` 0: the switch is left alone.

    A venue whose switch is the whole account's takes `arm` as it comes and ignores the symbol: it is armed as often as
    symbols need it, and switched off only with the last (`account_wide`).
    """

    def __init__(
        self,
        arm: Callable[[str, float], Awaitable[object]],
        *,
        after_s: float,
        tasks: Tasks,
        account_wide: bool = False,
    ) -> None:
        self.armed: dict[str, None] = {}
        self._arm = arm
        self._after_s = after_s
        self._tasks = tasks
        self._account_wide = account_wide
        self._closing = False

    async def keep_armed(self, symbol: str) -> None:
        """Until cancelled; three chances to re-arm before the switch goes off."""
        if self._after_s <= 0:
            await asyncio.Event().wait()
        try:
            while True:
                self.armed[symbol] = None
                with suppress(VenueError):
                    await self._arm(symbol, self._after_s)
                await asyncio.sleep(self._after_s / 4)
        finally:
            if symbol in self.armed and not self._closing:
                self._tasks.own(self._disarm(symbol))

    async def close(self, within_s: float) -> None:
        """Switches it off everywhere."""
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await asyncio.gather(*(self._disarm(symbol) for symbol in list(self.armed)))

    async def _disarm(self, symbol: str) -> None:
        if self._account_wide and len(self.armed) > 1:
            self.armed.pop(symbol, None)
            return
        with suppress(VenueError):
            await self._arm(symbol, 0.0)
            self.armed.pop(symbol, None)
