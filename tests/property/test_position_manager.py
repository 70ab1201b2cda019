"""Whatever happens in whatever order, the core's promises hold."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from marketmaker.core import readings
from marketmaker.core.settings_change import rehearse
from marketmaker.model.action import Action, PlaceOrder
from marketmaker.model.event import (
    CancelRefused,
    CancelUnanswered,
    CleanupDue,
    Event,
    Gate,
    GateOpened,
    GateShut,
    OrderReported,
    OrderStreamLost,
    OrderStreamRestored,
    PlaceUnanswered,
    Refusal,
    SettingsChanged,
    TimerFired,
)
from marketmaker.model.instrument import Ticks
from marketmaker.model.order import OrderReport, OrderStatus, Side
from marketmaker.model.settings import (
    GridSettings,
    GridSide,
    PostOnlyPolicy,
    Spacing,
    WindowFrom,
)
from tests.support.toy_venue import ToyOrder, ToyVenue, grid_settings, make_manager

START = 250_000

grids = st.builds(
    lambda side, geometric, buys, sells, cap, post_only, window_from, distance, exposure: (
        grid_settings(
            side=side,
            spacing=Spacing.GEOMETRIC if geometric else Spacing.ARITHMETIC,
            price_interval=None if geometric else Decimal("1.005"),
            interval_pct=Decimal("0.0004") if geometric else None,
            buy_window=buys,
            sell_window=sells,
            max_open_orders=buys + cap,
            post_only=post_only,
            window_from=window_from,
            place_distance=distance,
            max_position=exposure,
        )
    ),
    st.sampled_from(GridSide),
    st.booleans(),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 8),
    st.sampled_from(PostOnlyPolicy),
    st.sampled_from(WindowFrom),
    st.sampled_from([Decimal(0), Decimal("0.1"), Decimal("0.5")]),
    st.sampled_from([None, Decimal("0.07")]),
)
prices = st.integers(START - 2_000, START + 2_000)


class AnyOrderOfEvents(RuleBasedStateMachine):
    """A venue that accepts, fills, refuses, forgets to answer, repeats and delays, and a price that jumps about."""

    @initialize(chosen=grids)
    def begin(self, chosen: GridSettings) -> None:
        self.manager = make_manager(chosen)
        self.venue = ToyVenue(self.manager)
        self.delayed: list[OrderReport] = []
        self.uncrossed = chosen
        self.venue.tell(OrderStreamRestored(ts_ns=self.venue.now_ns))
        self.venue.snapshot()
        self.check_new(self.venue.price(START))

    def check_new(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, PlaceOrder) and not action.order.reduce_only:
                assert self.manager.price is not None
                gap = self.manager.price - action.order.price_ticks
                exits = action.reason.startswith("exit")
                assert exits or gap * action.order.side > 0, "an entry crosses the price"

    def some_open(self, choice: int) -> ToyOrder | None:
        orders = self.venue.open()
        return orders[choice % len(orders)] if orders else None

    @rule(price=prices)
    def price_jumps(self, price: int) -> None:
        self.check_new(self.venue.price(price))

    @rule(step=st.integers(-120, 120))
    def price_steps(self, step: int) -> None:
        self.check_new(self.venue.price((self.manager.price or START) + step))

    @precondition(lambda self: self.venue.unsent)
    @rule()
    def accepts(self) -> None:
        self.check_new(self.venue.accept(self.venue.unsent.popleft()))

    @precondition(lambda self: self.venue.unsent)
    @rule()
    def accepts_and_tells_later(self) -> None:
        self.delayed.append(self.venue.report(self.venue.take(self.venue.unsent.popleft())))

    @precondition(lambda self: self.venue.unsent)
    @rule(
        refusal=st.sampled_from(
            [
                Refusal.POST_ONLY,
                Refusal.REDUCE_ONLY,
                Refusal.INSUFFICIENT_MARGIN,
                Refusal.FILTER,
                Refusal.RATE_LIMITED,
                Refusal.WITHDRAWN,
            ]
        )
    )
    def refuses(self, refusal: Refusal) -> None:
        self.check_new(self.venue.refuse(self.venue.unsent.popleft(), refusal))

    @precondition(lambda self: self.venue.unsent)
    @rule(taken=st.booleans())
    def does_not_answer(self, taken: bool) -> None:
        order = self.venue.unsent.popleft()
        if taken:
            self.venue.take(order)
        self.venue.tell(
            PlaceUnanswered(
                client_order_id=order.client_order_id, message="timeout", ts_ns=self.venue.now_ns
            )
        )

    @rule(choice=st.integers(0, 50), lots=st.integers(1, 30), late=st.booleans())
    def fills(self, choice: int, lots: int, late: bool) -> None:
        toy = self.some_open(choice)
        if toy is None:
            return
        report = self.venue.trade(toy, lots)
        if late:
            self.delayed.append(report)
        else:
            self.check_new(self.venue.deliver(report))

    @precondition(lambda self: self.delayed)
    @rule(choice=st.integers(0, 50))
    def tells_late_and_out_of_order(self, choice: int) -> None:
        self.check_new(self.venue.deliver(self.delayed.pop(choice % len(self.delayed))))

    @precondition(lambda self: self.venue.told)
    @rule(choice=st.integers(0, 500))
    def repeats_itself(self, choice: int) -> None:
        report = self.venue.told[choice % len(self.venue.told)]
        self.venue.tell(OrderReported(report=report, ts_ns=self.venue.now_ns))

    @rule()
    def carries_out_cancels(self) -> None:
        self.venue.settle_cancels()

    @precondition(lambda self: self.venue.cancels)
    @rule(refusal=st.sampled_from([Refusal.ORDER_NOT_FOUND, Refusal.RATE_LIMITED, None]))
    def refuses_or_forgets_a_cancel(self, refusal: Refusal | None) -> None:
        name = self.venue.cancels.popleft().order.client_order_id
        now = self.venue.now_ns
        if refusal is None:
            self.venue.tell(CancelUnanswered(client_order_id=name, message="timeout", ts_ns=now))
        else:
            self.venue.tell(
                CancelRefused(client_order_id=name, refusal=refusal, message="no", ts_ns=now)
            )

    @rule()
    def answers_queries(self) -> None:
        self.venue.answer_queries()

    @rule(seconds=st.sampled_from([0.1, 0.6, 3.0, 12.0]))
    def time_passes(self, seconds: float) -> None:
        self.venue.pass_time(seconds)
        if self.manager.wake_at_ns is not None and self.manager.wake_at_ns <= self.venue.now_ns:
            self.check_new(self.venue.tell(TimerFired(ts_ns=self.venue.now_ns)))

    @rule(age_s=st.sampled_from([0, 2]))
    def takes_a_snapshot(self, age_s: int) -> None:
        self.check_new(self.venue.snapshot(asked_ns=self.venue.now_ns - age_s * 1_000_000_000))

    @rule(shut=st.booleans())
    def gate(self, shut: bool) -> None:
        now = self.venue.now_ns
        if shut:
            self.venue.tell(GateShut(gate=Gate.RISK, reason="panic", ts_ns=now))
        else:
            self.venue.tell(GateOpened(gate=Gate.RISK, ts_ns=now))

    @rule(gate=st.sampled_from([Gate.PAUSED, Gate.HELD]), shut=st.booleans())
    def the_operator_pauses_or_holds(self, gate: Gate, shut: bool) -> None:
        now = self.venue.now_ns
        if shut:
            self.venue.tell(GateShut(gate=gate, reason="by the operator", ts_ns=now))
        else:
            self.check_new(self.venue.tell(GateOpened(gate=gate, ts_ns=now)))

    @rule(
        amount=st.sampled_from([Decimal(30), Decimal(50), Decimal(75)]),
        buys=st.integers(1, 6),
        sells=st.integers(1, 6),
        window_from=st.sampled_from(WindowFrom),
        exposure=st.sampled_from([None, Decimal("0.07")]),
    )
    def the_operator_changes_the_settings(
        self,
        amount: Decimal,
        buys: int,
        sells: int,
        window_from: WindowFrom,
        exposure: Decimal | None,
    ) -> None:
        now = self.manager.settings
        new = replace(
            now,
            order_amount=amount,
            buy_window=min(buys, now.max_open_orders),
            sell_window=sells,
            window_from=window_from,
            max_position=exposure,
        )
        expected = rehearse(self.manager, new, self.venue.now_ns)
        actions = self.venue.tell(SettingsChanged(settings=new, ts_ns=self.venue.now_ns))
        assert actions == expected, "the rehearsal told another story"
        self.check_new(actions)

    @rule()
    def loses_the_order_stream(self) -> None:
        self.venue.tell(OrderStreamLost(reason="cut", ts_ns=self.venue.now_ns))
        self.venue.pass_time(1)
        self.venue.tell(OrderStreamRestored(ts_ns=self.venue.now_ns))

    @rule()
    def cleans(self) -> None:
        self.venue.tell(CleanupDue(ts_ns=self.venue.now_ns))

    @invariant()
    def one_live_order_per_slot(self) -> None:
        slots = [order.client_order_id.slot for order in self.venue.unsent]
        slots += [
            toy.order.client_order_id.slot
            for toy in self.venue.orders.values()
            if toy.status is OrderStatus.OPEN
        ]
        assert len(slots) == len(set(slots)), f"two live orders in one slot: {sorted(slots)}"

    @invariant()
    def open_orders_stay_under_the_cap(self) -> None:
        alive = len(self.venue.open()) + len(self.venue.unsent)
        assert alive <= self.manager.settings.max_open_orders

    @invariant()
    def inventory_is_the_sum_over_slots(self) -> None:
        manager = self.manager
        held = sum(slot.sign * slot.held_lots for slot in manager.slots.values())
        cost = sum(slot.sign * slot.cost for slot in manager.slots.values())
        assert held == manager.books.inventory_lots
        assert cost == manager.books.inventory_cost
        for sign, ladder in manager.ladders.items():
            sellable = sorted(
                sign * slot.index
                for slot in manager.slots.values()
                if slot.sellable and slot.sign == sign
            )
            assert ladder.inventory == sellable

    def teardown(self) -> None:
        if not hasattr(self, "venue"):
            return
        self.everything_is_told()
        position = self.venue.position
        assert self.manager.books.inventory_lots == position, "slots and position differ"
        paid = sum(
            int(fill.side) * fill.qty_lots * fill.price_ticks
            for toy in self.venue.orders.values()
            for fill in toy.fills
        )
        books = self.manager.books
        assert paid == books.inventory_cost - books.adopted_cost - books.realised
        fees = sum(
            (fill.fee for toy in self.venue.orders.values() for fill in toy.fills), Decimal(0)
        )
        assert books.fees == fees

    def everything_is_told(self) -> None:
        for report in self.delayed:
            self.venue.deliver(report)
        for _ in range(6):
            self.venue.calm()
            self.venue.pass_time(15)
            self.venue.tell(TimerFired(ts_ns=self.venue.now_ns))
            self.venue.calm()
            self.venue.snapshot()
        self.venue.calm()


AnyOrderOfEvents.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestAnyOrderOfEvents = AnyOrderOfEvents.TestCase


@given(chosen=grids, seed=st.integers(0, 10_000))
@settings(max_examples=120, deadline=None)
def test_quiet_band_tells_the_truth(chosen: GridSettings, seed: int) -> None:
    """A driver that skips every price inside the band makes the same decisions as one that hears them all."""
    random = Random(seed)
    eager, lazy = ToyVenue(make_manager(chosen)), ToyVenue(make_manager(chosen))
    for venue in (eager, lazy):
        venue.start(START)
    skipped = 0
    price = START
    pending: int | None = None

    def hear_both(make: Event) -> None:
        nonlocal pending
        if pending is not None:
            lazy.price_at(pending, lazy.now_ns)
            pending = None
        assert eager.tell(make) == lazy.tell(make)

    for _ in range(150):
        price = max(price + random.choice((-40, -9, -3, -1, 1, 3, 9, 40)), 1)
        eager.now_ns += 50_000_000
        lazy.now_ns = eager.now_ns
        band = lazy.manager.quiet_band
        eager.manager.quiet_band = None
        actions = eager.price_at(price, eager.now_ns)
        if band is not None and band[0] <= price <= band[1]:
            assert actions == [], "the band was not quiet"
            skipped += 1
            pending = price
        else:
            assert actions == lazy.price_at(price, lazy.now_ns)
            pending = None
        wake = eager.manager.wake_at_ns
        if wake is not None and wake <= eager.now_ns:
            hear_both(TimerFired(ts_ns=eager.now_ns))
        if random.random() < 0.5:
            for event in news(eager, random):
                hear_both(event)
            copy_mail(eager, lazy)
    assert readings.totals(eager.manager).fills == readings.totals(lazy.manager).fills


def news(venue: ToyVenue, random: Random) -> list[Event]:
    """What the venue tells next: acceptances, refusals, fills and cancellations of a few orders."""
    events: list[Event] = []
    while venue.unsent and random.random() < 0.8:
        order = venue.unsent.popleft()
        if random.random() < 0.15:
            events.append(refusal_of(order, venue.now_ns))
        else:
            events.append(OrderReported(report=venue.report(venue.take(order)), ts_ns=venue.now_ns))
    while venue.cancels:
        toy = venue.orders.get(venue.cancels.popleft().order.client_order_id)
        if toy is not None and toy.status is OrderStatus.OPEN:
            toy.status = OrderStatus.CANCELLED
            events.append(OrderReported(report=venue.report(toy), ts_ns=venue.now_ns))
    near = [
        toy
        for toy in venue.open()
        if abs(toy.order.price_ticks - (venue.manager.price or START)) < 60
    ]
    for toy in near[:2]:
        lots = random.choice((1, 7, 50))
        events.append(OrderReported(report=venue.trade(toy, lots), ts_ns=venue.now_ns))
    return events


def refusal_of(order: object, now_ns: int) -> Event:
    from marketmaker.model.event import PlaceRefused
    from marketmaker.model.order import NewOrder

    assert isinstance(order, NewOrder)
    return PlaceRefused(
        client_order_id=order.client_order_id,
        refusal=Refusal.POST_ONLY,
        message="would cross",
        retry_after_s=None,
        ts_ns=now_ns,
    )


def copy_mail(source: ToyVenue, target: ToyVenue) -> None:
    """The lazy driver has no venue of its own: its mailbox follows."""
    target.unsent.clear()
    target.cancels.clear()
    target.queries.clear()


@pytest.mark.parametrize("side", list(GridSide))
def test_no_order_ever_crosses_by_our_own_rounding(side: GridSide) -> None:
    """Intervals off the tick, any start price: every first entry lies strictly on its own side of the price."""
    for interval in ("0.01", "0.015", "0.033", "0.5", "1.005"):
        for start in (1_003, 250_000, 250_001, 999_999):
            chosen = grid_settings(
                side=side, price_interval=Decimal(interval), place_distance=Decimal(0)
            )
            venue = ToyVenue(make_manager(chosen))
            for price in (start, start + 1, start + 3, start - 2):
                for action in venue.start(price) if price == start else venue.price(price):
                    if isinstance(action, PlaceOrder):
                        order = action.order
                        gap = (venue.manager.price or 0) - order.price_ticks
                        assert gap * order.side >= 1


def test_ids_never_repeat_across_a_restart() -> None:
    """Ids go on above those of the process before, with and without its memory."""
    first = ToyVenue(make_manager(first_sequence=100))
    first.start(START)
    memory = readings.memory(first.manager)
    used = {name.sequence for name in first.used_ids}
    second = ToyVenue(make_manager(first_sequence=50, memory=memory))
    second.start(START)
    assert used.isdisjoint(name.sequence for name in second.used_ids)
    assert second.open(Side.BUY) == [] and len(second.unsent) == len(first.unsent)


def test_a_price_in_the_band_leaves_the_core_untouched_but_for_the_price() -> None:
    venue = ToyVenue(make_manager())
    venue.start(START)
    band = venue.manager.quiet_band
    assert band is not None
    for price in range(band[0], band[1] + 1):
        venue.manager.quiet_band = None
        assert venue.price(price) == []
    assert venue.price(band[1] + 1) != [] or venue.price(band[0] - 1) != []
    assert Ticks(band[0] - 1) == venue.manager.price or venue.manager.price == band[1] + 1
