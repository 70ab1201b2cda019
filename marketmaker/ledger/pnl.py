"""Profit and loss of a period, exact, so that the parts add up to the whole whatever the period.

    grid        what slots realised: each exit against what its slot had paid
    inventory   the rest of what trading made: the held position's change of value, at the venue's mark
    fees        paid > 0
    funding     received > 0
    total       grid + inventory - fees + funding

Trading as a whole needs no matching: money received for sales less money paid, plus what the position is worth at the
end, less what it was worth at the beginning. The position is counted from the trades, from the first reading of the
book on; what was there before enters at its mark then. A mark is the newest reading's before the time asked for, or
the price of the newest trade while there is none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import accumulate
from typing import TypeVar

from marketmaker.ledger.rows import Booking, LedgerTrade, Payment, PositionRow, Records

ZERO = Decimal(0)
UNKNOWN_TRADE = "~"
Line = tuple[int, str]
"""One instrument of one book."""
OrderName = tuple[int, str, int, int, int]
T = TypeVar("T")


@dataclass(slots=True)
class Figures:
    """`volume` in quote currency. `round_trips`: times that a slot came back to holding nothing."""

    trades: int = 0
    buys: int = 0
    sells: int = 0
    maker_trades: int = 0
    orders: int = 0
    round_trips: int = 0
    volume: Decimal = ZERO
    grid: Decimal = ZERO
    inventory: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return self.grid + self.inventory - self.fees + self.funding

    def add(self, other: Figures) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Position:
    """How much of one line was held when, and what it was worth."""

    def __init__(self, trades: Sequence[LedgerTrade], readings: Sequence[PositionRow]) -> None:
        self._trades = trades
        self._trade_times = [trade.ts_venue_ns for trade in trades]
        self._marked = [reading for reading in readings if reading.mark_price]
        self._mark_times = [reading.ts_ns for reading in self._marked]
        self.opening = ZERO
        self.opening_price = ZERO
        if readings:
            first = readings[0]
            self.opening_price = first.mark_price
            known = (t.side * t.qty for t in trades if t.number < first.number)
            self.opening = first.position - sum(known, ZERO)
        self._held = list(accumulate((t.side * t.qty for t in trades), initial=self.opening))
        self._cash = list(accumulate((-t.side * t.price * t.qty for t in trades), initial=ZERO))

    def held(self, ts_ns: int) -> Decimal:
        """Before what happened at `ts_ns` itself."""
        return self._held[bisect_left(self._trade_times, ts_ns)]

    def mark(self, ts_ns: int) -> Decimal:
        marks = bisect_left(self._mark_times, ts_ns)
        if marks:
            return self._marked[marks - 1].mark_price
        trades = bisect_left(self._trade_times, ts_ns)
        return self._trades[trades - 1].price if trades else self.opening_price

    def made(self, from_ns: int, to_ns: int) -> Decimal:
        """What trading and holding made in [from, to), before fees and funding."""
        first = bisect_left(self._trade_times, from_ns)
        last = bisect_left(self._trade_times, to_ns)
        before = self._held[first] * self.mark(from_ns)
        after = self._held[last] * self.mark(to_ns)
        return self._cash[last] - self._cash[first] + after - before


@dataclass(slots=True)
class History:
    """Everything of one line, in order of time."""

    trades: list[LedgerTrade] = field(default_factory=list)
    bookings: list[Booking] = field(default_factory=list)
    readings: list[PositionRow] = field(default_factory=list)
    round_trips_ns: list[int] = field(default_factory=list)
    order_times_ns: list[int] = field(default_factory=list)
    funding: list[Payment] = field(default_factory=list)
    position: Position = field(init=False)

    def finish(self) -> History:
        self.bookings = list(counted(self.bookings, self.trades))
        self.position = Position(self.trades, self.readings)
        self.round_trips_ns = list(round_trips(self.trades))
        return self

    def figures(self, from_ns: int, to_ns: int) -> Figures:
        found = Figures()
        for trade in between(self.trades, from_ns, to_ns, lambda row: row.ts_venue_ns):
            found.trades += 1
            found.buys += trade.side > 0
            found.sells += trade.side < 0
            found.maker_trades += trade.is_maker
            found.volume += trade.price * trade.qty
            found.fees += trade.fee
        for payment in between(self.funding, from_ns, to_ns, lambda row: row.ts_ns):
            found.funding += payment.amount
        for booking in between(self.bookings, from_ns, to_ns, lambda row: row.ts_venue_ns):
            found.grid += booking.realised
        found.round_trips = len(between(self.round_trips_ns, from_ns, to_ns, int))
        found.orders = len(between(self.order_times_ns, from_ns, to_ns, int))
        found.inventory = self.position.made(from_ns, to_ns) - found.grid
        return found


def between(rows: Sequence[T], from_ns: int, to_ns: int, time: Callable[[T], int]) -> Sequence[T]:
    """Those of [from, to), of rows in order of time."""
    return rows[bisect_left(rows, from_ns, key=time) : bisect_left(rows, to_ns, key=time)]


def histories(records: Records) -> dict[Line, History]:
    found: defaultdict[Line, History] = defaultdict(History)
    for trade in records.trades:
        found[trade.book_id, trade.instrument].trades.append(trade)
    for booking in records.bookings:
        found[booking.book_id, booking.instrument].bookings.append(booking)
    for reading in records.positions:
        found[reading.book_id, reading.instrument].readings.append(reading)
    for order in records.orders:
        found[order.book_id, order.instrument].order_times_ns.append(order.ts_sent_ns)
    for payment in records.funding:
        found[payment.book_id, payment.instrument].funding.append(payment)
    return {line: history.finish() for line, history in sorted(found.items())}


def counted(bookings: Iterable[Booking], trades: Iterable[LedgerTrade]) -> Iterable[Booking]:
    """The bookings that count.

    A quantity heard of before its trade is booked without one, and the trade then adds only what differs. After a
    crash in between the trade is booked once more as a whole: where an order's trades were all booked on their own,
    what was booked without a trade does not count beside them.
    """
    traded: defaultdict[OrderName, Decimal] = defaultdict(lambda: ZERO)
    booked: defaultdict[OrderName, Decimal] = defaultdict(lambda: ZERO)
    for trade in trades:
        traded[name_of(trade)] += trade.qty
    bookings = list(bookings)
    for booking in bookings:
        if not booking.trade_id.startswith(UNKNOWN_TRADE):
            booked[name_of(booking)] += booking.qty
    for booking in bookings:
        name = name_of(booking)
        whole = booked[name] > 0 and booked[name] == traded[name]
        if not (whole and booking.trade_id.startswith(UNKNOWN_TRADE)):
            yield booking


def name_of(row: LedgerTrade | Booking) -> OrderName:
    return (row.book_id, row.instrument, row.slot, row.side, row.sequence)


def round_trips(trades: Iterable[LedgerTrade]) -> Iterable[int]:
    """When a slot that held something came back to nothing."""
    held: defaultdict[int, Decimal] = defaultdict(lambda: ZERO)
    for trade in trades:
        before = held[trade.slot]
        held[trade.slot] = after = before + trade.side * trade.qty
        if after == 0 and before != 0:
            yield trade.ts_venue_ns
