"""A period of a ledger as a report: figures by day or by symbol, equity, quoting, and what there is to remark."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, localcontext

from marketmaker.ledger.lots import Disposal, disposals
from marketmaker.ledger.pnl import Figures, History, Line, histories
from marketmaker.ledger.rows import QuotingRow, Records
from marketmaker.model.equity import EXACT_DIGITS

DAY_NS = 86_400 * 1_000_000_000
GROUPS = ("symbol", "day")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """`key`: a day or an instrument. Money in `currency`."""

    key: str
    currency: str
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityChange:
    """First and last reading of one book in the period; `largest_residual` by size, of all its readings."""

    book: str
    first: Decimal
    last: Decimal
    last_residual: Decimal
    largest_residual: Decimal
    readings: int


@dataclass(slots=True, kw_only=True)
class QuotingTime:
    """How long one instrument was watched, and quoted on both sides, in ns; why it was not, in ns by reason."""

    instrument: str
    watched_ns: int = 0
    both_ns: int = 0
    entries_blocked_ns: int = 0
    reasons_ns: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisposalRow:
    instrument: str
    currency: str
    disposal: Disposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """[from, to) in Unix ns. `totals`: one row per currency. `lots` only when asked for."""

    from_ns: int
    to_ns: int
    by: str
    rows: tuple[ReportRow, ...]
    totals: tuple[ReportRow, ...]
    equity: tuple[EquityChange, ...]
    quoting: tuple[QuotingTime, ...]
    lots: tuple[DisposalRow, ...]
    remarks: tuple[str, ...]


def make_report(
    records: Records,
    *,
    from_ns: int | None = None,
    to_ns: int | None = None,
    by: str = "symbol",
    lots: str = "",
) -> Report:
    """`from_ns` None: from the first row on; `to_ns` None: to the last. `lots`: fifo, average or "" for none."""
    with localcontext(prec=EXACT_DIGITS):
        first_ns, last_ns = extent(records)
        start_ns = first_ns if from_ns is None else from_ns
        end_ns = last_ns + 1 if to_ns is None else to_ns
        found = histories(records)
        names = Names(records)
        return Report(
            from_ns=start_ns,
            to_ns=end_ns,
            by=by,
            rows=tuple(grouped(found, names, by, start_ns, end_ns)),
            totals=tuple(totals(found, names, start_ns, end_ns)),
            equity=tuple(equity_changes(records, names, start_ns, end_ns)),
            quoting=tuple(quoting_times(records, names, start_ns, end_ns)),
            lots=tuple(disposal_rows(found, names, lots, start_ns, end_ns)) if lots else (),
            remarks=tuple(remarks(records, found, names)),
        )


class Names:
    """How books and lines are called; an instrument's name alone where only one book has it."""

    def __init__(self, records: Records) -> None:
        self.books = {
            book.id: "/".join(part for part in (book.venue, book.account, book.bot_tag) if part)
            for book in records.books
        }
        self._currency = {(i.book_id, i.instrument): i.quote for i in records.instruments}

    def line(self, line: Line) -> str:
        book_id, instrument = line
        return instrument if len(self.books) < 2 else f"{instrument} ({self.books[book_id]})"

    def currency(self, line: Line) -> str:
        return self._currency.get(line, "")


def extent(records: Records) -> tuple[int, int]:
    """(first, last) time of anything in them; (0, 0) when they are empty."""
    times = [trade.ts_venue_ns for trade in records.trades]
    times += [booking.ts_venue_ns for booking in records.bookings]
    times += [order.ts_sent_ns for order in records.orders]
    times += [payment.ts_ns for payment in records.funding]
    times += [row.ts_ns for row in records.equity]
    times += [row.ts_ns for row in records.positions]
    for interval in records.quoting:
        times += [interval.ts_from_ns, interval.ts_to_ns]
    return min(times, default=0), max(times, default=0)


