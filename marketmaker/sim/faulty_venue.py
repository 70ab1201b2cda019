"""A venue that tells the truth late, twice, in part or not at all, behind the adapter protocol.

Two things live here. `FaultyVenue` is the venue itself: the matching exchange, its market, the owner who trades by
hand, a second bot on the account. It outlives the daemon. `Line` is one process's adapter to it: the network, the
venue's front door and the adapter's own transport, with everything a plan has in store. A line that was cut (the
process died) hears nothing more and sends nothing more; what it had handed over still arrives.

What a venue may do to us is bounded by what venues promise, or nothing could be shown at all:

    a request older than `request_lifetime_s` is refused when it arrives
    an answer that says "not executed" is true; an answer that says "unknown" may be either
    a reading is at most `STALEST_S` old, and a new order can be found by its id after `LAG_S`
    reports of a stream that is up may come late, twice, out of order and merged, and one now and then not at all; in
    a silent episode none comes
    a connection that is dead is noticed to be dead after `HEARTBEAT_S`

Every wire id is resolved here, so that a foreign order can be named by its venue id, as at real venues.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

from marketmaker.adapters.protocol import (
    CandleListener,
    Capabilities,
    OrderListener,
    PriceListener,
)
from marketmaker.errors import (
    ClockSkew,
    DuplicateClientOrderId,
    FilterViolation,
    InsufficientMargin,
    MarketMakerError,
    NotSent,
    OrderNotFound,
    OutcomeUnknown,
    Overloaded,
    PostOnlyWouldCross,
    RateLimited,
    ReduceOnlyRefused,
    Rejected,
    VenueError,
)
from marketmaker.model.account import AccountState, Position
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Candle
from marketmaker.model.order import (
    ClientOrderId,
    EndReason,
    Fill,
    NewOrder,
    OrderRef,
    OrderReport,
    OrderStatus,
    Side,
    TimeInForce,
)
from marketmaker.model.settings import PaperSettings
from marketmaker.sim.agenda import Agenda
from marketmaker.sim.checks import Observer
from marketmaker.sim.exchange import Exchange, News
from marketmaker.sim.faults import Fault, FaultPlan, Strike
from marketmaker.sim.feed import MarketFeed
from marketmaker.sim.loop import NS_PER_S
from marketmaker.sim.market import Market
from marketmaker.sim.matching import BookOrder
from marketmaker.sim.order_limit import OrderLimit
from marketmaker.sim.replay import Replay
from marketmaker.sim.tape import Tape

VENUE = "simulated"
REQUEST_LIFETIME_S = 5.0
ADAPTER_DEADLINE_S = 8.0
STALEST_S = 1.5
LAG_S = 2.0
EMPTY_AT_MOST_EVERY_NS = 10 * NS_PER_S
HEARTBEAT_S = 6.0
RECONNECT_S = 0.3
COARSE = 10
"""While a venue changes its precision, only multiples of so many old ticks and lots are taken."""
NEVER_FUNDED_NS = 1 << 60
ORDER_STREAM_DOWN = (Fault.STREAM_DOWN, Fault.HALF_OPEN)
ORDER_STREAM_SILENT = (Fault.STREAM_SILENT, Fault.TOKEN_EXPIRED, Fault.HALF_OPEN)
PRICE_STREAM_DOWN = (Fault.PRICE_DOWN, Fault.HALF_OPEN)
PRICE_STREAM_SILENT = (Fault.PRICE_SILENT, Fault.HALF_OPEN)
ENDPOINTS = ("position", "open orders", "fills", "order")
"""Of which one may be out of order while the others answer."""

T = TypeVar("T")


class AccountIds:
    """Client ids of everybody on the account: whoever `sends` encodes, only `ours` is decoded."""

    def __init__(self, ours: TextForm) -> None:
        self.ours = ours
        self.sends = ours
        self.sequences = ours.sequences
        self.max_slot = ours.max_slot

    def encode(self, order: ClientOrderId) -> str:
        return self.sends.encode(order)

    def decode(self, wire: str) -> ClientOrderId | None:
        return self.ours.decode(wire)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the venue would have answered at `ts_ns`."""

    ts_ns: int
    open_orders: tuple[OrderReport, ...]
    position: Position
    fills: int


