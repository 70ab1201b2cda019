"""Everything that may leave the core, each with its reason. The core does not log: these are what gets written down."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from marketmaker.model.instrument import Lots, Quanta, Ticks
from marketmaker.model.order import ClientOrderId, EndReason, NewOrder, OrderRef, Side


class Severity(Enum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOrder:
    order: NewOrder
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    """Cancel an open order; for one still waiting in the executor, take it back unsent."""

    order: OrderRef
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOrder:
    """Ask the venue by client id what became of the order; answer with OrderReported, OrderMissing or OrderQueryFailed."""

    client_order_id: ClientOrderId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSnapshot:
    """Read open orders, position and trades now."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFill:
    """A fill entered the books of a slot.

    `realised` in quanta, before fees; 0 for one that opens. `fee` in quote currency, paid > 0.
    """

    trade_id: str
    client_order_id: ClientOrderId
    side: Side
    price_ticks: Ticks
    qty_lots: Lots
    realised: Quanta
    fee: Decimal
    is_maker: bool
    ts_venue_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOrderEnd:
    """An order's life is over. Times are ours, 0 where it never got that far."""

    client_order_id: ClientOrderId
    venue_order_id: str
    side: Side
    price_ticks: Ticks
    qty_lots: Lots
    filled_lots: Lots
    end: EndReason | None
    detail: str
    ts_sent_ns: int
    ts_accepted_ns: int
    ts_ended_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseAlert:
    severity: Severity
    topic: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """This symbol cannot be traded until the operator acts (wrong position mode, refused credentials)."""

    reason: str


Action = (
    PlaceOrder
    | CancelOrder
    | QueryOrder
    | TakeSnapshot
    | RecordFill
    | RecordOrderEnd
    | RaiseAlert
    | GiveUp
)
