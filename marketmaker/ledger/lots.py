"""Which purchase each sale disposed of, as tax forms ask: first in first out, or at the average cost.

Counted per instrument of a book, over all slots: a tax office knows no slots. A position may be short; then the sale
comes first and the purchase closes it. Where a share has to be divided it is rounded down to 12 decimals and the rest
stays with what is left, so that the sum over all pieces is exact.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from marketmaker.ledger.rows import LedgerTrade

STEP = Decimal("1E-12")
ZERO = Decimal(0)
METHODS = ("fifo", "average")
OPENING = "opening"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposal:
    """One piece that was opened and closed. `side` 1: bought, then sold; -1: sold, then bought back.

    `cost` was paid and `proceeds` received, before fees; `fees` are those of both ends.
    """

    side: int
    qty: Decimal
    opened_by: str
    closed_by: str
    ts_opened_ns: int
    ts_closed_ns: int
    cost: Decimal
    proceeds: Decimal
    fees: Decimal

    @property
    def gain(self) -> Decimal:
        return self.proceeds - self.cost - self.fees


@dataclass(slots=True)
class Lot:
    """What is left of something opened: `value` and `fee` shrink with `qty`."""

    qty: Decimal
    value: Decimal
    fee: Decimal
    opened_by: str
    ts_ns: int

    def take(self, qty: Decimal) -> tuple[Decimal, Decimal]:
        """(value, fee) of `qty` of it."""
        value, fee = share(self.value, qty, self.qty), share(self.fee, qty, self.qty)
        self.qty -= qty
        self.value -= value
        self.fee -= fee
        return value, fee


def share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    if part == whole:
        return amount
    return (amount * part / whole).quantize(STEP, ROUND_FLOOR)


def disposals(
    trades: Iterable[LedgerTrade],
    method: str,
    *,
    opening: Decimal = ZERO,
    opening_price: Decimal = ZERO,
) -> Iterator[Disposal]:
    """Trades of one line in order of time. `opening`: a position that was there before the first, at its price."""
    lots: deque[Lot] = deque()
    sign = 0
    if opening:
        sign = 1 if opening > 0 else -1
        lots.append(Lot(abs(opening), abs(opening) * opening_price, ZERO, OPENING, 0))
    for trade in trades:
        coming = Lot(
            trade.qty, trade.price * trade.qty, trade.fee, trade.trade_id, trade.ts_venue_ns
        )
        while lots and sign != trade.side and coming.qty:
            oldest = lots[0]
            opened_by, ts_ns = oldest.opened_by, oldest.ts_ns
            qty = min(oldest.qty, coming.qty)
            opened, opening_fee = oldest.take(qty)
            closed, closing_fee = coming.take(qty)
            if not oldest.qty:
                lots.popleft()
            yield Disposal(
                side=sign,
                qty=qty,
                opened_by=opened_by,
                closed_by=trade.trade_id,
                ts_opened_ns=ts_ns,
                ts_closed_ns=trade.ts_venue_ns,
                cost=opened if sign > 0 else closed,
                proceeds=closed if sign > 0 else opened,
                fees=opening_fee + closing_fee,
            )
        if not coming.qty:
            continue
        sign = trade.side
        if method == "average" and lots:
            pool = lots[0]
            pool.qty += coming.qty
            pool.value += coming.value
            pool.fee += coming.fee
        else:
            if method == "average":
                coming.opened_by = "average"
            lots.append(coming)
