"""What our slots hold and what it cost, exact: every quantity in lots, every value in quanta.

A venue tells of a fill twice and more: as a cumulative quantity, as a trade, in any order, again after a reconnect.
So an order's booked quantity only ever grows to the largest figure heard: the cumulative one, or the sum of the trades
known by id. A trade's fee is booked once per trade id. A quantity first heard without its trade is booked at the
order's limit price; once all its trades are known, their exact value replaces that.

Identity that always holds: cash paid = inventory cost - realised, in quanta.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from marketmaker.core.slot import LiveOrder, Slot
from marketmaker.model.action import RecordFill
from marketmaker.model.instrument import Lots, Quanta
from marketmaker.model.order import Fill, Side

ZERO: Final = Decimal(0)


class Books:
    """Totals over all slots; inventory and its cost are signed, long > 0."""

    def __init__(self) -> None:
        self.inventory_lots = 0
        self.inventory_cost = 0
        self.adopted_lots = 0
        self.adopted_cost = 0
        self.realised = 0
        self.fees = ZERO
        self.funding = ZERO
        self.fills = 0
        self.buys = 0
        self.sells = 0
        self.maker_fills = 0

    def book(
        self, slot: Slot, order: LiveOrder, cumulative: int, fill: Fill | None, ts_venue_ns: int
    ) -> RecordFill | None:
        """Take in what was heard of `order`; None when it was nothing new.

        A trade of a `recovered` order happened before this process: it moves inventory, but its cash and fee belong to
        the time before, so it counts as adopted and not among the fees.
        """
        fresh = fill if fill is not None and fill.trade_id not in order.trade_ids else None
        if fresh is not None:
            if isinstance(order.trade_ids, set):
                order.trade_ids.add(fresh.trade_id)
            else:
                order.trade_ids = {fresh.trade_id}
            order.trade_lots += fresh.qty_lots
            order.trade_value += fresh.qty_lots * fresh.price_ticks
        delta = max(cumulative, order.trade_lots) - order.booked_lots
        delta = max(delta, 0)
        if delta == 0 and fresh is None:
            return None
        realised = value = 0
        if delta:
            traded = 0 if fresh is None else min(fresh.qty_lots, delta)
            value = (delta - traded) * order.price_ticks
            if fresh is not None:
                value += traded * fresh.price_ticks
            order.booked_lots += delta
            order.booked_value += value
            realised = self._move(slot, order, delta, value)
        if order.trade_lots == order.booked_lots and order.trade_value != order.booked_value:
            difference = order.trade_value - order.booked_value
            realised += self._correct(slot, order, difference)
            order.booked_value = order.trade_value
            value += difference
        self.realised += realised
        fee = ZERO if fresh is None else fresh.fee
        if order.recovered:
            self.adopted_lots += order.side * delta
            self.adopted_cost += order.side * value
        else:
            self.fees += fee
        if fresh is not None:
            self._count(fresh)
        return RecordFill(
            trade_id="" if fresh is None else fresh.trade_id,
            client_order_id=order.client_order_id,
            side=order.side,
            price_ticks=order.price_ticks if fresh is None else fresh.price_ticks,
            qty_lots=Lots(delta),
            realised=Quanta(realised),
            fee=fee,
            is_maker=fresh is None or fresh.is_maker,
            ts_venue_ns=ts_venue_ns,
        )

    def _count(self, fill: Fill) -> None:
        """Trades are counted when they are known by id, whatever told of their quantity first."""
        self.fills += 1
        self.maker_fills += fill.is_maker
        if fill.side is Side.BUY:
            self.buys += 1
        else:
            self.sells += 1

    def _move(self, slot: Slot, order: LiveOrder, delta: int, value: int) -> int:
        """Into or out of the slot; returns what was realised. Selling more than is held leaves a debt in the slot."""
        sign = slot.sign
        if not order.is_exit:
            covered = min(delta, max(-slot.held_lots, 0))
            realised = self._cover_debt(slot, covered, value * covered // delta)
            slot.held_lots += delta - covered
            slot.cost += value - value * covered // delta
            self.inventory_lots += sign * (delta - covered)
            self.inventory_cost += sign * (value - value * covered // delta)
            return realised
        held = max(slot.held_lots, 0)
        given = min(delta, held)
        cost_out = slot.cost if given == held else slot.cost * given // held
        if held == 0:
            cost_out = 0
        value_given = value if given == delta else value * given // delta
        slot.held_lots -= delta
        slot.cost -= cost_out + value - value_given
        self.inventory_lots -= sign * delta
        self.inventory_cost -= sign * (cost_out + value - value_given)
        return sign * (value_given - cost_out)

    def _cover_debt(self, slot: Slot, lots: int, value: int) -> int:
        """`lots` that the slot owes came back for `value`; returns what was realised."""
        if not lots:
            return 0
        proceeds = -slot.cost if lots == -slot.held_lots else -slot.cost * lots // -slot.held_lots
        slot.held_lots += lots
        slot.cost += proceeds
        self.inventory_lots += slot.sign * lots
        self.inventory_cost += slot.sign * proceeds
        return slot.sign * (proceeds - value)

    def _correct(self, slot: Slot, order: LiveOrder, difference: int) -> int:
        """The exact trade value differs from what was booked: mend cost or result; returns what was realised."""
        if order.is_exit:
            return slot.sign * difference
        if slot.held_lots > 0:
            slot.cost += difference
            self.inventory_cost += slot.sign * difference
            return 0
        return -slot.sign * difference

    def carry(self, source: Slot, target: Slot) -> None:
        """Move all that `source` holds, and its cost, to `target` of the same ladder."""
        target.held_lots += source.held_lots
        target.cost += source.cost
        source.held_lots = 0
        source.cost = 0

    def pay_debt(self, debtor: Slot, holder: Slot) -> None:
        """What `debtor` sold without having it was inventory of `holder`, of the same ladder."""
        lots = min(-debtor.held_lots, holder.held_lots)
        proceeds = -debtor.cost * lots // -debtor.held_lots
        cost = holder.cost * lots // holder.held_lots
        debtor.held_lots += lots
        debtor.cost += proceeds
        holder.held_lots -= lots
        holder.cost -= cost
        self.inventory_cost += holder.sign * (proceeds - cost)
        self.realised += holder.sign * (proceeds - cost)

    def adopt(self, slot: Slot, lots: int, cost: int) -> None:
        """Take inventory in (lots > 0, in the slot's direction) or give it up (lots < 0) without a trade of ours."""
        slot.held_lots += lots
        slot.cost += cost
        self.inventory_lots += slot.sign * lots
        self.inventory_cost += slot.sign * cost
        self.adopted_lots += slot.sign * lots
        self.adopted_cost += slot.sign * cost
