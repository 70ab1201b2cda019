"""ccxt's dictionaries and exceptions into ours. Pure, and without ccxt: its exceptions are known by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from marketmaker.adapters.binance.tables import ERROR_OF_CODE as BINANCE_CODES
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.parsing import NS_PER_MS, malformed, parse_decimal, parse_ms
from marketmaker.errors import (
    AuthenticationRefused,
    ClockSkew,
    DuplicateClientOrderId,
    FilterViolation,
    InsufficientMargin,
    OrderNotFound,
    OutcomeUnknown,
    Overloaded,
    PostOnlyWouldCross,
    RateLimited,
    Rejected,
    VenueError,
)
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Candle
from marketmaker.model.order import (
    ClientOrderId,
    EndReason,
    Fill,
    OrderReport,
    OrderStatus,
    Side,
)

Row = Mapping[str, Any]

KINDS: dict[str, type[VenueError]] = {
    "OrderImmediatelyFillable": PostOnlyWouldCross,
    "DuplicateOrderId": DuplicateClientOrderId,
    "InsufficientFunds": InsufficientMargin,
    "OrderNotFound": OrderNotFound,
    "InvalidOrder": FilterViolation,
    "RateLimitExceeded": RateLimited,
    "DDoSProtection": RateLimited,
    "OnMaintenance": Overloaded,
    "InvalidNonce": ClockSkew,
    "AuthenticationError": AuthenticationRefused,
    "BadResponse": OutcomeUnknown,
    "OperationFailed": OutcomeUnknown,
    "NetworkError": OutcomeUnknown,
    "TimeoutError": OutcomeUnknown,
    "BaseError": Rejected,
}
"""By ccxt's class or the nearest one above it; the first name found in its line of ancestors counts."""
CODES: dict[str, Mapping[int, type[VenueError]]] = {"binance": BINANCE_CODES}
"""Codes that ccxt may leave unread, by how an exchange's id begins."""
CODE = re.compile(r'"code":\s*"?(-?\d{3,6})')
SIDES = {"buy": Side.BUY, "sell": Side.SELL}
STATUSES = {
    "open": OrderStatus.OPEN,
    "closed": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELLED,
    "canceling": OrderStatus.OPEN,
    "expired": OrderStatus.CANCELLED,
    "rejected": OrderStatus.REJECTED,
}
TEXT_MAX = 300


def parse_error(error: Exception, exchange: str, operation: str) -> VenueError:
    """The text is cut to 300 characters; of a network error only its kind is kept, for its text may hold the request."""
    names = [each.__name__ for each in type(error).__mro__]
    kind = next((KINDS[name] for name in names if name in KINDS), OutcomeUnknown)
    text, code = str(error), ""
    for family, codes in CODES.items():
        found = CODE.search(text) if exchange.startswith(family) else None
        if found is not None:
            code = found[1]
            kind = codes.get(int(code), kind)
    if "NetworkError" in names and not code:
        text = names[0]
    venue = f"ccxt:{exchange}"
    if kind is RateLimited:
        return RateLimited(
            text[:TEXT_MAX],
            banned="banned" in text,
            venue=venue,
            operation=operation,
            code=code or names[0],
        )
    return kind(text[:TEXT_MAX], venue=venue, operation=operation, code=code or names[0])


def number(row: Row, name: str, default: str = "0") -> Decimal:
    """ccxt gives floats, whole numbers, text or None. Raises MalformedMessage for what is none of these."""
    value = row.get(name)
    if value is None:
        return Decimal(default)
    if isinstance(value, float):
        return parse_decimal(format(Decimal(repr(value)), "f"))
    return parse_decimal(str(value))


def whole(value: Decimal, step: Decimal, what: str) -> int:
    """Steps. Raises MalformedMessage for what is off the step by more than a float's own error."""
    steps = round(value / step)
    if abs(value - steps * step) > step / 1000:
        raise malformed(f"{what} {value} is off the step {step}")
    return steps


def text(row: Row, name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)


def time_ns(row: Row, name: str = "timestamp") -> int:
    value = row.get(name)
    if value is None:
        return 0
    if not isinstance(value, int | float):
        raise malformed(f"{name} is not a time")
    return parse_ms(int(value))


def one_of(table: Mapping[str, Any], row: Row, name: str) -> Any:
    try:
        return table[text(row, name)]
    except KeyError:
        raise malformed(f"unknown {name} {text(row, name)[:40]!r}") from None


def parse_lots(row: Row, name: str, contract: Contract) -> Lots:
    """From contracts, or base currency where there are none."""
    step: Decimal = contract.parts["amount_step"]
    return Lots(whole(number(row, name), step, name))


def parse_ticks(row: Row, name: str, contract: Contract) -> Ticks:
    return Ticks(whole(number(row, name), contract.instrument.tick_size, name))


