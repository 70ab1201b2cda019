"""What is traded, and the exact whole numbers prices and quantities become inside.

Prices are `Ticks`, quantities `Lots`, and the value of so many lots at so many ticks is `Quanta`, their product.
All three are plain integers, so nothing inside ever rounds. They mean something only together with the
`Instrument` that converts them, once, at the adapter's edge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NewType

from marketmaker.errors import MalformedMessage, UnsupportedInstrument

Ticks = NewType("Ticks", int)
Lots = NewType("Lots", int)
Quanta = NewType("Quanta", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """A linear contract or a spot pair, as one venue defines it.

    `name` is how the configuration calls it (`ETHUSDT`); the venue's own symbol stays inside its adapter.
    `lot_size` is in the unit the venue states quantities in (base units, or contracts of `multiplier` base units).
    Fees are fractions of notional; negative is a rebate.
    """

    venue: str
    name: str
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    multiplier: Decimal = Decimal(1)
    min_qty: Lots = Lots(1)
    max_qty: Lots | None = None
    min_notional: Decimal = Decimal(0)
    maker_fee: Decimal
    taker_fee: Decimal
    inverse: bool = False
    spot: bool = False
    quantum: Decimal = field(init=False)
    """Quote value of one lot moving by one tick; `Quanta` times this is money."""
    base_per_lot: Decimal = field(init=False)

    def __post_init__(self) -> None:
        if self.inverse:
            raise UnsupportedInstrument(
                f"{self.name} on {self.venue} is an inverse contract; only linear ones are supported"
            )
        for label in ("tick_size", "lot_size", "multiplier"):
            step = getattr(self, label)
            if not step.is_finite() or step <= 0:
                raise UnsupportedInstrument(f"{self.name}: {label} must be positive, got {step}")
        object.__setattr__(self, "base_per_lot", self.lot_size * self.multiplier)
        object.__setattr__(self, "quantum", self.tick_size * self.lot_size * self.multiplier)

    def price(self, ticks: Ticks) -> Decimal:
        """Quote per base unit."""
        return ticks * self.tick_size

    def base_qty(self, lots: Lots) -> Decimal:
        """Base units, signed as given."""
        return lots * self.base_per_lot

    def notional(self, price: Ticks, qty: Lots) -> Decimal:
        """Value in quote currency, before fees, exact."""
        return price * qty * self.quantum

    def money(self, quanta: Quanta) -> Decimal:
        """Quote value of a sum of ticks times lots, exact."""
        return quanta * self.quantum

    def exact_ticks(self, price: Decimal) -> Ticks:
        """Raises MalformedMessage for a price that is not on the tick."""
        ticks = price / self.tick_size
        whole = int(ticks)
        if ticks != whole:
            raise MalformedMessage(
                f"price {price:f} of {self.name} is off the tick size {self.tick_size:f}"
            )
        return Ticks(whole)

    def exact_lots(self, qty: Decimal) -> Lots:
        """From the venue's quantity unit. Raises MalformedMessage when off the lot."""
        lots = qty / self.lot_size
        whole = int(lots)
        if lots != whole:
            raise MalformedMessage(
                f"quantity {qty:f} of {self.name} is off the lot size {self.lot_size:f}"
            )
        return Lots(whole)

    def floor_ticks(self, price: Decimal) -> Ticks:
        return Ticks(int((price / self.tick_size).to_integral_value(ROUND_FLOOR)))

    def ceil_ticks(self, price: Decimal) -> Ticks:
        return Ticks(int((price / self.tick_size).to_integral_value(ROUND_CEILING)))
