"""Orders, what venues report of them, and trades."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Final, NamedTuple

from marketmaker.model.instrument import Lots, Ticks


class Side(IntEnum):
    """The value is the sign of the position change."""

    BUY = 1
    SELL = -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class TimeInForce(Enum):
    GTC = "gtc"
    IOC = "ioc"


class OrderStatus(Enum):
    """What the venue says of an order now. OPEN may be partly filled; the last three are final."""

    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class EndReason(Enum):
    """Why a venue ended an order that was not filled."""

    __hash__ = object.__hash__

    REQUESTED = "requested"
    POST_ONLY = "post_only"
    REDUCE_ONLY = "reduce_only"
    INSUFFICIENT_MARGIN = "insufficient_margin"
    SELF_TRADE = "self_trade"
    IOC = "ioc"
    LIQUIDATION = "liquidation"
    EXPIRED = "expired"
    VENUE = "venue"


class ClientOrderId(NamedTuple):
    """Names one order of ours for ever: which slot it serves, which way, and the how-manieth it is.

    The bot tag is not here: a codec (`model.client_order_id`) adds it on the wire and refuses ids of others.
    """

    slot: int
    side: Side
    sequence: int


NEW_TUPLE: Final = tuple.__new__


def name_order(slot: int, side: Side, sequence: int) -> ClientOrderId:
    """The same as `ClientOrderId(...)` in half the time: a named tuple's own `__new__` is interpreted code."""
    return NEW_TUPLE(ClientOrderId, (slot, side, sequence))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """A limit order to be placed. `qty_lots` > 0; `price_ticks` > 0."""

    client_order_id: ClientOrderId
    side: Side
    price_ticks: Ticks
    qty_lots: Lots
    post_only: bool
    reduce_only: bool
    time_in_force: TimeInForce = TimeInForce.GTC


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRef:
    """Enough to name an existing order of ours to the venue; `venue_order_id` is "" while unknown."""

    client_order_id: ClientOrderId
    venue_order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One trade of ours. `fee` in quote currency, positive is paid. `client_order_id` None: not our order."""

    trade_id: str
    client_order_id: ClientOrderId | None
    venue_order_id: str
    side: Side
    price_ticks: Ticks
    qty_lots: Lots
    fee: Decimal
    is_maker: bool
    ts_venue_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReport:
    """What the venue says of one order: by stream, answer, query or snapshot, all in this one shape.

    `filled_lots` is cumulative. `fill` is the trade this report tells of, when it tells of one.
    `client_order_id` is None for an order that is not ours.
    """

    client_order_id: ClientOrderId | None
    venue_order_id: str
    side: Side
    price_ticks: Ticks
    qty_lots: Lots
    filled_lots: Lots
    status: OrderStatus
    reduce_only: bool = False
    fill: Fill | None = None
    end_reason: EndReason | None = None
    ts_venue_ns: int = 0
