"""Bitget's words into ours, whichever the account. Pure; raises MalformedMessage for what breaks the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from marketmaker.adapters.bitget.tables import (
    ABOUT_MODE,
    ASKED_FOR,
    ERROR_OF_CODE,
    GOOD,
    HEDGE_MODE,
    HOLD_SIDES,
    MAKER_FEE,
    PARAMETERS,
    RATE_PAUSE_S,
    REFUSED_WITHIN_NS,
    SECONDS,
    STATUSES,
    TAKER_FEE,
    TAKING,
    VENUE,
)
from marketmaker.adapters.bitget.wire import (
    Ack,
    Candle,
    ContractRow,
    Envelope,
    FeePart,
    read_envelope,
)
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.http import Answer
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
from marketmaker.model.instrument import Instrument, Lots
from marketmaker.model.order import EndReason, Fill, NewOrder, OrderReport, OrderStatus, Side


def parse_candle(row: Candle, symbol: str, interval_s: int, venue_ns: int) -> market.Candle:
    """`["1695685500000","27000","27000.5","27000","27000.5","0.057","1539.0155","1539.0155"]`; closed when its time is
    over, for it does not say."""
    open_ns = parse_ms_text(row.start)
    return market.Candle(
        symbol=symbol,
        interval_s=interval_s,
        open_ts_ns=open_ns,
        open=parse_figure(row.open),
        high=parse_figure(row.high),
        low=parse_figure(row.low),
        close=parse_figure(row.close),
        volume=parse_figure(row.base_volume),
        closed=open_ns + interval_s * 1_000_000_000 <= venue_ns,
    )


def parse_candle_channel(channel: str) -> int:
    """`candle1m` is 60 s."""
    return parse_one_of(SECONDS, channel.removeprefix("candle"), "interval")


def parse_status(text: str) -> OrderStatus:
    return parse_one_of(STATUSES, text, "order status")


def parse_end(
    status: OrderStatus,
    *,
    force: str,
    reason: str,
    reduce_only: bool,
    filled: int,
    lived_ns: int,
    asked: bool,
    takes: bool,
) -> EndReason | None:
    """Why an order ended unfilled; None while it lives or when it was filled.

    The venue writes `normal_cancel` for what it refuses as for what we ask. So an order that we did not ask to end is
    told by its shape: a post-only one that ends unfilled at once would have taken, a reduce-only one had nothing left to
    reduce. One that is both is told by its price: `takes`, whether it lies where an order of its side takes.
    """
    if status is not OrderStatus.CANCELLED:
        return None
    if force in TAKING:
        return EndReason.IOC
    if asked:
        return EndReason.REQUESTED
    at_once = force == "post_only" and not filled and lived_ns < REFUSED_WITHIN_NS
    if at_once and (takes or not reduce_only):
        return EndReason.POST_ONLY
    if reduce_only:
        return EndReason.REDUCE_ONLY
    return EndReason.REQUESTED if reason in ASKED_FOR else EndReason.VENUE


def parse_fee(
    parts: Sequence[FeePart], notional: Decimal, maker: bool, instrument: Instrument
) -> Decimal:
    """In quote currency, paid > 0. Of a fee in another currency, or none told, what the instrument's rate makes."""
    if len(parts) == 1 and parts[0].feeCoin == instrument.quote:
        if parts[0].totalFee:
            return -parse_decimal(parts[0].totalFee)
        if parts[0].fee:
            return parse_decimal(parts[0].fee)
    return notional * (instrument.maker_fee if maker else instrument.taker_fee)


def parse_placed(ack: Ack, order: NewOrder) -> OrderReport:
    """`{"orderId":"121211212122","clientOid":"0mmb000200000001x"}`: taken in. It may still be refused by the stream."""
    return OrderReport(
        client_order_id=order.client_order_id,
        venue_order_id=ack.orderId or "",
        side=order.side,
        price_ticks=order.price_ticks,
        qty_lots=order.qty_lots,
        filled_lots=Lots(0),
        status=OrderStatus.OPEN,
        reduce_only=order.reduce_only,
    )


def parse_trade_report(fill: Fill, known: OrderReport | None, traded: int) -> OrderReport:
    """A trade as news of its order, of which it says little. `known`: the order as last told; `traded`: lots of all its
    trades so far, this one with them."""
    filled = traded if known is None else max(traded, known.filled_lots)
    qty = filled if known is None else known.qty_lots
    return OrderReport(
        client_order_id=fill.client_order_id,
        venue_order_id=fill.venue_order_id,
        side=fill.side,
        price_ticks=fill.price_ticks if known is None else known.price_ticks,
        qty_lots=Lots(qty),
        filled_lots=Lots(filled),
        status=OrderStatus.FILLED if known is not None and filled >= qty else OrderStatus.OPEN,
        reduce_only=known is not None and known.reduce_only,
        fill=fill,
        ts_venue_ns=fill.ts_venue_ns,
    )


