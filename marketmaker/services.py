"""The tasks of a process, and what becomes of it when one of them fails.

share    a service that all symbols need: its end is the end of the process
serve    a service of one symbol: its failure ends that symbol; its orders are cancelled, the others go on
attend   what trading can do without: its failure is told, and after a while it begins anew
watch    work that trading can do without: its failure is logged, and that is all
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import structlog

from marketmaker import crash, logs
from marketmaker.herald import Herald
from marketmaker.model.action import CancelOrder, Severity
from marketmaker.runtime import log_events
from marketmaker.runtime.executor import Executor
from marketmaker.shutdown import CORE_SHARE, Shutdown
from marketmaker.symbol import Symbol

ATTEND_AGAIN_S = 10.0
CLEAR_AGAIN_S = 1.0


class Services:
    """`failed`: whether a symbol or a shared service did. `stop(reason)` ends the process in order. `request_timeout_s`
    says how long what was sent before may still arrive. `symbols` is the caller's list, which may still grow."""

    def __init__(
        self,
        *,
        symbols: list[Symbol],
        executor: Executor,
        shutdown: Shutdown,
        herald: Herald,
        stop: Callable[[str], None],
        stopping: Callable[[], bool],
        request_timeout_s: Callable[[], float],
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self.failed = False
        self._symbols = symbols
        self._executor = executor
        self._shutdown = shutdown
        self._herald = herald
        self._stop = stop
        self._stopping = stopping
        self._request_timeout_s = request_timeout_s
        self._log = log
        self._shared: list[asyncio.Task[None]] = []
        self._watched: dict[asyncio.Task[None], None] = {}

    def share(self, work: Coroutine[None, None, None], name: str) -> None:
        async def guarded() -> None:
            try:
                await work
                reason = f"{name} ended"
            except Exception as error:
                self._log.critical(log_events.SERVICE_FAILED, service=name, exc_info=error)
                reason = logs.masked(f"{name} failed: {error}")
                crash.report(error, name)
            self._herald.tell(log_events.SERVICE_FAILED, Severity.ERROR, reason)
            self.failed = True
            self._stop(reason)

        self._shared.append(asyncio.create_task(guarded(), name=name))

    def watch(self, work: Coroutine[None, None, None], name: str) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self._log.critical(log_events.SERVICE_FAILED, service=name, exc_info=error)

        task = asyncio.create_task(guarded(), name=name)
        self._watched[task] = None
        task.add_done_callback(lambda done: self._watched.pop(done, None))

    def attend(self, service: Callable[[], Coroutine[None, None, None]], name: str) -> None:
        async def guarded() -> None:
            while True:
                try:
                    await service()
                except Exception as error:
                    self._log.error(log_events.SERVICE_FAILED, service=name, exc_info=error)
                await asyncio.sleep(ATTEND_AGAIN_S)

        self._shared.append(asyncio.create_task(guarded(), name=name))

    def serve(
        self,
        symbol: Symbol,
        work: Coroutine[None, None, None],
        name: str,
        *,
        may_return: bool = False,
    ) -> None:
        async def guarded() -> None:
            try:
                await work
                if may_return:
                    return
                reason = f"{name} ended"
            except Exception as error:
                self._log.critical(
                    log_events.SERVICE_FAILED,
                    instrument=symbol.settings.name,
                    service=name,
                    exc_info=error,
                )
                reason = logs.masked(f"{name} failed: {error}")
                crash.report(error, name)
            self.fail_symbol(symbol, reason)

        symbol.tasks.append(asyncio.create_task(guarded(), name=f"{symbol.settings.name} {name}"))

    def fail_symbol(self, symbol: Symbol, reason: str) -> None:
        if symbol.failed:
            return
        symbol.failed = reason
        self.failed = True
        name = symbol.settings.name
        self._log.critical(log_events.SYMBOL_FAILED, instrument=name, reason=reason)
        self._herald.tell(log_events.SYMBOL_FAILED, Severity.ERROR, reason, name)
        if self._stopping():
            return
        if all(each.failed for each in self._symbols):
            self._stop(f"{symbol.settings.name}: {reason}")
            return
        for task in symbol.tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self.watch(self._clear_failed(symbol), f"{symbol.settings.name} clearing")

    async def _clear_failed(self, symbol: Symbol) -> None:
        """Take back what was not sent and cancel what is open, until nothing sent before can still arrive."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + self._request_timeout_s()
        problem = ""
        while loop.time() < end_s or problem:
            orders = [slot.order for slot in symbol.manager.live.values() if slot.order is not None]
            self._executor.submit(
                symbol.channel,
                [CancelOrder(order=order.reference, reason=symbol.failed) for order in orders],
            )
            problem = await self._shutdown.cancel_at_venue(
                symbol, self._shutdown.deadline(CORE_SHARE)
            )
            if problem:
                self._log.error(log_events.STOP_UNCONFIRMED, what=problem)
            await asyncio.sleep(CLEAR_AGAIN_S)

    def give_up(self, name: str, reason: str) -> None:
        """The core cannot trade this symbol until the operator acts; others may go on."""
        for symbol in self._symbols:
            if symbol.settings.name == name and not symbol.failed:
                asyncio.get_running_loop().call_soon(self.fail_symbol, symbol, reason)

    async def close(self) -> None:
        """All of them end now."""
        tasks = [task for symbol in self._symbols for task in symbol.tasks]
        tasks += self._shared
        tasks += self._watched
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
