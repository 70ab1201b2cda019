"""How each kind of row is written, so that writing it twice does no more than once."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, Table, Update, insert, inspect, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.dml import Insert

from marketmaker.errors import ConfigError
from marketmaker.ledger import schema
from marketmaker.ledger.url import shown
from marketmaker.model.instrument import Instrument

Row = tuple[str, dict[str, Any]]
"""The kind, which names the statement, and the values. A row with the value `STEPS_OF` has its price and quantities in
steps of that instrument; `exact` makes decimals of them, off the event loop where there is a thread to do it."""

STEPS_OF = "steps_of"
QUANTITIES = ("qty", "filled")

ENDED = ("venue_order_id", "filled", "ended", "detail", "ts_accepted_ns", "ts_ended_ns")
"""What the end of an order adds to its row."""

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


def exact(values: dict[str, Any]) -> dict[str, Any]:
    instrument: Instrument | None = values.get(STEPS_OF)
    if instrument is None:
        return values
    made = {name: value for name, value in values.items() if name != STEPS_OF}
    made["price"] = instrument.price(made["price"])
    for name in QUANTITIES:
        made[name] = instrument.base_qty(made[name])
    return made


class Plain:
    """A statement as SQLite's driver takes it, with all its rows in one: SQLAlchemy's own way through its types costs four
    times as much, and the driver hands the interpreter over and back for every row it is given singly. Answers to odd
    values (not finite, too great) are left to SQLAlchemy: see `Ledger._write`."""

    def __init__(self, statement: Insert, dialect: Dialect) -> None:
        self._statement = statement
        self._dialect = dialect
        self._parts: dict[tuple[str, ...], tuple[str, str, str, tuple[str, ...]]] = {}

    def execute(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        """At most as many rows as SQLite has room for parameters: some thousand."""
        rows = [exact(row) for row in rows]
        columns = tuple(rows[0])
        parts = self._parts.get(columns) or self._parts.setdefault(columns, self._split(columns))
        head, group, tail, order = parts
        values = [
            value if type(value := row[name]) is not Decimal else driver_text(value)
            for row in rows
            for name in order
        ]
        connection.exec_driver_sql(
            f"{head}VALUES {', '.join([group] * len(rows))}{tail}", tuple(values)
        )

    def _split(self, columns: tuple[str, ...]) -> tuple[str, str, str, tuple[str, ...]]:
        """(before the values, one row of them, after them, the columns in their order)."""
        compiled = self._statement.compile(dialect=self._dialect, column_keys=list(columns))
        order = tuple(compiled.positiontup or ())
        group = f"({', '.join('?' * len(order))})"
        head, found, tail = str(compiled).partition(f"VALUES {group}")
        assert found
        return head, group, tail, order


def driver_text(value: Decimal) -> str:
    """Raises ValueError for a number that no ledger keeps."""
    if not value.is_finite():
        raise ValueError(f"{value} has no place in a ledger")
    return format(value, "f")


def by_kind(batch: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    """Rows of a kind together, in their order. An order that was placed and ended within the batch is one row."""
    found: dict[str, list[dict[str, Any]]] = {}
    placed: dict[tuple[Any, ...], int] = {}
    for kind, values in batch:
        rows = found.setdefault(kind, [])
        if kind == "placed":
            placed[order_key(values)] = len(rows)
        elif kind == "ended":
            place = placed.pop(order_key(values), None)
            if place is not None:
                begun = found["placed"]
                begun[place] = {**begun[place], **{name: values[name] for name in ENDED}}
                continue
        rows.append(values)
    return {kind: rows for kind, rows in found.items() if rows}


def order_key(values: dict[str, Any]) -> tuple[Any, ...]:
    return (values["instrument"], values["slot"], values["side"], values["sequence"])


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
