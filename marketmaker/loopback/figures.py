"""Figures of the account that every venue shows, each in its own shape: as Decimals, and as exact decimal text."""

from __future__ import annotations

from decimal import Decimal

from marketmaker.model.instrument import Instrument
from marketmaker.sim.account import HALF, Account, Holding

ZERO = Decimal(0)


def price_text(instrument: Instrument, ticks: int) -> str:
    return f"{ticks * instrument.tick_size:f}"


def qty_text(instrument: Instrument, lots: int) -> str:
    """In base currency."""
    return f"{lots * instrument.lot_size:f}"


def money_text(value: Decimal) -> str:
    return f"{value:.8f}"


def decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def unrealised(holding: Holding) -> Decimal:
    """Against the average entry price, which is what venues show."""
    mark = Decimal(holding.mark2) * HALF
    return holding.lots * (mark - holding.entry_ticks) * holding.instrument.quantum


def wallet(account: Account) -> Decimal:
    """Equity less what is unrealised: what partial closes made is in it."""
    held = (holding for holding in account.holdings.values() if holding.lots)
    return account.equity() - sum((unrealised(holding) for holding in held), ZERO)


def margins(holding: Holding, leverage: Decimal) -> tuple[Decimal, Decimal]:
    """Initial margin of the position and of the open orders."""
    position = abs(holding.notional()) / leverage
    return position, holding.exposure2() * holding.half_quantum / leverage - position
