"""Our books against the venue's → differences. Looks only; the position manager repairs.

One reading proves little: what was sent, answered or filled while it was being taken may be missing from it. So an
order is called missing only if nothing happened to it since the reading was asked for, and a position is compared
only if no fill was booked since then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from marketmaker.core.slot import LiveOrder, Slot
from marketmaker.model.account import VenueSnapshot
from marketmaker.model.order import OrderReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """`known`: open orders we have, with what the venue says; `strange`: open orders with our tag that we have not;
    `missing`: slots whose order the venue did not list; `foreign_orders`: how many orders are not ours;
    `position`: venue - slots in signed lots, None when this reading cannot tell.
    """

    known: list[tuple[Slot, OrderReport]]
    strange: list[OrderReport]
    missing: list[Slot]
    foreign_orders: int
    position: int | None


def compare(
    snapshot: VenueSnapshot,
    live: Mapping[int, Slot],
    *,
    inventory_lots: int,
    last_fill_ns: int,
) -> Differences:
    """`live`: our open orders' slots by sequence number."""
    known: list[tuple[Slot, OrderReport]] = []
    strange: list[OrderReport] = []
    listed: set[int] = set()
    foreign = 0
    for report in snapshot.open_orders:
        name = report.client_order_id
        if name is None:
            foreign += 1
            continue
        slot = live.get(name.sequence)
        if slot is None or slot.order is None or slot.order.client_order_id != name:
            strange.append(report)
            continue
        listed.add(name.sequence)
        known.append((slot, report))
    missing = [
        slot
        for sequence, slot in live.items()
        if sequence not in listed and settled_before(slot.order, snapshot.ts_asked_ns)
    ]
    conclusive = last_fill_ns < snapshot.ts_asked_ns
    return Differences(
        known=known,
        strange=strange,
        missing=missing,
        foreign_orders=foreign,
        position=snapshot.position.qty_lots - inventory_lots if conclusive else None,
    )


def settled_before(order: LiveOrder | None, ts_ns: int) -> bool:
    """Whether nothing has happened to the order since `ts_ns`."""
    return order is not None and order.ts_changed_ns < ts_ns
