"""How each kind of row is written, so that writing it twice does no more than once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    Connection,
    Dialect,
    Engine,
    Integer,
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
from sqlalchemy.types import TypeEngine

from marketmaker.errors import ConfigError
from marketmaker.ledger import schema
from marketmaker.ledger.taken import ENDED
from marketmaker.ledger.url import shown

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

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


class Group:
    """A statement for rows with values in these columns, and what makes a JSON text of such rows."""

    def __init__(self, statement: Insert, dialect: Dialect, columns: Sequence[str]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(columns))
        order: list[str] = list(compiled.positiontup or ())
        head, found, tail = str(compiled).partition(f"VALUES ({', '.join('?' * len(order))})")
        assert found
        items = ", ".join(f"json_extract(value, '$[{index}]')" for index in range(len(order)))
        # `WHERE true` tells SQLite that the ON which follows is not that of a join.
        self.statement = f"{head}SELECT {items} FROM json_each(?) WHERE true{tail}"
        kinds = [statement.table.columns[name].type for name in order]
        self._pick = itemgetter(*order)
        self._exact = [at for at, kind in enumerate(kinds) if isinstance(kind, schema.Exact)]
        self._whole = [name for name, kind in zip(order, kinds, strict=True) if is_int(kind)]

    def text(self, rows: Iterable[Mapping[str, Any]]) -> str:
        """`[1,"a"],[2,"b"]`. Raises ValueError or OverflowError for what SQLite would not give back as it is."""
        lists = []
        for row in rows:
            whole = [row[name] for name in self._whole]
            if not INT_MIN <= min(whole) <= max(whole) <= INT_MAX:
                raise OverflowError("a number that is none of 64 bits")
            values = list(self._pick(row))
            for at in self._exact:
                values[at] = driver_text(values[at])
            lists.append(values)
        text = encode_json(lists)[1:-1]
        if "\\u0000" in text:
            raise ValueError("SQLite ends a JSON text at the character of number nought")
        return text


class InOneStatement:
    """A statement as SQLite takes it with all its rows in one parameter, a JSON text: the driver gives the interpreter up
    once, for as long as the database works, and not for each row, and it costs a third of SQLAlchemy's own way.

    Making the text is what needs the interpreter. Odd values are left to SQLAlchemy: see `Ledger._write`.
    """

    def __init__(self, statement: Insert, dialect: Dialect) -> None:
        self._statement = statement
        self._dialect = dialect
        self._groups: dict[tuple[str, ...], Group] = {}

    def group(self, row: Mapping[str, Any]) -> Group:
        columns = tuple(row)
        found = self._groups.get(columns)
        if found is None:
            found = self._groups[columns] = Group(self._statement, self._dialect, columns)
        return found


encode_json = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode


def is_int(kind: TypeEngine[Any]) -> bool:
    return isinstance(kind, Integer)


def driver_text(value: Decimal) -> str:
    """Raises ValueError for a number that no ledger keeps."""
    if not value.is_finite():
        raise ValueError(f"{value} has no place in a ledger")
    return format(value, "f")


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
