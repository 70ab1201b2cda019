"""Where the levels are: whole ticks for every level number, and back.

Level 0 is the anchor. Arithmetic levels lie `interval` ticks apart (a rational number of ticks: an interval that is
not a multiple of the tick keeps its average exactly), geometric ones a constant ratio apart. Each exact level is
rounded once to the nearest tick, halves upward. Levels below `lowest` would be nought or share a tick with their
neighbour; they are never quoted.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final

from marketmaker.model.instrument import Instrument, Ticks
from marketmaker.model.settings import GridSettings, Spacing

PRECISE: Final = Context(prec=50, rounding=ROUND_HALF_UP)


class ArithmeticLattice:
    """Levels `anchor + number * numerator / denominator`, in ticks. `lowest`: the least that may be quoted."""

    def __init__(self, anchor: Ticks, numerator: int, denominator: int) -> None:
        self.anchor = anchor
        self.numerator = numerator
        self.denominator = denominator
        self.lowest = self.at_or_below(Ticks(0)) + 1
        self.lowest_ticks = anchor + self.lowest * numerator

    def level(self, number: int) -> Ticks:
        """Counted from `lowest`, because compiled code multiplies numbers above nought fastest."""
        if self.denominator == 1:
            return Ticks(self.lowest_ticks + (number - self.lowest) * self.numerator)
        twice = 2 * (self.anchor * self.denominator + number * self.numerator) + self.denominator
        return Ticks(twice // (2 * self.denominator))

    def at_or_below(self, price: Ticks) -> int:
        """The greatest level number whose level is at or below `price`."""
        if self.denominator == 1:
            return (price - self.anchor) // self.numerator
        number = (price - self.anchor) * self.denominator // self.numerator
        while self.level(number + 1) <= price:
            number += 1
        while self.level(number) > price:
            number -= 1
        return number


class GeometricLattice:
    """Levels `anchor * ratio ** number`, in ticks. `lowest`: the least that may be quoted."""

    def __init__(self, anchor: Ticks, ratio: Decimal) -> None:
        self.anchor = anchor
        self.ratio = ratio
        self.exact_anchor = Decimal(anchor)
        self.log_ratio = math.log(float(ratio))
        self.known: dict[int, Ticks] = {}
        self.lowest = self.first_distinct()

    def level(self, number: int) -> Ticks:
        known = self.known.get(number)
        if known is None:
            if len(self.known) > 1_000_000:
                self.known.clear()
            exact = self.exact_level(number)
            known = Ticks(int(exact.to_integral_value(ROUND_HALF_UP)))
            self.known[number] = known
        return known

    def exact_level(self, number: int) -> Decimal:
        return PRECISE.multiply(self.exact_anchor, PRECISE.power(self.ratio, number))

    def at_or_below(self, price: Ticks) -> int:
        """The greatest level number whose level is at or below `price`."""
        if price < 1:
            return self.lowest - 1
        number = math.floor(math.log(price / self.anchor) / self.log_ratio)
        while self.level(number + 1) <= price:
            number += 1
        while self.level(number) > price:
            number -= 1
        return number

    def first_distinct(self) -> int:
        """The least level from which every exact step is at least one tick."""
        step = self.ratio - 1
        number = math.floor(math.log(1 / (self.anchor * float(step))) / self.log_ratio)
        while self.exact_level(number) * step < 1:
            number += 1
        while self.exact_level(number - 1) * step >= 1:
            number -= 1
        return number


Lattice = ArithmeticLattice | GeometricLattice


def describe_lattice(settings: GridSettings) -> str:
    """Which levels the settings ask for, in words; equal texts number the same levels from the same anchor."""
    step = settings.price_interval or settings.interval_pct or Decimal(0)
    return f"{settings.side.value} {settings.spacing.value} {step.normalize():f}"


def build_lattice(anchor: Ticks, settings: GridSettings, instrument: Instrument) -> Lattice:
    """The levels `settings` asks for on `instrument`, counted from `anchor`."""
    if settings.spacing is Spacing.ARITHMETIC:
        if settings.price_interval is None:
            raise ValueError("arithmetic spacing needs price_interval")
        numerator, denominator = (settings.price_interval / instrument.tick_size).as_integer_ratio()
        return ArithmeticLattice(anchor, numerator, denominator)
    if settings.interval_pct is None:
        raise ValueError("geometric spacing needs interval_pct")
    return GeometricLattice(anchor, 1 + settings.interval_pct)
