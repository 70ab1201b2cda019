"""Where a price next leaves a band: an index over the lowest and highest price of every event.

    level 0   the events themselves
    level 1   lowest and highest of each 16 events
    level 2   lowest and highest of each 256 events, and so on up to 16 blocks or fewer

A search looks at the rest of its block, then at the block's neighbours, then at whole blocks of blocks, and comes down
again where one of them holds a hit: its cost grows with the logarithm of the distance, not with the distance. Most
searches end within a few hundred events, where looking at a few dozen numbers one by one is cheaper than one call into
numpy. So the blocks are lists of plain integers, and of every event one byte is kept: how far its lowest lies above its
block's lowest, and its highest below its block's highest. A byte is what compiled code reads fastest, and 255 says that
the event itself has to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mypy_extensions import i64
"""An int of 64 bits once compiled; to Python the word means nothing."""

Prices = NDArray[np.signedinteger[Any]]

FAN_BITS: Final = 4
FAN_OUT: Final = 1 << FAN_BITS
FAR: Final = 255


class PriceIndex:
    """Over arrays `low` and `high`, which may be the same one; `low[i]` <= `high[i]`, not checked."""

    def __init__(self, low: Prices, high: Prices, blocks: tuple[Prices, ...] | None = None) -> None:
        """`blocks`: what `build_blocks` made of the same arrays, when that is known already."""
        self.low = low
        self.high = high
        self.size = len(low)
        self.blocks = build_blocks(low, high) if blocks is None else blocks
        self._above, self._below = self.blocks[0].tobytes(), self.blocks[1].tobytes()
        lists: list[list[int]] = [block.tolist() for block in self.blocks[2:]]
        self._lows = lists[::2]
        self._highs = lists[1::2]
        self._low_events = memoryview(low)  # type: ignore[arg-type]
        self._high_events = memoryview(high)  # type: ignore[arg-type]

    def next_outside(self, start: i64, low: i64, high: i64) -> i64:
        """The first event at or after `start` that reaches down to `low` or up to `high`; `size` when none does."""
        block = start >> FAN_BITS
        if start & (FAN_OUT - 1):
            place = self._first_event(start, block, low, high)
            if place >= 0:
                return place
            block += 1
        level: i64 = 0
        levels: i64 = len(self._lows)
        while level < levels:
            lows, highs = self._lows[level], self._highs[level]
            above = (block + FAN_OUT - 1) >> FAN_BITS
            end: i64 = len(lows)
            if level + 1 < levels and above << FAN_BITS < end:
                end = above << FAN_BITS
            while block < end:
                if lows[block] <= low or highs[block] >= high:
                    return self._come_down(level, block, low, high)
                block += 1
            block = above
            level += 1
        return self.size

    def _come_down(self, level: i64, block: i64, low: i64, high: i64) -> i64:
        """The first event of a block that holds a hit."""
        while level > 0:
            level -= 1
            lows, highs = self._lows[level], self._highs[level]
            block <<= FAN_BITS
            while not (lows[block] <= low or highs[block] >= high):
                block += 1
        return self._first_event(block << FAN_BITS, block, low, high)

    def _first_event(self, start: i64, block: i64, low: i64, high: i64) -> i64:
        """The first event at or after `start` in its block with a hit, -1 when there is none."""
        room_low: i64 = low - self._lows[0][block]
        room_high: i64 = self._highs[0][block] - high
        if room_low < 0 and room_high < 0:
            return -1
        above, below = self._above, self._below
        end = (block + 1) << FAN_BITS
        end = min(end, self.size)
        for place in range(start, end):
            rise: i64 = above[place]
            fall: i64 = below[place]
            if (rise <= room_low and (rise < FAR or self._low_events[place] <= low)) or (
                fall <= room_high and (fall < FAR or self._high_events[place] >= high)
            ):
                return place
        return -1


def build_blocks(low: Prices, high: Prices) -> tuple[NDArray[Any], ...]:
    """A byte for each event's lowest, then for its highest; lowest and highest of each 16 events, then of each 16 of
    those, and so on."""
    blocks: list[Prices] = []
    lows, highs = low, high
    while len(lows) > FAN_OUT or not blocks:
        lows, highs = _fold(lows, np.minimum), _fold(highs, np.maximum)
        blocks += (lows, highs)
    return (
        steps_from(blocks[0], low, np.subtract),
        steps_from(blocks[1], high, lambda event, bound: bound - event),
        *blocks,
    )


def steps_from(bounds: Prices, events: Prices, apart: Callable[..., Prices]) -> NDArray[np.uint8]:
    """How far each event lies from the bound of its block, `FAR` where that is further than a byte can say.

    Seen as a number without sign, a difference is right however far apart two prices of one width are.
    """
    steps = np.full(len(bounds) * FAN_OUT, FAR, np.uint8)
    unsigned = np.dtype(f"u{events.dtype.itemsize}")
    whole = len(events) // FAN_OUT
    rows = whole * FAN_OUT
    shape = (whole, FAN_OUT)
    for part, bound, out in (
        (events[:rows].reshape(shape), bounds[:whole, None], steps[:rows].reshape(shape)),
        (events[rows:], bounds[whole:], steps[rows : len(events)]),
    ):
        np.minimum(apart(part, bound).view(unsigned), FAR, out=out, casting="unsafe")
    return steps


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
