"""The event queue: prices conflate and go first, nothing else is lost or reordered."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.errors import InvariantBroken
from marketmaker.model.event import (
    CleanupDue,
    Event,
    OrderReported,
    OrderStreamLost,
    OrderStreamRestored,
    PriceChanged,
)
from marketmaker.model.instrument import Ticks
from marketmaker.model.order import ClientOrderId, Side
from marketmaker.runtime.event_queue import STREAK_MAX, EventQueue
from marketmaker.runtime.turn import Turn
from tests.support.fakes import drain_queue, make_price, make_report


def due(ts_ns: int) -> CleanupDue:
    return CleanupDue(ts_ns=ts_ns)


def reported(sequence: int) -> OrderReported:
    return OrderReported(report=make_report(ClientOrderId(0, Side.BUY, sequence)), ts_ns=sequence)


def test_only_the_newest_price_is_delivered() -> None:
    queue = EventQueue()
    for ticks in (100, 101, 99):
        queue.put_price(make_price(ticks))
    assert drain_queue(queue) == [make_price(99)]
    assert (queue.prices_seen, queue.prices_delivered) == (3, 1)


def test_a_pending_price_goes_before_events_that_came_earlier() -> None:
    queue = EventQueue()
    queue.put(due(1))
    queue.put(due(2))
    queue.put(make_price(100))
    assert drain_queue(queue) == [make_price(100), due(1), due(2)]


@pytest.mark.parametrize(
    ("ticks", "quiet"), [(89, False), (90, True), (100, True), (110, True), (111, False)]
)
def test_both_ends_of_the_quiet_band_are_quiet(ticks: int, quiet: bool) -> None:
    queue = EventQueue()
    queue.quiet_band = (90, 110)
    queue.offer_price(*price(ticks))
    assert (queue.poll() is None) is quiet
    assert queue.prices_quiet == int(quiet)


def test_without_a_band_every_price_is_loud() -> None:
    queue = EventQueue()
    assert queue.quiet_band is None
    queue.offer_price(*price(1))
    assert queue.poll() == make_price(1)


def test_a_quiet_price_is_delivered_before_the_next_event() -> None:
    queue = EventQueue()
    queue.quiet_band = (90, 110)
    queue.put_price(make_price(95))
    queue.put_price(make_price(105))
    queue.put(due(1))
    assert drain_queue(queue) == [make_price(105), due(1)]


def test_a_new_band_can_make_a_quiet_price_loud() -> None:
    queue = EventQueue()
    queue.quiet_band = (90, 110)
    queue.put_price(make_price(95))
    assert queue.poll() is None
    queue.quiet_band = (100, 110)
    assert queue.poll() == make_price(95)


def test_a_loud_price_followed_by_a_quiet_one_before_delivery_is_quiet() -> None:
    queue = EventQueue()
    queue.quiet_band = (90, 110)
    queue.put_price(make_price(200))
    queue.put_price(make_price(100))
    assert queue.poll() is None
    assert queue.prices_loud == queue.prices_quiet == 1


class Consumer:
    """Keeps what it is given; `failure` is what it made of the event that it choked on."""

    def __init__(self, queue: EventQueue, *, chokes_on: Event | None = None) -> None:
        self.heard: list[Event] = []
        self.failure: Exception | None = None
        self._chokes_on = chokes_on
        queue.serve(self._hear, self._fail)

    def _hear(self, event: Event) -> None:
        if event == self._chokes_on:
            raise InvariantBroken("cannot swallow this")
        self.heard.append(event)

    def _fail(self, error: Exception) -> None:
        self.failure = error


async def test_a_quiet_price_wakes_nobody_and_a_band_that_makes_it_loud_does() -> None:
    queue = EventQueue()
    queue.quiet_band = (90, 110)
    consumer = Consumer(queue)
    queue.put_price(make_price(100))
    await asyncio.sleep(0)
    assert consumer.heard == []
    queue.quiet_band = None
    await asyncio.sleep(0)
    assert consumer.heard == [make_price(100)]


async def test_outside_a_turn_an_event_is_consumed_in_the_next_turn_of_the_loop() -> None:
    queue = EventQueue()
    consumer = Consumer(queue)
    queue.put(due(7))
    assert consumer.heard == []
    await asyncio.sleep(0)
    assert consumer.heard == [due(7)]


async def test_what_came_before_the_consumer_waits_for_it() -> None:
    queue = EventQueue()
    queue.put(due(1))
    consumer = Consumer(queue)
    await asyncio.sleep(0)
    assert consumer.heard == [due(1)]


async def test_within_a_turn_only_its_newest_price_is_consumed_and_at_its_end() -> None:
    turn = Turn()
    queue, other = EventQueue(turn=turn), EventQueue(turn=turn)
    consumer, bystander = Consumer(queue), Consumer(other)
    for ticks in (100, 101):
        turn.begin()
        queue.put_price(make_price(ticks))
        turn.more()
    turn.begin()
    queue.put_price(make_price(99))
    other.put(due(1))
    assert consumer.heard == bystander.heard == []
    turn.end()
    assert consumer.heard == [make_price(99)]
    assert bystander.heard == [due(1)]
    await asyncio.sleep(0)
    assert consumer.heard == [make_price(99)]


async def test_a_turn_whose_last_message_never_comes_ends_by_itself() -> None:
    turn = Turn()
    queue = EventQueue(turn=turn)
    consumer = Consumer(queue)
    turn.begin()
    queue.put_price(make_price(100))
    turn.more()
    await asyncio.sleep(0)
    assert consumer.heard == [make_price(100)]
    queue.put(due(1))
    await asyncio.sleep(0)
    assert consumer.heard == [make_price(100), due(1)]


async def test_what_is_put_while_consuming_comes_next_and_never_in_between() -> None:
    queue, order = EventQueue(), []

    def consume(event: Event) -> None:
        order.append(("begin", event.ts_ns))
        if event.ts_ns < 3:
            queue.put(due(event.ts_ns + 1))
        order.append(("end", event.ts_ns))

    queue.serve(consume, lambda error: None)
    queue.put(due(1))
    await asyncio.sleep(0)
    assert order == [(what, number) for number in (1, 2, 3) for what in ("begin", "end")]


async def test_a_released_consumer_loses_nothing() -> None:
    queue = EventQueue()
    Consumer(queue)
    queue.put(due(1))
    queue.release()
    await asyncio.sleep(0)
    successor = Consumer(queue)
    await asyncio.sleep(0)
    assert successor.heard == [due(1)]


async def test_a_second_consumer_is_an_invariant_broken() -> None:
    queue = EventQueue()
    Consumer(queue)
    with pytest.raises(InvariantBroken):
        Consumer(queue)


async def test_a_consumer_that_breaks_is_told_of_once_and_gets_nothing_more() -> None:
    queue = EventQueue()
    consumer = Consumer(queue, chokes_on=due(2))
    for number in (1, 2, 3):
        queue.put(due(number))
    await asyncio.sleep(0)
    queue.put(due(4))
    await asyncio.sleep(0)
    assert consumer.heard == [due(1)]
    assert isinstance(consumer.failure, InvariantBroken)
    assert drain_queue(queue) == [due(3), due(4)]


async def test_a_long_backlog_lets_others_run_now_and_then() -> None:
    queue = EventQueue()
    for number in range(3 * STREAK_MAX):
        queue.put(due(number))
    consumer = Consumer(queue)
    seen = []
    for _ in range(3):
        await asyncio.sleep(0)
        seen.append(len(consumer.heard))
    assert seen == [STREAK_MAX, 2 * STREAK_MAX, 3 * STREAK_MAX]


def test_an_overflow_gives_up_reports_only_and_asks_for_a_snapshot() -> None:
    queue = EventQueue(bound=10)
    asked: list[str] = []
    queue.on_overflow = asked.append
    queue.put(OrderStreamRestored(ts_ns=0))
    assert isinstance(queue.poll(), OrderStreamRestored)
    queue.put(due(100))
    for sequence in range(9):
        queue.put(reported(sequence))
    assert not asked
    queue.put(reported(9))
    events = drain_queue(queue)
    assert [type(event) for event in events] == [
        CleanupDue,
        OrderStreamLost,
        OrderStreamRestored,
        OrderReported,
    ]
    assert events[-1] == reported(9)
    assert len(asked) == queue.overflows == 1


def test_an_overflow_while_the_stream_is_down_does_not_say_that_it_is_up() -> None:
    queue = EventQueue(bound=4)
    queue.put(OrderStreamRestored(ts_ns=0))
    queue.put(OrderStreamLost(reason="x", ts_ns=1))
    for sequence in range(3):
        queue.put(reported(sequence))
    kinds = [type(event) for event in drain_queue(queue)]
    assert kinds == [OrderStreamLost, OrderReported]


def test_an_overflow_of_events_that_nobody_can_tell_again_is_an_invariant_broken() -> None:
    queue = EventQueue(bound=4)
    for number in range(4):
        queue.put(due(number))
    with pytest.raises(InvariantBroken):
        queue.put(due(4))
    assert drain_queue(queue) == [due(number) for number in range(4)]


@given(
    st.lists(
        st.one_of(
            st.integers(80, 120).map(lambda t: ("price", t)),
            st.integers(0, 9).map(lambda t: ("event", t)),
            st.tuples(st.integers(80, 120), st.integers(0, 20)).map(lambda b: ("band", b)),
            st.just(("read", 0)),
        )
    )
)
def test_events_keep_their_order_and_never_meet_an_older_price(
    steps: list[tuple[str, object]],
) -> None:
    """Whatever the interleaving: events come in order, each after the newest price known then."""
    queue = EventQueue()
    put: list[Event] = []
    newest: int | None = None
    seen: int | None = None
    heard: list[Event] = []

    def read() -> None:
        nonlocal seen
        event = queue.poll()
        if isinstance(event, PriceChanged):
            seen = event.price_ticks
            assert seen == newest
        elif event is not None:
            assert seen == newest
            heard.append(event)

    for step, argument in steps:
        match step, argument:
            case "price", int(ticks):
                newest = ticks
                queue.offer_price(*price(ticks))
            case "event", int(number):
                put.append(due(number))
                queue.put(put[-1])
            case "band", (int(low), int(width)):
                queue.quiet_band = (low, low + width)
            case _:
                read()
    while len(queue):
        read()
    assert heard == put


def price(ticks: int) -> tuple[Ticks, int, int]:
    event = make_price(ticks)
    return event.price_ticks, event.ts_venue_ns, event.ts_ns
