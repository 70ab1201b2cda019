"""Orders at the Binance loopback venue: what it refuses and with which code, and what it remembers and tells of each.

Matching, margin and the position are the embedded exchange's. Here are the venue's own rules around it: filters, ids,
post-only refused at once or later, a crossing order of one's own expiring the resting one, amendments, market orders.

Where this is simpler than the venue: one-way positions and cross margin only (hedge mode can be shown, not traded in);
GTC, IOC and GTX orders, LIMIT and MARKET; an amendment always goes to the end of the queue.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from decimal import Decimal

from marketmaker.errors import (
    DuplicateClientOrderId,
    FilterViolation,
    InsufficientMargin,
    OrderNotFound,
    PostOnlyWouldCross,
    ReduceOnlyRefused,
    Rejected,
)
from marketmaker.loopback.binance_shapes import (
    MAX_OPEN_ORDERS,
    MAX_PRICE,
    PRICE_BAND,
    ZERO,
    Json,
    Order,
    WireError,
    build_account_update,
    build_order_event,
    build_own_trade,
    build_position_event,
    build_trade_lite,
    decimals,
    max_qty,
    money_text,
    price_decimals,
    wallet,
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
from marketmaker.sim.account import HALF, FundingPayment
from marketmaker.sim.exchange import News
from marketmaker.sim.market import Market

FIRST_ORDER_ID = 8_389_765_900_000_000_000
"""Beyond 2**53, as the venue's are."""
ORDERS_KEPT = 50_000
TRADES_KEPT = 50_000
INCOME_KEPT = 20_000
MODIFY_MAX = 10_000
CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
NUMBER = re.compile(r"([0-9]{1,20})(\.[0-9]{1,20})?")
CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
SELF_TRADE_MODES = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
POST_ONLY = (
    -5022,
    "Due to the order could not be executed as maker, the Post Only order will be rejected."
    " The order will not be recorded in the order history",
)
REFUSALS: dict[type[Rejected], tuple[int, str]] = {
    PostOnlyWouldCross: POST_ONLY,
    ReduceOnlyRefused: (-2022, "ReduceOnly Order is rejected."),
    InsufficientMargin: (-2019, "Margin is insufficient."),
    DuplicateClientOrderId: (-4116, "ClientOrderId is duplicated."),
    FilterViolation: (-1013, "Filter failure."),
}
ENDINGS = {
    EndReason.REQUESTED: "CANCELED",
    EndReason.LIQUIDATION: "CANCELED",
    EndReason.SELF_TRADE: "EXPIRED_IN_MATCH",
}
"""Every other end is EXPIRED."""

Params = dict[str, str]


