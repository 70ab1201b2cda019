"""Bybit's words into ours. Pure; raises MalformedMessage for what breaks the contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from marketmaker.adapters.bybit.tables import (
    BAN_S,
    CANCEL_TYPES,
    ERROR_OF_CODE,
    HEDGE_MODE,
    POST_ONLY_REASON,
    RATE_PAUSE_S,
    SECONDS,
    SIDES,
    STATUSES,
    VENUE,
    WRONG_MODE,
)
from marketmaker.adapters.bybit.wire import (
    Bar,
    Candle,
    Code,
    Codes,
    Envelope,
    Execution,
    Ids,
    InstrumentRow,
    OrderRow,
    PositionRow,
    read_codes,
    read_envelope,
)
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.http import Answer
from marketmaker.adapters.parsing import (
    NOTHING,
    malformed,
    parse_average,
    parse_decimal,
    parse_figure,
    parse_ms,
    parse_ms_text,
    parse_one_of,
)
from marketmaker.errors import (
    AuthenticationRefused,
    MalformedMessage,
    OutcomeUnknown,
    PositionModeMismatch,
    RateLimited,
    Rejected,
    VenueError,
)
from marketmaker.model import market
from marketmaker.model.account import Position
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.order import EndReason, Fill, NewOrder, OrderReport, OrderStatus


def parse_bar(bar: Bar, symbol: str) -> market.Candle:
    """`{"start":1672324800000,"interval":"5","open":"16649.5","close":"16677","high":"16677","low":"16608",
    "volume":"2.081","confirm":false}`"""
    return market.Candle(
        symbol=symbol,
        interval_s=parse_one_of(SECONDS, bar.interval, "interval"),
        open_ts_ns=parse_ms(bar.start),
        open=parse_figure(bar.open),
        high=parse_figure(bar.high),
        low=parse_figure(bar.low),
        close=parse_figure(bar.close),
        volume=parse_figure(bar.volume),
        closed=bar.confirm,
    )


def parse_candle(row: Candle, symbol: str, interval_s: int, venue_ns: int) -> market.Candle:
    """`["1709891679000","27450","27460","27440","27455","123.45","3390000"]`"""
    open_ns = parse_ms_text(row.start)
    return market.Candle(
        symbol=symbol,
        interval_s=interval_s,
        open_ts_ns=open_ns,
        open=parse_figure(row.open),
        high=parse_figure(row.high),
        low=parse_figure(row.low),
        close=parse_figure(row.close),
        volume=parse_figure(row.volume),
        closed=open_ns + interval_s * 1_000_000_000 <= venue_ns,
    )


def parse_end(row: OrderRow, status: OrderStatus) -> EndReason | None:
    """Why an order ended unfilled, None while it lives or when it was filled."""
    if status in (OrderStatus.OPEN, OrderStatus.FILLED):
        return None
    if row.rejectReason == POST_ONLY_REASON:
        return EndReason.POST_ONLY
    if row.cancelType in CANCEL_TYPES:
        return CANCEL_TYPES[row.cancelType]
    if status is OrderStatus.REJECTED:
        return EndReason.VENUE
    if row.cancelType == "CancelByUser":
        return EndReason.REQUESTED
    if row.timeInForce in ("IOC", "FOK"):
        return EndReason.IOC
    return EndReason.REQUESTED if row.cancelType in ("", "UNKNOWN") else EndReason.VENUE


def parse_order(row: OrderRow, contract: Contract, ids: TextForm) -> OrderReport:
    """`{"symbol":"ETHUSDT","orderId":"fd4300ae-7847-404e-b947-b46980a4d140","orderLinkId":"g1-b-0001","side":"Buy",
    "price":"3000.00","qty":"0.10","timeInForce":"PostOnly","orderStatus":"New","cancelType":"UNKNOWN",
    "rejectReason":"EC_NoError","cumExecQty":"0","reduceOnly":false,"updatedTime":"1767225600126"}`: the one shape of
    events, queries and lists."""
    side = parse_one_of(SIDES, row.side, "side")
    status = parse_one_of(STATUSES, row.orderStatus, "order status")
    qty, filled = contract.qty.parse(row.qty), contract.qty.parse(row.cumExecQty or "0")
    client_order_id = ids.decode(row.orderLinkId)
    if filled > qty or (client_order_id is not None and client_order_id.side is not side):
        raise malformed("order contradicts itself")
    return OrderReport(
        client_order_id=client_order_id,
        venue_order_id=row.orderId,
        side=side,
        price_ticks=Ticks(contract.price.parse(row.price or "0")),
        qty_lots=Lots(qty),
        filled_lots=Lots(filled),
        status=status,
        reduce_only=row.reduceOnly,
        end_reason=parse_end(row, status),
        ts_venue_ns=parse_ms_text(row.updatedTime),
    )


def parse_fill(row: Execution, contract: Contract, ids: TextForm) -> Fill:
    """`{"symbol":"ETHUSDT","orderId":"fd4300ae-..","orderLinkId":"g1-b-0001","execId":"0ab1bdf7-..","execPrice":
    "3000.00","execQty":"0.04","execType":"Trade","execFee":"0.024","feeCurrency":"USDT","isMaker":true,
    "side":"Buy","execTime":"1767225605000"}`"""
    price = Ticks(contract.price.parse(row.execPrice))
    qty = Lots(contract.qty.parse(row.execQty))
    return Fill(
        trade_id=row.execId,
        client_order_id=ids.decode(row.orderLinkId),
        venue_order_id=row.orderId,
        side=parse_one_of(SIDES, row.side, "side"),
        price_ticks=price,
        qty_lots=qty,
        fee=parse_fee(row, contract.instrument, price, qty),
        is_maker=row.isMaker,
        ts_venue_ns=parse_ms_text(row.execTime),
    )


def parse_fee(row: Execution, instrument: Instrument, price: Ticks, qty: Lots) -> Decimal:
    """In quote currency, paid > 0; one in another currency is stated as what the instrument's rate would have been."""
    if row.feeCurrency in ("", instrument.quote):
        return parse_decimal(row.execFee or "0")
    rate = instrument.maker_fee if row.isMaker else instrument.taker_fee
    return instrument.notional(price, qty) * rate


