"""How many lots an order has: a fixed quote amount at each level, rounded down to the lot."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.settings import GridSettings


@dataclass(frozen=True, slots=True)
class Sizing:
    """Whole-number limits of one grid on one instrument; values in quanta (ticks times lots)."""

    amount: int
    least_entry_value: int
    least_exit_value: int
    least_lots: int
    most_lots: int | None

    def entry_lots(self, price: Ticks) -> Lots:
        """Lots of a full entry at `price`."""
        lots = self.amount // price
        return Lots(lots if self.most_lots is None else min(lots, self.most_lots))

    def least_entry_lots(self, price: Ticks) -> int:
        return max(self.least_lots, -(-self.least_entry_value // price))

    def least_exit_lots(self, price: Ticks) -> int:
        """Below this many lots an exit at `price` would be refused: the rest is dust."""
        return max(self.least_lots, -(-self.least_exit_value // price))

    def exit_lots(self, held: int) -> Lots:
        return Lots(held if self.most_lots is None else min(held, self.most_lots))


def build_sizing(settings: GridSettings, instrument: Instrument) -> Sizing:
    def quanta(value: Decimal, rounding: str) -> int:
        return int((value / instrument.quantum).to_integral_value(rounding))

    entry_value = max(settings.min_order_value, instrument.min_notional)
    return Sizing(
        amount=quanta(settings.order_amount, ROUND_FLOOR),
        least_entry_value=quanta(entry_value, ROUND_CEILING),
        least_exit_value=quanta(instrument.min_notional, ROUND_CEILING),
        least_lots=instrument.min_qty,
        most_lots=instrument.max_qty,
    )
