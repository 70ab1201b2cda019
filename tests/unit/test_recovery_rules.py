"""What snapshots and restarts mend: missed fills, lost and strange orders, a position that differs."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.core import readings
from marketmaker.core.slot import SlotState
from marketmaker.model.account import Position, VenueSnapshot
from marketmaker.model.action import (
    Action,
    CancelOrder,
    PlaceOrder,
    QueryOrder,
    RaiseAlert,
    RecordFill,
    RecordOrderEnd,
    Severity,
    TakeSnapshot,
)
from marketmaker.model.event import (
    FlattenRequested,
    OrderMissing,
    OrderStreamRestored,
    PlaceUnanswered,
    SnapshotTaken,
)
from marketmaker.model.instrument import Lots, Quanta, Ticks
from marketmaker.model.order import (
    ClientOrderId,
    EndReason,
    Fill,
    NewOrder,
    OrderReport,
    OrderStatus,
    Side,
    TimeInForce,
)
from marketmaker.model.settings import GridSettings, GridSide, PositionPolicy
from marketmaker.model.status import GridMemory, Holding
from tests.support.toy_venue import ToyOrder, ToyVenue, make_manager
from tests.support.toy_venue import grid_settings as toy_settings

ANCHOR = 250_000
SIDES = pytest.mark.parametrize(
    ("side", "sign"), [(GridSide.LONG, 1), (GridSide.SHORT, -1)], ids=["long", "short"]
)


def grid_settings(**changes: object) -> GridSettings:
    """The toy grid with orders of 20 lots at every level near the anchor."""
    return toy_settings(**{"order_amount": Decimal(52), **changes})


def remembered(*holdings: Holding, anchor: int = ANCHOR, next_sequence: int = 50) -> GridMemory:
    return GridMemory(
        anchor_ticks=Ticks(anchor), next_sequence=next_sequence, holdings=holdings, ended=""
    )


def holding(slot: int, lots: int, cost: int) -> Holding:
    return Holding(slot=slot, qty_lots=Lots(lots), cost=Quanta(cost))


def started(
    settings: GridSettings | None = None, *, memory: GridMemory | None = None, position: int = 0
) -> ToyVenue:
    """At rest at its first price, every order accepted."""
    venue = ToyVenue(
        make_manager(settings or grid_settings(), memory=memory), start_position=position
    )
    venue.start(ANCHOR)
    venue.calm()
    return venue


def priced(venue: ToyVenue, price: int = ANCHOR) -> list[Action]:
    """Start with the price known before the first snapshot."""
    venue.price(price)
    venue.tell(OrderStreamRestored(ts_ns=venue.now_ns))
    return venue.snapshot()


def entry_side(sign: int) -> Side:
    return Side.BUY if sign > 0 else Side.SELL


def order_at(venue: ToyVenue, price: int, side: Side | None = None) -> ToyOrder:
    (found,) = [toy for toy in venue.open(side) if toy.order.price_ticks == price]
    return found


def strange_order(
    venue: ToyVenue, slot: int, side: Side, price: int, lots: int = 20, *, sequence: int = 900_000
) -> ToyOrder:
    """An order with our tag that an earlier process left resting at the venue."""
    return venue.take(
        NewOrder(
            client_order_id=ClientOrderId(slot, side, sequence),
            side=side,
            price_ticks=Ticks(price),
            qty_lots=Lots(lots),
            post_only=True,
            reduce_only=False,
        )
    )


def read(
    venue: ToyVenue,
    *orders: OrderReport,
    fills: tuple[Fill, ...] = (),
    position: int | None = None,
    asked_ns: int | None = None,
) -> list[Action]:
    """A snapshot that says exactly this."""
    venue.now_ns += 1_000
    asked = venue.now_ns if asked_ns is None else asked_ns
    venue.now_ns += 1_000
    lots = venue.position if position is None else position
    snapshot = VenueSnapshot(
        open_orders=orders,
        position=Position(
            qty_lots=Lots(lots), entry_price=venue.entry_price, mark_price=venue.entry_price
        ),
        fills=fills,
        ts_asked_ns=asked,
        ts_answered_ns=venue.now_ns,
    )
    return venue.tell(SnapshotTaken(snapshot=snapshot, ts_ns=venue.now_ns))


def missing(venue: ToyVenue, name: ClientOrderId) -> list[Action]:
    asked = venue.now_ns
    venue.now_ns += 1_000
    return venue.tell(OrderMissing(client_order_id=name, ts_asked_ns=asked, ts_ns=venue.now_ns))


def placed(actions: list[Action]) -> list[NewOrder]:
    return [action.order for action in actions if isinstance(action, PlaceOrder)]


def cancelled(actions: list[Action]) -> list[ClientOrderId]:
    return [a.order.client_order_id for a in actions if isinstance(a, CancelOrder)]


def queried(actions: list[Action]) -> list[ClientOrderId]:
    return [a.client_order_id for a in actions if isinstance(a, QueryOrder)]


def snapshots(actions: list[Action]) -> list[str]:
    return [a.reason for a in actions if isinstance(a, TakeSnapshot)]


def alerts(actions: list[Action]) -> list[str]:
    return [a.topic for a in actions if isinstance(a, RaiseAlert)]


def ends(actions: list[Action]) -> list[EndReason | None]:
    return [a.end for a in actions if isinstance(a, RecordOrderEnd)]


def held(venue: ToyVenue) -> dict[int, int]:
    """Signed lots by slot."""
    memory = readings.memory(venue.manager)
    assert memory is not None
    return {each.slot: each.qty_lots for each in memory.holdings}


# --- missed fills ---


@SIDES
def test_a_snapshot_books_fills_the_stream_never_told(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side))
    toy = order_at(venue, ANCHOR - sign * 100, entry_side(sign))
    venue.trade(toy, 8, price=ANCHOR - sign * 101)
    actions = venue.snapshot()
    assert [a.trade_id for a in actions if isinstance(a, RecordFill)] == ["t1"]
    assert held(venue) == {-sign: sign * 8}
    assert venue.manager.books.inventory_cost == sign * 8 * (ANCHOR - sign * 101)
    assert venue.manager.slots[-sign].state is SlotState.LOCKED


def test_a_snapshots_fills_end_an_order_they_fill() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    venue.trade(toy, 8)
    venue.trade(toy, 12)
    actions = venue.snapshot()
    assert ends(actions) == [None]
    assert [o.side for o in placed(actions)] == [Side.SELL]
    assert held(venue) == {-1: 20}


def test_a_listed_orders_filled_quantity_is_booked_even_without_its_trades() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    venue.trade(toy, 8)
    reports = [venue.report(each) for each in venue.open()]
    read(venue, *reports)
    assert held(venue) == {-1: 8}


def test_a_snapshots_fill_of_an_order_that_is_over_is_booked_in_its_slot() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    toy.status = OrderStatus.CANCELLED
    venue.deliver(venue.report(toy))
    toy.status = OrderStatus.OPEN
    venue.trade(toy, 8)
    toy.status = OrderStatus.CANCELLED
    venue.snapshot()
    assert held(venue) == {-1: 8}
    assert alerts(venue.all_actions) == []


def test_fills_heard_again_change_nothing() -> None:
    venue = started()
    venue.fill(order_at(venue, ANCHOR - 100))
    venue.calm()
    before = readings.totals(venue.manager)
    venue.snapshot()
    venue.snapshot()
    assert readings.totals(venue.manager) == before


def test_fills_of_foreign_or_unknown_orders_are_not_booked() -> None:
    venue = started()
    fill = venue.trade(order_at(venue, ANCHOR - 100), 20).fill
    assert fill is not None
    reports = [venue.report(toy) for toy in venue.open()]
    stranger = replace(fill, client_order_id=ClientOrderId(-9, Side.BUY, 77_777), trade_id="x")
    foreign = replace(fill, client_order_id=None, trade_id="y")
    name = (
        ClientOrderId(-9, Side.BUY, fill.client_order_id.sequence) if fill.client_order_id else None
    )
    same_number = replace(fill, client_order_id=name, trade_id="z")
    actions = read(venue, *reports, fills=(stranger, foreign, same_number), position=0)
    assert not any(isinstance(a, RecordFill) for a in actions)


# --- orders we lack, orders the venue lacks ---


@SIDES
def test_our_own_open_order_without_a_record_is_adopted_by_the_slot_that_wants_it(
    side: GridSide, sign: int
) -> None:
    """A restart with nothing on disk takes its orders back: nothing is cancelled, nothing placed twice."""
    venue = ToyVenue(make_manager(grid_settings(side=side, anchor=Decimal(2500))))
    wanted = strange_order(venue, -2 * sign, entry_side(sign), ANCHOR - sign * 200)
    actions = priced(venue)
    assert cancelled(actions) == []
    assert sorted(o.client_order_id.slot * sign for o in placed(actions)) == [-4, -3, -1]
    slot = venue.manager.slots[-2 * sign]
    assert slot.state is SlotState.LOCKED
    assert slot.order is not None
    assert slot.order.venue_order_id == wanted.venue_order_id
    assert venue.manager.entry_leaves[sign] == 80


@SIDES
def test_our_own_exit_without_a_record_is_adopted_by_the_inventory_it_sells(
    side: GridSide, sign: int
) -> None:
    memory = remembered(holding(-sign, sign * 20, sign * 20 * ANCHOR))
    venue = ToyVenue(
        make_manager(grid_settings(side=side), memory=memory), start_position=sign * 20
    )
    strange_order(venue, -sign, entry_side(-sign), ANCHOR)
    actions = priced(venue)
    assert cancelled(actions) == []
    assert entry_side(-sign) not in [o.side for o in placed(actions)]


@SIDES
def test_orders_taken_back_before_the_first_price_wait_for_it(side: GridSide, sign: int) -> None:
    """Without a price nobody knows which orders are wanted: those that turn out to be stay, the others go then."""
    memory = remembered(holding(-sign, sign * 20, sign * 20 * ANCHOR))
    venue = ToyVenue(
        make_manager(grid_settings(side=side), memory=memory), start_position=sign * 20
    )
    strange_order(venue, -2 * sign, entry_side(sign), ANCHOR - sign * 200, sequence=900_001)
    strange_order(venue, -sign, entry_side(-sign), ANCHOR, sequence=900_002)
    far = strange_order(venue, -9 * sign, entry_side(sign), ANCHOR - sign * 900, sequence=900_003)
    assert cancelled(venue.start(ANCHOR)) == [far.order.client_order_id]
    assert {order.client_order_id.slot for order in venue.unsent} == {-3 * sign, -4 * sign}


@pytest.mark.parametrize(
    ("slot", "side", "price", "lots"),
    [
        (-1, Side.SELL, ANCHOR, 20),
        (-2, Side.BUY, ANCHOR - 201, 20),
        (-2, Side.BUY, ANCHOR - 300, 20),
    ],
    ids=["exit-of-nothing", "off-its-level", "of-another-level"],
)
def test_our_own_open_order_that_no_slot_wants_is_cancelled(
    slot: int, side: Side, price: int, lots: int
) -> None:
    venue = ToyVenue(make_manager(grid_settings(anchor=Decimal(2500))))
    toy = strange_order(venue, slot, side, price, lots)
    actions = priced(venue)
    assert cancelled(actions) == [toy.order.client_order_id]
    assert len(placed(actions)) == 4


def test_an_adopted_order_outside_the_window_is_cancelled_at_once() -> None:
    venue = ToyVenue(make_manager(grid_settings(anchor=Decimal(2500))))
    toy = strange_order(venue, -9, Side.BUY, ANCHOR - 900)
    assert cancelled(priced(venue)) == [toy.order.client_order_id]


def test_an_entry_into_a_slot_that_has_an_order_already_is_cancelled() -> None:
    venue = started()
    toy = strange_order(venue, -2, Side.BUY, ANCHOR - 200)
    actions = venue.snapshot()
    assert cancelled(actions) == [toy.order.client_order_id]


def test_an_order_reported_by_stream_without_a_record_is_adopted_or_cancelled_alike() -> None:
    venue = started()
    wanted = strange_order(venue, -6, Side.BUY, ANCHOR - 600)
    assert cancelled(venue.deliver(venue.report(wanted))) == [wanted.order.client_order_id]


def test_orders_without_a_record_before_the_first_price_are_cancelled() -> None:
    """Without an anchor there are no levels that could want them."""
    venue = ToyVenue(make_manager(grid_settings()))
    toy = strange_order(venue, -1, Side.BUY, ANCHOR - 100)
    venue.tell(OrderStreamRestored(ts_ns=venue.now_ns))
    assert cancelled(venue.snapshot()) == [toy.order.client_order_id]


def test_neutral_orders_without_a_record_go_to_the_ladder_of_their_side_of_the_anchor() -> None:
    venue = ToyVenue(make_manager(grid_settings(side=GridSide.NEUTRAL, anchor=Decimal(2500))))
    strange_order(venue, -2, Side.BUY, ANCHOR - 200, sequence=900_001)
    strange_order(venue, 2, Side.SELL, ANCHOR + 200, sequence=900_002)
    unwanted = strange_order(venue, 2, Side.BUY, ANCHOR + 200, sequence=900_003)
    actions = priced(venue)
    assert cancelled(actions) == [unwanted.order.client_order_id]
    assert venue.manager.entry_leaves == [0, 80, 80]


def test_the_earlier_trades_of_an_adopted_order_are_not_counted_twice() -> None:
    """Its first reading and a later one list the same trade; the order stays open with what the venue says is left."""
    venue = ToyVenue(make_manager(grid_settings(anchor=Decimal(2500))))
    toy = strange_order(venue, -1, Side.BUY, ANCHOR - 100)
    venue.trade(toy, 12)
    priced(venue)
    venue.calm()
    for _ in range(4):
        venue.snapshot()
        venue.calm()
    assert toy.status is OrderStatus.OPEN
    slot = venue.manager.slots[-1]
    assert slot.order is not None
    assert slot.order.booked_lots == 12
    assert readings.totals(venue.manager).inventory_lots == 12
    venue.fill(toy)
    venue.calm()
    venue.snapshot()
    assert "order.overfilled" not in alerts(venue.all_actions)
    assert readings.totals(venue.manager).inventory_lots == venue.position == 20


def vanished() -> tuple[ToyVenue, ToyOrder]:
    """An order the venue does not know any more, without having said so."""
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    toy.status = OrderStatus.CANCELLED
    return venue, toy


def test_an_unlisted_order_is_asked_for_and_not_forgotten() -> None:
    venue, toy = vanished()
    actions = venue.snapshot()
    assert queried(actions) == [toy.order.client_order_id]
    assert ends(actions) == []
    assert venue.manager.slots[-1].state is SlotState.LOCKED


def test_an_unlisted_order_found_cancelled_ends_with_its_fills() -> None:
    venue, toy = vanished()
    toy.status = OrderStatus.OPEN
    venue.trade(toy, 7)
    toy.status = OrderStatus.CANCELLED
    read(venue, *(venue.report(other) for other in venue.open()))
    venue.answer_queries()
    assert held(venue) == {-1: 7}
    assert [s.side for s in venue.unsent] == [Side.SELL]


def test_an_unlisted_order_is_gone_only_after_not_found_twice_and_a_later_snapshot() -> None:
    venue, toy = vanished()
    name = toy.order.client_order_id
    venue.snapshot()
    assert snapshots(missing(venue, name)) == []
    asked_before = venue.now_ns
    venue.pass_time(1)
    assert snapshots(missing(venue, name)) == ["an open order cannot be found"]
    gone_ns = venue.now_ns
    assert snapshots(missing(venue, name)) == ["an open order cannot be found"]
    order = venue.manager.slots[-1].order
    assert order is not None
    assert order.gone_ns == gone_ns
    reports = [venue.report(other) for other in venue.open()]
    assert ends(read(venue, *reports, asked_ns=asked_before)) == []
    assert venue.manager.slots[-1].state is SlotState.LOCKED
    actions = read(venue, *reports)
    assert ends(actions) == [EndReason.VENUE]
    assert alerts(actions) == ["order.vanished"]
    assert [o.price_ticks for o in placed(actions)] == [ANCHOR - 100]
    assert venue.manager.orders_cancelled == 1


def test_two_snapshots_without_it_do_not_make_an_order_gone() -> None:
    venue, _ = vanished()
    for _ in range(3):
        assert ends(venue.snapshot()) == []
    assert venue.manager.slots[-1].state is SlotState.LOCKED


def test_an_order_found_again_counts_its_absences_anew() -> None:
    venue, toy = vanished()
    name = toy.order.client_order_id
    missing(venue, name)
    missing(venue, name)
    toy.status = OrderStatus.OPEN
    venue.snapshot()
    toy.status = OrderStatus.CANCELLED
    assert ends(venue.snapshot()) == []
    missing(venue, name)
    assert ends(venue.snapshot()) == []


def test_an_empty_snapshot_changes_nothing_by_itself() -> None:
    venue = started()
    venue.fill(order_at(venue, ANCHOR - 100))
    venue.calm()
    before = readings.totals(venue.manager)
    actions = read(venue, position=0)
    assert len(queried(actions)) == 4
    assert {type(action) for action in actions} == {QueryOrder}
    assert readings.totals(venue.manager) == before
    assert held(venue) == {-1: 20}


def test_a_placement_still_under_way_is_not_asked_for() -> None:
    venue = ToyVenue(make_manager(grid_settings()))
    venue.start(ANCHOR)
    assert queried(venue.snapshot()) == []
    order = venue.unsent.popleft()
    lost = PlaceUnanswered(
        client_order_id=order.client_order_id, message="timeout", ts_ns=venue.now_ns
    )
    venue.tell(lost)
    assert queried(venue.snapshot()) == [order.client_order_id]


def undead() -> tuple[ToyVenue, ToyOrder]:
    """Over in our books after it vanished, and open at the venue all the same."""
    venue, toy = vanished()
    venue.snapshot()
    missing(venue, toy.order.client_order_id)
    missing(venue, toy.order.client_order_id)
    venue.queries.clear()
    venue.snapshot()
    venue.calm()
    toy.status = OrderStatus.OPEN
    return venue, toy


def test_an_undead_order_in_a_snapshot_is_cancelled_and_alerted() -> None:
    venue, toy = undead()
    actions = venue.snapshot()
    assert cancelled(actions) == [toy.order.client_order_id]
    assert alerts(actions) == ["order.undead"]


def test_an_undead_orders_fill_is_booked_in_its_slot() -> None:
    venue, toy = undead()
    actions = venue.fill(toy)
    assert held(venue) == {-1: 20}
    assert [a.qty_lots for a in actions if isinstance(a, RecordFill)] == [20]


def test_an_order_that_ended_while_the_snapshot_was_taken_is_not_undead() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    report = venue.report(toy)
    asked = venue.now_ns
    venue.fill(toy)
    venue.calm()
    actions = read(venue, report, asked_ns=asked)
    assert cancelled(actions) == []
    assert alerts(actions) == []


def test_a_cancel_whose_effect_never_showed_is_asked_again() -> None:
    venue = started()
    venue.price(ANCHOR + 110)
    (lost,) = venue.cancels
    venue.cancels.clear()
    venue.accept_all()
    venue.pass_time(4)
    assert cancelled(venue.snapshot()) == []
    venue.pass_time(2)
    assert cancelled(venue.snapshot()) == [lost.order.client_order_id]


def test_foreign_orders_and_their_fills_are_never_touched() -> None:
    venue = started()
    reports = [venue.report(toy) for toy in venue.open()]
    foreign = replace(reports[0], client_order_id=None, venue_order_id="theirs")
    before = readings.totals(venue.manager)
    for _ in range(3):
        assert read(venue, *reports, foreign) == []
    assert readings.totals(venue.manager) == before


# --- position ---


@SIDES
def test_a_position_difference_must_survive_two_readings(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side))
    venue.position = sign * 20
    first = venue.snapshot()
    assert first == []
    assert venue.manager.wake_at_ns == venue.now_ns + 2_000_000_000
    assert snapshots(venue.wait(2)) == ["second look at a difference"]
    second = venue.snapshot()
    assert alerts(second) == ["reconcile.differed"]
    assert sum(held(venue).values()) == sign * 20


def test_a_difference_that_changed_starts_over() -> None:
    venue = started()
    for lots in (20, 21, 20, 0, 20):
        venue.position = lots
        assert alerts(venue.snapshot()) == []
    assert held(venue) == {}


def test_a_difference_read_while_fills_arrived_proves_nothing() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    asked = venue.now_ns
    venue.fill(toy)
    venue.calm()
    for _ in range(3):
        venue.snapshot(asked_ns=asked)
    assert alerts(venue.all_actions) == []
    assert held(venue) == {-1: 20}


def test_position_nought_is_confirmed_by_a_second_reading_before_inventory_is_forgotten() -> None:
    venue = started()
    venue.fill(order_at(venue, ANCHOR - 100))
    venue.calm()
    venue.position = 0
    venue.snapshot()
    assert held(venue) == {-1: 20}
    venue.snapshot()
    assert held(venue) == {}
    assert venue.manager.books.adopted_lots == -20
    venue.calm()
    assert venue.prices(Side.SELL) == []
    assert ANCHOR - 100 in venue.prices(Side.BUY)


def test_the_first_difference_is_a_warning_and_a_later_one_an_error() -> None:
    venue = ToyVenue(make_manager(grid_settings()), start_position=20)
    venue.start(ANCHOR)
    venue.snapshot()
    venue.snapshot()
    venue.position = 40
    venue.snapshot()
    venue.snapshot()
    severities = [a.severity for a in venue.all_actions if isinstance(a, RaiseAlert)]
    assert severities == [Severity.WARNING, Severity.ERROR]


def test_no_entry_is_placed_before_slots_and_position_agree_once() -> None:
    venue = ToyVenue(make_manager(grid_settings()), start_position=20)
    assert placed(venue.start(ANCHOR)) == []
    assert readings.not_quoting(venue.manager) == ("position and slots differ: being looked into",)
    assert {o.side for o in placed(venue.snapshot())} == {Side.BUY, Side.SELL}
    assert readings.not_quoting(venue.manager) == ()


def test_a_difference_seen_before_the_first_price_waits_for_it() -> None:
    venue = ToyVenue(make_manager(grid_settings()), start_position=20)
    venue.tell(OrderStreamRestored(ts_ns=venue.now_ns))
    for _ in range(3):
        venue.snapshot()
    assert alerts(venue.all_actions) == []
    venue.price(ANCHOR)
    venue.snapshot()
    assert held(venue) == {0: 20}


@SIDES
def test_adopt_spreads_from_the_nearest_level_upward_at_the_entry_price_with_exact_cost(
    side: GridSide, sign: int
) -> None:
    venue = ToyVenue(make_manager(grid_settings(side=side)), start_position=sign * 50)
    venue.entry_price = Decimal("2501.2345")
    venue.start(ANCHOR)
    venue.snapshot()
    venue.snapshot()
    assert held(venue) == {0: sign * 20, sign: sign * 20, 2 * sign: sign * 10}
    books = venue.manager.books
    assert books.inventory_cost == books.adopted_cost == sign * 12_506_172
    assert books.adopted_lots == sign * 50


@given(st.integers(1, 400), st.decimals(1, 9_999, places=5), st.sampled_from([1, -1]))
def test_adopted_inventory_adds_up_in_lots_and_cost_whatever_its_size_and_price(
    lots: int, entry_price: Decimal, sign: int
) -> None:
    side = GridSide.LONG if sign > 0 else GridSide.SHORT
    venue = ToyVenue(make_manager(grid_settings(side=side)), start_position=sign * lots)
    venue.entry_price = entry_price
    venue.start(ANCHOR)
    venue.snapshot()
    venue.snapshot()
    assert sum(held(venue).values()) == sign * lots
    exact = entry_price / Decimal("0.01") * lots
    assert abs(abs(venue.manager.books.inventory_cost) - exact) <= Decimal("0.5")
    slots = venue.manager.slots.values()
    assert sum(slot.sign * slot.cost for slot in slots) == venue.manager.books.inventory_cost
    assert lots == 1 or all(slot.held_lots >= 2 for slot in slots if slot.held_lots), (
        "a part too small to sell joins its neighbour"
    )


def test_adopt_passes_over_levels_whose_order_rests() -> None:
    venue = started()
    venue.price(ANCHOR + 10)
    venue.calm()
    venue.position = 40
    venue.snapshot()
    venue.snapshot()
    assert held(venue) == {1: 20, 2: 20}


def test_adopt_puts_what_is_left_into_the_highest_level_there_is() -> None:
    bounds = (Decimal(2490), Decimal(2501))
    venue = ToyVenue(make_manager(grid_settings(price_bounds=bounds)), start_position=90)
    venue.start(ANCHOR)
    venue.snapshot()
    venue.snapshot()
    assert held(venue) == {0: 20, 1: 70}


def test_a_smaller_position_takes_from_the_dearest_inventory_first() -> None:
    venue = started()
    for price in (ANCHOR - 100, ANCHOR - 200, ANCHOR - 300):
        venue.fill(order_at(venue, price, Side.BUY))
        venue.calm()
    venue.position = 25
    venue.snapshot()
    venue.snapshot()
    assert held(venue) == {-3: 20, -2: 5}
    assert venue.manager.books.inventory_cost == 20 * (ANCHOR - 300) + 5 * (ANCHOR - 200)
    venue.calm()
    assert [(t.order.price_ticks, t.order.qty_lots) for t in venue.open(Side.SELL)] == [
        (ANCHOR - 200, 20),
        (ANCHOR - 100, 5),
    ]


@SIDES
def test_ignore_leaves_the_difference_to_the_owner_and_still_alerts(
    side: GridSide, sign: int
) -> None:
    policy = PositionPolicy.IGNORE
    venue = ToyVenue(
        make_manager(grid_settings(side=side, on_position_difference=policy)), start_position=300
    )
    venue.start(ANCHOR)
    actions = venue.snapshot()
    assert alerts(actions) == ["reconcile.differed"]
    assert {o.side for o in placed(actions)} == {entry_side(sign)}
    assert held(venue) == {}
    assert read(venue, *(venue.report(t) for t in venue.open()), position=300) == []
    venue.calm()
    venue.fill(order_at(venue, ANCHOR - sign * 100))
    venue.calm()
    assert venue.position == 300 + sign * 20
    venue.snapshot()
    venue.snapshot()
    assert held(venue) == {-sign: sign * 20}
    assert len([t for t in alerts(venue.all_actions) if t == "reconcile.differed"]) == 1


@SIDES
def test_a_position_on_the_wrong_side_of_the_grid_is_left_to_its_owner(
    side: GridSide, sign: int
) -> None:
    venue = ToyVenue(make_manager(grid_settings(side=side)), start_position=-sign * 30)
    venue.start(ANCHOR)
    actions = venue.snapshot()
    assert alerts(actions) == ["reconcile.differed", "reconcile.unwanted"]
    assert {o.side for o in placed(actions)} == {entry_side(sign)}
    assert held(venue) == {}
    venue.calm()
    venue.fill(order_at(venue, ANCHOR - sign * 100))
    venue.calm()
    venue.snapshot()
    venue.snapshot()
    assert held(venue) == {-sign: sign * 20}


@SIDES
def test_a_position_beyond_flat_gives_up_all_inventory_and_leaves_the_rest(
    side: GridSide, sign: int
) -> None:
    venue = started(grid_settings(side=side))
    venue.fill(order_at(venue, ANCHOR - sign * 100))
    venue.calm()
    venue.position = -sign * 7
    venue.snapshot()
    venue.snapshot()
    assert held(venue) == {}
    assert venue.manager.repair.foreign_lots == -sign * 7


def test_neutral_adopts_either_sign_into_its_own_ladder() -> None:
    for lots, slots in ((30, {-1: 30}), (-30, {1: -30})):
        venue = ToyVenue(make_manager(grid_settings(side=GridSide.NEUTRAL)), start_position=lots)
        venue.start(ANCHOR)
        venue.snapshot()
        venue.snapshot()
        assert held(venue) == slots


# --- memory ---


@SIDES
def test_memory_gives_a_restart_the_same_levels_holdings_and_ids(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side))
    venue.fill(order_at(venue, ANCHOR - sign * 100))
    venue.calm()
    venue.fill(order_at(venue, ANCHOR - sign * 200, entry_side(sign)), 7)
    venue.calm()
    memory = readings.memory(venue.manager)
    assert memory is not None
    manager = make_manager(grid_settings(side=side), memory=memory)
    assert readings.memory(manager) == memory
    again = ToyVenue(manager, start_position=venue.position)
    orders = placed(again.start(ANCHOR - sign * 37))
    assert all(o.client_order_id.sequence >= memory.next_sequence for o in orders)
    assert not {o.client_order_id for o in orders} & venue.used_ids
    again.calm()
    assert held(again) == {-sign: sign * 20, -2 * sign: sign * 7}
    assert again.prices(entry_side(-sign)) == sorted([ANCHOR, ANCHOR - sign * 100])
    assert alerts(again.all_actions) == []


def test_a_restart_never_reslots_inventory_away_from_what_it_was_bought_at() -> None:
    memory = remembered(holding(-7, 20, 20 * (ANCHOR - 700)), holding(9, 20, 20 * (ANCHOR + 900)))
    venue = started(memory=memory, position=40)
    assert held(venue) == {-7: 20, 9: 20}
    assert venue.prices(Side.SELL) == [ANCHOR - 600, ANCHOR + 1_000]
    assert venue.manager.books.inventory_cost == 20 * (2 * ANCHOR + 200)


def test_ids_never_go_back_below_the_clocks_first_sequence() -> None:
    manager = make_manager(
        grid_settings(), memory=remembered(next_sequence=50), first_sequence=1_000
    )
    venue = ToyVenue(manager)
    assert min(o.client_order_id.sequence for o in placed(venue.start(ANCHOR))) == 1_000


def test_holdings_of_a_side_the_grid_no_longer_has_are_not_taken_over() -> None:
    memory = remembered(holding(3, -20, -20 * ANCHOR))
    venue = ToyVenue(make_manager(grid_settings(), memory=memory), start_position=-20)
    venue.start(ANCHOR)
    assert held(venue) == {}
    venue.snapshot()
    venue.snapshot()
    assert alerts(venue.all_actions) == ["reconcile.differed", "reconcile.unwanted"]


def test_remembered_holdings_count_as_adopted_until_they_are_sold() -> None:
    venue = started(memory=remembered(holding(-1, 20, 4_998_000)), position=20)
    totals = readings.totals(venue.manager)
    assert (totals.adopted_lots, totals.adopted_cost) == (20, 4_998_000)
    venue.fill(order_at(venue, ANCHOR, Side.SELL))
    assert readings.totals(venue.manager).realised == 20 * ANCHOR - 4_998_000


def test_an_anchor_of_the_settings_beats_the_remembered_one() -> None:
    memory = remembered(anchor=240_000)
    manager = make_manager(grid_settings(anchor=Decimal(2500)), memory=memory)
    assert manager.anchor == ANCHOR


@SIDES
def test_memory_of_a_grid_with_every_kind_of_order_survives_the_crash(
    side: GridSide, sign: int
) -> None:
    """Killed with orders resting and fills unheard, then started from memory against what the venue has."""
    settings = grid_settings(side=side)
    venue = started(settings)
    venue.fill(order_at(venue, ANCHOR - sign * 100))
    venue.calm()
    memory = readings.memory(venue.manager)
    again = ToyVenue(make_manager(settings, memory=memory), start_position=venue.position)
    again.orders = venue.orders
    priced(again)
    again.calm()
    assert again.prices(Side.BUY) == venue.prices(Side.BUY)
    assert again.prices(Side.SELL) == venue.prices(Side.SELL)
    assert placed(again.all_actions) == []
    assert cancelled(again.all_actions) == []


def test_a_grid_flattened_by_its_operator_trades_again_after_a_restart() -> None:
    venue = started()
    venue.fill(order_at(venue, ANCHOR - 100))
    venue.calm()
    venue.tell(FlattenRequested(reason="operator asked", ts_ns=venue.now_ns))
    venue.settle_cancels()
    venue.fill(venue.take(venue.unsent.popleft()))
    assert venue.position == 0
    again = ToyVenue(make_manager(grid_settings(), memory=readings.memory(venue.manager)))
    assert len(placed(again.start(ANCHOR))) == 4


def test_a_trigger_once_reached_is_not_waited_for_again_after_a_restart() -> None:
    chosen = grid_settings(trigger_price=Decimal(2490))
    venue = ToyVenue(make_manager(chosen))
    venue.start(ANCHOR)
    assert venue.unsent == deque()
    venue.price(249_000)
    venue.calm()
    again = ToyVenue(make_manager(chosen, memory=readings.memory(venue.manager)))
    assert placed(again.start(ANCHOR)) != []


def test_a_late_fill_after_the_grid_has_closed_is_closed_too() -> None:
    venue = started(grid_settings(stop_loss=Decimal(2400)))
    late = order_at(venue, ANCHOR - 100)
    venue.price(240_000)
    venue.settle_cancels()
    assert "grid.closed" in alerts(venue.all_actions)
    late.status = OrderStatus.OPEN
    venue.deliver(venue.trade(late, 20))
    assert [(order.qty_lots, order.time_in_force) for order in venue.unsent] == [
        (20, TimeInForce.IOC)
    ]


def crashed_after(fills: int) -> tuple[ToyVenue, GridMemory, list[ToyOrder]]:
    """A grid whose memory was last written before `fills` of its resting entries filled, nearest first."""
    before = started()
    before.fill(order_at(before, ANCHOR - 100))
    before.calm()
    memory = readings.memory(before.manager)
    assert memory is not None
    missed = [order_at(before, ANCHOR - 100 * rung) for rung in range(2, 2 + fills)]
    for toy in missed:
        before.trade(toy, 20, price=int(toy.order.price_ticks) - 1)
    return before, memory, missed


def restarted(before: ToyVenue, memory: GridMemory) -> ToyVenue:
    """The same venue, orders, position and trades, a new process that remembers `memory`."""
    again = ToyVenue(make_manager(memory=memory))
    again.orders, again.position, again.now_ns = before.orders, before.position, before.now_ns
    again.trade_number = before.trade_number
    again.used_ids = before.used_ids
    return again


def test_fills_while_we_were_away_go_to_the_slots_their_ids_name() -> None:
    before, memory, _ = crashed_after(2)
    again = restarted(before, memory)
    again.start(ANCHOR - 310)
    again.calm()
    slots = again.manager.slots
    assert [(slots[-rung].held_lots, slots[-rung].cost) for rung in (1, 2, 3)] == [
        (20, 20 * (ANCHOR - 100)),
        (20, 20 * (ANCHOR - 201)),
        (20, 20 * (ANCHOR - 301)),
    ]
    totals = readings.totals(again.manager)
    assert totals.inventory_lots == again.position == 60
    assert totals.fees == 0
    assert totals.inventory_cost - totals.adopted_cost - totals.realised == 0
    assert "reconcile.differed" not in alerts(again.all_actions)


def test_a_fill_the_memory_holds_is_not_booked_again() -> None:
    before, memory, _ = crashed_after(0)
    again = restarted(before, memory)
    for _ in range(3):
        again.start(ANCHOR - 110)
        again.calm()
    assert readings.totals(again.manager).inventory_lots == again.position == 20


def test_an_exit_that_filled_while_we_were_away_empties_its_slot() -> None:
    before = started()
    before.fill(order_at(before, ANCHOR - 100))
    before.calm()
    memory = readings.memory(before.manager)
    assert memory is not None
    before.trade(order_at(before, ANCHOR, Side.SELL), 20)
    again = restarted(before, memory)
    again.start(ANCHOR + 10)
    again.calm()
    assert readings.totals(again.manager).inventory_lots == again.position == 0
    assert readings.totals(again.manager).realised == 20 * 100


def test_an_order_part_filled_while_we_were_away_is_taken_back_with_what_is_left() -> None:
    before, memory, _ = crashed_after(0)
    toy = order_at(before, ANCHOR - 200)
    before.trade(toy, 7)
    again = restarted(before, memory)
    again.start(ANCHOR - 110)
    again.calm()
    assert toy.status is OrderStatus.OPEN
    assert readings.totals(again.manager).inventory_lots == again.position == 27
    again.fill(toy)
    again.calm()
    assert readings.totals(again.manager).inventory_lots == again.position == 40
    assert again.manager.slots[-2].held_lots == 20


def test_a_debt_keeps_its_side_over_a_restart_of_a_neutral_grid() -> None:
    """Seed 246: lots owed by a long slot came back as a short position, to be bought above the price."""
    chosen = grid_settings(side=GridSide.NEUTRAL, anchor=Decimal(2500))
    memory = GridMemory(
        anchor_ticks=Ticks(ANCHOR),
        next_sequence=1,
        holdings=(Holding(slot=-1, qty_lots=Lots(-5), cost=Quanta(-5 * ANCHOR)),),
        ended="",
    )
    venue = ToyVenue(make_manager(chosen, memory=memory), start_position=-5)
    actions = venue.start(ANCHOR - 2_000)
    venue.calm()
    assert not [
        order
        for order in placed(actions)
        if order.price_ticks >= ANCHOR - 2_000 and order.side is Side.BUY
    ]
    assert venue.manager.slots[-1].sign == 1
    assert readings.totals(venue.manager).inventory_lots == -5
