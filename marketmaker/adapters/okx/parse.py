"""OKX's words into ours. Pure; raises MalformedMessage for what breaks the contract."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from marketmaker.adapters.contract import Contract
from marketmaker.adapters.http import Answer
from marketmaker.adapters.okx.tables import (
    CANCEL_SOURCES,
    ERROR_OF_CODE,
    EXECUTION,
    HEDGE_MODE,
    POSITION_SIDE,
    RATE_PAUSE_S,
    SECONDS,
    SIDES,
    SOME_FAILED,
    STATES,
    TAKING,
    VENUE,
)
from marketmaker.adapters.okx.wire import (
    Ack,
    Candle,
    Detail,
    Envelope,
    FillRow,
    InstrumentRow,
    OrderRow,
    PositionRow,
    read_envelope,
)
from marketmaker.adapters.parsing import (
    malformed,
    parse_average,
    parse_decimal,
    parse_figure,
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
from marketmaker.model.order import (
    EndReason,
    Fill,
    NewOrder,
    OrderReport,
    OrderStatus,
)


def parse_candle(row: Candle, symbol: str, interval_s: int) -> market.Candle:
    """`["1767225600000","3010.1","3012","3009.5","3011.3","1520.4","152.04","457700.2","0"]`; volume in base units."""
    return market.Candle(
        symbol=symbol,
        interval_s=interval_s,
        open_ts_ns=parse_ms_text(row.ts),
        open=parse_figure(row.open),
        high=parse_figure(row.high),
        low=parse_figure(row.low),
        close=parse_figure(row.close),
        volume=parse_figure(row.base_volume),
        closed=row.confirm == "1",
    )


def parse_candle_channel(channel: str) -> int:
    """`candle1m` is 60 s."""
    return parse_one_of(SECONDS, channel.removeprefix("candle"), "interval")


def parse_end(row: OrderRow, status: OrderStatus) -> EndReason | None:
    """Why an order ended unfilled, None while it lives or when it was filled."""
    if status is not OrderStatus.CANCELLED:
        return None
    if row.ordType in TAKING and (not row.cancelSource or row.cancelSource not in CANCEL_SOURCES):
        return EndReason.IOC
    return CANCEL_SOURCES.get(row.cancelSource, EndReason.VENUE)


def parse_fee(
    fee: str, currency: str, notional: Decimal, maker: bool, instrument: Instrument
) -> Decimal:
    """In quote currency, paid > 0; the venue's is negative when paid. See the oddity about other currencies."""
    if fee and currency == instrument.quote:
        return -parse_decimal(fee)
    return notional * (instrument.maker_fee if maker else instrument.taker_fee)


def parse_order(row: OrderRow, contract: Contract, ids: TextForm) -> OrderReport:
    """`{"instId":"ETH-USDT-SWAP","ordId":"2497956918703120384","clOrdId":"g1b0001","side":"buy","ordType":"post_only",
    "px":"3000","sz":"0.1","state":"partially_filled","accFillSz":"0.04","fillSz":"0.04","fillPx":"3000",
    "tradeId":"1518905600","fillTime":"1767225605000","execType":"M","fillFee":"-0.0024","fillFeeCcy":"USDT",
    "cancelSource":"","reduceOnly":"false","uTime":"1767225605003"}`: the one shape of events, queries and lists."""
    side = parse_one_of(SIDES, row.side, "side")
    status = parse_one_of(STATES, row.state, "order state")
    qty, filled = contract.qty.parse(row.sz), contract.qty.parse(row.accFillSz or "0")
    client_order_id = ids.decode(row.clOrdId)
    if filled > qty or (client_order_id is not None and client_order_id.side is not side):
        raise malformed("order contradicts itself")
    return OrderReport(
        client_order_id=client_order_id,
        venue_order_id=row.ordId,
        side=side,
        price_ticks=Ticks(contract.price.parse(row.px or "0")),
        qty_lots=Lots(qty),
        filled_lots=Lots(filled),
        status=status,
        reduce_only=row.reduceOnly == "true",
        fill=parse_event_fill(row, contract, ids),
        end_reason=parse_end(row, status),
        ts_venue_ns=parse_ms_text(row.uTime),
    )


