"""Once a minute: does the venue's equity move as our books say it should?

A reading asks for the account and every position, one after the other, while prices move and orders fill. So it
counts only when no fill came in between and slots and positions agree, and a residual above `ALARM_SHARE` of the
equity is looked at again at once: it is an alarm only when it is there every time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import structlog

from marketmaker.adapters.protocol import Adapter
from marketmaker.core import readings
from marketmaker.core.position_manager import PositionManager
from marketmaker.errors import VenueError
from marketmaker.model.account import AccountState, Position
from marketmaker.model.action import RaiseAlert, Severity
from marketmaker.model.equity import EquityReading, SymbolReading
from marketmaker.model.instrument import Instrument
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock

INTERVAL_S = 60.0
LOOKS = 4
LOOK_PAUSE_S = 1.0
ALARM_SHARE = Decimal("0.0001")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WatchedSymbol:
    """`opening` is the venue's position when the manager's books were empty."""

    instrument: Instrument
    manager: PositionManager
    opening: Position


class EquityWatch:
    """`record` is given one reading at every interval; `alert` is called when an alarm begins. `symbols` is not empty."""

    def __init__(
        self,
        adapter: Adapter,
        clock: Clock,
        symbols: Sequence[WatchedSymbol],
        *,
        opening: AccountState,
        opening_ts_ns: int,
        record: Callable[[EquityReading], None],
        alert: Callable[[RaiseAlert], None],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._adapter = adapter
        self._clock = clock
        self._symbols = symbols
        self._opening = opening
        self._opening_ts_ns = opening_ts_ns
        self._record = record
        self._alert = alert
        self._interval_s = interval_s
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="equity_watch", venue=adapter.name
        )
        self.alarmed = False

    async def run(self) -> None:
        self._record(self.opening())
        while True:
            await asyncio.sleep(self._interval_s)
            await self.look()

    async def look(self) -> None:
        """One reading for the record, and the alarm begun or ended by it."""
        reading = None
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(LOOK_PAUSE_S)
            try:
                fresh = await self.read()
            except VenueError as error:
                self._log.warning(log_events.ACCOUNT_FAILED, error=str(error))
                continue
            if fresh is None:
                continue
            reading = fresh
            if not is_off(reading):
                break
        if reading is None:
            return
        self._record(reading)
        off = is_off(reading)
        if off and not self.alarmed:
            self._alert(
                RaiseAlert(
                    severity=Severity.ERROR,
                    topic="equity.residual",
                    message=f"{reading.residual:f} of the equity of {reading.equity:f} is not in our"
                    " books: a transfer, a trade by hand, a fee elsewhere, or a fill that is missing",
                )
            )
        self.alarmed = off

    def opening(self) -> EquityReading:
        """What the account was when the books were opened."""
        return EquityReading(
            equity=self._opening.equity,
            available=self._opening.available,
            opening_equity=self._opening.equity,
            opening_ts_ns=self._opening_ts_ns,
            symbols=tuple(
                SymbolReading(
                    instrument=symbol.instrument,
                    totals=readings.totals(symbol.manager),
                    opening=symbol.opening,
                    position=symbol.opening,
                    foreign_lots=symbol.manager.repair.foreign_lots,
                )
                for symbol in self._symbols
            ),
            ts_ns=self._opening_ts_ns,
        )

    async def read(self) -> EquityReading | None:
        """None when something happened meanwhile, or slots and position do not agree. Raises VenueError."""
        before = [readings.totals(symbol.manager) for symbol in self._symbols]
        positions = [
            await self._adapter.fetch_position(symbol.instrument) for symbol in self._symbols
        ]
        account = await self._adapter.fetch_account(self._symbols[0].instrument)
        totals = [readings.totals(symbol.manager) for symbol in self._symbols]
        rows = tuple(
            SymbolReading(
                instrument=symbol.instrument,
                totals=now,
                opening=symbol.opening,
                position=position,
                foreign_lots=symbol.manager.repair.foreign_lots,
            )
            for symbol, now, position in zip(self._symbols, totals, positions, strict=True)
        )
        still = all(
            (then.fills, then.funding) == (now.fills, now.funding)
            for then, now in zip(before, totals, strict=True)
        )
        if not still or not all(row.agrees for row in rows):
            return None
        return EquityReading(
            equity=account.equity,
            available=account.available,
            opening_equity=self._opening.equity,
            opening_ts_ns=self._opening_ts_ns,
            symbols=rows,
            ts_ns=self._clock.now_ns(),
        )


def is_off(reading: EquityReading) -> bool:
    """With a position of the owner's beside ours nobody can tell."""
    if any(row.foreign_lots for row in reading.symbols):
        return False
    return abs(reading.residual) > abs(reading.equity) * ALARM_SHARE
