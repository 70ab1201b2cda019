"""Kills the daemon at every point at which it can be killed, and looks at what the next one makes of it.

A scenario runs once, in virtual time. Whenever a task of the daemon gives control away (an await that really waits),
whenever a request has just been handed over, and before and after every write to the disk, the whole world is forked:
venue, market, daemon, observer. In the fork the daemon is frozen where it stands, which is what `kill -9` does: nothing
of it runs any more, what it had handed over still arrives. A new one is started on a disk of its own, and everything
that must hold afterwards is checked. The world that was forked from goes on to the next point. So every point is
visited, each in the very same past, and the past is played once.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from marketmaker.app import Application
from marketmaker.sim.loop import VirtualTimeLoop
from marketmaker.simulation import logs_to
from tests.support.paper import START_NS
from tests.support.stage import Process, Stage, copy_disk, stage_settings, staged

LONGEST_CHILD_S = 120
"""Of real time: a fork that never ends is a failure."""
WITH, WITHOUT, OLD = "with its disk", "without its disk", "with its disk of an hour ago"
DISKS = (WITH, WITHOUT, OLD)


@dataclass(eq=False)
class Life:
    """Whatever was started by one process, or by the story of a scenario. `frozen`: it never runs again."""

    counted: bool
    frozen: bool = False


LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)


class Watched(Coroutine[Any, Any, Any]):
    """A coroutine that says when it has given control away, and that can be frozen."""

    def __init__(self, inner: Coroutine[Any, Any, Any], life: Life, reach: Callable[[str], None]):
        self._inner, self._life, self._reach = inner, life, reach

    def send(self, value: Any) -> Any:
        return self._step(self._inner.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._inner.throw, *error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()

    def _step(self, step: Callable[..., Any], *arguments: Any) -> Any:
        if self._life.frozen:
            return never()
        waits_for = step(*arguments)
        if self._life.counted:
            self._reach("await")
        return never() if self._life.frozen else waits_for


def never() -> asyncio.Future[None]:
    future = asyncio.get_running_loop().create_future()
    future._asyncio_future_blocking = True
    return future


@dataclass(frozen=True, kw_only=True)
class Failure:
    point: int
    kind: str
    disk: str
    what: str

    def __str__(self) -> str:
        return f"point {self.point} ({self.kind}), restarted {self.disk}:\n{self.what}"


@dataclass(kw_only=True)
class Killings:
    """`points` by kind; `restarts` that were tried."""

    points: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`prelude` is lived through without being counted, `act` is killed at every point."""

    name: str
    prelude: Callable[[KillingStage], Awaitable[None]]
    act: Callable[[KillingStage], Awaitable[None]]
    settings: dict[str, Any] = field(default_factory=dict)


