"""What an order or an amendment says at Bybit, checked as the venue checks it."""

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
from marketmaker.loopback.stage import Json
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.order import Side, TimeInForce
from marketmaker.sim.account import HALF
from marketmaker.sim.market import Market

NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?")
CLIENT_ID = re.compile(r"[0-9A-Za-z_-]{1,36}")
TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "PostOnly", "RPI")
MAX_OPEN_ORDERS = 500
PRICE_BAND = Decimal("0.05")


class Refusal(Exception):
    """One order refused, or one request."""

    def __init__(self, code: int, message: str, *, status: int = 200) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


REFUSALS: dict[type[VenueError], tuple[int, str]] = {
    PostOnlyWouldCross: (110103, "Only post-only orders are allowed."),
    InsufficientMargin: (110007, "ab not enough for new order"),
    ReduceOnlyRefused: (110017, "current position is zero, cannot fix reduce-only order qty"),
    DuplicateClientOrderId: (110072, "OrderLinkedID is duplicate"),
    FilterViolation: (110094, "Order does not meet minimum order value"),
    OrderNotFound: (110001, "order not exists or too late to cancel"),
    Rejected: (10001, "params error"),
}


def refused(error: VenueError) -> Refusal:
    """What the desk would not do, in the venue's words."""
    return Refusal(*REFUSALS.get(type(error), REFUSALS[Rejected]))


def parameter(text: str) -> Refusal:
    return Refusal(10001, f"params error: {text}")


def parse_ticket(row: Json, market: Market, *, hedge_mode: bool) -> Ticket:
    """Raises Refusal."""
    instrument, side = market.instrument, parse_side(row)
    if row.get("positionIdx", 0) != 0 or hedge_mode:
        raise Refusal(10001, "position idx not match position mode")
    kind = row.get("orderType")
    if kind not in ("Limit", "Market"):
        raise parameter("orderType invalid")
    time_in_force = str(row.get("timeInForce") or ("IOC" if kind == "Market" else "GTC"))
    if time_in_force not in TIMES_IN_FORCE:
        raise parameter("timeInForce invalid")
    client_id = str(row.get("orderLinkId") or "")
    if client_id and CLIENT_ID.fullmatch(client_id) is None:
        raise parameter("orderLinkId invalid")
    reduce_only = row.get("reduceOnly") is True
    if len(market.open_orders) >= MAX_OPEN_ORDERS:
        raise Refusal(110020, "You can't have more than 500 active orders.")
    at_market = kind == "Market"
    price = parse_market(market, side) if at_market else parse_price(row, market, side)
    lots = parse_lots(row.get("qty"), instrument)
    if not reduce_only and value_of(instrument, price, lots) < instrument.min_notional:
        raise Refusal(110094, "Order does not meet minimum order value")
    return Ticket(
        instrument=instrument,
        side=side,
        price_ticks=price,
        qty_lots=lots,
        client_id=client_id,
        market=at_market,
        post_only=time_in_force == "PostOnly",
        reduce_only=reduce_only,
        time_in_force=TimeInForce.IOC if time_in_force in ("IOC", "FOK") else TimeInForce.GTC,
        extra={"timeInForce": time_in_force, "smpType": str(row.get("smpType") or "None")},
    )


def parse_amendment(row: Json, order: Order, market: Market) -> tuple[int, int]:
    """New price and total quantity, in ticks and lots. Raises Refusal."""
    price, qty = order.price_ticks, order.qty_lots
    if row.get("price"):
        price = parse_price(row, market, order.side)
    if row.get("qty"):
        qty = parse_lots(row["qty"], order.instrument)
    if (price, qty) == (order.price_ticks, order.qty_lots):
        raise Refusal(
            10001, "The order remains unchanged as the parameters entered match the existing ones."
        )
    return price, qty


def value_of(instrument: Instrument, ticks: int, lots: int) -> Decimal:
    return instrument.notional(Ticks(ticks), Lots(lots))


def parse_side(row: Json) -> Side:
    match row.get("side"):
        case "Buy":
            return Side.BUY
        case "Sell":
            return Side.SELL
    raise Refusal(10001, "Side invalid")


def number(value: Any, name: str) -> Decimal:
    text = str(value or "")
    if NUMBER.fullmatch(text) is None:
        raise parameter(f"{name} invalid")
    return Decimal(text)


def parse_lots(value: Any, instrument: Instrument) -> int:
    lots = number(value, "qty") / instrument.lot_size
    if lots != int(lots) or lots < instrument.min_qty:
        raise Refusal(10001, "Qty invalid")
    return int(lots)


def parse_price(row: Json, market: Market, side: Side) -> int:
    instrument = market.instrument
    price = number(row.get("price"), "price")
    ticks = price / instrument.tick_size
    if price <= 0 or ticks != int(ticks):
        raise parameter("price invalid")
    if mark2 := market.holding.mark2:
        mark = Decimal(mark2) * HALF * instrument.tick_size
        if side is Side.BUY and price > mark * (1 + PRICE_BAND):
            raise Refusal(110121, "Order price exceeds the upper price limit.")
        if side is Side.SELL and price < mark * (1 - PRICE_BAND):
            raise Refusal(110120, "Order price is below the lower price limit.")
    return int(ticks)


def parse_market(market: Market, side: Side) -> int:
    price = market_price(market, side)
    if price is None:
        raise Refusal(110003, "Order price exceeds the allowable range.")
    return price
