"""A venue of a few lines for testing the core alone: it holds orders, and the test decides what it says and when."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from decimal import Decimal

from marketmaker.core.position_manager import PositionManager
from marketmaker.core.repair import SECOND_LOOK_NS
from marketmaker.model.account import Position, VenueSnapshot
from marketmaker.model.action import Action, CancelOrder, PlaceOrder, QueryOrder
from marketmaker.model.client_order_id import TEXT_MAX_SLOT, TEXT_SEQUENCES
from marketmaker.model.event import (
    OrderMissing,
    OrderReported,
    OrderStreamRestored,
    PlaceRefused,
    PriceChanged,
    Refusal,
    SnapshotTaken,
    TimerFired,
)
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.order import (
    ClientOrderId,
    EndReason,
    Fill,
    NewOrder,
    OrderReport,
    OrderStatus,
    Side,
)
from marketmaker.model.settings import GridSettings
from marketmaker.model.status import GridMemory

SECOND = 1_000_000_000

ETH = Instrument(
    venue="toy",
    name="ETHUSDT",
    base="ETH",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.001"),
    min_notional=Decimal(5),
    maker_fee=Decimal("0.0002"),
    taker_fee=Decimal("0.0005"),
)


def grid_settings(**changes: object) -> GridSettings:
    """A long arithmetic grid of 1.00 with orders of about 0.02 ETH at 2,500."""
    chosen: dict[str, object] = {
        "price_interval": Decimal(1),
        "order_amount": Decimal(50),
        "buy_window": 5,
        "sell_window": 5,
        "max_open_orders": 20,
    }
    chosen.update(changes)
    return GridSettings(**chosen)  # type: ignore[arg-type]


def make_manager(
    settings: GridSettings | None = None,
    *,
    instrument: Instrument = ETH,
    memory: GridMemory | None = None,
    first_sequence: int = 1,
    sequences: int = TEXT_SEQUENCES,
    order_lifetime_s: float | None = None,
) -> PositionManager:
    return PositionManager(
        instrument=instrument,
        settings=settings or grid_settings(),
        sequences=sequences,
        max_slot=TEXT_MAX_SLOT,
        first_sequence=first_sequence,
        request_lifetime_s=5.0,
        order_lifetime_s=order_lifetime_s,
        memory=memory,
    )


@dataclass
class ToyOrder:
    order: NewOrder
    venue_order_id: str
    filled: int = 0
    status: OrderStatus = OrderStatus.OPEN
    fills: list[Fill] = field(default_factory=list)


class ToyVenue:
    """Truth of orders and position, and the mailbox of what it has not yet told. Drives one manager."""

    def __init__(self, manager: PositionManager, *, start_position: int = 0) -> None:
        self.manager = manager
        self.now_ns = 1_700_000_000 * SECOND
        self.looked_ns = 0
        self.orders: dict[ClientOrderId, ToyOrder] = {}
        self.unsent: deque[NewOrder] = deque()
        self.cancels: deque[CancelOrder] = deque()
        self.queries: deque[ClientOrderId] = deque()
        self.position = start_position
        self.entry_price = Decimal(2500)
        self.told: list[OrderReport] = []
        self.all_actions: list[Action] = []
        self.used_ids: set[ClientOrderId] = set()
        self.trade_number = 0

    # --- driving the manager ---

    def tell(self, event: object) -> list[Action]:
        actions = self.manager.decide(event)  # type: ignore[arg-type]
        self.all_actions += actions
        for action in actions:
            match action:
                case PlaceOrder(order=order):
                    assert order.client_order_id not in self.used_ids, "an id was used twice"
                    self.used_ids.add(order.client_order_id)
                    self.unsent.append(order)
                case CancelOrder():
                    self.cancels.append(action)
                case QueryOrder(client_order_id=name):
                    self.queries.append(name)
        return actions

    def pass_time(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND)

    def wait(self, seconds: float) -> list[Action]:
        """Let time pass and every timer on the way ring at its own moment."""
        end_ns = self.now_ns + int(seconds * SECOND)
        actions: list[Action] = []
        while self.manager.wake_at_ns is not None and self.manager.wake_at_ns <= end_ns:
            self.now_ns = max(self.now_ns, self.manager.wake_at_ns)
            actions += self.tell(TimerFired(ts_ns=self.now_ns))
        self.now_ns = end_ns
        return actions

    def start(self, price: int) -> list[Action]:
        """Stream up, empty snapshot, first price."""
        actions = self.tell(OrderStreamRestored(ts_ns=self.now_ns))
        actions += self.snapshot()
        actions += self.price(price)
        return actions

    def price(self, ticks: int) -> list[Action]:
        self.now_ns += 1_000
        return self.price_at(ticks, self.now_ns)

    def price_at(self, ticks: int, ts_ns: int) -> list[Action]:
        return self.tell(PriceChanged(price_ticks=Ticks(ticks), ts_venue_ns=ts_ns, ts_ns=ts_ns))

    def snapshot(self, *, asked_ns: int | None = None) -> list[Action]:
        """Far enough from the one before to be a second look."""
        self.now_ns = max(self.now_ns + 1_000, self.looked_ns + SECOND_LOOK_NS)
        self.looked_ns = self.now_ns
        asked = self.now_ns if asked_ns is None else asked_ns
        self.now_ns += 1_000
        return self.tell(
            SnapshotTaken(
                snapshot=VenueSnapshot(
                    open_orders=tuple(
                        self.report(toy)
                        for toy in self.orders.values()
                        if toy.status is OrderStatus.OPEN
                    ),
                    position=Position(
                        qty_lots=Lots(self.position),
                        entry_price=self.entry_price,
                        mark_price=self.entry_price,
                    ),
                    fills=tuple(fill for toy in self.orders.values() for fill in toy.fills),
                    ts_asked_ns=asked,
                    ts_answered_ns=self.now_ns,
                ),
                ts_ns=self.now_ns,
            )
        )

    # --- what the venue does ---

    def report(self, toy: ToyOrder, fill: Fill | None = None) -> OrderReport:
        order = toy.order
        return OrderReport(
            client_order_id=order.client_order_id,
            venue_order_id=toy.venue_order_id,
            side=order.side,
            price_ticks=order.price_ticks,
            qty_lots=order.qty_lots,
            filled_lots=Lots(toy.filled),
            status=toy.status,
            reduce_only=order.reduce_only,
            fill=fill,
            end_reason=EndReason.REQUESTED if toy.status is OrderStatus.CANCELLED else None,
            ts_venue_ns=self.now_ns,
        )

    def deliver(self, report: OrderReport) -> list[Action]:
        self.now_ns += 1_000
        self.told.append(report)
        return self.tell(OrderReported(report=report, ts_ns=self.now_ns))

    def take(self, order: NewOrder) -> ToyOrder:
        """The order reaches the venue and rests there; nothing is told yet."""
        toy = ToyOrder(order=order, venue_order_id=f"v{len(self.orders) + 1}")
        self.orders[order.client_order_id] = toy
        return toy

    def accept(self, order: NewOrder) -> list[Action]:
        return self.deliver(self.report(self.take(order)))

    def accept_all(self) -> None:
        while self.unsent:
            self.accept(self.unsent.popleft())

    def refuse(self, order: NewOrder, refusal: Refusal) -> list[Action]:
        self.now_ns += 1_000
        return self.tell(
            PlaceRefused(
                client_order_id=order.client_order_id,
                refusal=refusal,
                message=f"refused: {refusal.value}",
                retry_after_s=None,
                ts_ns=self.now_ns,
            )
        )

    def trade(self, toy: ToyOrder, lots: int, price: int | None = None) -> OrderReport:
        """Fill part of an order; returns the report of it, untold."""
        order = toy.order
        self.trade_number += 1
        lots = min(lots, order.qty_lots - toy.filled)
        toy.filled += lots
        self.position += int(order.side) * lots
        if toy.filled == order.qty_lots:
            toy.status = OrderStatus.FILLED
        ticks = Ticks(price or order.price_ticks)
        fill = Fill(
            trade_id=f"t{self.trade_number}",
            client_order_id=order.client_order_id,
            venue_order_id=toy.venue_order_id,
            side=order.side,
            price_ticks=ticks,
            qty_lots=Lots(lots),
            fee=ETH.notional(ticks, Lots(lots)) * ETH.maker_fee,
            is_maker=True,
            ts_venue_ns=self.now_ns,
        )
        toy.fills.append(fill)
        return self.report(toy, fill)

    def fill(self, toy: ToyOrder, lots: int | None = None) -> list[Action]:
        return self.deliver(self.trade(toy, lots or toy.order.qty_lots))

    def settle_cancels(self) -> None:
        """Carry out and confirm every cancel asked for."""
        while self.cancels:
            name = self.cancels.popleft().order.client_order_id
            waiting = next((o for o in self.unsent if o.client_order_id == name), None)
            if waiting is not None:
                self.unsent.remove(waiting)
                self.refuse(waiting, Refusal.WITHDRAWN)
                continue
            toy = self.orders.get(name)
            if toy is not None and toy.status is OrderStatus.OPEN:
                toy.status = OrderStatus.CANCELLED
                self.deliver(self.report(toy))

    def answer_queries(self) -> None:
        while self.queries:
            name = self.queries.popleft()
            asked = self.now_ns
            self.now_ns += 1_000
            toy = self.orders.get(name)
            if toy is None:
                self.tell(OrderMissing(client_order_id=name, ts_asked_ns=asked, ts_ns=self.now_ns))
            else:
                self.deliver(self.report(toy))

    def calm(self) -> None:
        """Let everything under way come to an end."""
        for _ in range(100):
            if not (self.unsent or self.cancels or self.queries):
                return
            self.accept_all()
            self.settle_cancels()
            self.answer_queries()
        raise AssertionError("the manager does not come to rest")

    def end(
        self, toy: ToyOrder, reason: EndReason, status: OrderStatus = OrderStatus.CANCELLED
    ) -> list[Action]:
        """The venue ends a resting order for its own reason and says so."""
        toy.status = status
        return self.deliver(replace(self.report(toy), end_reason=reason))

    # --- looking ---

    def open(self, side: Side | None = None) -> list[ToyOrder]:
        """Open orders, lowest price first."""
        chosen = [
            toy
            for toy in self.orders.values()
            if toy.status is OrderStatus.OPEN and side in (None, toy.order.side)
        ]
        return sorted(chosen, key=lambda toy: toy.order.price_ticks)

    def prices(self, side: Side) -> list[int]:
        return [int(toy.order.price_ticks) for toy in self.open(side)]
