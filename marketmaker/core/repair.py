"""What a snapshot changes: fills we missed, orders we lost or never knew, and a position that differs from the slots.

No destructive repair from a single reading. An order that is not listed is asked for, not forgotten; a position must
differ by the same amount in two readings in a row, two seconds apart, before the slots follow it (in five when we
traded meanwhile), and every such repair is alerted.
"""

from __future__ import annotations

from collections.abc import Container
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING

from marketmaker.core.grid import Ladder
from marketmaker.core.order_news import CANCEL_REPEAT_NS, SECOND_NS, OrderNews
from marketmaker.core.reconcile import Differences, compare
from marketmaker.core.slot import LOCKED, Heard, LiveOrder, Slot
from marketmaker.model.account import VenueSnapshot
from marketmaker.model.action import Severity
from marketmaker.model.event import SnapshotTaken
from marketmaker.model.instrument import Lots
from marketmaker.model.order import ClientOrderId, EndReason, Fill, OrderReport, OrderStatus
from marketmaker.model.settings import PositionPolicy
from marketmaker.model.status import BookedOrder

if TYPE_CHECKING:
    from marketmaker.core.position_manager import PositionManager

SECOND_LOOK_NS = 2 * SECOND_NS
SURE_SIGHTINGS = 5
"""Of a difference, in a row, whatever was traded meanwhile."""
UNLISTED_TIMES = 3
"""In a row, before it is believed that an order of an earlier process is over."""
UNTOLD_TIMES = 100
"""In a row, before it is believed that nobody will tell the trades of such an order any more."""
OVERLAP_NS = 60 * SECOND_NS
"""Trades older than this before the last booked one are taken as booked."""


