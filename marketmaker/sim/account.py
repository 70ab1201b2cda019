"""The exchange's books of our account: wallet, positions, fees, funding, margin. Cross margin, one-way positions.

Money is exact. A position is how many lots are held and the sum of price times lots paid for them, both integers, so

    equity = wallet + sum of (lots x mark - cost) x quantum

never divides and never rounds. All money is counted in grains: whole numbers of a power of ten small enough that half
a quantum, every fee and every payment so far is a whole number of them, so that the sums an order or
a fill calls for are sums of integers; they become decimals where somebody reads them. What a trade made stays inside
`cost` until the position is flat, and is then moved to the wallet. The average entry price is kept beside this, for
display only.

Marks are in half ticks (`mark2` = bid + ask, or twice the last trade), so that a mid is an integer too.

Margin is looked at again only when it can matter: after each full check a position knows how far its mark may move
before the account could be short, even if every other position went against us by its share as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final

from marketmaker.model.account import Position
from marketmaker.model.instrument import Instrument, Lots
from marketmaker.model.order import Side

EXACT: Final = Context(prec=80, traps=[Inexact, InvalidOperation])
HALF: Final = Decimal("0.5")
ZERO: Final = Decimal(0)
USUAL_DIGITS: Final = 28
FAR: Final = 1 << 61
BUY: Final = Side.BUY


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingPayment:
    """`amount` in quote currency, positive was paid to us."""

    payment_id: str
    amount: Decimal
    ts_venue_ns: int


@dataclass(slots=True, kw_only=True, eq=False)
class Holding:
    """One instrument's position. `lots` signed, `cost` = signed sum of price times lots since last flat.

    `buying`, `selling`: price times lots of open orders that are not reduce-only.
    Nothing needs to be checked while `safe_low` < `mark2` < `safe_high`.
    `half_grains`: half a quantum in the account's grains.
    """

    instrument: Instrument
    lots: int = 0
    cost: int = 0
    entry_ticks: Decimal = ZERO
    mark2: int = 0
    buying: int = 0
    selling: int = 0
    safe_low: int = -FAR
    safe_high: int = FAR
    half_grains: int = 0
    maker_grains: int = 0
    """The fee of one quantum, as a maker, in grains."""
    taker_grains: int = 0
    maker_fee: Decimal = field(init=False)
    """The same in quote currency."""
    taker_fee: Decimal = field(init=False)
    short_value: int = field(init=False)
    """Fees of fewer quanta than this have no more digits than Python's usual arithmetic keeps."""

    def __post_init__(self) -> None:
        quantum = self.instrument.quantum
        self.maker_fee = EXACT.multiply(quantum, self.instrument.maker_fee)
        self.taker_fee = EXACT.multiply(quantum, self.instrument.taker_fee)
        digits = max(len(fee.as_tuple().digits) for fee in (self.maker_fee, self.taker_fee))
        self.short_value = min(10 ** max(USUAL_DIGITS - digits, 0), FAR)

    @property
    def half_quantum(self) -> Decimal:
        return EXACT.multiply(self.instrument.quantum, HALF)

    def unrealised(self) -> Decimal:
        """At the mark; includes what partial closes made since the position was last flat."""
        return EXACT.multiply(Decimal(self.lots * self.mark2 - 2 * self.cost), self.half_quantum)

    def notional(self) -> Decimal:
        """Signed value at the mark."""
        return EXACT.multiply(Decimal(self.lots * self.mark2), self.half_quantum)

    def exposure2(self, more_buying: int = 0, more_selling: int = 0) -> int:
        """In half quanta: the larger position, either way, that the open orders and one more could make."""
        now = self.lots * self.mark2
        return max(now + 2 * (self.buying + more_buying), 2 * (self.selling + more_selling) - now)

    def value2(self) -> int:
        """In half quanta: what is held, signed, at the mark."""
        return self.lots * self.mark2


