"""Reads books back. One moment of the ledger, however long reading takes and whoever writes meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, select
from sqlalchemy.exc import SQLAlchemyError

from marketmaker.errors import ConfigError
from marketmaker.ledger import schema
from marketmaker.ledger.database import LedgerError, connect, said
from marketmaker.ledger.rows import (
    Book,
    Booking,
    EquityRow,
    Gap,
    LedgerOrder,
    LedgerTrade,
    Payment,
    PositionRow,
    QuotingRow,
    Records,
    TradedInstrument,
)
from marketmaker.ledger.statements import check_format, has_tables
from marketmaker.ledger.url import shown

T = TypeVar("T")


def read_ledger(url: str, *, bot_tag: str | None = None, until_ns: int | None = None) -> Records:
    """Everything before `until_ns` of the books of `bot_tag`, or of all.

    Raises ConfigError when there is no ledger there, LedgerError when it cannot be read.
    """
    engine = connect(url, read_only=True)
    try:
        with engine.connect() as connection:
            begin_reading(connection)
            if not has_tables(connection):
                raise ConfigError(f"{shown(url)} holds no ledger")
            check_format(connection, url)
            return read_records(connection, bot_tag, until_ns)
    except SQLAlchemyError as error:
        raise LedgerError(f"ledger {shown(url)}: {said(error, url)}") from None
    finally:
        engine.dispose()


def begin_reading(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    else:
        connection.exec_driver_sql("BEGIN")


def read_records(connection: Connection, bot_tag: str | None, until_ns: int | None) -> Records:
    wanted = [] if bot_tag is None else [schema.books.c.bot_tag == bot_tag]
    books = rows_of(connection, Book, schema.books, wanted, ("id",))
    ids = [book.id for book in books]

    def read(
        kind: type[T], table: Table, time: str, *order: str, before: int | None = until_ns
    ) -> tuple[T, ...]:
        where: list[ColumnElement[bool]] = [table.c.book_id.in_(ids)]
        if time and before is not None:
            where.append(table.c[time] < before)
        return rows_of(connection, kind, table, where, tuple(n for n in (time, *order) if n))

    return Records(
        books=books,
        instruments=read(TradedInstrument, schema.instruments, "", "book_id", "instrument"),
        trades=read(LedgerTrade, schema.trades, "ts_venue_ns", "number"),
        bookings=read(Booking, schema.bookings, "ts_venue_ns", "number"),
        orders=read(LedgerOrder, schema.orders, "ts_sent_ns", "number"),
        funding=read(Payment, schema.funding, "ts_ns", "number"),
        equity=read(EquityRow, schema.equity, "ts_ns", "number"),
        positions=read(PositionRow, schema.positions, "ts_ns", "number"),
        quoting=read(QuotingRow, schema.quoting, "ts_from_ns", "number"),
        gaps=read(Gap, schema.gaps, "", "number"),
    )


def rows_of(
    connection: Connection,
    kind: type[T],
    table: Table,
    where: Sequence[ColumnElement[bool]],
    order: tuple[str, ...],
) -> tuple[T, ...]:
    """The fields of `kind` name the columns."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    query = select(*(table.c[name] for name in names)).where(*where)
    query = query.order_by(*(table.c[name] for name in order))
    found: list[Any] = [dict(row) for row in connection.execute(query).mappings()]
    return tuple(kind(**row) for row in found)
