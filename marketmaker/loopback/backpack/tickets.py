"""What an order says at Backpack, checked as the venue checks it."""

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
from marketmaker.loopback.desk import Ticket, market_price
from marketmaker.loopback.stage import Json
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import Side, TimeInForce
from marketmaker.sim.account import HALF
from marketmaker.sim.market import Market

NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?")
CLIENT_ID_MAX = 2**32 - 1
LOWEST, HIGHEST = Decimal("0.75"), Decimal("1.25")


class Refusal(Exception):
    """One order refused, or one request."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


REFUSALS: dict[type[VenueError], tuple[str, str]] = {
    PostOnlyWouldCross: ("INVALID_ORDER", "Order would immediately match and take liquidity"),
    InsufficientMargin: ("INSUFFICIENT_MARGIN", "Insufficient margin"),
    ReduceOnlyRefused: ("REDUCE_ONLY_NOT_REDUCED", "Reduce only order not reduced"),
    DuplicateClientOrderId: ("DUPLICATE_CLIENT_ID", "Client id is in use"),
    FilterViolation: ("INVALID_QUANTITY", "Quantity is invalid"),
    Rejected: ("INVALID_CLIENT_REQUEST", "Invalid request"),
}


def refused(error: VenueError) -> Refusal:
    """What the desk would not do, in the venue's words."""
    if isinstance(error, OrderNotFound):
        return Refusal("RESOURCE_NOT_FOUND", "Not Found", status=404)
    return Refusal(*REFUSALS.get(type(error), REFUSALS[Rejected]))


def parse_ticket(row: Json, market: Market) -> Ticket:
    """Raises Refusal."""
    instrument, side = market.instrument, parse_side(row)
    kind = row.get("orderType")
    if kind not in ("Limit", "Market"):
        raise Refusal("INVALID_CLIENT_REQUEST", "orderType is invalid")
    tif = str(row.get("timeInForce") or "GTC")
    if tif not in ("GTC", "IOC", "FOK"):
        raise Refusal("INVALID_CLIENT_REQUEST", "timeInForce is invalid")
    client_id = row.get("clientId")
    if client_id is not None and not (
        isinstance(client_id, int) and 0 <= client_id <= CLIENT_ID_MAX
    ):
        raise Refusal("INVALID_CLIENT_REQUEST", "clientId is not an unsigned 32-bit integer")
    at_market = kind == "Market"
    return Ticket(
        instrument=instrument,
        side=side,
        price_ticks=parse_market(market, side) if at_market else parse_price(row, market),
        qty_lots=parse_lots(row.get("quantity"), instrument),
        client_id="" if client_id is None else str(client_id),
        market=at_market,
        post_only=row.get("postOnly") is True,
        reduce_only=row.get("reduceOnly") is True,
        time_in_force=TimeInForce.GTC if tif == "GTC" else TimeInForce.IOC,
        extra={"timeInForce": tif},
    )


def parse_side(row: Json) -> Side:
    match row.get("side"):
        case "Bid":
            return Side.BUY
        case "Ask":
            return Side.SELL
    raise Refusal("INVALID_CLIENT_REQUEST", "side is invalid")


def number(value: Any, code: str) -> Decimal:
    text = str(value or "")
    if NUMBER.fullmatch(text) is None:
        raise Refusal(code, "not a number")
    return Decimal(text)


def parse_lots(value: Any, instrument: Instrument) -> int:
    lots = number(value, "INVALID_QUANTITY") / instrument.lot_size
    if lots != int(lots) or lots < instrument.min_qty:
        raise Refusal("INVALID_QUANTITY", "Quantity is below the minimum or off the step")
    return int(lots)


def parse_price(row: Json, market: Market) -> int:
    instrument = market.instrument
    price = number(row.get("price"), "INVALID_PRICE")
    ticks = price / instrument.tick_size
    if price <= 0 or ticks != int(ticks):
        raise Refusal("INVALID_PRICE", "Price is off the tick size")
    if mark2 := market.holding.mark2:
        mark = Decimal(mark2) * HALF * instrument.tick_size
        if not mark * LOWEST <= price <= mark * HIGHEST:
            raise Refusal("INVALID_PRICE", "Price is out of bounds")
    return int(ticks)


def parse_market(market: Market, side: Side) -> int:
    price = market_price(market, side)
    if price is None:
        raise Refusal("INVALID_ORDER", "Insufficient liquidity")
    return price
