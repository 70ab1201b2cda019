"""What the daemon tells its ledger: taken into a queue at once, of which the ledger makes rows later."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from marketmaker.ledger.taken import (
    Taken,
    Values,
    booking_values,
    ended_values,
    equity_values,
    funding_values,
    gap_values,
    instrument_values,
    placed_values,
    position_values,
    quoting_values,
    trade_values,
)
from marketmaker.model.action import Action, PlaceOrder, RecordFill, RecordOrderEnd
from marketmaker.model.equity import EquityReading
from marketmaker.model.event import Event, FundingBooked, OrderReported, SnapshotTaken
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import Fill

MAX_WAITING_ROWS = 200_000
QUOTING_INTERVAL_NS = 10 * 1_000_000_000
UNKNOWN_TRADE = "~"
"""Begins the trade id of a booking whose trade is not known; no venue's id begins so."""


@dataclass(slots=True)
class Quoting:
    """The state of one instrument's quoting since `since_ns`; `told_ns` is what the ledger knows of its length."""

    state: tuple[bool, bool, str]
    since_ns: int
    told_ns: int


class Intake:
    """Rows to be, oldest first, in `waiting`; each has a number in its book, the next is `next_number`.

    Beyond `MAX_WAITING_ROWS` rows are lost: `lost_rows` in all, `gap_rows` of them since a gap was last noted, and
    `gap_since_ns` has, by instrument, the venue's time of the first trade among those.
    """

    def __init__(self) -> None:
        self.waiting: deque[Taken] = deque()
        self.next_number = 1
        self.lost_rows = 0
        self.gap_rows = 0
        self.gap_since_ns: dict[str, int] = {}
        self._quoting: dict[str, Quoting] = {}

    def note(self, instrument: Instrument, event: Event, actions: Sequence[Action]) -> None:
        """What one event told of our orders, and what was decided on it."""
        match event:
            case OrderReported() if event.report.fill is not None:
                self.record_trade(instrument, event.report.fill)
            case SnapshotTaken():
                for fill in event.snapshot.fills:
                    self.record_trade(instrument, fill)
            case FundingBooked():
                self._take("funding", funding_values, instrument, event)
        for action in actions:
            match action:
                case PlaceOrder():
                    # A client order id that is used again (the short forms wrap) tells of its last order only.
                    self._take(
                        "placed",
                        placed_values,
                        instrument,
                        action.order,
                        action.reason,
                        event.ts_ns,
                    )
                case RecordFill():
                    self._record_booking(instrument, action)
                case RecordOrderEnd():
                    self._take("ended", ended_values, instrument, action)

    def record_instrument(self, instrument: Instrument) -> None:
        self._take("instrument", instrument_values, instrument)

    def record_trade(self, instrument: Instrument, fill: Fill) -> None:
        """A trade as the venue tells it. One that is not ours is left out."""
        name = fill.client_order_id
        if name is not None:
            self._take("trade", trade_values, instrument, fill, name)

    def _record_booking(self, instrument: Instrument, fill: RecordFill) -> None:
        """What a slot made of a trade, or of a quantity whose trade is not known yet (`~` and a number)."""
        trade_id = fill.trade_id or f"{UNKNOWN_TRADE}{self.next_number}"
        self._take("booking", booking_values, instrument, fill, trade_id)

    def record_equity(self, reading: EquityReading) -> None:
        self._take("equity", equity_values, reading)
        for row in reading.symbols:
            self._take("position", position_values, row, reading.ts_ns)

    def record_quoting(
        self, instrument: str, *, bids: bool, asks: bool, why: str, ts_ns: int
    ) -> None:
        """Which sides are quoted now, and why entries are not (""): to be told often, written when it changes.

        An interval that goes on is made known every 10 s, so that a crash ends it there.
        """
        state = (bids, asks, why)
        known = self._quoting.get(instrument)
        if known is None or known.state != state:
            if known is not None:
                self._take_quoting(instrument, known, ts_ns)
            known = self._quoting[instrument] = Quoting(state, ts_ns, ts_ns)
            self._take_quoting(instrument, known, ts_ns)
        elif ts_ns - known.told_ns >= QUOTING_INTERVAL_NS:
            self._take_quoting(instrument, known, ts_ns)

    def end_quoting(self, ts_ns: int) -> None:
        for instrument, known in self._quoting.items():
            self._take_quoting(instrument, known, ts_ns)
        self._quoting.clear()

    def record_gap(self) -> None:
        """That rows were lost, and how many."""
        lost, self.gap_rows = self.gap_rows, 0
        self._take("gap", gap_values, lost)

    def _take_quoting(self, instrument: str, known: Quoting, until_ns: int) -> None:
        known.told_ns = until_ns
        self._take("quoting", quoting_values, instrument, known.since_ns, until_ns, known.state)

    def _take(self, kind: str, make: Callable[..., Values], *subject: Any) -> None:
        if len(self.waiting) >= MAX_WAITING_ROWS:
            self._lose(kind, subject)
            return
        number = self.next_number
        if kind != "instrument":
            self.next_number = number + 1
        self.waiting.append(Taken(kind, number, make, subject))

    def _lose(self, kind: str, subject: tuple[Any, ...]) -> None:
        self.lost_rows += 1
        self.gap_rows += 1
        if kind == "trade":
            instrument, fill, _ = subject
            name, ts_ns = instrument.name, fill.ts_venue_ns
            self.gap_since_ns[name] = min(ts_ns, self.gap_since_ns.get(name, ts_ns))
