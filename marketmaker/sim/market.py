"""One instrument at the embedded exchange: its matching, our orders there, and what became of them."""

from __future__ import annotations

from decimal import ROUND_CEILING

from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.order import EndReason, Fill, OrderReport, OrderStatus, Side
from marketmaker.sim.account import Holding
from marketmaker.sim.matching import BUY, BookOrder, Matcher


class Market:
    """One instrument's share of the exchange. `open_orders` by the client id on the wire, oldest first."""

    __slots__ = (
        "ended",
        "fills",
        "holding",
        "instrument",
        "matcher",
        "min_quanta",
        "name",
        "open_orders",
        "reducing_buys",
        "reducing_sells",
    )

    def __init__(self, instrument: Instrument, matcher: Matcher, holding: Holding) -> None:
        self.name = instrument.name
        self.instrument = instrument
        self.matcher = matcher
        self.holding = holding
        self.open_orders: dict[str, BookOrder] = {}
        self.ended: dict[str, OrderReport] = {}
        self.fills: list[Fill] = []
        self.min_quanta = int(
            (instrument.min_notional / instrument.quantum).to_integral_value(ROUND_CEILING)
        )
        """The least ticks times lots an order may have that does not reduce."""
        self.reducing_buys = self.reducing_sells = 0
        """Lots of open reduce-only orders."""

    def reducing(self, side: Side) -> int:
        return self.reducing_buys if side is BUY else self.reducing_sells

    def reserve(self, order: BookOrder, lots: int) -> None:
        """So much more of the order is open."""
        holding = self.holding
        if order.reduce_only:
            if order.side is BUY:
                self.reducing_buys += lots
            else:
                self.reducing_sells += lots
        elif order.side is BUY:
            holding.buying += lots * order.price_ticks
        else:
            holding.selling += lots * order.price_ticks

    def release(self, order: BookOrder, lots: int) -> None:
        holding = self.holding
        if order.reduce_only:
            if order.side is BUY:
                self.reducing_buys -= lots
            else:
                self.reducing_sells -= lots
        elif order.side is BUY:
            holding.buying -= lots * order.price_ticks
        else:
            holding.selling -= lots * order.price_ticks


def build_report(
    order: BookOrder, now_ns: int, *, fill: Fill | None = None, end: EndReason | None = None
) -> OrderReport:
    if end is not None:
        status = OrderStatus.CANCELLED
    else:
        status = OrderStatus.OPEN if order.leaves_lots else OrderStatus.FILLED
    return OrderReport(
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id,
        side=order.side,
        price_ticks=Ticks(order.price_ticks),
        qty_lots=Lots(order.qty_lots),
        filled_lots=Lots(order.qty_lots - order.leaves_lots),
        status=status,
        reduce_only=order.reduce_only,
        fill=fill,
        end_reason=end,
        ts_venue_ns=now_ns,
    )
