"""One daemon before the simulated venue, with everything in the hand of a test: prices, faults, the disk, the owner.

Where `marketmaker simulate` draws what happens, a test here says it: the same venue, the same observer with all of its
rules, the same application, one symbol, virtual time.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from marketmaker.app import Application
from marketmaker.core import readings
from marketmaker.core.position_manager import PositionManager
from marketmaker.errors import ConfigError
from marketmaker.ledger.reader import read_ledger
from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Quote
from marketmaker.model.order import Side
from marketmaker.model.settings import (
    ExecutionSettings,
    GridSettings,
    InstrumentSettings,
    PaperSettings,
    PriceMonitorSettings,
    RiskSettings,
    SafetySettings,
    Settings,
    SymbolSettings,
)
from marketmaker.runtime.notify import Notifier
from marketmaker.runtime.state_store import StateStore
from marketmaker.sim.checks import Observer, Violation
from marketmaker.sim.faults import Fault, FaultPlan
from marketmaker.sim.faulty_venue import REQUEST_LIFETIME_S, FaultyVenue, Line
from marketmaker.sim.instruments import paper_instrument
from marketmaker.sim.loop import NS_PER_S, VirtualTimeLoop
from marketmaker.simulation import DaemonClock
from marketmaker.summary import RunReport, summary
from marketmaker.symbol import Symbol, lacks_trades
from tests.support.paper import START_NS, QuietFeed, make_quote, make_trade

SYMBOL = "ETHUSDT"
ALL = 1_000_000
BEAT_S = 1.0
FOREVER_S = 10.0**7


def stage_settings(directory: Path | str = "", **changes: Any) -> Settings:
    """A long grid of 4 buys and 4 sells, 2 apart; with a `directory`, state and ledger in it. `grid`: its changes."""
    grid = GridSettings(
        **{
            "price_interval": Decimal(2),
            "order_amount": Decimal(60),
            "buy_window": 4,
            "sell_window": 4,
            **changes.pop("grid", {}),
        }
    )
    symbol = SymbolSettings(
        name=SYMBOL, grid=grid, instrument=InstrumentSettings(min_notional=Decimal(5))
    )
    defaults: dict[str, Any] = {
        "mode": "paper",
        "exchange": "paper",
        "bot_tag": "sim",
        "symbols": (symbol,),
        "paper": PaperSettings(
            balance=Decimal(20_000),
            fill="touch",
            maker_fee=Decimal("0.00005"),
            taker_fee=Decimal("0.0004"),
            orders_per_s=30.0,
            order_burst=60,
        ),
        "execution": ExecutionSettings(orders_per_s=25.0, burst=30, request_timeout_s=10.0),
        "price_monitor": PriceMonitorSettings(),
        "risk": RiskSettings(enabled=False),
        "safety": SafetySettings(min_positions=1),
        "reconcile_interval_s": 15.0,
        "shutdown_timeout_s": 20.0,
        "state_dir": f"{directory}/state" if directory else "",
        "ledger": f"sqlite:///{directory}/ledger.db" if directory else "",
    }
    return Settings(**{**defaults, **changes})


class Store(StateStore):
    """The real files, until the process is `dead`; `refusing` raises in place of saving."""

    dead = False
    refusing: OSError | None = None

    def save(self, instrument: Instrument, memory: Any) -> None:
        if self.refusing is not None:
            raise self.refusing
        if not self.dead:
            super().save(instrument, memory)


@dataclass(eq=False, kw_only=True)
class Process:
    """One life of the daemon."""

    app: Application
    line: Line
    store: Store
    task: asyncio.Task[RunReport]
    killed: bool = False

    @property
    def manager(self) -> PositionManager:
        return self.app.symbols[0].manager


@dataclass(eq=False)
class Stage:
    """`settings` are those of the next process."""

    settings: Settings
    loop: VirtualTimeLoop
    batch: int = 5
    multiplier: Decimal = Decimal(1)
    violations: list[Violation] = field(default_factory=list)
    process: Process | None = None
    price: Decimal = Decimal(0)
    shown_lots: int = 1000
    """By the market, on either side of it."""

    def __post_init__(self) -> None:
        paper, symbol = self.settings.paper, self.settings.symbols[0]
        self.instrument = replace(
            paper_instrument(SYMBOL, symbol.instrument, paper),
            venue="simulated",
            multiplier=self.multiplier,
        )
        self.clock = DaemonClock(self.loop)
        self.plan = FaultPlan(seed=1, end_s=FOREVER_S, rates={}, strikes=())
        self.observer = Observer(
            self.settings,
            self.instrument,
            began_ns=self.loop.now_ns,
            burst=min(paper.order_burst, self.settings.execution.burst),
            orders_per_s=min(paper.orders_per_s, self.settings.execution.orders_per_s),
            request_lifetime_s=REQUEST_LIFETIME_S,
            loose_clock=False,
            fail=self.violations.append,
        )
        self.venue = FaultyVenue(
            settings=paper,
            instrument=self.instrument,
            feed=QuietFeed(SYMBOL, hours=24 * 365 * 20),
            plan=self.plan,
            observer=self.observer,
            bot_tag=self.settings.bot_tag,
            batch=self.batch,
            now_ns=lambda: self.loop.now_ns,
        )

    # -- the market ----------------------------------------------------------------------------------

    def go(self, price: str | Decimal, *, lots: int = ALL) -> None:
        """A trade at `price`, then quotes a tick to either side of it."""
        self.price = Decimal(price)
        ticks = self.instrument.exact_ticks(self.price)
        now_ns = self.venue.now_ns()
        self.venue.tape.apply(make_trade(ticks, lots, ts_ns=now_ns), now_ns)
        self.venue.tape.apply(self._quote(now_ns), now_ns)

    def hit(self, slot: int, lots: int) -> None:
        """Somebody takes so much of the order that rests in a slot."""
        (order,) = (
            each
            for each in self.venue.market.open_orders.values()
            if each.client_order_id is not None and each.client_order_id.slot == slot
        )
        self.venue.exchange.hit(SYMBOL, order, lots, self.venue.now_ns())

    async def walk(self, *prices: str | int | Decimal, pause_s: float = 0.5) -> None:
        for price in prices:
            self.go(str(price))
            await asyncio.sleep(pause_s)

    def _quote(self, now_ns: int) -> Quote:
        ticks = self.instrument.exact_ticks(self.price)
        shown = self.shown_lots
        return make_quote(ticks - 1, ticks + 1, bid_lots=shown, ask_lots=shown, ts_ns=now_ns)

    async def beat(self) -> None:
        """The market says every second that it is still there."""
        while True:
            if self.price:
                now_ns = self.venue.now_ns()
                ticks = self.instrument.exact_ticks(self.price)
                self.venue.tape.apply(make_trade(ticks, 1, ts_ns=now_ns), now_ns)
                self.venue.tape.apply(self._quote(now_ns), now_ns)
            await asyncio.sleep(BEAT_S)

    @property
    def position(self) -> int:
        return self.observer.position_lots

    # -- faults --------------------------------------------------------------------------------------

    @contextmanager
    def rate(self, *faults: Fault, of: float = 1.0) -> Iterator[None]:
        """Inside, these strike with this probability; each must strike at least once."""
        before = {fault: self.venue.struck[fault] for fault in faults}
        self.plan.rates.update(dict.fromkeys(faults, of))
        yield
        for fault in faults:
            del self.plan.rates[fault]
            assert self.venue.struck[fault] > before[fault], f"{fault.value} never struck"

    @contextmanager
    def episode(self, fault: Fault) -> Iterator[None]:
        """Inside, this goes on."""
        active = self.venue._active
        active[fault] = active.get(fault, 0) + 1
        if self.venue.line is not None:
            self.venue.line.episode_begins(fault)
        yield
        active[fault] -= 1
        if self.venue.line is not None and not active[fault]:
            self.venue.line.episode_ends(fault)

    def asked(self, what: str, process: Process | None = None) -> int:
        """How many requests of the process's whole life begin with this: place, cancel, ask order, ask fills ..."""
        calls = (process or self.running).line.calls
        return sum(call.partition(" ")[2].startswith(what) for call in calls)

    def orders(self) -> int:
        """Placements and cancels handed over, by every process."""
        return self.observer.placed + self.observer.cancelled

    async def quoting(self, price: str = "3000.5") -> Process:
        """A grid that is whole and sure of its position."""
        self.go(price)
        process = self.begin()
        await self.until(lambda: not self.why_not_whole() and self.manager.position_settled)
        return process

    def hand(self, side: Side, lots: int) -> None:
        """The owner takes from the market, now."""
        ticks = self.instrument.exact_ticks(self.price)
        self.venue.place_foreign(side, ticks + 100 * side, lots, ioc=True)

    # -- processes -----------------------------------------------------------------------------------

    def begin(self, *, remembers: bool = True, environ: dict[str, str] | None = None) -> Process:
        """`remembers` is what the observer is told: levels must be those of before."""
        line = self.venue.connect(self.clock.now_ns)
        store = Store(self.settings.state_dir, bot_tag=self.settings.bot_tag)
        app = Application(
            settings=self.settings,
            adapter=line,
            clock=self.clock,
            notifier=Notifier(environ or {}),
            explain=lambda problems: ConfigError("\n".join(problems)),
            began_s=0.0,
            store=store,
        )
        self.observer.process_began(
            remembers=remembers, same_levels=True, now_ns=self.venue.now_ns()
        )
        task = self.spawn(app)
        self.process = Process(app=app, line=line, store=store, task=task)
        self.on_begin(self.process)
        return self.process

    def spawn(self, app: Application) -> asyncio.Task[RunReport]:
        return self.loop.create_task(app.run(), name="daemon")

    def on_begin(self, process: Process) -> None: ...

    async def kill(self) -> None:
        """As by kill -9, but for the open files, which are closed without being written to."""
        process = self.running
        process.killed = process.store.dead = True
        process.line.cut()
        if (bookkeeper := process.app.bookkeeper) is not None:
            intake = bookkeeper.ledger.intake
            intake.waiting.clear()
            intake._take = lambda *_, **__: None  # type: ignore[method-assign]
        process.task.cancel()
        await asyncio.gather(process.task, return_exceptions=True)
        self.process = None

    async def stop(self, reason: str = "SIGTERM") -> RunReport:
        process = self.running
        self.observer.stop_asked(self.venue.now_ns())
        process.app.stop(reason)
        report = await process.task
        self.process = None
        return report

    @property
    def running(self) -> Process:
        assert self.process is not None
        return self.process

    @property
    def manager(self) -> PositionManager:
        return self.running.manager

    @property
    def symbol(self) -> Symbol:
        return self.running.app.symbols[0]

    def exits(self) -> int:
        return sum(not self.observer.is_entry(name) for name in self.observer.open)

    def entries(self) -> int:
        return sum(self.observer.is_entry(name) for name in self.observer.open)

    # -- waiting and looking -------------------------------------------------------------------------

    async def until(
        self, condition: Callable[[], object], *, within_s: float = 60.0, step_s: float = 0.05
    ) -> None:
        deadline = self.loop.time() + within_s
        while not condition():
            self.expect_order()
            assert self.loop.time() < deadline, f"not within {within_s} s"
            assert self.process is None or not self.process.task.done(), "the daemon ended"
            await asyncio.sleep(step_s)

    def why_not_whole(self) -> str:
        if self.process is None or not self.process.app.symbols:
            return "the daemon is not running"
        manager = self.manager
        return self.observer.why_not_whole(
            self.venue.price_ticks, readings.slot_statuses(manager), manager.repair.foreign_lots
        )

    async def until_whole(self, within_s: float = 60.0) -> None:
        deadline = self.loop.time() + within_s
        while why := self.why_not_whole():
            self.expect_order()
            assert self.loop.time() < deadline, f"not whole within {within_s} s: {why}"
            await asyncio.sleep(0.05)

    def expect_order(self) -> None:
        assert not self.violations, f"{self.violations[0]}\n" + "\n".join(self.lately(60))

    def lately(self, lines: int) -> list[str]:
        return [f"{ts_ns / NS_PER_S:10.4f} {line}" for ts_ns, line in self.observer.lines][-lines:]

    async def check_quiet(self) -> None:
        """Books and venue agree to the last digit."""
        await self.until(lambda: not self.why_not_whole() and not lacks_trades(self.symbol))
        now_ns, manager = self.venue.now_ns(), self.manager
        self.observer.check_known(manager.open_orders, now_ns)
        self.observer.check_books(readings.totals(manager), manager.repair.foreign_lots, now_ns)
        self.expect_order()

    def check_end(self, report: RunReport) -> None:
        """After a stop: nothing of ours is open, and money in is money out."""
        assert report.reading is not None
        assert (report.exit_code, report.unconfirmed) == (0, ())
        assert not self.observer.open
        self.observer.check_equity(
            Decimal(str(summary(report)["equity_residual"])),
            report.reading.symbols[0].start.qty_lots,
            report.reading.symbols[0].totals,
            self.venue.now_ns(),
        )
        self.expect_order()

    def holdings(self) -> dict[int, int]:
        """Lots per slot, by the daemon."""
        manager = self.manager
        return {
            index: slot.sign * slot.held_lots
            for index, slot in sorted(manager.slots.items())
            if slot.held_lots
        }

    def traded(self) -> dict[int, int]:
        """Lots per slot, by the ids of the venue's trades."""
        found: dict[int, int] = {}
        for trade in self.observer.trades:
            name = trade.fill.client_order_id
            assert name is not None
            found[name.slot] = found.get(name.slot, 0) + trade.fill.side * trade.fill.qty_lots
        return {index: lots for index, lots in sorted(found.items()) if lots}

    def trade_ids(self) -> list[str]:
        return [trade.fill.trade_id for trade in self.observer.trades]

    def ledger_ids(self) -> list[str]:
        return [trade.trade_id for trade in read_ledger(self.settings.ledger).trades]


@asynccontextmanager
async def staged(
    settings: Settings,
    *,
    batch: int = 5,
    kind: type[Stage] = Stage,
    multiplier: Decimal = Decimal(1),
) -> AsyncIterator[Stage]:
    """A venue that is open; whatever still runs at the end of the block is killed."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    stage = kind(settings, loop, batch, multiplier)
    await stage.venue.open()
    beating = asyncio.create_task(stage.beat())
    try:
        yield stage
        stage.expect_order()
    finally:
        if stage.process is not None:
            await stage.kill()
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await stage.venue.close()


def copy_disk(source: Path, target: Path) -> None:
    """What the disk holds now, as another disk."""
    if source.exists():
        shutil.copytree(source, target)
    else:
        target.mkdir(parents=True)


__all__ = ["START_NS", "Process", "Stage", "copy_disk", "stage_settings", "staged"]
