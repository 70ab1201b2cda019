"""What `marketmaker simulate` does: the whole daemon, on virtual time, against a venue that misbehaves by seed.

A run of so many minutes has four parts:

    faults    until 90 s before the end everything the seed has in store happens, processes die and are started again
    healing   within 60 s the grid must be whole again
    calm      the market stands still; books and venue must agree to the last digit
    restart   the process is killed and started again with its state, which must send nothing; then it is stopped

Everything runs on one loop in one thread. What the daemon sees comes from the seed alone, so a seed can be had again.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Collection, Generator, Iterable, Iterator, MutableMapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count as count_from
from pathlib import Path
from random import Random
from typing import Any

import structlog

from marketmaker.app import Application
from marketmaker.cli import simulate as cli
from marketmaker.core import readings
from marketmaker.core import slot as slot_table
from marketmaker.core.repair import Repair
from marketmaker.core.slot import Heard, SlotState, Verdict
from marketmaker.errors import ConfigError, VenueError
from marketmaker.model.event import SettingsChanged
from marketmaker.model.instrument import Instrument
from marketmaker.model.settings import (
    ExecutionSettings,
    GridSettings,
    GridSide,
    InstrumentSettings,
    PaperSettings,
    PositionPolicy,
    PostOnlyPolicy,
    PriceMonitorSettings,
    RiskSettings,
    Settings,
    SymbolSettings,
)
from marketmaker.model.status import GridMemory, GridTotals
from marketmaker.runtime.notify import Notifier
from marketmaker.runtime.state_store import StateStore
from marketmaker.sim.altered_feed import CalmingFeed, LeapingFeed
from marketmaker.sim.checks import Observer, Violation
from marketmaker.sim.disk import Disk
from marketmaker.sim.faults import Fault, FaultPlan, Strike, draw_plan, parse_faults
from marketmaker.sim.faulty_venue import REQUEST_LIFETIME_S, FaultyVenue, Line
from marketmaker.sim.instruments import paper_instrument
from marketmaker.sim.loop import NS_PER_S, VirtualTimeLoop
from marketmaker.sim.synthetic import SyntheticFeed
from marketmaker.summary import RunReport, summary

START_NS = 1_767_225_600_000_000_000
SYMBOL = "ETHUSDT"
CLEAN_S = 90.0
"""Of every run, without faults, at its end."""
HEAL_S = 60.0
RESTART_S = (5.5, 9.0)
"""Longer than a request may be under way."""
SHORTEST_MINUTES = 2.0
LAST_LINES = 40
NO_LIMIT: dict[GridSide, Decimal] = {}
STOP_LOSS = {GridSide.LONG: Decimal(2985), GridSide.SHORT: Decimal(3005)}
"""The market begins at 3,000 and ranges about a little less."""
THIN_PER_S, THIN_BURST = (3.0, 8.0), (6, 20)
DISK_FAULTS = frozenset({Fault.DISK_FULL, Fault.DISK_SHORT, Fault.DISK_SLOW})


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One seed to run. `only`: exactly these kinds of faults; None: what the seed draws. `keep`: directory for a
    journal; `journal`: write one, to compare it, in any case. `verbose`: the daemon's logs among the observer's lines."""

    seed: int
    minutes: float = 3.0
    only: tuple[Fault, ...] | None = None
    without: tuple[Fault, ...] = ()
    keep: str = ""
    journal: bool = False
    verbose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one seed. `transitions`: (state, heard) -> how often; `healed_s` after the faults' end."""

    seed: int
    violation: Violation | None
    lines: tuple[str, ...]
    simulated_s: float
    cpu_s: float
    faulty_s: float
    faulty_cpu_s: float
    kinds: tuple[Fault, ...]
    struck: dict[str, int]
    transitions: dict[str, int]
    processes: int
    placed: int
    cancelled: int
    trades: int
    healed_s: float
    calls_digest: str
    journal_digest: str


