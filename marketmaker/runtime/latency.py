"""Counts how long it takes from hearing a price to handing an order to the network.

Bounds are a quarter of an octave apart from 10 µs to 1 s, so a quantile read from them is at most 19 % too high.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from marketmaker.model.latency import Latency

NS_PER_S: Final = 1_000_000_000
BOUNDS_NS: Final = tuple(round(10_000 * 2 ** (step / 4)) for step in range(68))
BOUNDS_S: Final = tuple(bound / NS_PER_S for bound in BOUNDS_NS)


class LatencyMeter:
    """One histogram for all that is noted in it."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_NS) + 1)
        self._sum_ns = 0

    def note(self, elapsed_ns: int) -> None:
        self._counts[bisect_left(BOUNDS_NS, elapsed_ns)] += 1
        self._sum_ns += elapsed_ns

    def latency_snapshot(self) -> Latency:
        return Latency(bounds_s=BOUNDS_S, counts=tuple(self._counts), sum_s=self._sum_ns / NS_PER_S)
