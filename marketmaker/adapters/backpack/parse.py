"""Backpack's words into ours. Pure; raises MalformedMessage for what breaks the contract."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from marketmaker.adapters.backpack.tables import (
    ERROR_OF_CODE,
    EXPIRY_REASONS,
    OF_SIGNATURE,
    OF_WINDOW,
    RATE_PAUSE_S,
    SIDES,
    STATUSES,
    TRADABLE,
    VENUE,
    WOULD_TAKE,
)
from marketmaker.adapters.backpack.wire import (
    Bar,
    CandleRow,
    Failure,
    FillRow,
    MarketRow,
    Micros,
    OrderEvent,
    OrderRow,
    PositionEvent,
    PositionRow,
    read_failure,
)
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.http import Answer
from marketmaker.adapters.parsing import (
    NS_PER_S,
    malformed,
    parse_average,
    parse_decimal,
    parse_figure,
    parse_ms,
    parse_one_of,
    parse_us,
)
from marketmaker.errors import (
    AuthenticationRefused,
    ClockSkew,
    MalformedMessage,
    OrderNotFound,
    OutcomeUnknown,
    PostOnlyWouldCross,
    RateLimited,
    Rejected,
    VenueError,
)
from marketmaker.model import market
from marketmaker.model.account import Position
from marketmaker.model.client_order_id import IntegerForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.order import ClientOrderId, EndReason, Fill, OrderReport, OrderStatus

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def parse_micros(value: Micros) -> int:
    """Unix ns."""
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= 17):
            raise malformed(f"{value[:40]!r} is not a time")
        value = int(value)
    return parse_us(value)


def parse_utc(text: str) -> int:
    """`2025-07-27T17:39:00.092` and `2025-07-19 13:12:00`, both UTC, to Unix ns."""
    try:
        when = datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
    except ValueError:
        raise malformed(f"{text[:40]!r} is not a time") from None
    return parse_us((when - EPOCH) // MICROSECOND)


def parse_created(value: int | str) -> int:
    """Of an order: ms where it is live, text in the history."""
    return parse_ms(value) if isinstance(value, int) else parse_utc(value)


def decode(client_id: int | str | None, ids: IntegerForm) -> ClientOrderId | None:
    return None if client_id is None else ids.decode(str(client_id))


def parse_bar(bar: Bar, name: str, interval_s: int) -> market.Candle:
    """`{"e":"kline","s":"ETH_USDC_PERP","t":"2025-08-06T22:00:00","o":"3670.15","h":"3681.37","l":"3667.65",
    "c":"3680.52","v":"62.26","X":false}`"""
    return market.Candle(
        symbol=name,
        interval_s=interval_s,
        open_ts_ns=parse_utc(bar.t),
        open=parse_figure(bar.o),
        high=parse_figure(bar.h),
        low=parse_figure(bar.l),
        close=parse_figure(bar.c),
        volume=parse_figure(bar.v),
        closed=bar.X,
    )


def parse_candle(row: CandleRow, name: str, interval_s: int, venue_ns: int) -> market.Candle:
    """`{"start":"2025-07-19 13:09:00","open":"118238","high":"118297.6","low":"118237.5","close":"118294.6",
    "volume":"0.03473"}`"""
    open_ns = parse_utc(row.start)
    return market.Candle(
        symbol=name,
        interval_s=interval_s,
        open_ts_ns=open_ns,
        open=parse_figure(row.open),
        high=parse_figure(row.high),
        low=parse_figure(row.low),
        close=parse_figure(row.close),
        volume=parse_figure(row.volume),
        closed=open_ns + interval_s * NS_PER_S <= venue_ns,
    )


def parse_end(status: OrderStatus, word: str, reason: str | None) -> EndReason | None:
    """Why an order ended unfilled, None while it lives or when it was filled."""
    if status in (OrderStatus.OPEN, OrderStatus.FILLED):
        return None
    if reason:
        return EXPIRY_REASONS.get(reason, EndReason.VENUE)
    return EndReason.REQUESTED if word == "Cancelled" else EndReason.VENUE


def parse_fee(
    fee: str, asset: str, notional: Decimal, maker: bool, instrument: Instrument
) -> Decimal:
    """In quote currency, paid > 0; one in another asset is stated as what the instrument's rate would have been."""
    if asset == instrument.quote:
        return parse_decimal(fee)
    return notional * (instrument.maker_fee if maker else instrument.taker_fee)


