"""Gate's words into ours. Pure; raises MalformedMessage for what breaks the contract."""

from __future__ import annotations

from decimal import Decimal

from marketmaker.adapters.contract import Contract
from marketmaker.adapters.gate.tables import (
    ENDINGS,
    ERROR_OF_LABEL,
    HEDGE_MODE,
    RATE_PAUSE_S,
    ROLES,
    SECONDS,
    VENUE,
)
from marketmaker.adapters.gate.wire import (
    Bar,
    ContractRow,
    Failure,
    Figure,
    OrderRow,
    PositionRow,
    UserTrade,
    read_failure,
)
from marketmaker.adapters.http import Answer
from marketmaker.adapters.parsing import (
    NS_PER_S,
    malformed,
    parse_average,
    parse_figure,
    parse_ms,
    parse_one_of,
    parse_seconds_text,
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
from marketmaker.model.order import EndReason, Fill, OrderReport, OrderStatus, Side


def text_of(figure: Figure) -> str:
    """`3000.1` and `"3000.1"` alike."""
    raw = bytes(figure)
    if raw.startswith(b'"') and raw.endswith(b'"'):
        raw = raw[1:-1]
    return raw.decode("ascii", "replace")


def decimal_of(figure: Figure) -> Decimal:
    """Plain numbers, and those that the venue writes with an exponent."""
    text = text_of(figure)
    try:
        return parse_average(text)
    except MalformedMessage:
        head, _, exponent = text.lower().partition("e")
        if not exponent.lstrip("+-").isdigit() or len(exponent) > 3:
            raise
        return parse_average(head).scaleb(int(exponent))


def contracts_of(figure: Figure, contract: Contract) -> int:
    """Signed whole contracts."""
    return contract.qty.signed(text_of(figure))


def price_of(figure: Figure, contract: Contract) -> Ticks:
    return Ticks(contract.price.parse(text_of(figure)))


def time_of(row_ms: int, seconds: Figure) -> int:
    """Unix ns, from ms where they are told, else from seconds with a fraction."""
    return parse_ms(row_ms) if row_ms else parse_seconds_text(text_of(seconds))


def side_of(size: int) -> Side:
    return Side.BUY if size > 0 else Side.SELL


def parse_bar(bar: Bar, name: str, interval_s: int, face: Decimal, venue_ns: int) -> market.Candle:
    """`{"t":1545129300,"v":"27525555","c":"95.4","h":"96.9","l":"89.5","o":"94.3","n":"5m_ETH_USDT"}`"""
    open_ns = parse_ms(bar.t * 1_000)
    return market.Candle(
        symbol=name,
        interval_s=interval_s,
        open_ts_ns=open_ns,
        open=parse_figure(text_of(bar.o)),
        high=parse_figure(text_of(bar.h)),
        low=parse_figure(text_of(bar.l)),
        close=parse_figure(text_of(bar.c)),
        volume=parse_figure(text_of(bar.v)) * float(face),
        closed=open_ns + interval_s * NS_PER_S <= venue_ns,
    )


def parse_bar_name(name: str) -> tuple[int, str]:
    """`1m_ETH_USDT` is (60, `ETH_USDT`)."""
    interval, _, contract = name.partition("_")
    return parse_one_of(SECONDS, interval, "interval"), contract


def parse_order(row: OrderRow, contract: Contract, ids: TextForm) -> OrderReport:
    """`{"id":58600521933131841,"contract":"ETH_USDT","size":5,"left":3,"price":"3000.1","tif":"poc","text":
    "t-mm-b-000001","status":"open","finish_as":"_update","is_reduce_only":false,"update_time":1767225605001}`: the one
    shape of events, answers, queries and lists."""
    size, left = contracts_of(row.size, contract), contracts_of(row.left, contract)
    if not size or size * left < 0 or abs(left) > abs(size):
        raise malformed("order contradicts itself")
    side, filled = side_of(size), abs(size) - abs(left)
    status, reason = parse_status(row, left)
    client_order_id = ids.decode(row.text)
    if client_order_id is not None and client_order_id.side is not side:
        raise malformed("order contradicts itself")
    return OrderReport(
        client_order_id=client_order_id,
        venue_order_id=str(row.id),
        side=side,
        price_ticks=price_of(row.price, contract),
        qty_lots=Lots(abs(size)),
        filled_lots=Lots(filled),
        status=status,
        reduce_only=row.is_reduce_only,
        end_reason=reason,
        ts_venue_ns=parse_order_time(row),
    )


def parse_status(row: OrderRow, left: int) -> tuple[OrderStatus, EndReason | None]:
    match row.status:
        case "open":
            return OrderStatus.OPEN, None
        case "finished" if row.finish_as == "filled" or not left:
            return OrderStatus.FILLED, None
        case "finished":
            return OrderStatus.CANCELLED, ENDINGS.get(row.finish_as, EndReason.VENUE)
        case status:
            raise malformed(f"unknown order status {status[:40]!r}")


def parse_order_time(row: OrderRow) -> int:
    """The latest that the row tells. The socket's `update_time` is in ms, that of REST in seconds."""
    if row.finish_time_ms or row.create_time_ms:
        updated = text_of(row.update_time)
        update_ms = int(updated) if updated.isdecimal() and len(updated) == 13 else 0
        return parse_ms(max(row.finish_time_ms, update_ms, row.create_time_ms))
    times = (row.finish_time, row.update_time, row.create_time)
    return max(parse_seconds_text(text_of(figure)) for figure in times)


def parse_fill(row: UserTrade, contract: Contract, ids: TextForm) -> Fill:
    """`{"id":"3335259","create_time_ms":1628736848321,"contract":"ETH_USDT","order_id":"4872460","size":1,"price":
    "3000.1","role":"maker","text":"t-..","fee":0.0009,"point_fee":0}`"""
    size = contracts_of(row.size, contract)
    if not size:
        raise malformed("a trade of nothing")
    qty, price = Lots(abs(size)), price_of(row.price, contract)
    maker = parse_one_of(ROLES, row.role, "role")
    instrument, fee = contract.instrument, decimal_of(row.fee)
    if not fee and decimal_of(row.point_fee):
        rate = instrument.maker_fee if maker else instrument.taker_fee
        fee = instrument.notional(price, qty) * rate
    return Fill(
        trade_id=text_of(row.id),
        client_order_id=ids.decode(row.text),
        venue_order_id=text_of(row.order_id),
        side=side_of(size),
        price_ticks=price,
        qty_lots=qty,
        fee=fee,
        is_maker=maker,
        ts_venue_ns=time_of(row.create_time_ms, row.create_time),
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


def parse_position(row: PositionRow, contract: Contract, mark: Decimal | None) -> Position:
    """`{"contract":"ETH_USDT","size":-9440,"entry_price":"3779.55","mark_price":"3780.32","liq_price":"99999999",
    "mode":"single"}`; `mark`: where the row has none."""
    lots = Lots(contracts_of(row.size, contract))
    if row.mode != "single" and lots:
        raise PositionModeMismatch(HEDGE_MODE, venue=VENUE)
    entry, told = decimal_of(row.entry_price), decimal_of(row.mark_price)
    liquidation = decimal_of(row.liq_price)
    return Position(
        qty_lots=lots,
        entry_price=entry if lots else Decimal(0),
        mark_price=told or mark or entry,
        liquidation_price=liquidation if lots and liquidation > 0 else None,
    )


def name_of(row: ContractRow) -> str:
    """`ETH_USDT` is ETHUSDT."""
    return row.name.replace("_", "")


def is_tradable(row: ContractRow) -> bool:
    return row.type == "direct" and row.status == "trading" and not row.in_delisting


def parse_contract(row: ContractRow) -> Contract:
    """`{"name":"BTC_USDT","quanto_multiplier":"0.0001","order_price_round":"0.1","order_size_min":1,"order_size_max":
    1000000,"maker_fee_rate":"-0.00025","taker_fee_rate":"0.00075"}`"""
    face = decimal_of(row.quanto_multiplier)
    base, _, quote = row.name.partition("_")
    if face <= 0 or not quote:
        raise malformed(f"{row.name}: a contract of {face:f}")
    most = decimal_of(row.order_size_max)
    instrument = Instrument(
        venue=VENUE,
        name=name_of(row),
        base=base,
        quote=quote,
        tick_size=decimal_of(row.order_price_round),
        lot_size=face,
        min_qty=Lots(max(1, int(decimal_of(row.order_size_min)))),
        max_qty=Lots(int(most)) if most > 0 else None,
        maker_fee=decimal_of(row.maker_fee_rate),
        taker_fee=decimal_of(row.taker_fee_rate),
    )
    return Contract(instrument, qty_step=Decimal(1), symbol=row.name)


def parse_error(
    failure: Failure, operation: str, *, status: int = 400, retry_after_s: float | None = None
) -> VenueError:
    """`{"label":"ORDER_POC_IMMEDIATE","detail":"order price 1700 while counter price 1793.55"}`: the table of labels,
    then the HTTP status for what has no label of its own."""
    kind = ERROR_OF_LABEL.get(failure.label) or _by_status(status)
    text = (failure.message or failure.detail or failure.label or "no reason given")[:300]
    if kind is PositionModeMismatch:
        text = HEDGE_MODE
    code = failure.label or str(status)
    if kind is RateLimited:
        pause_s = RATE_PAUSE_S if retry_after_s is None else retry_after_s
        return RateLimited(text, retry_after_s=pause_s, venue=VENUE, operation=operation, code=code)
    return kind(text, venue=VENUE, operation=operation, code=code)


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


def parse_answer_error(
    answer: Answer, operation: str, retry_after_s: float | None
) -> VenueError | None:
    """None for a good answer."""
    if 200 <= answer.status < 300:
        return None
    try:
        failure = read_failure(answer.body)
    except MalformedMessage:
        failure = Failure(message=answer.body[:200].decode("ascii", "replace"))
    return parse_error(failure, operation, status=answer.status, retry_after_s=retry_after_s)
