"""The way out: what the core has out is taken back, then the venue is asked until it lists nothing of ours.

The core hears StopRequested and cancels; what is in flight is awaited; nothing may be placed any more; then, past all
our own books, the venue's list of open orders counts. Whatever cannot be confirmed in time is said by name and makes
the exit code 1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import structlog

from marketmaker.adapters.protocol import Adapter
from marketmaker.core import readings
from marketmaker.errors import RateLimited, VenueError
from marketmaker.model.event import StopRequested
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.executor import Executor
from marketmaker.summary import Reading, SymbolReading
from marketmaker.symbol import Symbol, is_accounted_for, lacks_trades, loose_ends, own_orders

QUIET_POLL_S = 0.01
ASK_AGAIN_S = 0.2
CORE_SHARE, VENUE_SHARE, READ_SHARE = 0.55, 0.85, 0.95
"""Of the shutdown timeout, from its beginning: until when the core cancels, the venue is asked, the account is read."""
T = TypeVar("T")


class Shutdown:
    """`reading` is the last one of the account, `unconfirmed` what could not be confirmed, a line each.

    `symbols` is the caller's list, which may still grow until `run`.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        adapter: Adapter,
        executor: Executor,
        clock: Clock,
        symbols: list[Symbol],
    ) -> None:
        self.reading: Reading | None = None
        self.unconfirmed: list[str] = []
        self._timeout_s = timeout_s
        self._adapter = adapter
        self._executor = executor
        self._clock = clock
        self._symbols = symbols
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="shutdown", venue=adapter.name
        )

    def deadline(self, share: float) -> float:
        """Loop time at which `share` of the shutdown timeout, counted from now, is over."""
        return asyncio.get_running_loop().time() + self._timeout_s * share

    async def run(self, reason: str, look_at_equity: Callable[[], Awaitable[None]] | None) -> None:
        """`look_at_equity`: the ledger's last look, None without one."""
        core_deadline, venue_deadline, read_deadline = map(
            self.deadline, (CORE_SHARE, VENUE_SHARE, READ_SHARE)
        )
        trading = [symbol for symbol in self._symbols if not symbol.failed]
        for symbol in trading:
            symbol.channel.queue.put(StopRequested(reason=reason, ts_ns=self._clock.now_ns()))
        await by(core_deadline, self._heard_stop(trading))
        self._executor.stop_opening()
        await by(core_deadline, self._core_is_done(trading))
        failed = tuple(f"{symbol.settings.name} " for symbol in self._symbols if symbol.failed)
        sent = await self._executor.drain(self._left_s(core_deadline) if failed else 0.0)
        for line in sent:
            if line.startswith(failed):
                self.not_confirmed(line)
        problems = await asyncio.gather(
            *(self.cancel_at_venue(symbol, venue_deadline) for symbol in self._symbols)
        )
        for symbol in trading:
            if symbol.manager.open_orders:
                symbol.reconciler.request("orders without a known end")
        await by(venue_deadline, self._core_is_done(trading))
        for line in (*problems, *map(loose_ends, trading)):
            if line:
                self.not_confirmed(line)
        try:
            await by(read_deadline, self._read_account())
        except VenueError as error:
            self._log.warning(log_events.ACCOUNT_FAILED, error=str(error))
        if look_at_equity is not None:
            await by(read_deadline, look_at_equity())
        if self.reading is None:
            self.not_confirmed("the account could not be read at the end")
        else:
            for symbol, row in zip(self._symbols, self.reading.symbols, strict=True):
                if not is_accounted_for(symbol, row):
                    self.not_confirmed(
                        f"{row.name}: the venue's position is {row.end.qty_lots:+d} lots, the slots hold "
                        f"{row.totals.inventory_lots:+d}"
                    )

    def _left_s(self, deadline: float) -> float:
        return max(deadline - asyncio.get_running_loop().time(), 0.0)

    def not_confirmed(self, what: str) -> None:
        self._log.error(log_events.STOP_UNCONFIRMED, what=what)
        self.unconfirmed.append(what)

    async def _heard_stop(self, symbols: list[Symbol]) -> None:
        for symbol in symbols:
            await symbol.engine.stopping.wait()

    async def _core_is_done(self, symbols: list[Symbol]) -> None:
        for symbol in symbols:
            await symbol.engine.without_orders.wait()

    async def cancel_at_venue(self, symbol: Symbol, deadline: float) -> str:
        """Ask the venue until it lists no open order of ours, cancelling what it does list.

        Returns "" or what could not be confirmed.
        """
        loop, name, left = asyncio.get_running_loop(), symbol.settings.name, "no answer"
        size = self._adapter.capabilities.cancel_batch
        while loop.time() < deadline:
            try:
                async with asyncio.timeout_at(deadline):
                    ours = own_orders(await self._adapter.fetch_open_orders(symbol.instrument))
                    if not ours:
                        return ""
                    left = f"{len(ours)} order(s) still open"
                    while ours:
                        count = await self._executor.spend_on_cancels(min(size, len(ours)))
                        batch, ours = ours[:count], ours[count:]
                        outcomes = await self._adapter.cancel(symbol.instrument, batch)
                        for outcome in outcomes:
                            if isinstance(outcome, RateLimited):
                                raise outcome
            except TimeoutError:
                break
            except VenueError as error:
                left = str(error)
                if isinstance(error, RateLimited):
                    self._executor.hear_limit(error)
                await asyncio.sleep(min(ASK_AGAIN_S, self._left_s(deadline)))
        return f"{name}: open orders could not be confirmed as none: {left}"

    async def _read_account(self) -> None:
        """Equity and positions of one moment: read again until nothing moved in between. The last reading is kept."""
        adapter, instruments = self._adapter, [symbol.instrument for symbol in self._symbols]
        while True:
            complete = not any(map(lacks_trades, self._symbols))
            # Asked all at once, the account before and after, so that as little as possible can happen in between.
            before = asyncio.ensure_future(adapter.fetch_account(instruments[0]))
            ends = [asyncio.ensure_future(adapter.fetch_position(each)) for each in instruments]
            listed = [
                asyncio.ensure_future(adapter.fetch_open_orders(each)) for each in instruments
            ]
            after = asyncio.ensure_future(adapter.fetch_account(instruments[0]))
            await asyncio.gather(before, *ends, *listed, after)
            rows = [
                SymbolReading(
                    name=symbol.settings.name,
                    instrument=symbol.instrument,
                    totals=readings.totals(symbol.manager),
                    start=symbol.start,
                    end=end.result(),
                    ticks=symbol.monitor.ticks,
                )
                for symbol, end in zip(self._symbols, ends, strict=True)
            ]
            self.reading = Reading(
                equity=after.result().equity,
                open_orders=sum(len(own_orders(each.result())) for each in listed),
                symbols=tuple(rows),
            )
            agree = all(map(is_accounted_for, self._symbols, rows))
            if before.result().equity == after.result().equity and agree and complete:
                return
            await asyncio.sleep(QUIET_POLL_S)
            for symbol in self._symbols:
                symbol.reconciler.request("last readings differ")


async def by(deadline: float, work: Awaitable[T]) -> T | None:
    """The result of `work`, or None when the loop's clock reaches `deadline` first."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            return await work
    return None
