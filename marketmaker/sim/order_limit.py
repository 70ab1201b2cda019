"""How many order messages the embedded exchange takes."""

from __future__ import annotations

NS_PER_S = 1_000_000_000


class OrderLimit:
    """A bucket of `burst` order messages that fills at `per_s`."""

    def __init__(self, *, per_s: float, burst: int) -> None:
        self._step_ns = round(NS_PER_S / per_s)
        self._burst = burst
        self._full_ns = 0

    def wait_ns(self, messages: int, now_ns: int) -> int:
        """0: taken. Otherwise nothing was, and this long from now the same request would pass."""
        needed_ns = min(messages, self._burst) * self._step_ns
        full_ns = max(self._full_ns, now_ns) + needed_ns
        over_ns = full_ns - now_ns - self._burst * self._step_ns
        if over_ns > 0:
            return over_ns
        self._full_ns = full_ns
        return 0
