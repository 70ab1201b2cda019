"""The risk monitor: loads, listens, and tells every symbol when the gates change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

from marketmaker.errors import NotSent, OutcomeUnknown
from marketmaker.model.action import RaiseAlert, Severity
from marketmaker.model.event import Gate, GateOpened, GateShut
from marketmaker.model.market import Candle
from marketmaker.model.settings import RiskSettings
from marketmaker.runtime.event_queue import EventQueue
from marketmaker.runtime.executor import Channel
from marketmaker.runtime.risk_monitor import RiskMonitor
from marketmaker.sim.loop import LoopClock
from tests.support.fakes import (
    NS,
    FakeAdapter,
    drain_queue,
    make_account,
    make_instrument,
    run_virtual,
)

GATE_ONLY = RiskSettings(monitor_symbols=("A", "B"), average_window=3)
LIMITS_ONLY = RiskSettings(enabled=False, max_drawdown=Decimal("0.1"))


class Bench:
    """A running risk monitor over a fake venue, with two symbols trading."""

    def __init__(self, clock: LoopClock, settings: RiskSettings) -> None:
        self.clock = clock
        self.settings = settings
        self.start_ns = clock.now_ns()
        self.adapter = FakeAdapter()
        self.channels = [
            Channel(name=name, instrument=make_instrument(name, quote=quote), queue=EventQueue())
            for name, quote in (("ETHUSDT", "USDT"), ("BTCUSDC", "USDC"))
        ]
        self.alerts: list[RaiseAlert] = []
        self.monitor = RiskMonitor(settings, self.adapter, clock, self.channels, self.alerts.append)

    @property
    def minute_ns(self) -> int:
        return self.clock.now_ns() // (60 * NS) * (60 * NS)

    def candle(self, symbol: str, back: int, close: float = 100.0, volume: float = 10.0) -> Candle:
        """The candle that opened `back` minutes before the running one; that one is open."""
        return Candle(
            symbol=symbol,
            interval_s=60,
            open_ts_ns=self.minute_ns - back * 60 * NS,
            open=close,
            high=close,
            low=close,
            close=close,
            volume=volume,
            closed=back > 0,
        )

    def past(self, symbol: str) -> list[Candle]:
        return [self.candle(symbol, back) for back in range(5, -1, -1)]

    def script_past(self) -> None:
        self.adapter.script["fetch_candles"] = [self.past(s) for s in self.settings.monitor_symbols]

    def crash(self) -> None:
        for symbol in self.settings.monitor_symbols:
            self.monitor.on_candle(self.candle(symbol, 0, close=90.0, volume=100.0))

    def heard(self, index: int = 0) -> list[str]:
        words = []
        for event in drain_queue(self.channels[index].queue):
            assert isinstance(event, GateShut | GateOpened)
            words.append(f"{type(event).__name__} {event.gate.value}")
        return words


def virtual(
    settings: RiskSettings,
) -> Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], Callable[[], None]]:
    def wrap(test: Callable[[Bench], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        def run() -> None:
            async def main(clock: LoopClock) -> None:
                bench = Bench(clock, settings)
                bench.script_past()
                service = asyncio.ensure_future(bench.monitor.run())
                await test(bench)
                assert not service.done()
                service.cancel()
                with suppress(asyncio.CancelledError):
                    await service

            run_virtual(main)

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return wrap


@virtual(GATE_ONLY)
async def test_history_is_loaded_at_the_start_and_then_streamed(bench: Bench) -> None:
    await asyncio.sleep(0.1)
    asked = sorted(bench.adapter.asked, key=str)
    assert asked == [
        ("fetch_candles", "A"),
        ("fetch_candles", "B"),
        ("stream_candles", ("A", "B")),
    ]
    assert [s.no_data for s in bench.monitor.status().symbols] == ["", ""]


@virtual(GATE_ONLY)
async def test_a_crash_shuts_the_gate_of_every_symbol_once_and_alerts(bench: Bench) -> None:
    await asyncio.sleep(0.1)
    for _ in range(20):
        bench.crash()
        await asyncio.sleep(0.5)
    assert bench.heard(0) == bench.heard(1) == ["GateShut risk"]
    assert [alert.topic for alert in bench.alerts] == ["risk.halted"]


@virtual(GATE_ONLY)
async def test_min_hold_ends_without_another_candle(bench: Bench) -> None:
    """Healthy candles came early; the timer opens the gate when the hold is over."""
    await asyncio.sleep(0.1)
    bench.crash()
    bench.heard()
    # The end of the second minute from here: one candle opened and closed since.
    await asyncio.sleep((bench.minute_ns + 120 * NS - bench.clock.now_ns()) / NS)
    for symbol in ("A", "B"):
        bench.monitor.on_candle(bench.candle(symbol, 1, close=110.0))
    shut_at = bench.monitor.status().since_ns
    assert bench.heard() == []
    await asyncio.sleep((shut_at + 120 * NS - bench.clock.now_ns()) / NS - 0.001)
    assert bench.heard() == []
    await asyncio.sleep(GATE_ONLY.check_interval_s)
    assert bench.heard() == ["GateOpened risk"]


@virtual(GATE_ONLY)
async def test_a_symbol_that_cannot_be_loaded_is_tried_again(bench: Bench) -> None:
    bench.adapter.script["fetch_candles"] = [NotSent("x"), bench.past("B"), NotSent("x"), []]
    bench.adapter.script["fetch_candles"][3] = bench.past("A")
    await asyncio.sleep(0.5)
    assert [s.no_data for s in bench.monitor.status().symbols] == ["no candle yet", ""]
    await asyncio.sleep(1.0)
    assert bench.monitor.status().symbols[0].no_data == "no candle yet"
    await asyncio.sleep(2.0)
    assert bench.monitor.status().symbols[0].no_data == ""
    assert [symbol for name, symbol in bench.adapter.asked if name == "fetch_candles"] == [
        "A",
        "B",
        "A",
        "A",
    ]


@virtual(GATE_ONLY)
async def test_after_a_gap_of_the_stream_history_is_loaded_again(bench: Bench) -> None:
    await asyncio.sleep(0.1)
    bench.monitor.stream_up()
    await asyncio.sleep(0.1)
    count = sum(name == "fetch_candles" for name, _ in bench.adapter.asked)
    assert count == 2
    bench.monitor.stream_down("closed")
    bench.monitor.stream_up()
    await asyncio.sleep(0.1)
    assert sum(name == "fetch_candles" for name, _ in bench.adapter.asked) == 4


@virtual(GATE_ONLY)
async def test_a_symbol_that_falls_silent_raises_one_alert_until_it_speaks_again(
    bench: Bench,
) -> None:
    async def speak(symbols: str, seconds: int) -> None:
        for _ in range(seconds // 5):
            for symbol in symbols:
                for back in (4, 3, 2, 1, 0):
                    bench.monitor.on_candle(bench.candle(symbol, back))
            await asyncio.sleep(5)

    await asyncio.sleep(0.1)
    await speak("AB", 130)
    assert bench.alerts == []
    await speak("A", 300)
    [alert] = bench.alerts
    assert "no candles of B for the risk gate: quiet for" in alert.message
    await speak("AB", 30)
    await speak("A", 300)
    assert len(bench.alerts) == 2
    assert bench.heard() == []


@virtual(GATE_ONLY)
async def test_a_market_whose_candles_are_still_few_is_a_warning_and_one_that_then_falls_silent_an_error(
    bench: Bench,
) -> None:
    bench.adapter.script["fetch_candles"] = [[bench.candle(symbol, 0)] for symbol in "AB"]
    await asyncio.sleep(0.1)
    for _ in range(26):
        for symbol in "AB":
            bench.monitor.on_candle(bench.candle(symbol, 0))
        await asyncio.sleep(5)
    assert {(each.severity, each.message) for each in bench.alerts} == {
        (Severity.WARNING, f"the risk gate cannot judge {symbol} yet: 2 of 3 closed candles")
        for symbol in "AB"
    }
    assert len(bench.alerts) == 2
    await asyncio.sleep(200)
    assert [each.severity for each in bench.alerts[2:]] == [Severity.ERROR] * 2
    assert all("quiet for" in each.message for each in bench.alerts[2:])


@virtual(LIMITS_ONLY)
async def test_a_drawdown_shuts_the_limits_gate_of_every_symbol_for_good(bench: Bench) -> None:
    bench.adapter.script["fetch_account"] = [make_account(1000), make_account(1000)] + [
        make_account(equity) for equity in (950, 950, 899, 1000, 1200, 1200)
    ]
    await asyncio.sleep(15)
    assert bench.heard() == []
    await asyncio.sleep(10)
    assert bench.heard(0) == bench.heard(1) == ["GateShut limits"]
    assert bench.monitor.limit_reached == (
        "USDT max_drawdown: equity is 101 below 1000, the limit is 100.0"
    )
    await asyncio.sleep(100)
    assert bench.heard() == []
    assert len(bench.alerts) == 1


@virtual(LIMITS_ONLY)
async def test_equity_that_cannot_be_read_changes_nothing(bench: Bench) -> None:
    bench.adapter.script["fetch_account"] = [
        make_account(1000),
        make_account(1000),
        OutcomeUnknown("x"),
        OutcomeUnknown("x"),
        make_account(1000),
    ]
    await asyncio.sleep(100)
    assert bench.heard() == []
    assert len(bench.adapter.asked) == 20


@virtual(replace(GATE_ONLY, max_drawdown=None))
async def test_without_limits_the_account_is_not_asked_about(bench: Bench) -> None:
    await asyncio.sleep(100)
    assert not any(name == "fetch_account" for name, _ in bench.adapter.asked)


@virtual(RiskSettings(enabled=False))
async def test_switched_off_it_asks_nothing_and_keeps_running(bench: Bench) -> None:
    await asyncio.sleep(1000)
    assert bench.adapter.asked == []
    assert [gate for gate in Gate if bench.heard()] == []
