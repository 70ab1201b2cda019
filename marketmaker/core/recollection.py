"""What a process without memory can know of the one before it: a `GridMemory` made of what the venue remembers.

Every order and trade of ours carries its slot in its id, and a slot's order lies on its slot's level. So each of them
says where the anchor was, and the anchor that most of them agree on is kept. What the slots hold is read from the
trades, when those that the venue still tells add up to the position exactly; otherwise from the open orders: an exit
stands for inventory of its slot, an entry for what it has filled, both at the level's own price. What cannot be given
back to a slot is left to the ordinary repair, which takes it in at the position's entry price.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from marketmaker.core.lattice import Lattice, build_lattice, describe_lattice
from marketmaker.core.repair import OVERLAP_NS
from marketmaker.model.account import Position
from marketmaker.model.instrument import Instrument, Lots, Quanta, Ticks
from marketmaker.model.order import ClientOrderId, Fill, OrderReport, Side
from marketmaker.model.settings import GridSettings, GridSide, Spacing
from marketmaker.model.status import BookedOrder, GridMemory, Holding

WITNESSES = 200
"""Orders and trades that are asked for the anchor, the newest."""
REACH = 3
"""Ticks to either side of where a geometric level points: its own rounding hides that much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What the venue told of before this process did anything. `fills` oldest first, others' among them."""

    open_orders: tuple[OrderReport, ...]
    fills: tuple[Fill, ...]
    position: Position

    @property
    def own_orders(self) -> list[tuple[ClientOrderId, OrderReport]]:
        return [(o.client_order_id, o) for o in self.open_orders if o.client_order_id is not None]

    @property
    def own_fills(self) -> list[tuple[ClientOrderId, Fill]]:
        return [(f.client_order_id, f) for f in self.fills if f.client_order_id is not None]

    def same_as(self, other: Remains) -> bool:
        """Whether nothing of ours happened between two readings."""

        def essence(remains: Remains) -> object:
            orders = {name: report.filled_lots for name, report in remains.own_orders}
            trades = {fill.trade_id for _, fill in remains.own_fills}
            return orders, trades, remains.position.qty_lots

        return essence(self) == essence(other)


def recollect(
    remains: Remains, settings: GridSettings, instrument: Instrument, *, now_ns: int
) -> GridMemory | None:
    """None when nothing of ours is there, or when it tells of other levels than `settings` asks for."""
    witnesses = [(name, order.price_ticks) for name, order in remains.own_orders]
    witnesses += [(name, fill.price_ticks) for name, fill in remains.own_fills if fill.is_maker]
    if not witnesses:
        return None
    witnesses.sort(key=lambda seen: -seen[0].sequence)
    anchor = find_anchor(witnesses[:WITNESSES], settings, instrument)
    if anchor is None:
        return None
    lattice = build_lattice(anchor, settings, instrument)
    holdings = from_trades(remains, settings) or from_orders(remains, settings, lattice)
    booked_ns = max((fill.ts_venue_ns for fill in remains.fills), default=now_ns)
    return GridMemory(
        anchor_ticks=anchor,
        next_sequence=0,
        holdings=tuple(holdings),
        ended="",
        lattice=describe_lattice(settings),
        triggered=True,
        booked_ns=booked_ns,
        recent_trades=tuple(
            fill.trade_id
            for _, fill in remains.own_fills
            if fill.ts_venue_ns >= booked_ns - OVERLAP_NS
        ),
        booked_orders=tuple(
            BookedOrder(
                client_order_id=name,
                price_ticks=order.price_ticks,
                qty_lots=order.qty_lots,
                booked_lots=order.filled_lots,
                booked_value=Quanta(order.filled_lots * order.price_ticks),
                trade_lots=order.filled_lots,
                trade_value=Quanta(order.filled_lots * order.price_ticks),
                covered_ns=booked_ns,
            )
            for name, order in remains.own_orders
            if order.filled_lots
        ),
    )


