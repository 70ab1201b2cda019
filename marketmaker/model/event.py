"""Everything that may enter the core. Each event carries its own time; the core has no other clock.

`ts_ns` is our clock (Unix ns) when the event was seen here. Events are facts, in the past tense.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from marketmaker.model.account import VenueSnapshot
from marketmaker.model.instrument import Ticks
from marketmaker.model.order import ClientOrderId, OrderReport
from marketmaker.model.settings import GridSettings


class Refusal(Enum):
    """Why an order was not placed, or a cancel not taken, when it is known that the venue did not do it."""

    NOT_SENT = "not_sent"
    WITHDRAWN = "withdrawn"
    POST_ONLY = "post_only"
    REDUCE_ONLY = "reduce_only"
    INSUFFICIENT_MARGIN = "insufficient_margin"
    FILTER = "filter"
    DUPLICATE_ID = "duplicate_id"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    CLOCK_SKEW = "clock_skew"
    POSITION_MODE = "position_mode"
    AUTHENTICATION = "authentication"
    ORDER_NOT_FOUND = "order_not_found"
    OTHER = "other"


class Gate(Enum):
    """Who keeps the grid from opening: entries wait while any of these is shut. Exits and cancels never do, but for
    HELD: the operator wants no order at all, and only closing (stop loss, take profit, flatten) goes on."""

    RISK = "risk"
    PAUSED = "paused"
    HELD = "held"
    FEED = "feed"
    LIMITS = "limits"
    FUNDING = "funding"
    DISK = "disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChanged:
    price_ticks: Ticks
    ts_venue_ns: int
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReported:
    """The venue told us about one order of ours, or answered about it."""

    report: OrderReport
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceRefused:
    """A placement is known not to have happened."""

    client_order_id: ClientOrderId
    refusal: Refusal
    message: str
    retry_after_s: float | None
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceUnanswered:
    """A placement was sent and nobody knows what became of it."""

    client_order_id: ClientOrderId
    message: str
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRefused:
    client_order_id: ClientOrderId
    refusal: Refusal
    message: str
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelUnanswered:
    client_order_id: ClientOrderId
    message: str
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderMissing:
    """Asked about one order of ours by its id, the venue said that it does not know it."""

    client_order_id: ClientOrderId
    ts_asked_ns: int
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderQueryFailed:
    """Asked about one order of ours, no usable answer came: nothing is known, ask again later."""

    client_order_id: ClientOrderId
    message: str
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotTaken:
    snapshot: VenueSnapshot
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStreamLost:
    """The private stream cannot be trusted: nothing is placed until the next snapshot after its return."""

    reason: str
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStreamRestored:
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GateShut:
    gate: Gate
    reason: str
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOpened:
    gate: Gate
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingBooked:
    """A funding payment; `amount` in quote currency, positive was paid to us."""

    payment_id: str
    amount: Decimal
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupDue:
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired:
    """The time the core asked for (`wake_at_ns`) has come."""

    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlattenRequested:
    """Close the whole position of this grid and stay out until restarted, or until the PAUSED gate opens."""

    reason: str
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChanged:
    """The operator wants another grid on the same levels: side, spacing, interval and anchor are as they were."""

    settings: GridSettings
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """No new order from here on; cancel what is open."""

    reason: str
    ts_ns: int


Event = (
    PriceChanged
    | OrderReported
    | PlaceRefused
    | PlaceUnanswered
    | CancelRefused
    | CancelUnanswered
    | OrderMissing
    | OrderQueryFailed
    | SnapshotTaken
    | OrderStreamLost
    | OrderStreamRestored
    | GateShut
    | GateOpened
    | FundingBooked
    | CleanupDue
    | TimerFired
    | FlattenRequested
    | SettingsChanged
    | StopRequested
)
