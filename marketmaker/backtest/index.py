"""Where a price next leaves a band: an index over the lowest and highest price of every event.

    level 0   the events themselves
    level 1   lowest and highest of each 64 events
    level 2   lowest and highest of each 4,096 events

A search looks at the rest of its block, then at the block's neighbours, then at whole blocks of blocks, and comes down
again where one of them holds a hit: its cost grows with the logarithm of the distance, not with the distance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Prices = NDArray[np.signedinteger[Any]]

FAN_OUT = 64
SCANNED_ONE_BY_ONE = 24
"""So many events are compared in a plain loop first: cheaper than one call into numpy."""
STRIDE = 1_024
"""Blocks of blocks looked at in one call."""


class PriceIndex:
    """Over arrays `low` and `high`, which may be the same one; `low[i]` <= `high[i]`, not checked."""

    def __init__(self, low: Prices, high: Prices, blocks: tuple[Prices, ...] | None = None) -> None:
        """`blocks`: what `build_blocks` made of the same arrays, when that is known already."""
        self.low = low
        self.high = high
        self.size = len(low)
        self.blocks = build_blocks(low, high) if blocks is None else blocks
        self._low1, self._high1, self._low2, self._high2 = self.blocks
        self._one_price = low is high
        self._low_view = memoryview(low)  # type: ignore[arg-type]
        self._high_view = memoryview(high)  # type: ignore[arg-type]

    def next_outside(self, start: int, low: int, high: int) -> int:
        """The first event at or after `start` that reaches down to `low` or up to `high`; `size` when none does."""
        near = start + SCANNED_ONE_BY_ONE
        if self._one_price:
            for place, price in enumerate(self._low_view[start:near], start):
                if not low < price < high:
                    return place
        else:
            lows, highs = self._low_view[start:near], self._high_view[start:near]
            for place, (lowest, highest) in enumerate(zip(lows, highs, strict=True), start):
                if lowest <= low or highest >= high:
                    return place
        if near >= self.size:
            return self.size
        return self._far(near, low, high)

    def _far(self, start: int, low: int, high: int) -> int:
        block = -(-start // FAN_OUT)
        found = _first(self.low, self.high, start, block * FAN_OUT, low, high)
        if found >= 0:
            return found
        group = -(-block // FAN_OUT)
        found = _first(self._low1, self._high1, block, group * FAN_OUT, low, high)
        if found < 0:
            found = self._in_groups(group, low, high)
            if found < 0:
                return self.size
        return _first(self.low, self.high, found * FAN_OUT, (found + 1) * FAN_OUT, low, high)

    def _in_groups(self, group: int, low: int, high: int) -> int:
        """The first block from `group` on that holds a hit, -1 when none does."""
        while group < len(self._low2):
            found = _first(self._low2, self._high2, group, group + STRIDE, low, high)
            if found >= 0:
                return _first(
                    self._low1, self._high1, found * FAN_OUT, (found + 1) * FAN_OUT, low, high
                )
            group += STRIDE
        return -1


def _first(  # noqa: PLR0917  (called often; keywords would cost more than they say)
    lows: Prices, highs: Prices, start: int, stop: int, low: int, high: int
) -> int:
    """The first place in [start, stop) with a hit, -1 when there is none."""
    hits = (lows[start:stop] <= low) | (highs[start:stop] >= high)
    if not len(hits):
        return -1
    place = int(hits.argmax())
    return start + place if hits[place] else -1


def build_blocks(low: Prices, high: Prices) -> tuple[Prices, ...]:
    """Lowest and highest of each 64 events, then of each 64 of those."""
    low1, high1 = _fold(low, np.minimum), _fold(high, np.maximum)
    return low1, high1, _fold(low1, np.minimum), _fold(high1, np.maximum)


def _fold(values: Prices, pick: np.ufunc) -> Prices:
    if not len(values):
        return values
    whole = len(values) // FAN_OUT * FAN_OUT
    folded = pick.reduce(values[:whole].reshape(-1, FAN_OUT), axis=1)
    if whole == len(values):
        return np.asarray(folded)
    return np.append(folded, pick.reduce(values[whole:])).astype(values.dtype)
