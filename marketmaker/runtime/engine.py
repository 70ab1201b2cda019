"""One symbol's turn of the crank: queue → position manager → executor.

The engine is the only one that calls the core, so nothing can come between an event and its decision. It also keeps
the core's one alarm clock: when the core asks to be woken at a time, a TimerFired arrives then.

Bytes first. What was decided is handed to the executor before it is journalled, booked and logged; all of that happens
before the next event is handled, so the journal's order is the order of decisions, and an event on which the core
breaks is still written before the error goes on. What this changes: a process killed between the two, some tens of
microseconds, leaves an order at the venue whose cause the journal lacks. It could lack it before as well, for lines
reach the disk up to 0.2 s later (`journal`), and recovery never reads the journal: the client order id tells whose the
order is. The journal keeps what it is given, in order, and makes the text when an order has just left, while the venue is
busy with it, or a little later: not before the next frame can be acted on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from logging import DEBUG
from typing import Final

import structlog

from marketmaker.core.position_manager import PositionManager
from marketmaker.model.action import (
    Action,
    CancelOrder,
    GiveUp,
    PlaceOrder,
    QueryOrder,
    RaiseAlert,
    RecordFill,
    RecordOrderEnd,
    Severity,
    TakeSnapshot,
)
from marketmaker.model.event import (
    Event,
    PriceChanged,
    SnapshotTaken,
    StopRequested,
    TimerFired,
)
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.executor import Executor, OrderAction
from marketmaker.runtime.journal import Journal
from marketmaker.runtime.latency import LatencyMeter
from marketmaker.runtime.send_line import Channel

NS_PER_S: Final = 1_000_000_000
ORDER_ACTIONS: Final = (PlaceOrder, CancelOrder, QueryOrder)
OnDecided = Callable[[Event, Sequence[Action]], None]


class Engine:
    """`symbol_index` names the symbol in the journal. `changed` is set when there is something new to remember.

    `on_order_sent` is called once, when the first placement was handed over; `on_give_up(reason)` when the core says
    that this symbol cannot be traded; `on_decided` with every event and what was decided on it. `stopping` is set once
    the core has heard StopRequested, `without_orders` while nothing of ours is or may be open.
    """

    def __init__(
        self,
        *,
        symbol_index: int,
        channel: Channel,
        manager: PositionManager,
        executor: Executor,
        journal: Journal,
        clock: Clock,
        ask_snapshot: Callable[[str], None],
        on_order_sent: Callable[[], None],
        on_give_up: Callable[[str], None],
        on_decided: OnDecided | None = None,
        latency: LatencyMeter | None = None,
    ) -> None:
        self.channel = channel
        self.manager = manager
        self.stopping = asyncio.Event()
        self.without_orders = asyncio.Event()
        self.changed = True
        self.last_decided_ns = 0
        self._index = symbol_index
        self._executor = executor
        # Held as they are, so that a build of native classes calls what `marketmaker bench` has put its probes on.
        self._decide = manager.decide
        self._submit = executor.submit
        self._heard = journal.heard
        self._decided = journal.decided
        self._write_down = journal.write_down
        self._clock = clock
        self._ask_snapshot = ask_snapshot
        self._on_order_sent: Callable[[], None] | None = on_order_sent
        self._on_give_up = on_give_up
        self._on_decided = on_decided
        self._latency = latency
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_ns: int | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="engine", instrument=channel.name
        )

    async def run(self) -> None:
        """Consumes the symbol's queue until cancelled. Raises what `handle` raised."""
        queue = self.channel.queue
        broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.serve(self.handle, broken.set_exception)
        try:
            await broken
        finally:
            queue.release()
            if self._alarm is not None:
                self._alarm.cancel()

    def handle(self, event: Event) -> None:
        """Decide, hand over, and only then write down. Raises InvariantBroken."""
        try:
            actions = self._decide(event)
        except BaseException:
            self._heard(self._index, event)
            raise
        placed = False
        try:
            if actions:
                placed = self._send(event, actions)
        finally:
            self._heard(self._index, event)
            self._decided(self._index, actions)
            if placed:
                self._write_down()
        if self._on_decided is not None:
            self._on_decided(event, actions)
        if isinstance(event, SnapshotTaken) or self.manager.rearranged:
            self.changed = True
            self.manager.rearranged = False
        self.channel.queue.quiet_band = self.manager.quiet_band
        self.last_decided_ns = self._clock.now_ns()
        for action in actions:
            match action:
                case TakeSnapshot():
                    self._ask_snapshot(action.reason)
                case RecordFill():
                    self.changed = True
                    self._log_fill(action)
                case RecordOrderEnd():
                    self._log_order_end(action)
                case RaiseAlert():
                    self._log_alert(action)
                case GiveUp():
                    self._on_give_up(action.reason)
        self._set_alarm()
        if self.manager.open_orders:
            self.without_orders.clear()
        else:
            self.without_orders.set()
        if isinstance(event, StopRequested):
            self.stopping.set()

    def _send(self, event: Event, actions: Sequence[Action]) -> bool:
        """Whether a placement was handed over."""
        orders: list[OrderAction] = [
            action for action in actions if isinstance(action, ORDER_ACTIONS)
        ]
        if not orders:
            return False
        executor = self._executor
        handed_over = executor.placed
        self._submit(self.channel, orders)
        if executor.placed == handed_over:
            return False
        if self._latency is not None and type(event) is PriceChanged and self.channel.queue.prompt:
            self._latency.note(self._clock.now_ns() - event.ts_ns)
        if self._on_order_sent is not None:
            self._on_order_sent()
            self._on_order_sent = None
        return True

    def _set_alarm(self) -> None:
        wake_at_ns = self.manager.wake_at_ns
        if wake_at_ns == self._alarm_ns:
            return
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._alarm_ns = wake_at_ns
        if wake_at_ns is not None:
            delay_s = max(wake_at_ns - self._clock.now_ns(), 0) / NS_PER_S
            self._alarm = asyncio.get_running_loop().call_later(delay_s, self._ring, wake_at_ns)

    def _ring(self, wake_at_ns: int) -> None:
        self._alarm = self._alarm_ns = None
        self.channel.queue.put(TimerFired(ts_ns=max(self._clock.now_ns(), wake_at_ns)))

    def _log_fill(self, fill: RecordFill) -> None:
        instrument = self.channel.instrument
        self._log.info(
            log_events.ORDER_FILLED,
            trade_id=fill.trade_id,
            slot=fill.client_order_id.slot,
            side=fill.side.name.lower(),
            price=f"{instrument.price(fill.price_ticks):f}",
            qty=f"{instrument.base_qty(fill.qty_lots):f}",
            realised=f"{instrument.money(fill.realised):f}",
            fee=f"{fill.fee:f}",
            maker=fill.is_maker,
            ts_venue_ns=fill.ts_venue_ns,
        )

    def _log_order_end(self, order: RecordOrderEnd) -> None:
        if not self._log.is_enabled_for(DEBUG):
            return
        instrument = self.channel.instrument
        self._log.debug(
            log_events.ORDER_CLOSED,
            slot=order.client_order_id.slot,
            sequence=order.client_order_id.sequence,
            venue_order_id=order.venue_order_id,
            side=order.side.name.lower(),
            price=f"{instrument.price(order.price_ticks):f}",
            qty=f"{instrument.base_qty(order.qty_lots):f}",
            filled=f"{instrument.base_qty(order.filled_lots):f}",
            end=order.end.value if order.end is not None else "filled",
            detail=order.detail,
            accept_ms=elapsed_ms(order.ts_sent_ns, order.ts_accepted_ns),
            life_ms=elapsed_ms(order.ts_sent_ns, order.ts_ended_ns),
        )

    def _log_alert(self, alert: RaiseAlert) -> None:
        write = {
            Severity.INFO: self._log.info,
            Severity.WARNING: self._log.warning,
            Severity.ERROR: self._log.error,
        }[alert.severity]
        write(log_events.ALERT_RAISED, topic=alert.topic, message=alert.message)


def elapsed_ms(start_ns: int, end_ns: int) -> float | None:
    return round((end_ns - start_ns) / 1_000_000, 3) if start_ns and end_ns else None
