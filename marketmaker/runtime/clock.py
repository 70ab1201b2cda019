"""Where "now" comes from. Everything that waits is given one of these; nothing asks the machine by itself."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now_ns(self) -> int:
        """Unix time in nanoseconds. May step backwards when the machine's clock is set."""
        ...


class RealClock:
    def now_ns(self) -> int:
        return time.time_ns()
