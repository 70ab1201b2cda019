"""What an adapter says it may send fits the window in which its venue counts, wherever the window begins."""

from __future__ import annotations

import pytest

from marketmaker.adapters.backpack import tables as backpack
from marketmaker.adapters.bitget import tables as bitget
from marketmaker.adapters.bybit import tables as bybit
from marketmaker.adapters.gate import tables as gate
from marketmaker.adapters.okx import tables as okx


@pytest.mark.parametrize(
    ("per_s", "burst", "most", "window_s"),
    [
        pytest.param(backpack.ORDERS_PER_S, backpack.ORDER_BURST, 20, 1, id="backpack"),
        pytest.param(bitget.ORDERS_PER_S, bitget.ORDER_BURST, 10, 1, id="bitget"),
        pytest.param(bybit.ORDERS_PER_S, bybit.ORDER_BURST, 10, 1, id="bybit"),
        pytest.param(gate.ORDERS_PER_S, gate.ORDER_BURST, 100, 1, id="gate"),
        pytest.param(okx.ORDERS_PER_S, okx.ORDER_BURST, 60, 2, id="okx"),
    ],
)
def test_no_window_sees_more_orders_than_the_venue_takes(
    per_s: float, burst: int, most: int, window_s: int
) -> None:
    """A bucket lets through at most its burst and what flows in meanwhile."""
    assert per_s * window_s + burst <= most