class DaemonClock:
    """The daemon's own clock on the loop's time: it can be wrong, and wrong by more every second."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self._offset_ns = 0
        self._drift = 0.0
        self._since_ns = loop.now_ns

    def now_ns(self) -> int:
        now_ns = self._loop.now_ns
        return now_ns + self._offset_ns + round((now_ns - self._since_ns) * self._drift)

    def jump(self, offset_ns: int) -> None:
        self._offset_ns += offset_ns

    def drift(self, rate: float) -> None:
        """`rate` in seconds per second, from here on."""
        wrong_ns = self.now_ns() - self._loop.now_ns
        self._offset_ns, self._drift, self._since_ns = wrong_ns, rate, self._loop.now_ns

    def set_right(self) -> None:
        self._offset_ns, self._drift = 0, 0.0


class FaultyStore(StateStore):
    """The real files, on a disk that may refuse. `written`: the last that it took."""

    def __init__(self, disk: Disk, *, bot_tag: str) -> None:
        super().__init__(str(disk.directory), bot_tag=bot_tag)
        self._disk = disk
        self.written: GridMemory | None = None

    def save(self, instrument: Instrument, memory: GridMemory) -> None:
        if not self._disk.dead:
            self._disk.check()
            super().save(instrument, memory)
            self.written = memory


class CountedTable(dict[Any, Any]):
    """The slot table, counting who was asked for."""

    def __init__(self, table: dict[Any, Any]) -> None:
        super().__init__(table)
        self.asked: Counter[str] = Counter()

    def __getitem__(self, key: Any) -> Any:
        self.asked[f"{key[0].value}+{key[1].value}"] += 1
        return super().__getitem__(key)


class CountedRow(dict[Any, Any]):
    """What one state makes of each thing heard, looked up in the counted table."""

    def __init__(self, table: CountedTable, state: SlotState, row: dict[Any, Any]) -> None:
        super().__init__(row)
        self._table = table
        self._state = state

    def __getitem__(self, heard: Any) -> Any:
        return self._table[self._state, heard]


@dataclass(eq=False, kw_only=True)
class Process:
    """One life of the daemon."""

    app: Application
    line: Line
    disk: Disk
    store: FaultyStore
    task: asyncio.Task[None] | None = None
    report: RunReport | None = None
    killed: bool = False
    stopping: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class World:
    """One seed from its first second to its last."""

    def __init__(self, task: Task, loop: VirtualTimeLoop, directory: str) -> None:
        self.length_s = max(task.minutes, SHORTEST_MINUTES) * 60
        self.plan: FaultPlan = draw_plan(
            task.seed, self.length_s - CLEAN_S, only=task.only, without=task.without
        )
        self.loop = loop
        self.rng = Random(f"{task.seed}/world")
        kinds = self.plan.kinds
        self.keeps_journal = task.journal or bool(task.keep) or not DISK_FAULTS.isdisjoint(kinds)
        self.settings = draw_settings(
            task.seed, directory, task.keep or directory if self.keeps_journal else ""
        )
        if Fault.THIN_BUDGET in kinds:
            self.settings = thinned(self.settings, self.plan.rates[Fault.THIN_BUDGET])
        paper = self.settings.paper
        symbol = self.settings.symbols[0]
        self.instrument = replace(
            paper_instrument(SYMBOL, symbol.instrument, paper), venue="simulated"
        )
        self.loose = Fault.CLOCK_JUMP in kinds or Fault.CLOCK_DRIFT in kinds
        self.observer = Observer(
            self.settings,
            self.instrument,
            began_ns=loop.now_ns,
            burst=min(paper.order_burst, self.settings.execution.burst),
            orders_per_s=min(paper.orders_per_s, self.settings.execution.orders_per_s),
            request_lifetime_s=REQUEST_LIFETIME_S,
            loose_clock=self.loose,
            fail=self._violated,
        )
        self.venue = FaultyVenue(
            settings=paper,
            instrument=self.instrument,
            feed=CalmingFeed(
                LeapingFeed(
                    SyntheticFeed(task.seed, (SYMBOL,), loop.now_ns),
                    [s.start_s for s in self.plan.strikes if s.fault is Fault.PRICE_LEAP],
                    self.plan.generator(Fault.PRICE_LEAP),
                    self._leapt,
                ),
                self.length_s - CLEAN_S + HEAL_S,
            ),
            plan=self.plan,
            observer=self.observer,
            bot_tag=self.settings.bot_tag,
            batch=(1, 5, 20)[int(self.rng.random() * 3)],
            now_ns=lambda: loop.now_ns,
        )
        self.venue.struck[Fault.THIN_BUDGET] += Fault.THIN_BUDGET in kinds
        self.clock = DaemonClock(loop)
        self.observer.clock_off_s = lambda: (self.clock.now_ns() - loop.now_ns) / NS_PER_S
        self.directory = directory
        self.process: Process | None = None
        self.calls: list[str] = []
        self.healed_s = -1.0
        self.faults_ended_s = 0.0
        """Of processor time."""
        self.over = asyncio.Event()
        self.memories: list[dict[str, bytes]] = [{}]
        self._delay_s = 0.0
        self._same_levels = True

    # -- processes -----------------------------------------------------------------------------------

    def begin_process(self) -> None:
        line = self.venue.connect(self.clock.now_ns)
        disk = Disk(
            self.directory,
            full=self._disk_is_full,
            short=lambda: self.venue.active(Fault.DISK_SHORT),
            wait=self._write,
        )
        store = FaultyStore(disk, bot_tag=self.settings.bot_tag)
        app = Application(
            settings=self.settings,
            adapter=line,
            clock=self.clock,
            notifier=Notifier({}),
            explain=lambda problems: ConfigError("\n".join(problems)),
            began_s=0.0,
            seed=self.plan.seed,
            store=store,
            journal_write=disk.write,
        )
        self.observer.process_began(
            remembers=bool(disk.contents()),
            same_levels=self._same_levels,
            now_ns=self.loop.now_ns,
        )
        self._same_levels = True
        process = self.process = Process(app=app, line=line, disk=disk, store=store)
        process.task = self.loop.create_task(self._live(process))

    async def _live(self, process: Process) -> None:
        try:
            process.report = await process.app.run()
        except asyncio.CancelledError:
            if not process.killed:
                raise
        except (ConfigError, VenueError) as error:
            self.observer.note(self.loop.now_ns, f"the daemon does not start: {error}")
            if self._elapsed_s() > self.plan.end_s + 10:
                self._broken("alive", f"does not start: {error}")
        except Exception as error:
            self._broken("alive", f"{type(error).__name__}: {error}")
        else:
            self._ended_by_itself(process, process.report)
        finally:
            self.calls += process.line.calls
            process.line.cut()
            process.ended.set()

    def _ended_by_itself(self, process: Process, report: RunReport) -> None:
        if not process.stopping:
            self._broken("alive", f"the daemon ended: {report.exit_reason}")
            return
        faults_over = self._elapsed_s() > self.plan.end_s + HEAL_S
        self.observer.check_left(report.unconfirmed, self.loop.now_ns, faults_over=faults_over)
        if report.exit_code and not report.unconfirmed and not self.keeps_journal:
            self._broken("alive", f"exit code {report.exit_code} without a reason")

    def kill(self, fault: Fault) -> None:
        """The process is gone this instant; what it does while it is being taken apart reaches nobody."""
        process = self.process
        if process is None or process.ended.is_set() or process.killed:
            return
        assert process.task is not None
        self.venue.struck[fault] += 1
        self.observer.note(self.loop.now_ns, f"process killed: {fault.value}")
        for symbol in process.app.symbols:
            repair = symbol.manager.repair
            self.observer.check_repairs(repair.repairs, repair.foreign_lots, self.loop.now_ns)
        self.observer.process_died(self.loop.now_ns)
        process.killed = process.disk.dead = True
        process.line.cut()
        kept = process.disk.contents()
        if fault is Fault.CRASH_DISK_LOST:
            kept = {}
        elif fault is Fault.CRASH_DISK_OLD:
            kept = self.memories[int(self.rng.random() * len(self.memories))]
        self._same_levels = fault is Fault.CRASH
        process.task.cancel()
        process.task.add_done_callback(lambda _: process.disk.restore(kept))

    def stop(self, reason: str) -> None:
        process = self.process
        if process is None or process.ended.is_set() or process.killed or process.stopping:
            return
        process.stopping = True
        self.observer.stop_asked(self.loop.now_ns)
        process.app.stop(reason)

    async def _keep_running(self) -> None:
        """The service manager."""
        shortest, longest = RESTART_S
        while True:
            self.begin_process()
            assert self.process is not None
            await self.process.ended.wait()
            await asyncio.sleep(shortest + (longest - shortest) * self.rng.random())
            report = self.process.report
            if report is not None and self.process.stopping:
                self.observer.check_left(report.unconfirmed, self.loop.now_ns, faults_over=False)

    def _disk_is_full(self) -> bool:
        full = self.venue.active(Fault.DISK_FULL)
        self.observer.disk_answered(refused=full, now_ns=self.loop.now_ns)
        return full

    def _write(self) -> None:
        """How long the disk takes for one write; nothing else of the process runs meanwhile."""
        if self.venue.active(Fault.DISK_SLOW):
            self._stall(0.4 * self.venue.chance(Fault.DISK_SLOW).random() ** 3)

    def _stall(self, seconds: float) -> None:
        since_ns = self.loop.now_ns
        self.loop.stall(seconds)
        self.observer.stalled(since_ns, self.loop.now_ns)

    def _reload(self, rng: Random) -> None:
        """The operator changes what may be changed while it trades; a process that is not there reads it at its start."""
        symbol = self.settings.symbols[0]
        grid = changed_grid(symbol.grid, rng)
        self.settings = replace(self.settings, symbols=(replace(symbol, grid=grid),))
        self.observer.settings_changed(self.settings, self.loop.now_ns)
        self._tell_settings()

    def _tell_settings(self) -> None:
        process = self.process
        if process is None or process.ended.is_set():
            return
        if not process.app.symbols:  # it read the old ones, and is not ready to hear of others
            self.loop.call_later(0.5, self._tell_settings)
            return
        self.venue.struck[Fault.RELOAD] += 1
        process.app.symbols[0].channel.queue.put(
            SettingsChanged(
                settings=self.settings.symbols[0].grid,
                ts_ns=self.clock.now_ns(),
            )
        )

    def _leapt(self) -> None:
        self.venue.struck[Fault.PRICE_LEAP] += 1

    # -- the plan ------------------------------------------------------------------------------------

    def _arrange(self) -> None:
        for strike in self.plan.strikes:
            self.loop.call_at(strike.start_s, self._strike, strike)
            if strike.fault is Fault.CLOCK_DRIFT:
                self.loop.call_at(strike.stop_s, self.clock.drift, 0.0)
        self.loop.call_at(self.plan.end_s, self.clock.set_right)
        for second in range(10, int(self.plan.end_s), 10):
            self.loop.call_at(second, self._remember_disk)
        for second in range(1, int(self.plan.end_s)):
            self.loop.call_at(second, self._check_written)

    def _remember_disk(self) -> None:
        if self.process is not None:
            self.memories.append(self.process.disk.contents())

    def _strike(self, strike: Strike) -> None:
        fault, rng = strike.fault, self.venue.chance(strike.fault)
        match fault:
            case Fault.CRASH | Fault.CRASH_DISK_LOST | Fault.CRASH_DISK_OLD:
                if self.process is not None and rng.random() < 0.5:
                    self.process.line.after_send = lambda: self.kill(fault)
                else:
                    self.kill(fault)
            case Fault.STOP:
                self.venue.struck[fault] += 1
                self.stop("SIGTERM")
            case Fault.CLOCK_JUMP:
                self.venue.struck[fault] += 1
                self.clock.jump(round((rng.random() - 0.5) * 10 * NS_PER_S))
            case Fault.CLOCK_DRIFT:
                self.clock.drift((rng.random() - 0.5) * 0.02)
            case Fault.RELOAD:
                self._reload(rng)
            case Fault.STALL:
                self.venue.struck[fault] += 1
                self._stall(8 * rng.random() ** 2)
            case _:
                pass

    # -- from the first second to the last -----------------------------------------------------------

    async def run(self) -> None:
        await self.venue.open()
        self._arrange()
        keeper = asyncio.create_task(self._keep_running())
        story = asyncio.create_task(self._story())
        over = asyncio.create_task(self.over.wait())
        try:
            await asyncio.wait({keeper, story, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (keeper, story, over):
                task.cancel()
            results = await asyncio.gather(keeper, story, over, return_exceptions=True)
            process = self.process
            if process is not None and process.task is not None and not process.task.done():
                process.killed = process.disk.dead = True
                process.line.cut()
                process.task.cancel()
                await asyncio.gather(process.task, return_exceptions=True)
            await self.venue.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _story(self) -> None:
        await self._until(self.plan.end_s)
        self.faults_ended_s = time.process_time()
        await self._heal()
        calm_s = self.plan.end_s + HEAL_S
        await self._until(calm_s + 9)
        await self._check_quiet()
        if self.process is None or not self.process.app.symbols:
            return
        silence = not self._is_waiting()
        self.kill(Fault.CRASH)
        await self._until(calm_s + 12)
        if silence:
            self._expect_silence()
        await self._until(calm_s + 27)
        await self._check_quiet()
        self.observer.expect_silence = False
        self.stop("SIGTERM")
        process = self.process
        assert process is not None
        await process.ended.wait()
        self._check_end(process)

    def _is_waiting(self) -> bool:
        """Whether a slot's patience after a refusal, which a restart forgets, keeps it without an order."""
        assert self.process is not None
        manager = self.process.app.symbols[0].manager
        if self.settings.symbols[0].grid.side is GridSide.NEUTRAL and manager.books.adopted_lots:
            return True  # inventory that was taken in may lie in a slot of the other direction
        slots = readings.slot_statuses(manager)
        return any(slot.why.startswith(("post_only strict", "waiting after")) for slot in slots)

    def _expect_silence(self) -> None:
        """From its first moment the next process has nothing to do."""
        begin = self.observer.process_began

        def began(*, remembers: bool, same_levels: bool, now_ns: int) -> None:
            begin(remembers=remembers, same_levels=same_levels, now_ns=now_ns)
            self.observer.expect_silence = True

        self.observer.process_began = began  # type: ignore[method-assign]

    async def _heal(self) -> None:
        why = ""
        while self._elapsed_s() < self.plan.end_s + HEAL_S:
            why = self._why_not_whole()
            if not why:
                self.healed_s = self._elapsed_s() - self.plan.end_s
                return
            await asyncio.sleep(0.5)
        self._broken("whole", why)

    def _why_not_whole(self) -> str:
        process = self.process
        if process is None or process.ended.is_set() or not process.app.symbols:
            return "the daemon is not running"
        manager = process.app.symbols[0].manager
        return self.observer.why_not_whole(
            self.venue.price_ticks, readings.slot_statuses(manager), manager.repair.foreign_lots
        )

    async def _check_quiet(self) -> None:
        """Compare books and venue at the first moment at which nothing is under way."""
        why = self._why_not_whole()
        for _ in range(20):
            if not why:
                break
            await asyncio.sleep(0.1)
            why = self._why_not_whole()
        if why:
            self._broken("whole", f"in a calm market: {why}")
            return
        assert self.process is not None
        manager = self.process.app.symbols[0].manager
        now_ns = self.loop.now_ns
        self.observer.check_known(manager.open_orders, now_ns)
        self._check_books(readings.totals(manager), manager.repair)

    def _check_end(self, process: Process) -> None:
        report, now_ns = process.report, self.loop.now_ns
        if report is None or report.reading is None:
            self._broken("left", "no last reading of the account")
            return
        row = report.reading.symbols[0]
        self._check_books(row.totals, process.app.symbols[0].manager.repair)
        residual = summary(report)["equity_residual"]
        self.observer.check_equity(Decimal(str(residual)), row.start.qty_lots, row.totals, now_ns)

    def _check_written(self) -> None:
        """A process that has nothing left to write down has written down what it remembers."""
        process = self.process
        if process is None or process.killed or process.ended.is_set():
            return
        for symbol in process.app.symbols:
            memory, written = readings.memory(symbol.manager), process.store.written
            if memory is not None and written is not None and not symbol.engine.changed:
                self.observer.check_written(memory, written, self.loop.now_ns)

    def _check_books(self, totals: GridTotals, repair: Repair) -> None:
        self.observer.check_books(
            totals, repair.foreign_lots, self.loop.now_ns, repairs=repair.repairs
        )

    async def _until(self, second: float) -> None:
        await self.loop.sleep_until(self.loop.start_ns + round(second * NS_PER_S))

    def _elapsed_s(self) -> float:
        return (self.loop.now_ns - self.loop.start_ns) / NS_PER_S

    def _broken(self, rule: str, what: str) -> None:
        self.observer.broken(rule, what, self.loop.now_ns)

    def _violated(self, violation: Violation) -> None:
        self.over.set()


