"""What an order or an amendment says at OKX, checked as the venue checks it."""

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
from marketmaker.loopback.okx.shapes import LOT_CONTRACTS
from marketmaker.loopback.stage import Json
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import Side, TimeInForce
from marketmaker.sim.account import HALF
from marketmaker.sim.market import Market

NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?")
CLIENT_ID = re.compile(r"[A-Za-z0-9]{1,32}")
TAG = re.compile(r"[A-Za-z0-9]{0,16}")
ORDER_TYPES = ("limit", "post_only", "ioc", "fok", "market", "optimal_limit_ioc")
MAX_OPEN_ORDERS = 500
PRICE_BAND = Decimal("0.05")


class Refusal(Exception):
    """One order refused, or one request: `code` and what it says."""

    def __init__(self, code: int, text: str, *, status: int = 200) -> None:
        super().__init__(text)
        self.code = str(code)
        self.text = text
        self.status = status


REFUSALS: dict[type[VenueError], tuple[int, str]] = {
    PostOnlyWouldCross: (51511, "Post-only order would be filled immediately"),
    InsufficientMargin: (51008, "Order failed. Insufficient USDT margin in account"),
    ReduceOnlyRefused: (
        51169,
        "Order failed because you don't have any positions in this direction to reduce or close.",
    ),
    DuplicateClientOrderId: (51016, "Client order ID already exists."),
    FilterViolation: (51121, "Order quantity must be a multiple of the lot size."),
    OrderNotFound: (
        51400,
        "Cancellation failed as the order has been filled, canceled or does not exist.",
    ),
    Rejected: (51000, "Parameter error"),
}


def refused(error: VenueError) -> Refusal:
    """What the desk would not do, in the venue's words."""
    return Refusal(*REFUSALS.get(type(error), REFUSALS[Rejected]))


def parameter(name: str) -> Refusal:
    return Refusal(51000, f"Parameter {name} error")


def parse_ticket(row: Json, market: Market, *, hedge_mode: bool) -> Ticket:
    """Raises Refusal."""
    instrument = market.instrument
    side = parse_side(row)
    kind = str(row.get("ordType", ""))
    if kind not in ORDER_TYPES:
        raise parameter("ordType")
    if row.get("tdMode") not in ("cross", "isolated"):
        raise parameter("tdMode")
    position_side = row.get("posSide") or "net"
    if hedge_mode or position_side != "net":
        raise Refusal(51000, "Parameter posSide error")
    client_id, tag = str(row.get("clOrdId") or ""), str(row.get("tag") or "")
    if client_id and CLIENT_ID.fullmatch(client_id) is None:
        raise parameter("clOrdId")
    if TAG.fullmatch(tag) is None:
        raise parameter("tag")
    if len(market.open_orders) >= MAX_OPEN_ORDERS:
        raise Refusal(51174, "The number of pending orders reached the upper limit of 500.")
    takes_market = kind in ("market", "optimal_limit_ioc")
    return Ticket(
        instrument=instrument,
        side=side,
        price_ticks=at_market(market, side) if takes_market else parse_price(row, market, side),
        qty_lots=parse_lots(row.get("sz"), instrument),
        client_id=client_id,
        market=takes_market,
        post_only=kind == "post_only",
        reduce_only=row.get("reduceOnly") in (True, "true"),
        time_in_force=TimeInForce.IOC if kind in ("ioc", "fok") else TimeInForce.GTC,
        extra={"ordType": kind, "tag": tag, "tdMode": str(row["tdMode"])},
    )


def parse_amendment(row: Json, order: Order, market: Market) -> tuple[int, int]:
    """New price and new total quantity, in ticks and lots. Raises Refusal."""
    price, qty = order.price_ticks, order.qty_lots
    if not (row.get("newPx") or row.get("newSz")):
        raise Refusal(50014, "Parameter newSz or newPx can not be empty.")
    if row.get("newPx"):
        price = parse_price({"px": row["newPx"]}, market, order.side)
    if row.get("newSz"):
        qty = parse_lots(row["newSz"], order.instrument)
    if "reqId" in row:
        order.extra["reqId"] = str(row["reqId"])
    return price, qty


def parse_side(row: Json) -> Side:
    match row.get("side"):
        case "buy":
            return Side.BUY
        case "sell":
            return Side.SELL
    raise parameter("side")


def number(value: Any, name: str) -> Decimal:
    text = str(value or "")
    if NUMBER.fullmatch(text) is None:
        raise parameter(name)
    return Decimal(text)


def parse_lots(value: Any, instrument: Instrument) -> int:
    lots = number(value, "sz") / LOT_CONTRACTS
    if lots <= 0:
        raise parameter("sz")
    if lots != int(lots):
        raise Refusal(51121, "Order quantity must be a multiple of the lot size.")
    if lots < instrument.min_qty:
        raise Refusal(51020, "Your order should meet or exceed the minimum order amount.")
    return int(lots)


def parse_price(row: Json, market: Market, side: Side) -> int:
    instrument = market.instrument
    price = number(row.get("px"), "px")
    ticks = price / instrument.tick_size
    if price <= 0 or ticks != int(ticks):
        raise parameter("px")
    if mark2 := market.holding.mark2:
        mark = Decimal(mark2) * HALF * instrument.tick_size
        top, bottom = mark * (1 + PRICE_BAND), mark * (1 - PRICE_BAND)
        if side is Side.BUY and price > top:
            raise Refusal(51137, f"The highest price limit for buy orders is {top:f}.")
        if side is Side.SELL and price < bottom:
            raise Refusal(51138, f"The lowest price limit for sell orders is {bottom:f}.")
    return int(ticks)


def at_market(market: Market, side: Side) -> int:
    price = market_price(market, side)
    if price is None:
        raise Refusal(51006, "Order price is not within the price limit")
    return price
