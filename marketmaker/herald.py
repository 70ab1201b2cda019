"""Tells the owner what happens: hears the engines and the application, feeds the desk, says every minute whether we quote.

Everything here is a plain call that writes a line into a pipe (`alerts.desk`); nothing waits and nothing decides.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

from marketmaker import __version__
from marketmaker.alerts.desk import AlertDesk
from marketmaker.alerts.rules import Alert
from marketmaker.core import readings
from marketmaker.logs import iso_timestamp
from marketmaker.model.action import Action, RaiseAlert, RecordFill, Severity
from marketmaker.model.event import (
    Event,
    Gate,
    GateOpened,
    GateShut,
    OrderStreamLost,
    OrderStreamRestored,
)
from marketmaker.model.instrument import Instrument
from marketmaker.model.settings import Settings
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.engine import OnDecided
from marketmaker.symbol import Symbol

TEND_INTERVAL_S = 1.0
TOLD_ELSEWHERE = frozenset({Gate.RISK, Gate.LIMITS, Gate.DISK})
"""Gates whose owner alerts by itself, once for all symbols."""


def sender_of(settings: Settings) -> str:
    return f"marketmaker {settings.bot_tag} ({settings.exchange}) on {socket.gethostname()}"


class Herald:
    """`desk` None: nobody is told, and nothing costs anything."""

    def __init__(self, desk: AlertDesk | None, *, settings: Settings, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock
        self._exchange = settings.exchange
        self._bot_tag = settings.bot_tag

    @property
    def is_employed(self) -> bool:
        return self._desk is not None

    def tell(
        self, topic: str, severity: Severity, message: str, instrument: str = "", ts_ns: int = 0
    ) -> None:
        if self._desk is not None:
            self._desk.tell(
                Alert(
                    topic=topic,
                    severity=severity,
                    instrument=instrument,
                    message=message,
                    ts_ns=ts_ns or self._clock.now_ns(),
                )
            )

    def alert(self, alert: RaiseAlert, instrument: str = "") -> None:
        self.tell(alert.topic, alert.severity, alert.message, instrument)

    def hears(self, instrument: Instrument) -> OnDecided:
        """What an engine calls with every event and what was decided on it."""
        return partial(self._heard, instrument)

    async def run(self, symbols: Sequence[Symbol]) -> None:
        desk = self._desk
        if desk is None:
            return
        heartbeat = desk.settings.heartbeat
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            if heartbeat.url and loop.time() >= next_s:
                next_s = loop.time() + heartbeat.interval_s
                desk.beat(self.heartbeat(symbols))
            desk.tend()
            await asyncio.sleep(min(TEND_INTERVAL_S, heartbeat.interval_s))

    def heartbeat(self, symbols: Sequence[Symbol]) -> dict[str, Any]:
        """`quoting`: every symbol has an order open and nothing keeps it from opening more; `why` says what does."""
        rows = [
            {
                "symbol": symbol.settings.name,
                "quoting": not (why := not_quoting(symbol)),
                "why": why,
            }
            for symbol in symbols
        ]
        silent = [f"{row['symbol']}: {row['why']}" for row in rows if not row["quoting"]]
        return {
            "quoting": bool(rows) and not silent,
            "why": "; ".join(silent) if rows else "still starting",
            "symbols": rows,
            "exchange": self._exchange,
            "bot_tag": self._bot_tag,
            "version": __version__,
            "timestamp": iso_timestamp(self._clock.now_ns()),
        }

    def close(self) -> None:
        if self._desk is not None:
            self._desk.close()

    def _heard(self, instrument: Instrument, event: Event, actions: Sequence[Action]) -> None:
        name, ts_ns = instrument.name, event.ts_ns
        match event:
            case GateShut(gate=gate, reason=reason) if gate not in TOLD_ELSEWHERE:
                self.tell(f"gate.{gate.value}", Severity.WARNING, f"shut: {reason}", name, ts_ns)
            case GateOpened(gate=gate) if gate not in TOLD_ELSEWHERE:
                self.tell(f"gate.{gate.value}", Severity.INFO, "open again", name, ts_ns)
            case OrderStreamLost(reason=reason):
                self.tell(log_events.ORDER_STREAM_DOWN, Severity.WARNING, reason, name, ts_ns)
            case OrderStreamRestored():
                self.tell(log_events.ORDER_STREAM_UP, Severity.INFO, "back", name, ts_ns)
            case _:
                pass
        for action in actions:
            if isinstance(action, RaiseAlert):
                self.tell(action.topic, action.severity, action.message, name, ts_ns)
            elif isinstance(action, RecordFill):
                self._tell_fill(instrument, action, ts_ns)

    def _tell_fill(self, instrument: Instrument, fill: RecordFill, ts_ns: int) -> None:
        if self._desk is None or not self._desk.wants(log_events.ORDER_FILLED, Severity.INFO):
            return
        realised = f", realised {instrument.money(fill.realised):f}" if fill.realised else ""
        self.tell(
            log_events.ORDER_FILLED,
            Severity.INFO,
            f"{fill.side.name.lower()} {instrument.base_qty(fill.qty_lots):f} {instrument.base} at "
            f"{instrument.price(fill.price_ticks):f}{realised}",
            instrument.name,
            ts_ns,
        )


def not_quoting(symbol: Symbol) -> str:
    """Why a symbol is not quoting, "" while it is."""
    if symbol.failed:
        return f"failed: {symbol.failed}"
    reasons = readings.not_quoting(symbol.manager)
    if reasons:
        return "; ".join(reasons)
    return "" if symbol.manager.open_orders else "no order is open"
