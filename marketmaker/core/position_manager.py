"""The only owner of slots: one event in, the actions it calls for out.

How a decision is made. An event first changes what we know (the price, a slot's order, a gate); every slot whose
answer may differ because of it is marked. Then each marked slot is settled: what it should have is compared with
what it has, and at most one action closes the gap. Nothing else places or cancels, so there is one place to read why
an order exists, and `why` gives the same answer in words to `status`.

    entry   wanted in a rung of the window that holds nothing sellable, while no gate is shut
    exit    wanted for inventory among the offered rungs, always, at the next rung's price, for all of it
    close   after a stop loss, a take profit or an operator's flatten: no entries ever again, every order is cancelled,
            all inventory is carried into one slot and given back with reduce-only orders that may take

The cost of an event is what it changes. A price inside `quiet_band` changes nothing at all: `decide` returns [] for
it and later decisions are the same whether or not it was heard.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

from marketmaker.core import readings
from marketmaker.core.books import Books
from marketmaker.core.cleaning import orders_to_give_up
from marketmaker.core.grid import Ladder
from marketmaker.core.lattice import build_lattice
from marketmaker.core.order_news import SECOND_NS, OrderNews
from marketmaker.core.post_only import next_is_post_only
from marketmaker.core.price_limits import PriceLimits
from marketmaker.core.repair import Repair
from marketmaker.core.settings_change import change_settings
from marketmaker.core.sizing import build_sizing
from marketmaker.core.slot import (
    Heard,
    LiveOrder,
    Slot,
    SlotState,
)
from marketmaker.model.action import (
    Action,
    CancelOrder,
    PlaceOrder,
    QueryOrder,
    RaiseAlert,
    RecordFill,
    RecordOrderEnd,
    Severity,
    TakeSnapshot,
)
from marketmaker.model.event import (
    CancelRefused,
    CancelUnanswered,
    CleanupDue,
    Event,
    FlattenRequested,
    FundingBooked,
    Gate,
    GateOpened,
    GateShut,
    OrderMissing,
    OrderQueryFailed,
    OrderReported,
    OrderStreamLost,
    OrderStreamRestored,
    PlaceRefused,
    PlaceUnanswered,
    PriceChanged,
    SettingsChanged,
    SnapshotTaken,
    StopRequested,
    TimerFired,
)
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.order import (
    EndReason,
    Fill,
    NewOrder,
    OrderReport,
    Side,
    TimeInForce,
    name_order,
)
from marketmaker.model.settings import (
    GridSettings,
    GridSide,
    WindowFrom,
)
from marketmaker.model.status import GridMemory

REMEMBERED_ENDED_ORDERS: Final = 5_050
FORGOTTEN_AT_ONCE: Final = 50
"""Of ended orders, the oldest."""
REMEMBERED_PAYMENTS: Final = 1_000
REMEMBERED_TRADES: Final = 1_000
RENEW_AT_SHARE: Final = 0.9
CLOSE_ALERT_EVERY: Final = 20
NOTHING_QUIET: Final = (1, 0)
"""A quiet band without a price."""

BUY: Final = Side.BUY
SELL: Final = Side.SELL
GTC: Final = TimeInForce.GTC
IOC: Final = TimeInForce.IOC
SENT: Final = Heard.SENT

NO_ROOM: Final = "max_open_orders reached"
TOO_EXPOSED: Final = "max_position reached"
STRICT: Final = "post_only strict: waiting for the price to move away"
OUTSIDE: Final = "outside the window"
GIVEN_UP: Final = "given up by the order cleaner until the price moves a level"


class PositionManager:
    """One symbol's grid.

    Args:
        sequences, max_slot: limits of the client order id form in use.
        first_sequence: where ids start without memory; ids never go back below it.
        request_lifetime_s: after this long an unanswered placement that cannot be found was never accepted.
        order_lifetime_s: when the venue drops resting orders, None if never.
        memory: what an earlier process left behind.
    """

    def __init__(
        self,
        *,
        instrument: Instrument,
        settings: GridSettings,
        sequences: int,
        max_slot: int,
        first_sequence: int,
        request_lifetime_s: float,
        order_lifetime_s: float | None = None,
        memory: GridMemory | None = None,
    ) -> None:
        self.instrument = instrument
        self.settings = settings
        self.sizing = build_sizing(settings, instrument)
        self.limits = PriceLimits(settings, instrument)
        self.books = Books()
        self.sequences = sequences
        self.max_slot = max_slot
        self.next_sequence = first_sequence % sequences
        self.request_lifetime_ns = int(request_lifetime_s * SECOND_NS)
        self.renew_after_ns = (
            None if order_lifetime_s is None else int(order_lifetime_s * RENEW_AT_SHARE * SECOND_NS)
        )
        self.cap = settings.max_open_orders
        self.max_exposure = (
            None
            if settings.max_position is None
            else int(settings.max_position / instrument.base_per_lot)
        )

        self.price: Ticks | None = None
        self.anchor: Ticks | None = None
        self.ladders: dict[int, Ladder] = {}
        self.each_ladder: list[Ladder] = []
        self.only_ladder: Ladder | None = None
        """The ladder of a grid that has one."""
        self.most_entries = self.most_exits = 0
        """As many as the ladders' windows have room for."""
        self.slots: dict[int, Slot] = {}
        self.live: dict[int, Slot] = {}
        self.ended_orders: dict[int, LiveOrder] = {}
        self.holding: dict[int, None] = {}
        self.entry_leaves = [0, 0, 0]
        """Lots that resting entries may still bring, by sign: -1 is the last place."""

        self.gates: dict[Gate, str] = {}
        self.stream_up = False
        self.snapshot_after_ns: int | None = None
        self.snapshot_seen = False
        self.position_settled = False
        self.margin_locked_until_ns = 0
        self.stopping = ""
        self.gave_up = ""
        self.ended = ""
        self.ended_for_good = True
        self.closing = False
        self.close_orders = 0
        """Placed to give everything back, since it was begun."""
        self.cleaned: set[int] = set()
        self.cleaned_at: dict[int, int] = {}
        self.starved: dict[int, list[int]] = {1: [], -1: []}
        self.starving = False
        """Whether there may be any."""
        self.waiting_for_price: set[int] = set()
        self.outdated: set[int] = set()
        """Sequence numbers of entries that a change of the settings gave another quantity."""
        self.renewing: int | None = None
        self.last_fill_ns = 0
        self.payments: dict[str, None] = {}
        self.restored: GridMemory | None = memory
        self.booked_ns = 0
        self.recent_trades: dict[str, None] = {}
        self.rearranged = False
        """Inventory went from slot to slot without a trade; whoever keeps the memory sets it back."""
        self.untold: dict[int, LiveOrder] = {}
        """Orders with quantity booked whose trades are not all known by id, and those an earlier process left."""

        self.orders_placed = 0
        self.orders_cancelled = 0
        self.orders_rejected = 0
        self.late_news = 0

        self.now_ns = 0
        self.actions: list[Action] = []
        self.marked: dict[int, None] = {}
        self.room_made = False
        self.timers: list[tuple[int, int, str, int]] = []
        self.timer_count = 0
        self._quiet_low, self._quiet_high = NOTHING_QUIET
        self._quiet_known = True
        self.news = OrderNews(self)
        self.repair = Repair(self, self.news)
        self.handlers: dict[type, Callable[[Any], None]] = {
            PlaceRefused: self.news.on_place_refused,
            PlaceUnanswered: self.news.on_place_unanswered,
            CancelRefused: self.news.on_cancel_refused,
            CancelUnanswered: self.news.on_cancel_unanswered,
            OrderMissing: self.news.on_order_missing,
            OrderQueryFailed: self.news.on_query_failed,
            SnapshotTaken: self.repair.on_snapshot,
            OrderStreamLost: self.on_stream_lost,
            OrderStreamRestored: self.on_stream_restored,
            GateShut: self.on_gate_shut,
            GateOpened: self.on_gate_opened,
            FundingBooked: self.on_funding,
            CleanupDue: self.on_cleanup,
            TimerFired: self.on_timer,
            FlattenRequested: self.on_flatten,
            SettingsChanged: self.on_settings_changed,
            StopRequested: self.on_stop,
        }
        if settings.anchor is not None:
            self.set_anchor(instrument.floor_ticks(settings.anchor))
        if memory is not None:
            readings.remember(self, memory)

    # --- the one way in ---

    def decide(self, event: Event) -> list[Action]:
        """Take the event in and return what has to be done, in order. Raises InvariantBroken."""
        kind = type(event)
        if kind is PriceChanged:
            price = event.price_ticks  # type: ignore[union-attr]
            if self.is_quiet(price):
                self.price = price
                return []
        self.actions = []
        self.booked_ns = self.booked_ns or event.ts_ns
        self.now_ns = max(self.now_ns, event.ts_ns)
        if kind is PriceChanged:
            self.on_price(event)  # type: ignore[arg-type]
        elif kind is OrderReported:
            self.news.on_report(event)  # type: ignore[arg-type]
        else:
            self.handlers[kind](event)
        self.settle_marked()
        if self.closing and not self.live:
            self.close_step()
        self._quiet_known = False
        return self.actions

    def is_quiet(self, price: int) -> bool:
        """Whether this price would change nothing."""
        if not self._quiet_known:
            self.find_quiet()
        return self._quiet_low <= price <= self._quiet_high

    def quiet(self) -> tuple[int, int]:
        """Lowest and highest price, both included, that change nothing; the highest below the lowest where every price
        has to be looked at.

        Worked out when it is asked for: of several events in a row only the last one's is of use.
        """
        if not self._quiet_known:
            self.find_quiet()
        return self._quiet_low, self._quiet_high

    @property
    def quiet_band(self) -> tuple[int, int] | None:
        """The same, None where every price has to be looked at."""
        low, high = self.quiet()
        return None if high < low else (low, high)

    @quiet_band.setter
    def quiet_band(self, band: tuple[int, int] | None) -> None:
        self._quiet_low, self._quiet_high = NOTHING_QUIET if band is None else band
        self._quiet_known = True

    @property
    def wake_at_ns(self) -> int | None:
        """When a TimerFired is due, None while nothing waits for time."""
        return self.timers[0][0] if self.timers else None

    @property
    def open_orders(self) -> int:
        """Orders of ours that are or may be open at the venue."""
        return len(self.live)

    # --- prices ---

    def on_price(self, event: PriceChanged) -> None:
        if self.price is None:
            self.mark_all()
        self.price = event.price_ticks
        if self.anchor is None:
            self.set_anchor(event.price_ticks)
        was_waiting = self.limits.waiting
        end = self.limits.hear(event.price_ticks)
        if end and not self.ended:
            self.begin_closing(end)
        if was_waiting and not self.limits.waiting:
            self.rearranged = True
            self.mark_window()
        for ladder in self.each_ladder:
            self.follow(ladder)
        self.refresh_offers()
        if self.waiting_for_price:
            self.mark(self.waiting_for_price)

    def set_anchor(self, anchor: Ticks) -> None:
        self.anchor = anchor
        settings = self.settings
        lattice = build_lattice(anchor, settings, self.instrument)
        neutral = settings.side is GridSide.NEUTRAL
        signs = {GridSide.LONG: (1,), GridSide.SHORT: (-1,), GridSide.NEUTRAL: (1, -1)}
        lowest, highest = max(lattice.lowest, -self.max_slot), self.max_slot
        if settings.price_bounds is not None:
            floor, ceiling = settings.price_bounds
            lowest = max(
                lowest, lattice.at_or_below(Ticks(self.instrument.ceil_ticks(floor) - 1)) + 1
            )
            highest = min(highest, lattice.at_or_below(self.instrument.floor_ticks(ceiling)))
        for sign in signs[settings.side]:
            entries, exits = settings.buy_window, settings.sell_window
            if neutral and sign < 0:
                entries, exits = exits, entries
            low, high = (lowest, highest) if sign > 0 else (-highest, -lowest)
            self.ladders[sign] = Ladder(
                sign=sign,
                lattice=lattice,
                entry_window=min(entries, self.cap),
                exit_window=exits,
                lowest=low,
                highest=min(high, -1) if neutral else high,
                distance=settings.place_distance.as_integer_ratio(),
                from_nearest=settings.window_from is WindowFrom.NEAREST,
            )
        self.each_ladder = list(self.ladders.values())
        self.only_ladder = None if neutral else self.each_ladder[0]
        self.most_entries = sum(ladder.entry_window for ladder in self.each_ladder)
        self.most_exits = sum(ladder.exit_window for ladder in self.each_ladder)

    def follow(self, ladder: Ladder) -> None:
        """Move the ladder's window to the price, marking the slots this touches."""
        assert self.price is not None
        reach = ladder.sign * self.price
        low, high = ladder.window_band
        if not low <= reach <= high:
            move = ladder.move_window(reach)
            for rung in range(move.dropped_from, move.dropped_end):
                slot = self.slots.get(ladder.mirrored(rung))
                if slot is not None and slot.order is not None and not slot.order.is_exit:
                    ladder.stranded.add(rung)
            for rung in range(move.left_from, move.left_end):
                self.marked[ladder.mirrored(rung)] = None
            for rung in move.passed:
                self.marked[ladder.mirrored(rung)] = None
            for rung in range(move.entered_from, move.entered_end):
                self.marked[ladder.mirrored(rung)] = None
            if self.cleaned and self.cleaned_at[ladder.sign] != ladder.nearest:
                self.mark(self.cleaned)
                self.cleaned.clear()

    def refresh_offers(self) -> None:
        """Keep the exits nearest to the price offered, as many as the cap leaves room for after the entries."""
        if self.price is None:
            return
        room = self.cap - self.entries_wanted()
        for ladder in self.each_ladder:
            ladder.exit_budget = max(0, min(ladder.exit_window, room))
            if not ladder.offers_everything():
                for rung in ladder.move_offered(ladder.sign * self.price):
                    self.marked[ladder.mirrored(rung)] = None
            room -= ladder.last - ladder.first

    def entries_wanted(self) -> int:
        """How many orders the entries may need: exact only where the exits could want the same room."""
        if self.most_entries + self.most_exits <= self.cap:
            return self.most_entries
        wanted = 0
        for ladder in self.each_ladder:
            wanted += ladder.free_rungs()
        return wanted

    def find_quiet(self) -> None:
        self._quiet_known = True
        self._quiet_low, self._quiet_high = NOTHING_QUIET
        if self.price is None or self.waiting_for_price:
            return
        low, high = self.limits.band()
        for ladder in self.each_ladder:
            reach_low, reach_high = ladder.band()
            if ladder.sign > 0:
                low, high = max(low, reach_low), min(high, reach_high)
            else:
                low, high = max(low, -reach_high), min(high, -reach_low)
        if low <= self.price <= high:
            self._quiet_low, self._quiet_high = low, high

    # --- what keeps orders from being placed ---

    def standstill(self) -> str:
        """Why nothing at all may be placed, "" if something may."""
        if self.stopping:
            return "stopping"
        if self.gave_up:
            return self.gave_up
        if not self.stream_up:
            return "order stream is not live"
        if self.snapshot_after_ns is not None or not self.snapshot_seen:
            return "waiting for a snapshot of orders and position"
        if self.price is None:
            return "waiting for the first price"
        return ""

    def entries_blocked(self) -> str:
        """Why no entry may rest, "" if entries may."""
        if self.ended:
            return self.ended
        if self.gates:
            gate, reason = next(iter(self.gates.items()))
            return f"{gate.value}: {reason}"
        if self.margin_locked_until_ns > self.now_ns:
            return "insufficient margin: entries wait"
        if self.limits.waiting:
            return "waiting for trigger_price"
        return ""

    def entry_obstacle(self, slot: Slot, ladder: Ladder) -> str:
        """Why this slot gets no entry now, "" if it may have one."""
        rung = slot.rung
        if not ladder.in_window(rung):
            return OUTSIDE
        if not self.position_settled:
            return "position and slots differ: being looked into"
        waits = self.slot_waits(slot, slot.sign)
        if waits:
            return waits
        if slot.index in self.cleaned:
            return GIVEN_UP
        price = ladder.price_of(rung)
        lots = self.sizing.entry_lots(price)
        if lots < self.sizing.least_entry_lots(price):
            return "order_amount is below the minimum at this level"
        if len(self.live) >= self.cap:
            return NO_ROOM
        if self.max_exposure is not None:
            held = max(slot.sign * self.books.inventory_lots, 0)
            if held + self.entry_leaves[slot.sign] + lots > self.max_exposure:
                return TOO_EXPOSED
        return ""

    def exit_obstacle(self, slot: Slot, ladder: Ladder) -> str:
        """Why this slot's inventory is not offered now, "" if it may be."""
        held = self.why_held()
        if held:
            return held
        if not ladder.is_offered(slot.rung):
            return "outside the sell window"
        waits = self.slot_waits(slot, -slot.sign)
        if waits:
            return waits
        if slot.index in self.cleaned:
            return GIVEN_UP
        return NO_ROOM if len(self.live) >= self.cap else ""

    def why_held(self) -> str:
        """Why not even exits may rest, "" while they may."""
        reason = self.gates.get(Gate.HELD) if self.gates else None
        return "" if reason is None else f"{Gate.HELD.value}: {reason}"

    def slot_waits(self, slot: Slot, away: int) -> str:
        """`away`: +1 where a higher price makes an order of this kind rest."""
        if slot.retry_at_ns > self.now_ns:
            return f"waiting after: {slot.retry_reason}"
        if slot.strict_beyond is not None and away * (self.price or 0) <= slot.strict_beyond:
            return STRICT
        return ""

    def why_cancel(self, slot: Slot, order: LiveOrder, ladder: Ladder) -> str:
        """Why the slot's order must go, "" if it may stay."""
        if self.stopping or self.gave_up:
            return "stopping"
        if self.closing:
            return "" if order.closes else self.ended
        held = self.why_held()
        if held:
            return held
        rung = slot.rung
        if order.is_exit:
            if order.leaves_lots > slot.held_lots:
                return "inventory is smaller than the order"
            if not slot.sellable or not ladder.is_offered(rung):
                return "outside the sell window"
            if order.leaves_lots < self.sizing.exit_lots(slot.held_lots + order.booked_lots) - (
                order.booked_lots
            ):
                return "inventory grew"
        else:
            blocked = self.entries_blocked()
            if blocked:
                return blocked
            if rung < ladder.lo:
                return OUTSIDE
            if order.client_order_id.sequence in self.outdated:
                return "order_amount changed"
        return ""

    def why_renew(self, order: LiveOrder) -> str:
        """Orders the venue would drop for their age are cancelled and placed again, one at a time."""
        if (
            self.renew_after_ns is None
            or not order.ts_accepted_ns
            or self.now_ns - order.ts_accepted_ns < self.renew_after_ns
        ):
            return ""
        if self.renewing not in (None, order.client_order_id.sequence):
            self.set_timer(self.now_ns + SECOND_NS, "retry", order.client_order_id.slot)
            return ""
        self.renewing = order.client_order_id.sequence
        return "renewed before the venue drops it"

    # --- settling ---

    def mark(self, indices: Iterable[int]) -> None:
        for index in indices:
            self.marked[index] = None

    def mark_window(self) -> None:
        for sign, ladder in self.ladders.items():
            self.mark(sign * rung for rung in range(ladder.hi, ladder.lo - 1, -1))

    def mark_all(self) -> None:
        self.mark(slot.index for slot in self.live.values())
        for sign, ladder in self.ladders.items():
            self.mark(sign * rung for rung in ladder.inventory[ladder.first : ladder.last])
        self.mark_window()

    def settle_marked(self) -> None:
        """Cancels first, then exits, then entries, each nearest to the price first."""
        while self.marked or self.room_made:
            if len(self.marked) == 1:
                index = first_of(self.marked)
                self.marked.clear()
                self.settle(index)
            elif self.marked:
                self.settle_each()
            if self.room_made and not self.marked:
                self.room_made = False
                self.feed_starved()

    def settle_each(self) -> None:
        """Settle what is marked now; whatever that marks is left for the next time."""
        with_order: list[int] = []
        sellable: list[int] = []
        others: list[int] = []
        for index in self.marked:
            slot = self.slots.get(index)
            if slot is None:
                others.append(index)
            elif slot.order is not None:
                with_order.append(index)
            elif slot.sellable:
                sellable.append(index)
            else:
                others.append(index)
        self.marked.clear()
        self.settle_nearest_first(with_order)
        self.settle_nearest_first(sellable)
        self.settle_nearest_first(others)

    def settle_nearest_first(self, indices: list[int]) -> None:
        """Of two levels as far from the price the lower number comes first."""
        if len(indices) == 2:
            apart = self.distance(indices[0]) - self.distance(indices[1])
            if apart > 0 or (apart == 0 and indices[0] > indices[1]):
                indices.reverse()
        elif len(indices) > 2:
            indices.sort()
            indices.sort(key=self.distance)
        for index in indices:
            self.settle(index)

    def distance(self, index: int) -> int:
        if self.price is None or not self.ladders:
            return 0
        ladder = self.only_ladder or self.ladders[1]
        return abs(ladder.lattice.level(index) - self.price)

    def settle(self, index: int) -> None:
        """Close the gap between what a slot should have and what it has, with one action at most."""
        slot = self.slots.get(index)
        ladder = self.ladder_of(index, slot)
        if ladder is None:
            return
        if slot is not None and slot.order is not None:
            if not slot.order.cancel_asked_ns and (self.price is not None or self.stopping):
                reason = self.why_cancel(slot, slot.order, ladder) or self.why_renew(slot.order)
                if reason:
                    self.cancel(slot, slot.order, reason)
            return
        if self.closing or self.standstill():
            return
        if slot is not None and slot.sellable:
            obstacle = self.exit_obstacle(slot, ladder)
            if not obstacle:
                self.place_exit(slot, ladder)
            elif obstacle == NO_ROOM:
                self.starve(slot)
            self.note_strict(slot, obstacle)
            return
        if slot is not None and slot.held_lots and not ladder.in_window(slot.rung):
            self.carry_dust(slot, ladder)
        if self.entries_blocked():
            self.forget_if_idle(slot)
            return
        if slot is None:
            if not ladder.in_window(ladder.mirrored(index)):
                return
            slot = Slot(index=index, sign=ladder.sign)
        obstacle = self.entry_obstacle(slot, ladder)
        if not obstacle:
            self.slots[index] = slot
            self.place_entry(slot, ladder)
            return
        if obstacle in (NO_ROOM, TOO_EXPOSED):
            self.starve(slot)
        self.note_strict(slot, obstacle)
        self.forget_if_idle(slot)

    def ladder_of(self, index: int, slot: Slot | None) -> Ladder | None:
        """`slot`: the level's record where there is one."""
        if slot is not None:
            return self.ladder_facing(slot.sign)
        if self.only_ladder is not None:
            return self.only_ladder
        return self.ladders.get(1 if index < 0 else -1) if index else None

    def ladder_facing(self, sign: int) -> Ladder | None:
        """None where the grid does not look this way."""
        ladder = self.only_ladder
        if ladder is None:
            return self.ladders.get(sign)
        return ladder if ladder.sign == sign else None

    def slot_at(self, index: int, sign: int) -> Slot:
        slot = self.slots.get(index)
        if slot is None:
            slot = self.slots[index] = Slot(index=index, sign=sign)
        return slot

    def forget_if_idle(self, slot: Slot | None) -> None:
        """Drop the record of a slot that holds nothing, has nothing and waits for nothing."""
        if (
            slot is not None
            and slot.order is None
            and not slot.held_lots
            and not slot.cost
            and not slot.post_only_rejects
            and slot.retry_at_ns <= self.now_ns
            and slot.strict_beyond is None
            and slot.index in self.slots
        ):
            del self.slots[slot.index]

    def note_strict(self, slot: Slot, obstacle: str) -> None:
        """While a slot waits for the price to move away, no price is quiet."""
        if obstacle == STRICT:
            self.waiting_for_price.add(slot.index)
        else:
            if self.waiting_for_price:
                self.waiting_for_price.discard(slot.index)
            if obstacle == OUTSIDE:
                slot.strict_beyond = None

    def starve(self, slot: Slot) -> None:
        self.starving = True
        queue = self.starved[slot.sign]
        rung = slot.rung
        place = bisect_left(queue, rung)
        if place == len(queue) or queue[place] != rung:
            insort(queue, rung)

    def feed_starved(self) -> None:
        """Room was made: settle the slots that could not be placed for want of it, nearest first, while it lasts."""
        if not self.starving:
            return
        for sign, queue in self.starved.items():
            while queue:
                waiting = len(queue)
                self.settle(sign * queue.pop())
                if len(queue) == waiting:
                    break
        self.starving = any(self.starved.values())

    # --- orders ---

    def place_entry(self, slot: Slot, ladder: Ladder) -> None:
        price = ladder.price_of(slot.rung)
        self.place(
            slot,
            side=BUY if slot.sign > 0 else SELL,
            price=price,
            lots=self.sizing.entry_lots(price),
            is_exit=False,
            reason="entry in the window",
        )

    def place_exit(self, slot: Slot, ladder: Ladder) -> None:
        self.place(
            slot,
            side=SELL if slot.sign > 0 else BUY,
            price=ladder.price_of(slot.rung + 1),
            lots=self.sizing.exit_lots(slot.held_lots),
            is_exit=True,
            reason="exit of inventory",
        )

    def place(
        self, slot: Slot, *, side: Side, price: Ticks, lots: Lots, is_exit: bool, reason: str
    ) -> None:
        settings = self.settings
        post_only = not self.closing and next_is_post_only(
            settings.post_only, slot.post_only_rejects, settings.post_only_rejects
        )
        sequence = self.take_sequence()
        name = name_order(slot.index, side, sequence)
        slot.hear(SENT)
        slot.retry_at_ns = 0
        slot.strict_beyond = None
        slot.order = LiveOrder(
            client_order_id=name,
            side=side,
            is_exit=is_exit,
            post_only=post_only,
            closes=self.closing,
            price_ticks=price,
            qty_lots=lots,
            ts_sent_ns=self.now_ns,
            ts_changed_ns=self.now_ns,
        )
        self.live[sequence] = slot
        if not is_exit:
            self.entry_leaves[slot.sign] += lots
        self.orders_placed += 1
        order = NewOrder(
            client_order_id=name,
            side=side,
            price_ticks=price,
            qty_lots=lots,
            post_only=post_only,
            reduce_only=is_exit and self.reduces(slot.sign),
            time_in_force=IOC if self.closing else GTC,
        )
        self.actions.append(PlaceOrder(order=order, reason=reason))

    def reduces(self, sign: int) -> bool:
        """Whether an exit of this ladder can only shrink the net position: nothing of the other sign lies against it,
        neither inventory of ours nor a position of the owner's."""
        if sign * self.repair.foreign_lots < 0:
            return False
        if self.only_ladder is not None:
            return True
        held = (self.slots[index] for index in self.holding)
        return not any(slot.sign == -sign and slot.held_lots > 0 for slot in held)

    def take_sequence(self) -> int:
        """The next number that no open or lately ended order has."""
        while self.next_sequence in self.live or self.next_sequence in self.ended_orders:
            self.next_sequence = (self.next_sequence + 1) % self.sequences
        sequence = self.next_sequence
        self.next_sequence = (sequence + 1) % self.sequences
        return sequence

    def cancel(self, slot: Slot, order: LiveOrder, reason: str) -> None:
        order.cancel_asked_ns = self.now_ns
        self.actions.append(CancelOrder(order=order.reference, reason=reason))

    def query(self, order: LiveOrder, reason: str) -> None:
        self.actions.append(QueryOrder(client_order_id=order.client_order_id, reason=reason))

    def end_order(
        self, slot: Slot, order: LiveOrder, end: EndReason | None, detail: str = ""
    ) -> None:
        """The slot's order is over; what it booked stays."""
        sequence = order.client_order_id.sequence
        slot.order = None
        order.ts_ended_ns = self.now_ns
        del self.live[sequence]
        self.ended_orders[sequence] = order
        if len(self.ended_orders) > REMEMBERED_ENDED_ORDERS:
            drop_oldest(self.ended_orders, FORGOTTEN_AT_ONCE)
        if not order.is_exit:
            self.entry_leaves[slot.sign] -= order.leaves_lots
            ladder = self.ladder_facing(slot.sign)
            if ladder is not None and ladder.stranded:
                ladder.stranded.discard(slot.rung)
        if self.outdated:
            self.outdated.discard(sequence)
        if self.renewing is not None and self.renewing == sequence:
            self.renewing = None
        self.actions.append(
            RecordOrderEnd(
                client_order_id=order.client_order_id,
                venue_order_id=order.venue_order_id,
                side=order.side,
                price_ticks=order.price_ticks,
                qty_lots=order.qty_lots,
                filled_lots=Lots(order.booked_lots),
                end=end,
                detail=detail,
                ts_sent_ns=order.ts_sent_ns,
                ts_accepted_ns=order.ts_accepted_ns,
                ts_ended_ns=self.now_ns,
            )
        )
        self.held_changed(slot)
        self.marked[slot.index] = None
        self.room_made = True

    def wait(self, slot: Slot, delay_s: float, reason: str) -> None:
        """Keep the slot from trying again for a while."""
        slot.retry_at_ns = self.now_ns + int(delay_s * SECOND_NS)
        slot.retry_reason = reason
        self.set_timer(slot.retry_at_ns, "retry", slot.index)

    # --- fills ---

    def book(
        self, slot: Slot, order: LiveOrder, cumulative: int, report: OrderReport | None
    ) -> None:
        """Book whatever is new in what was heard of an order, live or ended."""
        before = order.booked_lots
        record = self.books.book(
            slot,
            order,
            cumulative,
            None if report is None else self.fresh_fill(order, report.fill),
            report.ts_venue_ns if report is not None else self.now_ns,
        )
        if record is None:
            return
        if order.booked_lots != order.trade_lots:
            self.untold[order.client_order_id.sequence] = order
        elif self.untold and not order.recovered:
            self.untold.pop(order.client_order_id.sequence, None)
        self.actions.append(record)
        if record.trade_id:
            self.note_trade(record)
        self.last_fill_ns = self.now_ns
        order.ts_changed_ns = self.now_ns
        booked = order.booked_lots - before
        if booked:
            slot.post_only_rejects = slot.refusals = 0
            if self.ended and not order.is_exit:
                self.closing = True
            if not order.is_exit and slot.order is order:
                self.entry_leaves[slot.sign] -= booked
            if order.booked_lots > order.qty_lots:
                self.alert(
                    Severity.ERROR,
                    "order.overfilled",
                    f"order {order.client_order_id} of {order.qty_lots} lots filled {order.booked_lots}",
                )
            self.held_changed(slot)
            self.room_made = True

    def fresh_fill(self, order: LiveOrder, fill: Fill | None) -> Fill | None:
        """The trade, unless an earlier process booked it, or it is in what the order had when it was taken in."""
        if fill is None or fill.trade_id in self.recent_trades:
            return None
        if fill.ts_venue_ns <= order.covered_ns:
            self.note_covered(fill.trade_id)
            return None
        return fill

    def retold(self) -> list[LiveOrder]:
        """Orders of which more may be told that is booked already: a restart has to know them."""
        orders = {
            sequence: slot.order
            for sequence, slot in self.live.items()
            if slot.order is not None and (slot.order.booked_lots or slot.order.covered_ns)
        }
        return list({**self.untold, **orders}.values())

    def note_trade(self, record: RecordFill) -> None:
        self.note_covered(record.trade_id)

    def note_covered(self, trade_id: str) -> None:
        """A restart need not book this trade again."""
        self.recent_trades[trade_id] = None

    def note_all_told(self, newest_ns: int) -> None:
        """Every trade up to `newest_ns` (venue's time) has been told: a restart need not ask for older ones again."""
        self.booked_ns = max(self.booked_ns, newest_ns)
        drop_oldest(self.recent_trades, len(self.recent_trades) - REMEMBERED_TRADES)

    def held_changed(self, slot: Slot) -> None:
        """Keep the ladder's inventory in step with what the slot holds."""
        index, rung, ladder = slot.index, slot.rung, self.ladder_facing(slot.sign)
        if slot.held_lots:
            self.holding[index] = None
        elif index in self.holding:
            del self.holding[index]
        if ladder is None:
            return
        resting_entry = slot.order is not None and not slot.order.is_exit
        sellable = (
            slot.held_lots > 0
            and not resting_entry
            and slot.held_lots >= self.sizing.least_exit_lots(ladder.price_of(rung + 1))
        )
        if slot.order is not None and slot.order.is_exit and slot.held_lots > 0:
            sellable = True
        if sellable == slot.sellable:
            return
        slot.sellable = sellable
        slot.strict_beyond = None
        if sellable:
            self.mark(slot.sign * joined for joined in ladder.add_inventory(rung))
        else:
            ladder.remove_inventory(rung)
        self.marked[index] = None
        self.refresh_offers()

    def carry_dust(self, slot: Slot, ladder: Ladder) -> None:
        """A remainder too small to sell alone joins the next inventory above, which asks at least as much for it."""
        rung = slot.rung
        place = ladder.place_of(rung)
        for above in ladder.inventory[place : place + 1]:
            target = self.slots[slot.sign * above]
            if target is not slot:
                self.books.carry(slot, target)
                self.rearranged = True
                self.held_changed(slot)
                self.held_changed(target)
                self.mark((target.index,))

    # --- gates, timers, requests ---

    def on_stream_lost(self, event: OrderStreamLost) -> None:
        """What was handed out and has not left yet is taken back; what rests stays."""
        self.stream_up = False
        for slot in self.live.values():
            order = slot.order
            if (
                order is not None
                and slot.state is SlotState.PENDING
                and not (order.unanswered_ns or order.cancel_asked_ns)
            ):
                self.cancel(slot, order, "order stream is down")

    def on_stream_restored(self, event: OrderStreamRestored) -> None:
        self.stream_up = True
        self.snapshot_after_ns = event.ts_ns

    def on_gate_shut(self, event: GateShut) -> None:
        self.gates[event.gate] = event.reason
        self.rearranged = True
        self.mark_all()

    def on_gate_opened(self, event: GateOpened) -> None:
        """The operator's pause also ends what his flatten began, once it is done."""
        flattened = self.ended and not (self.ended_for_good or self.closing)
        if event.gate is Gate.PAUSED and flattened:
            self.ended = ""
            self.mark_all()
        if self.gates.pop(event.gate, None) is not None:
            self.rearranged = True
            self.mark_all()

    def on_funding(self, event: FundingBooked) -> None:
        if event.payment_id in self.payments:
            return
        self.payments[event.payment_id] = None
        drop_oldest(self.payments, len(self.payments) - REMEMBERED_PAYMENTS)
        self.books.funding += event.amount

    def on_cleanup(self, event: CleanupDue) -> None:
        if self.price is None or self.stopping:
            return
        given_up = orders_to_give_up(
            self.live.values(),
            price_ticks=self.price,
            threshold=self.cap,
            batch=self.settings.cleanup_batch_size,
        )
        for slot in given_up:
            assert slot.order is not None
            self.cancel(slot, slot.order, "too many open orders")
            self.cleaned.add(slot.index)
            self.cleaned_at = {sign: ladder.nearest for sign, ladder in self.ladders.items()}

    def set_timer(self, at_ns: int, kind: str, key: int) -> None:
        self.timer_count += 1
        heapq.heappush(self.timers, (at_ns, self.timer_count, kind, key))

    def on_timer(self, event: TimerFired) -> None:
        while self.timers and self.timers[0][0] <= event.ts_ns:
            _, _, kind, key = heapq.heappop(self.timers)
            if kind == "retry":
                self.mark((key,))
            elif kind == "gate":
                self.mark_all()
            elif kind == "snapshot":
                self.actions.append(TakeSnapshot(reason="second look at a difference"))
            else:
                self.follow_up(kind, key)

    def follow_up(self, kind: str, sequence: int) -> None:
        slot = self.live.get(sequence)
        if slot is None or slot.order is None:
            return
        if kind == "query":
            self.query(slot.order, "still no word of it")
        elif kind == "recancel":
            slot.order.cancel_asked_ns = 0
            self.mark((slot.index,))

    def on_flatten(self, event: FlattenRequested) -> None:
        if not self.ended:
            self.ended_for_good = False
            self.begin_closing(event.reason)

    def on_settings_changed(self, event: SettingsChanged) -> None:
        change_settings(self, event.settings)

    def on_stop(self, event: StopRequested) -> None:
        self.stopping = event.reason or "stop requested"
        self.mark_all()

    def begin_closing(self, reason: str) -> None:
        self.ended = reason
        self.closing = self.rearranged = True
        self.close_orders = 0
        self.alert(Severity.WARNING, "grid.closing", reason)
        self.mark_all()

    def close_step(self) -> None:
        """All orders are gone: carry the inventory into one slot and give it back at a price that takes."""
        if self.standstill():
            return
        assert self.price is not None
        self.pay_debts()
        slots = [self.slots[index] for index in self.holding if self.slots[index].held_lots > 0]
        if not slots:
            self.closing = False
            self.alert(Severity.INFO, "grid.closed", f"flat after: {self.ended}")
            return
        target = min(slots, key=lambda slot: (slot.sign, abs(slot.index), slot.index))
        if target.retry_at_ns > self.now_ns:
            return
        for slot in slots:
            if slot is not target and slot.sign == target.sign:
                self.books.carry(slot, target)
                self.rearranged = True
                self.held_changed(slot)
        self.held_changed(target)
        slippage = 1 - target.sign * self.settings.close_slippage
        worst = self.instrument.price(self.price) * slippage
        rounding = self.instrument.floor_ticks if target.sign > 0 else self.instrument.ceil_ticks
        self.place(
            target,
            side=Side(-target.sign),
            price=Ticks(max(rounding(worst), 1)),
            lots=self.sizing.exit_lots(target.held_lots),
            is_exit=True,
            reason=self.ended,
        )
        target.retry_at_ns = self.now_ns + int(self.settings.retry_delay_s * SECOND_NS)
        target.retry_reason = "closing"
        self.set_timer(target.retry_at_ns, "retry", target.index)
        self.close_orders += 1
        if self.close_orders % CLOSE_ALERT_EVERY == 0:
            self.alert(
                Severity.ERROR,
                "grid.not_closed",
                f"{self.books.inventory_lots:+d} lots are left after {self.close_orders} orders to close them: tried on;"
                " look at the market's other side",
            )

    def pay_debts(self) -> None:
        """Inventory that was given back under another slot's name is no longer there to be given back."""
        slots = [self.slots[index] for index in self.holding]
        for debtor in (slot for slot in slots if slot.held_lots < 0):
            for holder in slots:
                if holder.sign == debtor.sign and holder.held_lots > 0 > debtor.held_lots:
                    self.books.pay_debt(debtor, holder)
                    self.rearranged = True
                    self.held_changed(holder)
            self.held_changed(debtor)

    def alert(self, severity: Severity, topic: str, message: str) -> None:
        self.actions.append(RaiseAlert(severity=severity, topic=topic, message=message))


def first_of(kept: dict[int, None]) -> int:
    """What was put in first."""
    for each in kept:
        return each
    raise KeyError


def drop_oldest(kept: dict[Any, Any], count: int) -> None:
    """The first `count` that were put in, none where that is not above 0."""
    if count > 0:
        for key in list(islice(kept, count)):
            del kept[key]
