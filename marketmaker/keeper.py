"""Keeps each symbol's memory on the disk: once a second what has changed, and at the end what is left.

Where time is real a thread of its own does the writing, because a disk can take seconds over making a file durable and
the loop must not stand still meanwhile. A disk that refuses, or does not answer for `PATIENCE_S`, keeps new risk out
until it takes everything again; what the file says is then older than what we know, and the venue can tell the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from marketmaker.core import readings
from marketmaker.model.status import GridMemory
from marketmaker.runtime.state_store import StateStore
from marketmaker.symbol import Symbol

SAVE_INTERVAL_S = 1.0
PATIENCE_S = 5.0


class Keeper:
    """`on_trouble(reason)` is called when trouble begins, `on_recovered` when everything is written again."""

    def __init__(
        self,
        store: StateStore,
        symbols: list[Symbol],
        *,
        in_thread: bool,
        on_trouble: Callable[[str], None],
        on_recovered: Callable[[], None],
    ) -> None:
        self._store = store
        self._symbols = symbols
        self._on_trouble = on_trouble
        self._on_recovered = on_recovered
        self._troubled = False
        self._thread = ThreadPoolExecutor(1, "state") if in_thread else None

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SAVE_INTERVAL_S)
            problem = await self.save()
            if problem:
                self._trouble(problem)
            elif self._troubled:
                self._troubled = False
                self._on_recovered()

    async def save(self) -> str:
        """Writes what changed; returns what the disk said, "" when all is well."""
        for symbol in self._symbols:
            memory = readings.memory(symbol.manager) if symbol.engine.changed else None
            if memory is None:
                continue
            symbol.engine.changed = False
            problem = await self._write(symbol, memory)
            if problem:
                symbol.engine.changed = True
                return problem
        return ""

    async def close(self, timeout_s: float) -> str:
        """What is left, in time; returns "" or what was not kept."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.save()
        except TimeoutError:
            return f"state directory {self._store.directory}: no answer within {timeout_s:g} s"
        finally:
            if self._thread is not None:
                self._thread.shutdown(wait=False, cancel_futures=True)

    async def _write(self, symbol: Symbol, memory: GridMemory) -> str:
        if self._thread is None:
            return self._save(symbol, memory)
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._thread, self._save, symbol, memory)
        done, _ = await asyncio.wait({writing}, timeout=PATIENCE_S)
        if not done:
            self._trouble(
                f"state directory {self._store.directory}: no answer within {PATIENCE_S:g} s"
            )
        return await writing

    def _save(self, symbol: Symbol, memory: GridMemory) -> str:
        try:
            self._store.save(symbol.instrument, memory)
        except OSError as error:
            return f"state directory {self._store.directory}: {error.strerror}"
        return ""

    def _trouble(self, problem: str) -> None:
        if not self._troubled:
            self._troubled = True
            self._on_trouble(problem)
