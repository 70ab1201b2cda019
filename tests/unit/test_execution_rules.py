"""How orders are carried out: post-only, gates, lost streams, silence, refusals, age, cleaning and stopping."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from marketmaker.core import readings
from marketmaker.core.order_news import END_OF_REFUSAL, FATAL
from marketmaker.core.post_only import next_is_post_only
from marketmaker.core.slot import SlotState
from marketmaker.errors import InvariantBroken
from marketmaker.model.action import (
    Action,
    CancelOrder,
    GiveUp,
    PlaceOrder,
    QueryOrder,
    RaiseAlert,
    RecordOrderEnd,
    TakeSnapshot,
)
from marketmaker.model.event import (
    CancelRefused,
    CancelUnanswered,
    CleanupDue,
    FlattenRequested,
    Gate,
    GateOpened,
    GateShut,
    OrderMissing,
    OrderQueryFailed,
    OrderReported,
    OrderStreamLost,
    OrderStreamRestored,
    PlaceRefused,
    PlaceUnanswered,
    Refusal,
    StopRequested,
    TimerFired,
)
from marketmaker.model.instrument import Ticks
from marketmaker.model.order import (
    ClientOrderId,
    EndReason,
    NewOrder,
    OrderReport,
    OrderStatus,
    Side,
)
from marketmaker.model.settings import GridSettings, GridSide, PostOnlyPolicy
from tests.support.toy_venue import ToyOrder, ToyVenue, make_manager
from tests.support.toy_venue import grid_settings as toy_settings

ANCHOR = 250_000
SIDES = pytest.mark.parametrize(
    ("side", "sign"), [(GridSide.LONG, 1), (GridSide.SHORT, -1)], ids=["long", "short"]
)


def grid_settings(**changes: object) -> GridSettings:
    """The toy grid with orders of 20 lots at every level near the anchor."""
    return toy_settings(**{"order_amount": Decimal(52), **changes})


def fresh(settings: GridSettings | None = None, *, lifetime_s: float | None = None) -> ToyVenue:
    """Started at its first price: four entries handed out, none answered."""
    venue = ToyVenue(make_manager(settings or grid_settings(), order_lifetime_s=lifetime_s))
    venue.start(ANCHOR)
    return venue


def started(settings: GridSettings | None = None, *, lifetime_s: float | None = None) -> ToyVenue:
    """At rest at its first price, every order accepted."""
    venue = fresh(settings, lifetime_s=lifetime_s)
    venue.calm()
    return venue


def entry_side(sign: int) -> Side:
    return Side.BUY if sign > 0 else Side.SELL


def order_at(venue: ToyVenue, price: int, side: Side | None = None) -> ToyOrder:
    (found,) = [toy for toy in venue.open(side) if toy.order.price_ticks == price]
    return found


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


def why(venue: ToyVenue, slot: int) -> str:
    (status,) = [s for s in readings.slot_statuses(venue.manager) if s.slot == slot]
    return status.why


def shut(venue: ToyVenue, gate: Gate = Gate.RISK) -> list[Action]:
    return venue.tell(GateShut(gate=gate, reason="too wild", ts_ns=venue.now_ns))


def open_gate(venue: ToyVenue, gate: Gate = Gate.RISK) -> list[Action]:
    return venue.tell(GateOpened(gate=gate, ts_ns=venue.now_ns))


def refuse_post_only(venue: ToyVenue, order: NewOrder, *, by_stream: bool) -> list[Action]:
    """The venue would have had to take: said in the answer, or by stream after it took the order in."""
    if not by_stream:
        return venue.refuse(order, Refusal.POST_ONLY)
    toy = venue.take(order)
    return venue.end(toy, EndReason.POST_ONLY)


# --- post-only ---


@SIDES
@pytest.mark.parametrize("by_stream", [False, True], ids=["at-once", "by-stream"])
def test_post_only_degrades_after_three_rejections_in_a_row_in_a_slot(
    side: GridSide, sign: int, by_stream: bool
) -> None:
    venue = fresh(grid_settings(side=side, buy_window=2))
    (order,) = venue.unsent
    kinds = []
    for _ in range(3):
        kinds.append(order.post_only)
        venue.unsent.clear()
        refuse_post_only(venue, order, by_stream=by_stream)
        assert list(venue.unsent) == []
        venue.wait(0.5)
        (order,) = venue.unsent
    assert kinds == [True, True, True]
    assert order.post_only is False
    assert venue.manager.orders_rejected == 3


def test_rejections_of_one_slot_do_not_degrade_another() -> None:
    venue = fresh()
    order = venue.unsent.popleft()
    for _ in range(3):
        venue.calm()
        venue.refuse(order, Refusal.POST_ONLY)
        venue.wait(0.5)
        order = venue.unsent.popleft()
    assert not order.post_only
    venue.accept(order)
    venue.fill(order_at(venue, ANCHOR - 200))
    assert [o.post_only for o in venue.unsent] == [True]


def test_a_degraded_slot_stays_so_until_a_fill_resets_the_count() -> None:
    venue = fresh(grid_settings(buy_window=2))
    order = venue.unsent.popleft()
    for _ in range(3):
        venue.refuse(order, Refusal.POST_ONLY)
        venue.wait(0.5)
        order = venue.unsent.popleft()
    toy = venue.take(order)
    venue.end(toy, EndReason.EXPIRED)
    venue.wait(0.5)
    order = venue.unsent.popleft()
    assert not order.post_only
    venue.accept(order)
    venue.fill(order_at(venue, ANCHOR - 100), 1)
    assert venue.manager.slots[-1].post_only_rejects == 0
    venue.fill(order_at(venue, ANCHOR - 100))
    assert [o.post_only for o in venue.unsent] == [True]


@pytest.mark.parametrize("allowed", [1, 5])
def test_the_number_of_rejections_is_a_setting(allowed: int) -> None:
    for rejects in range(8):
        chosen = next_is_post_only(PostOnlyPolicy.DEGRADE, rejects, allowed)
        assert chosen == (rejects < allowed)


@SIDES
def test_strict_never_degrades_and_waits_for_the_price_to_move_away(
    side: GridSide, sign: int
) -> None:
    venue = fresh(grid_settings(side=side, buy_window=2, post_only=PostOnlyPolicy.STRICT))
    price = ANCHOR
    for _ in range(4):
        (order,) = venue.unsent
        assert order.post_only
        venue.unsent.clear()
        venue.refuse(order, Refusal.POST_ONLY)
        venue.wait(1)
        assert placed(venue.price(price)) == []
        assert why(venue, -sign).startswith("post_only strict")
        assert placed(venue.price(price - sign)) == []
        price += sign
        assert len(placed(venue.price(price))) == 1


@SIDES
def test_strict_exits_wait_for_the_price_to_fall_back(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side, post_only=PostOnlyPolicy.STRICT))
    venue.fill(order_at(venue, ANCHOR - sign * 100))
    venue.refuse(venue.unsent.popleft(), Refusal.POST_ONLY)
    venue.wait(1)
    assert list(venue.unsent) == []
    assert placed(venue.price(ANCHOR + sign)) == []
    (order,) = placed(venue.price(ANCHOR - sign))
    assert order.price_ticks == ANCHOR
    assert order.post_only


def test_a_strict_slot_left_by_the_window_waits_no_more() -> None:
    venue = fresh(grid_settings(buy_window=2, post_only=PostOnlyPolicy.STRICT))
    venue.refuse(venue.unsent.popleft(), Refusal.POST_ONLY)
    venue.wait(1)
    assert venue.manager.waiting_for_price == {-1}
    venue.price(ANCHOR - 500)
    assert venue.manager.waiting_for_price == set()
    assert venue.manager.slots[-1].strict_beyond is None
    venue.calm()
    assert len(placed(venue.price(ANCHOR))) == 1


@SIDES
def test_a_strict_entrys_wait_does_not_hold_back_the_slots_exit(side: GridSide, sign: int) -> None:
    """The entry was refused as it would take; then the slot came by inventory another way."""
    venue = fresh(grid_settings(side=side, post_only=PostOnlyPolicy.STRICT))
    first = next(o for o in venue.unsent if o.client_order_id.slot == -sign)
    venue.unsent.remove(first)
    venue.calm()
    venue.price(ANCHOR - sign * 60)
    venue.refuse(first, Refusal.POST_ONLY)
    venue.wait(1)
    venue.position = sign * 20
    venue.snapshot()
    venue.snapshot()
    venue.calm()
    assert readings.totals(venue.manager).inventory_lots == sign * 20
    venue.price(ANCHOR - sign * 70)
    venue.calm()
    assert venue.prices(entry_side(-sign)) != []


def test_off_never_asks_for_post_only() -> None:
    venue = started(grid_settings(post_only=PostOnlyPolicy.OFF))
    venue.fill(order_at(venue, ANCHOR - 100))
    assert not any(order.post_only for order in placed(venue.all_actions))


# --- gates ---


@SIDES
@pytest.mark.parametrize("gate", [gate for gate in Gate if gate is not Gate.HELD])
def test_a_shut_gate_cancels_entries_and_keeps_exits(side: GridSide, sign: int, gate: Gate) -> None:
    venue = started(grid_settings(side=side))
    venue.fill(order_at(venue, ANCHOR - sign * 100))
    venue.calm()
    shut(venue, gate)
    venue.calm()
    assert venue.prices(entry_side(sign)) == []
    assert venue.prices(entry_side(-sign)) == [ANCHOR]
    assert why(venue, -2 * sign) == f"{gate.value}: too wild"
    assert readings.not_quoting(venue.manager) == (f"{gate.value}: too wild",)


def test_exits_are_placed_and_cancelled_while_a_gate_is_shut() -> None:
    venue = started(grid_settings(sell_window=1))
    fills = [venue.trade(order_at(venue, ANCHOR - 100 * k), 20) for k in (1, 4)]
    shut(venue)
    for report in fills:
        venue.deliver(report)
    venue.calm()
    assert venue.prices(Side.SELL) == [ANCHOR]
    venue.price(ANCHOR - 400)
    venue.calm()
    assert venue.prices(Side.SELL) == [ANCHOR - 300]


def test_entries_wait_until_every_gate_is_open() -> None:
    venue = started()
    shut(venue, Gate.RISK)
    shut(venue, Gate.PAUSED)
    venue.calm()
    assert placed(open_gate(venue, Gate.RISK)) == []
    assert len(placed(open_gate(venue, Gate.PAUSED))) == 4


def test_opening_an_open_gate_changes_nothing() -> None:
    venue = started()
    assert open_gate(venue) == []


def test_an_entry_in_flight_when_the_gate_shuts_is_cancelled_when_it_is_accepted() -> None:
    venue = fresh()
    shut(venue)
    venue.cancels.clear()
    order = venue.unsent.popleft()
    assert cancelled(venue.accept(order)) == [order.client_order_id]


def test_a_price_moving_on_places_nothing_while_a_gate_is_shut() -> None:
    venue = started()
    shut(venue)
    venue.calm()
    for offset in (510, 10, -300):
        assert placed(venue.price(ANCHOR + offset)) == []


# --- order stream ---


def test_nothing_is_placed_before_stream_snapshot_and_price() -> None:
    venue = ToyVenue(make_manager(grid_settings()))
    assert readings.not_quoting(venue.manager) == ("order stream is not live",)
    assert placed(venue.price(ANCHOR)) == []
    assert why(venue, -1) == "order stream is not live"
    assert placed(venue.tell(OrderStreamRestored(ts_ns=venue.now_ns))) == []
    assert why(venue, -1) == "waiting for a snapshot of orders and position"
    assert len(placed(venue.snapshot())) == 4


def test_with_stream_and_snapshot_the_first_price_starts_the_grid() -> None:
    venue = ToyVenue(make_manager(grid_settings()))
    venue.tell(OrderStreamRestored(ts_ns=venue.now_ns))
    venue.snapshot()
    assert readings.not_quoting(venue.manager) == ("waiting for the first price",)
    assert len(placed(venue.price(ANCHOR))) == 4


def test_a_lost_order_stream_stops_all_placing_until_a_snapshot_asked_after_its_return() -> None:
    venue = started()
    report = venue.trade(order_at(venue, ANCHOR - 100), 20)
    venue.tell(OrderStreamLost(reason="silence", ts_ns=venue.now_ns))
    assert placed(venue.deliver(report)) == []
    assert placed(venue.price(ANCHOR + 210)) == []
    before = venue.now_ns
    venue.pass_time(1)
    assert placed(venue.tell(OrderStreamRestored(ts_ns=venue.now_ns))) == []
    assert placed(venue.price(ANCHOR + 211)) == []
    assert placed(venue.snapshot(asked_ns=before)) == []
    orders = placed(venue.snapshot())
    assert {o.side for o in orders} == {Side.BUY, Side.SELL}


def test_cancels_go_on_while_the_order_stream_is_lost() -> None:
    venue = started()
    venue.tell(OrderStreamLost(reason="silence", ts_ns=venue.now_ns))
    assert len(cancelled(venue.price(ANCHOR + 210))) == 2
    assert len(cancelled(shut(venue))) == 2


def test_every_loss_asks_for_a_snapshot_of_its_own() -> None:
    venue = started()
    for _ in range(2):
        venue.tell(OrderStreamLost(reason="gap", ts_ns=venue.now_ns))
        venue.pass_time(1)
        venue.tell(OrderStreamRestored(ts_ns=venue.now_ns))
        assert readings.not_quoting(venue.manager) == (
            "waiting for a snapshot of orders and position",
        )
        venue.snapshot()
        assert readings.not_quoting(venue.manager) == ()


# --- unanswered placements ---


def unanswered(venue: ToyVenue, name: ClientOrderId) -> list[Action]:
    venue.now_ns += 1_000
    return venue.tell(PlaceUnanswered(client_order_id=name, message="timeout", ts_ns=venue.now_ns))


def missing(venue: ToyVenue, name: ClientOrderId) -> list[Action]:
    asked = venue.now_ns
    venue.now_ns += 1_000
    return venue.tell(OrderMissing(client_order_id=name, ts_asked_ns=asked, ts_ns=venue.now_ns))


def lost_placement(*, reached: bool) -> tuple[ToyVenue, NewOrder]:
    """The buy one level below was sent and its answer was lost."""
    venue = fresh()
    order = next(o for o in venue.unsent if o.client_order_id.slot == -1)
    venue.unsent.remove(order)
    venue.calm()
    if reached:
        venue.take(order)
    actions = unanswered(venue, order.client_order_id)
    assert queried(actions) == [order.client_order_id]
    assert placed(actions) == []
    return venue, order


def test_an_unanswered_placement_is_never_placed_again_and_is_asked_for() -> None:
    venue, order = lost_placement(reached=False)
    venue.queries.clear()
    assert venue.manager.slots[-1].state is SlotState.PENDING
    for offset in (10, 49, -40, 0):
        venue.price(ANCHOR + offset)
    venue.wait(3)
    shut(venue)
    open_gate(venue)
    again = [o for o in placed(venue.all_actions) if o.client_order_id.slot == -1]
    assert again == [order]


def test_an_unanswered_placement_found_open_is_locked() -> None:
    venue, order = lost_placement(reached=True)
    venue.answer_queries()
    slot = venue.manager.slots[-1]
    assert slot.state is SlotState.LOCKED
    assert slot.order is not None
    assert slot.order.venue_order_id == venue.orders[order.client_order_id].venue_order_id


def test_an_unanswered_placement_found_filled_becomes_inventory() -> None:
    venue, order = lost_placement(reached=True)
    venue.trade(venue.orders[order.client_order_id], 20)
    venue.answer_queries()
    venue.calm()
    assert readings.totals(venue.manager).inventory_lots == 20
    assert venue.prices(Side.SELL) == [ANCHOR]


def test_an_unanswered_placement_found_in_a_snapshot_is_locked() -> None:
    venue, _ = lost_placement(reached=True)
    venue.queries.clear()
    venue.snapshot()
    assert venue.manager.slots[-1].state is SlotState.LOCKED


def test_not_found_before_the_requests_lifetime_proves_nothing() -> None:
    venue, order = lost_placement(reached=False)
    for _ in range(4):
        venue.pass_time(1)
        assert ends(missing(venue, order.client_order_id)) == []
    assert venue.manager.slots[-1].state is SlotState.PENDING


def test_not_found_once_after_the_requests_lifetime_proves_nothing() -> None:
    venue, order = lost_placement(reached=False)
    venue.pass_time(6)
    assert ends(missing(venue, order.client_order_id)) == []
    assert venue.manager.slots[-1].state is SlotState.PENDING


def test_not_found_twice_and_after_the_requests_lifetime_frees_the_slot() -> None:
    venue, order = lost_placement(reached=False)
    missing(venue, order.client_order_id)
    venue.pass_time(6)
    actions = missing(venue, order.client_order_id)
    assert ends(actions) == [EndReason.VENUE]
    (again,) = placed(actions)
    assert again.client_order_id.slot == -1
    assert again.client_order_id != order.client_order_id
    assert venue.manager.orders_rejected == 1


def test_an_order_not_found_is_asked_for_again_after_a_while() -> None:
    venue, order = lost_placement(reached=False)
    missing(venue, order.client_order_id)
    assert queried(venue.wait(0.9)) == []
    assert queried(venue.wait(0.2)) == [order.client_order_id]


def test_a_query_without_an_answer_is_asked_again_after_a_while() -> None:
    venue, order = lost_placement(reached=False)
    failed = OrderQueryFailed(
        client_order_id=order.client_order_id, message="timeout", ts_ns=venue.now_ns
    )
    assert venue.tell(failed) == []
    assert queried(venue.wait(1)) == [order.client_order_id]


def test_a_late_report_of_an_order_presumed_dead_gets_it_cancelled() -> None:
    venue, order = lost_placement(reached=False)
    missing(venue, order.client_order_id)
    venue.pass_time(6)
    missing(venue, order.client_order_id)
    actions = venue.accept(order)
    assert cancelled(actions) == [order.client_order_id]
    assert alerts(actions) == ["order.undead"]
    (cancel,) = [a for a in actions if isinstance(a, CancelOrder)]
    assert cancel.order.venue_order_id == venue.orders[order.client_order_id].venue_order_id


def test_a_fill_of_an_order_presumed_dead_is_booked_in_its_slot() -> None:
    venue, order = lost_placement(reached=False)
    missing(venue, order.client_order_id)
    venue.pass_time(6)
    missing(venue, order.client_order_id)
    venue.unsent.clear()
    venue.deliver(venue.trade(venue.take(order), 20))
    assert readings.totals(venue.manager).inventory_lots == 20
    assert venue.manager.slots[-1].held_lots == 20


def test_silence_about_an_order_already_seen_open_is_old_news() -> None:
    venue = started()
    name = order_at(venue, ANCHOR - 100).order.client_order_id
    assert unanswered(venue, name) == []
    assert venue.manager.slots[-1].state is SlotState.LOCKED
    assert venue.manager.late_news == 1


def test_not_found_means_nothing_while_the_placements_own_answer_is_still_awaited() -> None:
    venue = fresh()
    order = venue.unsent[0]
    venue.pass_time(100)
    for _ in range(3):
        assert missing(venue, order.client_order_id) == []
    assert venue.manager.slots[order.client_order_id.slot].state is SlotState.PENDING


STRANGER = ClientOrderId(-3, Side.BUY, 999_999)


@pytest.mark.parametrize(
    "event",
    [
        PlaceUnanswered(client_order_id=STRANGER, message="", ts_ns=1),
        PlaceRefused(
            client_order_id=STRANGER,
            refusal=Refusal.OTHER,
            message="",
            retry_after_s=None,
            ts_ns=1,
        ),
        CancelRefused(client_order_id=STRANGER, refusal=Refusal.OTHER, message="", ts_ns=1),
        CancelUnanswered(client_order_id=STRANGER, message="", ts_ns=1),
        OrderMissing(client_order_id=STRANGER, ts_asked_ns=1, ts_ns=1),
        OrderQueryFailed(client_order_id=STRANGER, message="", ts_ns=1),
    ],
    ids=lambda event: type(event).__name__,
)
def test_news_of_an_order_that_is_over_changes_nothing(event: object) -> None:
    venue = started()
    before = readings.totals(venue.manager)
    assert venue.tell(event) == []
    assert readings.totals(venue.manager) == before


def test_a_report_of_an_order_that_is_not_ours_changes_nothing() -> None:
    venue = started()
    report = replace(venue.report(venue.open()[0]), client_order_id=None)
    assert venue.deliver(report) == []


def test_an_ended_order_of_ours_without_a_record_calls_for_a_snapshot_only_if_it_filled() -> None:
    venue = started()
    over = OrderReport(
        client_order_id=STRANGER,
        venue_order_id="v99",
        side=Side.BUY,
        price_ticks=Ticks(ANCHOR - 300),
        qty_lots=venue.open()[0].order.qty_lots,
        filled_lots=venue.open()[0].order.qty_lots,
        status=OrderStatus.FILLED,
    )
    assert snapshots(venue.deliver(over)) == ["fill of an order without a record"]
    untouched = replace(over, filled_lots=type(over.filled_lots)(0), status=OrderStatus.CANCELLED)
    assert venue.deliver(untouched) == []


# --- cancels ---


def asked_to_cancel() -> tuple[ToyVenue, ToyOrder]:
    """The lowest buy has left the window and its cancel is under way."""
    venue = started()
    venue.price(ANCHOR + 110)
    toy = order_at(venue, ANCHOR - 400)
    assert [c.order.client_order_id for c in venue.cancels] == [toy.order.client_order_id]
    venue.cancels.clear()
    return venue, toy


def test_a_cancel_is_asked_for_once_while_it_is_under_way() -> None:
    venue, toy = asked_to_cancel()
    assert cancelled(venue.price(ANCHOR + 111)) == []
    others = cancelled(shut(venue))
    assert others
    assert toy.order.client_order_id not in others


@pytest.mark.parametrize("refusal", [Refusal.RATE_LIMITED, Refusal.NOT_SENT, Refusal.OTHER])
def test_a_refused_cancel_is_asked_for_again(refusal: Refusal) -> None:
    venue, toy = asked_to_cancel()
    name = toy.order.client_order_id
    refused = CancelRefused(client_order_id=name, refusal=refusal, message="", ts_ns=venue.now_ns)
    assert venue.tell(refused) == []
    assert cancelled(venue.wait(0.9)) == []
    assert cancelled(venue.wait(0.2)) == [name]


def test_a_cancel_that_found_no_order_asks_what_became_of_it() -> None:
    venue, toy = asked_to_cancel()
    report = venue.trade(toy, 20)
    name = toy.order.client_order_id
    refused = CancelRefused(
        client_order_id=name, refusal=Refusal.ORDER_NOT_FOUND, message="", ts_ns=venue.now_ns
    )
    assert queried(venue.tell(refused)) == [name]
    assert venue.manager.slots[-4].state is SlotState.LOCKED
    venue.deliver(replace(report, fill=None))
    assert readings.totals(venue.manager).inventory_lots == 20


def test_an_unanswered_cancel_is_asked_about_and_repeated() -> None:
    venue, toy = asked_to_cancel()
    name = toy.order.client_order_id
    lost = CancelUnanswered(client_order_id=name, message="timeout", ts_ns=venue.now_ns)
    assert queried(venue.tell(lost)) == [name]
    venue.answer_queries()
    assert cancelled(venue.wait(4.9)) == []
    assert cancelled(venue.wait(0.2)) == [name]


def test_a_repeat_is_dropped_when_the_order_is_wanted_again() -> None:
    venue, toy = asked_to_cancel()
    refused = CancelRefused(
        client_order_id=toy.order.client_order_id,
        refusal=Refusal.OTHER,
        message="",
        ts_ns=venue.now_ns,
    )
    venue.tell(refused)
    venue.price(ANCHOR)
    assert cancelled(venue.wait(5)) == []


def test_a_repeat_for_an_order_that_is_over_does_nothing() -> None:
    venue, toy = asked_to_cancel()
    name = toy.order.client_order_id
    venue.tell(CancelUnanswered(client_order_id=name, message="", ts_ns=venue.now_ns))
    venue.end(toy, EndReason.REQUESTED)
    venue.queries.clear()
    actions = venue.wait(10)
    assert cancelled(actions) == queried(actions) == []


def test_a_cancel_that_lost_the_race_to_a_fill_keeps_the_inventory() -> None:
    venue, toy = asked_to_cancel()
    venue.deliver(venue.trade(toy, 6))
    venue.end(toy, EndReason.REQUESTED)
    venue.calm()
    assert readings.totals(venue.manager).inventory_lots == 6
    (sell,) = venue.open(Side.SELL)
    assert (sell.order.price_ticks, sell.order.qty_lots) == (ANCHOR - 300, 6)


def test_a_fill_told_after_the_end_is_booked_all_the_same() -> None:
    venue, toy = asked_to_cancel()
    report = venue.trade(toy, 6)
    venue.orders[toy.order.client_order_id].status = OrderStatus.CANCELLED
    venue.deliver(
        replace(
            report,
            filled_lots=type(report.filled_lots)(0),
            fill=None,
            status=OrderStatus.CANCELLED,
            end_reason=EndReason.REQUESTED,
        )
    )
    assert readings.totals(venue.manager).inventory_lots == 0
    venue.deliver(report)
    venue.deliver(report)
    assert readings.totals(venue.manager).inventory_lots == 6
    assert venue.manager.slots[-4].held_lots == 6


def test_a_withdrawn_placement_frees_its_slot_and_counts_as_no_rejection() -> None:
    venue = fresh()
    venue.price(ANCHOR + 210)
    names = [c.order.client_order_id.slot for c in venue.cancels]
    assert names == [-3, -4]
    venue.settle_cancels()
    assert venue.manager.orders_rejected == 0
    assert venue.manager.orders_cancelled == 0
    assert not {-3, -4} & set(venue.manager.slots)
    venue.price(ANCHOR)
    venue.calm()
    assert ANCHOR - 400 in venue.prices(Side.BUY)


# --- ends and refusals ---


@pytest.mark.parametrize(
    "reason", [EndReason.EXPIRED, EndReason.SELF_TRADE, EndReason.VENUE, EndReason.IOC]
)
def test_an_order_the_venue_ended_is_placed_again_after_a_while(reason: EndReason) -> None:
    venue = started()
    actions = venue.end(order_at(venue, ANCHOR - 100), reason)
    assert ends(actions) == [reason]
    assert placed(actions) == []
    assert why(venue, -1) == f"waiting after: {reason.value}"
    assert placed(venue.wait(0.4)) == []
    assert [o.price_ticks for o in placed(venue.wait(0.2))] == [ANCHOR - 100]
    assert venue.manager.orders_cancelled == 1


def test_an_end_without_a_reason_is_the_venues() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    toy.status = OrderStatus.REJECTED
    actions = venue.deliver(venue.report(toy))
    assert ends(actions) == [EndReason.VENUE]
    assert venue.manager.orders_rejected == 1
    assert venue.manager.orders_cancelled == 0


def test_an_order_cancelled_by_hand_is_placed_again_at_once() -> None:
    venue = started()
    actions = venue.end(order_at(venue, ANCHOR - 100), EndReason.REQUESTED)
    assert [o.price_ticks for o in placed(actions)] == [ANCHOR - 100]


@pytest.mark.parametrize(
    "refusal",
    [
        r
        for r in Refusal
        if r not in {*FATAL, Refusal.WITHDRAWN, Refusal.FILTER, Refusal.INSUFFICIENT_MARGIN}
    ],
)
def test_a_refused_placement_is_tried_again_later_under_a_new_id(refusal: Refusal) -> None:
    venue = fresh(grid_settings(buy_window=2))
    order = venue.unsent.popleft()
    actions = venue.refuse(order, refusal)
    assert placed(actions) == []
    assert ends(actions) == [END_OF_REFUSAL.get(refusal, EndReason.VENUE)]
    (again,) = placed(venue.wait(2.1))
    assert again.client_order_id != order.client_order_id
    assert again.price_ticks == order.price_ticks
    assert venue.manager.orders_rejected == 1


def test_a_rate_limit_is_waited_out_as_long_as_the_venue_says() -> None:
    venue = fresh(grid_settings(buy_window=2))
    order = venue.unsent.popleft()
    refused = PlaceRefused(
        client_order_id=order.client_order_id,
        refusal=Refusal.RATE_LIMITED,
        message="slow down",
        retry_after_s=7.0,
        ts_ns=venue.now_ns,
    )
    venue.tell(refused)
    assert why(venue, -1) == "waiting after: slow down"
    assert placed(venue.wait(6.9)) == []
    assert len(placed(venue.wait(0.2))) == 1


def test_a_reduce_only_refusal_reconciles_now_and_waits_for_it() -> None:
    venue = started()
    venue.fill(order_at(venue, ANCHOR - 100))
    actions = venue.refuse(venue.unsent.popleft(), Refusal.REDUCE_ONLY)
    assert snapshots(actions) == ["reduce-only refused"]
    assert placed(venue.wait(1.9)) == []
    assert len(placed(venue.wait(0.2))) == 1


def test_a_filter_refusal_waits_long_and_is_alerted() -> None:
    venue = fresh(grid_settings(buy_window=2, refused_delay_s=60.0))
    actions = venue.refuse(venue.unsent.popleft(), Refusal.FILTER)
    assert alerts(actions) == ["order.refused"]
    assert placed(venue.wait(59.9)) == []
    assert len(placed(venue.wait(0.2))) == 1


@pytest.mark.parametrize("refusal", sorted(FATAL, key=lambda each: each.value))
def test_a_fatal_refusal_gives_up_and_cancels_everything(refusal: Refusal) -> None:
    venue = fresh()
    order = venue.unsent.popleft()
    venue.accept_all()
    actions = venue.refuse(order, refusal)
    assert [a.reason for a in actions if isinstance(a, GiveUp)] == [
        f"{refusal.value}: refused: {refusal.value}"
    ]
    assert len(cancelled(actions)) == 3
    venue.settle_cancels()
    assert venue.open() == []
    for offset in (10, -400, 800):
        assert placed(venue.price(ANCHOR + offset)) == []
    assert placed(venue.wait(100)) == []
    assert why(venue, 7).startswith(refusal.value)


def test_a_refusal_of_an_order_seen_open_is_not_believed() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    actions = venue.refuse(toy.order, Refusal.OTHER)
    assert queried(actions) == [toy.order.client_order_id]
    assert ends(actions) == []
    assert venue.manager.slots[-1].state is SlotState.LOCKED


def test_a_fill_that_overtakes_the_acceptance_is_booked() -> None:
    venue = fresh()
    order = venue.unsent.popleft()
    actions = venue.fill(venue.take(order))
    assert ends(actions) == [None]
    assert readings.totals(venue.manager).inventory_lots == 20
    venue.deliver(
        replace(
            venue.report(venue.orders[order.client_order_id]),
            status=OrderStatus.OPEN,
            filled_lots=type(order.qty_lots)(0),
        )
    )
    assert readings.totals(venue.manager).inventory_lots == 20
    assert venue.manager.late_news == 1


def test_an_open_report_that_is_filled_to_the_last_lot_ends_the_order() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    report = replace(venue.trade(toy, 20), status=OrderStatus.OPEN)
    assert ends(venue.deliver(report)) == [None]


def test_a_fill_report_without_a_quantity_means_all_of_it() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    report = replace(venue.trade(toy, 20), filled_lots=type(toy.order.qty_lots)(0), fill=None)
    venue.deliver(report)
    assert readings.totals(venue.manager).inventory_lots == 20


def test_a_liquidation_is_alerted_and_looked_into() -> None:
    venue = started()
    actions = venue.end(order_at(venue, ANCHOR - 100), EndReason.LIQUIDATION)
    assert alerts(actions) == ["position.liquidated"]
    assert snapshots(actions) == ["liquidation"]


def test_a_fill_of_more_than_was_ordered_is_booked_and_alerted() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    report = venue.trade(toy, 20)
    actions = venue.deliver(replace(report, filled_lots=type(report.filled_lots)(25)))
    assert alerts(actions) == ["order.overfilled"]
    assert readings.totals(venue.manager).inventory_lots == 25
    assert venue.manager.entry_leaves[1] == 60


def test_exposure_of_resting_entries_is_their_unfilled_rest() -> None:
    venue = started()
    assert venue.manager.entry_leaves == [0, 80, 0]
    toy = order_at(venue, ANCHOR - 100)
    venue.fill(toy, 8)
    assert venue.manager.entry_leaves[1] == 72
    venue.end(toy, EndReason.EXPIRED)
    assert venue.manager.entry_leaves[1] == 60


def test_an_order_handed_out_twice_for_one_slot_is_our_bug() -> None:
    venue = started()
    slot = venue.manager.slots[-1]
    with pytest.raises(InvariantBroken):
        venue.manager.place_entry(slot, venue.manager.ladders[1])


# --- lifetime ---


def test_old_orders_are_renewed_one_at_a_time_before_the_venue_drops_them() -> None:
    venue = started(lifetime_s=1_000)
    assert cancelled(venue.wait(899)) == []
    renewed = []
    for _ in range(20):
        asked = cancelled(venue.wait(1))
        assert len(asked) <= 1
        renewed += asked
        venue.calm()
    assert sorted(name.slot for name in renewed) == [-4, -3, -2, -1]
    assert venue.prices(Side.BUY) == [ANCHOR - 400, ANCHOR - 300, ANCHOR - 200, ANCHOR - 100]


def test_the_next_order_is_not_renewed_before_the_last_one_is_gone() -> None:
    venue = started(lifetime_s=1_000)
    assert len(cancelled(venue.wait(950))) == 1
    venue.settle_cancels()
    assert len(cancelled(venue.wait(5))) == 1


def test_a_renewal_whose_cancel_was_refused_is_tried_again() -> None:
    venue = started(lifetime_s=1_000)
    (name,) = cancelled(venue.wait(901))
    venue.cancels.clear()
    refused = CancelRefused(
        client_order_id=name, refusal=Refusal.RATE_LIMITED, message="", ts_ns=venue.now_ns
    )
    venue.tell(refused)
    assert cancelled(venue.wait(5)) == [name]


def test_where_orders_live_for_ever_none_is_renewed() -> None:
    venue = started()
    assert cancelled(venue.wait(10_000_000)) == []


# --- cleaning ---


def crowded() -> ToyVenue:
    """A cap of four, reached by four buys around the anchor."""
    venue = started(
        grid_settings(buy_window=4, max_open_orders=4, sell_window=2, cleanup_batch_size=2)
    )
    venue.price(ANCHOR + 10)
    venue.calm()
    assert len(venue.open()) == 4
    return venue


def test_the_cleaner_gives_up_the_furthest_and_they_stay_away_until_the_level_changes() -> None:
    venue = crowded()
    actions = venue.tell(CleanupDue(ts_ns=venue.now_ns))
    assert [name.slot for name in cancelled(actions)] == [-3, -2]
    venue.calm()
    assert venue.prices(Side.BUY) == [ANCHOR - 100, ANCHOR]
    assert why(venue, -2) == "given up by the order cleaner until the price moves a level"
    venue.price(ANCHOR + 30)
    venue.calm()
    assert len(venue.open()) == 2
    venue.price(ANCHOR + 60)
    venue.calm()
    assert len(venue.open()) == 3
    venue.price(ANCHOR + 10)
    venue.calm()
    assert len(venue.open()) == 4


def test_the_cleaner_does_nothing_below_the_threshold_before_a_price_or_when_stopping() -> None:
    venue = ToyVenue(make_manager())
    assert venue.tell(CleanupDue(ts_ns=venue.now_ns)) == []
    assert started().tell(CleanupDue(ts_ns=venue.now_ns)) == []
    venue = crowded()
    venue.tell(StopRequested(reason="", ts_ns=venue.now_ns))
    assert venue.tell(CleanupDue(ts_ns=venue.now_ns)) == []


def test_an_exit_given_up_by_the_cleaner_is_not_offered_again_at_once() -> None:
    venue = started(
        grid_settings(buy_window=2, max_open_orders=4, sell_window=3, cleanup_batch_size=1)
    )
    for rung in (-1, -2, -3):
        venue.price(ANCHOR + 100 * rung + 10)
        venue.calm()
        venue.fill(order_at(venue, ANCHOR + 100 * rung))
        venue.calm()
    venue.price(ANCHOR - 290)
    venue.calm()
    assert len(venue.open()) == 4
    before = venue.prices(Side.SELL)
    actions = venue.tell(CleanupDue(ts_ns=venue.now_ns))
    assert len(cancelled(actions)) == 1
    venue.calm()
    assert venue.prices(Side.SELL) == before[:-1]


# --- stopping ---


@SIDES
def test_a_stop_cancels_everything_and_nothing_is_placed_any_more(
    side: GridSide, sign: int
) -> None:
    venue = started(grid_settings(side=side))
    venue.fill(order_at(venue, ANCHOR - sign * 100))
    venue.calm()
    actions = venue.tell(StopRequested(reason="SIGTERM", ts_ns=venue.now_ns))
    assert len(cancelled(actions)) == 4
    assert placed(actions) == []
    venue.settle_cancels()
    assert venue.open() == []
    assert venue.manager.open_orders == 0
    for offset in (10, 500, -500):
        assert placed(venue.price(ANCHOR + offset)) == []
    assert placed(venue.wait(100)) == []
    assert placed(venue.snapshot()) == []
    assert readings.not_quoting(venue.manager)[0] == "stopping"
    assert why(venue, -sign) == "stopping"


def test_a_placement_in_flight_at_the_stop_is_cancelled_when_it_is_accepted() -> None:
    venue = fresh()
    order = venue.unsent.popleft()
    actions = venue.tell(StopRequested(reason="", ts_ns=venue.now_ns))
    assert order.client_order_id in cancelled(actions)
    venue.cancels.clear()
    actions = venue.accept(order)
    assert cancelled(actions) == [order.client_order_id]
    (cancel,) = [a for a in actions if isinstance(a, CancelOrder)]
    assert cancel.order.venue_order_id == "v1"


def test_a_fill_during_the_stop_is_booked_and_not_offered() -> None:
    venue = started()
    venue.tell(StopRequested(reason="", ts_ns=venue.now_ns))
    actions = venue.fill(order_at(venue, ANCHOR - 100))
    assert placed(actions) == []
    assert readings.totals(venue.manager).inventory_lots == 20


def test_a_flatten_after_a_stop_places_nothing() -> None:
    venue = started()
    venue.fill(order_at(venue, ANCHOR - 100))
    venue.tell(StopRequested(reason="", ts_ns=venue.now_ns))
    venue.settle_cancels()
    actions = venue.tell(FlattenRequested(reason="out", ts_ns=venue.now_ns))
    assert placed(actions) == []
    assert venue.position == 20


def test_flatten_goes_on_while_gates_are_shut() -> None:
    venue = started()
    venue.fill(order_at(venue, ANCHOR - 100))
    venue.calm()
    shut(venue)
    venue.tell(FlattenRequested(reason="out", ts_ns=venue.now_ns))
    venue.settle_cancels()
    assert [(o.side, o.qty_lots) for o in venue.unsent] == [(Side.SELL, 20)]


# --- ids, timers, quiet prices ---


def test_sequence_numbers_wrap_and_pass_over_those_in_use() -> None:
    manager = make_manager(grid_settings(), sequences=8, first_sequence=6)
    venue = ToyVenue(manager)
    numbers = [o.client_order_id.sequence for o in placed(venue.start(ANCHOR))]
    assert numbers == [6, 7, 0, 1]
    venue.calm()
    manager.next_sequence = 7
    assert [o.client_order_id.sequence for o in placed(venue.price(ANCHOR + 10))] == [2]


def test_ended_orders_are_remembered_up_to_a_bound() -> None:
    venue = fresh(grid_settings(buy_window=2, refused_delay_s=0.001, retry_delay_s=0.001))
    for _ in range(5_051):
        venue.refuse(venue.unsent.popleft(), Refusal.OTHER)
        venue.wait(15.1)
    assert len(venue.manager.ended_orders) == 5_001
    assert 1 not in venue.manager.ended_orders


def test_refusals_in_a_row_wait_ever_longer_and_an_order_that_rested_begins_the_count_anew() -> (
    None
):
    venue = fresh(grid_settings(buy_window=2, retry_delay_s=0.5))
    waits = []
    for _ in range(8):
        venue.refuse(venue.unsent.popleft(), Refusal.OTHER)
        waited = 0.0
        while not venue.unsent:
            venue.wait(0.25)
            waited += 0.25
        waits.append(waited)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    venue.accept_all()
    venue.wait(11)
    (toy,) = venue.open()
    venue.end(toy, EndReason.VENUE)
    assert not venue.unsent
    venue.wait(0.5)
    assert len(venue.unsent) == 1


def test_a_timer_that_rings_too_early_does_nothing() -> None:
    venue = fresh(grid_settings(buy_window=2))
    venue.refuse(venue.unsent.popleft(), Refusal.OTHER)
    due = venue.manager.wake_at_ns
    assert due is not None
    assert venue.tell(TimerFired(ts_ns=due - 1)) == []
    assert len(placed(venue.tell(TimerFired(ts_ns=due)))) == 1
    assert venue.manager.wake_at_ns is None


def test_a_price_inside_the_quiet_band_is_taken_note_of_and_nothing_else() -> None:
    venue = started()
    assert venue.manager.quiet_band == (ANCHOR - 50, ANCHOR + 9)
    before = readings.totals(venue.manager)
    assert venue.price(ANCHOR + 9) == []
    assert readings.totals(venue.manager) == replace(before, price_ticks=Ticks(ANCHOR + 9))


def test_cancels_come_first_then_exits_then_entries_nearest_first() -> None:
    venue = started(grid_settings(sell_window=5))
    reports = [venue.trade(order_at(venue, ANCHOR - 100 * k), 20) for k in (1, 2)]
    venue.tell(OrderStreamLost(reason="gap", ts_ns=venue.now_ns))
    for report in reports:
        venue.deliver(report)
    venue.tell(OrderStreamRestored(ts_ns=venue.now_ns))
    venue.price(ANCHOR + 210)
    actions = venue.snapshot()
    told = [
        ("place", int(a.order.side), int(a.order.price_ticks) - ANCHOR)
        for a in actions
        if isinstance(a, PlaceOrder)
    ]
    assert told == [
        ("place", -1, 0),
        ("place", -1, -100),
        ("place", 1, 200),
        ("place", 1, 100),
        ("place", 1, 0),
    ]


def test_every_order_and_every_end_says_why() -> None:
    venue = started()
    venue.fill(order_at(venue, ANCHOR - 100))
    venue.price(ANCHOR + 210)
    venue.calm()
    reasons = [a.reason for a in venue.all_actions if isinstance(a, PlaceOrder | CancelOrder)]
    assert set(reasons) == {"entry in the window", "exit of inventory", "outside the window"}


def test_an_orders_end_tells_its_whole_life() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    venue.fill(toy, 5)
    (end,) = [a for a in venue.end(toy, EndReason.EXPIRED) if isinstance(a, RecordOrderEnd)]
    assert end.client_order_id == toy.order.client_order_id
    assert end.venue_order_id == toy.venue_order_id
    assert (end.side, end.price_ticks, end.qty_lots, end.filled_lots) == (
        Side.BUY,
        ANCHOR - 100,
        20,
        5,
    )
    assert 0 < end.ts_sent_ns < end.ts_accepted_ns < end.ts_ended_ns == venue.now_ns


def test_a_report_tells_the_time_of_its_event_only() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    venue.tell(OrderReported(report=venue.trade(toy, 20), ts_ns=venue.now_ns + 5))
    assert venue.manager.now_ns == venue.manager.last_fill_ns == venue.now_ns + 5


def test_neutral_entries_given_up_by_the_cleaner_stay_away_until_the_level_changes() -> None:
    venue = started(
        grid_settings(
            side=GridSide.NEUTRAL,
            anchor=Decimal(2498),
            buy_window=4,
            sell_window=4,
            max_open_orders=4,
            cleanup_batch_size=2,
        )
    )
    assert len(venue.open()) == 4
    names = cancelled(venue.tell(CleanupDue(ts_ns=venue.now_ns)))
    venue.calm()
    assert len(names) == 2
    assert placed(venue.price(ANCHOR + 30)) == []


def test_an_exit_without_room_is_placed_once_the_cancels_under_way_are_done() -> None:
    venue = started(grid_settings(buy_window=2, sell_window=2, max_open_orders=3))
    for rung in (-1, -2, -3):
        venue.price(ANCHOR + 100 * rung + 10)
        venue.calm()
        venue.fill(order_at(venue, ANCHOR + 100 * rung))
        venue.calm()
    assert venue.prices(Side.SELL) == [ANCHOR - 200, ANCHOR - 100]
    assert placed(venue.price(ANCHOR - 90)) == []
    assert why(venue, -1) == "max_open_orders reached"
    assert placed(shut(venue)) == []
    venue.settle_cancels()
    assert [(o.side, o.price_ticks) for o in venue.unsent] == [(Side.SELL, ANCHOR)]
    assert venue.manager.starved == {1: [], -1: []}


def test_a_report_without_the_venues_order_id_keeps_the_one_we_know() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100)
    venue.deliver(replace(venue.trade(toy, 5), venue_order_id=""))
    slot = venue.manager.slots[-1]
    assert slot.order is not None
    assert slot.order.venue_order_id == toy.venue_order_id
