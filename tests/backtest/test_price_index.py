"""The index finds what a plain search finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numpy")

import numpy as np

from marketmaker.backtest.index import FAN_OUT, PriceIndex, build_blocks

EDGES = (1, 7, 8, 9, 63, 64, 65, 511, 512, 513, 4_095, 4_096, 4_097, 70_000)


def plain_search(lows: list[int], highs: list[int], start: int, low: int, high: int) -> int:
    for place in range(start, len(lows)):
        if lows[place] <= low or highs[place] >= high:
            return place
    return len(lows)


@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("one_array", [True, False], ids=["prices", "ranges"])
def test_a_single_hit_is_found_wherever_it_is(size: int, one_array: bool) -> None:
    """Also at the edges of blocks and at the very end, from any start before it, and not from one after it."""
    tail = (size - 1) // FAN_OUT * FAN_OUT
    edges = {min(size - 1, FAN_OUT), min(size - 1, FAN_OUT**2 - 1)}
    for hit in {0, size // 2, tail, (tail + size) // 2, size - 1, *edges}:
        for value in (50, 150):
            prices = np.full(size, 100, np.int32)
            prices[hit] = value
            high = prices if one_array else prices.copy()
            index = PriceIndex(prices, high)
            for start in {0, hit // 2, max(hit - FAN_OUT - 1, 0), hit}:
                assert index.next_outside(start, 50, 150) == hit
            assert index.next_outside(hit + 1, 50, 150) == size
            assert index.next_outside(0, 49, 151) == size


def test_a_far_hit_is_found_over_many_blocks() -> None:
    prices = np.full(70_000, 100, np.int32)
    for hit in range(5_000, 70_000, 4_001):
        prices[hit] = 50
        assert PriceIndex(prices, prices).next_outside(0, 50, 150) == hit
        prices[hit] = 100


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), min_size=1, max_size=400),
    st.integers(0, 400),
    st.integers(-5, 70),
    st.integers(0, 40),
)
def test_it_agrees_with_a_plain_search(
    bars: list[tuple[int, int]], start: int, low: int, width: int
) -> None:
    lows = [at for at, _ in bars]
    highs = [at + up for at, up in bars]
    start %= len(bars)
    index = PriceIndex(np.array(lows, np.int32), np.array(highs, np.int32))
    expected = plain_search(lows, highs, start, low, low + width)
    assert index.next_outside(start, low, low + width) == expected
    one = PriceIndex(index.low, index.low)
    assert one.next_outside(start, low, low + width) == plain_search(
        lows, lows, start, low, low + width
    )


EXTREMES = (-(1 << 31), -(1 << 31) + 1, 0, 255, 256, 1_000_000, (1 << 31) - 2, (1 << 31) - 1)


@given(
    st.lists(
        st.one_of(st.sampled_from(EXTREMES), st.integers(-400, 400)), min_size=1, max_size=100
    ),
    st.integers(0, 100),
    st.one_of(st.sampled_from(EXTREMES), st.integers(-700, 700)),
    st.one_of(st.sampled_from(EXTREMES), st.integers(-700, 700)),
)
def test_prices_far_apart_are_told_apart(
    prices: list[int], start: int, low: int, high: int
) -> None:
    """Also where two of them lie further apart than a byte, or than a number of their own width, can say."""
    start %= len(prices)
    for width in (np.int32, np.int64):
        events = np.array(prices, width)
        found = PriceIndex(events, events).next_outside(start, low, high)
        assert found == plain_search(prices, prices, start, low, high)


def test_bounds_beyond_every_price_find_nothing() -> None:
    """No order and no limit on one side: the bound is far outside of 32 bits."""
    prices = np.full(10_000, 5, np.int32)
    index = PriceIndex(prices, prices)
    assert index.next_outside(0, -(1 << 62), 1 << 62) == 10_000
    assert index.next_outside(0, 1 << 62, 1 << 62) == 0


def test_given_blocks_are_used_as_they_are() -> None:
    prices = np.arange(10_000, dtype=np.int32)
    blocks = build_blocks(prices, prices)
    assert PriceIndex(prices, prices, blocks).next_outside(0, -1, 7_777) == 7_777
