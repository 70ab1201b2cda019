"""One slot: FREE, PENDING or LOCKED, at most one order, and what it holds.

    FREE     no order
    PENDING  an order was handed out and nothing trustworthy has come back yet
    LOCKED   the venue has the order

The table answers every (state, heard) pair with the next state, or with a verdict that leaves the slot as it is:
LATE (old news, count it), RESYNC (ask the venue) or BROKEN (our own bug). What is heard is heard about the slot's
current order: news of an earlier order is told apart by its client order id before the table is asked.

The awkward spot: a venue may tell by stream that an order was filled before it answers the placement, so PENDING
must take every ending; and a refusal that arrives for an order the stream has already shown open cannot be believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from marketmaker.errors import InvariantBroken
from marketmaker.model.instrument import Lots, Ticks
from marketmaker.model.order import ClientOrderId, OrderRef, Side


class SlotState(Enum):
    """There is one of each, so the hash may be that of any object: a look into the table then costs no Python code."""

    __hash__ = object.__hash__

    FREE = "free"
    PENDING = "pending"
    LOCKED = "locked"


class Heard(Enum):
    __hash__ = object.__hash__

    SENT = "sent"
    ACCEPTED = "accepted"
    PART_FILLED = "part_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class Verdict(Enum):
    LATE = "late"
    RESYNC = "resync"
    BROKEN = "broken"


FREE: Final = SlotState.FREE
PENDING: Final = SlotState.PENDING
LOCKED: Final = SlotState.LOCKED
LATE: Final = Verdict.LATE
RESYNC: Final = Verdict.RESYNC
BROKEN: Final = Verdict.BROKEN

TRANSITIONS: dict[tuple[SlotState, Heard], SlotState | Verdict] = {
    (FREE, Heard.SENT): PENDING,
    (FREE, Heard.ACCEPTED): RESYNC,
    (FREE, Heard.PART_FILLED): RESYNC,
    (FREE, Heard.FILLED): RESYNC,
    (FREE, Heard.CANCELLED): LATE,
    (FREE, Heard.REJECTED): LATE,
    (FREE, Heard.UNKNOWN): LATE,
    (PENDING, Heard.SENT): BROKEN,
    (PENDING, Heard.ACCEPTED): LOCKED,
    (PENDING, Heard.PART_FILLED): LOCKED,
    (PENDING, Heard.FILLED): FREE,
    (PENDING, Heard.CANCELLED): FREE,
    (PENDING, Heard.REJECTED): FREE,
    (PENDING, Heard.UNKNOWN): PENDING,
    (LOCKED, Heard.SENT): BROKEN,
    (LOCKED, Heard.ACCEPTED): LATE,
    (LOCKED, Heard.PART_FILLED): LOCKED,
    (LOCKED, Heard.FILLED): FREE,
    (LOCKED, Heard.CANCELLED): FREE,
    (LOCKED, Heard.REJECTED): RESYNC,
    (LOCKED, Heard.UNKNOWN): LATE,
}

OUTCOMES: Final = {
    state: {heard: TRANSITIONS[state, heard] for heard in Heard} for state in SlotState
}
"""The same table, looked into twice instead of by a pair that has to be made and hashed first."""


NO_TRADES: Final[frozenset[str]] = frozenset()
"""Most orders never have one, and each set is as large as the rest of an order."""


@dataclass(slots=True, kw_only=True)
class LiveOrder:
    """An order of ours and everything booked on it. `is_exit`: it gives inventory back.

    `booked_lots` is the largest filled quantity anybody told us of; `booked_value` what it was booked for (quanta).
    `trade_lots` / `trade_value` add up the trades we know by id: once they reach the booked quantity their exact
    value replaces the assumed one.
    """

    client_order_id: ClientOrderId
    side: Side
    is_exit: bool
    post_only: bool
    closes: bool = False
    """Part of giving everything back after a stop loss, a take profit or a flatten."""
    recovered: bool = False
    """Placed by an earlier process and no slot's order: what is booked on it belongs to the time before."""
    covered_ns: int = 0
    """Trades up to this venue's time are in what was booked when the order was taken in."""
    price_ticks: Ticks
    qty_lots: Lots
    ts_sent_ns: int
    venue_order_id: str = ""
    ts_accepted_ns: int = 0
    ts_ended_ns: int = 0
    ts_changed_ns: int = 0
    booked_lots: int = 0
    booked_value: int = 0
    trade_lots: int = 0
    trade_value: int = 0
    trade_ids: frozenset[str] | set[str] = NO_TRADES
    cancel_asked_ns: int = 0
    unanswered_ns: int = 0
    """When it became known that the placement's own answer will never come."""
    missing: int = 0
    gone_ns: int = 0
    """When a LOCKED order could twice not be found; a snapshot asked for later settles it."""
    presumed_dead: bool = False
    """Ended because nobody knew it any more, not because the venue said so."""

    @property
    def sign(self) -> int:
        """Of the slot it is for."""
        return -self.side if self.is_exit else self.side

    @property
    def leaves_lots(self) -> int:
        return self.qty_lots - self.booked_lots

    @property
    def reference(self) -> OrderRef:
        return OrderRef(client_order_id=self.client_order_id, venue_order_id=self.venue_order_id)


@dataclass(slots=True, kw_only=True)
class Slot:
    """A level's record. `held_lots` and `cost` are counted in the slot's own direction (a short holds positive lots).

    `post_only_rejects` and `refusals` count in a row. No order is placed before `retry_at_ns`. `strict_beyond`: under
    `post_only: strict`, the price (in the ladder's own direction) that must be left behind before the next attempt.
    """

    index: int
    sign: int
    state: SlotState = FREE
    order: LiveOrder | None = None
    held_lots: int = 0
    cost: int = 0
    sellable: bool = False
    post_only_rejects: int = 0
    refusals: int = 0
    retry_at_ns: int = 0
    retry_reason: str = ""
    strict_beyond: int | None = None
    rung: int = field(init=False)
    """`index` in the slot's own direction: the higher, the sooner its inventory is given back."""

    def __post_init__(self) -> None:
        self.rung = self.index if self.sign > 0 else -self.index

    def hear(self, heard: Heard) -> SlotState | Verdict:
        """Move to the next state and return it, or return the verdict and stay. Raises InvariantBroken for BROKEN."""
        outcome = OUTCOMES[self.state][heard]
        if outcome is LATE or outcome is RESYNC:
            return outcome
        if outcome is BROKEN:
            raise InvariantBroken(f"slot {self.index} heard {heard.value} while {self.state.value}")
        self.state = outcome
        return outcome
