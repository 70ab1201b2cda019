"""What an order at the Binance loopback venue says, checked by the venue's filters: which refusal, with which code.

Where this is simpler than the venue: GTC, IOC and GTX orders, LIMIT and MARKET; see also `loopback.desk`.
"""

from __future__ import annotations

import re
from decimal import Decimal

from marketmaker.errors import (
    DuplicateClientOrderId,
    FilterViolation,
    InsufficientMargin,
    OrderNotFound,
    PostOnlyWouldCross,
    ReduceOnlyRefused,
    VenueError,
)
from marketmaker.loopback.binance.shapes import (
    MAX_OPEN_ORDERS,
    MAX_PRICE,
    PRICE_BAND,
    WireError,
    max_qty,
    price_decimals,
)
from marketmaker.loopback.desk import Order, Ticket, market_price
from marketmaker.loopback.figures import decimals
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.order import Side, TimeInForce
from marketmaker.sim.account import HALF
from marketmaker.sim.market import Market

MODIFY_MAX = 10_000
CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
NUMBER = re.compile(r"([0-9]{1,20})(\.[0-9]{1,20})?")
CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
SELF_TRADE_MODES = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
POST_ONLY = (
    -5022,
    "Due to the order could not be executed as maker, the Post Only order will be rejected."
    " The order will not be recorded in the order history",
)
REFUSALS: dict[type[VenueError], tuple[int, str]] = {
    PostOnlyWouldCross: POST_ONLY,
    ReduceOnlyRefused: (-2022, "ReduceOnly Order is rejected."),
    InsufficientMargin: (-2019, "Margin is insufficient."),
    DuplicateClientOrderId: (-4116, "ClientOrderId is duplicated."),
    FilterViolation: (-1013, "Filter failure."),
    OrderNotFound: (-2011, "Unknown order sent."),
}
Params = dict[str, str]


def parse_ticket(params: Params, market: Market, *, hedge_mode: bool) -> Ticket:
    """Raises WireError."""
    instrument = market.instrument
    side = parse_side(params)
    kind = parse_kind(params)
    time_in_force = parse_time_in_force(params, kind)
    reduce_only = params.get("reduceOnly", "false").lower() == "true"
    qty_lots = parse_qty(params, instrument)
    if kind == "MARKET":
        price_ticks = parse_market_price(market, side)
    else:
        price_ticks = parse_price(params, market)
    if not reduce_only:
        check_notional(instrument, price_ticks, qty_lots)
    client_id = params.get("newClientOrderId", "")
    if client_id and CLIENT_ID.fullmatch(client_id) is None:
        raise WireError(-4015, "Client order id is not valid.")
    if params.get("positionSide", "BOTH") != "BOTH" or hedge_mode:
        raise WireError(-4061, "Order's position side does not match user's setting.")
    self_trade = params.get("selfTradePreventionMode", "EXPIRE_MAKER")
    if self_trade not in SELF_TRADE_MODES:
        raise WireError(-1130, "Data sent for parameter 'selfTradePreventionMode' is not valid.")
    if len(market.open_orders) >= MAX_OPEN_ORDERS:
        raise WireError(-2025, "Reach max open order limit.")
    return Ticket(
        instrument=instrument,
        side=side,
        price_ticks=price_ticks,
        qty_lots=qty_lots,
        client_id=client_id,
        market=kind == "MARKET",
        post_only=time_in_force == "GTX",
        reduce_only=reduce_only,
        time_in_force=TimeInForce.IOC if time_in_force == "IOC" else TimeInForce.GTC,
        expire_own=self_trade != "EXPIRE_TAKER",
        extra={"timeInForce": time_in_force, "selfTradePreventionMode": self_trade},
    )


def parse_amendment(params: Params, order: Order, market: Market) -> tuple[int, int]:
    """Price and total quantity, in ticks and lots; see the venue's rules for amendments. Raises WireError."""
    if parse_side(params) is not order.side:
        raise malformed("side")
    qty_lots = parse_qty(params, order.instrument)
    price_ticks = parse_price(params, market)
    if not order.reduce_only:
        check_notional(order.instrument, price_ticks, qty_lots)
    if (price_ticks, qty_lots) == (order.price_ticks, order.qty_lots):
        raise WireError(-5027, "No need to modify the order.")
    if order.modified >= MODIFY_MAX:
        raise WireError(-5026, "Exceed maximum modify order limit.")
    return price_ticks, qty_lots