class Desk:
    """`send` takes an event of the private stream. `now_ms`: the venue's clock, which may be off."""

    def __init__(
        self,
        *,
        book: Book,
        instruments: dict[str, Instrument],
        mischief: Mischief,
        send: Callable[[Json], None],
        now_ms: Callable[[], int],
    ) -> None:
        self.trades: deque[tuple[Json, int]] = deque(maxlen=TRADES_KEPT)
        """Rows of userTrades and their order ids, oldest first."""
        self.income: deque[Json] = deque(maxlen=INCOME_KEPT)
        self.updated_ms: dict[str, int] = {}
        """When a position changed last."""
        self._book = book
        self._instruments = instruments
        self._mischief = mischief
        self._send = send
        self._now_ms = now_ms
        self._orders: dict[int, Order] = {}
        self._by_key: dict[int, Order] = {}
        self._by_client_id: dict[tuple[str, str], Order] = {}
        self._entries: dict[str, tuple[int, Decimal]] = {}
        self._last_id = FIRST_ORDER_ID
        self._last_income = 0

    # -- looking up ----------------------------------------------------------------------------------

    def instrument(self, params: Params) -> Instrument:
        found = self._instruments.get(need(params, "symbol"))
        if found is None:
            raise WireError(-1121, "Invalid symbol.")
        return found

    def market(self, instrument: Instrument) -> Market:
        return self._book.exchange.market(instrument.name)

    def find(self, params: Params) -> Order | None:
        """By `orderId` or `origClientOrderId`; of several orders with one client id, the last."""
        instrument = self.instrument(params)
        if params.get("orderId"):
            order = self._orders.get(whole(params, "orderId"))
            return order if order is not None and order.instrument is instrument else None
        if not params.get("origClientOrderId"):
            raise WireError(
                -1102,
                "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
            )
        return self._by_client_id.get((instrument.name, params["origClientOrderId"]))

    def open_orders(self, symbol: str | None) -> list[Order]:
        return [
            self._by_key[order.client_order_id.sequence]
            for name, market in self._book.exchange.markets.items()
            for order in market.open_orders.values()
            if symbol in (None, name) and order.client_order_id is not None
        ]

    def all_orders(self, symbol: str) -> list[Order]:
        return [order for order in self._orders.values() if order.instrument.name == symbol]

    # -- requests ------------------------------------------------------------------------------------

    def place(self, params: Params) -> Order:
        """Raises WireError, and then nothing has changed."""
        instrument = self.instrument(params)
        market = self.market(instrument)
        side = parse_side(params)
        kind = parse_kind(params)
        time_in_force = parse_time_in_force(params, kind)
        reduce_only = params.get("reduceOnly", "false").lower() == "true"
        qty_lots = parse_qty(params, instrument)
        if kind == "MARKET":
            price_ticks = market_price(market, side)
        else:
            price_ticks = parse_price(params, market)
        if not reduce_only:
            check_notional(instrument, price_ticks, qty_lots)
        client_id = (
            params.get("newClientOrderId") or f"web_{self._last_id - FIRST_ORDER_ID + 1:020d}"
        )
        if CLIENT_ID.fullmatch(client_id) is None:
            raise WireError(-4015, "Client order id is not valid.")
        if params.get("positionSide", "BOTH") != "BOTH" or self._mischief.hedge_mode:
            raise WireError(-4061, "Order's position side does not match user's setting.")
        self_trade = params.get("selfTradePreventionMode", "EXPIRE_MAKER")
        if self_trade not in SELF_TRADE_MODES:
            raise WireError(
                -1130, "Data sent for parameter 'selfTradePreventionMode' is not valid."
            )
        if len(market.open_orders) >= MAX_OPEN_ORDERS:
            raise WireError(-2025, "Reach max open order limit.")
        if client_id in market.open_orders:
            raise WireError(*REFUSALS[DuplicateClientOrderId])
        now_ms = self._now_ms()
        order = Order(
            instrument=instrument,
            order_id=self._last_id + 1,
            client_id=client_id,
            key=ClientOrderId(0, side, 0),
            side=side,
            kind=kind,
            time_in_force=time_in_force,
            price_ticks=price_ticks,
            qty_lots=qty_lots,
            reduce_only=reduce_only,
            self_trade=self_trade,
            time_ms=now_ms,
            update_ms=now_ms,
        )
        if time_in_force == "GTX" and self._ends_post_only(market, order):
            return order
        self._make_way(market, order)
        self._enter(order)
        return order

    def cancel(self, params: Params) -> Order:
        order = self.find(params)
        if order is None or not order.open:
            raise WireError(-2011, "Unknown order sent.")
        self._withdraw(order)
        return order

    def cancel_all(self, instrument: Instrument) -> None:
        for order in self.open_orders(instrument.name):
            self._withdraw(order)

    def modify(self, params: Params) -> Order:
        """A new total quantity and price under the same order id; see the venue's rules in the sheet's section 5."""
        order = self.find(params)
        if order is None or not order.open:
            raise WireError(-2013, "Order does not exist.")
        if parse_side(params) is not order.side:
            raise WireError(
                -1102, "Mandatory parameter 'side' was not sent, was empty/null, or malformed."
            )
        market = self.market(order.instrument)
        qty_lots = parse_qty(params, order.instrument)
        price_ticks = parse_price(params, market)
        if not order.reduce_only:
            check_notional(order.instrument, price_ticks, qty_lots)
        if (price_ticks, qty_lots) == (order.price_ticks, order.qty_lots):
            raise WireError(-5027, "No need to modify the order.")
        if order.modified >= MODIFY_MAX:
            raise WireError(-5026, "Exceed maximum modify order limit.")
        order.modified += 1
        order.modify_id = whole(params, "modifyId") if params.get("modifyId") else None
        if qty_lots <= order.filled_lots:
            self._withdraw(order)
            return order
        order.quiet = True
        self._withdraw(order)
        order.price_ticks, order.qty_lots = price_ticks, qty_lots
        order.status = "PARTIALLY_FILLED" if order.filled_lots else "NEW"
        order.update_ms = self._now_ms()
        try:
            self._enter(order, happened="AMENDMENT")
        except WireError:
            order.quiet = False
            self._end(order, "EXPIRED", "EXPIRED")
            raise
        return order

    def _enter(self, order: Order, happened: str = "NEW") -> None:
        """To the embedded exchange. Raises WireError, and then nothing has changed there."""
        exchange = self._book.exchange
        market = self.market(order.instrument)
        if order.time_in_force == "GTX" and crossed(market, order):
            raise WireError(*POST_ONLY)
        order.quiet = happened == "AMENDMENT"
        order.key = self._book.ids.enter(order.client_id, order.side)
        self._by_key[order.key.sequence] = order
        new = NewOrder(
            client_order_id=order.key,
            side=order.side,
            price_ticks=Ticks(order.price_ticks),
            qty_lots=Lots(order.qty_lots - order.filled_lots),
            post_only=order.time_in_force == "GTX",
            reduce_only=order.reduce_only,
            time_in_force=TimeInForce.IOC if order.time_in_force == "IOC" else TimeInForce.GTC,
        )
        fresh = happened == "NEW"
        if fresh:
            before = self._by_client_id.get((order.instrument.name, order.client_id))
            self._remember(order)
        try:
            exchange.place(order.instrument.name, new, self._book.now_ns())
        except Rejected as error:
            del self._by_key[order.key.sequence]
            self._book.ids.forget(order.key)
            if fresh:
                self._take_back(order, before)
            raise WireError(*REFUSALS[type(error)]) from error

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
        """Whether a post-only order is to be acknowledged and then expired. Raises WireError for one refused at once."""
        mischief = self._mischief
        if mischief.strikes("reject_post_only"):
            raise WireError(*POST_ONLY)
        takes = market.matcher.takes(order.side, order.price_ticks) or crossed(market, order)
        if not (mischief.strikes("expire_post_only") or (takes and mischief.late_post_only)):
            return False
        self._remember(order)
        self._tell(order, "NEW")
        self._end(order, "EXPIRED", "EXPIRED")
        return True

    def _make_way(self, market: Market, order: Order) -> None:
        """Expire own resting orders that this one would meet before anybody else's."""
        if order.self_trade == "EXPIRE_TAKER" or order.time_in_force == "GTX":
            return
        for resting in self.open_orders(order.instrument.name):
            if resting.side is not order.side and meets(market, order, resting.price_ticks):
                resting.ending = "EXPIRED_IN_MATCH"
                self._withdraw(resting)

    def _withdraw(self, order: Order) -> None:
        ref = OrderRef(client_order_id=order.key, venue_order_id="")
        try:
            self._book.exchange.cancel(order.instrument.name, ref, self._book.now_ns())
        except OrderNotFound:
            raise WireError(-2011, "Unknown order sent.") from None

    # -- what happened -------------------------------------------------------------------------------

    def hear(self, name: str, news: News) -> None:
        match news:
            case OrderReport():
                self._hear_order(name, news)
            case Position():
                self._hear_position(name)
            case FundingPayment():
                self._hear_funding(name, news)

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
            done = report.status is OrderStatus.FILLED
            order.status = "FILLED" if done else "PARTIALLY_FILLED"
            if done:
                self._forget(order)
            pnl = self._book_fill(name, fill, order)
            self._send(build_trade_lite(order, fill, order.update_ms))
            self._tell(order, "TRADE", fill=fill, pnl=pnl)
        elif report.status is OrderStatus.OPEN:
            if order.quiet:
                order.quiet = False
                self._tell(order, "AMENDMENT")
            else:
                self._tell(order, "NEW")
        else:
            self._forget(order)
            if order.quiet:
                return
            reason = report.end_reason
            status = order.ending or (ENDINGS.get(reason, "EXPIRED") if reason else "EXPIRED")
            self._end(order, status, "CANCELED" if status == "CANCELED" else "EXPIRED")

    def _hear_position(self, name: str) -> None:
        now_ms = self._now_ms()
        account = self._book.exchange.account
        holding = account.holdings[name]
        self.updated_ms[name] = now_ms
        self._send(
            build_account_update(
                reason="ORDER",
                asset=holding.instrument.quote,
                wallet=wallet(account),
                positions=[build_position_event(holding)],
                now_ms=now_ms,
            )
        )

    def _hear_funding(self, name: str, payment: FundingPayment) -> None:
        now_ms = self._now_ms()
        account = self._book.exchange.account
        asset = self._instruments[name].quote
        self._note_income(name, "FUNDING_FEE", payment.amount, "", now_ms)
        self._send(
            build_account_update(
                reason="FUNDING_FEE",
                asset=asset,
                wallet=wallet(account),
                change=payment.amount,
                positions=[],
                now_ms=now_ms,
            )
        )

    def _hear_liquidation(self, name: str, fill: Fill) -> None:
        """The venue closed the position itself."""
        now_ms = self._now_ms()
        order = Order(
            instrument=self._instruments[name],
            order_id=self._last_id + 1,
            client_id=f"autoclose-{now_ms}",
            key=ClientOrderId(0, fill.side, 0),
            side=fill.side,
            kind="MARKET",
            time_in_force="GTC",
            price_ticks=fill.price_ticks,
            qty_lots=fill.qty_lots,
            reduce_only=False,
            self_trade="NONE",
            time_ms=now_ms,
            update_ms=now_ms,
            filled_lots=fill.qty_lots,
            quanta=fill.price_ticks * fill.qty_lots,
            status="FILLED",
        )
        self._remember(order)
        pnl = self._book_fill(name, fill, order)
        self._tell(order, "CALCULATED", fill=fill, pnl=pnl)

    def _book_fill(self, name: str, fill: Fill, order: Order) -> Decimal:
        """Returns what the fill realised against the average entry."""
        now_ms = self._now_ms()
        holding = self._book.exchange.account.holdings[name]
        lots, entry = self._entries.get(name, (0, ZERO))
        self._entries[name] = (holding.lots, holding.entry_ticks)
        closed = min(abs(lots), fill.qty_lots) if lots * fill.side < 0 else 0
        pnl = -fill.side * closed * (fill.price_ticks - entry) * holding.instrument.quantum
        row = build_own_trade(order, fill, now_ms, pnl)
        self.trades.append((row, order.order_id))
        trade_id = str(row["id"])
        self._note_income(name, "COMMISSION", -fill.fee, trade_id, now_ms)
        if pnl:
            self._note_income(name, "REALIZED_PNL", pnl, trade_id, now_ms)
        return pnl

    def _note_income(
        self, symbol: str, kind: str, amount: Decimal, trade_id: str, now_ms: int
    ) -> None:
        self._last_income += 1
        self.income.append(
            {
                "symbol": symbol,
                "incomeType": kind,
                "income": money_text(amount),
                "asset": self._instruments[symbol].quote,
                "info": trade_id or kind,
                "time": now_ms,
                "tranId": 9_689_000_000 + self._last_income,
                "tradeId": trade_id,
            }
        )

    def _end(self, order: Order, status: str, happened: str) -> None:
        order.status = status
        order.update_ms = self._now_ms()
        self._tell(order, happened)

    def _forget(self, order: Order) -> None:
        """It has left the embedded exchange; the desk still remembers it."""
        self._by_key.pop(order.key.sequence, None)
        self._book.ids.forget(order.key)

    def _tell(
        self, order: Order, happened: str, *, fill: Fill | None = None, pnl: Decimal = ZERO
    ) -> None:
        holding = self._book.exchange.account.holdings[order.instrument.name]
        self._send(build_order_event(order, holding, happened, order.update_ms, fill=fill, pnl=pnl))


