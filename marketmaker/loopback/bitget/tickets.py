"""What an order says at Bitget, in the words of either generation, checked as the venue checks it; and its refusals."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from marketmaker.errors import (
    DuplicateClientOrderId,
    FilterViolation,
    InsufficientMargin,
    OrderNotFound,
    ReduceOnlyRefused,
    VenueError,
)
from marketmaker.loopback.desk import Ticket, market_price
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.order import Side, TimeInForce
from marketmaker.sim.account import HALF
from marketmaker.sim.market import Market

Account = Literal["unified", "classic"]

NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?")
CLIENT_ID = re.compile(r"[A-Za-z0-9_:#\-+ ]{1,50}")
FORCES = ("gtc", "ioc", "fok", "post_only")
STP_MODES = ("none", "cancel_taker", "cancel_maker", "cancel_both")
MAX_OPEN_ORDERS = 400
PRICE_BAND = Decimal("0.05")

WORDS: dict[str, tuple[str, str, str]] = {
    "parameter": ("40017", "400172", "Parameter verification failed"),
    "symbol": ("40034", "25200", "Parameter does not exist"),
    "client id": ("40305", "25200", "clientOid length is not greater than 50"),
    "mode": (
        "40774",
        "400172",
        "The order type for unilateral position must also be the unilateral position type.",
    ),
    "margin": ("40762", "25202", "The order amount exceeds the balance"),
    "duplicate": ("40786", "25212", "Duplicate clientOid"),
    "not there": ("40768", "25204", "Order does not exist"),
    "reduce": ("22002", "25601", "No position to close"),
    "tick": ("45115", "25244", "The price should be a multiple of the step"),
    "price": ("40815", "25206", "The order price is higher or lower than the limit"),
    "lot": ("45111", "25208", "The quantity is not a multiple of the step"),
    "least": ("43027", "25207", "The minimum order quantity is not reached"),
    "value": ("45110", "25610", "less than the minimum amount 5 USDT"),
    "too many": ("40761", "25230", "The total number of unfilled orders is too high"),
}
"""The code of a classic account, that of a unified one, and the text."""
UNIFIED_TEXTS = {"mode": "Illegal position opening type"}
KINDS: dict[type[VenueError], str] = {
    InsufficientMargin: "margin",
    ReduceOnlyRefused: "reduce",
    DuplicateClientOrderId: "duplicate",
    FilterViolation: "lot",
    OrderNotFound: "not there",
}


class Refusal(Exception):
    """One order refused, or one request: `code` and what it says."""

    def __init__(self, code: str, text: str, *, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status


def refuse(kind: str, account: Account) -> Refusal:
    classic, unified, text = WORDS[kind]
    if account == "classic":
        return Refusal(classic, text)
    return Refusal(unified, UNIFIED_TEXTS.get(kind, text))


def refused(error: VenueError, account: Account) -> Refusal:
    """What the desk would not do, in the venue's words."""
    return refuse(KINDS.get(type(error), "parameter"), account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An order as its request puts it. `hedged`: it speaks of one side of a two-way position."""

    side: str
    qty: Any
    price: Any
    kind: str
    force: str
    client_id: str
    reduce_only: bool
    stp_mode: str
    hedged: bool
    extra: dict[str, str] = field(default_factory=dict)


def parse_ticket(
    said: Said, market: Market, open_orders: int, *, hedge_mode: bool, account: Account
) -> Ticket:
    """Raises Refusal."""
    instrument = market.instrument
    if said.hedged or hedge_mode:
        raise refuse("mode", account)
    sides = {"buy": Side.BUY, "sell": Side.SELL}
    force = said.force or "gtc"
    if (
        said.side not in sides
        or said.kind not in ("limit", "market")
        or force not in FORCES
        or said.stp_mode not in STP_MODES
    ):
        raise refuse("parameter", account)
    if said.client_id and CLIENT_ID.fullmatch(said.client_id) is None:
        raise refuse("client id", account)
    if open_orders >= MAX_OPEN_ORDERS:
        raise refuse("too many", account)
    side, at_market = sides[said.side], said.kind == "market"
    price = known(
        parse_market(market, side) if at_market else parse_price(said.price, market, side), account
    )
    lots = known(parse_lots(said.qty, instrument), account)
    value = instrument.notional(Ticks(price), Lots(lots))
    if not said.reduce_only and value < instrument.min_notional:
        raise refuse("value", account)
    return Ticket(
        instrument=instrument,
        side=side,
        price_ticks=price,
        qty_lots=lots,
        client_id=said.client_id,
        market=at_market,
        post_only=force == "post_only",
        reduce_only=said.reduce_only,
        time_in_force=TimeInForce.IOC if force in ("ioc", "fok") else TimeInForce.GTC,
        expire_own=said.stp_mode != "none",
        extra={"force": force, "stpMode": said.stp_mode, **said.extra},
    )


def number(value: Any) -> Decimal | None:
    text = str(value or "")
    return Decimal(text) if NUMBER.fullmatch(text) else None


def parse_lots(value: Any, instrument: Instrument) -> int | str:
    """Or the kind of refusal."""
    qty = number(value)
    if not qty:
        return "parameter"
    lots = qty / instrument.lot_size
    if lots != int(lots):
        return "lot"
    return "least" if lots < instrument.min_qty else int(lots)


def parse_price(value: Any, market: Market, side: Side) -> int | str:
    """Or the kind of refusal."""
    price = number(value)
    if not price:
        return "parameter"
    ticks = price / market.instrument.tick_size
    if ticks != int(ticks):
        return "tick"
    if mark2 := market.holding.mark2:
        mark = Decimal(mark2) * HALF * market.instrument.tick_size
        beyond = price > mark * (1 + PRICE_BAND), price < mark * (1 - PRICE_BAND)
        if beyond[0 if side is Side.BUY else 1]:
            return "price"
    return int(ticks)


def parse_market(market: Market, side: Side) -> int | str:
    """Or the kind of refusal."""
    return market_price(market, side) or "price"


def known(figure: int | str, account: Account) -> int:
    """Raises Refusal for a kind of one."""
    if isinstance(figure, str):
        raise refuse(figure, account)
    return figure
