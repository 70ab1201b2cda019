"""Trigger, stop loss and take profit: what is heard, and the band in which nothing is."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.core.price_limits import PriceLimits
from marketmaker.model.instrument import Ticks
from marketmaker.model.settings import GridSide
from tests.support.toy_venue import ETH, grid_settings


def limits(**changes: object) -> PriceLimits:
    return PriceLimits(grid_settings(**changes), ETH)


def test_without_limits_every_price_is_silent_and_quiet() -> None:
    none = limits()
    low, high = none.band()
    assert none.hear(Ticks(1)) == none.hear(Ticks(10**12)) == ""
    assert low < 0
    assert high > 10**15


@pytest.mark.parametrize(
    ("side", "price", "reason"),
    [
        (GridSide.LONG, 240_000, "stop_loss at 2400.00 reached"),
        (GridSide.LONG, 240_001, ""),
        (GridSide.LONG, 259_999, ""),
        (GridSide.LONG, 260_000, "take_profit at 2600.00 reached"),
        (GridSide.NEUTRAL, 239_000, "stop_loss at 2400.00 reached"),
        (GridSide.NEUTRAL, 261_000, "take_profit at 2600.00 reached"),
    ],
)
def test_a_long_grid_stops_below_and_takes_profit_above(
    side: GridSide, price: int, reason: str
) -> None:
    heard = limits(side=side, stop_loss=Decimal(2400), take_profit=Decimal(2600))
    assert heard.hear(Ticks(price)) == reason


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        (260_000, "stop_loss at 2600.00 reached"),
        (259_999, ""),
        (240_001, ""),
        (240_000, "take_profit at 2400.00 reached"),
    ],
)
def test_a_short_grid_stops_above_and_takes_profit_below(price: int, reason: str) -> None:
    heard = limits(side=GridSide.SHORT, stop_loss=Decimal(2600), take_profit=Decimal(2400))
    assert heard.hear(Ticks(price)) == reason


def test_the_trigger_waits_for_a_rise_when_first_seen_below() -> None:
    heard = limits(trigger_price=Decimal(2500))
    for price in (249_000, 200_000, 249_999):
        heard.hear(Ticks(price))
        assert heard.waiting
    heard.hear(Ticks(250_000))
    assert not heard.waiting


def test_the_trigger_waits_for_a_fall_when_first_seen_above() -> None:
    heard = limits(trigger_price=Decimal(2500))
    for price in (251_000, 300_000, 250_001):
        heard.hear(Ticks(price))
        assert heard.waiting
    heard.hear(Ticks(249_000))
    assert not heard.waiting


def test_a_reached_trigger_never_waits_again() -> None:
    heard = limits(trigger_price=Decimal(2500))
    heard.hear(Ticks(250_000))
    heard.hear(Ticks(200_000))
    heard.hear(Ticks(300_000))
    assert not heard.waiting


def test_before_the_trigger_no_stop_is_heard() -> None:
    heard = limits(trigger_price=Decimal(2500), stop_loss=Decimal(2400))
    assert heard.hear(Ticks(239_000)) == ""
    assert heard.hear(Ticks(250_000)) == ""
    assert heard.hear(Ticks(239_000)) == "stop_loss at 2400.00 reached"


OPTIONAL = st.none() | st.integers(1, 1_000).map(lambda ticks: Decimal(ticks) / 100)


@given(
    st.sampled_from(GridSide),
    OPTIONAL,
    OPTIONAL,
    OPTIONAL,
    st.lists(st.integers(1, 1_100).map(Ticks), min_size=1, max_size=6),
    st.integers(1, 1_100).map(Ticks),
)
def test_inside_the_band_nothing_is_heard_and_just_outside_something_is(
    side: GridSide,
    trigger: Decimal | None,
    stop: Decimal | None,
    profit: Decimal | None,
    prices: list[Ticks],
    probe: Ticks,
) -> None:
    heard = limits(side=side, trigger_price=trigger, stop_loss=stop, take_profit=profit)
    for price in prices:
        heard.hear(price)
    low, high = heard.band()
    waiting = heard.waiting
    ends = heard.hear(probe) != "" or heard.waiting != waiting
    assert ends == (not low <= probe <= high)


def test_limits_off_the_tick_never_fire_early() -> None:
    limits = PriceLimits(
        grid_settings(stop_loss=Decimal("2400.005"), take_profit=Decimal("2600.005")), ETH
    )
    assert limits.hear(Ticks(240_001)) == ""
    assert limits.hear(Ticks(260_000)) == ""
    assert limits.hear(Ticks(240_000)) != ""
    assert limits.hear(Ticks(260_001)) != ""