class KillingStage(Stage):
    """`every` so many points one is visited, the first of them `first`. `most` failures end the search."""

    folder: Path
    every = 1
    first = 0
    most = 3

    def prepare(self, folder: Path) -> None:
        self.folder = folder
        self.found = Killings()
        self.life: Life | None = None
        self.counting = False
        self.in_child = False
        self.old = folder / "nothing"
        self.loop.set_task_factory(self._make_task)

    def keep_old(self) -> None:
        """The disk as it is now is what an old backup holds."""
        self.old = self.folder / "old"
        copy_disk(self.folder / "disk", self.old)

    # -- noticing ------------------------------------------------------------------------------------

    def _make_task(
        self, loop: Any, work: Any, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        life = LIFE.get() if context is None else context.get(LIFE)
        if life is not None:
            work = Watched(work, life, self._reach)
        return asyncio.Task(work, loop=loop, context=context)

    def start(self, work: Coroutine[Any, Any, Any], life: Life) -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(LIFE.set, life)
        return self.loop.create_task(work, context=context)

    def spawn(self, app: Application) -> asyncio.Task[Any]:
        self.life = Life(counted=not self.in_child)
        return self.start(app.run(), self.life)

    def on_begin(self, process: Process) -> None:
        if self.in_child:
            return
        line, store = process.line, process.store

        def after(kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                result = method(*arguments)
                self._reach(kind)
                return result

            return call

        def around(kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                self._reach(f"before {kind}")
                if self.in_child:
                    return 0
                result = method(*arguments, **options)
                self._reach(f"after {kind}")
                return result

            return call

        line.place = after("placement handed over", line.place)  # type: ignore[method-assign]
        line.cancel = after("cancel handed over", line.cancel)  # type: ignore[method-assign]
        store.save = around("saving the state", store.save)  # type: ignore[method-assign]
        hire = process.app._hire_bookkeeper

        def hired() -> Any:
            bookkeeper = hire()
            if bookkeeper is not None:
                ledger = bookkeeper.ledger
                ledger._commit = around("writing the ledger", ledger._commit)  # type: ignore[method-assign]
            return bookkeeper

        process.app._hire_bookkeeper = hired  # type: ignore[method-assign]

    # -- killing -------------------------------------------------------------------------------------

    def _reach(self, kind: str) -> None:
        if not self.counting or self.in_child or len(self.found.failures) >= self.most:
            return
        point = self.found.points.total()
        self.found.points[kind] += 1
        if point % self.every != self.first:
            return
        for disk in DISKS:
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reading)
                self._die(disk, writing)
                return
            os.close(writing)
            with open(reading, "rb") as pipe:
                said = pipe.read().decode()
            _, status = os.waitpid(child, 0)
            self.found.restarts += 1
            if said != "well":
                what = said or f"ended with status {status}"
                self.found.failures.append(Failure(point=point, kind=kind, disk=disk, what=what))

    def _die(self, disk: str, writing: int) -> None:
        signal.alarm(LONGEST_CHILD_S)
        gc.disable()  # what is frozen for ever would be collected, and complained of
        asyncio._set_running_loop(self.loop)  # asyncio takes the loop of another process for none
        self.in_child = True
        assert self.life is not None and self.process is not None
        self.life.frozen = self.process.store.dead = True
        self.process.line.alive = False
        self.process = None
        self.story.frozen = True
        contextvars.Context().run(self.loop.create_task, self._aftermath(disk, writing))

    async def _aftermath(self, disk: str, writing: int) -> None:
        try:
            await self._recover(disk)
            said = "well"
        except BaseException:
            said = traceback.format_exc() + "\n".join(self.lately(80))
        left = said.encode()
        while left:
            left = left[os.write(writing, left) :]
        os._exit(0)

    # -- what must hold afterwards -------------------------------------------------------------------

    async def _recover(self, disk: str) -> None:
        anchor = self.observer.anchor
        mine = self.folder / f"fork-{os.getpid()}"
        copy_disk(
            {WITH: self.folder / "disk", WITHOUT: Path("/nowhere"), OLD: self.old}[disk], mine
        )
        self.settings = replace(
            self.settings, state_dir=f"{mine}/state", ledger=f"sqlite:///{mine}/ledger.db"
        )
        await asyncio.sleep(0.3)
        here = self.price
        self.go(here - 3)  # while nobody looks, what is near the price fills
        await asyncio.sleep(0.2)
        self.go(here)
        await asyncio.sleep(0.5)
        self.begin()
        await self.check_quiet()
        if anchor is not None:
            assert self.manager.anchor == anchor
        held, traded = self.holdings(), self.traded()
        assert held == traded, f"slots hold {held}, the trades say {traded}"
        self._check_cost()
        await self._check_second_start()
        await self.walk(self.price - 3, self.price, self.price + 3)
        await self.check_quiet()
        report = await self.stop()
        self.check_end(report)
        if disk != WITHOUT:
            assert sorted(self.ledger_ids()) == sorted(self.trade_ids())

    def _check_cost(self) -> None:
        """What is held was bought at its own level."""
        manager = self.manager
        for index, lots in self.holdings().items():
            slot = manager.slots[index]
            assert slot.cost == lots * manager.ladders[slot.sign].price_of(slot.sign * index)

    async def _check_second_start(self) -> None:
        """A start with nothing changed sends nothing."""
        await asyncio.sleep(3.0)
        await self.check_quiet()
        before = self.holdings()
        await asyncio.sleep(1.2)
        await self.kill()
        await asyncio.sleep(1.0)
        self.begin()
        self.observer.expect_silence = True
        await asyncio.sleep(5.0)
        await self.check_quiet()
        assert self.holdings() == before
        self.observer.expect_silence = False


def kill_everywhere(
    scenario: Scenario, folder: Path, *, every: int = 1, first: int = 0
) -> Killings:
    """Plays the scenario, visiting each `every`-th point. `folder` is empty."""

    async def play() -> Killings:
        settings = stage_settings(folder / "disk", **scenario.settings)
        async with staged(settings, kind=KillingStage) as stage:
            assert isinstance(stage, KillingStage)
            stage.prepare(folder)
            stage.every, stage.first = every, first

            async def story() -> None:
                await scenario.prelude(stage)
                gc.collect()
                gc.freeze()
                stage.counting = True
                await scenario.act(stage)
                stage.counting = False
                stage.expect_order()
                if stage.process is not None and stage.process.task.done():
                    stage.process.task.result()

            stage.story = Life(counted=False)
            try:
                await stage.start(story(), stage.story)
            finally:
                gc.unfreeze()
            return stage.found

    loop = VirtualTimeLoop(START_NS)
    with logs_to(None, loop), asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(play())
