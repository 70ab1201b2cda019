"""The order stream of the embedded exchange: what happened to our orders and position, on its way to the listeners."""

from __future__ import annotations

from marketmaker.adapters.protocol import OrderListener
from marketmaker.model.account import Position
from marketmaker.model.order import OrderReport
from marketmaker.sim.account import FundingPayment
from marketmaker.sim.agenda import Agenda
from marketmaker.sim.exchange import News


class PrivateStream:
    """Everything arrives `latency_ns` after it happened, in that order. What happens, or is still on its way, while
    the stream is cut is lost to the listeners."""

    def __init__(self, latency_ns: int) -> None:
        self._latency_ns = latency_ns
        self._listeners: dict[str, list[OrderListener]] = {}
        self._lives = True
        self._life = 0

    def join(self, name: str, listener: OrderListener) -> None:
        self._listeners.setdefault(name, []).append(listener)
        if self._lives:
            listener.stream_up()

    def leave(self, name: str, listener: OrderListener) -> None:
        self._listeners[name].remove(listener)

    def send(self, agenda: Agenda, name: str, news: News, now_ns: int) -> None:
        if self._lives:
            due_ns = now_ns + self._latency_ns
            agenda.add(due_ns, self._deliver, agenda, name, news, self._life)

    def drop(self, reason: str) -> None:
        if not self._lives:
            return
        self._lives = False
        self._life += 1
        for listener in self._every_listener():
            listener.stream_down(reason)

    def restore(self) -> None:
        if self._lives:
            return
        self._lives = True
        for listener in self._every_listener():
            listener.stream_up()

    def _every_listener(self) -> list[OrderListener]:
        return [listener for listeners in self._listeners.values() for listener in listeners]

    def _deliver(self, agenda: Agenda, name: str, news: News, life: int) -> None:
        if life != self._life:
            return
        ts_local_ns = agenda.now_ns()
        for listener in self._listeners.get(name, ()):
            match news:
                case OrderReport():
                    listener.on_order(news, ts_local_ns)
                case Position():
                    listener.on_position(news, ts_local_ns)
                case FundingPayment():
                    listener.on_funding(news.payment_id, news.amount, news.ts_venue_ns, ts_local_ns)
