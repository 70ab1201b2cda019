"""The reconciler, the order feed and the order cleaner: what the venue says reaches the queue, errors never do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest

from marketmaker.errors import NotSent, OutcomeUnknown, RateLimited
from marketmaker.model.event import (
    CleanupDue,
    Event,
    FundingBooked,
    OrderReported,
    OrderStreamLost,
    OrderStreamRestored,
    SnapshotTaken,
)
from marketmaker.model.order import ClientOrderId, Side
from marketmaker.runtime.event_queue import EventQueue
from marketmaker.runtime.executor import Channel
from marketmaker.runtime.order_cleaner import OrderCleaner
from marketmaker.runtime.order_feed import OrderFeed
from marketmaker.runtime.reconciler import Reconciler
from marketmaker.sim.loop import LoopClock
from tests.support.fakes import (
    FLAT,
    NS,
    FakeAdapter,
    Hang,
    ManualClock,
    drain_queue,
    make_fill,
    make_instrument,
    make_report,
    run_virtual,
)

FIRST_FILL_NS = 1_000 * NS


class Bench:
    """A running reconciler over a fake venue; `after` lets virtual time pass and tells what was posted when."""

    def __init__(self, clock: LoopClock, *, latency_s: float) -> None:
        self.clock = clock
        self.start_ns = clock.now_ns()
        self.adapter = FakeAdapter(latency_s=latency_s)
        self.channel = Channel(
            name="ETHUSDT", instrument=make_instrument(), queue=EventQueue(bound=20)
        )
        self.reconciler = Reconciler(self.channel, self.adapter, clock, 60.0, FIRST_FILL_NS)

    async def after(self, seconds: float) -> list[float]:
        """When snapshots were taken, in seconds since the start."""
        await asyncio.sleep(seconds)
        return [(event.ts_ns - self.start_ns) / NS for event in self.snapshots()]

    def snapshots(self) -> list[SnapshotTaken]:
        return [e for e in drain_queue(self.channel.queue) if isinstance(e, SnapshotTaken)]

    def asked(self, method: str) -> list[Any]:
        return [argument for name, argument in self.adapter.asked if name == method]


def virtual(
    *, latency_s: float = 0.0
) -> Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], Callable[[], None]]:
    """Make a test out of `async def test(bench)`, run on virtual time."""

    def wrap(test: Callable[[Bench], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        def run() -> None:
            async def main(clock: LoopClock) -> None:
                bench = Bench(clock, latency_s=latency_s)
                service = asyncio.ensure_future(bench.reconciler.run())
                await test(bench)
                assert not service.done()
                service.cancel()
                with suppress(asyncio.CancelledError):
                    await service

            run_virtual(main)

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return wrap


@virtual()
async def test_a_snapshot_is_taken_at_every_interval(bench: Bench) -> None:
    assert await bench.after(200) == pytest.approx([60.0, 120.5, 181.0])


@virtual()
async def test_a_request_is_answered_at_once_and_many_are_one(bench: Bench) -> None:
    for _ in range(5):
        bench.reconciler.request("test")
    assert await bench.after(10) == [0.0]


@virtual(latency_s=1.0)
async def test_a_request_during_a_reading_is_answered_anew(bench: Bench) -> None:
    bench.reconciler.request("first")
    await asyncio.sleep(1.5)
    bench.reconciler.request("second")
    [first, second] = await bench.after(10)
    assert (first, second) == (3.0, 6.5)


@virtual(latency_s=1.0)
async def test_a_snapshot_holds_what_was_read_and_between_which_times(bench: Bench) -> None:
    orders = [make_report(ClientOrderId(0, Side.BUY, 1)), make_report(None)]
    bench.adapter.script["fetch_open_orders"] = [orders]
    bench.adapter.script["fetch_fills"] = [[make_fill("t1", 5_000 * NS)]]
    bench.reconciler.request("test")
    await asyncio.sleep(5)
    [event] = bench.snapshots()
    snapshot = event.snapshot
    assert snapshot.open_orders == tuple(orders)
    assert snapshot.position == FLAT
    assert snapshot.fills == (make_fill("t1", 5_000 * NS),)
    assert snapshot.ts_asked_ns == bench.start_ns
    assert snapshot.ts_answered_ns == event.ts_ns == bench.start_ns + 3 * NS


@virtual()
async def test_trades_are_asked_for_after_orders_and_position(bench: Bench) -> None:
    bench.reconciler.request("test")
    await asyncio.sleep(1)
    assert [name for name, _ in bench.adapter.asked] == [
        "fetch_open_orders",
        "fetch_position",
        "fetch_fills",
    ]


@virtual()
async def test_trades_are_asked_for_from_a_minute_before_the_last_one_told(bench: Bench) -> None:
    bench.adapter.script["fetch_fills"] = [
        [],
        [make_fill("a", 5_000 * NS), make_fill("b", 4_000 * NS)],
        [],
        [make_fill("c", 1_001 * NS)],
        [],
    ]
    for _ in range(5):
        bench.reconciler.request("test")
        await asyncio.sleep(1)
    seconds = [since // NS for since in bench.asked("fetch_fills")]
    assert seconds == [1_000, 1_000, 4_940, 4_940, 4_940]


@virtual()
async def test_trades_before_our_books_began_are_never_asked_for(bench: Bench) -> None:
    bench.adapter.script["fetch_fills"] = [[make_fill("a", FIRST_FILL_NS + NS)]]
    for _ in range(2):
        bench.reconciler.request("test")
        await asyncio.sleep(1)
    assert bench.asked("fetch_fills") == [FIRST_FILL_NS, FIRST_FILL_NS]


@pytest.mark.parametrize("method", ["fetch_open_orders", "fetch_position", "fetch_fills"])
def test_an_error_is_never_an_empty_snapshot(method: str) -> None:
    @virtual()
    async def run(bench: Bench) -> None:
        usual = {"fetch_open_orders": (), "fetch_position": FLAT, "fetch_fills": ()}[method]
        bench.adapter.script[method] = [OutcomeUnknown("502"), OutcomeUnknown("502"), usual]
        bench.reconciler.request("test")
        assert await bench.after(20) == [3.0]

    run()


@virtual()
async def test_errors_back_off_to_half_a_minute_and_a_success_resets(bench: Bench) -> None:
    bench.adapter.script["fetch_open_orders"] = [NotSent("down")] * 8 + [(), NotSent("down"), ()]
    bench.reconciler.request("test")
    assert await bench.after(180) == [1.0 + 2 + 4 + 8 + 16 + 30 + 30 + 30]
    assert bench.reconciler.failed == 0
    bench.adapter.asked.clear()
    before = (bench.clock.now_ns() - bench.start_ns) / NS
    bench.reconciler.request("test")
    [taken] = await bench.after(10)
    assert taken == pytest.approx(before + 1.0, abs=1.0)


@virtual()
async def test_a_rate_limit_is_waited_out(bench: Bench) -> None:
    bench.adapter.script["fetch_position"] = [RateLimited("x", retry_after_s=45.0), FLAT]
    bench.reconciler.request("test")
    assert await bench.after(60) == [45.0]


@virtual()
async def test_a_reading_that_hangs_is_given_up_and_asked_again(bench: Bench) -> None:
    bench.adapter.script["fetch_fills"] = [Hang, ()]
    bench.reconciler.request("test")
    assert await bench.after(50) == [31.0]


@virtual()
async def test_a_queue_that_overflows_asks_for_a_snapshot(bench: Bench) -> None:
    for n in range(21):
        bench.channel.queue.put(
            OrderReported(report=make_report(ClientOrderId(0, Side.BUY, n)), ts_ns=n)
        )
    assert await bench.after(5) == [0.0]


class FeedBench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.channel = Channel(name="ETHUSDT", instrument=make_instrument(), queue=EventQueue())
        self.asked: list[str] = []
        self.feed = OrderFeed(self.channel, self.clock, self.asked.append)

    def heard(self) -> list[Event]:
        return drain_queue(self.channel.queue)


def test_a_stream_that_comes_up_is_told_and_asks_for_a_snapshot() -> None:
    bench = FeedBench()
    bench.feed.stream_up()
    assert bench.heard() == [OrderStreamRestored(ts_ns=bench.clock.ns)]
    assert len(bench.asked) == 1
    bench.feed.stream_down("closed")
    bench.feed.stream_down("still")
    assert bench.heard() == [OrderStreamLost(reason="closed", ts_ns=bench.clock.ns)]
    bench.feed.stream_up()
    bench.feed.stream_up()
    assert len(bench.heard()) == 2
    assert len(bench.asked) == 3


def test_a_stream_that_is_down_from_the_start_is_told() -> None:
    bench = FeedBench()
    bench.feed.stream_down("refused")
    assert [type(event) for event in bench.heard()] == [OrderStreamLost]


def test_our_orders_and_funding_pass_and_foreign_orders_are_counted() -> None:
    bench = FeedBench()
    ours = make_report(ClientOrderId(0, Side.BUY, 1))
    bench.feed.on_order(ours, 5)
    bench.feed.on_order(make_report(None), 6)
    bench.feed.on_funding("f1", Decimal("-0.5"), 7, 8)
    bench.feed.on_position(FLAT, 9)
    assert bench.heard() == [
        OrderReported(report=ours, ts_ns=5),
        FundingBooked(payment_id="f1", amount=Decimal("-0.5"), ts_ns=8),
    ]
    assert (bench.feed.reports, bench.feed.foreign) == (1, 1)
    assert bench.feed.last_position == FLAT


def test_the_order_cleaner_reminds_at_every_interval() -> None:
    async def main(clock: LoopClock) -> list[float]:
        queue, start = EventQueue(), clock.now_ns()
        with suppress(TimeoutError):
            async with asyncio.timeout(35):
                await OrderCleaner(queue, clock, 10.0).run()
        events = drain_queue(queue)
        assert all(isinstance(event, CleanupDue) for event in events)
        return [(event.ts_ns - start) / NS for event in events]

    assert run_virtual(main) == [10.0, 20.0, 30.0]
