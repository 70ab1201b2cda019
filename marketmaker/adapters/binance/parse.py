"""Binance's values into ours. Pure; each with a trimmed real frame."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from marketmaker.adapters.binance.tables import (
    ADVICE,
    BANNED_UNTIL,
    ERROR_OF_CODE,
    EXECUTIONS,
    EXPIRE_REASONS,
    FILLING,
    FIREWALL_PAUSE_S,
    HEDGE_MODE,
    SECONDS,
    SIDES,
    STATUSES,
    VENUE,
)
from marketmaker.adapters.binance.wire import (
    BookTicker,
    ErrorBody,
    Kline,
    KlineRow,
    OrderEvent,
    OrderRow,
    PositionEvent,
    PositionRow,
    SymbolRow,
    TradeRow,
    Usage,
    read_envelope,
    read_error,
)
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.http import Answer
from marketmaker.adapters.parsing import (
    NS_PER_MS,
    NS_PER_S,
    PLAIN,
    Steps,
    malformed,
    parse_average,
    parse_decimal,
    parse_figure,
    parse_ms,
    parse_one_of,
    parse_signed_lots,
)
from marketmaker.errors import (
    AuthenticationRefused,
    MalformedMessage,
    OutcomeUnknown,
    Overloaded,
    PositionModeMismatch,
    RateLimited,
    Rejected,
    VenueError,
)
from marketmaker.model.account import Position
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Candle
from marketmaker.model.order import (
    ClientOrderId,
    EndReason,
    Fill,
    OrderReport,
)


def unwrap(message: bytes) -> bytes:
    """`{"stream":"ethusdt@aggTrade","data":{...}}` gives its data; anything else is returned as it is."""
    return bytes(read_envelope(message).data) if message.startswith(b'{"stream"') else message


def parse_book_ticker(event: BookTicker, steps: Steps) -> int:
    """`{"e":"bookTicker","s":"BNBUSDT","b":"25.35","B":"31.21","a":"25.36","A":"40.66","T":..}`: the mid, in ticks,
    rounded down. A side without orders has price 0, and then there is no mid."""
    bid, ask = steps.parse(event.b), steps.parse(event.a)
    if not (bid and ask):
        raise malformed("one side of the book is empty")
    return (bid + ask) // 2


def parse_kline(event: Kline) -> Candle:
    """`{"e":"kline","s":"BTCUSDT","k":{"t":1638747660000,"i":"1m","o":"0.0010","c":"0.0020",..,"x":false}}`"""
    bar = event.k
    return Candle(
        symbol=event.s,
        interval_s=parse_one_of(SECONDS, bar.i, "interval"),
        open_ts_ns=parse_ms(bar.t),
        open=parse_figure(bar.o),
        high=parse_figure(bar.h),
        low=parse_figure(bar.l),
        close=parse_figure(bar.c),
        volume=parse_figure(bar.v),
        closed=bar.x,
    )


def parse_kline_row(row: KlineRow, symbol: str, interval_s: int, venue_ns: int) -> Candle:
    """`[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1499644799999,..]`"""
    return Candle(
        symbol=symbol,
        interval_s=interval_s,
        open_ts_ns=parse_ms(row.open_ms),
        open=parse_figure(row.open),
        high=parse_figure(row.high),
        low=parse_figure(row.low),
        close=parse_figure(row.close),
        volume=parse_figure(row.volume),
        closed=parse_ms(row.close_ms) < venue_ns,
    )


def parse_end(
    status: str, time_in_force: str, *, filled: bool, reduce_only: bool, expire_reason: str = ""
) -> EndReason | None:
    """Why an order ended unfilled, None while it lives or when it was filled."""
    if status == "CANCELED":
        return EndReason.REQUESTED
    if status == "EXPIRED_IN_MATCH":
        return EndReason.SELF_TRADE
    if status == "REJECTED":
        return EndReason.VENUE
    if status != "EXPIRED":
        return None
    if expire_reason in EXPIRE_REASONS:
        return EXPIRE_REASONS[expire_reason]
    if time_in_force == "GTX" and not filled and not reduce_only:
        return EndReason.POST_ONLY
    if time_in_force in ("IOC", "FOK"):
        return EndReason.IOC
    return EndReason.REDUCE_ONLY if reduce_only else EndReason.EXPIRED


def parse_fee(
    fee: str, asset: str, notional: Decimal, maker: bool, instrument: Instrument
) -> Decimal:
    """In quote currency, paid > 0. See the oddity about other assets."""
    if asset == instrument.quote:
        return parse_decimal(fee)
    return notional * (instrument.maker_fee if maker else instrument.taker_fee)


def parse_order_event(event: OrderEvent, contract: Contract, ids: TextForm) -> OrderReport:
    """`{"e":"ORDER_TRADE_UPDATE","o":{"s":"ETHUSDT","c":"g1-b-0001","S":"BUY","f":"GTX","q":"0.010","p":"3000.00",
    "x":"TRADE","X":"PARTIALLY_FILLED","i":8389765900000000101,"l":"0.004","z":"0.004","L":"3000.00","n":"0.0024",
    "N":"USDT","T":1767225605000,"t":6310000900,"m":true,"R":false,..}}`"""
    if event.x not in EXECUTIONS:
        raise malformed(f"unknown execution type {event.x[:40]!r}")
    status = parse_one_of(STATUSES, event.X, "order status")
    side = parse_one_of(SIDES, event.S, "side")
    client_order_id = ids.decode(event.c)
    ts_venue_ns = parse_ms(event.T)
    instrument = contract.instrument
    qty, filled = contract.qty.parse(event.q), contract.qty.parse(event.z)
    traded = contract.qty.parse(event.l)
    if filled > qty or (client_order_id is not None and client_order_id.side is not side):
        raise malformed("order event contradicts itself")
    fill = None
    if event.x in FILLING and traded:
        price = Ticks(contract.price.parse(event.L))
        fill = Fill(
            trade_id=str(event.t),
            client_order_id=client_order_id,
            venue_order_id=str(event.i),
            side=side,
            price_ticks=price,
            qty_lots=Lots(traded),
            fee=parse_fee(
                event.n or "0",
                event.N or instrument.quote,
                instrument.notional(price, Lots(traded)),
                event.m,
                instrument,
            ),
            is_maker=event.m,
            ts_venue_ns=ts_venue_ns,
        )
    return OrderReport(
        client_order_id=client_order_id,
        venue_order_id=str(event.i),
        side=side,
        price_ticks=Ticks(contract.price.parse(event.p)),
        qty_lots=Lots(qty),
        filled_lots=Lots(filled),
        status=status,
        reduce_only=event.R,
        fill=fill,
        end_reason=parse_end(
            event.X, event.f, filled=filled > 0, reduce_only=event.R, expire_reason=event.er or ""
        ),
        ts_venue_ns=ts_venue_ns,
    )


def parse_order(row: OrderRow, contract: Contract, ids: TextForm) -> OrderReport:
    """`{"clientOrderId":"g1-b-0001","executedQty":"0.000","orderId":8389765900000000101,"origQty":"0.010",
    "price":"3000.00","reduceOnly":false,"side":"BUY","status":"NEW","timeInForce":"GTX","updateTime":..}`:
    the one shape of acks, queries and lists."""
    filled = contract.qty.parse(row.executedQty)
    return OrderReport(
        client_order_id=ids.decode(row.clientOrderId),
        venue_order_id=str(row.orderId),
        side=parse_one_of(SIDES, row.side, "side"),
        price_ticks=Ticks(contract.price.parse(row.price)),
        qty_lots=Lots(contract.qty.parse(row.origQty)),
        filled_lots=Lots(filled),
        status=parse_one_of(STATUSES, row.status, "order status"),
        reduce_only=row.reduceOnly,
        end_reason=parse_end(
            row.status, row.timeInForce, filled=filled > 0, reduce_only=row.reduceOnly
        ),
        ts_venue_ns=parse_ms(row.updateTime),
    )


def parse_trade_row(
    row: TradeRow, contract: Contract, client_order_id: ClientOrderId | None
) -> Fill:
    """`{"id":82357626,"orderId":831238666,"side":"SELL","price":"2778.35","qty":"0.005","commission":"0.00555670",
    "commissionAsset":"USDT","time":1645930322371,"maker":false,..}`"""
    price, qty = Ticks(contract.price.parse(row.price)), Lots(contract.qty.parse(row.qty))
    instrument = contract.instrument
    return Fill(
        trade_id=str(row.id),
        client_order_id=client_order_id,
        venue_order_id=str(row.orderId),
        side=parse_one_of(SIDES, row.side, "side"),
        price_ticks=price,
        qty_lots=qty,
        fee=parse_fee(
            row.commission,
            row.commissionAsset,
            instrument.notional(price, qty),
            row.maker,
            instrument,
        ),
        is_maker=row.maker,
        ts_venue_ns=parse_ms(row.time),
    )


def parse_position(rows: Iterable[PositionRow], contract: Contract) -> Position | None:
    """`[{"symbol":"ADAUSDT","positionSide":"BOTH","positionAmt":"30","entryPrice":"0.385","markPrice":"0.41047590",
    "liquidationPrice":"0",..}]`; None when the symbol is not in it, which is how a flat one without orders shows."""
    found = None
    for row in rows:
        if row.symbol != contract.instrument.name:
            continue
        lots = parse_signed_lots(row.positionAmt, contract.qty)
        if row.positionSide != "BOTH":
            if lots:
                raise PositionModeMismatch(HEDGE_MODE, venue=VENUE)
            continue
        liquidation = parse_decimal(row.liquidationPrice)
        found = Position(
            qty_lots=lots,
            entry_price=parse_average(row.entryPrice) if lots else Decimal(0),
            mark_price=parse_decimal(row.markPrice),
            liquidation_price=liquidation if liquidation > 0 else None,
        )
    return found


def parse_position_event(
    event: PositionEvent, contract: Contract, mark: Decimal | None
) -> Position:
    """`{"s":"ETHUSDT","pa":"0.004","ep":"3000.00","up":"0.04","ps":"BOTH",..}`; without a `mark` price of another
    source it is the one that the unrealised profit `up` speaks of."""
    lots = parse_signed_lots(event.pa, contract.qty)
    entry, profit = parse_decimal(event.ep), parse_decimal(event.up)
    if mark is None:
        mark = entry + profit / contract.instrument.base_qty(lots) if lots else entry
    return Position(qty_lots=lots, entry_price=entry if lots else Decimal(0), mark_price=mark)


def parse_instrument(row: SymbolRow, maker_fee: Decimal, taker_fee: Decimal) -> Instrument:
    """From `filters`; `pricePrecision` and `quantityPrecision` are not increments."""
    filters = {each.filterType: each for each in row.filters}
    missing = {"PRICE_FILTER", "LOT_SIZE", "MIN_NOTIONAL"} - filters.keys()
    if missing:
        raise malformed(f"{row.symbol} has no {', '.join(sorted(missing))}")
    lot = filters["LOT_SIZE"]
    step, least, most = (parse_decimal(text) for text in (lot.stepSize, lot.minQty, lot.maxQty))
    if step <= 0:
        raise malformed(f"{row.symbol}: step size {step}")
    return Instrument(
        venue=VENUE,
        name=row.symbol,
        base=row.baseAsset,
        quote=row.quoteAsset,
        tick_size=parse_decimal(filters["PRICE_FILTER"].tickSize),
        lot_size=step,
        min_qty=Lots(max(1, -int(-least // step))),
        max_qty=Lots(int(most // step)) if most > 0 else None,
        min_notional=parse_decimal(filters["MIN_NOTIONAL"].notional),
        maker_fee=maker_fee,
        taker_fee=taker_fee,
    )


def is_tradable(row: SymbolRow) -> bool:
    return row.contractType == "PERPETUAL" and row.status == "TRADING"


def parse_limits(rates: Iterable[Usage]) -> dict[str, int]:
    """`{"10S": 300, "1M": 1200}` from the ORDERS rows, named as the usage headers name them; also `"weight"`."""
    limits = {}
    for rate in rates:
        if rate.rateLimitType == "ORDERS":
            limits[f"{rate.intervalNum}{rate.interval[:1]}"] = rate.limit
        elif rate.rateLimitType == "REQUEST_WEIGHT":
            limits["weight"] = rate.limit
    return limits


def parse_error(
    code: int,
    message: str,
    operation: str,
    *,
    status: int = 400,
    retry_after_s: float | None = None,
    now_ns: int = 0,
) -> VenueError:
    """The table above, then the HTTP status for what has no code of its own.

    `{"code":-2019,"msg":"Margin is insufficient."}`; code 0 stands for none.
    """
    kind = ERROR_OF_CODE.get(code)
    if kind is None:
        kind = _by_status(status, message)
    text = HEDGE_MODE if kind is PositionModeMismatch else message[:300]
    if code in ADVICE:
        text = f"{text} {ADVICE[code]}"
    label = str(code) if code else str(status)
    if kind is not RateLimited:
        return kind(text, venue=VENUE, operation=operation, code=label)
    banned_until = BANNED_UNTIL.search(message)
    if retry_after_s is None and banned_until and now_ns:
        retry_after_s = max(0.0, (int(banned_until[1]) * NS_PER_MS - now_ns) / NS_PER_S)
    if retry_after_s is None and status == 403:
        retry_after_s = FIREWALL_PAUSE_S
    return RateLimited(
        text,
        retry_after_s=retry_after_s,
        banned=status == 418 or banned_until is not None,
        venue=VENUE,
        operation=operation,
        code=label,
    )


def _by_status(status: int, message: str) -> type[VenueError]:
    match status:
        case 401:
            return AuthenticationRefused
        case 403 | 418 | 429:
            return RateLimited
        case 503 if message.lower().startswith("service unavailable"):
            return Overloaded
        case 408:
            return OutcomeUnknown
        case _ if 400 <= status < 500:
            return Rejected
        case _:
            return OutcomeUnknown


def parse_answer_error(answer: Answer, operation: str, now_ns: int) -> VenueError | None:
    """None for a good answer. One without a readable body goes by its status alone."""
    if 200 <= answer.status < 300:
        return None
    try:
        body = read_error(answer.body)
    except MalformedMessage:
        body = ErrorBody(msg=answer.body[:200].decode("ascii", "replace"))
    header = answer.headers.get("Retry-After", "")
    return parse_error(
        body.code,
        body.msg,
        operation,
        status=answer.status,
        retry_after_s=float(header) if PLAIN.fullmatch(header) else None,
        now_ns=now_ns,
    )
