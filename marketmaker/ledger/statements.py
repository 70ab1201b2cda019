"""How each kind of row is written, so that writing it twice does no more than once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    Connection,
    Dialect,
    Engine,
    Table,
    Update,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.dml import Insert

from marketmaker.errors import ConfigError
from marketmaker.ledger import schema
from marketmaker.ledger.taken import ENDED
from marketmaker.ledger.url import shown

PARAMETERS_MAX = 900
"""Of one statement: SQLite before 3.32 takes 999."""
SOME_ROWS = 8

NEVER_CHANGED: dict[str, Table] = {
    "trade": schema.trades,
    "booking": schema.bookings,
    "funding": schema.funding,
    "equity": schema.equity,
    "position": schema.positions,
    "gap": schema.gaps,
}
CHANGED: dict[str, tuple[Table, tuple[str, ...]]] = {
    "placed": (
        schema.orders,
        (
            "number",
            "venue_order_id",
            "price",
            "qty",
            "filled",
            "closing",
            "reason",
            "ended",
            "detail",
            "ts_sent_ns",
            "ts_accepted_ns",
            "ts_ended_ns",
        ),
    ),
    "ended": (schema.orders, ENDED),
    "quoting": (schema.quoting, ("ts_to_ns",)),
    "instrument": (
        schema.instruments,
        ("base", "quote", "tick_size", "lot_size", "multiplier"),
    ),
    "configuration": (schema.configurations, ("ts_last_ns",)),
}
"""What a second row of the same key changes."""


def statements(dialect: str) -> dict[str, Insert]:
    insert_into = postgresql.insert if dialect == "postgresql" else sqlite.insert
    found: dict[str, Insert] = {
        kind: insert_into(table).on_conflict_do_nothing() for kind, table in NEVER_CHANGED.items()
    }
    for kind, (table, columns) in CHANGED.items():
        writing = insert_into(table)
        found[kind] = writing.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={name: writing.excluded[name] for name in columns},
        )
    return found


class ManyRows:
    """A statement in SQLite's own words, for rows of one kind, many of them at a time.

    Its driver gives the interpreter up once for each time, for as long as the database works, and a text that takes a
    row's values as they are costs a third of what SQLAlchemy's way does. `row` is one of them: its columns are everybody's.
    """

    def __init__(self, statement: Insert, dialect: Dialect, row: Mapping[str, Any]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(row))
        order: list[str] = list(compiled.positiontup or ())
        one = f"({', '.join('?' * len(order))})"
        head, found, tail = str(compiled).partition(f"VALUES {one}")
        assert found
        sizes = (PARAMETERS_MAX // len(order), SOME_ROWS, 1)
        self._texts = [(n, f"{head}VALUES {', '.join([one] * n)}{tail}") for n in sizes]
        self._pick = itemgetter(*order)
        self._exact = [
            at
            for at, name in enumerate(order)
            if isinstance(statement.table.columns[name].type, schema.Exact)
        ]

    def values(self, row: Mapping[str, Any]) -> list[Any]:
        """As the driver takes them. Raises ValueError for a number that no ledger keeps."""
        values = list(self._pick(row))
        for at in self._exact:
            values[at] = schema.exact_text(values[at])
        return values

    def calls(self, rows: Sequence[list[Any]]) -> Iterator[tuple[str, list[Any]]]:
        """Statements and their parameters that write the values of these rows, in order."""
        done = 0
        for size, text in self._texts:
            while len(rows) - done >= size:
                yield text, list(chain.from_iterable(rows[done : done + size]))
                done += size


def make_tables(engine: Engine) -> None:
    try:
        schema.metadata.create_all(engine)
    except SQLAlchemyError:
        # Another process making them at the same moment is no failure.
        schema.metadata.create_all(engine)


def stamp_format(connection: Connection) -> None:
    if connection.execute(select(schema.about.c.format)).scalar() is None:
        connection.execute(insert(schema.about), {"format": schema.FORMAT})


def check_format(connection: Connection, url: str) -> None:
    """Raises ConfigError for a ledger of another format."""
    found = connection.execute(select(schema.about.c.format)).scalar()
    if found is not None and found != schema.FORMAT:
        raise ConfigError(
            f"ledger {shown(url)} has format {found}, this version writes {schema.FORMAT};"
            " name another database"
        )


def has_tables(connection: Connection) -> bool:
    return bool(inspect(connection).has_table(schema.about.name))


def find_book(connection: Connection, book: dict[str, str]) -> tuple[int, int]:
    """(id, next number) of the book, made when it is new."""
    books = schema.books.c
    query = select(books.id, books.next_number).where(
        books.venue == book["venue"],
        books.account == book["account"],
        books.bot_tag == book["bot_tag"],
    )
    row = connection.execute(query).first()
    if row is None:
        connection.execute(insert(schema.books), {**book, "next_number": 1})
        row = connection.execute(query).one()
    return row.id, row.next_number


def next_number_is(book_id: int, number: int) -> Update:
    books = schema.books.c
    return (
        update(schema.books)
        .where(books.id == book_id, books.next_number < number)
        .values(next_number=number)
    )
