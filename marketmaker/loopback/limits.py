"""Requests counted in fixed windows, as venues with usage headers do, and bans for those who go on after a warning; and keys compared."""

from __future__ import annotations

import hmac


class Window:
    """At most `limit` in each `length_ms`; windows begin at multiples of their length."""

    __slots__ = ("_began_ms", "length_ms", "limit", "used")

    def __init__(self, limit: int, length_ms: int) -> None:
        self.limit = limit
        self.length_ms = length_ms
        self.used = 0
        self._began_ms = 0

    def look(self, now_ms: int) -> int:
        """How much is used in the present window."""
        began_ms = now_ms - now_ms % self.length_ms
        if began_ms != self._began_ms:
            self._began_ms = began_ms
            self.used = 0
        return self.used

    def holds(self, weight: int, now_ms: int) -> bool:
        return self.look(now_ms) + weight <= self.limit

    def take(self, weight: int, now_ms: int) -> None:
        self.look(now_ms)
        self.used += weight

    def left_ms(self, now_ms: int) -> int:
        """Until the next window."""
        return self.length_ms - now_ms % self.length_ms


class Ban:
    """Who makes `patience` more requests in the window that has run out is banned, each time for longer."""

    __slots__ = ("_ignored", "_length_ms", "_patience", "until_ms")

    def __init__(self, patience: int, length_ms: int) -> None:
        self._patience = patience
        self._length_ms = length_ms
        self._ignored = 0
        self.until_ms = 0

    def warned(self, now_ms: int) -> bool:
        """One more request over the limit; whether that was one too many."""
        self._ignored += 1
        if self._ignored <= self._patience:
            return False
        self.begin(now_ms, self._length_ms)
        self._length_ms *= 2
        return True

    def begin(self, now_ms: int, length_ms: int) -> None:
        self.until_ms = now_ms + length_ms
        self._ignored = 0

    def heeded(self) -> None:
        self._ignored = 0


def same(given: str, right: str) -> bool:
    """Whether a key or a signature is the right one, in any alphabet, in a time that tells nothing."""
    return hmac.compare_digest(given.encode(errors="replace"), right.encode())
