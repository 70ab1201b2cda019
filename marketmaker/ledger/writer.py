"""The daemon's side of the ledger: rows are taken without waiting and written in batches, in order.

A row is taken as a plain value into a queue; `run` writes the queue down every second, many rows in one transaction,
in a thread of its own where time is real. Every statement may be made twice without doing more than once, so a
batch whose commit nobody confirmed is simply written again, and a trade told by stream, answer and snapshot is one.

A database that does not take rows for `PATIENCE_S` is said to have failed (`on_failure`): new risk waits, the rows
wait too, up to `MAX_WAITING_ROWS`. Beyond that they are counted as lost and the ledger says so itself (`gaps`); from
when on trades are missing is given to `on_recovered`, because the venue can tell them again.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from marketmaker.errors import ConfigError
from marketmaker.ledger import schema
from marketmaker.ledger.database import LedgerError, connect, hold_book, is_unreachable, said
from marketmaker.ledger.statements import (
    Plain,
    Row,
    by_kind,
    check_format,
    exact,
    find_book,
    make_tables,
    next_number_is,
    stamp_format,
    statements,
)
from marketmaker.ledger.url import is_sqlite, shown
from marketmaker.model.action import Action, PlaceOrder, RecordFill, RecordOrderEnd
from marketmaker.model.equity import EquityReading
from marketmaker.model.event import Event, FundingBooked, OrderReported, SnapshotTaken
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import Fill, NewOrder

FLUSH_INTERVAL_S = 1.0
PATIENCE_S = 5.0
BATCH_ROWS = 5_000
ROWS_AT_ONCE = 8
GIVE_WAY_S = 0.0025
"""Between so many rows the thread leaves the interpreter to the event loop: orders must not wait for what is written
down about them. Without the pause the two hand it to and fro, and each order takes twice as long."""
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
        self._waiting: deque[Row] = deque()
        self._closing = False
        self._troubled_since_s: float | None = None
        self._gap_rows = 0
        self._gap_since_ns: dict[str, int] = {}
        self._quoting: dict[str, Quoting] = {}
        self._statements = statements(self.engine.dialect.name)
        self._plain = {
            kind: Plain(statement, self.engine.dialect)
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
            problem = await self._attempt(batch)
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
                self.record_funding(instrument, event)
        for action in actions:
            match action:
                case PlaceOrder():
                    self.record_placed(instrument, action.order, action.reason, event.ts_ns)
                case RecordFill():
                    self.record_booking(instrument, action)
                case RecordOrderEnd():
                    self.record_ended(instrument, action)

    def record_instrument(self, instrument: Instrument) -> None:
        self._take(
            "instrument",
            instrument=instrument.name,
            base=instrument.base,
            quote=instrument.quote,
            tick_size=instrument.tick_size,
            lot_size=instrument.lot_size,
            multiplier=instrument.multiplier,
        )

    def record_placed(
        self, instrument: Instrument, order: NewOrder, reason: str, ts_ns: int
    ) -> None:
        """A client order id that is used again (the short forms wrap) tells of its last order only."""
        self._take(
            "placed",
            instrument=instrument.name,
            slot=order.client_order_id.slot,
            side=int(order.side),
            sequence=order.client_order_id.sequence,
            venue_order_id="",
            steps_of=instrument,
            price=order.price_ticks,
            qty=order.qty_lots,
            filled=0,
            closing=order.reduce_only,
            reason=reason,
            ended="",
            detail="",
            ts_sent_ns=ts_ns,
            ts_accepted_ns=0,
            ts_ended_ns=0,
        )

    def record_ended(self, instrument: Instrument, order: RecordOrderEnd) -> None:
        self._take(
            "ended",
            instrument=instrument.name,
            slot=order.client_order_id.slot,
            side=int(order.side),
            sequence=order.client_order_id.sequence,
            venue_order_id=order.venue_order_id,
            steps_of=instrument,
            price=order.price_ticks,
            qty=order.qty_lots,
            filled=order.filled_lots,
            closing=None,
            reason="",
            ended=order.end.value if order.end is not None else "filled",
            detail=order.detail,
            ts_sent_ns=order.ts_sent_ns,
            ts_accepted_ns=order.ts_accepted_ns,
            ts_ended_ns=order.ts_ended_ns,
        )

    def record_trade(self, instrument: Instrument, fill: Fill) -> None:
        """A trade as the venue tells it. One that is not ours is left out."""
        name = fill.client_order_id
        if name is None:
            return
        self._take(
            "trade",
            instrument=instrument.name,
            trade_id=fill.trade_id,
            slot=name.slot,
            side=int(fill.side),
            sequence=name.sequence,
            venue_order_id=fill.venue_order_id,
            price=instrument.price(fill.price_ticks),
            qty=instrument.base_qty(fill.qty_lots),
            fee=fill.fee,
            is_maker=fill.is_maker,
            ts_venue_ns=fill.ts_venue_ns,
        )

    def record_booking(self, instrument: Instrument, fill: RecordFill) -> None:
        """What a slot made of a trade, or of a quantity whose trade is not known yet (`~` and a number)."""
        name = fill.client_order_id
        self._take(
            "booking",
            instrument=instrument.name,
            slot=name.slot,
            side=int(fill.side),
            sequence=name.sequence,
            trade_id=fill.trade_id or f"{UNKNOWN_TRADE}{self._next_number}",
            price=instrument.price(fill.price_ticks),
            qty=instrument.base_qty(fill.qty_lots),
            realised=instrument.money(fill.realised),
            ts_venue_ns=fill.ts_venue_ns,
        )

    def record_funding(self, instrument: Instrument, payment: FundingBooked) -> None:
        self._take(
            "funding",
            instrument=instrument.name,
            payment_id=payment.payment_id,
            amount=payment.amount,
            ts_ns=payment.ts_ns,
        )

    def record_equity(self, reading: EquityReading) -> None:
        self._take(
            "equity",
            ts_ns=reading.ts_ns,
            equity=reading.equity,
            available=reading.available,
            residual=reading.residual,
            ts_started_ns=reading.opening_ts_ns,
        )
        for row in reading.symbols:
            self._take(
                "position",
                ts_ns=reading.ts_ns,
                instrument=row.instrument.name,
                position=row.instrument.base_qty(row.position.qty_lots),
                inventory=row.instrument.base_qty(row.totals.inventory_lots),
                inventory_cost=row.instrument.money(row.totals.inventory_cost),
                mark_price=row.position.mark_price,
            )

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
        bids, asks, why = known.state
        self._take(
            "quoting",
            instrument=instrument,
            ts_from_ns=known.since_ns,
            ts_to_ns=until_ns,
            bids=bids,
            asks=asks,
            why=why,
        )

    def _take(self, kind: str, **values: Any) -> None:
        if len(self._waiting) >= MAX_WAITING_ROWS:
            self._lose(kind, values)
            return
        values["book_id"] = self._book_id
        if kind != "instrument":
            values["number"] = self._next_number
            self._next_number += 1
        self._waiting.append((kind, values))

    def _lose(self, kind: str, values: dict[str, Any]) -> None:
        self.lost_rows += 1
        self._gap_rows += 1
        if kind == "trade":
            name, ts_ns = values["instrument"], values["ts_venue_ns"]
            self._gap_since_ns[name] = min(ts_ns, self._gap_since_ns.get(name, ts_ns))

    # --- writing ---

    async def _attempt(self, batch: list[Row]) -> str:
        """One batch, all or nothing; what went wrong, "" when it is written."""
        loop = asyncio.get_running_loop()
        if self._thread is None:
            problem, spoilt = self._write(batch, self._next_number)
        else:
            writing = loop.run_in_executor(self._thread, self._write, batch, self._next_number)
            done, _ = await asyncio.wait({writing}, timeout=PATIENCE_S)
            if not done:
                self._troubled_since_s = loop.time() - PATIENCE_S
                self._fail(f"no answer within {PATIENCE_S:g} s")
            problem, spoilt = await writing
        self._gap_rows += spoilt
        self.lost_rows += spoilt
        return problem

    def _write(self, batch: list[Row], next_number: int) -> tuple[str, int]:
        """(what went wrong, rows left out because the database will never take them)."""
        try:
            return "", self._commit(batch, next_number, singly=False)
        except (OperationalError, InterfaceError, OSError) as error:
            return said(error, self.url), 0
        except (SQLAlchemyError, ValueError, OverflowError):
            pass  # one of the rows is at fault, not the database: it must not keep back the others
        try:
            return "", self._commit(batch, next_number, singly=True)
        except (SQLAlchemyError, OSError) as error:
            return said(error, self.url), 0

    def _commit(self, batch: list[Row], next_number: int, *, singly: bool) -> int:
        spoilt = 0
        with self.engine.begin() as connection:
            for kind, rows in by_kind(batch).items():
                if not singly:
                    self._execute(connection, kind, rows)
                    continue
                for row in rows:
                    try:
                        with connection.begin_nested():
                            connection.execute(self._statements[kind], exact(row))
                    except (OperationalError, InterfaceError):
                        raise
                    except SQLAlchemyError:
                        spoilt += 1
            connection.execute(next_number_is(self._book_id, next_number))
        return spoilt

    def _execute(self, connection: Connection, kind: str, rows: Sequence[dict[str, Any]]) -> None:
        plain = self._plain.get(kind)
        if plain is None:
            connection.execute(self._statements[kind], [exact(row) for row in rows])
            return
        for start in range(0, len(rows), ROWS_AT_ONCE):
            plain.execute(connection, rows[start : start + ROWS_AT_ONCE])
            if self._thread is not None and not self._closing:
                time.sleep(GIVE_WAY_S)

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
            self._take("gap", rows_lost=lost)
            return
        self._troubled_since_s = None
        if self.failed:
            self.failed = ""
            since_ns, self._gap_since_ns = self._gap_since_ns, {}
            self._on_recovered(since_ns)
