"""Which orders to give up when there are too many."""

from __future__ import annotations

from collections.abc import Iterable

from marketmaker.core.slot import LOCKED, Slot
from marketmaker.model.order import Side


def orders_to_give_up(
    slots: Iterable[Slot], *, price_ticks: int, threshold: int, batch: int
) -> list[Slot]:
    """Slots whose order is to be cancelled, furthest from the price first.

    Nothing below `threshold` open orders; otherwise `batch` of the larger side, or half of it each when the sides are
    equal. Orders that are partly filled, still unanswered or already being cancelled are left alone.
    """
    sides: dict[Side, list[Slot]] = {Side.BUY: [], Side.SELL: []}
    for slot in slots:
        if slot.order is not None:
            sides[slot.order.side].append(slot)
    buys, sells = sides[Side.BUY], sides[Side.SELL]
    if len(buys) + len(sells) < threshold:
        return []
    if len(buys) == len(sells):
        shares = [(buys, batch - batch // 2), (sells, batch // 2)]
    else:
        shares = [(max(buys, sells, key=len), batch)]
    return [slot for side, share in shares for slot in furthest(side, price_ticks)[:share]]


def furthest(slots: list[Slot], price_ticks: int) -> list[Slot]:
    def key(slot: Slot) -> tuple[int, int]:
        assert slot.order is not None
        return -abs(slot.order.price_ticks - price_ticks), slot.index

    return sorted((slot for slot in slots if may_give_up(slot)), key=key)


def may_give_up(slot: Slot) -> bool:
    order = slot.order
    return (
        order is not None
        and slot.state is LOCKED
        and order.booked_lots == 0
        and not order.cancel_asked_ns
    )