def grouped(
    found: dict[Line, History], names: Names, by: str, start_ns: int, end_ns: int
) -> Iterator[ReportRow]:
    if by == "symbol":
        for line, history in found.items():
            yield ReportRow(
                key=names.line(line),
                currency=names.currency(line),
                figures=history.figures(start_ns, end_ns),
            )
        return
    day_ns = start_ns
    while day_ns < end_ns:
        next_ns = min((day_ns // DAY_NS + 1) * DAY_NS, end_ns)
        day = f"{datetime.fromtimestamp(day_ns // 1_000_000_000, UTC):%Y-%m-%d}"
        for row in totals(found, names, day_ns, next_ns):
            yield ReportRow(key=day, currency=row.currency, figures=row.figures)
        day_ns = next_ns


def totals(
    found: dict[Line, History], names: Names, start_ns: int, end_ns: int
) -> Iterator[ReportRow]:
    sums: defaultdict[str, Figures] = defaultdict(Figures)
    for line, history in found.items():
        sums[names.currency(line)].add(history.figures(start_ns, end_ns))
    for currency, figures in sorted(sums.items()):
        yield ReportRow(key="total", currency=currency, figures=figures)


def equity_changes(
    records: Records, names: Names, start_ns: int, end_ns: int
) -> Iterator[EquityChange]:
    for book_id, name in names.books.items():
        rows = [
            row
            for row in records.equity
            if row.book_id == book_id and start_ns <= row.ts_ns < end_ns
        ]
        if rows:
            yield EquityChange(
                book=name,
                first=rows[0].equity,
                last=rows[-1].equity,
                last_residual=rows[-1].residual,
                largest_residual=max((row.residual for row in rows), key=abs),
                readings=len(rows),
            )


def quoting_times(
    records: Records, names: Names, start_ns: int, end_ns: int
) -> Iterator[QuotingTime]:
    found: dict[Line, QuotingTime] = {}
    for row in records.quoting:
        length_ns = min(row.ts_to_ns, end_ns) - max(row.ts_from_ns, start_ns)
        if length_ns <= 0:
            continue
        line = (row.book_id, row.instrument)
        time = found.setdefault(line, QuotingTime(instrument=names.line(line)))
        time.watched_ns += length_ns
        time.entries_blocked_ns += length_ns if row.why else 0
        if row.bids and row.asks:
            time.both_ns += length_ns
        else:
            reason = why_not_both(row)
            time.reasons_ns[reason] = time.reasons_ns.get(reason, 0) + length_ns
    yield from (found[line] for line in sorted(found))


def why_not_both(row: QuotingRow) -> str:
    """The kind of reason, without the figures in it; with none, which side had nothing to quote."""
    if row.why:
        return row.why.partition(":")[0]
    if row.bids:
        return "nothing to sell"
    return "nothing to buy" if row.asks else "no level in reach"


def disposal_rows(
    found: dict[Line, History], names: Names, method: str, start_ns: int, end_ns: int
) -> Iterator[DisposalRow]:
    for line, history in found.items():
        position = history.position
        trades = [trade for trade in history.trades if trade.ts_venue_ns < end_ns]
        for disposal in disposals(
            trades, method, opening=position.opening, opening_price=position.opening_price
        ):
            if disposal.ts_closed_ns >= start_ns:
                yield DisposalRow(
                    instrument=names.line(line), currency=names.currency(line), disposal=disposal
                )


def remarks(records: Records, found: dict[Line, History], names: Names) -> Iterator[str]:
    if not records.books:
        yield "the ledger holds no book"
    for gap in records.gaps:
        yield f"{names.books[gap.book_id]}: {gap.rows_lost} rows could not be kept"
    for line, history in found.items():
        position = history.position
        if position.opening:
            yield (
                f"{names.line(line)}: a position of {position.opening:f} was there before the first"
                f" trade; it is valued at {position.opening_price:f}"
            )
        if history.readings:
            last = history.readings[-1]
            since = (t.side * t.qty for t in history.trades if t.number < last.number)
            counted = position.opening + sum(since, Decimal(0))
            if counted != last.position:
                yield (
                    f"{names.line(line)}: the trades make a position of {counted:f}, the venue said"
                    f" {last.position:f} at the last reading"
                )