def parse_event_fill(row: OrderRow, contract: Contract, ids: TextForm) -> Fill | None:
    """The trade that an order event tells of. A list names the last one too, without what it cost: that is none."""
    if not (row.tradeId and row.execType and row.fillSz):
        return None
    qty = Lots(contract.qty.parse(row.fillSz))
    if not qty:
        return None
    price, maker = contract.price.parse(row.fillPx), parse_one_of(EXECUTION, row.execType, "role")
    instrument = contract.instrument
    notional = instrument.notional(Ticks(price), qty)
    return Fill(
        trade_id=row.tradeId,
        client_order_id=ids.decode(row.clOrdId),
        venue_order_id=row.ordId,
        side=parse_one_of(SIDES, row.side, "side"),
        price_ticks=Ticks(price),
        qty_lots=qty,
        fee=parse_fee(row.fillFee, row.fillFeeCcy, notional, maker, instrument),
        is_maker=maker,
        ts_venue_ns=parse_ms_text(row.fillTime or row.uTime),
    )


def parse_fill(row: FillRow, contract: Contract, ids: TextForm) -> Fill:
    """`{"side":"buy","fillSz":"0.04","fillPx":"3000","fee":"-0.0024","feeCcy":"USDT","ordId":"2497956918703120384",
    "clOrdId":"g1b0001","billId":"1763912345678901248","fillTime":"1767225605000","execType":"M",
    "tradeId":"1518905600","ts":"1767225605003"}`"""
    price = Ticks(contract.price.parse(row.fillPx))
    qty = Lots(contract.qty.parse(row.fillSz))
    maker = parse_one_of(EXECUTION, row.execType, "role")
    instrument = contract.instrument
    return Fill(
        trade_id=row.tradeId,
        client_order_id=ids.decode(row.clOrdId),
        venue_order_id=row.ordId,
        side=parse_one_of(SIDES, row.side, "side"),
        price_ticks=price,
        qty_lots=qty,
        fee=parse_fee(row.fee, row.feeCcy, instrument.notional(price, qty), maker, instrument),
        is_maker=maker,
        ts_venue_ns=parse_ms_text(row.fillTime or row.ts),
    )


def parse_placed(ack: Ack, order: NewOrder, operation: str) -> OrderReport | VenueError:
    """`{"ordId":"2497956918703120384","clOrdId":"g1b0001","ts":"1767225600125","sCode":"0","sMsg":""}`: taken in. It
    may still be refused by the stream."""
    if ack.sCode != "0":
        return parse_error(ack.sCode, ack.sMsg, operation)
    return OrderReport(
        client_order_id=order.client_order_id,
        venue_order_id=ack.ordId,
        side=order.side,
        price_ticks=order.price_ticks,
        qty_lots=order.qty_lots,
        filled_lots=Lots(0),
        status=OrderStatus.OPEN,
        reduce_only=order.reduce_only,
        ts_venue_ns=parse_ms_text(ack.ts) if ack.ts else 0,
    )


def parse_position(rows: Iterable[PositionRow], contract: Contract) -> Position | None:
    """`[{"instId":"ETH-USDT-SWAP","posSide":"net","pos":"-0.1","avgPx":"2990.5","markPx":"3010.6","liqPx":"",
    "mgnMode":"cross"}]`, signed contracts; None when the instrument is not in it, which is how a flat one may show."""
    found = None
    for row in rows:
        if row.instId != contract.symbol or row.mgnMode != "cross":
            continue
        lots = Lots(contract.qty.signed(row.pos or "0"))
        if row.posSide != "net":
            if lots:
                raise PositionModeMismatch(HEDGE_MODE, venue=VENUE)
            continue
        if not row.markPx:
            continue
        found = Position(
            qty_lots=lots,
            entry_price=parse_average(row.avgPx) if lots else Decimal(0),
            mark_price=parse_average(row.markPx),
            liquidation_price=parse_average(row.liqPx) if row.liqPx else None,
        )
    return found