def sign_of(name: ClientOrderId, settings: GridSettings) -> int:
    """Which way the slot's inventory goes."""
    match settings.side:
        case GridSide.LONG:
            return 1
        case GridSide.SHORT:
            return -1
        case GridSide.NEUTRAL:
            return 1 if name.slot < 0 else -1


def level_number(name: ClientOrderId, settings: GridSettings) -> int:
    """An entry lies on its slot's level, an exit on the next."""
    sign = sign_of(name, settings)
    return name.slot if name.side == sign else name.slot + sign


def find_anchor(
    witnesses: Sequence[tuple[ClientOrderId, Ticks]],
    settings: GridSettings,
    instrument: Instrument,
) -> Ticks | None:
    """The anchor from which most of the orders lie on their levels; None unless more than half of them do.

    A configured anchor is the only candidate.
    """
    seen = [(level_number(name, settings), price) for name, price in witnesses]
    candidates: Counter[Ticks] = Counter()
    if settings.anchor is not None:
        candidates[instrument.floor_ticks(settings.anchor)] = 1
    else:
        for number, price in seen:
            candidates.update(anchors_of(number, price, settings, instrument))
    best, votes = None, 0
    for anchor, _ in candidates.most_common(REACH * 4):
        lattice = build_lattice(anchor, settings, instrument)
        explained = sum(lattice.level(number) == price for number, price in seen)
        if explained > votes:
            best, votes = anchor, explained
    return best if 2 * votes > len(seen) else None


def anchors_of(
    number: int, price: Ticks, settings: GridSettings, instrument: Instrument
) -> Iterable[Ticks]:
    """Anchors from which level `number` is at `price`, or nearly."""
    if settings.spacing is Spacing.ARITHMETIC:
        from_nought = build_lattice(Ticks(0), settings, instrument).level(number)
        return (Ticks(price - from_nought),)
    assert settings.interval_pct is not None
    exact = price / (1 + settings.interval_pct) ** number
    middle = int(exact.to_integral_value(ROUND_HALF_EVEN))
    return (Ticks(near) for near in range(middle - REACH, middle + REACH + 1) if near > 0)


def from_trades(remains: Remains, settings: GridSettings) -> list[Holding]:
    """What the trades left in the slots, at what it was bought for; [] when they are not the whole story."""
    held: dict[int, tuple[int, Decimal]] = {}
    for name, fill in remains.own_fills:
        lots, cost = held.get(name.slot, (0, Decimal(0)))
        sign = sign_of(name, settings)
        if fill.side == sign:
            held[name.slot] = (lots + fill.qty_lots, cost + fill.qty_lots * fill.price_ticks)
        elif fill.qty_lots <= lots:
            left = lots - fill.qty_lots
            held[name.slot] = (left, cost * left / lots)
        else:
            return []
    holdings = [
        Holding(
            slot=slot,
            qty_lots=Lots(sign * lots),
            cost=Quanta(sign * int(cost.to_integral_value(ROUND_HALF_EVEN))),
        )
        for slot, (lots, cost) in sorted(held.items())
        if lots
        for sign in (sign_of(ClientOrderId(slot, Side.BUY, 0), settings),)
    ]
    whole = sum(holding.qty_lots for holding in holdings) == remains.position.qty_lots
    return holdings if whole else []


def from_orders(remains: Remains, settings: GridSettings, lattice: Lattice) -> list[Holding]:
    """What open orders stand for, as far as the position bears it out."""
    found = []
    left = remains.position.qty_lots
    for name, order in sorted(remains.own_orders, key=lambda own: own[0]):
        sign = sign_of(name, settings)
        if order.price_ticks != lattice.level(level_number(name, settings)):
            continue
        lots = order.filled_lots if name.side == sign else order.qty_lots - order.filled_lots
        if not lots or sign * left < lots:
            continue
        left = Lots(left - sign * lots)
        found.append(
            Holding(
                slot=name.slot,
                qty_lots=Lots(sign * lots),
                cost=Quanta(sign * lots * lattice.level(name.slot)),
            )
        )
    return found