def refused(error: VenueError) -> WireError:
    """What the desk would not do, in the venue's words."""
    return WireError(*REFUSALS[type(error)])


def parse_market_price(market: Market, side: Side) -> int:
    price = market_price(market, side)
    if price is None:
        raise WireError(
            -4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."
        )
    return price


def need(params: Params, name: str) -> str:
    value = params.get(name, "")
    if not value:
        raise malformed(name)
    return value


def malformed(name: str) -> WireError:
    return WireError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def whole(params: Params, name: str) -> int:
    text = need(params, name)
    if not (text.isascii() and text.lstrip("-").isdigit()):
        raise WireError(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.",
        )
    return int(text)


def number(params: Params, name: str) -> Decimal:
    text = need(params, name)
    if NUMBER.fullmatch(text) is None:
        raise WireError(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^{NUMBER.pattern}$'.",
        )
    return Decimal(text)


def parse_side(params: Params) -> Side:
    match need(params, "side"):
        case "BUY":
            return Side.BUY
        case "SELL":
            return Side.SELL
    raise WireError(-1117, "Invalid side.")


def parse_kind(params: Params) -> str:
    kind = need(params, "type")
    if kind in CONDITIONAL:
        raise WireError(
            -4120,
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
        )
    if kind not in ("LIMIT", "MARKET"):
        raise WireError(-1116, "Invalid orderType.")
    return kind


def parse_time_in_force(params: Params, kind: str) -> str:
    if kind == "MARKET":
        return "IOC"
    time_in_force = need(params, "timeInForce")
    if time_in_force not in ("GTC", "IOC", "GTX"):
        raise WireError(-1115, "Invalid timeInForce.")
    return time_in_force


def parse_qty(params: Params, instrument: Instrument) -> int:
    qty = number(params, "quantity")
    if qty <= 0:
        raise WireError(-4003, "Quantity less than or equal to zero.")
    if decimals(qty) > decimals(instrument.lot_size):
        raise WireError(-1111, "Precision is over the maximum defined for this asset.")
    if qty > max_qty(instrument):
        raise WireError(-4005, "Quantity greater than max quantity.")
    lots = qty / instrument.lot_size
    if lots != int(lots):
        raise WireError(-4023, "Qty not increased by step size.")
    if lots < instrument.min_qty:
        raise WireError(-4004, "Quantity less than min quantity.")
    return int(lots)


def parse_price(params: Params, market: Market) -> int:
    instrument = market.instrument
    price = number(params, "price")
    if price <= 0:
        raise WireError(-4001, "Price less than 0.")
    if decimals(price) > price_decimals(instrument):
        raise WireError(-1111, "Precision is over the maximum defined for this asset.")
    if price > MAX_PRICE:
        raise WireError(-4002, "Price greater than max price.")
    ticks = price / instrument.tick_size
    if ticks != int(ticks):
        raise WireError(-4014, "Price not increased by tick size.")
    if mark2 := market.holding.mark2:
        mark = Decimal(mark2) * HALF * instrument.tick_size
        top, bottom = mark * (1 + PRICE_BAND), mark * (1 - PRICE_BAND)
        places = decimals(instrument.tick_size)
        if params.get("side") == "BUY" and price > top:
            raise WireError(-4016, f"Limit price can't be higher than {top:.{places}f}.")
        if params.get("side") == "SELL" and price < bottom:
            raise WireError(-4024, f"Limit price can't be lower than {bottom:.{places}f}.")
    return int(ticks)


def check_notional(instrument: Instrument, price_ticks: int, qty_lots: int) -> None:
    if instrument.notional(Ticks(price_ticks), Lots(qty_lots)) < instrument.min_notional:
        raise WireError(
            -4164,
            f"Order's notional must be no smaller than {instrument.min_notional:f}"
            " (unless you choose reduce only).",
        )
