"""How long to wait before trying again: twice as long each time, up to a most, never quite the same."""

from __future__ import annotations

import random


class Backoff:
    """The n-th wait lies between half of and the whole of min(first_s * 2**n, most_s), evenly spread."""

    def __init__(self, rng: random.Random, *, first_s: float = 0.5, most_s: float = 30.0) -> None:
        if not 0 < first_s <= most_s:
            raise ValueError(f"impossible back-off: first {first_s} s, most {most_s} s")
        self._rng = rng
        self._first_s = first_s
        self._most_s = most_s
        self._whole_s = first_s

    def next_s(self) -> float:
        whole_s = self._whole_s
        self._whole_s = min(2 * whole_s, self._most_s)
        return whole_s * (1 + self._rng.random()) / 2

    def reset(self) -> None:
        """Things went well: the next wait is a first one."""
        self._whole_s = self._first_s
