"""Private events of one symbol on their way into its queue."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import structlog

from marketmaker.model.account import Position
from marketmaker.model.event import (
    FundingBooked,
    OrderReported,
    OrderStreamLost,
    OrderStreamRestored,
)
from marketmaker.model.order import OrderReport
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.send_line import Channel


class OrderFeed:
    """Implements `adapters.protocol.OrderListener`.

    `ask_snapshot(reason)` is called each time the stream comes up, for something may have been missed. Reports of
    orders that are not ours go no further than the counter `foreign`. `up` is None until the stream first says either.
    """

    def __init__(self, channel: Channel, clock: Clock, ask_snapshot: Callable[[str], None]) -> None:
        self._channel = channel
        self._queue = channel.queue
        self._clock = clock
        self._ask_snapshot = ask_snapshot
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="order_feed", instrument=channel.name
        )
        self.up: bool | None = None
        self.reports = 0
        self.foreign = 0
        self.last_position: Position | None = None

    def on_order(self, report: OrderReport, ts_local_ns: int) -> None:
        if report.client_order_id is None:
            self.foreign += 1
            self._log.debug(log_events.ORDER_FOREIGN, venue_order_id=report.venue_order_id)
            return
        self.reports += 1
        self._queue.put(OrderReported(report=report, ts_ns=ts_local_ns))

    def on_funding(
        self, payment_id: str, amount: Decimal, ts_venue_ns: int, ts_local_ns: int
    ) -> None:
        self._queue.put(FundingBooked(payment_id=payment_id, amount=amount, ts_ns=ts_local_ns))

    def on_position(self, position: Position, ts_local_ns: int) -> None:
        self.last_position = position

    def stream_up(self) -> None:
        self.up = True
        self._log.info(log_events.ORDER_STREAM_UP)
        self._queue.put(OrderStreamRestored(ts_ns=self._clock.now_ns()))
        self._ask_snapshot("order stream is up")

    def stream_down(self, reason: str) -> None:
        if self.up is False:
            return
        self.up = False
        self._log.warning(log_events.ORDER_STREAM_DOWN, reason=reason)
        self._queue.put(OrderStreamLost(reason=reason, ts_ns=self._clock.now_ns()))
