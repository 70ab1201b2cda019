"""Everything that belongs to one symbol of a running process, and what can be said about it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from marketmaker.core import readings
from marketmaker.core.lattice import describe_lattice
from marketmaker.core.position_manager import PositionManager
from marketmaker.core.slot import SlotState
from marketmaker.errors import ConfigError
from marketmaker.model.account import Position
from marketmaker.model.event import Gate
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import OrderRef, OrderReport, Side
from marketmaker.model.settings import SymbolSettings
from marketmaker.model.status import GridMemory
from marketmaker.runtime.engine import Engine
from marketmaker.runtime.order_feed import OrderFeed
from marketmaker.runtime.price_monitor import PriceMonitor
from marketmaker.runtime.reconciler import Reconciler
from marketmaker.runtime.send_line import Channel
from marketmaker.summary import SymbolReading

NAMED_ORDERS = 5
"""How many orders a message names."""
DELIBERATE = frozenset({Gate.PAUSED, Gate.HELD, Gate.RISK, Gate.LIMITS, Gate.FUNDING})


@dataclass(kw_only=True, eq=False)
class Symbol:
    """Everything that belongs to one symbol. `failed` says why it was given up, "" while it is not."""

    settings: SymbolSettings
    instrument: Instrument
    manager: PositionManager
    channel: Channel
    engine: Engine
    monitor: PriceMonitor
    reconciler: Reconciler
    order_feed: OrderFeed
    start: Position
    failed: str = ""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


def refuse_other_levels(
    symbol: SymbolSettings, instrument: Instrument, memory: GridMemory, path: str
) -> None:
    """Raises ConfigError when held slots would stand for other prices than those their inventory was bought for."""
    if not memory.holdings:
        return
    now, was = describe_lattice(symbol.grid), memory.lattice
    anchor = symbol.grid.anchor
    if anchor is not None and instrument.floor_ticks(anchor) != memory.anchor_ticks:
        now, was = (
            f"anchor {anchor:f}",
            f"anchor {instrument.price(memory.anchor_ticks):f}",
        )
    if was and now != was:
        raise ConfigError(
            f"{symbol.name}: the grid was '{was}' and is '{now}' now, while {len(memory.holdings)} slots hold "
            f"inventory; restore it, or close the position and move {path} away"
        )


def own_orders(listed: Iterable[OrderReport]) -> list[OrderRef]:
    return [
        OrderRef(client_order_id=report.client_order_id, venue_order_id=report.venue_order_id)
        for report in listed
        if report.client_order_id is not None
    ]


def loose_ends(symbol: Symbol) -> str:
    """Orders of which nobody knows for sure that they are over, "" for none."""
    names = [
        f"{order.client_order_id.slot}/{order.side.name.lower()}/{order.client_order_id.sequence}"
        + ("" if slot.state is SlotState.LOCKED else " (placement without an answer)")
        for slot in symbol.manager.live.values()
        if (order := slot.order) is not None
    ]
    if not names:
        return ""
    more = f" and {len(names) - NAMED_ORDERS} more" if len(names) > NAMED_ORDERS else ""
    return (
        f"{symbol.settings.name}: {len(names)} order(s) without a known end: "
        f"{', '.join(names[:NAMED_ORDERS])}{more}"
    )


def is_accounted_for(symbol: Symbol, row: SymbolReading) -> bool:
    """Whether position and slots agree, but for what belongs to the owner. A failed symbol's slots say nothing."""
    foreign = symbol.manager.repair.foreign_lots
    return bool(symbol.failed) or row.end.qty_lots == row.totals.inventory_lots + foreign


def quoted_sides(symbol: Symbol) -> set[Side]:
    live = (slot.order for slot in symbol.manager.live.values())
    return {order.side for order in live if order is not None}


def lacks_trades(symbol: Symbol) -> bool:
    """Whether a quantity was booked whose trade, and so whose fee, has not been heard of."""
    ended = symbol.manager.ended_orders.values()
    return not symbol.failed and any(order.trade_lots < order.booked_lots for order in ended)


def is_settled(symbol: Symbol) -> bool:
    """Whether the symbol has looked at the venue and quotes, or has nothing to quote."""
    manager = symbol.manager
    if symbol.failed or manager.gave_up:
        return True
    if manager.standstill() or not manager.position_settled:
        return False
    live = manager.live.values()
    return not live or is_paused(symbol) or any(slot.state is SlotState.LOCKED for slot in live)


def is_paused(symbol: Symbol) -> bool:
    """Whether entries are kept out on purpose; missing data is no purpose."""
    manager = symbol.manager
    return bool(manager.ended or manager.gave_up or DELIBERATE & manager.gates.keys())


def is_fed_or_paused(symbol: Symbol) -> bool:
    """Whether the last decision rests on fresh data, or entries are shut on purpose."""
    return not symbol.monitor.why_shut or is_paused(symbol)


def describe(symbol: Symbol) -> str:
    if symbol.failed:
        return f"{symbol.settings.name} failed: {symbol.failed}"
    why = readings.not_quoting(symbol.manager)
    state = f"not quoting: {why[0]}" if why else f"{symbol.manager.open_orders} orders open"
    return f"{symbol.settings.name} {state}"
