"""What the operator may ask of a running grid: pause, hold, flatten, resume, other settings; and what outlives him."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from marketmaker.core import readings
from marketmaker.core.settings_change import rehearse
from marketmaker.errors import InvariantBroken
from marketmaker.model.action import Action, CancelOrder, PlaceOrder
from marketmaker.model.event import (
    FlattenRequested,
    Gate,
    GateOpened,
    GateShut,
    SettingsChanged,
)
from marketmaker.model.order import Side
from marketmaker.model.settings import GridSettings, GridSide, Spacing
from tests.support.toy_venue import ToyVenue, grid_settings, make_manager

ANCHOR = 250_000


def started(settings: GridSettings | None = None) -> ToyVenue:
    venue = ToyVenue(make_manager(settings or grid_settings()))
    venue.start(ANCHOR)
    venue.calm()
    return venue


def holding(settings: GridSettings | None = None) -> ToyVenue:
    """The nearest buy was filled and is offered."""
    venue = started(settings)
    venue.fill(venue.open(Side.BUY)[-1])
    venue.calm()
    assert venue.prices(Side.SELL) == [ANCHOR]
    return venue


def shut(venue: ToyVenue, gate: Gate) -> None:
    venue.tell(GateShut(gate=gate, reason="by the operator", ts_ns=venue.now_ns))
    venue.calm()


def reopen(venue: ToyVenue, gate: Gate) -> None:
    venue.tell(GateOpened(gate=gate, ts_ns=venue.now_ns))
    venue.calm()


def flatten(venue: ToyVenue) -> None:
    venue.tell(FlattenRequested(reason="flattened by the operator", ts_ns=venue.now_ns))
    venue.settle_cancels()
    (order,) = venue.unsent
    assert order.reduce_only
    venue.fill(venue.take(venue.unsent.popleft()))
    venue.calm()


def change(venue: ToyVenue, **changes: object) -> list[Action]:
    new = replace(venue.manager.settings, **changes)  # type: ignore[arg-type]
    rehearsed = rehearse(venue.manager, new, venue.now_ns)
    actions = venue.tell(SettingsChanged(settings=new, ts_ns=venue.now_ns))
    assert actions == rehearsed
    return actions


def places(actions: list[Action]) -> list[PlaceOrder]:
    return [action for action in actions if isinstance(action, PlaceOrder)]


def cancels(actions: list[Action]) -> list[CancelOrder]:
    return [action for action in actions if isinstance(action, CancelOrder)]


def test_pause_takes_the_entries_and_leaves_the_exits() -> None:
    venue = holding()
    shut(venue, Gate.PAUSED)
    assert venue.prices(Side.BUY) == []
    assert venue.prices(Side.SELL) == [ANCHOR]


def test_hold_leaves_no_order_and_says_so_for_every_slot() -> None:
    venue = holding()
    shut(venue, Gate.HELD)
    assert venue.open() == []
    venue.price(ANCHOR - 130)
    venue.calm()
    assert venue.open() == []
    whys = {status.why for status in readings.slot_statuses(venue.manager)}
    assert whys == {"held: by the operator"}
    reopen(venue, Gate.HELD)
    assert venue.prices(Side.SELL) == [ANCHOR] and len(venue.prices(Side.BUY)) > 2


def test_a_stop_loss_closes_even_while_held() -> None:
    venue = holding(grid_settings(stop_loss=Decimal(2490)))
    shut(venue, Gate.HELD)
    venue.price(ANCHOR - 1_000)
    (order,) = venue.unsent
    assert order.reduce_only and order.side is Side.SELL


def test_flatten_then_resume_trades_again() -> None:
    venue = holding()
    shut(venue, Gate.PAUSED)
    flatten(venue)
    assert venue.position == 0 and venue.open() == []
    assert readings.not_quoting(venue.manager)[0] == "flattened by the operator"
    reopen(venue, Gate.PAUSED)
    venue.wait(1)
    venue.calm()
    assert readings.not_quoting(venue.manager) == ()
    assert len(venue.prices(Side.BUY)) == 4


def test_resume_does_not_interrupt_a_flatten_that_is_not_done() -> None:
    venue = holding()
    shut(venue, Gate.PAUSED)
    venue.tell(FlattenRequested(reason="flattened by the operator", ts_ns=venue.now_ns))
    reopen(venue, Gate.PAUSED)
    assert venue.manager.closing or not venue.manager.books.inventory_lots
    assert venue.prices(Side.BUY) == []


def test_resume_does_not_reopen_what_a_stop_loss_has_ended() -> None:
    venue = holding(grid_settings(stop_loss=Decimal(2490)))
    shut(venue, Gate.PAUSED)
    venue.price(ANCHOR - 1_000)
    venue.settle_cancels()
    venue.fill(venue.take(venue.unsent.popleft()))
    venue.calm()
    reopen(venue, Gate.PAUSED)
    assert venue.open() == []
    assert "stop_loss" in readings.not_quoting(venue.manager)[0]


@pytest.mark.parametrize("gate", [Gate.PAUSED, Gate.HELD])
def test_a_pause_outlives_the_process(gate: Gate) -> None:
    venue = started()
    shut(venue, gate)
    heir = ToyVenue(make_manager(memory=readings.memory(venue.manager)))
    heir.start(ANCHOR)
    assert not heir.unsent
    assert readings.not_quoting(heir.manager) == (f"{gate.value}: by the operator",)
    reopen(heir, gate)
    assert len(heir.prices(Side.BUY)) == 4


def test_a_wider_window_adds_orders_and_touches_none() -> None:
    venue = started()
    actions = change(venue, buy_window=8)
    assert not cancels(actions)
    assert [place.order.price_ticks for place in places(actions)] == [249_500, 249_400, 249_300]


def test_a_narrower_window_cancels_what_falls_out() -> None:
    venue = started()
    change(venue, buy_window=3)
    venue.calm()
    assert venue.prices(Side.BUY) == [249_800, 249_900]


def test_another_amount_replaces_whole_entries_and_spares_partly_filled_ones() -> None:
    venue = started()
    nearest = venue.open(Side.BUY)[-1]
    venue.fill(nearest, 5)
    actions = change(venue, order_amount=Decimal(75))
    assert len(cancels(actions)) == 3 and not places(actions)
    venue.calm()
    sizes = {toy.order.price_ticks: toy.order.qty_lots for toy in venue.open(Side.BUY)}
    assert sizes == {249_900: 20, 249_800: 30, 249_700: 30, 249_600: 30}


def test_the_same_settings_change_nothing() -> None:
    venue = holding()
    assert change(venue) == []


def test_inventory_keeps_its_slot_and_its_cost() -> None:
    venue = holding()
    before = readings.memory(venue.manager)
    change(venue, sell_window=2, buy_window=2)
    after = readings.memory(venue.manager)
    assert before is not None and after is not None
    assert after.holdings == before.holdings


def test_a_new_stop_loss_is_heard() -> None:
    venue = holding()
    change(venue, stop_loss=Decimal(2495))
    venue.price(ANCHOR - 600)
    assert venue.manager.ended.startswith("stop_loss")


def test_a_trigger_that_was_reached_stays_reached() -> None:
    venue = ToyVenue(make_manager(grid_settings(trigger_price=Decimal(2495))))
    venue.start(ANCHOR)
    assert not venue.unsent
    venue.price(249_500)
    venue.calm()
    assert venue.open()
    assert not cancels(change(venue, buy_window=6))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("side", GridSide.SHORT),
        ("spacing", Spacing.GEOMETRIC),
        ("price_interval", Decimal(2)),
        ("anchor", Decimal(2400)),
    ],
)
def test_settings_that_number_the_levels_are_fixed(name: str, value: object) -> None:
    venue = started()
    new = replace(venue.manager.settings, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(InvariantBroken, match=name):
        venue.tell(SettingsChanged(settings=new, ts_ns=venue.now_ns))
