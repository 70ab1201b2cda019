"""The daemon's side of the ledger: rows are taken without waiting and written in batches, in order.

What a row is made of is taken into a queue; `run` makes the rows of a second a few at a time and hands them to the
database at once, in one transaction and, where time is real, in a thread of its own. That keeps the priority of the
process: one of a lower priority, put aside while it holds the interpreter, would keep everybody waiting. Every statement
may be made twice without doing more than once, so a batch whose commit nobody confirmed is simply written again, and a
trade told by stream, answer and snapshot is one.

A database that does not take rows for `PATIENCE_S` is said to have failed (`on_failure`): new risk waits, the rows
wait too, up to `MAX_WAITING_ROWS`. Beyond that they are counted as lost and the ledger says so itself (`gaps`); from
when on trades are missing is given to `on_recovered`, because the venue can tell them again.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.sql.dml import Insert

from marketmaker.errors import ConfigError
from marketmaker.ledger import schema
from marketmaker.ledger.database import LedgerError, connect, hold_book, is_unreachable, said
from marketmaker.ledger.statements import (
    InOneStatement,
    check_format,
    find_book,
    make_tables,
    next_number_is,
    stamp_format,
    statements,
)
from marketmaker.ledger.taken import (
    Sorting,
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
from marketmaker.ledger.url import is_sqlite, shown
from marketmaker.model.action import Action, PlaceOrder, RecordFill, RecordOrderEnd
from marketmaker.model.equity import EquityReading
from marketmaker.model.event import Event, FundingBooked, OrderReported, SnapshotTaken
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import Fill

FLUSH_INTERVAL_S = 1.0
PATIENCE_S = 5.0
BATCH_ROWS = 5_000
ROWS_AT_ONCE, ROWS_SORTED_AT_ONCE, PAUSES_MAX = 4, 32, 512
GIVE_WAY_S = 0.0025
"""After so many rows the event loop goes on with other things: orders must not wait for what is written down about them.
A batch takes not much longer than its greatest number of pauses."""
MAX_WAITING_ROWS = 200_000
QUOTING_INTERVAL_NS = 10 * 1_000_000_000
UNKNOWN_TRADE = "~"
"""Begins the trade id of a booking whose trade is not known; no venue's id begins so."""


UNAVAILABLE = (
    *(OperationalError, InterfaceError),
    *(sqlite3.OperationalError, sqlite3.InterfaceError),
)
"""The database is at fault, not a row: in SQLAlchemy's words, and in its driver's where that is used alone."""

NEXT_NUMBER_IS = "UPDATE books SET next_number = ? WHERE id = ? AND next_number < ?"

Ready = tuple[Insert | str, Any]
"""A statement, as text where SQLite's driver takes it as it is, and its values."""


@dataclass(slots=True)
class Quoting:
    """The state of one instrument's quoting since `since_ns`; `told_ns` is what the ledger knows of its length."""

    state: tuple[bool, bool, str]
    since_ns: int
    told_ns: int


