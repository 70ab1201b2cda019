"""The exchange's books of our account: wallet, positions, fees, funding, margin. Cross margin, one-way positions.

Money is exact. A position is how many lots are held and the sum of price times lots paid for them, both integers, so

    equity = wallet + sum of (lots x mark - cost) x quantum

never divides and never rounds; `EXACT` raises if it ever had to. What a trade made stays inside `cost` until the
position is flat, and is then moved to the wallet. The average entry price is kept beside this, for display only.

Marks are in half ticks (`mark2` = bid + ask, or twice the last trade), so that a mid is an integer too.

Margin is looked at again only when it can matter: after each full check a position knows how far its mark may move
before the account could be short, even if every other position went against us by its share as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Context, Decimal, Inexact, InvalidOperation

from marketmaker.model.account import Position
from marketmaker.model.instrument import Instrument, Lots
from marketmaker.model.order import Side

EXACT = Context(prec=80, traps=[Inexact, InvalidOperation])
HALF = Decimal("0.5")
ZERO = Decimal(0)
FAR = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingPayment:
    """`amount` in quote currency, positive was paid to us."""

    payment_id: str
    amount: Decimal
    ts_venue_ns: int


@dataclass(slots=True, kw_only=True, eq=False)
class Holding:
    """One instrument's position. `lots` signed, `cost` = signed sum of price times lots since last flat.

    `opening`: by side, price times lots of open orders that are not reduce-only.
    Nothing needs to be checked while `safe_low` < `mark2` < `safe_high`.
    """

    instrument: Instrument
    lots: int = 0
    cost: int = 0
    entry_ticks: Decimal = ZERO
    mark2: int = 0
    opening: dict[Side, int] = field(default_factory=lambda: {Side.BUY: 0, Side.SELL: 0})
    safe_low: int = -FAR
    safe_high: int = FAR

    @property
    def half_quantum(self) -> Decimal:
        return EXACT.multiply(self.instrument.quantum, HALF)

    def unrealised(self) -> Decimal:
        """At the mark; includes what partial closes made since the position was last flat."""
        return EXACT.multiply(Decimal(self.lots * self.mark2 - 2 * self.cost), self.half_quantum)

    def notional(self) -> Decimal:
        """Signed value at the mark."""
        return EXACT.multiply(Decimal(self.lots * self.mark2), self.half_quantum)

    def exposure2(self, side: Side | None = None, quanta: int = 0) -> int:
        """In half quanta: the larger position, either way, that the open orders and one more could make."""
        buys = self.opening[Side.BUY] + (quanta if side is Side.BUY else 0)
        sells = self.opening[Side.SELL] + (quanta if side is Side.SELL else 0)
        now = self.lots * self.mark2
        return max(now + 2 * buys, 2 * sells - now)


class Account:
    """`wallet`: deposits, less fees, plus funding, plus what closed positions made."""

    def __init__(
        self,
        *,
        balance: Decimal,
        leverage: Decimal,
        maintenance_margin: Decimal,
        instruments: dict[str, Instrument],
    ) -> None:
        self.leverage = leverage
        self.maintenance_margin = maintenance_margin
        self.wallet = balance
        self.fees = ZERO
        self.funding = ZERO
        self.holdings = {
            name: Holding(instrument=instrument) for name, instrument in instruments.items()
        }

    def equity(self) -> Decimal:
        total = self.wallet
        for holding in self.holdings.values():
            if holding.lots:
                total = EXACT.add(total, holding.unrealised())
        return total

    def book_fill(
        self, holding: Holding, side: Side, price_ticks: int, qty_lots: int, *, is_maker: bool
    ) -> Decimal:
        """Move the position; returns the fee, paid > 0."""
        instrument = holding.instrument
        signed = side * qty_lots
        before, after = holding.lots, holding.lots + signed
        if before * signed >= 0:
            holding.entry_ticks = (
                holding.entry_ticks * abs(before) + price_ticks * qty_lots
            ) / abs(after)
        elif before * after < 0:
            holding.entry_ticks = Decimal(price_ticks)
        holding.lots = after
        holding.cost += signed * price_ticks
        if after == 0:
            made = EXACT.multiply(Decimal(-holding.cost), instrument.quantum)
            self.wallet = EXACT.add(self.wallet, made)
            holding.cost = 0
            holding.entry_ticks = ZERO
        rate = instrument.maker_fee if is_maker else instrument.taker_fee
        traded = EXACT.multiply(Decimal(price_ticks * qty_lots), instrument.quantum)
        fee = EXACT.multiply(traded, rate)
        self.fees = EXACT.add(self.fees, fee)
        self.wallet = EXACT.subtract(self.wallet, fee)
        return fee

    def pay_funding(self, holding: Holding, rate: Decimal) -> Decimal:
        """Returns what was paid to us; with a positive rate longs pay."""
        amount = EXACT.multiply(-holding.notional(), rate)
        self.funding = EXACT.add(self.funding, amount)
        self.wallet = EXACT.add(self.wallet, amount)
        return amount

    def affords(self, holding: Holding, side: Side, quanta: int) -> bool:
        """Whether one more opening order fits: exposure of all positions and orders within equity x leverage.

        An order that makes nothing larger always fits.
        """
        if holding.exposure2(side, quanta) <= holding.exposure2():
            return True
        exposure = self._exposure()
        more = holding.exposure2(side, quanta) - holding.exposure2()
        exposure = EXACT.add(exposure, EXACT.multiply(Decimal(more), holding.half_quantum))
        return exposure <= EXACT.multiply(self.equity(), self.leverage)

    def available(self) -> Decimal:
        """Free margin, rounded to 28 digits, never below 0."""
        return max(ZERO, self.equity() - self._exposure() / self.leverage)

    def _exposure(self) -> Decimal:
        total = ZERO
        for holding in self.holdings.values():
            exposed = EXACT.multiply(Decimal(holding.exposure2()), holding.half_quantum)
            total = EXACT.add(total, exposed)
        return total

    def maintenance(self) -> Decimal:
        """Equity below this is liquidated."""
        total = ZERO
        for holding in self.holdings.values():
            if holding.lots:
                total = EXACT.add(total, abs(holding.notional()))
        return EXACT.multiply(total, self.maintenance_margin)

    def is_short_of_margin(self) -> bool:
        """The full check; also tells each position how far its mark may move until the next one."""
        held = [holding for holding in self.holdings.values() if holding.lots]
        slack = EXACT.subtract(self.equity(), self.maintenance()) if held else ZERO
        if slack < 0:
            return True
        for holding in held:
            loss_per_step = abs(holding.lots) * holding.half_quantum * (1 + self.maintenance_margin)
            steps = int((slack / len(held) / loss_per_step).to_integral_value(ROUND_FLOOR)) - 1
            holding.safe_low = holding.mark2 - steps if holding.lots > 0 else -FAR
            holding.safe_high = holding.mark2 + steps if holding.lots < 0 else FAR
        return False

    def position(self, holding: Holding) -> Position:
        tick_size = holding.instrument.tick_size
        return Position(
            qty_lots=Lots(holding.lots),
            entry_price=holding.entry_ticks * tick_size,
            mark_price=holding.mark2 * tick_size * HALF,
            liquidation_price=self._liquidation_price(holding),
        )

    def _liquidation_price(self, holding: Holding) -> Decimal | None:
        """Where this mark alone would bring equity down to maintenance; None when no price above 0 would."""
        if not holding.lots:
            return None
        apart = self.equity() - holding.unrealised() - holding.cost * holding.instrument.quantum
        others = self.maintenance() - abs(holding.notional()) * self.maintenance_margin
        per_tick = holding.lots - abs(holding.lots) * self.maintenance_margin
        ticks = (others - apart) / (per_tick * holding.instrument.quantum)
        return ticks * holding.instrument.tick_size if ticks > 0 else None