def parse_order_event(
    event: OrderEvent, contract: Contract, ids: IntegerForm, known: OrderReport | None
) -> OrderReport:
    """`{"e":"orderFill","s":"SOL_USDC_PERP","c":1234567,"S":"Bid","q":"0.5","p":"141.25","X":"PartiallyFilled","i":
    "5406825801","t":2888471,"z":"0.2","T":"1754939120174703","r":false,"l":"0.2","L":"141.25","m":true,"n":"0.00565",
    "N":"USDC"}`. `known`: the order as last told, for events that leave out what has not changed."""
    side = parse_one_of(SIDES, event.S, "side")
    status = parse_one_of(STATUSES, event.X, "order status")
    client_order_id = decode(event.c, ids)
    fill = parse_event_fill(event, contract, client_order_id)
    filled = contract.qty.parse(event.z) if event.z is not None else 0
    if event.z is None and fill is not None:
        filled = fill.qty_lots
    qty = contract.qty.parse(event.q) if event.q is not None else filled
    price = contract.price.parse(event.p) if event.p is not None else 0
    if known is not None:
        qty = qty if event.q is not None else known.qty_lots
        price = price if event.p is not None else known.price_ticks
    if filled > qty or (client_order_id is not None and client_order_id.side is not side):
        raise malformed("order event contradicts itself")
    return OrderReport(
        client_order_id=client_order_id,
        venue_order_id=event.i,
        side=side,
        price_ticks=Ticks(price),
        qty_lots=Lots(qty),
        filled_lots=Lots(filled),
        status=status,
        reduce_only=bool(event.r),
        fill=fill,
        end_reason=parse_end(status, event.X, event.R),
        ts_venue_ns=parse_micros(event.T),
    )


def parse_event_fill(
    event: OrderEvent, contract: Contract, client_order_id: ClientOrderId | None
) -> Fill | None:
    if event.e != "orderFill" or event.t is None or event.l is None or event.L is None:
        return None
    price, qty = Ticks(contract.price.parse(event.L)), Lots(contract.qty.parse(event.l))
    instrument = contract.instrument
    notional = instrument.notional(price, qty)
    return Fill(
        trade_id=str(event.t),
        client_order_id=client_order_id,
        venue_order_id=event.i,
        side=parse_one_of(SIDES, event.S, "side"),
        price_ticks=price,
        qty_lots=qty,
        fee=parse_fee(event.n or "0", event.N or "", notional, event.m, instrument),
        is_maker=event.m,
        ts_venue_ns=parse_micros(event.T) // 1_000_000 * 1_000_000,
    )


def parse_order(row: OrderRow, contract: Contract, ids: IntegerForm) -> OrderReport:
    """`{"id":"4228978331","clientId":1234567,"symbol":"SOL_USDC_PERP","side":"Bid","price":"141.25","quantity":"0.5",
    "executedQuantity":"0","status":"New","reduceOnly":false,"createdAt":1750793021600}`: of acks, queries and lists.
    A cancelled one in the history may have no quantity."""
    side = parse_one_of(SIDES, row.side, "side")
    status = parse_one_of(STATUSES, row.status, "order status")
    filled = contract.qty.parse(row.executedQuantity or "0")
    qty = filled if row.quantity is None else contract.qty.parse(row.quantity)
    client_order_id = decode(row.clientId, ids)
    if filled > qty or (client_order_id is not None and client_order_id.side is not side):
        raise malformed("order contradicts itself")
    return OrderReport(
        client_order_id=client_order_id,
        venue_order_id=row.id,
        side=side,
        price_ticks=Ticks(contract.price.parse(row.price or "0")),
        qty_lots=Lots(qty),
        filled_lots=Lots(filled),
        status=status,
        reduce_only=bool(row.reduceOnly),
        end_reason=parse_end(status, row.status, row.expiryReason),
        ts_venue_ns=parse_created(row.createdAt),
    )


def parse_fill(row: FillRow, contract: Contract, ids: IntegerForm) -> Fill:
    """`{"clientId":null,"fee":"0.004974","feeSymbol":"USDC","isMaker":false,"orderId":"4238907375","price":"3826.15",
    "quantity":"0.0026","side":"Bid","symbol":"ETH_USDC_PERP","timestamp":"2025-07-27T17:39:00.092","tradeId":9748827}`"""
    price, qty = Ticks(contract.price.parse(row.price)), Lots(contract.qty.parse(row.quantity))
    instrument = contract.instrument
    notional = instrument.notional(price, qty)
    return Fill(
        trade_id=str(row.tradeId),
        client_order_id=decode(row.clientId, ids),
        venue_order_id=row.orderId,
        side=parse_one_of(SIDES, row.side, "side"),
        price_ticks=price,
        qty_lots=qty,
        fee=parse_fee(row.fee, row.feeSymbol, notional, row.isMaker, instrument),
        is_maker=row.isMaker,
        ts_venue_ns=parse_utc(row.timestamp),
    )