def parse_execution(row: Execution, contract: Contract, ids: TextForm) -> OrderReport:
    """An execution as news of its order, as far as it knows of it."""
    fill = parse_fill(row, contract, ids)
    qty, leaves = contract.qty.parse(row.orderQty), contract.qty.parse(row.leavesQty or "0")
    qty = max(qty, fill.qty_lots)
    if leaves > qty:
        raise malformed("execution contradicts itself")
    return OrderReport(
        client_order_id=fill.client_order_id,
        venue_order_id=row.orderId,
        side=fill.side,
        price_ticks=Ticks(contract.price.parse(row.orderPrice or "0")),
        qty_lots=Lots(qty),
        filled_lots=Lots(qty - leaves),
        status=OrderStatus.OPEN if leaves else OrderStatus.FILLED,
        fill=fill,
        ts_venue_ns=fill.ts_venue_ns,
    )


def parse_placed(ids: Ids, order: NewOrder) -> OrderReport:
    """`{"orderId":"fd4300ae-..","orderLinkId":"g1-b-0001"}`: taken in. It may still be refused by the stream."""
    return OrderReport(
        client_order_id=order.client_order_id,
        venue_order_id=ids.orderId,
        side=order.side,
        price_ticks=order.price_ticks,
        qty_lots=order.qty_lots,
        filled_lots=Lots(0),
        status=OrderStatus.OPEN,
        reduce_only=order.reduce_only,
    )