class FaultyVenue:
    """One account, one instrument. `struck` counts by kind how often a fault really did something."""

    def __init__(
        self,
        *,
        settings: PaperSettings,
        instrument: Instrument,
        feed: MarketFeed,
        plan: FaultPlan,
        observer: Observer,
        bot_tag: str,
        batch: int,
        now_ns: Callable[[], int],
    ) -> None:
        self.instrument = instrument
        self.settings = settings
        self.observer = observer
        self.plan = plan
        self.ids = AccountIds(TextForm(bot_tag))
        self.capabilities = Capabilities(
            post_only=True,
            reduce_only=True,
            place_batch=batch,
            cancel_batch=batch,
            cancel_all=False,
            query_by_client_id=True,
            confirming_price=True,
            orders_per_s=settings.orders_per_s,
            order_burst=settings.order_burst,
            request_lifetime_s=REQUEST_LIFETIME_S,
        )
        self.exchange = Exchange(
            settings=settings,
            instruments={instrument.name: instrument},
            client_order_ids=self.ids,
            emit=self._emit,
        )
        self.market: Market = self.exchange.market(instrument.name)
        self.line: Line | None = None
        self.struck = dict.fromkeys(Fault, 0)
        self.began_ns = now_ns()
        self.end_ns = self.began_ns + round(plan.end_s * NS_PER_S)
        self.latency = Random(f"{plan.seed}/latency")
        self._feed = feed
        self._now_ns = now_ns
        self._chance = {fault: plan.generator(fault) for fault in Fault}
        self._active: dict[Fault, int] = {}
        self._hits_next = False
        self._endpoints_down: dict[str, None] = {}
        self._ban_told = False
        self._ban_ends_ns = 0
        self._limit = OrderLimit(per_s=settings.orders_per_s, burst=settings.order_burst)
        self._others = TextForm("zz9")
        self._other_sequence = 0
        self._end_reason: EndReason | None = None
        self._readings: list[Reading] = []
        self._accepted_ns: dict[str, int] = {}
        self._late_refusals: dict[str, OrderReport] = {}
        self._emptied_ns = {"orders": -EMPTY_AT_MOST_EVERY_NS, "position": -EMPTY_AT_MOST_EVERY_NS}
        self._driver: asyncio.Task[None] | None = None

    # -- life ----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Let the market run."""
        loop = asyncio.get_running_loop()
        self.agenda = Agenda(self._now_ns, loop)
        shift_ns = self.agenda.time_ns - self._feed.start_ns
        self.tape = Tape(
            market=self.market,
            exchange=self.exchange,
            agenda=self.agenda,
            latency_ns=0,
            shift_ns=shift_ns,
        )
        self.tape.series(60)
        self.tape.listeners.append(PriceTap(self))
        replay = Replay(
            feed=self._feed.events({self.instrument.name: self.instrument}),
            shift_ns=shift_ns,
            agenda=self.agenda,
            tapes={self.instrument.name: self.tape},
            exchange=self.exchange,
            funding_interval_ns=NEVER_FUNDED_NS,
            now_ns=self._now_ns,
        )
        self._driver = asyncio.create_task(replay.run(lambda: None), name="simulated venue")
        for strike in self.plan.strikes:
            self._arrange(strike)
        self.agenda.add(self.end_ns, self._others_leave)

    async def close(self) -> None:
        """Raises what went wrong inside the venue, if anything did."""
        assert self._driver is not None
        if self._driver.done():
            self._driver.result()
        self._driver.cancel()
        await asyncio.wait([self._driver])

    def connect(self, clock: Callable[[], int]) -> Line:
        """The adapter of a new process, whose clock reads `clock`."""
        self.line = Line(self, clock)
        return self.line

    # -- chance --------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        return self.agenda.now_ns()

    def strikes(self, fault: Fault) -> bool:
        """Whether a fault that has a rate strikes now."""
        rate = self.plan.rates.get(fault)
        if rate is None or self.now_ns() >= self.end_ns or self._chance[fault].random() >= rate:
            return False
        self.struck[fault] += 1
        return True

    def chance(self, fault: Fault) -> Random:
        return self._chance[fault]

    def active(self, fault: Fault) -> bool:
        return self._active.get(fault, 0) > 0

    def later(self, delay_s: float, action: Callable[[], object]) -> None:
        self.agenda.add(self.agenda.now_ns() + round(delay_s * NS_PER_S), action)

    def _arrange(self, strike: Strike) -> None:
        begins_ns = self.began_ns + round(strike.start_s * NS_PER_S)
        moments: dict[Fault, Callable[[], None]] = {
            Fault.PRICE_OUTLIER: self._outlier,
            Fault.PARTIAL_FILL: self._fill_part,
            Fault.ENDED_BY_VENUE: self._end_one,
            Fault.SELF_TRADE: self._prevent_self_trade,
            Fault.MANUAL_CLOSE: self._close_by_hand,
            Fault.MANUAL_ORDER: self._trade_by_hand,
            Fault.SECOND_BOT: self._second_bot,
        }
        if strike.fault in moments:
            self.agenda.add(begins_ns, moments[strike.fault])
        elif strike.stop_s > strike.start_s:
            self.agenda.add(begins_ns, self._begin, strike)
            self.agenda.add(self.began_ns + round(strike.stop_s * NS_PER_S), self._finish, strike)

    def _begin(self, strike: Strike) -> None:
        fault = strike.fault
        self._active[fault] = self._active.get(fault, 0) + 1
        self.struck[fault] += 1
        if fault is Fault.BAN:
            self._ban_told = self._chance[fault].random() < 0.5
            ends_ns = self.began_ns + round(strike.stop_s * NS_PER_S)
            self._ban_ends_ns = max(self._ban_ends_ns, ends_ns)
        elif fault is Fault.ENDPOINT_DOWN:
            pick = int(self._chance[fault].random() * len(ENDPOINTS))
            self._endpoints_down[ENDPOINTS[pick]] = None
        if self.line is not None:
            self.line.episode_begins(fault)

    def _finish(self, strike: Strike) -> None:
        self._active[strike.fault] -= 1
        if not self.active(Fault.ENDPOINT_DOWN):
            self._endpoints_down.clear()
        if self.line is not None and not self._active[strike.fault]:
            self.line.episode_ends(strike.fault)

    # -- the owner, a second bot, the venue itself ---------------------------------------------------

    def _own_open(self) -> list[BookOrder]:
        return [o for o in self.market.open_orders.values() if o.client_order_id is not None]

    def _pick_own(self, fault: Fault, *, least_lots: int = 1) -> BookOrder | None:
        own = [order for order in self._own_open() if order.leaves_lots >= least_lots]
        return own[int(self._chance[fault].random() * len(own))] if own else None

    def _end_one(self) -> None:
        """The venue ends one of our orders for a reason of its own."""
        fault = Fault.ENDED_BY_VENUE
        order = self._pick_own(fault)
        if order is not None:
            self.struck[fault] += 1
            expires = self._chance[fault].random() < 0.5
            self.end_order(order, EndReason.EXPIRED if expires else EndReason.VENUE)

    def _prevent_self_trade(self) -> None:
        """Somebody else of the same owner would have met one of our orders: the venue ends ours."""
        order = self._pick_own(Fault.SELF_TRADE)
        if order is not None:
            self.struck[Fault.SELF_TRADE] += 1
            self.end_order(order, EndReason.SELF_TRADE)

    def _fill_part(self) -> None:
        """A small trade takes part of one of our orders: of one that rests, or of the next the moment it comes in."""
        fault = Fault.PARTIAL_FILL
        if self._chance[fault].random() < 0.3:
            self._hits_next = True
            return
        order = self._pick_own(fault, least_lots=2)
        if order is not None:
            self.struck[fault] += 1
            self._hit(order, 1 + int(self._chance[fault].random() * (order.leaves_lots - 1)))

    def _hit(self, order: BookOrder, lots: int) -> None:
        self.exchange.hit(self.instrument.name, order, lots, self.agenda.time_ns)

    def end_order(self, order: BookOrder, reason: EndReason) -> None:
        assert order.client_order_id is not None
        self._end_reason = reason
        try:
            self.exchange.cancel(
                self.instrument.name,
                OrderRef(
                    client_order_id=order.client_order_id, venue_order_id=order.venue_order_id
                ),
                self.agenda.time_ns,
            )
        finally:
            self._end_reason = None
        ended = self.market.ended[order.wire_id]
        self.market.ended[order.wire_id] = replace(ended, end_reason=reason)

    def place_foreign(
        self, side: Side, price_ticks: int, qty_lots: int, *, ioc: bool = False
    ) -> OrderReport | None:
        """An order on the account that is not ours; None when it was refused."""
        self._other_sequence += 1
        order = NewOrder(
            client_order_id=ClientOrderId(0, side, self._other_sequence),
            side=side,
            price_ticks=Ticks(price_ticks),
            qty_lots=Lots(qty_lots),
            post_only=False,
            reduce_only=False,
            time_in_force=TimeInForce.IOC if ioc else TimeInForce.GTC,
        )
        self.ids.sends = self._others
        try:
            return self.exchange.place(self.instrument.name, order, self.agenda.time_ns)
        except Rejected:
            return None
        finally:
            self.ids.sends = self.ids.ours

    def close_position(self) -> None:
        """By hand: whatever the book gives, now."""
        lots = self.market.holding.lots
        if lots:
            side = Side.SELL if lots > 0 else Side.BUY
            price = self.price_ticks * (90 if lots > 0 else 110) // 100
            self.place_foreign(side, price, abs(lots), ioc=True)

    @property
    def price_ticks(self) -> int:
        return self.tape.price_ticks or 1

    def _close_by_hand(self) -> None:
        if self.market.holding.lots:
            self.struck[Fault.MANUAL_CLOSE] += 1
            for step in range(5):
                self.later(0.2 * step, self.close_position)

    def _trade_by_hand(self) -> None:
        rng = self._chance[Fault.MANUAL_ORDER]
        side = Side.BUY if rng.random() < 0.5 else Side.SELL
        price = round(self.price_ticks * (1 + side * 0.002 * (rng.random() - 0.3)))
        self.struck[Fault.MANUAL_ORDER] += 1
        self.place_foreign(side, price, self._small_lots(price, rng))

    def _second_bot(self) -> None:
        """Keeps a few orders of its own around the price, a little away from it."""
        rng = self._chance[Fault.SECOND_BOT]
        self.struck[Fault.SECOND_BOT] += 1
        for side in Side:
            price = round(self.price_ticks * (1 - side * (0.001 + 0.01 * rng.random())))
            self.place_foreign(side, price, self._small_lots(price, rng))
        foreign = [o for o in self.market.open_orders.values() if o.client_order_id is None]
        for order in foreign[:-6]:
            self._withdraw_foreign(order)

    def _others_leave(self) -> None:
        for order in [o for o in self.market.open_orders.values() if o.client_order_id is None]:
            self._withdraw_foreign(order)

    def _withdraw_foreign(self, order: BookOrder) -> None:
        decoded = self._others.decode(order.wire_id)
        assert decoded is not None
        self.ids.sends = self._others
        try:
            self.exchange.cancel(
                self.instrument.name,
                OrderRef(client_order_id=decoded, venue_order_id=order.venue_order_id),
                self.agenda.time_ns,
            )
        finally:
            self.ids.sends = self.ids.ours

    def _small_lots(self, price: int, rng: Random) -> int:
        value = Decimal(30) * (1 + int(rng.random() * 4))
        return max(1, int(value / (price * self.instrument.quantum)))

    def _outlier(self) -> None:
        rng = self._chance[Fault.PRICE_OUTLIER]
        if self.line is not None:
            self.struck[Fault.PRICE_OUTLIER] += 1
            factor = 1 + (0.06 + 0.2 * rng.random()) * (1 if rng.random() < 0.5 else -1)
            self.line.send_price(round(self.price_ticks * factor), self.now_ns())

    # -- what happens, told to whoever may hear it ---------------------------------------------------

    def _emit(self, name: str, news: News, now_ns: int) -> None:
        if isinstance(news, OrderReport):
            if self._end_reason is not None and news.status is OrderStatus.CANCELLED:
                news = replace(news, end_reason=self._end_reason)
            self.observer.happened(news, now_ns)
        if Fault.SNAPSHOT_STALE in self.plan.rates:
            self._readings.append(
                Reading(
                    now_ns,
                    tuple(self.exchange.open_orders(name, now_ns)),
                    self.exchange.position(name),
                    len(self.market.fills),
                )
            )
        if self.line is not None:
            self.line.send_news(news)

    # -- what is asked -------------------------------------------------------------------------------

    def reading(self) -> Reading:
        """Open orders, position and number of trades: now, or as they were a little while ago."""
        now_ns = self.agenda.time_ns
        if self._readings and self.strikes(Fault.SNAPSHOT_STALE):
            age_ns = round(STALEST_S * NS_PER_S * self._chance[Fault.SNAPSHOT_STALE].random())
            place = bisect_right(self._readings, now_ns - age_ns, key=lambda r: r.ts_ns)
            if place:
                return self._readings[place - 1]
        name = self.instrument.name
        return Reading(
            now_ns,
            tuple(self.exchange.open_orders(name, now_ns)),
            self.exchange.position(name),
            len(self.market.fills),
        )

    def open_orders(self) -> tuple[OrderReport, ...]:
        return () if self._emptied("orders") else self.reading().open_orders

    def position(self) -> Position:
        position = self.reading().position
        if position.qty_lots and self._emptied("position"):
            return replace(position, qty_lots=Lots(0), entry_price=Decimal(0))
        return position

    def _emptied(self, what: str) -> bool:
        now_ns = self.agenda.time_ns
        if now_ns - self._emptied_ns[what] < EMPTY_AT_MOST_EVERY_NS:
            return False
        if not self.strikes(Fault.SNAPSHOT_EMPTY):
            return False
        self._emptied_ns[what] = now_ns
        return True

    def fills_since(self, since_ns: int) -> list[Fill]:
        known = self.reading().fills
        return [fill for fill in self.market.fills[:known] if fill.ts_venue_ns >= since_ns]

    def order(self, name: ClientOrderId) -> OrderReport:
        wire = self.ids.encode(name)
        now_ns = self.agenda.time_ns
        young = now_ns - self._accepted_ns.get(wire, 0) < LAG_S * NS_PER_S
        if young and self.strikes(Fault.QUERY_LAG):
            raise OrderNotFound(f"no order {wire}", venue=VENUE, operation="query")
        if wire in self._late_refusals:
            return self._late_refusals[wire]
        return self.exchange.order(self.instrument.name, name, now_ns)

    def refusals(self, kind: str, count: int, sent_ns: int) -> VenueError | None:
        """What the front door says to a request of `count` orders (0: a question), None when it may come in."""
        now_ns = self.agenda.time_ns
        if now_ns - sent_ns > REQUEST_LIFETIME_S * NS_PER_S:
            return ClockSkew("the request is too old", venue=VENUE, operation=kind)
        if self.active(Fault.BAN):
            left_s = (self._ban_ends_ns - now_ns) / NS_PER_S
            return RateLimited(
                "banned",
                retry_after_s=left_s if self._ban_told else None,
                banned=True,
                venue=VENUE,
                operation=kind,
            )
        if self.active(Fault.MAINTENANCE):
            kinds = Rejected if count else Overloaded
            return kinds("maintenance", venue=VENUE, operation=kind, code="MAINTENANCE")
        if self.strikes(Fault.RATE_LIMIT):
            rng = self._chance[Fault.RATE_LIMIT]
            given = 0.1 + 4 * rng.random() ** 2 if rng.random() < 0.5 else None
            return RateLimited("slow down", retry_after_s=given, venue=VENUE, operation=kind)
        if kind in self._endpoints_down:
            return Overloaded("internal error", venue=VENUE, operation=kind)
        if self.strikes(Fault.OVERLOADED):
            return Overloaded("too busy", venue=VENUE, operation=kind)
        if count and self.strikes(Fault.CLOCK_REFUSED):
            return ClockSkew("timestamp outside the window", venue=VENUE, operation=kind)
        if count:
            wait_s = self._limit.wait_ns(count, now_ns) / NS_PER_S
            if wait_s:
                return RateLimited(
                    "too many orders", retry_after_s=wait_s, venue=VENUE, operation=kind
                )
        return None

    def place(self, order: NewOrder) -> OrderReport | VenueError:
        now_ns = self.agenda.time_ns
        wire = self.ids.encode(order.client_order_id)
        if wire in self._accepted_ns:
            return DuplicateClientOrderId(f"order {wire} is known", venue=VENUE, operation="place")
        if self.active(Fault.POST_ONLY_MODE) and not order.post_only:
            return Rejected("post-only mode", venue=VENUE, operation="place")
        if self.active(Fault.PRECISION_CHANGE) and (
            order.price_ticks % COARSE or order.qty_lots % COARSE
        ):
            return FilterViolation("price or quantity off the step", venue=VENUE, operation="place")
        if order.reduce_only and self.strikes(Fault.REDUCE_ONLY_REFUSED):
            return ReduceOnlyRefused("nothing to reduce", venue=VENUE, operation="place")
        if not order.reduce_only and self.strikes(Fault.NO_MARGIN):
            return InsufficientMargin("not enough margin", venue=VENUE, operation="place")
        try:
            report = self.exchange.place(self.instrument.name, order, now_ns)
        except PostOnlyWouldCross as error:
            if self.strikes(Fault.LATE_POST_ONLY):
                return self._refuse_later(order, wire)
            return error
        except Rejected as error:
            return error
        self._accepted_ns[wire] = now_ns
        resting = self.market.open_orders.get(wire)
        if self._hits_next and resting is not None and resting.leaves_lots > 1:
            self._hits_next = False
            self.struck[Fault.PARTIAL_FILL] += 1
            self._hit(resting, 1 + resting.leaves_lots // 3)
            return self.exchange.order(self.instrument.name, order.client_order_id, now_ns)
        return report

    def _refuse_later(self, order: NewOrder, wire: str) -> OrderReport:
        """Accepted, and a moment later ended because it would have taken."""
        opened = OrderReport(
            client_order_id=order.client_order_id,
            venue_order_id=f"late-{wire}",
            side=order.side,
            price_ticks=order.price_ticks,
            qty_lots=order.qty_lots,
            filled_lots=Lots(0),
            status=OrderStatus.OPEN,
            reduce_only=order.reduce_only,
            ts_venue_ns=self.agenda.time_ns,
        )
        ended = replace(opened, status=OrderStatus.REJECTED, end_reason=EndReason.POST_ONLY)
        self._accepted_ns[wire] = self.agenda.time_ns
        self._late_refusals[wire] = ended
        self.observer.happened(opened, self.agenda.time_ns)
        self.observer.happened(ended, self.agenda.time_ns)
        if self.line is not None:
            self.line.send_news(ended)
        return opened

    def cancel(self, ref: OrderRef) -> OrderReport | VenueError | None:
        now_ns = self.agenda.time_ns
        self.observer.cancel_arrived(self._owner_of(ref), now_ns)
        self._fill_before_cancel(ref)
        try:
            report = self.exchange.cancel(self.instrument.name, ref, now_ns)
        except OrderNotFound as error:
            return error
        return None if self.strikes(Fault.QUIET_CANCEL) else report

    def _fill_before_cancel(self, ref: OrderRef) -> None:
        """A trade that was a moment quicker than the cancel: of part of the order, or of all of it."""
        order = self.market.open_orders.get(self.ids.encode(ref.client_order_id))
        if order is not None and self.strikes(Fault.FILL_RACES_CANCEL):
            share = min(1.0, 1.5 * self._chance[Fault.FILL_RACES_CANCEL].random())
            self._hit(order, max(1, int(order.leaves_lots * share)))

    def _owner_of(self, ref: OrderRef) -> ClientOrderId | None:
        """Whose order the venue id names: None when it is somebody else's."""
        for order in self.market.open_orders.values():
            if order.venue_order_id == ref.venue_order_id:
                return order.client_order_id
        return ref.client_order_id


class PriceTap:
    """Hears the market's price the moment it is made, for the line to carry on."""

    def __init__(self, venue: FaultyVenue) -> None:
        self._venue = venue

    def on_price(self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int) -> None:
        if self._venue.line is not None:
            self._venue.line.send_price(price_ticks, ts_venue_ns)

    def on_confirming_price(self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int) -> None:
        if self._venue.line is not None:
            self._venue.line.send_confirming(price_ticks, ts_venue_ns)

    def stream_up(self) -> None: ...
    def stream_down(self, reason: str) -> None: ...


class Line:
    """One process's adapter. `calls` are the requests that left it, in words, in order.

    `after_send` is called once, when the next order request is on its way.
    """

    def __init__(self, venue: FaultyVenue, clock: Callable[[], int]) -> None:
        self.alive = True
        self.calls: list[str] = []
        self.after_send: Callable[[], None] | None = None
        self._waiting: dict[asyncio.Future[Any], None] = {}
        self._venue = venue
        self._clock = clock
        self._observer = venue.observer
        self._orders: list[OrderListener] = []
        self._prices: list[PriceListener] = []
        self._orders_up = self._prices_up = False
        self._order_life = self._price_life = 0
        self._report_due_ns = 0
        self._price_due_ns = 0
        self._held: dict[str, OrderReport] = {}
        self._told_open: dict[str, None] = {}

    def cut(self) -> None:
        """The process is dead: what it waits for never comes."""
        self.alive = False
        for future in tuple(self._waiting):
            future.cancel()

    def _future(self) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        if not self.alive:
            future.cancel()
            return future
        self._waiting[future] = None
        future.add_done_callback(lambda done: self._waiting.pop(done, None))
        return future

    @property
    def name(self) -> str:
        return VENUE

    @property
    def capabilities(self) -> Capabilities:
        return self._venue.capabilities

    @property
    def client_order_ids(self) -> TextForm:
        return self._venue.ids.ours

    async def connect(self) -> None: ...
    async def close(self) -> None: ...

    # -- questions -----------------------------------------------------------------------------------

    async def fetch_instrument(self, name: str) -> Instrument:
        return await self._ask("instrument", lambda: self._venue.instrument)

    async def fetch_account(self, instrument: Instrument) -> AccountState:
        def read() -> AccountState:
            offset_ns = self._venue.now_ns() - self._clock()
            self._observer.told_clock(offset_ns / NS_PER_S)
            return replace(self._venue.exchange.account_state(), clock_offset_ns=offset_ns)

        return await self._ask("account", read)

    async def fetch_position(self, instrument: Instrument) -> Position:
        return await self._ask("position", self._venue.position)

    async def fetch_open_orders(self, instrument: Instrument) -> Sequence[OrderReport]:
        asked_ns = self._venue.now_ns()
        listed = await self._ask("open orders", self._venue.open_orders)
        self._observer.told_open_orders(listed, asked_ns, self._venue.now_ns())
        return listed

    async def fetch_order(
        self, instrument: Instrument, client_order_id: ClientOrderId
    ) -> OrderReport:
        asked_ns = self._venue.now_ns()
        try:
            report = await self._ask(
                "order", lambda: self._venue.order(client_order_id), f"{client_order_id}"
            )
        except OrderNotFound:
            self._observer.told_missing(client_order_id, asked_ns, self._venue.now_ns())
            raise
        self._observer.told(report, self._venue.now_ns())
        return report

    async def fetch_fills(self, instrument: Instrument, since_ns: int) -> Sequence[Fill]:
        fills = await self._ask("fills", lambda: self._venue.fills_since(since_ns))
        self._observer.told_fills(fills, self._venue.now_ns())
        return fills

    async def fetch_candles(self, symbol: str, interval_s: int, limit: int) -> Sequence[Candle]:
        return await self._ask("candles", lambda: self._venue.tape.series(interval_s).newest(limit))

    async def fetch_funding_rate(self, instrument: Instrument) -> Decimal:
        return await self._ask("funding rate", lambda: self._venue.settings.funding_rate)

    def _ask(self, what: str, read: Callable[[], T], which: str = "") -> asyncio.Future[T]:
        """A question about the account: it changes nothing, so all that can happen to it is that it fails."""
        future: asyncio.Future[T] = self._future()
        if not self.alive:
            return future
        venue = self._venue
        self._note(f"ask {what} {which}")
        sent_ns = venue.now_ns()
        deaf = False
        if venue.strikes(Fault.SNAPSHOT_ERROR):
            deaf = venue.chance(Fault.SNAPSHOT_ERROR).random() < 0.3
            if not deaf:
                self._fail_later(future, OutcomeUnknown("502", venue=VENUE, operation=what))
                return future
        if deaf:
            self._time_out(future, what, silent=False)
            return future

        def arrive() -> None:
            if venue.active(Fault.HALF_OPEN):
                self._time_out(future, what, silent=False)
                return
            refused = venue.refusals(what, 0, sent_ns)
            if refused is not None:
                self._fail_later(future, refused)
                return
            try:
                answer = read()
            except MarketMakerError as error:
                self._fail_later(future, error)
            else:
                venue.later(self._travel_s(), lambda: self._answer(future, answer, what))

        venue.later(self._travel_s(), arrive)
        return future

    # -- orders --------------------------------------------------------------------------------------

    def place(self, instrument: Instrument, orders: Sequence[NewOrder]) -> asyncio.Future[Any]:
        orders = tuple(orders)
        if self.alive:
            self._observer.placing(orders, self._venue.now_ns())
            for order in orders:
                self._note(f"place {describe(order)}")
        return self._order_request(
            "place",
            orders,
            self._venue.place,
            lambda order, outcome: self._observer.place_answered(
                order, outcome, self._venue.now_ns()
            ),
        )

    def cancel(
        self, instrument: Instrument, orders: Sequence[OrderRef]
    ) -> asyncio.Future[list[OrderReport | VenueError | None]]:
        orders = tuple(orders)
        if self.alive:
            self._observer.cancelling(orders, self._venue.now_ns())
            for ref in orders:
                self._note(f"cancel {tuple(ref.client_order_id)} {ref.venue_order_id}")
        return self._order_request(
            "cancel",
            orders,
            self._venue.cancel,
            lambda ref, outcome: self._observer.cancel_answered(ref, outcome, self._venue.now_ns()),
        )

    def _order_request(
        self,
        kind: str,
        orders: tuple[T, ...],
        execute: Callable[[T], OrderReport | VenueError | None],
        told: Callable[[T, OrderReport | VenueError | None], None],
    ) -> asyncio.Future[list[OrderReport | VenueError | None]]:
        venue = self._venue
        future: asyncio.Future[list[OrderReport | VenueError | None]] = self._future()
        if not self.alive:
            return future
        sent_ns = venue.now_ns()

        def answer(outcomes: list[OrderReport | VenueError | None]) -> None:
            if future.done() or not self.alive:
                return
            if venue.active(Fault.HALF_OPEN):
                self._time_out(future, kind, silent=False)
                return
            outcomes = [self._maybe_deny(outcome) for outcome in outcomes]
            for order, outcome in zip(orders, outcomes, strict=True):
                told(order, outcome)
            future.set_result(outcomes)

        def refuse(error: VenueError) -> None:
            """Order by order, or with one error for them all: both are in the contract."""
            if future.done() or not self.alive:
                return
            for order in orders:
                told(order, error)
            if venue.latency.random() < 0.5:
                future.set_exception(error)
            else:
                future.set_result([error] * len(orders))

        if venue.strikes(Fault.NOT_SENT):
            venue.later(0.001, lambda: refuse(NotSent("connection refused", venue=VENUE)))
            return future
        if venue.strikes(Fault.REQUEST_LOST):
            self._time_out(future, kind, silent=self._is_silent(Fault.REQUEST_LOST))
            return future
        unknown = venue.strikes(Fault.OUTCOME_UNKNOWN)
        executed = not unknown or venue.chance(Fault.OUTCOME_UNKNOWN).random() < 0.5
        lost = not unknown and venue.strikes(Fault.ANSWER_LOST)
        silent = lost and self._is_silent(Fault.ANSWER_LOST)

        def arrive() -> None:
            if venue.active(Fault.HALF_OPEN):
                self._time_out(future, kind, silent=False)
                return
            refused = None if unknown else venue.refusals(kind, len(orders), sent_ns)
            too_old = venue.agenda.time_ns - sent_ns > REQUEST_LIFETIME_S * NS_PER_S
            outcomes: list[OrderReport | VenueError | None] = []
            if refused is None and executed and not too_old:
                outcomes += [execute(order) for order in orders]
            down_s = self._travel_s()
            if venue.strikes(Fault.LATE_ANSWER):
                down_s += 3 * venue.chance(Fault.LATE_ANSWER).random()
            if unknown:
                self._fail_later(future, OutcomeUnknown("503", venue=VENUE, operation=kind))
            elif lost:
                self._time_out(future, kind, silent=silent)
            elif refused is not None:
                venue.later(down_s, lambda: refuse(refused))
            else:
                venue.later(down_s, lambda: answer(outcomes))

        up_s = self._travel_s()
        if venue.strikes(Fault.SLOW_REQUEST):
            up_s += 6 * venue.chance(Fault.SLOW_REQUEST).random() ** 2
        venue.later(up_s, arrive)
        if self.after_send is not None:
            after_send, self.after_send = self.after_send, None
            after_send()
        return future

    def _maybe_deny(
        self, outcome: OrderReport | VenueError | None
    ) -> OrderReport | VenueError | None:
        """An answer that takes back what the stream has told already: the order is open all the same."""
        if (
            isinstance(outcome, OrderReport)
            and outcome.status is OrderStatus.OPEN
            and outcome.venue_order_id in self._told_open
            and self._venue.strikes(Fault.FALSE_REFUSAL)
        ):
            return Rejected("internal error", venue=VENUE, operation="place")
        return outcome

    def _is_silent(self, fault: Fault) -> bool:
        return self._venue.chance(fault).random() < 0.3

    def _travel_s(self) -> float:
        return 0.001 + 0.06 * self._venue.latency.random() ** 2

    def _time_out(self, future: asyncio.Future[T], what: str, *, silent: bool) -> None:
        """The adapter gives up at its deadline; or, `silent`, breaks its contract and never does."""
        if not silent:
            error = OutcomeUnknown("timed out", venue=VENUE, operation=what)
            self._venue.later(ADAPTER_DEADLINE_S, lambda: self._fail(future, error))

    def _fail_later(self, future: asyncio.Future[T], error: MarketMakerError) -> None:
        self._venue.later(self._travel_s(), lambda: self._fail(future, error))

    def _fail(self, future: asyncio.Future[T], error: MarketMakerError) -> None:
        if self.alive and not future.done():
            future.set_exception(error)

    def _answer(self, future: asyncio.Future[T], answer: T, what: str) -> None:
        if self._venue.active(Fault.HALF_OPEN):
            self._time_out(future, what, silent=False)
        elif self.alive and not future.done():
            future.set_result(answer)

    def _note(self, call: str) -> None:
        self.calls.append(f"{self._venue.now_ns() - self._venue.began_ns} {call}")

    # -- streams -------------------------------------------------------------------------------------

    async def stream_orders(self, instrument: Instrument, listener: OrderListener) -> None:
        await self._subscribe(ORDER_STREAM_DOWN)
        self._orders.append(listener)
        self._mend_orders()
        await asyncio.Event().wait()

    async def stream_prices(self, instrument: Instrument, listener: PriceListener) -> None:
        await self._subscribe(PRICE_STREAM_DOWN)
        self._prices.append(listener)
        self._mend_prices()
        await asyncio.Event().wait()

    async def stream_candles(
        self, symbols: Sequence[str], interval_s: int, listener: CandleListener
    ) -> None:
        await self._subscribe(PRICE_STREAM_DOWN)
        self._venue.tape.series(interval_s).listeners.append(listener)
        listener.stream_up()
        try:
            await asyncio.Event().wait()
        finally:
            self._venue.tape.series(interval_s).listeners.remove(listener)

    async def _subscribe(self, troubles: Sequence[Fault]) -> None:
        """Returns once the stream lives; an adapter tries again by itself until it does."""
        loop = asyncio.get_running_loop()
        while True:
            woken = loop.create_future()
            self._venue.later(self._travel_s(), lambda woken=woken: wake(woken))  # type: ignore[misc]
            await woken
            if self.alive and not self._any_active(troubles):
                return

    def _any_active(self, faults: Sequence[Fault]) -> bool:
        return any(map(self._venue.active, faults))

    def episode_begins(self, fault: Fault) -> None:
        match fault:
            case Fault.STREAM_DOWN:
                self._break_orders("connection reset")
            case Fault.PRICE_DOWN:
                self._break_prices("connection reset")
            case Fault.HALF_OPEN:
                self._venue.later(HEARTBEAT_S, self._miss_heartbeat)
            case _:
                pass

    def episode_ends(self, fault: Fault) -> None:
        match fault:
            case Fault.STREAM_DOWN:
                self._mend_orders()
            case Fault.PRICE_DOWN:
                self._mend_prices()
            case Fault.TOKEN_EXPIRED:
                self._break_orders("the token had expired")
                self._venue.later(RECONNECT_S, self._mend_orders)
            case Fault.HALF_OPEN:
                self._break_orders("connection reset")
                self._break_prices("connection reset")
                self._venue.later(RECONNECT_S, self._mend_orders)
                self._venue.later(RECONNECT_S, self._mend_prices)
            case _:
                pass

    def _miss_heartbeat(self) -> None:
        if self._venue.active(Fault.HALF_OPEN):
            self._break_orders("no heartbeat")
            self._break_prices("no heartbeat")

    def _break_orders(self, reason: str) -> None:
        if self.alive and self._orders_up:
            self._orders_up = False
            self._order_life += 1
            self._held.clear()
            self._observer.order_stream_down(self._venue.now_ns())
            for listener in self._orders:
                listener.stream_down(reason)

    def _break_prices(self, reason: str) -> None:
        if self.alive and self._prices_up:
            self._prices_up = False
            self._price_life += 1
            self._observer.price_stream_down(self._venue.now_ns())
            for listener in self._prices:
                listener.stream_down(reason)

    def _mend_orders(self) -> None:
        if not self.alive or not self._orders or self._orders_up:
            return
        if not self._any_active(ORDER_STREAM_DOWN):
            self._orders_up = True
            self._observer.order_stream_up(self._venue.now_ns())
            for listener in self._orders:
                listener.stream_up()

    def _mend_prices(self) -> None:
        if not self.alive or not self._prices or self._prices_up:
            return
        if not self._any_active(PRICE_STREAM_DOWN):
            self._prices_up = True
            self._observer.price_stream_up(self._venue.now_ns())
            for listener in self._prices:
                listener.stream_up()
            self.send_price(self._venue.price_ticks, self._venue.now_ns())

    def send_news(self, news: News) -> None:
        """Something happened on the account: put it on its way, as far as the stream carries it."""
        venue = self._venue
        if not self.alive or not self._orders_up or not isinstance(news, OrderReport):
            return
        if self._any_active(ORDER_STREAM_SILENT) or venue.strikes(Fault.REPORT_DROPPED):
            return
        held = self._held.get(news.venue_order_id)
        if held is not None:
            self._held[news.venue_order_id] = news
            return
        for due_ns in self._report_times():
            if venue.strikes(Fault.REPORT_MERGED):
                self._held[news.venue_order_id] = news
                wait_ns = round(NS_PER_S * venue.chance(Fault.REPORT_MERGED).random())
                venue.agenda.add(due_ns + wait_ns, self._release, news.venue_order_id)
                return
            venue.agenda.add(due_ns, self._deliver, news, self._order_life)

    def _report_times(self) -> Iterator[int]:
        """When a report arrives: once, in order, unless the plan says otherwise."""
        venue = self._venue
        delay_s = self._travel_s()
        if venue.strikes(Fault.REPORT_DELAYED):
            delay_s += 3 * venue.chance(Fault.REPORT_DELAYED).random() ** 2
        due_ns = max(self._report_due_ns, venue.now_ns() + round(delay_s * NS_PER_S))
        self._report_due_ns = due_ns
        if venue.strikes(Fault.REPORT_REORDERED):
            due_ns += round(2 * NS_PER_S * venue.chance(Fault.REPORT_REORDERED).random())
        yield due_ns
        if venue.strikes(Fault.REPORT_REPEATED):
            yield due_ns + round(5 * NS_PER_S * venue.chance(Fault.REPORT_REPEATED).random())

    def _release(self, venue_order_id: str) -> None:
        """Only the last of what was held is told."""
        news = self._held.pop(venue_order_id, None)
        if news is not None:
            self._deliver(news, self._order_life)

    def _deliver(self, report: OrderReport, life: int) -> None:
        if not self.alive or life != self._order_life or self._venue.active(Fault.HALF_OPEN):
            return
        self._observer.told(report, self._venue.now_ns())
        if report.status is OrderStatus.OPEN:
            self._told_open[report.venue_order_id] = None
        for listener in self._orders:
            listener.on_order(report, self._clock())

    def send_price(self, price_ticks: int, ts_venue_ns: int) -> None:
        self._send_price(price_ticks, ts_venue_ns, confirming=False)

    def send_confirming(self, price_ticks: int, ts_venue_ns: int) -> None:
        self._send_price(price_ticks, ts_venue_ns, confirming=True)

    def _send_price(self, price_ticks: int, ts_venue_ns: int, *, confirming: bool) -> None:
        venue = self._venue
        if not self.alive or not self._prices_up or self._any_active(PRICE_STREAM_SILENT):
            return
        due_ns = max(self._price_due_ns, venue.now_ns() + round(self._travel_s() * NS_PER_S))
        self._price_due_ns = due_ns
        venue.agenda.add(
            due_ns, self._deliver_price, price_ticks, ts_venue_ns, confirming, self._price_life
        )

    def _deliver_price(
        self, price_ticks: int, ts_venue_ns: int, confirming: bool, life: int
    ) -> None:
        if not self.alive or life != self._price_life or self._venue.active(Fault.HALF_OPEN):
            return
        self._observer.told_price(price_ticks, self._venue.now_ns())
        for listener in self._prices:
            hear = listener.on_confirming_price if confirming else listener.on_price
            hear(Ticks(price_ticks), ts_venue_ns, self._clock())


def wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def describe(order: NewOrder) -> str:
    flags = f"{'P' if order.post_only else '-'}{'R' if order.reduce_only else '-'}"
    return (
        f"{tuple(order.client_order_id)} {order.side.name} {order.qty_lots}@{order.price_ticks} {flags}"
        f" {order.time_in_force.value}"
    )