# -- what orders say ---------------------------------------------------------------------------------


def need(params: Params, name: str) -> str:
    value = params.get(name, "")
    if not value:
        raise malformed(name)
    return value


def malformed(name: str) -> WireError:
    return WireError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def whole(params: Params, name: str) -> int:
    text = need(params, name)
    if not (text.isascii() and text.lstrip("-").isdigit()):
        raise WireError(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.",
        )
    return int(text)


def number(params: Params, name: str) -> Decimal:
    text = need(params, name)
    if NUMBER.fullmatch(text) is None:
        raise WireError(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^{NUMBER.pattern}$'.",
        )
    return Decimal(text)


def parse_side(params: Params) -> Side:
    match need(params, "side"):
        case "BUY":
            return Side.BUY
        case "SELL":
            return Side.SELL
    raise WireError(-1117, "Invalid side.")


def parse_kind(params: Params) -> str:
    kind = need(params, "type")
    if kind in CONDITIONAL:
        raise WireError(
            -4120,
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
        )
    if kind not in ("LIMIT", "MARKET"):
        raise WireError(-1116, "Invalid orderType.")
    return kind


def parse_time_in_force(params: Params, kind: str) -> str:
    if kind == "MARKET":
        return "IOC"
    time_in_force = need(params, "timeInForce")
    if time_in_force not in ("GTC", "IOC", "GTX"):
        raise WireError(-1115, "Invalid timeInForce.")
    return time_in_force