def parse_equity(details: Iterable[Detail], currency: str) -> tuple[Decimal, Decimal]:
    """(equity, free margin); nothing of a currency that the account does not hold."""
    for row in details:
        if row.ccy == currency:
            return parse_decimal(row.eq), parse_decimal(row.availEq or row.availBal or "0")
    return Decimal(0), Decimal(0)


def name_of(row: InstrumentRow) -> str:
    """`ETH-USDT-SWAP` is ETHUSDT."""
    return f"{row.ctValCcy}{row.settleCcy}"


def is_linear(row: InstrumentRow) -> bool:
    return row.ctType == "linear"


def is_tradable(row: InstrumentRow) -> bool:
    return row.state in ("live", "post_only")


def parse_contract(row: InstrumentRow, maker_fee: Decimal, taker_fee: Decimal) -> Contract:
    """`{"instId":"ETH-USDT-SWAP","instIdCode":10461,"ctType":"linear","ctVal":"0.1","ctMult":"1","ctValCcy":"ETH",
    "settleCcy":"USDT","tickSz":"0.01","lotSz":"0.01","minSz":"0.01","maxLmtSz":"..","state":"live"}`"""
    face = parse_decimal(row.ctVal) * parse_decimal(row.ctMult)
    step, least = parse_decimal(row.lotSz), parse_decimal(row.minSz)
    if face <= 0 or step <= 0:
        raise malformed(f"{row.instId}: a contract of {face:f}, a lot of {step:f}")
    most = parse_decimal(row.maxLmtSz) if row.maxLmtSz else Decimal(0)
    instrument = Instrument(
        venue=VENUE,
        name=name_of(row),
        base=row.ctValCcy,
        quote=row.settleCcy,
        tick_size=parse_decimal(row.tickSz),
        lot_size=step * face,
        min_qty=Lots(max(1, -int(-least // step))),
        max_qty=Lots(int(most // step)) if most > 0 else None,
        maker_fee=maker_fee,
        taker_fee=taker_fee,
    )
    contract = Contract(instrument, qty_step=step, symbol=row.instId)
    contract.parts["code"] = row.instIdCode
    return contract


def parse_error(code: str, message: str, operation: str, *, status: int = 200) -> VenueError:
    """The table of codes, then the HTTP status for what has no code of its own."""
    kind = ERROR_OF_CODE.get(code)
    if kind is Rejected and POSITION_SIDE in message.lower():
        return PositionModeMismatch(HEDGE_MODE, venue=VENUE, operation=operation, code=code)
    if kind is None:
        kind = _by_status(status)
    text, label = message[:300], code or str(status)
    if kind is RateLimited:
        return RateLimited(
            text, retry_after_s=RATE_PAUSE_S, venue=VENUE, operation=operation, code=label
        )
    return kind(text, venue=VENUE, operation=operation, code=label)


def _by_status(status: int) -> type[VenueError]:
    match status:
        case 401 | 403:
            return AuthenticationRefused
        case 429:
            return RateLimited
        case _ if status == 408 or status >= 500:
            return OutcomeUnknown
        case _:
            return Rejected


def parse_answer_error(answer: Answer, operation: str) -> VenueError | None:
    """None for a good answer, and for one whose refusals stand with each order."""
    try:
        body = read_envelope(answer.body)
    except MalformedMessage:
        body = Envelope(code="", msg=answer.body[:200].decode("ascii", "replace"))
    if answer.status == 200 and body.code == "0":
        return None
    if (
        answer.status == 200
        and body.code in SOME_FAILED
        and bytes(body.data) not in (b"[]", b"null")
    ):
        return None
    if answer.status == 200 and not body.code:
        return OutcomeUnknown("an answer that cannot be read", venue=VENUE, operation=operation)
    return parse_error(body.code, body.msg, operation, status=answer.status)
