"""What is read back from a ledger: frozen values, times in Unix ns, everything else exact (see `schema`)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One bot on one account at one venue. `account` is "" where the venue has only one."""

    id: int
    venue: str
    account: str
    bot_tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TradedInstrument:
    book_id: int
    instrument: str
    base: str
    quote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTrade:
    """`side` 1 bought, -1 sold. `fee` paid > 0."""

    book_id: int
    instrument: str
    trade_id: str
    number: int
    slot: int
    side: int
    sequence: int
    price: Decimal
    qty: Decimal
    fee: Decimal
    is_maker: bool
    ts_venue_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """`qty` newly booked; `realised` before fees, 0 where inventory was opened."""

    book_id: int
    instrument: str
    slot: int
    side: int
    sequence: int
    trade_id: str
    qty: Decimal
    realised: Decimal
    ts_venue_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerOrder:
    """`ended` is "" while no end is known."""

    book_id: int
    instrument: str
    slot: int
    side: int
    sequence: int
    qty: Decimal
    filled: Decimal
    ended: str
    ts_sent_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """`amount` > 0 was paid to us."""

    book_id: int
    instrument: str
    payment_id: str
    amount: Decimal
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityRow:
    book_id: int
    ts_ns: int
    equity: Decimal
    available: Decimal
    residual: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRow:
    book_id: int
    ts_ns: int
    instrument: str
    number: int
    position: Decimal
    inventory: Decimal
    mark_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotingRow:
    book_id: int
    instrument: str
    ts_from_ns: int
    ts_to_ns: int
    bids: bool
    asks: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    book_id: int
    rows_lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """All of some books up to a time; each list in order of time, then number."""

    books: tuple[Book, ...] = ()
    instruments: tuple[TradedInstrument, ...] = ()
    trades: tuple[LedgerTrade, ...] = ()
    bookings: tuple[Booking, ...] = ()
    orders: tuple[LedgerOrder, ...] = ()
    funding: tuple[Payment, ...] = ()
    equity: tuple[EquityRow, ...] = ()
    positions: tuple[PositionRow, ...] = ()
    quoting: tuple[QuotingRow, ...] = ()
    gaps: tuple[Gap, ...] = ()
