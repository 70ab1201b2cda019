"""How many lots: rounded down, never under a minimum, never over a maximum."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from marketmaker.core.sizing import build_sizing
from marketmaker.model.instrument import Lots, Ticks
from tests.support.toy_venue import ETH, grid_settings

PRICES = st.integers(1, 10**9).map(Ticks)


def test_an_entry_is_the_amount_over_the_price_rounded_down() -> None:
    sizing = build_sizing(grid_settings(order_amount=Decimal("52.49")), ETH)
    assert sizing.entry_lots(Ticks(250_000)) == 20
    sizing = build_sizing(grid_settings(order_amount=Decimal("52.50")), ETH)
    assert sizing.entry_lots(Ticks(250_000)) == 21


@given(PRICES, st.decimals(1, 10_000, places=4))
def test_an_entry_never_costs_more_than_the_amount_and_one_lot_more_would(
    price: Ticks, amount: Decimal
) -> None:
    lots = build_sizing(grid_settings(order_amount=amount), ETH).entry_lots(price)
    assert ETH.notional(price, lots) <= amount < ETH.notional(price, Lots(lots + 1))


@given(PRICES, st.decimals(0, 100, places=3), st.decimals(0, 100, places=3), st.integers(1, 50))
def test_the_least_entry_reaches_every_minimum_and_one_lot_less_does_not(
    price: Ticks, min_order_value: Decimal, min_notional: Decimal, min_qty: int
) -> None:
    instrument = replace(ETH, min_notional=min_notional, min_qty=Lots(min_qty))
    sizing = build_sizing(grid_settings(min_order_value=min_order_value), instrument)
    wanted = max(min_order_value, min_notional)
    least = Lots(sizing.least_entry_lots(price))
    assert least >= min_qty
    assert ETH.notional(price, least) >= wanted
    assert least == min_qty or ETH.notional(price, Lots(least - 1)) < wanted


@given(PRICES, st.decimals(0, 100, places=3), st.integers(1, 50))
def test_the_least_exit_reaches_the_venues_minimums_only(
    price: Ticks, min_notional: Decimal, min_qty: int
) -> None:
    instrument = replace(ETH, min_notional=min_notional, min_qty=Lots(min_qty))
    sizing = build_sizing(grid_settings(min_order_value=Decimal(10**6)), instrument)
    least = Lots(sizing.least_exit_lots(price))
    assert least >= min_qty
    assert ETH.notional(price, least) >= min_notional
    assert least == min_qty or ETH.notional(price, Lots(least - 1)) < min_notional


def test_neither_entry_nor_exit_is_larger_than_the_venue_takes() -> None:
    sizing = build_sizing(grid_settings(), replace(ETH, max_qty=Lots(7)))
    assert sizing.entry_lots(Ticks(250_000)) == 7
    assert sizing.exit_lots(100) == 7
    assert sizing.exit_lots(5) == 5


def test_without_a_maximum_an_exit_is_all_that_is_held() -> None:
    assert build_sizing(grid_settings(), ETH).exit_lots(10**9) == 10**9


def test_lots_of_several_base_units_are_valued_as_such() -> None:
    contract = replace(ETH, lot_size=Decimal(1), multiplier=Decimal("0.01"))
    sizing = build_sizing(grid_settings(), contract)
    assert sizing.entry_lots(Ticks(250_000)) == 2