def draw_settings(seed: int, directory: str, journal: str) -> Settings:
    """A configuration for this seed: every choice that the operator has is made somewhere."""
    rng = Random(f"{seed}/settings")

    def pick(*choices: Any) -> Any:
        return choices[int(rng.random() * len(choices))]

    window = pick(2, 4, 6, 10)
    side = pick(GridSide.LONG, GridSide.LONG, GridSide.LONG, GridSide.SHORT, GridSide.NEUTRAL)
    sell_window = window if side is GridSide.NEUTRAL else pick(2, 4, 10)
    room = 2 * (window + sell_window) if side is GridSide.NEUTRAL else window + sell_window
    grid = GridSettings(
        side=side,
        price_interval=pick(Decimal("0.7"), Decimal(1), Decimal(2), Decimal(4)),
        order_amount=pick(Decimal(25), Decimal(60), Decimal(500)),
        buy_window=window,
        sell_window=sell_window,
        max_open_orders=pick(room + 5, 100, 100),
        max_position=pick(None, None, Decimal("0.6")) if side is not GridSide.NEUTRAL else None,
        post_only=pick(PostOnlyPolicy.DEGRADE, PostOnlyPolicy.DEGRADE, PostOnlyPolicy.STRICT),
        margin_lock_s=pick(3.0, 10.0),
        refused_delay_s=pick(5.0, 20.0),
        stop_loss=pick(NO_LIMIT, NO_LIMIT, NO_LIMIT, NO_LIMIT, NO_LIMIT, STOP_LOSS).get(side),
        on_position_difference=pick(
            PositionPolicy.ADOPT, PositionPolicy.ADOPT, PositionPolicy.IGNORE
        ),
    )
    return Settings(
        mode="paper",
        exchange="paper",
        bot_tag="sim",
        symbols=(
            SymbolSettings(
                name=SYMBOL, grid=grid, instrument=InstrumentSettings(min_notional=Decimal(5))
            ),
        ),
        paper=PaperSettings(
            balance=Decimal(20_000),
            fill=pick("queue", "queue", "touch", "cross"),
            maker_fee=Decimal("0.00005"),
            taker_fee=Decimal("0.0004"),
            orders_per_s=pick(10.0, 30.0),
            order_burst=pick(20, 60),
        ),
        execution=ExecutionSettings(orders_per_s=25.0, burst=30, request_timeout_s=10.0),
        price_monitor=PriceMonitorSettings(send_interval_ms=pick(0, 0, 50)),
        risk=RiskSettings(enabled=False),
        reconcile_interval_s=pick(8.0, 15.0),
        shutdown_timeout_s=20.0,
        journal=os.path.join(journal, "journal.jsonl") if journal else "",
        state_dir=directory,
    )