def parse_end(row: Row, status: OrderStatus, filled: int) -> EndReason | None:
    if status in (OrderStatus.OPEN, OrderStatus.FILLED):
        return None
    post_only = bool(row.get("postOnly")) or row.get("timeInForce") == "PO"
    if status is OrderStatus.REJECTED:
        return EndReason.POST_ONLY if post_only else EndReason.VENUE
    if text(row, "status") != "expired":
        return EndReason.REQUESTED
    if row.get("timeInForce") in ("IOC", "FOK"):
        return EndReason.IOC
    if row.get("reduceOnly"):
        return EndReason.REDUCE_ONLY
    return EndReason.POST_ONLY if post_only and not filled else EndReason.EXPIRED


def parse_order(row: Row, contract: Contract, ids: TextForm) -> OrderReport:
    """`{"id": "123", "clientOrderId": "0mmb..", "timestamp": 1767225600000, "status": "open", "side": "buy",
    "price": 2999.0, "amount": 0.01, "filled": 0.0, "reduceOnly": False, "postOnly": True, ..}`"""
    status: OrderStatus = one_of(STATUSES, row, "status")
    qty, filled = parse_lots(row, "amount", contract), parse_lots(row, "filled", contract)
    if status is OrderStatus.FILLED and filled < qty:
        status = OrderStatus.CANCELLED
    return OrderReport(
        client_order_id=ids.decode(text(row, "clientOrderId")),
        venue_order_id=text(row, "id"),
        side=one_of(SIDES, row, "side"),
        price_ticks=parse_ticks(row, "price", contract),
        qty_lots=qty,
        filled_lots=filled,
        status=status,
        reduce_only=bool(row.get("reduceOnly")),
        end_reason=parse_end(row, status, filled),
        ts_venue_ns=time_ns(row, "lastUpdateTimestamp") or time_ns(row),
    )


def parse_fill(row: Row, contract: Contract, owner: ClientOrderId | None) -> Fill:
    """`{"id": "7310000001", "order": "123", "side": "buy", "price": 3000.1, "amount": 0.01, "takerOrMaker": "taker",
    "fee": {"cost": 0.015, "currency": "USDT"}, "timestamp": ..}`"""
    instrument = contract.instrument
    price, qty = parse_ticks(row, "price", contract), parse_lots(row, "amount", contract)
    maker = row.get("takerOrMaker") == "maker"
    fee = row.get("fee") or {}
    if fee.get("cost") is not None and fee.get("currency") in (None, instrument.quote):
        paid = number(fee, "cost")
    else:
        rate = instrument.maker_fee if maker else instrument.taker_fee
        paid = instrument.notional(price, qty) * rate
    return Fill(
        trade_id=text(row, "id"),
        client_order_id=owner,
        venue_order_id=text(row, "order"),
        side=one_of(SIDES, row, "side"),
        price_ticks=price,
        qty_lots=qty,
        fee=paid,
        is_maker=maker,
        ts_venue_ns=time_ns(row),
    )


def parse_market(row: Row, name: str, venue: str) -> tuple[Instrument, Decimal]:
    """The instrument, and one lot in the exchange's own unit of quantity."""
    precision, limits = row["precision"], row["limits"]
    tick, step = number(precision, "price"), number(precision, "amount")
    if tick <= 0 or step <= 0:
        raise malformed(f"{name} has no steps")
    face = number(row, "contractSize", "1") if row.get("contract") else Decimal(1)
    least = number(limits.get("amount") or {}, "min")
    most = number(limits.get("amount") or {}, "max")
    return (
        Instrument(
            venue=venue,
            name=name,
            base=text(row, "base"),
            quote=text(row, "quote"),
            tick_size=tick,
            lot_size=step * face,
            min_qty=Lots(max(1, -int(-least // step))),
            max_qty=Lots(int(most // step)) if most > 0 else None,
            min_notional=number(limits.get("cost") or {}, "min"),
            maker_fee=number(row, "maker"),
            taker_fee=number(row, "taker"),
        ),
        step,
    )


def parse_candle(row: list[Any], symbol: str, interval_s: int, now_ns: int) -> Candle:
    """`[1767225600000, 3000.0, 3001.0, 2999.0, 3000.5, 12.5]`"""
    if len(row) < 6 or any(not isinstance(each, int | float) for each in row[:6]):
        raise malformed("a candle of another shape")
    open_ns = parse_ms(int(row[0]))
    figures = [float(each) for each in row[1:6]]
    if any(not 0 <= each < 1e18 for each in figures):
        raise malformed("a candle out of range")
    opened, high, low, close, volume = figures
    return Candle(
        symbol=symbol,
        interval_s=interval_s,
        open_ts_ns=open_ns,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        closed=open_ns + interval_s * 1000 * NS_PER_MS <= now_ns,
    )


def redirected(urls: Any, rest_url: str, ws_url: str) -> Any:
    """ccxt's nest of addresses with other servers in front of the same paths; "" leaves them as they are."""
    if isinstance(urls, dict):
        return {name: redirected(each, rest_url, ws_url) for name, each in urls.items()}
    if not isinstance(urls, str):
        return urls
    scheme, _, rest = urls.partition("://")
    other = {"https": rest_url, "http": rest_url, "wss": ws_url, "ws": ws_url}.get(scheme, "")
    if not other:
        return urls
    path = rest.partition("/")[2]
    return f"{other.rstrip('/')}/{path}" if path else other
