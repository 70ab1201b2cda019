"""Frozen readings of a grid: what it remembers across restarts, what it counts, what each slot is doing."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from marketmaker.model.instrument import Lots, Quanta, Ticks
from marketmaker.model.order import ClientOrderId, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Inventory of one slot. `qty_lots` signed, long > 0; `cost` = what it was bought for, signed alike."""

    slot: int
    qty_lots: Lots
    cost: Quanta


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedOrder:
    """An order of which more may be told that is booked already: open, or ended with trades that were not told by id.

    `booked_lots` is the largest filled quantity heard, `trade_lots` the sum of the trades known by id, each with what it
    was booked for (quanta). Trades up to `covered_ns` (venue's time) are in what was booked when it was taken in.
    """

    client_order_id: ClientOrderId
    price_ticks: Ticks
    qty_lots: Lots
    booked_lots: Lots
    booked_value: Quanta
    trade_lots: Lots
    trade_value: Quanta
    covered_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GridMemory:
    """What must outlive the process for a restart to keep its levels, ids and cost basis.

    `booked_ns`: the venue's time up to which a reading told of every trade (or our start), whatever the stream told
    after it or left out before; `recent_trades` the ids booked lately: what a
    restart need not book again; `booked_orders` what is booked of orders that may be told of again. `triggered`:
    trigger_price was reached. `ended` names why the grid closed itself for good (stop loss, take profit), "" while it
    runs. `lattice` says in words which levels the slot numbers stand for, "" if unknown. `paused` and `held`: what the
    operator said when he shut those gates, "" while they are open. `foreign_lots`: signed position that was left to
    the owner.
    """

    anchor_ticks: Ticks
    next_sequence: int
    holdings: tuple[Holding, ...]
    ended: str
    lattice: str = ""
    triggered: bool = False
    booked_ns: int = 0
    recent_trades: tuple[str, ...] = ()
    booked_orders: tuple[BookedOrder, ...] = ()
    foreign_lots: int = 0
    paused: str = ""
    held: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridTotals:
    """Counters and books since this process started. Money in quote currency, exact.

    `realised` before fees; `fees` paid > 0; `funding` received > 0. `inventory_lots` is signed and equals the sum over
    slots. `adopted_lots` / `adopted_cost`: inventory taken in (or given up, < 0) without a trade of ours.
    """

    price_ticks: Ticks | None
    open_orders: int
    held_slots: int
    inventory_lots: Lots
    inventory_cost: Quanta
    adopted_lots: Lots
    adopted_cost: Quanta
    realised: Quanta
    fees: Decimal
    funding: Decimal
    orders_placed: int
    orders_cancelled: int
    orders_rejected: int
    fills: int
    buys: int
    sells: int
    maker_fills: int
    not_quoting: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotStatus:
    """One slot as `status` shows it; `why` says in words why it has no order, "" when it has one.

    `order_sent_ns` is our clock, 0 without an order or where it was found at the venue."""

    slot: int
    price_ticks: Ticks
    state: str
    side: Side | None
    order_price_ticks: Ticks | None
    order_leaves_lots: Lots
    order_filled_lots: Lots
    order_sent_ns: int
    held_lots: Lots
    why: str
