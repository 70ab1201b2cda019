"""The venue's clock, as far as it can be known from here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from marketmaker.adapters.parsing import NS_PER_MS

SAMPLES = 5


class Clock(Protocol):
    def now_ns(self) -> int: ...


class VenueClock:
    """`offset_ns` = venue - ours; `delay_ns` is how long the reading that it comes from took, there and back."""

    def __init__(self, clock: Clock) -> None:
        self.local_ns = clock.now_ns
        self.offset_ns = 0
        self.delay_ns = 0

    def now_ns(self) -> int:
        return self.local_ns() + self.offset_ns

    def now_ms(self) -> int:
        return (self.local_ns() + self.offset_ns) // NS_PER_MS

    async def measure(
        self, ask: Callable[[], Awaitable[int]], *, resolution_ns: int = NS_PER_MS
    ) -> None:
        """By the quickest of several readings: it leaves the least room for error.

        `ask` answers the venue's time in Unix ns, cut down to `resolution_ns`.
        """
        best: tuple[int, int] | None = None
        for _ in range(SAMPLES):
            before_ns = self.local_ns()
            venue_ns = await ask() + resolution_ns // 2
            after_ns = self.local_ns()
            sample = (after_ns - before_ns, venue_ns - (before_ns + after_ns) // 2)
            best = min(best or sample, sample)
        assert best is not None
        self.delay_ns, self.offset_ns = best
