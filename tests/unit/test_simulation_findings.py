"""Rules that the simulation found broken, each on its smallest stage."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from decimal import Decimal

from marketmaker.core import readings
from marketmaker.errors import NotSent, RateLimited
from marketmaker.model.account import Position
from marketmaker.model.action import Action, CancelOrder, PlaceOrder, RaiseAlert, TakeSnapshot
from marketmaker.model.event import (
    FlattenRequested,
    Gate,
    GateOpened,
    GateShut,
    OrderStreamLost,
    PlaceRefused,
    PriceChanged,
    Refusal,
    SnapshotTaken,
    TimerFired,
)
from marketmaker.model.instrument import Lots, Ticks
from marketmaker.model.order import ClientOrderId, EndReason, NewOrder, OrderStatus, Side
from marketmaker.model.settings import ExecutionSettings, GridSide
from marketmaker.runtime.event_queue import EventQueue
from marketmaker.runtime.executor import Channel, Executor
from marketmaker.runtime.rate_limit import TokenBucket
from marketmaker.runtime.reconciler import Reconciler
from marketmaker.sim.loop import LoopClock
from tests.support.fakes import (
    FakeAdapter,
    drain_queue,
    make_instrument,
    make_order,
    make_ref,
    make_report,
    run_virtual,
)
from tests.support.toy_venue import SECOND, ToyVenue, grid_settings, make_manager


def make_executor(clock: LoopClock, adapter: FakeAdapter) -> tuple[Executor, Channel]:
    bucket = TokenBucket(1000.0, 1000, 0.0)
    executor = Executor(adapter, ExecutionSettings(), clock, bucket, random.Random(1))
    return executor, Channel(name="ETHUSDT", instrument=make_instrument(), queue=EventQueue())


def test_a_placement_cancelled_while_in_flight_is_not_tried_again() -> None:
    """Seed 1059: entries were locked for want of margin, and one of them was sent all the same."""

    async def main(clock: LoopClock) -> None:
        adapter = FakeAdapter(latency_s=0.1)
        order = make_order(1)
        adapter.outcomes[order.client_order_id] = [NotSent("no connection")]
        executor, channel = make_executor(clock, adapter)
        executor.submit(channel, [PlaceOrder(order=order, reason="test")])
        await asyncio.sleep(0.05)
        executor.submit(channel, [CancelOrder(order=make_ref(order, ""), reason="margin")])
        await asyncio.sleep(5)
        assert adapter.placed_sequences == [1]
        (refused,) = drain_queue(channel.queue)
        assert isinstance(refused, PlaceRefused) and refused.refusal is Refusal.WITHDRAWN

    run_virtual(main)


def test_a_limit_told_to_somebody_else_stills_the_whole_account() -> None:
    """Seed 4449: the stop went on cancelling while the venue had asked for a pause."""

    async def main(clock: LoopClock) -> None:
        adapter = FakeAdapter()
        executor, channel = make_executor(clock, adapter)
        executor.hear_limit(RateLimited("slow down", retry_after_s=2.0))
        executor.submit(channel, [CancelOrder(order=make_ref(make_order(1)), reason="test")])
        await asyncio.sleep(1.9)
        assert adapter.cancels == []
        await asyncio.sleep(0.2)
        assert len(adapter.cancels) == 1

    run_virtual(main)


def test_cancels_by_another_way_are_paid_from_the_same_budget() -> None:
    """Seeds 106 and 121: the stop cancelled what the venue still listed as fast as it could ask."""

    async def main(clock: LoopClock) -> None:
        bucket = TokenBucket(10.0, 5, 0.0)
        executor = Executor(FakeAdapter(), ExecutionSettings(), clock, bucket, random.Random(1))
        assert await executor.spend_on_cancels(20) == 5
        began_ns = clock.now_ns()
        assert await executor.spend_on_cancels(20) == 1
        assert clock.now_ns() - began_ns >= 100_000_000
        executor.hear_limit(RateLimited("slow down", retry_after_s=2.0))
        assert await executor.spend_on_cancels(3) == 3
        assert clock.now_ns() - began_ns >= 2_100_000_000

    run_virtual(main)


def test_orders_on_their_way_out_are_taken_back_when_the_order_stream_is_lost() -> None:
    """Seed 1023: an order that waited for its second attempt left while the stream was down."""
    venue = ToyVenue(make_manager())
    venue.start(250_000)
    resting = [venue.unsent.popleft() for _ in range(2)]
    for order in resting:
        venue.accept(order)
    waiting = {order.client_order_id for order in venue.unsent}
    actions = venue.tell(OrderStreamLost(reason="reset", ts_ns=venue.now_ns))
    cancelled = {a.order.client_order_id for a in actions if isinstance(a, CancelOrder)}
    assert waiting and cancelled == waiting


def test_an_empty_first_list_of_orders_is_asked_for_again() -> None:
    """Seed 2239: one empty answer after a restart doubled the orders that were still open."""

    async def main(clock: LoopClock) -> None:
        report = make_report(ClientOrderId(0, Side.BUY, 1))
        adapter = FakeAdapter(script={"fetch_open_orders": [(), (report,)]})
        channel = Channel(name="ETHUSDT", instrument=make_instrument(), queue=EventQueue())
        reconciler = Reconciler(channel, adapter, clock, 60.0, 0, doubts_empty=True)
        reconciler.request("start")
        service = asyncio.ensure_future(reconciler.run())
        await asyncio.sleep(5)
        service.cancel()
        with suppress(asyncio.CancelledError):
            await service
        (taken,) = drain_queue(channel.queue)
        assert isinstance(taken, SnapshotTaken)
        assert taken.snapshot.open_orders == (report,)

    run_virtual(main)


def test_none_is_believed_at_the_start_when_two_readings_in_a_row_say_so() -> None:
    """An endpoint that was out of order for a moment: each of two readings said that something else was none."""

    async def main(clock: LoopClock) -> None:
        report = make_report(ClientOrderId(0, Side.BUY, 1))
        zero = Decimal(0)
        none = Position(qty_lots=Lots(0), entry_price=zero, mark_price=zero)
        long = Position(qty_lots=Lots(7), entry_price=Decimal(2500), mark_price=Decimal(2500))
        adapter = FakeAdapter(
            script={
                "fetch_open_orders": [(report,), (), (report,)],
                "fetch_position": [none, long, long],
            }
        )
        channel = Channel(name="ETHUSDT", instrument=make_instrument(), queue=EventQueue())
        reconciler = Reconciler(channel, adapter, clock, 60.0, 0, doubts_empty=True)
        reconciler.request("start")
        service = asyncio.ensure_future(reconciler.run())
        await asyncio.sleep(8)
        service.cancel()
        with suppress(asyncio.CancelledError):
            await service
        (taken,) = drain_queue(channel.queue)
        assert isinstance(taken, SnapshotTaken)
        assert taken.snapshot.open_orders == (report,)
        assert taken.snapshot.position.qty_lots == 7

    run_virtual(main)


def test_a_close_does_not_sell_again_what_a_late_fill_has_sold() -> None:
    """An exit filled while it was being cancelled for the close, and was told after its inventory was carried away."""
    venue = ToyVenue(make_manager())
    venue.start(250_000)
    venue.calm()
    for slot in (-1, -2):
        entry = next(toy for toy in venue.open() if toy.order.client_order_id.slot == slot)
        venue.fill(entry)
        venue.calm()
    held = venue.position
    exits = venue.open(Side.SELL)
    assert len(exits) == 2 and venue.manager.books.inventory_lots == held
    venue.tell(FlattenRequested(reason="out", ts_ns=venue.now_ns))
    venue.settle_cancels()
    closing = venue.take(venue.unsent.popleft())
    assert closing.order.qty_lots == held
    carried = next(
        toy for toy in exits if toy.order.client_order_id.slot != closing.order.client_order_id.slot
    )
    carried.status = OrderStatus.OPEN
    venue.deliver(venue.trade(carried, carried.order.qty_lots))
    venue.fill(closing, venue.position)
    venue.end(closing, EndReason.IOC)
    venue.wait(60)
    assert venue.position == 0
    assert not venue.unsent
    assert not venue.manager.closing
    assert not venue.manager.holding
    assert venue.manager.books.inventory_lots == venue.manager.books.inventory_cost == 0


def test_a_difference_between_which_we_traded_must_be_seen_five_times() -> None:
    """While trades go on, a reading that lags differs by the same again and again, and two prove nothing."""
    venue = ToyVenue(make_manager())
    venue.start(250_000)
    venue.calm()
    venue.position += 20
    assert not alerts(venue.snapshot())
    venue.pass_time(2)
    entry = next(toy for toy in venue.open() if toy.order.client_order_id.slot == -1)
    venue.fill(entry)
    venue.calm()
    for _ in range(3):
        venue.pass_time(2)
        assert not alerts(venue.snapshot())
    venue.pass_time(2)
    assert alerts(venue.snapshot()) == ["reconcile.differed"]
    assert venue.manager.books.inventory_lots == venue.position


def test_a_reading_that_cannot_tell_the_position_is_followed_by_another_while_a_difference_waits() -> (
    None
):
    """A fill while each second look was taken put the next one off to the interval, and the repair for minutes."""
    venue = ToyVenue(make_manager())
    venue.start(250_000)
    venue.calm()
    venue.position += 20
    assert not alerts(venue.snapshot())
    venue.pass_time(2)
    asked_ns = venue.now_ns
    venue.fill(next(toy for toy in venue.open() if toy.order.client_order_id.slot == -1))
    venue.tell(TimerFired(ts_ns=venue.now_ns))  # the first second look, which cannot tell
    venue.snapshot(asked_ns=asked_ns)
    venue.pass_time(2)
    actions = venue.tell(TimerFired(ts_ns=venue.now_ns))
    assert any(isinstance(action, TakeSnapshot) for action in actions)


def test_two_readings_within_one_lag_of_the_venue_are_one_sighting() -> None:
    venue = ToyVenue(make_manager())
    venue.start(250_000)
    venue.calm()
    venue.position += 20
    assert not alerts(venue.snapshot())
    first_ns = venue.now_ns
    assert not alerts(venue.snapshot(asked_ns=first_ns + SECOND))
    assert alerts(venue.snapshot()) == ["reconcile.differed"]


def test_lots_that_come_after_the_grid_has_closed_are_left_to_the_owner() -> None:
    """Nothing would ever have closed them: they were offered by a grid that had ended."""
    venue = ToyVenue(make_manager())
    venue.start(250_000)
    venue.calm()
    venue.tell(FlattenRequested(reason="out", ts_ns=venue.now_ns))
    venue.settle_cancels()
    assert venue.manager.ended and not venue.manager.closing
    venue.position += 20
    venue.snapshot()
    venue.pass_time(2)
    assert alerts(venue.snapshot()) == ["reconcile.differed", "reconcile.unwanted"]
    venue.calm()
    assert venue.manager.repair.foreign_lots == 20
    assert venue.open() == []


def test_what_a_restart_must_know_is_written_down_when_it_happens() -> None:
    """A process that died soon after had forgotten its pause, its close, or that the trigger was reached."""
    venue = ToyVenue(make_manager(grid_settings(trigger_price=Decimal(2499))))
    venue.start(250_000)
    assert readings.memory(venue.manager).triggered is False  # type: ignore[union-attr]
    for event in (
        PriceChanged(price_ticks=Ticks(249_900), ts_venue_ns=venue.now_ns, ts_ns=venue.now_ns),
        GateShut(gate=Gate.PAUSED, reason="asked", ts_ns=venue.now_ns),
        GateOpened(gate=Gate.PAUSED, ts_ns=venue.now_ns),
        FlattenRequested(reason="out", ts_ns=venue.now_ns),
    ):
        before = readings.memory(venue.manager)
        venue.manager.rearranged = False
        venue.tell(event)
        assert venue.manager.rearranged, event
        assert readings.memory(venue.manager) != before or isinstance(event, FlattenRequested)


def alerts(actions: list[Action]) -> list[str]:
    return [action.topic for action in actions if isinstance(action, RaiseAlert)]


def test_trades_taken_over_without_memory_are_not_booked_by_the_next_process() -> None:
    """Seed 1103: the position had been adopted; after one more restart its trades were booked on top of it."""
    first = ToyVenue(make_manager(first_sequence=1))
    first.start(250_000)
    first.accept_all()
    bought = first.open(Side.BUY)[-1]
    first.trade(bought, bought.order.qty_lots)

    second = make_manager(first_sequence=1_000)
    first.manager = second
    first.start(250_000)
    first.pass_time(3)
    first.snapshot()
    first.pass_time(3)
    first.snapshot()
    assert second.books.inventory_lots == first.position
    memory = readings.memory(second)

    third = make_manager(first_sequence=2_000, memory=memory)
    first.manager = third
    first.pass_time(1)
    first.start(250_000)
    assert third.books.inventory_lots == first.position


def test_an_exit_of_a_neutral_grid_is_not_reduce_only_while_the_other_side_holds_dust() -> None:
    """Seed 2176: refused every two seconds, for the net position was smaller than the slot."""
    settings = grid_settings(side=GridSide.NEUTRAL, anchor=Decimal(2500))
    venue = ToyVenue(make_manager(settings))
    venue.start(250_000)
    venue.accept_all()
    buy, sell = venue.open(Side.BUY)[-1], venue.open(Side.SELL)[0]
    venue.fill(sell, 1)
    assert venue.manager.books.inventory_lots == -1
    venue.fill(buy)
    exits: list[NewOrder] = [o for o in venue.unsent if o.side is Side.SELL]
    assert exits and not exits[0].reduce_only


def test_price_events_do_not_lift_a_lost_stream() -> None:
    venue = ToyVenue(make_manager())
    venue.start(250_000)
    venue.accept_all()
    venue.tell(OrderStreamLost(reason="reset", ts_ns=venue.now_ns))
    actions = venue.tell(
        PriceChanged(price_ticks=Ticks(249_500), ts_venue_ns=0, ts_ns=venue.now_ns + 1)
    )
    assert not any(isinstance(action, PlaceOrder) for action in actions)
    assert venue.manager.books.inventory_lots == Lots(0)
