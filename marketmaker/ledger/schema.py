"""The tables. Money, prices and quantities are exact decimals: text in SQLite, NUMERIC in PostgreSQL; never floats.

A *book* is one bot on one account at one venue; several may share a database. Times are Unix ns: `ts_venue_ns` by the
venue's clock, every other by ours. Quantities are in base units, prices in quote per base unit, money in quote
currency. `number` counts the rows of a book in the order in which they were written down, over all tables; it
ascends, and may skip.

    books            who: venue, account, bot tag
    configurations   every configuration the book was run with
    instruments      what the names mean
    orders           each order: placed, ended, how
    trades           each trade as the venue tells it, once
    bookings         what each trade, or a quantity heard of without its trade, did to its slot
    funding          each payment, positive was paid to us
    equity           the account at a moment, and what of its change the books cannot explain
    positions        one instrument at that moment
    quoting          from when to when which sides were quoted, and why not
    gaps             rows that could not be kept
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

FORMAT = 1


def exact_text(value: Decimal) -> str:
    """Digit for digit, without an exponent. Raises ValueError for a number that no ledger keeps."""
    if not value.is_finite():
        raise ValueError(f"{value} has no place in a ledger")
    text = str(value)
    return format(value, "f") if "E" in text else text


class Exact(TypeDecorator[Decimal]):
    """A Decimal that comes back digit for digit."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        numeric = dialect.name == "postgresql"
        return dialect.type_descriptor(Numeric() if numeric else Text())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        text = exact_text(value)
        return value if dialect.name == "postgresql" else text

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


metadata = MetaData()

about = Table("ledger", metadata, Column("format", Integer, primary_key=True))

books = Table(
    "books",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("venue", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("bot_tag", Text, nullable=False),
    Column("next_number", BigInteger, nullable=False, default=1),
    UniqueConstraint("venue", "account", "bot_tag"),
)


def book_id(*, key: bool = True) -> Column[int]:
    return Column("book_id", Integer, ForeignKey("books.id"), primary_key=key, nullable=False)


def number() -> Column[int]:
    return Column("number", BigInteger, nullable=False)


def key_text(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def order_key() -> list[Column[Any]]:
    """The parts of a client order id."""
    return [
        Column("slot", Integer, primary_key=True, autoincrement=False),
        Column("side", Integer, primary_key=True, autoincrement=False),
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    ]


def amount(name: str, *, nullable: bool = False) -> Column[Decimal]:
    return Column(name, Exact, nullable=nullable)


def moment(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, autoincrement=False, nullable=False)


configurations = Table(
    "configurations",
    metadata,
    book_id(),
    key_text("sha256"),
    Column("program", Text, primary_key=True),
    Column("settings", Text, nullable=False),
    moment("ts_first_ns"),
    moment("ts_last_ns"),
)

instruments = Table(
    "instruments",
    metadata,
    book_id(),
    key_text("instrument"),
    Column("base", Text, nullable=False),
    Column("quote", Text, nullable=False),
    amount("tick_size"),
    amount("lot_size"),
    amount("multiplier"),
)

orders = Table(
    "orders",
    metadata,
    book_id(),
    key_text("instrument"),
    *order_key(),
    number(),
    Column("venue_order_id", Text, nullable=False),
    amount("price"),
    amount("qty"),
    amount("filled"),
    Column("closing", Boolean, nullable=True),
    Column("reason", Text, nullable=False),
    Column("ended", Text, nullable=False),
    Column("detail", Text, nullable=False),
    moment("ts_sent_ns"),
    moment("ts_accepted_ns"),
    moment("ts_ended_ns"),
    Index("orders_by_time", "book_id", "ts_sent_ns"),
)

trades = Table(
    "trades",
    metadata,
    book_id(),
    key_text("instrument"),
    key_text("trade_id"),
    number(),
    Column("slot", Integer, nullable=False),
    Column("side", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("venue_order_id", Text, nullable=False),
    amount("price"),
    amount("qty"),
    amount("fee"),
    Column("is_maker", Boolean, nullable=False),
    moment("ts_venue_ns"),
    Index("trades_by_time", "book_id", "instrument", "ts_venue_ns"),
)

bookings = Table(
    "bookings",
    metadata,
    book_id(),
    key_text("instrument"),
    *order_key(),
    key_text("trade_id"),
    number(),
    amount("price"),
    amount("qty"),
    amount("realised"),
    moment("ts_venue_ns"),
)

funding = Table(
    "funding",
    metadata,
    book_id(),
    key_text("instrument"),
    key_text("payment_id"),
    number(),
    amount("amount"),
    moment("ts_ns"),
)

equity = Table(
    "equity",
    metadata,
    book_id(),
    moment("ts_ns", key=True),
    number(),
    amount("equity"),
    amount("available"),
    amount("residual"),
    moment("ts_started_ns"),
)

positions = Table(
    "positions",
    metadata,
    book_id(),
    moment("ts_ns", key=True),
    key_text("instrument"),
    number(),
    amount("position"),
    amount("inventory"),
    amount("inventory_cost"),
    amount("mark_price"),
)

quoting = Table(
    "quoting",
    metadata,
    book_id(),
    key_text("instrument"),
    moment("ts_from_ns", key=True),
    number(),
    moment("ts_to_ns"),
    Column("bids", Boolean, nullable=False),
    Column("asks", Boolean, nullable=False),
    Column("why", Text, nullable=False),
)

gaps = Table(
    "gaps",
    metadata,
    book_id(),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("rows_lost", BigInteger, nullable=False),
)