def parse_position(rows: Iterable[PositionRow], contract: Contract) -> Position | None:
    """`[{"positionIdx":0,"symbol":"ETHUSDT","side":"Sell","size":"5.0","avgPrice":"3000.00","markPrice":"2950.00",
    "liqPrice":"3500.00"}]`; None when the symbol is not in it."""
    found = None
    for row in rows:
        if row.symbol != contract.symbol:
            continue
        lots = contract.qty.parse(row.size or "0")
        if row.positionIdx != 0:
            if lots:
                raise PositionModeMismatch(HEDGE_MODE, venue=VENUE)
            continue
        if lots:
            lots *= parse_one_of(SIDES, row.side, "side")
        if not row.markPrice:
            continue
        entry = row.avgPrice or row.entryPrice
        found = Position(
            qty_lots=Lots(lots),
            entry_price=parse_average(entry) if lots else Decimal(0),
            mark_price=parse_average(row.markPrice),
            liquidation_price=parse_average(row.liqPrice) if row.liqPrice and lots else None,
        )
    return found


def is_tradable(row: InstrumentRow) -> bool:
    return row.contractType == "LinearPerpetual" and row.status == "Trading"


def parse_instrument(row: InstrumentRow, maker_fee: Decimal, taker_fee: Decimal) -> Instrument:
    """`{"symbol":"ETHUSDT","contractType":"LinearPerpetual","status":"Trading","priceFilter":{"tickSize":"0.01"},
    "lotSizeFilter":{"qtyStep":"0.01","minOrderQty":"0.01","postOnlyMaxOrderQty":"7240.00","minNotionalValue":"5"}}`"""
    lot = row.lotSizeFilter
    step, least = parse_decimal(lot.qtyStep), parse_decimal(lot.minOrderQty)
    if step <= 0:
        raise malformed(f"{row.symbol}: step {step:f}")
    caps = [parse_decimal(text) for text in (lot.maxOrderQty, lot.postOnlyMaxOrderQty) if text]
    most = min((cap for cap in caps if cap > 0), default=None)
    return Instrument(
        venue=VENUE,
        name=row.symbol,
        base=row.baseCoin,
        quote=row.quoteCoin,
        tick_size=parse_decimal(row.priceFilter.tickSize),
        lot_size=step,
        min_qty=Lots(max(1, -int(-least // step))),
        max_qty=None if most is None else Lots(int(most // step)),
        min_notional=parse_decimal(lot.minNotionalValue or "0"),
        maker_fee=maker_fee,
        taker_fee=taker_fee,
    )


def parse_codes(text: bytes, count: int) -> Sequence[Code]:
    """Of `retExtInfo`: a code for each order of a batch, none when it does not speak of them."""
    if text in (b"{}", b"null", bytes(NOTHING)):
        return []
    codes: Codes = read_codes(text)
    if codes.rows and len(codes.rows) != count:
        raise malformed(f"{len(codes.rows)} codes for {count} orders")
    return codes.rows


def parse_error(code: int, message: str, operation: str, *, status: int = 200) -> VenueError:
    """The table of codes, then the HTTP status for what has no code of its own."""
    kind = ERROR_OF_CODE.get(code)
    if code == 10001 and WRONG_MODE in message.lower():
        kind, message = PositionModeMismatch, HEDGE_MODE
    if kind is None:
        kind = _by_status(status)
    text, label = message[:300], str(code) if code else str(status)
    if kind is RateLimited:
        banned = status == 403
        return RateLimited(
            text,
            retry_after_s=BAN_S if banned else RATE_PAUSE_S,
            banned=banned,
            venue=VENUE,
            operation=operation,
            code=label,
        )
    return kind(text, venue=VENUE, operation=operation, code=label)


def _by_status(status: int) -> type[VenueError]:
    match status:
        case 401:
            return AuthenticationRefused
        case 403:
            return RateLimited
        case _ if status in (408, 429) or status >= 500:
            return OutcomeUnknown
        case _:
            return Rejected


def parse_answer_error(answer: Answer, operation: str) -> VenueError | None:
    """None for a good answer; that of a batch is good though all its orders were refused."""
    try:
        body = read_envelope(answer.body)
    except MalformedMessage:
        if answer.status == 200:
            return OutcomeUnknown("an answer that cannot be read", venue=VENUE, operation=operation)
        body = Envelope(retCode=0, retMsg=answer.body[:200].decode("ascii", "replace"))
    if answer.status == 200 and body.retCode == 0:
        return None
    return parse_error(body.retCode, body.retMsg, operation, status=answer.status)
