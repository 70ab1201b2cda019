"""What happened lately, for whoever looks in: fills, ended orders, alerts, gates, the operator's own doings.

It hears every decision of every engine and keeps the last few hundred things worth telling, numbered from 1. It only
listens: nothing here can reach an order.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial

from marketmaker.model.action import Action, RaiseAlert, RecordFill, RecordOrderEnd, Severity
from marketmaker.model.event import Event, GateOpened, GateShut, OrderStreamLost
from marketmaker.model.instrument import Instrument
from marketmaker.model.view import NewsView
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.engine import OnDecided

KEPT = 400
NS_PER_MS = 1_000_000
DIFFERED = "reconcile.differed"


class Tally:
    """What `totals` does not count, of one symbol."""

    def __init__(self) -> None:
        self.filled = 0
        self.stream_losses = 0
        self.differences = 0


class News:
    """`recent` holds the newest last. `on_news` is called with each as it happens. `alerts` counts by topic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.recent: deque[NewsView] = deque(maxlen=KEPT)
        self.alerts: Counter[tuple[str, str]] = Counter()
        self.tallies: dict[str, Tally] = {}
        self.last_id = 0
        self.on_news: Callable[[NewsView], None] | None = None

    def hears(self, instrument: Instrument) -> OnDecided:
        """What an engine calls with every event and what was decided on it."""
        self.tallies[instrument.name] = Tally()
        return partial(self._hear, instrument)

    def tell(
        self, *, kind: str, text: str, symbol: str = "", severity: str = Severity.INFO.value
    ) -> None:
        self._publish(
            NewsView(
                id=self.last_id + 1,
                time_ms=self._now_ms(),
                kind=kind,
                symbol=symbol,
                severity=severity,
                text=text,
            )
        )

    def alert(self, alert: RaiseAlert, symbol: str = "") -> None:
        self.alerts[alert.topic, alert.severity.value] += 1
        if alert.topic == DIFFERED and symbol:
            self.tallies[symbol].differences += 1
        self._publish(
            NewsView(
                id=self.last_id + 1,
                time_ms=self._now_ms(),
                kind="alert",
                symbol=symbol,
                severity=alert.severity.value,
                text=alert.message,
                topic=alert.topic,
            )
        )

    def _hear(
        self,
        instrument: Instrument,
        event: Event,
        actions: Sequence[Action],
    ) -> None:
        for action in actions:
            match action:
                case RecordFill():
                    self._fill(instrument, action)
                case RecordOrderEnd():
                    self._order_end(instrument, action)
                case RaiseAlert():
                    self.alert(action, instrument.name)
                case _:
                    pass
        match event:
            case GateShut():
                self.tell(
                    kind="gate",
                    symbol=instrument.name,
                    severity=Severity.WARNING.value,
                    text=f"{event.gate.value} gate shut: {event.reason}",
                )
            case GateOpened():
                self.tell(
                    kind="gate", symbol=instrument.name, text=f"{event.gate.value} gate opened"
                )
            case OrderStreamLost():
                self.tallies[instrument.name].stream_losses += 1
            case _:
                pass

    def _fill(self, instrument: Instrument, fill: RecordFill) -> None:
        base = f"{instrument.base_qty(fill.qty_lots):f}"
        price = f"{instrument.price(fill.price_ticks):f}"
        side = fill.side.name.lower()
        self._publish(
            NewsView(
                id=self.last_id + 1,
                time_ms=self._now_ms(),
                kind="fill",
                symbol=instrument.name,
                severity=Severity.INFO.value,
                text=f"{side} {base} {instrument.base} at {price}",
                slot=fill.client_order_id.slot,
                side=side,
                price=price,
                qty=base,
                realised=f"{instrument.money(fill.realised):f}",
                fee=f"{fill.fee:f}",
                maker=fill.is_maker,
            )
        )

    def _order_end(self, instrument: Instrument, order: RecordOrderEnd) -> None:
        end = "filled" if order.end is None else order.end.value
        if order.end is None:
            self.tallies[instrument.name].filled += 1
        self._publish(
            NewsView(
                id=self.last_id + 1,
                time_ms=self._now_ms(),
                kind="order",
                symbol=instrument.name,
                severity=Severity.INFO.value,
                text=f"{end}: {order.detail}" if order.detail else end,
                slot=order.client_order_id.slot,
                side=order.side.name.lower(),
                price=f"{instrument.price(order.price_ticks):f}",
                qty=f"{instrument.base_qty(order.qty_lots):f}",
                filled=f"{instrument.base_qty(order.filled_lots):f}",
            )
        )

    def _publish(self, news: NewsView) -> None:
        self.last_id = news.id
        self.recent.append(news)
        if self.on_news is not None:
            self.on_news(news)

    def _now_ms(self) -> int:
        return self._clock.now_ns() // NS_PER_MS
