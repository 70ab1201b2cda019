"""Ticks, lots and quanta: exact conversions, refused when they would round."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from marketmaker.errors import MalformedMessage, UnsupportedInstrument
from marketmaker.model.instrument import Instrument, Lots, Quanta, Ticks
from tests.strategies import instruments
from tests.support.toy_venue import ETH

CONTRACT = replace(ETH, lot_size=Decimal(1), multiplier=Decimal("0.01"))


def test_an_inverse_contract_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedInstrument, match="ETHUSDT on toy is an inverse contract"):
        replace(ETH, inverse=True)


@pytest.mark.parametrize("field", ["tick_size", "lot_size", "multiplier"])
@pytest.mark.parametrize("step", ["0", "-1", "NaN", "Infinity"])
def test_a_step_that_is_not_positive_is_refused(field: str, step: str) -> None:
    with pytest.raises(UnsupportedInstrument, match=f"{field} must be positive"):
        replace(ETH, **{field: Decimal(step)})  # type: ignore[arg-type]


def test_a_lot_of_a_contract_is_worth_its_base_units() -> None:
    assert CONTRACT.base_per_lot == Decimal("0.01")
    assert CONTRACT.base_qty(Lots(-3)) == Decimal("-0.03")
    assert CONTRACT.quantum == Decimal("0.0001")
    assert CONTRACT.notional(Ticks(250_000), Lots(3)) == Decimal(75)


def test_price_and_money_are_exact() -> None:
    assert ETH.price(Ticks(250_001)) == Decimal("2500.01")
    assert ETH.money(Quanta(-7)) == Decimal("-0.00007")


@given(instruments(), st.integers(-(10**12), 10**12))
def test_ticks_come_back_from_their_price(instrument: Instrument, ticks: int) -> None:
    price = instrument.price(Ticks(ticks))
    assert instrument.exact_ticks(price) == ticks
    assert instrument.floor_ticks(price) == instrument.ceil_ticks(price) == ticks


@given(instruments(), st.integers(-(10**12), 10**12))
def test_lots_come_back_from_the_venues_quantity(instrument: Instrument, lots: int) -> None:
    assert instrument.exact_lots(lots * instrument.lot_size) == lots


@given(instruments(), st.integers(1, 10**9), st.integers(1, 10**9))
def test_notional_is_money_of_ticks_times_lots(
    instrument: Instrument, ticks: int, lots: int
) -> None:
    value = instrument.notional(Ticks(ticks), Lots(lots))
    assert value == instrument.money(Quanta(ticks * lots))
    assert value == instrument.price(Ticks(ticks)) * instrument.base_qty(Lots(lots))


@given(st.decimals(-1_000, 1_000, places=4))
def test_a_price_off_the_tick_is_malformed_and_rounds_as_asked(price: Decimal) -> None:
    assume(price % Decimal("0.01"))
    with pytest.raises(MalformedMessage, match="off the tick size"):
        ETH.exact_ticks(price)
    below, above = ETH.floor_ticks(price), ETH.ceil_ticks(price)
    assert above == below + 1
    assert ETH.price(below) < price < ETH.price(above)


def test_a_quantity_off_the_lot_is_malformed() -> None:
    with pytest.raises(MalformedMessage, match=r"quantity 0\.0005 of ETHUSDT is off the lot"):
        ETH.exact_lots(Decimal("0.0005"))
