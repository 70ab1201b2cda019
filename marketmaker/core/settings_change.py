"""Another grid on the same levels, while it trades: which settings may change, and what changes with them.

The levels stay (side, spacing, interval and anchor are fixed for the life of a process), so every slot keeps its
number, its inventory and its cost. The ladders are built anew around them and the window moves in as it does on a
first price; what rests and still fits stays. Entries of another quantity than the new one are cancelled and placed
again, unless they are partly filled.
"""

from __future__ import annotations

import copy
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from marketmaker.core.price_limits import PriceLimits
from marketmaker.core.sizing import build_sizing
from marketmaker.errors import InvariantBroken
from marketmaker.model.action import Action
from marketmaker.model.event import SettingsChanged
from marketmaker.model.settings import GridSettings

if TYPE_CHECKING:
    from marketmaker.core.position_manager import PositionManager

FIXED = frozenset({"side", "spacing", "price_interval", "interval_pct", "anchor"})


def changed_fields(old: GridSettings, new: GridSettings) -> list[str]:
    """Names of the settings that differ, in their order."""
    names = [field.name for field in fields(GridSettings)]
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def change_settings(grid: PositionManager, new: GridSettings) -> None:
    """Raises InvariantBroken for a setting that numbers the levels."""
    old = grid.settings
    fixed = FIXED.intersection(changed_fields(old, new))
    if fixed:
        raise InvariantBroken(f"{', '.join(sorted(fixed))} may not change while the grid runs")
    grid.settings = new
    grid.sizing = build_sizing(new, grid.instrument)
    grid.cap = new.max_open_orders
    grid.max_exposure = (
        None if new.max_position is None else int(new.max_position / grid.instrument.base_per_lot)
    )
    grid.limits = changed_limits(grid, old, new)
    grid.cleaned.clear()
    rebuild_ladders(grid)
    for sequence, slot in grid.live.items():
        order = slot.order
        assert order is not None
        if (
            not order.is_exit
            and not order.booked_lots
            and order.qty_lots != grid.sizing.entry_lots(order.price_ticks)
        ):
            grid.outdated.add(sequence)
    grid.mark_all()
    grid.room_made = True


def changed_limits(grid: PositionManager, old: GridSettings, new: GridSettings) -> PriceLimits:
    """A trigger that stays the same stays reached, or waited for from the side it was first seen on."""
    was, limits = grid.limits, PriceLimits(new, grid.instrument)
    if new.trigger_price == old.trigger_price:
        limits.waiting = was.waiting
        limits.wait_until = was.wait_until
        limits.trigger_from_above = was.trigger_from_above
        limits.seen = was.seen
    elif grid.price is not None and limits.waiting:
        limits.first_price(grid.price)
    return limits


def rebuild_ladders(grid: PositionManager) -> None:
    if grid.anchor is None:
        return
    grid.ladders = {}
    grid.set_anchor(grid.anchor)
    for index in grid.holding:
        slot = grid.slots[index]
        slot.sellable = False
    for index in list(grid.holding):
        grid.held_changed(grid.slots[index])
    if grid.price is None:
        return
    for ladder in grid.ladders.values():
        grid.follow(ladder)
    for slot in grid.live.values():
        home = grid.ladders.get(slot.sign)
        if home is not None and slot.order is not None and not slot.order.is_exit:
            rung = slot.rung
            if rung > home.hi:
                home.stranded.add(rung)
    grid.refresh_offers()


def rehearse(grid: PositionManager, new: GridSettings, ts_ns: int) -> list[Action]:
    """What `SettingsChanged` would lead to now; decided by a copy, so the grid itself stays as it is.

    What never changes is shared with the copy, and what a decision about settings does not look at is left out.
    """
    shared = [
        grid.instrument,
        grid.settings,
        grid.restored,
        *(ladder.lattice for ladder in grid.ladders.values()),
    ]
    memo: dict[int, Any] = {id(each): each for each in shared}
    memo[id(grid.ended_orders)] = {}
    memo[id(grid.payments)] = {}
    memo[id(grid.recent_trades)] = {}
    return copy.deepcopy(grid, memo).decide(SettingsChanged(settings=new, ts_ns=ts_ns))
