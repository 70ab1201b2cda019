"""Prices at which a grid starts or ends: trigger, stop loss, take profit, as whole ticks."""

from __future__ import annotations

from decimal import Decimal

from marketmaker.core.grid import FAR
from marketmaker.model.instrument import Instrument, Ticks
from marketmaker.model.settings import GridSettings, GridSide


class PriceLimits:
    """For a short grid stop loss lies above and take profit below; a neutral grid uses them as for a long one.

    The trigger waits for the price to come to it from whichever side it was first seen on.
    """

    def __init__(self, settings: GridSettings, instrument: Instrument) -> None:
        def at_most(price: Decimal | None) -> int | None:
            return None if price is None else instrument.floor_ticks(price)

        def at_least(price: Decimal | None) -> int | None:
            return None if price is None else instrument.ceil_ticks(price)

        self.instrument = instrument
        self.trigger = settings.trigger_price
        self.waiting = self.trigger is not None
        self.wait_until = 0
        self.trigger_from_above = False
        self.seen = False
        low, high = settings.stop_loss, settings.take_profit
        low_name, high_name = "stop_loss", "take_profit"
        if settings.side is GridSide.SHORT:
            low, high, low_name, high_name = high, low, high_name, low_name
        self.low, self.high = at_most(low), at_least(high)
        self.low_name, self.high_name = low_name, high_name

    def first_price(self, price: Ticks) -> None:
        self.seen = True
        if self.trigger is not None:
            self.trigger_from_above = self.instrument.price(price) > self.trigger
            rounding = (
                self.instrument.floor_ticks
                if self.trigger_from_above
                else self.instrument.ceil_ticks
            )
            self.wait_until = rounding(self.trigger)

    def hear(self, price: Ticks) -> str:
        """Whether the price ends the grid: the reason, or ""."""
        if not self.seen:
            self.first_price(price)
        if self.trigger is not None and self.waiting:
            reached = (
                price <= self.wait_until if self.trigger_from_above else price >= self.wait_until
            )
            self.waiting = not reached
            return ""
        if self.low is not None and price <= self.low:
            return self.reached(self.low_name, self.low)
        if self.high is not None and price >= self.high:
            return self.reached(self.high_name, self.high)
        return ""

    def reached(self, name: str, bound: int) -> str:
        return f"{name} at {self.instrument.price(Ticks(bound)):f} reached"

    def band(self) -> tuple[int, int]:
        """Prices between which `hear` has nothing to say, both included."""
        low, high = -FAR, FAR
        if self.waiting and self.trigger is not None:
            if self.trigger_from_above:
                return self.wait_until + 1, high
            return low, self.wait_until - 1
        if self.low is not None:
            low = self.low + 1
        if self.high is not None:
            high = self.high - 1
        return low, high