def thinned(settings: Settings, share: float) -> Settings:
    """The same on an account that may send little: 3 to 8 orders a second, 6 to 20 at once."""
    per_s, burst = (low + share * (high - low) for low, high in (THIN_PER_S, THIN_BURST))
    return replace(
        settings, paper=replace(settings.paper, orders_per_s=per_s, order_burst=int(burst))
    )


def changed_grid(grid: GridSettings, rng: Random) -> GridSettings:
    """Other windows and another amount on the same levels."""
    window = (2, 4, 6, 10)[int(rng.random() * 4)]
    amount = (Decimal(25), Decimal(60), Decimal(500))[int(rng.random() * 3)]
    exits = window if grid.side is GridSide.NEUTRAL else (2, 4, 10)[int(rng.random() * 3)]
    room = 2 * (window + exits) if grid.side is GridSide.NEUTRAL else window + exits
    return replace(
        grid,
        buy_window=window,
        sell_window=exits,
        order_amount=amount,
        max_open_orders=max(grid.max_open_orders, room + 5),
    )


def simulate(task: Task) -> Outcome:
    """Run one seed. Raises only what is wrong with the simulator itself."""
    began_s = time.process_time()
    shared = "/dev/shm"
    parent = shared if os.access(shared, os.W_OK) else None
    directory = tempfile.mkdtemp(prefix="marketmaker-sim-", dir=parent)
    loop = VirtualTimeLoop(START_NS)
    try:
        with counted_transitions() as table, asyncio.Runner(loop_factory=lambda: loop) as runner:
            world = runner.run(_run(task, loop, directory))
        journals = hashlib.sha256(journal_bytes(task.keep or directory)).hexdigest()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    observer = world.observer
    return Outcome(
        seed=task.seed,
        violation=observer.violation,
        lines=tuple(f"{ts_ns / NS_PER_S:12.6f} {line}" for ts_ns, line in observer.lines),
        simulated_s=world.loop.time(),
        cpu_s=time.process_time() - began_s,
        faulty_s=min(world.plan.end_s, world.loop.time()),
        faulty_cpu_s=(world.faults_ended_s or time.process_time()) - began_s,
        kinds=world.plan.kinds,
        struck={fault.value: count for fault, count in world.venue.struck.items() if count},
        transitions=dict(table.asked),
        processes=observer.process,
        placed=observer.placed,
        cancelled=observer.cancelled,
        trades=len(observer.trades),
        healed_s=world.healed_s,
        calls_digest=hashlib.sha256("\n".join(world.calls).encode()).hexdigest(),
        journal_digest=journals,
    )


