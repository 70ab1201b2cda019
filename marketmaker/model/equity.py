"""The account at one moment beside what our books make of it.

Equity identity, over the whole account, in quote currency, since the books were opened:

    equity - equity then = sum over symbols of realised + unrealised - fees + funding      (residual: 0)

`unrealised` counts from the opening on: a position that was there before enters at its mark then.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext

from marketmaker.model.account import Position
from marketmaker.model.instrument import Instrument
from marketmaker.model.status import GridTotals

EXACT_DIGITS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolReading:
    """`opening` and `position` are the venue's, at the opening of the books and now; `totals` are ours.

    `foreign_lots` of the position belong to the account's owner; what they gain is not in our books.
    """

    instrument: Instrument
    totals: GridTotals
    opening: Position
    position: Position
    foreign_lots: int = 0

    @property
    def agrees(self) -> bool:
        """Whether our slots hold what the venue says we hold."""
        return self.position.qty_lots == self.totals.inventory_lots + self.foreign_lots

    def explained(self) -> Decimal:
        """What this symbol should have changed the equity by."""
        instrument, totals = self.instrument, self.totals
        with localcontext(prec=EXACT_DIGITS):
            now = instrument.base_qty(totals.inventory_lots) * self.position.mark_price
            then = instrument.base_qty(self.opening.qty_lots) * self.opening.mark_price
            cost = instrument.money(totals.inventory_cost) - instrument.money(totals.adopted_cost)
            realised = instrument.money(totals.realised)
            return realised + now - then - cost - totals.fees + totals.funding


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityReading:
    """`ts_ns` is our clock. `opening_equity` as it was at `opening_ts_ns`, when the totals were 0."""

    equity: Decimal
    available: Decimal
    opening_equity: Decimal
    opening_ts_ns: int
    symbols: tuple[SymbolReading, ...]
    ts_ns: int

    @property
    def residual(self) -> Decimal:
        """Change of the equity that is not in our books."""
        with localcontext(prec=EXACT_DIGITS):
            explained = sum((row.explained() for row in self.symbols), Decimal(0))
            return self.equity - self.opening_equity - explained
