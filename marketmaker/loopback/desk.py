"""Orders at a loopback venue, in no venue's words: what it takes, what it remembers, what it tells of each.

Matching, margin and the position are the embedded exchange's (`book`). Here is what every venue has around it: order
ids and anybody's client ids, post-only refused at once or by the stream, a crossing order of one's own, amendments,
market orders, liquidations, the lists of own trades and of income. The venue's file turns its requests into a `Ticket`
and what the `Teller` hears into its own events.

Refusals are our own error classes. Simpler than any venue: one-way positions and cross margin only (hedge mode can be
shown, not traded in); an amendment always goes to the end of the queue.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, Protocol

from marketmaker.errors import (
    DuplicateClientOrderId,
    OrderNotFound,
    PostOnlyWouldCross,
    Rejected,
)
from marketmaker.loopback.book import Book
from marketmaker.loopback.mischief import Mischief
from marketmaker.model.account import Position
from marketmaker.model.instrument import Instrument, Lots, Ticks
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
from marketmaker.sim.account import HALF, FundingPayment, Holding
from marketmaker.sim.exchange import News
from marketmaker.sim.market import Market

ZERO = Decimal(0)
FIRST_ORDER_ID = 8_389_765_900_000_000_000
"""Beyond 2**53, as many venues' are."""
FIRST_TRADE_NUMBER = 7_310_000_000
FIRST_INCOME_NUMBER = 9_689_000_000
ORDERS_KEPT = 50_000
TRADES_KEPT = 50_000
INCOME_KEPT = 20_000

