"""Where a price next leaves a band: an index over the lowest and highest price of every event.

    level 0   the events themselves
    level 1   lowest and highest of each 8 events
    level 2   lowest and highest of each 64 events, and so on up to 8 blocks or fewer

A search looks at the rest of its block, then at the block's neighbours, then at whole blocks of blocks, and comes down
again where one of them holds a hit: its cost grows with the logarithm of the distance, not with the distance. Most
searches end within a few hundred events, where looking at a few dozen numbers one by one is cheaper than one call into
numpy; so the events are copied into arrays of Python's own and the blocks are lists of plain integers.
"""

from __future__ import annotations

from array import array
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Prices = NDArray[np.signedinteger[Any]]

FAN_BITS: Final = 3
FAN_OUT: Final = 1 << FAN_BITS


class PriceIndex:
    """Over arrays `low` and `high`, which may be the same one; `low[i]` <= `high[i]`, not checked."""

    def __init__(self, low: Prices, high: Prices, blocks: tuple[Prices, ...] | None = None) -> None:
        """`blocks`: what `build_blocks` made of the same arrays, when that is known already."""
        self.low = low
        self.high = high
        self.size = len(low)
        self.blocks = build_blocks(low, high) if blocks is None else blocks
        lists: list[list[int]] = [block.tolist() for block in self.blocks]
        self._lows = lists[::2]
        self._highs = lists[1::2]
        self._one_price = low is high
        self._low_events = events_of(low)
        self._high_events = self._low_events if self._one_price else events_of(high)

    def next_outside(self, start: int, low: int, high: int) -> int:
        """The first event at or after `start` that reaches down to `low` or up to `high`; `size` when none does."""
        size = self.size
        block = start >> FAN_BITS
        if start & (FAN_OUT - 1):
            if self._lows[0][block] <= low or self._highs[0][block] >= high:
                place = self._first_event(start, min((block + 1) << FAN_BITS, size), low, high)
                if place >= 0:
                    return place
            block += 1
        level = 0
        while level < len(self._lows):
            lows, highs = self._lows[level], self._highs[level]
            last = level + 1 == len(self._lows)
            above = (block + FAN_OUT - 1) >> FAN_BITS
            end = len(lows) if last else min(above << FAN_BITS, len(lows))
            while block < end:
                if lows[block] <= low or highs[block] >= high:
                    return self._come_down(level, block, low, high)
                block += 1
            block = above
            level += 1
        return size

    def _come_down(self, level: int, block: int, low: int, high: int) -> int:
        """The first event of a block that holds a hit."""
        while level > 0:
            level -= 1
            lows, highs = self._lows[level], self._highs[level]
            block <<= FAN_BITS
            while not (lows[block] <= low or highs[block] >= high):
                block += 1
        first = block << FAN_BITS
        return self._first_event(first, min(first + FAN_OUT, self.size), low, high)

    def _first_event(self, start: int, stop: int, low: int, high: int) -> int:
        """The first event in [start, stop) with a hit, -1 when there is none."""
        lows, highs = self._low_events, self._high_events
        one_price = self._one_price
        for place in range(start, stop):
            lowest = lows[place]
            if lowest <= low or (lowest if one_price else highs[place]) >= high:
                return place
        return -1


def events_of(prices: Prices) -> array[int]:
    """The same numbers where one of them costs least to look at."""
    events = array("i" if prices.dtype.itemsize == array("i").itemsize else "q")
    events.frombytes(np.ascontiguousarray(prices).view(np.uint8))  # type: ignore[arg-type]
    return events


def build_blocks(low: Prices, high: Prices) -> tuple[Prices, ...]:
    """Lowest and highest of each 8 events, then of each 8 of those, and so on."""
    blocks: list[Prices] = []
    while len(low) > FAN_OUT or not blocks:
        low, high = _fold(low, np.minimum), _fold(high, np.maximum)
        blocks += (low, high)
    return tuple(blocks)


def _fold(values: Prices, pick: np.ufunc) -> Prices:
    if not len(values):
        return values
    whole = len(values) // FAN_OUT * FAN_OUT
    columns = values[:whole].reshape(-1, FAN_OUT).T
    folded: Prices = columns[0].copy()
    for column in columns[1:]:
        pick(folded, column, out=folded)
    if whole == len(values):
        return folded
    rest = np.array([pick.reduce(values[whole:])], values.dtype)
    return np.asarray(np.concatenate([folded, rest]), values.dtype)
