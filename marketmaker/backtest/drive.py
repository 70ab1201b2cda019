"""The core at the embedded exchange without loop or waiting: one recorded event after the other.

What happens at one event, in this order:

    1. what was due until then happens, each at its own time: orders on their way arrive, the core's timers fire,
       funding is paid, the order cleaner looks
    2. the exchange matches the event against the orders that rested before it
    3. the core hears of its fills, and what it decides goes to the exchange (after `latency_ns`, 0: in the same instant)
    4. the core hears the price, and again what it decides goes to the exchange

So an order that is placed at event i can fill at event i + 1 at the earliest, unless it takes on arrival.

`Bench` is one symbol at its desk, with everything that may happen to it. `drive` is the reference: it gives the bench
every event. `skip.skip_ahead` gives it only those at which something can happen. Both leave the same fills, the
same books and the same journal, and that is tested.

The journal's form. Events and actions are written as the daemon writes them, with one rule for prices: of the prices
inside the core's quiet band only the last before something else was heard is written, and none at all before another
price. That is what the daemon's queue does when it is busy, and what replays to the same decisions.

A cancel for a placement that is still on its way is dropped, as the executor drops it: the core asks again when it hears
of the order, if it still wants to.

Not modelled: the executor's and the venue's rate limits, the candle gate of the risk monitor and the account limits
beside it, stale or jumping prices, streams that break. `latency_ns` is the whole time from a decision to its arrival;
news of fills come back at once.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from struct import Struct
from typing import Final, Protocol

from marketmaker.backtest.arrays import MarketData, Quotes
from marketmaker.backtest.funding import NEVER, FixedFunding, Funding
from marketmaker.core.position_manager import PositionManager
from marketmaker.errors import InvariantBroken, OrderNotFound, Rejected, VenueError
from marketmaker.model.account import VenueSnapshot
from marketmaker.model.action import (
    Action,
    CancelOrder,
    GiveUp,
    PlaceOrder,
    QueryOrder,
    RaiseAlert,
    RecordFill,
    RecordOrderEnd,
    TakeSnapshot,
)
from marketmaker.model.client_order_id import TEXT_MAX_SLOT, TEXT_SEQUENCES, first_sequence
from marketmaker.model.event import (
    CancelRefused,
    CleanupDue,
    Event,
    FundingBooked,
    OrderMissing,
    OrderReported,
    OrderStreamRestored,
    PlaceRefused,
    PriceChanged,
    Refusal,
    SnapshotTaken,
    TimerFired,
)
from marketmaker.model.instrument import Instrument, Ticks
from marketmaker.model.order import ClientOrderId, Fill, OrderReport, Side
from marketmaker.model.settings import GridSettings, GridSide, PaperSettings
from marketmaker.sim.account import FundingPayment
from marketmaker.sim.exchange import Exchange, News
from marketmaker.sim.matching import QUEUE

NS_PER_S = 1_000_000_000
REQUEST_LIFETIME_S = 5.0
READING_TAKES_NS = 1_000_000
"""A snapshot is asked for this long after the core wanted it, so that what happened in that instant is in it."""
TRADES_KEPT: Final = 10_000
"""No trade is told twice here, so the core may forget older ones, as it does after a reading of a venue's trades."""


class Journal(Protocol):
    """What `runtime.journal.Journal` offers; anything that takes these two calls will do."""

    def heard(self, symbol_index: int, event: Event) -> None: ...
    def decided(self, symbol_index: int, actions: Sequence[Action]) -> None: ...


class PlainIds:
    """Client order ids where nobody else's can occur: the sequence number alone, and only the last one is decoded.

    The limits are those of the text form, so that the core decides as it would at a venue that takes it.
    """

    def __init__(self) -> None:
        self.sequences = TEXT_SEQUENCES
        self.max_slot = TEXT_MAX_SLOT
        self._last = ClientOrderId(0, Side.BUY, -1)
        self._wire = "-1"

    def encode(self, order: ClientOrderId) -> str:
        self._last = order
        self._wire = str(order.sequence)
        return self._wire

    def decode(self, wire: str) -> ClientOrderId | None:
        return self._last if wire == self._wire else None


FILL_COLUMNS: Final = ("ts_ns", "price_ticks", "qty_lots", "side", "slot", "realised", "is_maker")
PACK_ROW: Final = Struct(f"{len(FILL_COLUMNS)}q").pack