def parse_position(rows: Iterable[PositionRow], contract: Contract) -> Position | None:
    """`[{"symbol":"ETH_USDC_PERP","netQuantity":"0.0036","entryPrice":"3826.88","markPrice":"3787.46",
    "estLiquidationPrice":"0"}]`; None when the symbol is not in it, which is how a flat one shows."""
    for row in rows:
        if row.symbol == contract.symbol:
            lots = Lots(contract.qty.signed(row.netQuantity))
            liquidation = parse_decimal(row.estLiquidationPrice)
            return Position(
                qty_lots=lots,
                entry_price=parse_average(row.entryPrice) if lots else Decimal(0),
                mark_price=parse_average(row.markPrice),
                liquidation_price=liquidation if lots and liquidation > 0 else None,
            )
    return None


def parse_position_event(event: PositionEvent, contract: Contract) -> Position:
    """`{"s":"SOL_USDC_PERP","q":"-0.01","B":"126.97","M":"120.96","l":"0"}`"""
    lots = Lots(contract.qty.signed(event.q))
    liquidation = parse_decimal(event.l)
    return Position(
        qty_lots=lots,
        entry_price=parse_average(event.B) if lots else Decimal(0),
        mark_price=parse_average(event.M),
        liquidation_price=liquidation if lots and liquidation > 0 else None,
    )


def name_of(row: MarketRow) -> str:
    """`ETH_USDC_PERP` is ETHUSDC."""
    return f"{row.baseSymbol}{row.quoteSymbol}"


def is_perpetual(row: MarketRow) -> bool:
    return row.marketType == "PERP"


def is_tradable(row: MarketRow) -> bool:
    return row.visible and row.orderBookState in TRADABLE


def parse_contract(row: MarketRow, maker_fee: Decimal, taker_fee: Decimal) -> Contract:
    """`{"symbol":"SOL_USDC_PERP","baseSymbol":"SOL","quoteSymbol":"USDC","marketType":"PERP","filters":{"price":
    {"tickSize":"0.01"},"quantity":{"minQuantity":"0.01","stepSize":"0.01","maxQuantity":null}}}`"""
    lot = row.filters.quantity
    step, least = parse_decimal(lot.stepSize), parse_decimal(lot.minQuantity)
    if step <= 0:
        raise malformed(f"{row.symbol}: step {step:f}")
    most = parse_decimal(lot.maxQuantity) if lot.maxQuantity else Decimal(0)
    instrument = Instrument(
        venue=VENUE,
        name=name_of(row),
        base=row.baseSymbol,
        quote=row.quoteSymbol,
        tick_size=parse_decimal(row.filters.price.tickSize),
        lot_size=step,
        min_qty=Lots(max(1, -int(-least // step))),
        max_qty=Lots(int(most // step)) if most > 0 else None,
        maker_fee=maker_fee,
        taker_fee=taker_fee,
    )
    return Contract(instrument, symbol=row.symbol)


def parse_error(failure: Failure, operation: str, *, status: int = 400) -> VenueError:
    """The table of codes, told apart by their text where one stands for several things, then the HTTP status."""
    kind, text = ERROR_OF_CODE.get(failure.code), failure.message[:300]
    lower = text.lower()
    if failure.code == "INVALID_ORDER" and WOULD_TAKE in lower:
        kind = PostOnlyWouldCross
    elif failure.code == "INVALID_CLIENT_REQUEST" and OF_SIGNATURE in lower:
        kind = AuthenticationRefused
    elif failure.code == "INVALID_CLIENT_REQUEST" and OF_WINDOW in lower:
        kind = ClockSkew
    if kind is None:
        kind = _by_status(status)
    code = failure.code or str(status)
    if kind is RateLimited:
        return RateLimited(
            text, retry_after_s=RATE_PAUSE_S, venue=VENUE, operation=operation, code=code
        )
    return kind(text, venue=VENUE, operation=operation, code=code)


def _by_status(status: int) -> type[VenueError]:
    match status:
        case 401 | 403:
            return AuthenticationRefused
        case 404:
            return OrderNotFound
        case 429:
            return RateLimited
        case _ if status == 408 or status >= 500:
            return OutcomeUnknown
        case _:
            return Rejected


def parse_answer_error(answer: Answer, operation: str) -> VenueError | None:
    """None for a good answer."""
    if 200 <= answer.status < 300:
        return None
    try:
        failure = read_failure(answer.body)
    except MalformedMessage:
        failure = Failure(message=answer.body[:200].decode("ascii", "replace"))
    return parse_error(failure, operation, status=answer.status)