class Repair:
    """Hears snapshots for `grid`. `foreign_lots`: signed position that belongs to the owner, never touched; `repairs`:
    how often the slots followed the position."""

    def __init__(self, grid: PositionManager, news: OrderNews) -> None:
        self.grid = grid
        self.news = news
        self.foreign_lots = 0
        self.difference: int | None = None
        self.sightings = 0
        self.sighted_ns = 0
        self.sighted_fill_ns = 0
        self.repairs = 0

    def on_snapshot(self, event: SnapshotTaken) -> None:
        snapshot = event.snapshot
        for fill in snapshot.fills:
            if fill.client_order_id is not None:
                self.hear_fill(
                    fill.client_order_id,
                    OrderReport(
                        client_order_id=fill.client_order_id,
                        venue_order_id=fill.venue_order_id,
                        side=fill.side,
                        price_ticks=fill.price_ticks,
                        qty_lots=fill.qty_lots,
                        filled_lots=Lots(0),
                        status=OrderStatus.OPEN,
                        fill=fill,
                        ts_venue_ns=fill.ts_venue_ns,
                    ),
                    fill,
                )
        if snapshot.fills:
            self.grid.note_all_told(max(fill.ts_venue_ns for fill in snapshot.fills))
        differences = compare(
            snapshot,
            self.grid.live,
            inventory_lots=self.grid.books.inventory_lots + self.foreign_lots,
            last_fill_ns=self.grid.last_fill_ns,
        )
        fresh = (
            self.grid.snapshot_after_ns is None
            or snapshot.ts_asked_ns >= self.grid.snapshot_after_ns
        )
        if fresh:
            if self.grid.snapshot_after_ns is not None or not self.grid.snapshot_seen:
                self.grid.mark_all()
            self.grid.snapshot_after_ns = None
            self.grid.snapshot_seen = True
        for slot, report in differences.known:
            self.news.hear_report(report, event.ts_ns)
            self.repeat_old_cancel(slot)
        for report in differences.strange:
            self.hear_strange(report, snapshot.ts_asked_ns)
        for slot in differences.missing:
            self.hear_unlisted(slot, snapshot.ts_asked_ns)
        if self.grid.untold:
            names = (report.client_order_id for report in snapshot.open_orders)
            self.forget_what_is_over({name.sequence for name in names if name is not None})
        if differences.position is not None:
            self.hear_position(differences, snapshot)
        elif not self.grid.position_settled or self.difference is not None:
            self.look_again()

    def hear_fill(self, name: ClientOrderId, report: OrderReport, fill: Fill) -> None:
        """A trade by itself: books what is new, and ends the order if that fills it."""
        slot, order = self.news.find(name)
        if slot is not None and order is not None:
            self.grid.book(slot, order, 0, report)
            if order.booked_lots >= order.qty_lots:
                slot.hear(Heard.FILLED)
                self.grid.end_order(slot, order, None)
            return
        known = self.grid.ended_orders.get(name.sequence)
        if known is not None and known.client_order_id == name:
            self.news.book_ended(known, 0, report)
        elif self.happened_while_we_were_away(fill):
            self.recover_fill(name, report)
        elif self.grid.restored is None:
            # Whoever starts without memory takes its inventory from the position, and this trade is in that already.
            self.grid.note_covered(fill.trade_id)

    def happened_while_we_were_away(self, fill: Fill) -> bool:
        """Whether the memory we started from does not hold this trade of ours yet."""
        memory = self.grid.restored
        return (
            memory is not None
            and fill.ts_venue_ns >= memory.booked_ns - OVERLAP_NS
            and fill.trade_id not in self.grid.recent_trades
        )

    def recover_fill(self, name: ClientOrderId, report: OrderReport) -> None:
        """The id names the slot: inventory comes and goes where it was bought, at its own price."""
        sign = self.news.sign_of(name)
        if sign not in self.grid.ladders:
            return
        order = LiveOrder(
            client_order_id=name,
            side=report.side,
            is_exit=report.side != sign,
            post_only=True,
            recovered=True,
            price_ticks=report.price_ticks,
            qty_lots=report.qty_lots,
            ts_sent_ns=0,
            venue_order_id=report.venue_order_id,
        )
        self.grid.ended_orders[name.sequence] = order
        self.grid.book(self.grid.slot_at(name.slot, sign), order, 0, report)

    def remember(self, booked: BookedOrder) -> None:
        """What an earlier process booked on an order of which more may be told."""
        name = booked.client_order_id
        sign = self.news.sign_of(name)
        order = LiveOrder(
            client_order_id=name,
            side=name.side,
            is_exit=name.side != sign,
            post_only=True,
            recovered=True,
            covered_ns=booked.covered_ns,
            price_ticks=booked.price_ticks,
            qty_lots=booked.qty_lots,
            ts_sent_ns=0,
            booked_lots=booked.booked_lots,
            booked_value=booked.booked_value,
            trade_lots=booked.trade_lots,
            trade_value=booked.trade_value,
        )
        self.grid.ended_orders[name.sequence] = order
        self.grid.untold[name.sequence] = order

    def forget_what_is_over(self, listed: Container[int]) -> None:
        """An order that an earlier process left and that is not listed time and again, once its trades are known."""
        for sequence, order in tuple(self.grid.untold.items()):
            if not order.recovered:
                continue
            order.missing = 0 if sequence in listed else order.missing + 1
            patience = UNLISTED_TIMES if order.trade_lots == order.booked_lots else UNTOLD_TIMES
            if order.missing >= patience:
                del self.grid.untold[sequence]

    def repeat_old_cancel(self, slot: Slot) -> None:
        """A cancel whose effect never showed is asked for again."""
        order = slot.order
        if (
            order is not None
            and order.cancel_asked_ns
            and self.grid.now_ns - order.cancel_asked_ns > CANCEL_REPEAT_NS
        ):
            order.cancel_asked_ns = 0
            self.grid.mark((slot.index,))

    def hear_strange(self, report: OrderReport, ts_asked_ns: int) -> None:
        name = report.client_order_id
        assert name is not None
        order = self.grid.ended_orders.get(name.sequence)
        if order is None or order.client_order_id != name or order.recovered:
            self.news.take_in(report, name)
            return
        if order.ts_ended_ns < ts_asked_ns:
            order.venue_order_id = report.venue_order_id
            self.news.bury(order)

    def hear_unlisted(self, slot: Slot, ts_asked_ns: int) -> None:
        """An order of ours that the snapshot does not list: ask; believe it gone only after asking in vain."""
        order = slot.order
        assert order is not None
        if slot.state is LOCKED and order.gone_ns and ts_asked_ns > order.gone_ns:
            slot.hear(Heard.CANCELLED)
            order.presumed_dead = True
            self.grid.orders_cancelled += 1
            self.grid.end_order(slot, order, EndReason.VENUE, "neither found nor listed any more")
            self.grid.alert(
                Severity.WARNING,
                "order.vanished",
                f"order {order.client_order_id} is neither listed nor found at the venue",
            )
            return
        if slot.state is LOCKED or order.unanswered_ns:
            self.grid.query(order, "not among the open orders")

    def hear_position(self, differences: Differences, snapshot: VenueSnapshot) -> None:
        """A difference must be the same in two readings in a row before it is repaired, so far apart that no venue lags
        that much; in more where we traded between them, for while trades go on a reading that is a little late differs
        by the same again and again."""
        difference = differences.position
        assert difference is not None
        if difference == 0:
            self.difference = None
            if not self.grid.position_settled:
                self.grid.position_settled = True
                self.grid.mark_all()
            return
        if self.difference != difference or self.grid.price is None:
            self.difference = difference
            self.sightings, self.sighted_fill_ns = 1, self.grid.last_fill_ns
            self.sighted_ns = snapshot.ts_asked_ns
            self.look_again()
            return
        if snapshot.ts_asked_ns - self.sighted_ns < SECOND_LOOK_NS:
            self.look_again()
            return
        self.sightings += 1
        self.sighted_ns = snapshot.ts_asked_ns
        if self.sighted_fill_ns != self.grid.last_fill_ns and self.sightings < SURE_SIGHTINGS:
            self.look_again()
            return
        self.difference = None
        self.repairs += 1
        self.grid.alert(
            Severity.ERROR if self.grid.position_settled else Severity.WARNING,
            "reconcile.differed",
            f"position is {difference:+d} lots from the slots' inventory: "
            f"{self.grid.settings.on_position_difference.value}",
        )
        if self.grid.settings.on_position_difference is PositionPolicy.IGNORE:
            self.foreign_lots += difference
        else:
            self.adopt(difference, snapshot.position.entry_price)
        self.grid.position_settled = True
        self.grid.mark_all()

    def look_again(self) -> None:
        self.grid.set_timer(self.grid.now_ns + SECOND_LOOK_NS, "snapshot", 0)

    def adopt(self, difference: int, entry_price: Decimal) -> None:
        """Make the slots hold `difference` signed lots more; what was left to the owner is given and taken first."""
        remaining = difference
        if difference * self.foreign_lots < 0:
            back = min(abs(difference), abs(self.foreign_lots)) * (1 if difference > 0 else -1)
            self.foreign_lots += back
            remaining -= back
        for sign, ladder in self.grid.ladders.items():
            if sign * remaining < 0:
                remaining += sign * self.give_up_inventory(ladder, -sign * remaining)
        if not remaining:
            return
        sign = 1 if remaining > 0 else -1
        taker = self.grid.ladders.get(sign)
        over = self.grid.ended if not self.grid.closing else ""
        if taker is None or over:
            self.foreign_lots += remaining
            why = f"came after {over}" if over else "lie on the other side of this grid"
            self.grid.alert(
                Severity.ERROR,
                "reconcile.unwanted",
                f"{remaining:+d} lots {why}: left to the owner",
            )
            return
        self.take_inventory(taker, abs(remaining), entry_price)

    def give_up_inventory(self, ladder: Ladder, lots: int) -> int:
        """Forget up to `lots` that the venue no longer shows, dearest first. Returns how many were forgotten."""
        given = 0
        for index in sorted(self.grid.holding, key=lambda held: -ladder.sign * held):
            slot = self.grid.slots[index]
            if slot.sign != ladder.sign or slot.held_lots <= 0 or given == lots:
                continue
            part = min(slot.held_lots, lots - given)
            cost = slot.cost if part == slot.held_lots else slot.cost * part // slot.held_lots
            self.grid.books.adopt(slot, -part, -cost)
            given += part
            self.grid.held_changed(slot)
            self.grid.mark((index,))
        return given

    def take_inventory(self, ladder: Ladder, lots: int, entry_price: Decimal) -> None:
        """Into slots from the nearest level upward, an order's worth each, at the entry price."""
        assert self.grid.price is not None
        per_lot = entry_price / self.grid.instrument.tick_size
        total_cost = int((per_lot * lots).to_integral_value(ROUND_HALF_EVEN))
        rung = min(max(ladder.nearest, ladder.lowest), ladder.highest)
        left, cost_left = lots, total_cost
        while left:
            slot = self.grid.slot_at(ladder.sign * rung, ladder.sign)
            part = min(left, max(self.grid.sizing.entry_lots(ladder.price_of(rung)), 1))
            least = self.grid.sizing.least_exit_lots(ladder.price_of(rung + 1))
            if left - part < least or rung >= ladder.highest:
                part = left
            if slot.order is None or rung >= ladder.highest:
                cost = cost_left if part == left else cost_left * part // left
                self.grid.books.adopt(slot, part, cost)
                left -= part
                cost_left -= cost
                self.grid.held_changed(slot)
                self.grid.mark((slot.index,))
            rung += 1
