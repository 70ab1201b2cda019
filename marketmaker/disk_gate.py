"""While something cannot be written no new risk is taken: every symbol's disk gate is shut until nobody has trouble."""

from __future__ import annotations

import structlog

from marketmaker.herald import Herald
from marketmaker.model.action import Severity
from marketmaker.model.event import Gate, GateOpened, GateShut
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.symbol import Symbol


class DiskGate:
    """`source` names who writes: the journal, the state, the ledger. `symbols` is the caller's list."""

    def __init__(
        self,
        *,
        symbols: list[Symbol],
        herald: Herald,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._symbols = symbols
        self._herald = herald
        self._clock = clock
        self._log = log
        self._troubles: dict[str, str] = {}

    def failed(self, reason: str, source: str) -> None:
        self._log.error(log_events.DISK_FAILED, reason=reason)
        self._herald.tell(log_events.DISK_FAILED, Severity.ERROR, reason)
        self._troubles[source] = reason
        for symbol in self._symbols:
            symbol.channel.queue.put(
                GateShut(gate=Gate.DISK, reason=reason, ts_ns=self._clock.now_ns())
            )

    def recovered(self, source: str) -> None:
        self._log.info(log_events.DISK_RECOVERED, source=source)
        self._herald.tell(log_events.DISK_RECOVERED, Severity.INFO, f"{source} is written again")
        self._troubles.pop(source, None)
        if self._troubles:
            return
        for symbol in self._symbols:
            symbol.channel.queue.put(GateOpened(gate=Gate.DISK, ts_ns=self._clock.now_ns()))
