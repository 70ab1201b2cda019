"""Frozen readings of a grid: what it remembers, what it counts, what every slot is doing and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from marketmaker.core.grid import Ladder
from marketmaker.core.lattice import describe_lattice
from marketmaker.core.slot import LiveOrder, Slot
from marketmaker.model.event import Gate
from marketmaker.model.instrument import Lots, Quanta
from marketmaker.model.status import BookedOrder, GridMemory, GridTotals, Holding, SlotStatus

if TYPE_CHECKING:
    from marketmaker.core.position_manager import PositionManager


def remember(grid: PositionManager, memory: GridMemory) -> None:
    if grid.settings.anchor is None:
        grid.set_anchor(memory.anchor_ticks)
    grid.next_sequence = max(grid.next_sequence, memory.next_sequence % grid.sequences)
    grid.ended = memory.ended
    grid.booked_ns = memory.booked_ns
    grid.recent_trades = dict.fromkeys(memory.recent_trades)
    grid.repair.foreign_lots = memory.foreign_lots
    for gate, reason in ((Gate.PAUSED, memory.paused), (Gate.HELD, memory.held)):
        if reason:
            grid.gates[gate] = reason
    if memory.triggered:
        grid.limits.waiting = False
    grid.closing = bool(memory.ended and memory.holdings)
    for held in memory.holdings:
        home = grid.ladder_of(held.slot, grid.slots.get(held.slot))
        if home is None:
            continue
        owed = home.sign * held.qty_lots < 0
        if owed and len(grid.ladders) == 1 and memory.lattice != describe_lattice(grid.settings):
            continue
        slot = grid.slot_at(held.slot, home.sign)
        grid.books.adopt(slot, home.sign * held.qty_lots, home.sign * held.cost)
        grid.held_changed(slot)
    for booked in memory.booked_orders:
        grid.repair.remember(booked)


def memory(grid: PositionManager) -> GridMemory | None:
    """What a restart needs; None before the first price."""
    if grid.anchor is None:
        return None
    return GridMemory(
        anchor_ticks=grid.anchor,
        next_sequence=grid.next_sequence,
        holdings=tuple(
            Holding(
                slot=index,
                qty_lots=Lots(slot.sign * slot.held_lots),
                cost=Quanta(slot.sign * slot.cost),
            )
            for index, slot in sorted(grid.slots.items())
            if slot.held_lots
        ),
        ended=grid.ended if grid.ended_for_good else "",
        booked_ns=grid.booked_ns,
        recent_trades=tuple(grid.recent_trades),
        booked_orders=tuple(map(booked_order, grid.retold())),
        foreign_lots=grid.repair.foreign_lots,
        triggered=not grid.limits.waiting,
        lattice=describe_lattice(grid.settings),
        paused=grid.gates.get(Gate.PAUSED, ""),
        held=grid.gates.get(Gate.HELD, ""),
    )


def booked_order(order: LiveOrder) -> BookedOrder:
    return BookedOrder(
        client_order_id=order.client_order_id,
        price_ticks=order.price_ticks,
        qty_lots=order.qty_lots,
        booked_lots=Lots(order.booked_lots),
        booked_value=Quanta(order.booked_value),
        trade_lots=Lots(order.trade_lots),
        trade_value=Quanta(order.trade_value),
        covered_ns=order.covered_ns,
    )


def not_quoting(grid: PositionManager) -> tuple[str, ...]:
    """Why entries are not being placed; empty while they are."""
    reasons = [grid.standstill()]
    if grid.ended:
        reasons.append(grid.ended)
    reasons += [f"{gate.value}: {reason}" for gate, reason in grid.gates.items()]
    if not grid.gates and not grid.ended:
        reasons.append(grid.entries_blocked())
    if grid.snapshot_seen and not grid.position_settled:
        reasons.append("position and slots differ: being looked into")
    return tuple(reason for reason in reasons if reason)


def totals(grid: PositionManager) -> GridTotals:
    books = grid.books
    return GridTotals(
        price_ticks=grid.price,
        open_orders=len(grid.live),
        held_slots=len(grid.holding),
        inventory_lots=Lots(books.inventory_lots),
        inventory_cost=Quanta(books.inventory_cost),
        adopted_lots=Lots(books.adopted_lots),
        adopted_cost=Quanta(books.adopted_cost),
        realised=Quanta(books.realised),
        fees=books.fees,
        funding=books.funding,
        orders_placed=grid.orders_placed,
        orders_cancelled=grid.orders_cancelled,
        orders_rejected=grid.orders_rejected,
        fills=books.fills,
        buys=books.buys,
        sells=books.sells,
        maker_fills=books.maker_fills,
        not_quoting=not_quoting(grid),
    )


def slot_statuses(grid: PositionManager) -> Iterator[SlotStatus]:
    """Every slot of the windows and every slot that holds or has something, lowest price first."""
    indices = dict.fromkeys(grid.slots)
    for sign, ladder in grid.ladders.items():
        indices.update(dict.fromkeys(sign * rung for rung in range(ladder.lo, ladder.hi + 1)))
    for index in sorted(indices):
        known = grid.slots.get(index)
        home = grid.ladder_of(index, known)
        if home is None:
            continue
        slot = known or Slot(index=index, sign=home.sign)
        order = slot.order
        yield SlotStatus(
            slot=index,
            price_ticks=home.price_of(home.sign * index),
            state=slot.state.value,
            side=order.side if order is not None else None,
            order_price_ticks=order.price_ticks if order is not None else None,
            order_leaves_lots=Lots(order.leaves_lots if order is not None else 0),
            order_filled_lots=Lots(order.booked_lots if order is not None else 0),
            order_sent_ns=order.ts_sent_ns if order is not None else 0,
            held_lots=Lots(slot.sign * slot.held_lots),
            why="" if order is not None else why(grid, slot, home),
        )


def why(grid: PositionManager, slot: Slot, ladder: Ladder) -> str:
    """Why this slot has no order, in words."""
    standstill = grid.standstill()
    if standstill:
        return standstill
    if slot.sellable:
        return grid.exit_obstacle(slot, ladder) or "about to be offered"
    return grid.entries_blocked() or grid.entry_obstacle(slot, ladder) or "about to be placed"
