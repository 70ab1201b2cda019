"""The daemon's side of the ledger: rows are taken without waiting and written in batches, in order.

What a row is made of is taken into a queue; `run` makes the rows of a second a few at a time and hands them to the
database at once, in one transaction and, where time is real, in a thread of its own. That keeps the priority of the
process: one of a lower priority, put aside while it holds the interpreter, would keep everybody waiting. Every statement
may be made twice without doing more than once, so a batch whose commit nobody confirmed is simply written again, and a
trade told by stream, answer and snapshot is one.

A database that does not take rows for `PATIENCE_S` is said to have failed (`on_failure`): new risk waits, the rows
wait too, up to a bound (`intake`). Beyond that they are counted as lost and the ledger says so itself (`gaps`); from
when on trades are missing is given to `on_recovered`, because the venue can tell them again.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.sql.dml import Insert

from marketmaker.errors import ConfigError
from marketmaker.ledger import schema
from marketmaker.ledger.database import LedgerError, connect, hold_book, is_unreachable, said
from marketmaker.ledger.intake import Intake
from marketmaker.ledger.statements import (
    ManyRows,
    check_format,
    find_book,
    make_tables,
    next_number_is,
    stamp_format,
    statements,
)
from marketmaker.ledger.taken import Sorting, Taken, Values
from marketmaker.ledger.url import is_sqlite, shown

FLUSH_INTERVAL_S = 1.0
PATIENCE_S = 5.0
BATCH_ROWS = 5_000
ROWS_AT_ONCE, ROWS_SORTED_AT_ONCE, PAUSES_MAX = 4, 32, 512
GIVE_WAY_S = 0.0025
"""After so many rows the event loop goes on with other things: orders must not wait for what is written down about them.
A batch takes not much longer than its greatest number of pauses."""

UNAVAILABLE = (
    *(OperationalError, InterfaceError),
    *(sqlite3.OperationalError, sqlite3.InterfaceError),
)
"""The database is at fault, not a row: in SQLAlchemy's words, and in its driver's where that is used alone."""

NEXT_NUMBER_IS = "UPDATE books SET next_number = ? WHERE id = ? AND next_number < ?"

Ready = tuple[Insert | str, Any]
"""A statement, as text where SQLite's driver takes it as it is, and its values."""


class Ledger:
    """One book of a ledger, to be written; what is to be written is told to its `intake`.

    `failed` says why the database takes nothing, "" while it does. The callbacks are called from the event loop.
    `in_thread`: write in a thread, for loops whose time is real.
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
        self.engine = connect(url, durable=in_thread)
        self._book = {"venue": venue, "account": account, "bot_tag": bot_tag}
        self._book_id = 0
        self.intake = Intake()
        self._on_failure = on_failure
        self._on_recovered = on_recovered
        self._thread = ThreadPoolExecutor(1, "ledger") if in_thread else None
        self._closing = False
        self._troubled_since_s: float | None = None
        self._statements = statements(self.engine.dialect.name)
        self._by_driver = is_sqlite(url)
        self._many: dict[str, ManyRows] = {}

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
                self._book_id, self.intake.next_number = find_book(connection, self._book)
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
        """Writes once in a while: a batch costs the disk some milliseconds, however few its rows are."""
        while True:
            if self._troubled_since_s is not None or len(self.intake.waiting) < BATCH_ROWS:
                await asyncio.sleep(FLUSH_INTERVAL_S)
            await self._write_batch()

    async def flush(self) -> None:
        """Writes all that is waiting; what the database refuses goes on waiting."""
        while self.intake.waiting or self._troubled_since_s is not None:
            if not await self._write_batch():
                return

    async def _write_batch(self) -> bool:
        """The oldest of what is waiting. False when the database did not take it."""
        batch = list(islice(self.intake.waiting, BATCH_ROWS))
        if not batch and self._troubled_since_s is None:
            return True
        problem = await self._attempt(batch, await self._prepare(batch))
        now_s = asyncio.get_running_loop().time()
        if problem:
            if self._troubled_since_s is None:
                self._troubled_since_s = now_s
            if now_s - self._troubled_since_s >= PATIENCE_S:
                self._fail(problem)
            return False
        while batch:
            for _ in range(min(len(batch), ROWS_SORTED_AT_ONCE)):
                self.intake.waiting.popleft()
                batch.pop()
            await self._give_way()
        self._settle()
        return True

    async def close(self, timeout_s: float) -> str:
        """Writes all that is waiting; returns what could not be written, in words, "" when nothing is left."""
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.flush()
        self.intake.lost_rows += len(self.intake.waiting)
        lost = self.intake.lost_rows
        self.intake.waiting.clear()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        self.engine.dispose()
        return f"ledger {shown(self.url)}: {lost} rows not written" if lost else ""

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
        return len(self.intake.waiting)

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
                made: list[Any] = []
                for few in slices(rows, max(ROWS_AT_ONCE, len(rows) // PAUSES_MAX)):
                    values = [row.values(self._book_id) for row in few]
                    if self._by_driver:
                        values_of = self._many_rows(kind, values[0]).values
                        made += [values_of(row) for row in values]
                    else:
                        made += values
                    await self._give_way()
                if self._by_driver:
                    ready += self._many[kind].calls(made)
                else:
                    ready.append((self._statements[kind], made))
        except ValueError:
            return None
        return ready

    def _many_rows(self, kind: str, row: Values) -> ManyRows:
        found = self._many.get(kind)
        if found is None:
            found = self._many[kind] = ManyRows(self._statements[kind], self.engine.dialect, row)
        return found

    async def _give_way(self) -> None:
        if self._thread is not None and not self._closing:
            await asyncio.sleep(GIVE_WAY_S)

    async def _attempt(self, batch: list[Taken], ready: list[Ready] | None) -> str:
        """One batch, all or nothing; what went wrong, "" when it is written."""
        loop = asyncio.get_running_loop()
        if self._thread is None:
            problem, spoilt = self._write(batch, ready, self.intake.next_number)
        else:
            writing = loop.run_in_executor(
                self._thread, self._write, batch, ready, self.intake.next_number
            )
            done, _ = await asyncio.wait({writing}, timeout=PATIENCE_S)
            if not done:
                self._troubled_since_s = loop.time() - PATIENCE_S
                self._fail(f"no answer within {PATIENCE_S:g} s")
            problem, spoilt = await writing
        self.intake.gap_rows += spoilt
        self.intake.lost_rows += spoilt
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
        if ready is not None and self._by_driver:
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
            ready.reverse()
            while ready:
                # Given up one by one: thousands of values at once would be freed while the event loop waits for it.
                cursor.execute(*ready.pop())
            cursor.execute(NEXT_NUMBER_IS, (next_number, self._book_id, next_number))
            connection.commit()
        finally:
            connection.close()

    def _fail(self, problem: str) -> None:
        was, self.failed = self.failed, f"ledger {shown(self.url)}: {problem}"
        if not was:
            self._on_failure(self.failed)

    def _settle(self) -> None:
        """After a batch was written: the trouble is over once no more than the newest is waiting."""
        if len(self.intake.waiting) >= BATCH_ROWS:
            return
        if self.intake.gap_rows:
            self.intake.record_gap()
            return
        self._troubled_since_s = None
        if self.failed:
            self.failed = ""
            since_ns, self.intake.gap_since_ns = self.intake.gap_since_ns, {}
            self._on_recovered(since_ns)


def slices(rows: Sequence[Taken], size: int) -> Iterator[Sequence[Taken]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