Happened = Literal["new", "fill", "end", "amend", "liquidation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """An order that the venue's own filters let through. `market`: takes what the other side shows, at any price.

    `expire_own`: an own resting order that this one would meet first is ended, not this one refused. `extra`: what the
    client sent and wants to read again, in the venue's words.
    """

    instrument: Instrument
    side: Side
    price_ticks: int
    qty_lots: int
    client_id: str = ""
    market: bool = False
    post_only: bool = False
    reduce_only: bool = False
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_own: bool = True
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class Order:
    """An order as the venue remembers it. `key`: its name at the embedded exchange, which an amendment changes.

    `quanta`: price times lots of its fills; `fees` in quote currency. `ending`: why it will have ended, when that is
    not what the embedded exchange would say. `quiet`: what happens to it now is not told.
    """

    instrument: Instrument
    order_id: int
    client_id: str
    key: ClientOrderId
    side: Side
    price_ticks: int
    qty_lots: int
    market: bool
    post_only: bool
    reduce_only: bool
    time_in_force: TimeInForce
    time_ms: int
    update_ms: int
    extra: dict[str, str]
    filled_lots: int = 0
    quanta: int = 0
    fees: Decimal = ZERO
    status: OrderStatus = OrderStatus.OPEN
    end_reason: EndReason | None = None
    ending: EndReason | None = None
    quiet: bool = False
    modified: int = 0
    last_trade: OwnTrade | None = None

    @property
    def open(self) -> bool:
        return self.status is OrderStatus.OPEN

    def average(self) -> Decimal:
        """Price of its fills; 0 without one."""
        if not self.filled_lots:
            return ZERO
        return Decimal(self.quanta) / self.filled_lots * self.instrument.tick_size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OwnTrade:
    """`pnl`: what it realised against the average entry."""

    number: int
    order: Order
    fill: Fill
    pnl: Decimal
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Income:
    """`kind`: "fee", "pnl" or "funding"; `amount` > 0 was paid to us, in quote currency."""

    number: int
    symbol: str
    kind: Literal["fee", "pnl", "funding"]
    amount: Decimal
    time_ms: int
    trade: OwnTrade | None = None


class Teller(Protocol):
    """Hears what happens on the account, as it happens; never raises."""

    def on_order(self, order: Order, happened: Happened, trade: OwnTrade | None) -> None: ...
    def on_position(self, symbol: str) -> None: ...
    def on_funding(self, income: Income) -> None: ...


class Desk:
    """`now_ms`: the venue's clock, which may be off. `ids_reusable`: a client id is free again when its order has ended.

    `post_only_by_stream`: a post-only order that would take is acknowledged and then ended, not refused at once.
    """

    def __init__(
        self,
        *,
        book: Book,
        instruments: dict[str, Instrument],
        mischief: Mischief,
        teller: Teller,
        now_ms: Callable[[], int],
        ids_reusable: bool = True,
        post_only_by_stream: bool = False,
        first_order_id: int = FIRST_ORDER_ID,
    ) -> None:
        self.trades: deque[OwnTrade] = deque(maxlen=TRADES_KEPT)
        """Oldest first."""
        self.income: deque[Income] = deque(maxlen=INCOME_KEPT)
        self.updated_ms: dict[str, int] = {}
        """When a position changed last."""
        self.instruments = instruments
        self._book = book
        self._mischief = mischief
        self._teller = teller
        self._now_ms = now_ms
        self._ids_reusable = ids_reusable
        self._post_only_by_stream = post_only_by_stream
        self._orders: dict[int, Order] = {}
        self._by_key: dict[int, Order] = {}
        self._by_client_id: dict[tuple[str, str], Order] = {}
        self._entries: dict[str, tuple[int, Decimal]] = {}
        self._last_id = self._first_id = first_order_id
        self._last_income = FIRST_INCOME_NUMBER

    # -- looking up ----------------------------------------------------------------------------------

    def market(self, instrument: Instrument) -> Market:
        return self._book.exchange.market(instrument.name)

    def holding(self, symbol: str) -> Holding:
        return self._book.exchange.account.holdings[symbol]

    def mark(self, symbol: str) -> Decimal:
        holding = self.holding(symbol)
        return Decimal(holding.mark2) * HALF * holding.instrument.tick_size

    def by_order_id(self, order_id: int) -> Order | None:
        return self._orders.get(order_id)

    def by_client_id(self, symbol: str, client_id: str) -> Order | None:
        """Of several orders with one client id, the last."""
        return self._by_client_id.get((symbol, client_id))

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Oldest first, within a symbol."""
        return [
            self._by_key[order.client_order_id.sequence]
            for name, market in self._book.exchange.markets.items()
            for order in market.open_orders.values()
            if symbol in (None, name) and order.client_order_id is not None
        ]

    def duplicates(self) -> list[str]:
        """Client ids under which more than one order ever came in."""
        ids = Counter((order.instrument.name, order.client_id) for order in self._orders.values())
        return [client_id for (_, client_id), count in ids.items() if count > 1]

    def all_orders(self, symbol: str | None = None) -> list[Order]:
        return [order for order in self._orders.values() if symbol in (None, order.instrument.name)]

    def next_client_id(self) -> str:
        """For an order that came without one."""
        return f"web_{self._last_id - self._first_id + 1:020d}"

    # -- requests ------------------------------------------------------------------------------------

    def place(self, ticket: Ticket) -> Order:
        """Raises a Rejected, and then nothing has changed."""
        market = self.market(ticket.instrument)
        client_id = ticket.client_id or self.next_client_id()
        known = self.by_client_id(ticket.instrument.name, client_id)
        if known is not None and (known.open or not self._ids_reusable):
            raise DuplicateClientOrderId("this client id is in use")
        now_ms = self._now_ms()
        order = Order(
            instrument=ticket.instrument,
            order_id=self._last_id + 1,
            client_id=client_id,
            key=ClientOrderId(0, ticket.side, 0),
            side=ticket.side,
            price_ticks=ticket.price_ticks,
            qty_lots=ticket.qty_lots,
            market=ticket.market,
            post_only=ticket.post_only,
            reduce_only=ticket.reduce_only,
            time_in_force=TimeInForce.IOC if ticket.market else ticket.time_in_force,
            time_ms=now_ms,
            update_ms=now_ms,
            extra=ticket.extra,
        )
        if order.post_only and self._ends_post_only(market, order):
            return order
        if ticket.expire_own and not order.post_only:
            self._make_way(market, order)
        self._enter(order)
        return order

    def cancel(self, order: Order | None) -> Order:
        """Raises OrderNotFound."""
        if order is None or not order.open:
            raise OrderNotFound("no such open order")
        self._withdraw(order)
        return order

    def cancel_all(self, symbol: str | None = None) -> list[Order]:
        gone = self.open_orders(symbol)
        for order in gone:
            self._withdraw(order)
        return gone

    def amend(self, order: Order, price_ticks: int, qty_lots: int) -> Order:
        """A new price and total quantity under the same order id; a total that is filled already ends it.

        Raises OrderNotFound, or a Rejected: then the order has ended, as it has left its place in the queue.
        """
        if not order.open:
            raise OrderNotFound("no such open order")
        order.modified += 1
        if qty_lots <= order.filled_lots:
            self._withdraw(order)
            return order
        order.quiet = True
        self._withdraw(order)
        order.price_ticks, order.qty_lots = price_ticks, qty_lots
        order.status, order.end_reason = OrderStatus.OPEN, None
        order.update_ms = self._now_ms()
        try:
            self._enter(order, fresh=False)
        except Rejected:
            order.quiet = False
            self._end(order, EndReason.EXPIRED)
            raise
        return order

    def _enter(self, order: Order, *, fresh: bool = True) -> None:
        """To the embedded exchange. Raises a Rejected, and then nothing has changed there."""
        exchange = self._book.exchange
        if order.post_only and crossed(self.market(order.instrument), order):
            raise PostOnlyWouldCross("would trade with an own order")
        order.quiet = not fresh
        order.key = self._book.ids.enter(order.client_id, order.side)
        self._by_key[order.key.sequence] = order
        new = NewOrder(
            client_order_id=order.key,
            side=order.side,
            price_ticks=Ticks(order.price_ticks),
            qty_lots=Lots(order.qty_lots - order.filled_lots),
            post_only=order.post_only,
            reduce_only=order.reduce_only,
            time_in_force=order.time_in_force,
        )
        if fresh:
            before = self._by_client_id.get((order.instrument.name, order.client_id))
            self._remember(order)
        try:
            exchange.place(order.instrument.name, new, self._book.now_ns())
        except Rejected:
            del self._by_key[order.key.sequence]
            self._book.ids.forget(order.key)
            if fresh:
                self._take_back(order, before)
            raise

    def _remember(self, order: Order) -> None:
        self._last_id = order.order_id
        self._orders[order.order_id] = order
        self._by_client_id[order.instrument.name, order.client_id] = order
        if len(self._orders) > ORDERS_KEPT:
            oldest = next(iter(self._orders.values()))
            if not oldest.open:
                self._take_back(oldest, None)

    def _take_back(self, order: Order, before: Order | None) -> None:
        del self._orders[order.order_id]
        name = (order.instrument.name, order.client_id)
        if self._by_client_id.get(name) is order:
            del self._by_client_id[name]
        if before is not None:
            self._by_client_id[name] = before

    def _ends_post_only(self, market: Market, order: Order) -> bool:
        """Whether it is to be acknowledged and then ended. Raises PostOnlyWouldCross for one refused at once."""
        mischief = self._mischief
        if mischief.strikes("reject_post_only"):
            raise PostOnlyWouldCross("as it was told to")
        takes = market.matcher.takes(order.side, order.price_ticks) or crossed(market, order)
        late = self._post_only_by_stream or mischief.late_post_only
        if not (mischief.strikes("expire_post_only") or (takes and late)):
            return False
        self._remember(order)
        self._teller.on_order(order, "new", None)
        self._end(order, EndReason.POST_ONLY)
        return True

    def _make_way(self, market: Market, order: Order) -> None:
        """End own resting orders that this one would meet before anybody else's."""
        for resting in self.open_orders(order.instrument.name):
            if resting.side is not order.side and meets(market, order, resting.price_ticks):
                resting.ending = EndReason.SELF_TRADE
                self._withdraw(resting)

    def _withdraw(self, order: Order) -> None:
        ref = OrderRef(client_order_id=order.key, venue_order_id="")
        self._book.exchange.cancel(order.instrument.name, ref, self._book.now_ns())

    # -- what happened -------------------------------------------------------------------------------

    def hear(self, name: str, news: News) -> None:
        match news:
            case OrderReport():
                self._hear_order(name, news)
            case Position():
                self.updated_ms[name] = self._now_ms()
                self._teller.on_position(name)
            case FundingPayment():
                self._teller.on_funding(self._note(name, "funding", news.amount))

    def _hear_order(self, name: str, report: OrderReport) -> None:
        fill = report.fill
        if report.client_order_id is None:
            assert fill is not None
            self._hear_liquidation(name, fill)
            return
        order = self._by_key[report.client_order_id.sequence]
        order.update_ms = self._now_ms()
        if fill is not None:
            order.quiet = False
            order.filled_lots += fill.qty_lots
            order.quanta += fill.price_ticks * fill.qty_lots
            order.fees += fill.fee
            order.status = report.status
            if report.status is OrderStatus.FILLED:
                self._forget(order)
            self._teller.on_order(order, "fill", self._book_fill(name, fill, order))
        elif report.status is OrderStatus.OPEN:
            happened: Happened = "amend" if order.quiet else "new"
            order.quiet = False
            self._teller.on_order(order, happened, None)
        else:
            self._forget(order)
            order.status = OrderStatus.CANCELLED
            if not order.quiet:
                self._end(order, order.ending or report.end_reason or EndReason.EXPIRED)

    def _hear_liquidation(self, name: str, fill: Fill) -> None:
        """The venue closed the position itself."""
        now_ms = self._now_ms()
        order = Order(
            instrument=self.instruments[name],
            order_id=self._last_id + 1,
            client_id=f"autoclose-{now_ms}",
            key=ClientOrderId(0, fill.side, 0),
            side=fill.side,
            price_ticks=fill.price_ticks,
            qty_lots=fill.qty_lots,
            market=True,
            post_only=False,
            reduce_only=False,
            time_in_force=TimeInForce.GTC,
            time_ms=now_ms,
            update_ms=now_ms,
            extra={},
            filled_lots=fill.qty_lots,
            quanta=fill.price_ticks * fill.qty_lots,
            fees=fill.fee,
            status=OrderStatus.FILLED,
        )
        self._remember(order)
        self._teller.on_order(order, "liquidation", self._book_fill(name, fill, order))

    def _book_fill(self, name: str, fill: Fill, order: Order) -> OwnTrade:
        holding = self.holding(name)
        lots, entry = self._entries.get(name, (0, ZERO))
        self._entries[name] = (holding.lots, holding.entry_ticks)
        closed = min(abs(lots), fill.qty_lots) if lots * fill.side < 0 else 0
        pnl = -fill.side * closed * (fill.price_ticks - entry) * holding.instrument.quantum
        trade = OwnTrade(
            number=FIRST_TRADE_NUMBER + int(fill.trade_id),
            order=order,
            fill=fill,
            pnl=pnl,
            time_ms=order.update_ms,
        )
        order.last_trade = trade
        self.trades.append(trade)
        self._note(name, "fee", -fill.fee, trade)
        if pnl:
            self._note(name, "pnl", pnl, trade)
        return trade

    def _note(
        self,
        symbol: str,
        kind: Literal["fee", "pnl", "funding"],
        amount: Decimal,
        trade: OwnTrade | None = None,
    ) -> Income:
        self._last_income += 1
        income = Income(
            number=self._last_income,
            symbol=symbol,
            kind=kind,
            amount=amount,
            time_ms=self._now_ms(),
            trade=trade,
        )
        self.income.append(income)
        return income

    def _end(self, order: Order, reason: EndReason) -> None:
        order.status, order.end_reason = OrderStatus.CANCELLED, reason
        order.update_ms = self._now_ms()
        self._teller.on_order(order, "end", None)

    def _forget(self, order: Order) -> None:
        """It has left the embedded exchange; the desk still remembers it."""
        self._by_key.pop(order.key.sequence, None)
        self._book.ids.forget(order.key)


def market_price(market: Market, side: Side) -> int | None:
    """The limit at which a market order takes what the other side shows, in ticks; None when there is nothing."""
    matcher = market.matcher
    if matcher.quoted:
        lots = matcher.ask_lots if side is Side.BUY else matcher.bid_lots
        if lots:
            return matcher.ask_ticks if side is Side.BUY else matcher.bid_ticks
    elif matcher.last_ticks is not None:
        return matcher.last_ticks + side
    return None


def crossed(market: Market, order: Order) -> bool:
    """Whether it would trade with an order of our own."""
    return any(
        own.side is not order.side
        and (order.price_ticks - own.price_ticks) * order.side >= 0
        and own.client_order_id != order.key
        for own in market.open_orders.values()
    )


def meets(market: Market, order: Order, own_ticks: int) -> bool:
    """Whether it would come to an own order at `own_ticks` before it came to the market's best."""
    if (order.price_ticks - own_ticks) * order.side < 0:
        return False
    if not market.matcher.takes(order.side, order.price_ticks):
        return True
    if market.matcher.quoted:
        buying = order.side is Side.BUY
        best = market.matcher.ask_ticks if buying else market.matcher.bid_ticks
    else:
        best = market.matcher.last_ticks or 0
    return (best - own_ticks) * order.side >= 0
