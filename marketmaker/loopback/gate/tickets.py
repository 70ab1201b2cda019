"""What an order or an amendment says at Gate, checked as the venue checks it."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from marketmaker.errors import (
    DuplicateClientOrderId,
    FilterViolation,
    InsufficientMargin,
    OrderNotFound,
    PostOnlyWouldCross,
    ReduceOnlyRefused,
    Rejected,
    VenueError,
)
from marketmaker.loopback.desk import Order, Ticket, market_price
from marketmaker.loopback.gate.shapes import ORDERS_LIMIT
from marketmaker.loopback.stage import Json
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import Side, TimeInForce
from marketmaker.sim.account import HALF
from marketmaker.sim.market import Market

NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?")
TEXT = re.compile(r"t-[0-9A-Za-z_.-]{1,28}")
TIMES_IN_FORCE = ("gtc", "ioc", "poc", "fok")
PRICE_DEVIATION = Decimal("0.5")
SIZE_MAX = 1_000_000


class Refusal(Exception):
    """One order refused, or one request."""

    def __init__(self, label: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.label = label
        self.message = message
        self.status = status


REFUSALS: dict[type[VenueError], tuple[str, str]] = {
    PostOnlyWouldCross: ("ORDER_POC_IMMEDIATE", "order price while counter price would take"),
    InsufficientMargin: ("INSUFFICIENT_AVAILABLE", "Insufficient available balance"),
    ReduceOnlyRefused: ("INCREASE_POSITION", "reduce-only order would increase the position"),
    DuplicateClientOrderId: ("REPEATED_CREATION", "text is in use"),
    FilterViolation: ("SIZE_TOO_SMALL", "order size is too small"),
    OrderNotFound: ("ORDER_NOT_FOUND", "Order not found"),
    Rejected: ("INVALID_PARAM_VALUE", "invalid argument"),
}


def refused(error: VenueError) -> Refusal:
    """What the desk would not do, in the venue's words."""
    return Refusal(*REFUSALS.get(type(error), REFUSALS[Rejected]))


def invalid(name: str) -> Refusal:
    return Refusal("INVALID_PARAM_VALUE", f"invalid argument: {name}")


def parse_ticket(row: Json, market: Market, *, dual: bool) -> Ticket:
    """Raises Refusal."""
    instrument = market.instrument
    size = parse_size(row.get("size"), instrument)
    side, price_text = Side.BUY if size > 0 else Side.SELL, str(row.get("price", ""))
    tif = str(row.get("tif") or "gtc")
    if tif not in TIMES_IN_FORCE:
        raise invalid("tif")
    text = str(row.get("text") or "")
    if text and TEXT.fullmatch(text) is None:
        raise Refusal("INVALID_CLIENT_ORDER_ID", "invalid text")
    if dual and row.get("auto_size") is None and row.get("reduce_only") is not True:
        raise Refusal("POSITION_DUAL_MODE", "position is in dual mode")
    if len(market.open_orders) >= ORDERS_LIMIT:
        raise Refusal("TOO_MANY_ORDERS", "too many open orders of this contract")
    at_market = price_text in ("0", "") and tif == "ioc"
    return Ticket(
        instrument=instrument,
        side=side,
        price_ticks=parse_market(market, side) if at_market else parse_price(price_text, market),
        qty_lots=abs(size),
        client_id=text,
        market=at_market,
        post_only=tif == "poc",
        reduce_only=row.get("reduce_only") is True,
        time_in_force=TimeInForce.IOC if tif in ("ioc", "fok") else TimeInForce.GTC,
        extra={"tif": tif},
    )


def parse_amendment(row: Json, order: Order, market: Market) -> tuple[int, int]:
    """New price and total quantity, in ticks and lots. Raises Refusal."""
    price, qty = order.price_ticks, order.qty_lots
    if row.get("price"):
        price = parse_price(str(row["price"]), market)
    if row.get("size"):
        size = parse_size(row["size"], order.instrument)
        if size * order.side < 0:
            raise invalid("size")
        qty = abs(size)
    if (price, qty) == (order.price_ticks, order.qty_lots):
        raise Refusal("NO_CHANGE", "no change")
    return price, qty


def parse_size(value: Any, instrument: Instrument) -> int:
    text = str(value)
    if re.fullmatch(r"-?\d{1,12}", text) is None or not int(text):
        raise invalid("size")
    size = int(text)
    if abs(size) < instrument.min_qty:
        raise Refusal("SIZE_TOO_SMALL", "order size is too small")
    if abs(size) > SIZE_MAX:
        raise Refusal("SIZE_TOO_LARGE", "order size is too large")
    return size


def parse_price(text: str, market: Market) -> int:
    instrument = market.instrument
    if NUMBER.fullmatch(text) is None:
        raise invalid("price")
    price = Decimal(text)
    ticks = price / instrument.tick_size
    if price <= 0 or ticks != int(ticks):
        raise Refusal("INVALID_PRECISION", "price is off the precision")
    if mark2 := market.holding.mark2:
        mark = Decimal(mark2) * HALF * instrument.tick_size
        if abs(price - mark) > mark * PRICE_DEVIATION:
            raise Refusal("PRICE_TOO_DEVIATED", "order price deviates too far from mark price")
    return int(ticks)


def parse_market(market: Market, side: Side) -> int:
    price = market_price(market, side)
    if price is None:
        raise invalid("price")
    return price
