"""What a venue says about our account."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from marketmaker.model.instrument import Lots
from marketmaker.model.order import Fill, OrderReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One-way position: `qty_lots` signed, long > 0. Prices in quote per base unit; entry is 0 when flat."""

    qty_lots: Lots
    entry_price: Decimal
    mark_price: Decimal
    liquidation_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """`equity` = wallet balance + unrealised PnL and `available` = free margin, both in quote currency.

    `can_withdraw` is None where the venue does not tell. `clock_offset_ns` = venue clock - ours.
    """

    equity: Decimal
    available: Decimal
    leverage: Decimal
    hedge_mode: bool
    can_withdraw: bool | None
    clock_offset_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueSnapshot:
    """One reading of one instrument's orders, position and recent trades.

    `ts_asked_ns` is our clock before the first request, `ts_answered_ns` after the last answer: what we did in
    between may or may not be in it. `open_orders` holds every open order of the instrument, foreign ones too.
    `fills` holds our account's trades since the time the reader asked for, oldest first.
    """

    open_orders: tuple[OrderReport, ...]
    position: Position
    fills: tuple[Fill, ...]
    ts_asked_ns: int
    ts_answered_ns: int