def build_position(
    contract: Contract,
    *,
    hedge: bool,
    side: str,
    total: str,
    entry: str,
    mark: str,
    liquidation: str,
) -> Position | None:
    """None where no mark price is told."""
    lots = contract.qty.parse(total or "0")
    if hedge and lots:
        raise PositionModeMismatch(HEDGE_MODE, venue=VENUE)
    if not mark:
        return None
    if lots:
        lots *= parse_one_of(HOLD_SIDES, side, "side of a position")
    liquidates = parse_average(liquidation) if liquidation and lots else Decimal(0)
    return Position(
        qty_lots=Lots(lots),
        entry_price=parse_average(entry or "0") if lots else Decimal(0),
        mark_price=parse_average(mark),
        liquidation_price=liquidates if liquidates > 0 else None,
    )


def check_sides(side: Side, client_side: Side | None, filled: int, qty: int) -> None:
    if filled > qty or (client_side is not None and client_side is not side):
        raise malformed("order contradicts itself")


def is_tradable(row: ContractRow) -> bool:
    return row.symbolType == "perpetual" and row.symbolStatus == "normal"


def parse_instrument(row: ContractRow, fees: tuple[Decimal, Decimal] | None) -> Instrument:
    """`{"symbol":"BTCUSDT","baseCoin":"BTC","quoteCoin":"USDT","minTradeNum":"0.01","priceEndStep":"1","pricePlace":"1",
    "sizeMultiplier":"0.01","minTradeUSDT":"5","makerFeeRate":"0.0002","takerFeeRate":"0.0006","symbolType":"perpetual",
    "symbolStatus":"normal"}`; the tick is `priceEndStep` at `pricePlace` decimals."""
    place = parse_decimal(row.pricePlace)
    step, least = parse_decimal(row.sizeMultiplier), parse_decimal(row.minTradeNum)
    end_step = parse_decimal(row.priceEndStep)
    if step <= 0 or end_step <= 0 or place != int(place) or not 0 <= place <= 18:
        raise malformed(f"{row.symbol}: steps {row.sizeMultiplier[:20]}, {row.priceEndStep[:20]}")
    most = parse_decimal(row.maxOrderQty) if row.maxOrderQty else Decimal(0)
    maker, taker = fees or (
        parse_decimal(row.makerFeeRate) if row.makerFeeRate else MAKER_FEE,
        parse_decimal(row.takerFeeRate) if row.takerFeeRate else TAKER_FEE,
    )
    return Instrument(
        venue=VENUE,
        name=row.symbol,
        base=row.baseCoin,
        quote=row.quoteCoin,
        tick_size=end_step.scaleb(-int(place)),
        lot_size=step,
        min_qty=Lots(max(1, -int(-least // step))),
        max_qty=Lots(int(most // step)) if most >= step else None,
        min_notional=parse_decimal(row.minTradeUSDT or "0"),
        maker_fee=maker,
        taker_fee=taker,
    )


def parse_error(code: str | int, message: str, operation: str, *, status: int = 200) -> VenueError:
    """The table of codes, then the HTTP status for what has no code of its own."""
    label = str(code)
    kind = ERROR_OF_CODE.get(label) or _by_status(status)
    if label in PARAMETERS and any(word in message.lower() for word in ABOUT_MODE):
        kind = PositionModeMismatch
    text = HEDGE_MODE if kind is PositionModeMismatch else message[:300]
    label = label if label not in GOOD else str(status)
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
    """None for a good answer; that of a batch is good though all its orders were refused."""
    try:
        body = read_envelope(answer.body)
    except MalformedMessage:
        if answer.status == 200:
            return OutcomeUnknown("an answer that cannot be read", venue=VENUE, operation=operation)
        body = Envelope(code="0", msg=answer.body[:200].decode("ascii", "replace"))
    if answer.status == 200 and str(body.code) in GOOD:
        return None
    return parse_error(body.code, body.msg or "", operation, status=answer.status)


def refusal_of(ack: Ack, operation: str) -> VenueError | None:
    """What the venue says against one order of a request."""
    for code, message in ((ack.code, ack.msg), (ack.errorCode, ack.errorMsg)):
        if str(code) not in GOOD:
            return parse_error(code, message or "", operation)
    return None


def by_client_id(acks: Sequence[Ack]) -> Mapping[str, Ack]:
    return {ack.clientOid: ack for ack in acks if ack.clientOid}
