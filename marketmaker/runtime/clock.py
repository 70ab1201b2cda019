"""Where "now" comes from. Everything that waits is given one of these; nothing asks the machine by itself."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now_ns(self) -> int:
        """Unix time in nanoseconds; never goes back."""
        ...


class RealClock:
    """The time of day when it was made, and from then on the steady clock: setting the machine's clock while we run
    neither refills a rate budget nor ends a wait. How far that is from a venue's clock the adapter measures."""

    def __init__(self) -> None:
        self._start_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        return self._start_ns + time.monotonic_ns()