async def _run(task: Task, loop: VirtualTimeLoop, directory: str) -> World:
    world = World(task, loop, directory)
    with logs_to(world.observer if task.verbose else None, loop):
        loop.set_exception_handler(lambda _, context: world._broken("alive", f"unheard: {context}"))
        await world.run()
    return world


@contextmanager
def logs_to(observer: Observer | None, loop: VirtualTimeLoop) -> Iterator[None]:
    """The daemon's logs among the observer's lines, or nowhere."""

    def keep(_: Any, level: str, event: MutableMapping[str, Any]) -> Any:
        if observer is not None:
            error = event.pop("exc_info", None)
            fields = " ".join(f"{name}={value}" for name, value in event.items() if name != "event")
            observer.note(loop.now_ns, f"{level}: {event['event']} {fields} {error or ''}")
        raise structlog.DropEvent

    before = structlog.get_config()
    level = logging.CRITICAL if observer is None else logging.INFO
    structlog.configure(
        processors=[keep],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def counted_transitions() -> Iterator[CountedTable]:
    counted = CountedTable(slot_table.TRANSITIONS)
    rows = dict(slot_table.OUTCOMES)
    slot_table.OUTCOMES.update({s: CountedRow(counted, s, row) for s, row in rows.items()})
    try:
        yield counted
    finally:
        slot_table.OUTCOMES.update(rows)


def shrink(task: Task, violation: Violation) -> Task:
    """A smaller run that breaks the same rule: fewer kinds of faults, then less time."""
    kinds: Collection[Fault] = draw_plan(
        task.seed, task.minutes * 60 - CLEAN_S, only=task.only, without=task.without
    ).kinds
    smallest = task
    for fault in kinds:
        trial = replace(smallest, without=(*smallest.without, fault))
        if breaks(trial, violation.rule):
            smallest = trial
    for share in (0.35, 0.5, 0.7, 0.85):
        trial = replace(smallest, minutes=max(SHORTEST_MINUTES, round(task.minutes * share, 1)))
        if trial.minutes < smallest.minutes and breaks(trial, violation.rule):
            smallest = trial
            break
    left = [fault for fault in kinds if fault not in smallest.without]
    named = replace(smallest, only=tuple(left), without=())
    return named if breaks(named, violation.rule) else smallest


def breaks(task: Task, rule: str) -> bool:
    found = simulate(task).violation
    return found is not None and found.rule == rule


def explain(task: Task, lines: int = LAST_LINES) -> tuple[str, ...]:
    """The last of what happened before the violation, the daemon's own words among it."""
    return simulate(replace(task, verbose=True)).lines[-lines:]


def command_of(task: Task) -> str:
    """What to type to have this run again."""
    parts = [f"marketmaker simulate --seeds 1 --start {task.seed} --minutes {task.minutes:g}"]
    if task.only is not None:
        parts.append(f"--faults {','.join(fault.value for fault in task.only) or 'none'}")
    if task.without:
        parts.append(f"--without {','.join(fault.value for fault in task.without)}")
    return " ".join(parts)


def journal_bytes(directory: str) -> bytes:
    """Every journal a kept run wrote, in order of their names."""
    return b"".join(path.read_bytes() for path in sorted(Path(directory).glob("journal*")))


def run(args: argparse.Namespace) -> int:
    """The command: seeds one after the other, or in several processes. 1 when a rule was broken."""
    try:
        only = None if args.faults is None else parse_faults(args.faults)
        without = parse_faults(args.without)
    except ValueError as error:
        known = ", ".join(fault.value for fault in Fault)
        raise ConfigError(f"--faults: {error}; known are {known}") from None
    tally = cli.Tally()
    began_s = time.perf_counter()
    seeds = count_from(args.start) if args.forever else range(args.start, args.start + args.seeds)
    tasks = (
        Task(seed=seed, minutes=args.minutes, only=only, without=without, journal=args.digest)
        for seed in seeds
    )
    with suppress(KeyboardInterrupt), closing(outcomes(tasks, args.jobs)) as results:
        for task, outcome in results:
            tally.add(
                simulated_s=outcome.simulated_s,
                cpu_s=outcome.cpu_s,
                faulty_s=outcome.faulty_s,
                faulty_cpu_s=outcome.faulty_cpu_s,
                digest=f"{outcome.calls_digest} {outcome.journal_digest}" if args.digest else "",
                struck=outcome.struck,
                transitions=outcome.transitions,
                processes=outcome.processes,
                placed=outcome.placed,
                cancelled=outcome.cancelled,
                trades=outcome.trades,
                healed_s=outcome.healed_s,
            )
            if outcome.violation is not None:
                found = describe_violation(task, outcome.violation)
                tally.violations.append(found)
                cli.print_violation(found, sys.stderr)
            if sys.stderr.isatty():
                line = cli.progress(tally, args.seeds, time.perf_counter() - began_s)
                print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if args.json:
        print(cli.as_json(tally))
    else:
        cli.print_result(tally, [fault.value for fault in Fault], transition_pairs(), sys.stdout)
    return 1 if tally.violations else 0


def transition_pairs() -> dict[str, str]:
    """Every pair of the slot table and what comes of it; "" where it must not be: our own bug, or news of a slot without
    an order, for news goes by the order's id and is heard by none then."""
    return {
        f"{state.value}+{heard.value}": ""
        if then is Verdict.BROKEN or (state is SlotState.FREE and heard is not Heard.SENT)
        else then.value
        for (state, heard), then in slot_table.TRANSITIONS.items()
    }


def outcomes(tasks: Iterable[Task], jobs: int) -> Generator[tuple[Task, Outcome], None, None]:
    """In the order of `tasks`; never more of them handed out than are being worked on."""
    if jobs == 1:
        for task in tasks:
            yield task, simulate(task)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=ignore_interrupts) as pool:
        waiting: deque[tuple[Task, Future[Outcome]]] = deque()
        try:
            for task in tasks:
                waiting.append((task, pool.submit(simulate, task)))
                if len(waiting) >= 2 * jobs:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def ignore_interrupts() -> None:
    """Ctrl-C is for the process that hands out the seeds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def describe_violation(task: Task, violation: Violation) -> dict[str, Any]:
    smallest = shrink(task, violation)
    found = simulate(replace(smallest, verbose=True))
    shown = found.violation or violation
    return {
        "seed": task.seed,
        "rule": shown.rule,
        "what": shown.what,
        "at_s": shown.ts_ns / NS_PER_S,
        "faults": [fault.value for fault in found.kinds],
        "trace": list(found.lines[-LAST_LINES:]),
        "command": command_of(smallest),
    }