def parse_qty(params: Params, instrument: Instrument) -> int:
    qty = number(params, "quantity")
    if qty <= 0:
        raise WireError(-4003, "Quantity less than or equal to zero.")
    if decimals(qty) > decimals(instrument.lot_size):
        raise WireError(-1111, "Precision is over the maximum defined for this asset.")
    if qty > max_qty(instrument):
        raise WireError(-4005, "Quantity greater than max quantity.")
    lots = qty / instrument.lot_size
    if lots != int(lots):
        raise WireError(-4023, "Qty not increased by step size.")
    if lots < instrument.min_qty:
        raise WireError(-4004, "Quantity less than min quantity.")
    return int(lots)


def parse_price(params: Params, market: Market) -> int:
    instrument = market.instrument
    price = number(params, "price")
    if price <= 0:
        raise WireError(-4001, "Price less than 0.")
    if decimals(price) > price_decimals(instrument):
        raise WireError(-1111, "Precision is over the maximum defined for this asset.")
    if price > MAX_PRICE:
        raise WireError(-4002, "Price greater than max price.")
    ticks = price / instrument.tick_size
    if ticks != int(ticks):
        raise WireError(-4014, "Price not increased by tick size.")
    if mark2 := market.holding.mark2:
        mark = Decimal(mark2) * HALF * instrument.tick_size
        top, bottom = mark * (1 + PRICE_BAND), mark * (1 - PRICE_BAND)
        places = decimals(instrument.tick_size)
        if params.get("side") == "BUY" and price > top:
            raise WireError(-4016, f"Limit price can't be higher than {top:.{places}f}.")
        if params.get("side") == "SELL" and price < bottom:
            raise WireError(-4024, f"Limit price can't be lower than {bottom:.{places}f}.")
    return int(ticks)


def check_notional(instrument: Instrument, price_ticks: int, qty_lots: int) -> None:
    if instrument.notional(Ticks(price_ticks), Lots(qty_lots)) < instrument.min_notional:
        raise WireError(
            -4164,
            f"Order's notional must be no smaller than {instrument.min_notional:f}"
            " (unless you choose reduce only).",
        )


def market_price(market: Market, side: Side) -> int:
    """The limit at which a market order takes what the other side shows."""
    matcher = market.matcher
    if matcher.quoted:
        lots = matcher.ask_lots if side is Side.BUY else matcher.bid_lots
        if lots:
            return matcher.ask_ticks if side is Side.BUY else matcher.bid_ticks
    elif matcher.last_ticks is not None:
        return matcher.last_ticks + side
    raise WireError(
        -4131,
        "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
    )


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
