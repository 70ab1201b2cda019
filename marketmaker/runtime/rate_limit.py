"""A token bucket for order messages: how many may leave now, and how long until the next may.

Pure: time comes in as an argument. Levels are integers in 10**-12 tokens, so that any rate in thousandths of a token
per second adds a whole number per nanosecond and nothing drifts. A finer rate is rounded down: never more than allowed.
"""

from __future__ import annotations

from typing import Final

from marketmaker.adapters.protocol import Capabilities
from marketmaker.model.settings import ExecutionSettings

TOKEN: Final = 10**12
FLOAT_SLACK: Final = 1e-6


class TokenBucket:
    """One account's order budget, shared by all its symbols.

    `rate_per_s` > 0 tokens come back each second up to `burst` >= 1. Whoever is not cancelling may not spend the last
    `reserve` (0 to 1) of the burst; at least one token is always left to them.
    """

    def __init__(self, rate_per_s: float, burst: int, reserve: float) -> None:
        self._set(rate_per_s, burst, reserve)
        self._level = self._full
        self._counted_ns: int | None = None
        self._paused_until_ns = 0

    def retune(self, *, rate_per_s: float, burst: int, reserve: float, now_ns: int) -> None:
        """Another budget from now on. What is left is kept, up to the new burst; a pause goes on."""
        level = self._refill(now_ns)
        self._set(rate_per_s, burst, reserve)
        self._level = min(level, self._full)

    def _set(self, rate_per_s: float, burst: int, reserve: float) -> None:
        gain_per_ns = int(rate_per_s * 1000 + FLOAT_SLACK)
        if gain_per_ns < 1 or burst < 1 or not 0 <= reserve <= 1:
            raise ValueError(f"impossible budget: {rate_per_s}/s, burst {burst}, reserve {reserve}")
        self.burst = burst
        self._gain_per_ns = gain_per_ns
        self._reserved = min(int(burst * reserve), burst - 1) * TOKEN
        self._full = burst * TOKEN

    def available(self, now_ns: int, *, cancel: bool) -> int:
        """Whole tokens that may be taken now, 0 while paused."""
        if now_ns < self._paused_until_ns:
            return 0
        return max(0, self._refill(now_ns) - self._floor(cancel)) // TOKEN

    def take(self, n: int, now_ns: int, *, cancel: bool) -> bool:
        """All `n` or none."""
        if n > self.available(now_ns, cancel=cancel):
            return False
        self._level -= n * TOKEN
        return True

    def wait_ns(self, n: int, now_ns: int, *, cancel: bool) -> int:
        """How long until `take(n)` succeeds if nobody else takes; 0 now. Raises ValueError if it never will."""
        need = n * TOKEN + self._floor(cancel)
        if need > self._full:
            raise ValueError(f"{n} tokens never fit a burst of {self.burst}")
        missing = max(0, need - self._refill(now_ns))
        return max(-(-missing // self._gain_per_ns), self.paused_ns(now_ns))

    def pause_until(self, ts_ns: int) -> None:
        """Nothing leaves before then, cancels neither. A shorter pause never ends a longer one."""
        self._paused_until_ns = max(self._paused_until_ns, ts_ns)

    def paused_ns(self, now_ns: int) -> int:
        return max(0, self._paused_until_ns - now_ns)

    def correct(self, used: int, limit: int, now_ns: int) -> None:
        """The venue counts `used` of `limit` messages: never believe in more than it leaves. Only lowers."""
        self._level = min(self._refill(now_ns), max(0, limit - used) * TOKEN)

    def _floor(self, cancel: bool) -> int:
        return 0 if cancel else self._reserved

    def _refill(self, now_ns: int) -> int:
        # A clock set back counts from its new reading: nothing gained, nothing owed.
        if self._counted_ns is not None and now_ns > self._counted_ns:
            gained = (now_ns - self._counted_ns) * self._gain_per_ns
            self._level = min(self._full, self._level + gained)
        self._counted_ns = now_ns
        return self._level


def account_bucket(settings: ExecutionSettings, capabilities: Capabilities) -> TokenBucket:
    """The budget the operator chose, never above what the venue allows."""
    return TokenBucket(
        rate_per_s=min(settings.orders_per_s, capabilities.orders_per_s),
        burst=min(settings.burst, capabilities.order_burst),
        reserve=settings.cancel_reserve,
    )
