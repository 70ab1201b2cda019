"""What of a running daemon is told to the owner, and what the heartbeat says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from marketmaker.alerts.rules import Alert
from marketmaker.herald import Herald
from marketmaker.model.action import RaiseAlert, Severity
from marketmaker.model.event import Gate, GateOpened, GateShut, OrderStreamLost
from marketmaker.model.settings import AlertSettings
from marketmaker.sim.loop import VirtualTimeLoop
from tests.support.application import make_exchange, make_settings, running
from tests.support.paper import START_NS, make_instrument

TS_NS = 5


class Listening:
    """A desk that keeps what it is told."""

    settings = AlertSettings()

    def __init__(self, wants: Callable[[str], bool] = lambda topic: True) -> None:
        self.told: list[Alert] = []
        self._wants = wants

    def wants(self, topic: str, severity: Severity) -> bool:
        return self._wants(topic)

    def tell(self, alert: Alert) -> None:
        self.told.append(alert)


class Stopped:
    def now_ns(self) -> int:
        return START_NS


def herald(desk: Any) -> Herald:
    return Herald(desk, settings=make_settings(), clock=Stopped())


def test_gates_streams_and_alerts_of_the_core_are_told_once() -> None:
    desk = Listening()
    hear = herald(desk).hears(make_instrument("ETHUSDT"))
    hear(GateShut(gate=Gate.FEED, reason="no price for 5 s", ts_ns=TS_NS), ())
    hear(GateOpened(gate=Gate.FEED, ts_ns=TS_NS), ())
    # The risk monitor tells of these by itself, once for all symbols.
    hear(GateShut(gate=Gate.RISK, reason="panic", ts_ns=TS_NS), ())
    hear(GateShut(gate=Gate.DISK, reason="full", ts_ns=TS_NS), ())
    hear(
        OrderStreamLost(reason="closed", ts_ns=TS_NS),
        (RaiseAlert(severity=Severity.ERROR, topic="order.overfilled", message="more"),),
    )
    assert [(each.topic, each.severity.value, each.message) for each in desk.told] == [
        ("gate.feed", "warning", "shut: no price for 5 s"),
        ("gate.feed", "info", "open again"),
        ("order_stream.down", "warning", "closed"),
        ("order.overfilled", "error", "more"),
    ]
    assert {(each.instrument, each.ts_ns) for each in desk.told} == {("ETHUSDT", TS_NS)}


def test_without_a_desk_nobody_is_told_and_nothing_is_heard() -> None:
    nobody = herald(None)
    assert not nobody.is_employed
    nobody.tell("app.started", Severity.INFO, "x")
    nobody.close()


def test_the_heartbeat_quotes_when_every_symbol_does_and_says_why_when_one_does_not() -> None:
    settings = make_settings()
    loop = VirtualTimeLoop(START_NS, None)

    async def live() -> list[dict[str, Any]]:
        exchange = make_exchange(settings)
        beats = []
        async with running(settings, exchange) as run:
            await run.until_built()
            beats.append(run.app.herald.heartbeat(()))
            await run.until_quoting()
            beats.append(run.app.herald.heartbeat(run.app.symbols))
            exchange.drop_order_stream()
            await run.until(
                lambda: not run.app.herald.heartbeat(run.app.symbols)["quoting"], within_s=30
            )
            beats.append(run.app.herald.heartbeat(run.app.symbols))
            exchange.restore_order_stream()
            await run.until(
                lambda: bool(run.app.herald.heartbeat(run.app.symbols)["quoting"]), within_s=30
            )
        return beats

    starting, quoting, cut_off = loop.run_until_complete(live())
    loop.close()
    assert (starting["quoting"], starting["why"]) == (False, "still starting")
    assert (quoting["quoting"], quoting["why"]) == (True, "")
    assert cut_off["quoting"] is False and cut_off["why"].startswith("ETHUSDT: ")
    assert cut_off["symbols"][0]["why"]