class FillLog:
    """Our fills in columns, oldest first. `side` is +1 or -1; `realised` in quanta, before fees."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows = array("q")
        """Fill after fill."""

    def __len__(self) -> int:
        return len(self.rows) // len(FILL_COLUMNS)

    def __eq__(self, other: object) -> bool:
        return self.rows == other.rows if isinstance(other, FillLog) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> array[int]:
        if name not in FILL_COLUMNS:
            raise AttributeError(name)
        return self.rows[FILL_COLUMNS.index(name) :: len(FILL_COLUMNS)]

    def add(self, fill: RecordFill) -> None:
        self.rows.frombytes(
            PACK_ROW(
                fill.ts_venue_ns,
                fill.price_ticks,
                fill.qty_lots,
                fill.side,
                fill.client_order_id.slot,
                fill.realised,
                fill.is_maker,
            )
        )


class Bench:
    """One symbol: its core, its exchange, and what is on its way between them.

    `alerts` counts by topic. `payments`: (time, signed amount) of each funding payment. `liquidated`: the venue's trades
    that closed our position. `gave_up` says why the core
    cannot trade any more, "" while it can. `funding`: recorded rates instead of `paper`'s. `manager`: one with memories instead of a new one. `woken` counts the events that were really played. `times`: when each was.
    """

    def __init__(
        self,
        data: MarketData,
        *,
        instrument: Instrument,
        grid: GridSettings,
        paper: PaperSettings,
        refusal_of: Callable[[VenueError], Refusal],
        latency_ns: int = 0,
        cleanup_interval_s: float = 10.0,
        journal: Journal | None = None,
        funding: Funding | None = None,
        manager: PositionManager | None = None,
    ) -> None:
        self.instrument = instrument
        self.ids = PlainIds()
        self.exchange = Exchange(
            settings=paper,
            instruments={instrument.name: instrument},
            client_order_ids=self.ids,
            emit=self._emit,
            tell_positions=False,
        )
        self.market = self.exchange.market(instrument.name)
        self._by_quantity = self.market.matcher.model is QUEUE
        """Whether it matters how much was traded."""
        self.now_ns = int(data.ts_ns[0])
        self.manager = manager or PositionManager(
            instrument=instrument,
            settings=grid,
            sequences=self.ids.sequences,
            max_slot=self.ids.max_slot,
            first_sequence=first_sequence(self.now_ns // 1_000_000, self.ids),
            request_lifetime_s=REQUEST_LIFETIME_S,
        )
        self.fills = FillLog()
        self.payments: list[tuple[int, float]] = []
        self.liquidated: list[Fill] = []
        self.alerts: dict[str, int] = {}
        self.gave_up = ""
        self.woken = 0
        self._refusal_of = refusal_of
        self._latency_ns = latency_ns
        self._funding: Funding = funding or FixedFunding(
            interval_ns=round(paper.funding_interval_s * NS_PER_S), rate=paper.funding_rate
        )
        self._cleanup_ns = round(cleanup_interval_s * NS_PER_S)
        self._journal = journal
        self._inbox: list[Event] = []
        self._opened = 0
        """How many of the inbox have been heard."""
        self._funding_due_ns = 0
        self._agenda: list[tuple[int, int, PlaceOrder | CancelOrder | QueryOrder | None]] = []
        self._agenda_count = 0
        self._placing: set[ClientOrderId] = set()
        self._unwritten: PriceChanged | None = None
        self._begun = False
        self.go_on(data)

    # --- the driver's side ---

    def go_on(self, data: MarketData) -> None:
        """The next stretch of the same market, once the one before has been driven to its end: a long recording need
        not be in memory as a whole."""
        self.data = data
        self.times = memoryview(data.ts_ns)  # type: ignore[arg-type]
        self._price = memoryview(data.price)  # type: ignore[arg-type]
        self._qty = memoryview(data.qty)  # type: ignore[arg-type]
        self._one_price = data.quotes is None and data.low is data.high
        self._heard = -1
        self._applied = -1

    def begin(self) -> int:
        """The last event of the stretch that has happened. At first the private stream is up, nothing is open, nothing
        is held, and then comes the first event; in a later stretch nothing has happened yet."""
        if self._begun:
            return -1
        self._begun = True
        now_ns = self.now_ns
        self.hear(OrderStreamRestored(ts_ns=now_ns))
        self.hear(SnapshotTaken(snapshot=self._read(), ts_ns=now_ns))
        self.play(0, self.times[0])
        return 0

    def play(self, place: int, at_ns: int) -> bool:
        """The event happens, at its own time; what was due until then has happened already. Whether the core heard its
        price."""
        self.woken += 1
        price = self._price[place]
        self.now_ns = ts_ns = max(self.now_ns, at_ns)
        if self._one_price:
            lots = self._qty[place] if self._by_quantity else 0
            self.exchange.trade(self.market, price, lots, at_ns)
        else:
            self._apply(place)
        if self._inbox:
            self._hear_news(place)
        if self.manager.is_quiet(price) or price <= 0:
            return False
        self._heard = place
        self._unwritten = None
        self.hear(PriceChanged(price_ticks=Ticks(price), ts_venue_ns=ts_ns, ts_ns=ts_ns))
        self._drain()
        return True

    def has_heard(self, place: int) -> bool:
        """Whether the core has the price of event `place`."""
        return self._heard >= place

    def hear_quiet(self, place: int, *, doubting: bool = False) -> None:
        """Bring the core's price to that of an event that changed nothing. `doubting`: have the core look for itself
        instead of trusting its quiet band."""
        self._heard = place
        price = self._price[place]
        if price <= 0:
            return
        ts_ns = self.times[place]
        event = PriceChanged(price_ticks=Ticks(price), ts_venue_ns=ts_ns, ts_ns=ts_ns)
        actions = self._decide_in_full(event) if doubting else self.manager.decide(event)
        if actions:
            raise InvariantBroken(f"event {place}: a price in the quiet band changed something")
        self._unwritten = event

    def _decide_in_full(self, event: PriceChanged) -> list[Action]:
        """What the core would do if it did not trust its quiet band, which is as it was afterwards."""
        band = self.manager.quiet_band
        self.manager.quiet_band = None
        actions = self.manager.decide(event)
        self.manager.quiet_band = band
        return actions

    def catch_up(self, played: int, place: int) -> None:
        """Bring exchange and core to just after event `place`; none after `played` touched anything of ours."""
        if place > played:
            fills = self.exchange.fill_count
            self._apply(place)
            if self._inbox or self.exchange.fill_count != fills:
                raise InvariantBroken(f"event {place} was passed over and touched our orders")
        if place > self._heard:
            self.hear_quiet(place)

    def next_due_ns(self) -> int:
        """When something happens by itself, NEVER if nothing will."""
        due_ns = self._agenda[0][0] if self._agenda else NEVER
        manager = self.manager
        if manager.timers and manager.timers[0][0] < due_ns:
            due_ns = manager.timers[0][0]
        if self.market.holding.lots:
            if self._funding_due_ns <= self.now_ns:
                self._funding_due_ns = self._funding.next_ns(self.now_ns)
            due_ns = min(due_ns, self._funding_due_ns)
        if len(manager.live) >= manager.cap:
            due_ns = min(due_ns, next_multiple(self.now_ns, self._cleanup_ns))
        return due_ns

    def do_due(self, due_ns: int) -> None:
        """One thing that `next_due_ns` announced."""
        before_ns = self.now_ns
        self.now_ns = max(before_ns, due_ns)
        manager = self.manager
        if self.market.holding.lots and self._funding.next_ns(before_ns) <= due_ns:
            self.exchange.pay_funding(self.now_ns, self._funding.rate_at(due_ns))
            self._drain()
        if (
            len(manager.live) >= manager.cap
            and next_multiple(before_ns, self._cleanup_ns) <= due_ns
        ):
            self.hear(CleanupDue(ts_ns=self.now_ns))
        elif self._agenda and self._agenda[0][0] <= due_ns:
            action = heappop(self._agenda)[2]
            if action is None:
                self._take_snapshot()
            else:
                self._carry_out(action)
        elif manager.timers and manager.timers[0][0] <= due_ns:
            self.hear(TimerFired(ts_ns=self.now_ns))
        self._drain()

    def take_up(
        self, slot: int, side: Side | None, kind: type[PlaceOrder | CancelOrder | QueryOrder]
    ) -> PlaceOrder | CancelOrder | QueryOrder | None:
        """Take what is on its way for this slot off it; `side` None: either. None when nothing of that kind is."""
        for item in sorted(self._agenda):
            action = item[2]
            if isinstance(action, kind):
                order = action if isinstance(action, QueryOrder) else action.order
                known = order.client_order_id
                if known.slot == slot and side in {None, known.side}:
                    self._agenda.remove(item)
                    heapify(self._agenda)
                    self._placing.discard(known)
                    return action
        return None

    def arrive(self, action: PlaceOrder | CancelOrder | QueryOrder) -> None:
        """It reaches the exchange now, and the core hears what the exchange says."""
        self._carry_out(action)
        self._drain()

    def print_trade(self, price_ticks: int, qty_lots: int) -> None:
        """A trade of the market's now. The core hears what it did to our orders, and nothing of the price."""
        self.exchange.trade(self.market, price_ticks, qty_lots, self.now_ns)
        self._drain()

    def settle(self) -> None:
        """The core hears whatever the exchange has said and was not heard yet."""
        self._drain()

    def look(self) -> None:
        """The core is shown a snapshot now; any that was promised is done with."""
        self._agenda = [item for item in self._agenda if item[2] is not None]
        heapify(self._agenda)
        self.hear(SnapshotTaken(snapshot=self._read(), ts_ns=self.now_ns))
        self._drain()

    # --- between core and exchange ---

    def hear(self, event: Event) -> None:
        if self._journal is not None:
            if self._unwritten is not None:
                self._journal.heard(0, self._unwritten)
            self._journal.heard(0, event)
        self._unwritten = None
        actions = self.manager.decide(event)
        if self._journal is not None:
            self._journal.decided(0, actions)
        for action in actions:
            kind = type(action)
            if kind is RecordOrderEnd:
                continue
            if kind is PlaceOrder or kind is CancelOrder:
                self._send(action)  # type: ignore[arg-type]
            elif kind is RecordFill:
                self.fills.add(action)  # type: ignore[arg-type]
                if len(self.manager.recent_trades) > TRADES_KEPT:
                    self.manager.note_all_told(self.now_ns)
            elif isinstance(action, QueryOrder):
                self._send(action)
            elif isinstance(action, TakeSnapshot):
                self._promise(self.now_ns + READING_TAKES_NS, None)
            elif isinstance(action, RaiseAlert):
                self.alerts[action.topic] = self.alerts.get(action.topic, 0) + 1
            elif isinstance(action, GiveUp):
                self.gave_up = action.reason

    def _hear_news(self, place: int) -> None:
        """Of what event `place` did to our orders; the price the core has then is that of the event before."""
        if place - 1 > self._heard:
            self.hear_quiet(place - 1)
        self._drain()

    def _drain(self) -> None:
        inbox = self._inbox
        if not inbox:
            return
        while self._opened < len(inbox):
            event = inbox[self._opened]
            self._opened += 1
            self.hear(event)
        inbox.clear()
        self._opened = 0

    def _send(self, action: PlaceOrder | CancelOrder | QueryOrder) -> None:
        if not self._latency_ns:
            self._carry_out(action)
            return
        if isinstance(action, PlaceOrder):
            self._placing.add(action.order.client_order_id)
        elif isinstance(action, CancelOrder) and action.order.client_order_id in self._placing:
            return
        self._promise(self.now_ns + self._latency_ns, action)

    def _promise(self, due_ns: int, action: PlaceOrder | CancelOrder | QueryOrder | None) -> None:
        """`None`: a snapshot."""
        self._agenda_count += 1
        heappush(self._agenda, (due_ns, self._agenda_count, action))

    def _carry_out(self, action: PlaceOrder | CancelOrder | QueryOrder) -> None:
        now_ns, name = self.now_ns, self.instrument.name
        if isinstance(action, PlaceOrder):
            if self._placing:
                self._placing.discard(action.order.client_order_id)
            try:
                self.exchange.submit(self.market, action.order, now_ns)
            except Rejected as error:
                self._inbox.append(
                    PlaceRefused(
                        client_order_id=action.order.client_order_id,
                        refusal=self._refusal_of(error),
                        message=str(error),
                        retry_after_s=None,
                        ts_ns=now_ns,
                    )
                )
        elif isinstance(action, CancelOrder):
            try:
                self.exchange.cancel(name, action.order, now_ns)
            except OrderNotFound as error:
                self._inbox.append(
                    CancelRefused(
                        client_order_id=action.order.client_order_id,
                        refusal=self._refusal_of(error),
                        message=str(error),
                        ts_ns=now_ns,
                    )
                )
        else:
            self._query(action.client_order_id)

    def _query(self, client_order_id: ClientOrderId) -> None:
        now_ns = self.now_ns
        try:
            report = self.exchange.order(self.instrument.name, client_order_id, now_ns)
        except OrderNotFound:
            self._inbox.append(
                OrderMissing(client_order_id=client_order_id, ts_asked_ns=now_ns, ts_ns=now_ns)
            )
        else:
            self._inbox.append(OrderReported(report=report, ts_ns=now_ns))

    def _take_snapshot(self) -> None:
        if self.manager.last_fill_ns >= self.now_ns:
            self._promise(self.now_ns + READING_TAKES_NS, None)
        else:
            self.hear(SnapshotTaken(snapshot=self._read(), ts_ns=self.now_ns))

    def _read(self) -> VenueSnapshot:
        name, now_ns = self.instrument.name, self.now_ns
        return VenueSnapshot(
            open_orders=tuple(self.exchange.open_orders(name, now_ns)),
            position=self.exchange.position(name),
            fills=(),
            ts_asked_ns=now_ns,
            ts_answered_ns=now_ns,
        )

    def _emit(self, name: str, news: News, now_ns: int) -> None:
        if isinstance(news, OrderReport):
            if news.client_order_id is not None:
                self._inbox.append(OrderReported(report=news, ts_ns=now_ns))
            elif news.fill is not None:
                self.liquidated.append(news.fill)
        elif isinstance(news, FundingPayment):
            self.payments.append((now_ns, float(news.amount)))
            self._inbox.append(
                FundingBooked(payment_id=news.payment_id, amount=news.amount, ts_ns=now_ns)
            )

    # --- how one event of the data reaches the exchange ---

    def _apply(self, place: int) -> None:
        if self._one_price:
            self._apply_trade(place)
        elif self.data.quotes is None:
            self._apply_bar(place)
        else:
            self._apply_frame(place, self.data.quotes)

    def _apply_trade(self, place: int) -> None:
        self.exchange.trade(self.market, self._price[place], self._qty[place], self.times[place])

    def _apply_bar(self, place: int) -> None:
        """See `arrays`: exits, then entries, then the close."""
        data, market = self.data, self.market
        extremes = (data.high, data.low)
        if self.manager.settings.side is GridSide.SHORT:
            extremes = (data.low, data.high)
        lots, ts_ns = self._qty[place], self.times[place]
        for prices in extremes:
            self.exchange.trade(market, int(prices[place]), lots, ts_ns)
            if self._inbox:
                self._hear_news(place)
        self.exchange.trade(market, self._price[place], lots, ts_ns)

    def _apply_frame(self, place: int, quotes: Quotes) -> None:
        """After a leap the exchange first hears the last trade and the last quote before this event."""
        last = place - 1
        if last > self._applied:
            before = int(quotes.before[last])
            if before > self._applied:
                self._apply_one(before, quotes)
            self._apply_one(last, quotes)
        self._apply_one(place, quotes)
        self._applied = place

    def _apply_one(self, place: int, quotes: Quotes) -> None:
        if quotes.is_quote[place]:
            bid = (int(quotes.bid[place]), int(quotes.bid_lots[place]))
            ask = (int(quotes.ask[place]), int(quotes.ask_lots[place]))
            self.exchange.quote(self.market, bid, ask, self.times[place])
        else:
            self._apply_trade(place)


def drive(
    bench: Bench, *, doubting: bool = False, progress: Callable[[int], None] | None = None
) -> None:
    """The reference: every event of the bench's stretch is played, and the core hears every price. Slow, and plain to
    read.

    `doubting`: the core decides about each of them in full, quiet or not.
    """
    played = bench.begin()
    if played == 0 and not bench.has_heard(0):
        bench.hear_quiet(0, doubting=doubting)
    ts_ns = bench.data.ts_ns.tolist()
    for place in range(played + 1, len(ts_ns)):
        while (due_ns := bench.next_due_ns()) <= ts_ns[place]:
            bench.do_due(due_ns)
        if not bench.play(place, ts_ns[place]):
            bench.hear_quiet(place, doubting=doubting)
        if progress is not None:
            progress(place)


def next_multiple(now_ns: int, step_ns: int) -> int:
    return (now_ns // step_ns + 1) * step_ns