class Ledger:
    """One book of a ledger, to be written.

    `failed` says why the database takes nothing, "" while it does. `lost_rows` will never be written. The callbacks
    are called from the event loop. `in_thread`: write in a thread, for loops whose time is real.
    """

    def __init__(
        self,
        url: str,
        *,
        venue: str,
        account: str,
        bot_tag: str,
        in_thread: bool,
        on_failure: Callable[[str], None],
        on_recovered: Callable[[Mapping[str, int]], None],
    ) -> None:
        self.url = url
        self.failed = ""
        self.lost_rows = 0
        self.engine = connect(url, durable=in_thread)
        self._book = {"venue": venue, "account": account, "bot_tag": bot_tag}
        self._book_id = 0
        self._next_number = 1
        self._on_failure = on_failure
        self._on_recovered = on_recovered
        self._thread = ThreadPoolExecutor(1, "ledger") if in_thread else None
        self._waiting: deque[Taken] = deque()
        self._closing = False
        self._troubled_since_s: float | None = None
        self._gap_rows = 0
        self._gap_since_ns: dict[str, int] = {}
        self._quoting: dict[str, Quoting] = {}
        self._statements = statements(self.engine.dialect.name)
        self._in_one = {
            kind: InOneStatement(statement, self.engine.dialect)
            for kind, statement in self._statements.items()
            if is_sqlite(url)
        }

    # --- life ---

    def open(self, *, program: str, settings: str, ts_ns: int) -> None:
        """Makes the tables where they are missing and notes the configuration (`settings`: its text, no secrets).

        Raises ConfigError when the database cannot be used, or when another process writes this book, on whatever
        machine; LedgerError when a server cannot be reached just now.
        """
        try:
            make_tables(self.engine)
            with self.engine.begin() as connection:
                stamp_format(connection)
                check_format(connection, self.url)
                self._book_id, self._next_number = find_book(connection, self._book)
                digest = hashlib.sha256(settings.encode()).hexdigest()
                connection.execute(
                    self._statements["configuration"],
                    {
                        "book_id": self._book_id,
                        "sha256": digest,
                        "program": program,
                        "settings": settings,
                        "ts_first_ns": ts_ns,
                        "ts_last_ns": ts_ns,
                    },
                )
            if not hold_book(self.engine, self._book_id):
                self.engine.dispose()
                raise ConfigError(
                    f"ledger {shown(self.url)}: another process writes the book of bot_tag"
                    f" {self._book['bot_tag']!r} there; stop it, or give this one its own bot_tag"
                )
        except (SQLAlchemyError, OSError) as error:
            self.engine.dispose()
            if is_unreachable(self.engine, error):
                raise LedgerError(f"ledger {shown(self.url)}: {said(error, self.url)}") from None
            raise ConfigError(
                f"ledger {shown(self.url)}: {said(error, self.url)}; name a database that this"
                ' user may write to, or "" for no ledger'
            ) from None

    async def run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            await self.flush()

    async def flush(self) -> None:
        """Writes all that is waiting; what the database refuses goes on waiting."""
        while self._waiting or self._troubled_since_s is not None:
            batch = list(islice(self._waiting, BATCH_ROWS))
            problem = await self._attempt(batch, await self._prepare(batch))
            now_s = asyncio.get_running_loop().time()
            if problem:
                if self._troubled_since_s is None:
                    self._troubled_since_s = now_s
                if now_s - self._troubled_since_s >= PATIENCE_S:
                    self._fail(problem)
                return
            for _ in batch:
                self._waiting.popleft()
            self._settle()

    async def close(self, timeout_s: float) -> str:
        """Writes all that is waiting; returns what could not be written, in words, "" when nothing is left."""
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.flush()
        self.lost_rows += len(self._waiting)
        left = f"ledger {shown(self.url)}: {self.lost_rows} rows not written" * bool(self.lost_rows)
        self._waiting.clear()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        self.engine.dispose()
        return left

    def last_trade_ns(self, instrument: str) -> int | None:
        """Venue time of the newest trade in the book. Raises LedgerError."""
        table = schema.trades.c
        query = select(func.max(table.ts_venue_ns)).where(
            table.book_id == self._book_id, table.instrument == instrument
        )
        try:
            with self.engine.connect() as connection:
                newest: int | None = connection.execute(query).scalar()
        except SQLAlchemyError as error:
            raise LedgerError(f"ledger {shown(self.url)}: {said(error, self.url)}") from None
        return newest

    @property
    def waiting_rows(self) -> int:
        return len(self._waiting)

    # --- what is written down ---

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
        trade_id = fill.trade_id or f"{UNKNOWN_TRADE}{self._next_number}"
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

    def _take_quoting(self, instrument: str, known: Quoting, until_ns: int) -> None:
        known.told_ns = until_ns
        self._take("quoting", quoting_values, instrument, known.since_ns, until_ns, known.state)

    def _take(self, kind: str, make: Callable[..., Values], *subject: Any) -> None:
        if len(self._waiting) >= MAX_WAITING_ROWS:
            self._lose(kind, subject)
            return
        number = self._next_number
        if kind != "instrument":
            self._next_number = number + 1
        self._waiting.append(Taken(kind, number, make, subject))

    def _lose(self, kind: str, subject: tuple[Any, ...]) -> None:
        self.lost_rows += 1
        self._gap_rows += 1
        if kind == "trade":
            instrument, fill, _ = subject
            name, ts_ns = instrument.name, fill.ts_venue_ns
            self._gap_since_ns[name] = min(ts_ns, self._gap_since_ns.get(name, ts_ns))

    # --- writing ---

    async def _prepare(self, batch: list[Taken]) -> list[Ready] | None:
        """The statements that write the batch; None when a row is odd, and each has to be tried singly.

        What computes is done here, a few rows at a time, and not in the thread: a thread that computes takes the
        interpreter from the event loop whenever that would have it, and orders wait for it.
        """
        sorting = Sorting()
        for few in slices(batch, ROWS_SORTED_AT_ONCE):
            sorting.add(few)
            await self._give_way()
        ready: list[Ready] = []
        try:
            for kind, rows in sorting.by_kind():
                statement, in_one = self._statements[kind], self._in_one.get(kind)
                made: list[Values] = []
                texts: list[str] = []
                for few in slices(rows, max(ROWS_AT_ONCE, len(rows) // PAUSES_MAX)):
                    values = [row.values(self._book_id) for row in few]
                    if in_one is None:
                        made += values
                    else:
                        texts.append(in_one.group(values[0]).text(values))
                    await self._give_way()
                if in_one is None:
                    ready.append((statement, made))
                else:
                    group = in_one.group(rows[0].values(self._book_id))
                    ready.append((group.statement, (f"[{','.join(texts)}]",)))
        except (ValueError, OverflowError):
            return None
        return ready

    async def _give_way(self) -> None:
        if self._thread is not None and not self._closing:
            await asyncio.sleep(GIVE_WAY_S)

    async def _attempt(self, batch: list[Taken], ready: list[Ready] | None) -> str:
        """One batch, all or nothing; what went wrong, "" when it is written."""
        loop = asyncio.get_running_loop()
        if self._thread is None:
            problem, spoilt = self._write(batch, ready, self._next_number)
        else:
            writing = loop.run_in_executor(
                self._thread, self._write, batch, ready, self._next_number
            )
            done, _ = await asyncio.wait({writing}, timeout=PATIENCE_S)
            if not done:
                self._troubled_since_s = loop.time() - PATIENCE_S
                self._fail(f"no answer within {PATIENCE_S:g} s")
            problem, spoilt = await writing
        self._gap_rows += spoilt
        self.lost_rows += spoilt
        return problem

    def _write(
        self, batch: list[Taken], ready: list[Ready] | None, next_number: int
    ) -> tuple[str, int]:
        """(what went wrong, rows left out because the database will never take them)."""
        if ready is not None:
            try:
                return "", self._commit(batch, ready, next_number)
            except (*UNAVAILABLE, OSError) as error:
                return said(error, self.url), 0
            except (SQLAlchemyError, sqlite3.Error, ValueError, OverflowError):
                pass  # one of the rows is at fault, not the database: it must not keep back the others
        try:
            return "", self._commit(batch, None, next_number)
        except (SQLAlchemyError, OSError) as error:
            return said(error, self.url), 0

    def _commit(self, batch: list[Taken], ready: list[Ready] | None, next_number: int) -> int:
        """Writes what is ready or, where that is None, the batch row by row."""
        if ready is not None and self._in_one:
            self._commit_by_driver(ready, next_number)
            return 0
        spoilt = 0
        with self.engine.begin() as connection:
            for statement, values in ready or ():
                assert not isinstance(statement, str)
                connection.execute(statement, values)
            for row in batch if ready is None else ():
                try:
                    with connection.begin_nested():
                        connection.execute(self._statements[row.kind], row.values(self._book_id))
                except (OperationalError, InterfaceError):
                    raise
                except SQLAlchemyError:
                    spoilt += 1
            connection.execute(next_number_is(self._book_id, next_number))
        return spoilt

    def _commit_by_driver(self, ready: list[Ready], next_number: int) -> None:
        """SQLite's driver alone, which needs the interpreter for some microseconds of a statement: SQLAlchemy would compute
        on for ten times as long, and orders would wait for it."""
        connection = self.engine.raw_connection()
        try:
            cursor = connection.cursor()
            for statement, values in ready:
                cursor.execute(str(statement), values)
            cursor.execute(NEXT_NUMBER_IS, (next_number, self._book_id, next_number))
            connection.commit()
        finally:
            connection.close()

    def _fail(self, problem: str) -> None:
        was, self.failed = self.failed, f"ledger {shown(self.url)}: {problem}"
        if not was:
            self._on_failure(self.failed)

    def _settle(self) -> None:
        """After a batch was written: the trouble is over once nothing waits."""
        if self._waiting:
            return
        if self._gap_rows:
            lost, self._gap_rows = self._gap_rows, 0
            self._take("gap", gap_values, lost)
            return
        self._troubled_since_s = None
        if self.failed:
            self.failed = ""
            since_ns, self._gap_since_ns = self._gap_since_ns, {}
            self._on_recovered(since_ns)


def slices(rows: Sequence[Taken], size: int) -> Iterator[Sequence[Taken]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
