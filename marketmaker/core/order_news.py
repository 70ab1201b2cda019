"""What the venue, or its silence, says about our orders, and what each slot makes of it.

Unanswered questions. An order without an answer keeps its slot PENDING and is asked for by its id until the venue
names its fate; "not found" counts only after the venue would refuse the late request itself, and twice. An order the
venue had and no longer finds stays LOCKED until a snapshot taken later does not list it either (`repair`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from marketmaker.core.slot import LATE, LOCKED, PENDING, Heard, LiveOrder, Slot
from marketmaker.model.action import CancelOrder, GiveUp, Severity, TakeSnapshot
from marketmaker.model.event import (
    CancelRefused,
    CancelUnanswered,
    OrderMissing,
    OrderQueryFailed,
    OrderReported,
    PlaceRefused,
    PlaceUnanswered,
    Refusal,
)
from marketmaker.model.order import ClientOrderId, EndReason, OrderReport, OrderStatus
from marketmaker.model.settings import PostOnlyPolicy

if TYPE_CHECKING:
    from marketmaker.core.grid import Ladder
    from marketmaker.core.position_manager import PositionManager

OPEN: Final = OrderStatus.OPEN
FILLED: Final = OrderStatus.FILLED
SECOND_NS: Final = 1_000_000_000
CANCEL_REPEAT_NS: Final = 5 * SECOND_NS
NOT_FOUND_TIMES: Final = 2
UNEXPLAINED = {EndReason.VENUE, EndReason.EXPIRED, EndReason.SELF_TRADE}
"""Refusals for which trying again at once is no remedy: each in a row doubles the wait, as in a maintenance."""
REFUSED_WAIT_MAX_S = 15.0
CLOSING_WAIT_MAX_S = 2.0
RESTED_NS = 10 * SECOND_NS
"""An order that was open for so long was not refused: the count begins anew."""
REDUCE_ONLY_WAIT_MAX_S = 30.0
REDUCE_ONLY_ALERT_AFTER = 5

END_OF_REFUSAL = {
    Refusal.POST_ONLY: EndReason.POST_ONLY,
    Refusal.REDUCE_ONLY: EndReason.REDUCE_ONLY,
    Refusal.INSUFFICIENT_MARGIN: EndReason.INSUFFICIENT_MARGIN,
}
REFUSED_ENDS: Final = set(END_OF_REFUSAL.values())
FATAL = {Refusal.POSITION_MODE, Refusal.AUTHENTICATION}


class OrderNews:
    """Hears reports, refusals and silences for `grid`."""

    def __init__(self, grid: PositionManager) -> None:
        self.grid = grid

    def on_report(self, event: OrderReported) -> None:
        self.hear_report(event.report, event.ts_ns)

    def hear_report(self, report: OrderReport, ts_ns: int) -> None:
        name = report.client_order_id
        if name is None:
            return
        slot = self.grid.live.get(name.sequence)
        order = None if slot is None else slot.order
        if slot is None or order is None or not same_order(order.client_order_id, name):
            self.hear_of_other(report, name)
            return
        if report.venue_order_id:
            order.venue_order_id = report.venue_order_id
        filled = order.qty_lots if report.status is FILLED else report.filled_lots
        filled = max(filled, report.filled_lots)
        stale = report.filled_lots < order.booked_lots and slot.state is LOCKED
        if report.fill is not None or filled > order.booked_lots:
            self.grid.book(slot, order, filled, report)
        order.missing = 0
        order.gone_ns = 0
        if report.status is OPEN and order.booked_lots < order.qty_lots:
            self.hear_open(slot, order, stale=stale)
            return
        if report.status is OPEN or report.status is FILLED:
            slot.hear(Heard.FILLED)
            self.grid.end_order(slot, order, None)
            return
        slot.hear(Heard.CANCELLED)
        reason = report.end_reason or EndReason.VENUE
        self.grid.end_order(slot, order, reason)
        if report.status is OrderStatus.REJECTED or reason in REFUSED_ENDS:
            self.grid.orders_rejected += 1
        else:
            self.grid.orders_cancelled += 1
        if reason is EndReason.REQUESTED or (reason is EndReason.IOC and self.grid.closing):
            return
        self.after_refusal(slot, order, reason, reason.value, None)

    def hear_open(self, slot: Slot, order: LiveOrder, *, stale: bool) -> None:
        heard = Heard.PART_FILLED if order.booked_lots else Heard.ACCEPTED
        was_pending = slot.state is PENDING
        if stale or slot.hear(heard) is LATE:
            self.grid.late_news += 1
            return
        if was_pending:
            order.ts_accepted_ns = order.ts_changed_ns = self.grid.now_ns
            if self.grid.renew_after_ns is not None:
                self.grid.set_timer(
                    self.grid.now_ns + self.grid.renew_after_ns, "retry", slot.index
                )
            if order.cancel_asked_ns:
                order.cancel_asked_ns = 0
                self.grid.marked[slot.index] = None

    def hear_of_other(self, report: OrderReport, name: ClientOrderId) -> None:
        """News of an order that is no slot's current one: late, or alive without our knowing."""
        known = self.grid.ended_orders.get(name.sequence)
        if known is not None and known.client_order_id == name:
            if known.recovered and report.status is OrderStatus.OPEN:
                self.take_in(report, name)
                return
            self.book_ended(known, report.filled_lots, report)
            self.grid.late_news += 1
            if known.presumed_dead and report.status is OrderStatus.OPEN:
                known.venue_order_id = report.venue_order_id
                self.bury(known)
            return
        if report.status is OrderStatus.OPEN:
            self.take_in(report, name)
        elif report.filled_lots:
            self.grid.actions.append(TakeSnapshot(reason="fill of an order without a record"))

    def book_ended(self, order: LiveOrder, cumulative: int, report: OrderReport) -> None:
        """`order` is over; its slot may long have another, or be forgotten."""
        slot = self.grid.slot_at(order.client_order_id.slot, order.sign)
        self.grid.book(slot, order, cumulative, report)
        self.grid.forget_if_idle(slot)

    def take_in(self, report: OrderReport, name: ClientOrderId) -> None:
        """An open order with our tag and no record: its slot takes it if it would have placed it, else it goes."""
        sign = self.sign_of(name)
        ladder = self.grid.ladders.get(sign)
        slot = self.grid.slots.get(name.slot)
        if ladder is not None and slot is None:
            slot = self.grid.slot_at(name.slot, sign)
        order = self.earlier_order(report, name, sign)
        self.grid.ended_orders[name.sequence] = order
        if ladder is not None:
            self.grid.book(self.grid.slot_at(name.slot, sign), order, report.filled_lots, report)
        if order.booked_lots >= order.qty_lots:
            return
        fits = (
            ladder is not None
            and slot is not None
            and slot.order is None
            and slot.sign == sign
            and report.price_ticks == ladder.price_of(sign * name.slot + order.is_exit)
            and (
                order.leaves_lots <= slot.held_lots
                if order.is_exit
                else slot.held_lots - order.booked_lots < self.least_exit(ladder, slot)
            )
        )
        if not fits or slot is None:
            self.grid.actions.append(
                CancelOrder(order=order.reference, reason="open order of ours that no slot wants")
            )
            return
        del self.grid.ended_orders[name.sequence]
        if order.booked_lots == order.trade_lots:
            self.grid.untold.pop(name.sequence, None)
        order.recovered = False
        order.missing = 0
        slot.state = LOCKED
        slot.order = order
        self.grid.live[name.sequence] = slot
        if not order.is_exit:
            self.grid.entry_leaves[sign] += order.leaves_lots
        self.grid.held_changed(slot)
        self.grid.mark((slot.index,))

    def least_exit(self, ladder: Ladder, slot: Slot) -> int:
        """Less than so many lots is dust, which the slot's next entry tops up."""
        return self.grid.sizing.least_exit_lots(ladder.price_of(slot.rung + 1))

    def earlier_order(self, report: OrderReport, name: ClientOrderId, sign: int) -> LiveOrder:
        """The order with what is booked on it: as far as memory and trades tell or, without memory, all that filled
        until now, for that is in the position from which the inventory is taken."""
        known = self.grid.ended_orders.get(name.sequence)
        if known is not None and known.client_order_id == name:
            order = known
            order.price_ticks, order.qty_lots = report.price_ticks, report.qty_lots
        else:
            order = LiveOrder(
                client_order_id=name,
                side=report.side,
                is_exit=report.side != sign,
                post_only=True,
                recovered=True,
                price_ticks=report.price_ticks,
                qty_lots=report.qty_lots,
                ts_sent_ns=self.grid.now_ns,
            )
            if self.grid.restored is None:
                order.booked_lots = order.trade_lots = report.filled_lots
                order.booked_value = order.trade_value = report.filled_lots * report.price_ticks
                order.covered_ns = report.ts_venue_ns
        order.venue_order_id = report.venue_order_id
        order.ts_accepted_ns = order.ts_changed_ns = self.grid.now_ns
        return order

    def sign_of(self, name: ClientOrderId) -> int:
        """Which way the slot of an order without a record looks."""
        if len(self.grid.ladders) == 1:
            return next(iter(self.grid.ladders))
        return 1 if name.slot < 0 else -1

    def on_place_refused(self, event: PlaceRefused) -> None:
        slot, order = self.find(event.client_order_id)
        if slot is None or order is None:
            self.grid.late_news += 1
            return
        if slot.state is not PENDING:
            slot.hear(Heard.REJECTED)
            self.grid.query(order, "refused after it was seen open")
            return
        slot.hear(Heard.REJECTED)
        refusal = event.refusal
        end = END_OF_REFUSAL.get(refusal, EndReason.VENUE)
        if refusal is not Refusal.WITHDRAWN:
            self.grid.orders_rejected += 1
        self.grid.end_order(slot, order, end, f"{refusal.value}: {event.message}")
        if refusal is Refusal.WITHDRAWN:
            return
        if refusal in FATAL:
            self.grid.gave_up = f"{refusal.value}: {event.message}"
            self.grid.actions.append(GiveUp(reason=self.grid.gave_up))
            self.grid.mark_all()
            return
        if refusal is Refusal.FILTER:
            if order.closes:
                self.grid.closing = False
            self.grid.wait(slot, self.grid.settings.refused_delay_s, event.message)
            self.grid.alert(Severity.ERROR, "order.refused", event.message)
            return
        self.after_refusal(slot, order, end, event.message, event.retry_after_s)

    def after_refusal(
        self,
        slot: Slot,
        order: LiveOrder,
        end: EndReason,
        message: str,
        retry_after_s: float | None,
    ) -> None:
        """What a slot does after the venue would not have, or keep, its order."""
        settings = self.grid.settings
        if order.ts_accepted_ns and self.grid.now_ns - order.ts_accepted_ns >= RESTED_NS:
            slot.refusals = 0
        delay_s = retry_after_s or settings.retry_delay_s
        if end in UNEXPLAINED and retry_after_s is None:
            most_s = CLOSING_WAIT_MAX_S if order.closes else REFUSED_WAIT_MAX_S
            delay_s = max(delay_s, min(delay_s * 2.0 ** min(slot.refusals, 20), most_s))
            slot.refusals += 1
        self.grid.wait(slot, delay_s, message or end.value)
        if end is EndReason.POST_ONLY:
            slot.post_only_rejects += 1
            if settings.post_only is PostOnlyPolicy.STRICT and self.grid.price is not None:
                slot.strict_beyond = order.side * self.grid.price
        elif end is EndReason.INSUFFICIENT_MARGIN and not order.is_exit:
            self.grid.margin_locked_until_ns = self.grid.now_ns + int(
                settings.margin_lock_s * SECOND_NS
            )
            self.grid.set_timer(self.grid.margin_locked_until_ns, "gate", 0)
            self.grid.alert(Severity.WARNING, "margin.locked", message)
            self.grid.mark_all()
        elif end is EndReason.REDUCE_ONLY:
            self.after_reduce_only(slot, order)
        elif end is EndReason.LIQUIDATION:
            self.grid.alert(Severity.ERROR, "position.liquidated", message)
            self.grid.actions.append(TakeSnapshot(reason="liquidation"))

    def after_reduce_only(self, slot: Slot, order: LiveOrder) -> None:
        """Look at the position; if that does not help, ask ever less often and tell the owner."""
        slot.refusals += 1
        delay_s = min(2.0 ** min(slot.refusals, 20), REDUCE_ONLY_WAIT_MAX_S)
        self.grid.wait(slot, max(self.grid.settings.retry_delay_s, delay_s), "reduce-only refused")
        self.grid.actions.append(TakeSnapshot(reason="reduce-only refused"))
        if slot.refusals == REDUCE_ONLY_ALERT_AFTER:
            self.grid.alert(
                Severity.ERROR,
                "exit.refused",
                f"{order.leaves_lots} lots of slot {slot.index} cannot be offered: refused as reduce-only"
                f" {slot.refusals} times in a row; does another order use up the position?",
            )

    def on_place_unanswered(self, event: PlaceUnanswered) -> None:
        slot, order = self.find(event.client_order_id)
        if slot is None or order is None or slot.hear(Heard.UNKNOWN) is not PENDING:
            self.grid.late_news += 1
            return
        order.unanswered_ns = order.ts_changed_ns = self.grid.now_ns
        self.grid.query(order, f"no answer to the placement: {event.message}")

    def on_cancel_refused(self, event: CancelRefused) -> None:
        slot, order = self.find(event.client_order_id)
        if slot is None or order is None:
            self.grid.late_news += 1
            return
        if event.refusal is Refusal.ORDER_NOT_FOUND:
            self.grid.query(order, "cancel found no order")
            return
        self.grid.set_timer(
            self.grid.now_ns + SECOND_NS, "recancel", order.client_order_id.sequence
        )

    def on_cancel_unanswered(self, event: CancelUnanswered) -> None:
        _, order = self.find(event.client_order_id)
        if order is not None:
            self.grid.query(order, f"no answer to the cancel: {event.message}")
            self.grid.set_timer(
                self.grid.now_ns + CANCEL_REPEAT_NS, "recancel", order.client_order_id.sequence
            )

    def on_order_missing(self, event: OrderMissing) -> None:
        slot, order = self.find(event.client_order_id)
        if slot is None or order is None:
            return
        if slot.state is PENDING and not order.unanswered_ns:
            return
        order.missing += 1
        if slot.state is PENDING:
            too_old = event.ts_asked_ns - order.unanswered_ns > self.grid.request_lifetime_ns
            if too_old and order.missing >= NOT_FOUND_TIMES:
                slot.hear(Heard.REJECTED)
                self.grid.orders_rejected += 1
                order.presumed_dead = True
                self.grid.end_order(slot, order, EndReason.VENUE, "never reached the venue")
                return
        elif order.missing >= NOT_FOUND_TIMES:
            if not order.gone_ns:
                order.gone_ns = self.grid.now_ns
            self.grid.actions.append(TakeSnapshot(reason="an open order cannot be found"))
        self.ask_later(order)

    def on_query_failed(self, event: OrderQueryFailed) -> None:
        _, order = self.find(event.client_order_id)
        if order is not None:
            self.ask_later(order)

    def ask_later(self, order: LiveOrder) -> None:
        delay_ns = int(self.grid.settings.query_delay_s * SECOND_NS)
        self.grid.set_timer(self.grid.now_ns + delay_ns, "query", order.client_order_id.sequence)

    def find(self, name: ClientOrderId) -> tuple[Slot | None, LiveOrder | None]:
        slot = self.grid.live.get(name.sequence)
        if slot is None or slot.order is None or slot.order.client_order_id != name:
            return None, None
        return slot, slot.order

    def bury(self, order: LiveOrder) -> None:
        """An order that is over in our books turned out to be open."""
        self.grid.alert(
            Severity.ERROR,
            "order.undead",
            f"order {order.client_order_id} was over in our books and is open at the venue: cancelled",
        )
        self.grid.actions.append(
            CancelOrder(order=order.reference, reason="open at the venue, over in our books")
        )


def same_order(one: ClientOrderId, other: ClientOrderId) -> bool:
    return one is other or one == other