class Account:
    """`wallet`: deposits, less fees, plus funding, plus what closed positions made.

    `keep_entry_prices` False: a position's entry price is what it cost since it was last flat, per lot, instead of the
    average of what opened it, which costs several divisions a fill.
    """

    def __init__(
        self,
        *,
        balance: Decimal,
        leverage: Decimal,
        maintenance_margin: Decimal,
        instruments: dict[str, Instrument],
        keep_entry_prices: bool = True,
    ) -> None:
        self.leverage = leverage
        self._keep_entry_prices = keep_entry_prices
        self.maintenance_margin = maintenance_margin
        self.holdings = {
            name: Holding(instrument=instrument) for name, instrument in instruments.items()
        }
        self._each = list(self.holdings.values())
        self._margin_over, self._margin_under = maintenance_margin.as_integer_ratio()
        self._wallet = self._fees = self._funding = 0
        self._places = 0
        self._count_in(max(map(decimal_places, [balance, *self._steps()])))
        self._wallet = self._grains(balance)

    def _steps(self) -> Iterator[Decimal]:
        """What every sum is a multiple of: half a quantum, and the fees of one, of each instrument."""
        for holding in self.holdings.values():
            yield holding.half_quantum
            yield holding.maker_fee
            yield holding.taker_fee

    def _count_in(self, places: int) -> None:
        """Make the grain 10 ** -places, finer than it was."""
        finer = 10 ** (places - self._places)
        self._places = places
        self._wallet *= finer
        self._fees *= finer
        self._funding *= finer
        steps = self._steps()
        for holding in self.holdings.values():
            holding.half_grains = self._grains(next(steps))
            holding.maker_grains = self._grains(next(steps))
            holding.taker_grains = self._grains(next(steps))

    def _grains(self, money: Decimal) -> int:
        """Exact, for money of no more than `_places` decimal places."""
        return int(EXACT.scaleb(money, self._places))

    def _money(self, grains: int) -> Decimal:
        return EXACT.scaleb(Decimal(grains), -self._places)

    @property
    def leverage(self) -> Decimal:
        return self._leverage

    @leverage.setter
    def leverage(self, leverage: Decimal) -> None:
        self._leverage = leverage
        self._leverage_over, self._leverage_under = leverage.as_integer_ratio()

    @property
    def wallet(self) -> Decimal:
        return self._money(self._wallet)

    @property
    def fees(self) -> Decimal:
        return self._money(self._fees)

    @property
    def funding(self) -> Decimal:
        return self._money(self._funding)

    def equity(self) -> Decimal:
        return self._money(self._equity())

    def _equity(self) -> int:
        total = self._wallet
        for holding in self._each:
            if holding.lots:
                made2 = holding.value2() - holding.cost - holding.cost
                total += made2 * holding.half_grains
        return total

    def book_fill(
        self, holding: Holding, side: Side, price_ticks: int, qty_lots: int, *, is_maker: bool
    ) -> Decimal:
        """Move the position; returns the fee, paid > 0."""
        signed = qty_lots if side is BUY else -qty_lots
        before, after = holding.lots, holding.lots + signed
        value = price_ticks * qty_lots
        if self._keep_entry_prices:
            if before * signed >= 0:
                holding.entry_ticks = (holding.entry_ticks * abs(before) + value) / abs(after)
            elif before * after < 0:
                holding.entry_ticks = Decimal(price_ticks)
        holding.lots = after
        holding.cost += value if signed > 0 else -value
        if after == 0:
            self._wallet -= 2 * holding.cost * holding.half_grains
            holding.cost = 0
            holding.entry_ticks = ZERO
        paid = value * (holding.maker_grains if is_maker else holding.taker_grains)
        self._fees += paid
        self._wallet -= paid
        rate = holding.maker_fee if is_maker else holding.taker_fee
        return value * rate if value < holding.short_value else EXACT.multiply(value, rate)

    def pay_funding(self, holding: Holding, rate: Decimal) -> Decimal:
        """Returns what was paid to us; with a positive rate longs pay."""
        amount = EXACT.multiply(-holding.notional(), rate)
        self.pay_in(amount)
        self._funding += self._grains(amount)
        return amount

    def pay_in(self, amount: Decimal) -> None:
        """Into the wallet, out of it where negative; the grain gets finer where it has to."""
        if decimal_places(amount) > self._places:
            self._count_in(decimal_places(amount))
        self._wallet += self._grains(amount)

    def affords(self, holding: Holding, side: Side, quanta: int) -> bool:
        """Whether one more opening order fits: exposure of all positions and orders within equity x leverage.

        An order that makes nothing larger always fits.
        """
        now2, more2 = holding.value2(), quanta + quanta
        bought2 = now2 + holding.buying + holding.buying
        sold2 = holding.selling + holding.selling - now2
        before2 = max(bought2, sold2)
        if side is BUY:
            bought2 += more2
        else:
            sold2 += more2
        then2 = max(bought2, sold2)
        if then2 <= before2:
            return True
        exposure = then2 * holding.half_grains
        for other in self._each:
            if other is not holding:
                exposure += other.exposure2() * other.half_grains
        equity = self._equity()
        if exposure <= equity and self._leverage_under <= self._leverage_over:
            return True
        return times(exposure, self._leverage_under) <= times(equity, self._leverage_over)

    def available(self) -> Decimal:
        """Free margin, rounded to 28 digits, never below 0."""
        return max(ZERO, self.equity() - self._money(self._exposure()) / self.leverage)

    def _exposure(self) -> int:
        total = 0
        for holding in self.holdings.values():
            total += holding.exposure2() * holding.half_grains
        return total

    def maintenance(self) -> Decimal:
        """Equity below this is liquidated."""
        return EXACT.multiply(self._money(self._notional()), self.maintenance_margin)

    def _maintenance(self, notional: int) -> int:
        """In whole grains, rounded up: equity, which is whole, lies below this when it lies below the exact figure."""
        under = self._margin_under
        return (times(notional, self._margin_over) + under - 1) // under

    def _notional(self) -> int:
        total = 0
        for holding in self._each:
            total += abs(holding.value2()) * holding.half_grains
        return total

    def is_short_of_margin(self) -> bool:
        """The full check; also tells each position how far its mark may move until the next one."""
        held = 0
        for holding in self._each:
            held += holding.lots != 0
        if not held:
            return False
        slack = self._equity() - self._maintenance(self._notional())
        if slack < 0:
            return True
        for holding in self._each:
            if not holding.lots:
                continue
            value_per_step = abs(holding.lots) * holding.half_grains
            loss_per_step = value_per_step + self._maintenance(value_per_step)
            steps = slack // times(loss_per_step, held) - 1
            holding.safe_low = holding.mark2 - steps if holding.lots > 0 else -FAR
            holding.safe_high = holding.mark2 + steps if holding.lots < 0 else FAR
        return False

    def position(self, holding: Holding) -> Position:
        tick_size = holding.instrument.tick_size
        return Position(
            qty_lots=Lots(holding.lots),
            entry_price=self._entry_ticks(holding) * tick_size,
            mark_price=holding.mark2 * tick_size * HALF,
            liquidation_price=self._liquidation_price(holding),
        )

    def _entry_ticks(self, holding: Holding) -> Decimal:
        if self._keep_entry_prices or not holding.lots:
            return holding.entry_ticks
        return Decimal(holding.cost) / holding.lots

    def _liquidation_price(self, holding: Holding) -> Decimal | None:
        """Where this mark alone would bring equity down to maintenance; None when no price above 0 would."""
        if not holding.lots:
            return None
        apart = self.equity() - holding.unrealised() - holding.cost * holding.instrument.quantum
        others = self.maintenance() - abs(holding.notional()) * self.maintenance_margin
        per_tick = holding.lots - abs(holding.lots) * self.maintenance_margin
        ticks = (others - apart) / (per_tick * holding.instrument.quantum)
        return ticks * holding.instrument.tick_size if ticks > 0 else None


def times(value: int, factor: int) -> int:
    """`value * factor` where the factor mostly is 1: compiled code is slow at products of large numbers."""
    return value if factor == 1 else value * factor


def decimal_places(money: Decimal) -> int:
    """Digits behind the point, 0 at least."""
    exponent = money.as_tuple().exponent
    assert isinstance(exponent, int), "money is finite"
    return max(0, -exponent)
