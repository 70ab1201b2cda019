"""Reads what the venue says of one symbol: at every interval, on request, and after the order stream came up.

The order of questions is part of the answer: open orders, then position, then trades. An order that is no longer open
has all its trades in a list that was read later; asked the other way round, a fill in between would be in neither.

An error is not an empty answer: it is logged and asked again, after 1, 2, 4 ... 30 s. A request that comes while one
is being answered is answered anew, because the running one may have looked too early. Requests are at least
`MIN_GAP_S` apart.

Trades are asked for from `OVERLAP_NS` before the last one that a snapshot has told of, in the venue's time. What the
stream told does not count: a queue that overflowed may have dropped it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from marketmaker.adapters.protocol import Adapter
from marketmaker.core.repair import OVERLAP_NS
from marketmaker.errors import RateLimited, VenueError
from marketmaker.model.account import VenueSnapshot
from marketmaker.model.event import SnapshotTaken
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.send_line import Channel

MIN_GAP_S = 0.5
SECOND_LOOK_S = 0.2
BACKOFF_MAX_S = 30.0


class Reconciler:
    """`interval_s` between readings; `first_fill_since_ns` (venue clock) is where our books begin.

    `timeout_s` bounds one reading. `doubts_empty`: an earlier process may have left orders. Counters: `taken`,
    `failed` in a row, `failures` in all; `last_taken_ns` is our clock at the last answer, 0 for none.
    """

    def __init__(
        self,
        channel: Channel,
        adapter: Adapter,
        clock: Clock,
        interval_s: float,
        first_fill_since_ns: int,
        *,
        timeout_s: float = 30.0,
        doubts_empty: bool = False,
    ) -> None:
        self._channel = channel
        self._adapter = adapter
        self._clock = clock
        self.interval_s = interval_s
        self._since_ns = first_fill_since_ns
        self._timeout_s = timeout_s
        self._doubts_empty = doubts_empty
        self._asked = asyncio.Event()
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="reconciler", instrument=channel.name
        )
        self.taken = 0
        self.failed = 0
        self.failures = 0
        self.last_taken_ns = 0
        channel.queue.on_overflow = self.request

    def request(self, reason: str) -> None:
        """Take a snapshot soon. Requests before the next one begins are one request."""
        if not self._asked.is_set():
            self._log.debug(log_events.RECONCILE_ASKED, reason=reason)
            self._asked.set()

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.interval_s):
                    await self._asked.wait()
            await asyncio.sleep(await self._take())

    async def _take(self) -> float:
        """One reading; returns how long to keep still after it, in seconds."""
        self._asked.clear()
        try:
            async with asyncio.timeout(self._timeout_s):
                snapshot = await self._read_first() if self._doubts_empty else await self._read()
        except (VenueError, TimeoutError) as error:
            self.failed += 1
            self.failures += 1
            wait_s = min(2.0 ** min(self.failed - 1, 10), BACKOFF_MAX_S)
            if isinstance(error, RateLimited) and error.retry_after_s is not None:
                wait_s = max(wait_s, error.retry_after_s)
            reason = str(error) or f"no answer within {self._timeout_s:g} s"
            self._log.warning(log_events.RECONCILE_FAILED, error=reason, wait_s=wait_s)
            self._asked.set()
            return wait_s
        self.failed = 0
        self.taken += 1
        self.last_taken_ns = snapshot.ts_answered_ns
        newest_ns = max((fill.ts_venue_ns for fill in snapshot.fills), default=0)
        self._since_ns = max(self._since_ns, newest_ns - OVERLAP_NS)
        self._log.debug(
            log_events.RECONCILE_TAKEN,
            open_orders=len(snapshot.open_orders),
            fills=len(snapshot.fills),
        )
        self._channel.queue.put(SnapshotTaken(snapshot=snapshot, ts_ns=snapshot.ts_answered_ns))
        return MIN_GAP_S

    async def _read_first(self) -> VenueSnapshot:
        """Whoever ran before us may have left orders or a position: that there is none is believed when two readings in
        a row say so."""
        snapshot = await self._read()
        denied = says_none(snapshot)
        while denied:
            await asyncio.sleep(SECOND_LOOK_S)
            snapshot = await self._read()
            earlier, denied = denied, says_none(snapshot)
            if denied <= earlier:
                break
        self._doubts_empty = False
        return snapshot

    async def _read(self) -> VenueSnapshot:
        instrument = self._channel.instrument
        ts_asked_ns = self._clock.now_ns()
        open_orders = await self._adapter.fetch_open_orders(instrument)
        position = await self._adapter.fetch_position(instrument)
        fills = await self._adapter.fetch_fills(instrument, self._since_ns)
        return VenueSnapshot(
            open_orders=tuple(open_orders),
            position=position,
            fills=tuple(fills),
            ts_asked_ns=ts_asked_ns,
            ts_answered_ns=self._clock.now_ns(),
        )


def says_none(snapshot: VenueSnapshot) -> frozenset[str]:
    """Of what the reading says that we have none."""
    orders = any(report.client_order_id for report in snapshot.open_orders)
    said = {"orders": not orders, "position": not snapshot.position.qty_lots}
    return frozenset(what for what, none in said.items() if none)
