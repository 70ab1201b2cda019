"""The wiring: which clock, which adapter; what starts in which order, and what stops in which order.

Start    journal and state; adapter; instruments and the check of the account; price stream; first price and the check
         that needs it; order stream; snapshot; only then does the core place anything.
Stop     `shutdown`: our orders are cancelled and the venue is asked until it reports none of ours open; last readings;
         streams; journal.

What becomes of the others when one of all these tasks fails is in `services`.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

import structlog

from marketmaker import __version__
from marketmaker.adapters.protocol import Adapter, ReadsAhead
from marketmaker.config import Configuration, check_symbol
from marketmaker.core.position_manager import PositionManager
from marketmaker.core.recollection import recollect
from marketmaker.core.repair import OVERLAP_NS
from marketmaker.core.safety import account_problems
from marketmaker.desk import Desk
from marketmaker.disk_gate import DiskGate
from marketmaker.errors import ConfigError, MarketMakerError, VenueError
from marketmaker.herald import Herald
from marketmaker.keeper import Keeper
from marketmaker.model.account import AccountState
from marketmaker.model.action import Action, RaiseAlert, Severity
from marketmaker.model.client_order_id import first_sequence
from marketmaker.model.event import Event
from marketmaker.model.instrument import Instrument
from marketmaker.model.settings import Settings, SymbolSettings
from marketmaker.model.status import GridMemory
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.engine import Engine, OnDecided
from marketmaker.runtime.event_queue import EventQueue
from marketmaker.runtime.executor import Executor
from marketmaker.runtime.funding_watch import FundingWatch
from marketmaker.runtime.instance_lock import InstanceLock, account_of
from marketmaker.runtime.journal import CoreArguments, Journal, JournaledSymbol, JournalHeader
from marketmaker.runtime.notify import Notifier
from marketmaker.runtime.order_cleaner import OrderCleaner
from marketmaker.runtime.order_feed import OrderFeed
from marketmaker.runtime.patience import ask_until_answered
from marketmaker.runtime.price_monitor import PriceMonitor
from marketmaker.runtime.rate_limit import account_bucket
from marketmaker.runtime.reconciler import Reconciler
from marketmaker.runtime.remains import read_remains
from marketmaker.runtime.risk_monitor import RiskMonitor
from marketmaker.runtime.send_line import Channel
from marketmaker.runtime.state_store import StateStore
from marketmaker.runtime.turn import Turn
from marketmaker.services import Services
from marketmaker.shutdown import CORE_SHARE, Shutdown, by
from marketmaker.summary import RunReport
from marketmaker.symbol import (
    Symbol,
    is_settled,
    refuse_other_levels,
)
from marketmaker.watchdog import tell_service_manager

if TYPE_CHECKING:
    from marketmaker.bookkeeper import Bookkeeper
    from marketmaker.reload import Reloader

CLOSE_TIMEOUT_S = 1.0
LEDGER_WAIT_MAX_S = 30.0
T = TypeVar("T")


class Application:
    """One process: one account at one venue, one or more symbols.

    `on_started` is called once everything runs. `stop(reason)` may be called from a signal handler. `store` and
    `journal_write` are given where the disk is not the real one. `ledger_account` tells accounts of one venue apart in
    the ledger, which is written in a thread of its own where time is real (`ledger_in_thread`). `herald` tells the owner.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        adapter: Adapter,
        clock: Clock,
        notifier: Notifier,
        explain: Callable[[list[str]], ConfigError],
        began_s: float,
        symbols: tuple[SymbolSettings, ...] | None = None,
        seed: int = 0,
        store: StateStore | None = None,
        journal_write: Callable[[int, bytes | bytearray], int] = os.write,
        ledger_account: str = "",
        ledger_in_thread: bool = False,
        herald: Herald | None = None,
        load: Callable[[], Configuration] | None = None,
        serves_http: bool = False,
    ) -> None:
        self.settings = settings
        self.adapter = adapter
        self.clock = clock
        self.notifier = notifier
        self.herald = herald or Herald(None, settings=settings, clock=clock)
        self.symbols: list[Symbol] = []
        self.stop_reason = ""
        self.first_order_s: float | None = None
        self._chosen = settings.symbols if symbols is None else symbols
        self._explain = explain
        self._began_s = began_s
        self._stop = asyncio.Event()
        self._start_equity: AccountState | None = None
        self._refused: ConfigError | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="app", venue=adapter.name
        )
        self._disk = DiskGate(symbols=self.symbols, herald=self.herald, clock=clock, log=self._log)
        self.store = store or StateStore(settings.state_dir, bot_tag=settings.bot_tag)
        self.keeper = Keeper(
            self.store,
            self.symbols,
            in_thread=ledger_in_thread,
            on_trouble=lambda reason: self._disk.failed(reason, "state"),
            on_recovered=lambda: self._disk.recovered("state"),
        )
        self.instance = InstanceLock(
            venue=adapter.name,
            account=account_of(settings.credentials),
            bot_tag=settings.bot_tag,
        )
        self.journal = Journal(
            settings.journal,
            on_failure=lambda reason: self._disk.failed(reason, "journal"),
            on_recovered=lambda: self._disk.recovered("journal"),
            write=journal_write,
        )
        self._turn = Turn()
        turn = self._turn if isinstance(adapter, ReadsAhead) else None
        if isinstance(adapter, ReadsAhead):
            adapter.take_turns(self._turn)
        self._ledger_account = ledger_account
        self._ledger_in_thread = ledger_in_thread
        self.bookkeeper: Bookkeeper | None = None
        self.executor = Executor(
            adapter,
            settings.execution,
            clock,
            account_bucket(settings.execution, adapter.capabilities),
            random.Random(seed),
            turn=turn,
        )
        self._shutdown = Shutdown(
            timeout_s=settings.shutdown_timeout_s,
            adapter=adapter,
            executor=self.executor,
            clock=clock,
            symbols=self.symbols,
        )
        self._services = Services(
            symbols=self.symbols,
            executor=self.executor,
            shutdown=self._shutdown,
            herald=self.herald,
            stop=self.stop,
            stopping=self._stop.is_set,
            request_timeout_s=lambda: self.settings.execution.request_timeout_s,
            log=self._log,
        )
        self.desk = Desk(
            settings=settings,
            adapter=adapter,
            clock=clock,
            symbols=self.symbols,
            executor=self.executor,
            load=load,
            serves=serves_http,
            stopping=self._stop.is_set,
            adopted=self._adopt,
        )

    # --- life ---

    def stop(self, reason: str) -> None:
        """Begin the orderly end. The first reason counts."""
        if not self._stop.is_set():
            self.stop_reason = reason
            self._stop.set()

    def reload(self) -> None:
        """Read the configuration again and change what may change; the log says what did. From a signal handler."""
        if self.desk.reloader is None or self._stop.is_set():
            return
        self._services.watch(self._reload(self.desk.reloader), "reload")

    async def _reload(self, reloader: Reloader) -> None:
        is_ready = bool(self.symbols) and all(map(is_settled, self.symbols))
        if is_ready:
            self.notifier.reloading()
        try:
            await reloader.reload(apply=True)
        finally:
            if is_ready:
                self.notifier.ready()

    def _adopt(self, settings: Settings) -> None:
        self.settings = settings

    def has_ordered(self) -> bool:
        return self.first_order_s is not None

    async def run(self) -> RunReport:
        """Until `stop` or a failure. Raises ConfigError when the configuration or the account cannot trade."""
        try:
            started = await self._start_or_stop()
            if started:
                names = [symbol.instrument.name for symbol in self.symbols]
                self._log.info(log_events.APP_STARTED, symbols=names)
                self.herald.tell(log_events.APP_STARTED, Severity.INFO, ", ".join(names))
                await self._stop.wait()
            self.notifier.stopping()
            self._log.info(log_events.APP_STOPPING, reason=self.stop_reason)
            if started:
                await self._shutdown.run(
                    self.stop_reason,
                    None if self.bookkeeper is None else self.bookkeeper.look_at_equity,
                )
        finally:
            await self._close()
        if self._refused is not None:
            raise self._refused
        return self._report()

    async def _start_or_stop(self) -> bool:
        """Whether everything runs. A stop that comes earlier gives the start its share of the time to end well."""
        starting = asyncio.create_task(self._start(), name="start")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                await asyncio.wait(
                    {starting}, timeout=self.settings.shutdown_timeout_s * CORE_SHARE
                )
            if starting.done():
                await starting
                return True
            self._shutdown.not_confirmed(
                "stopped before the venue had answered: orders of an earlier run were not looked for"
            )
            return False
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)

    async def _start(self) -> None:
        self.instance.acquire()
        self.store.acquire()
        self.desk.open()
        for name, service in self.desk.services():
            self._services.attend(service, name)
        await self._ask("connect", self.adapter.connect)
        self.executor.adopt(self.settings.execution)
        self.bookkeeper = await self._hire_when_it_can_write()
        for index, chosen in enumerate(self._chosen):
            self.symbols.append(await self._build_symbol(index, chosen))
        self.journal.open(self._journal_header())
        self._services.share(self.executor.run(), "executor")
        self._services.share(self.journal.run(), "journal")
        self._services.share(self.keeper.run(), "state")
        if self.bookkeeper is not None:
            assert self._start_equity is not None
            for name, work in self.bookkeeper.services(self._start_equity):
                self._services.share(work, name)
        risk = RiskMonitor(
            self.settings.risk,
            self.adapter,
            self.clock,
            [symbol.channel for symbol in self.symbols],
            self._alert,
        )
        self._services.share(risk.run(), "risk monitor")
        self.desk.risk = risk
        assert self._start_equity is not None
        for name, service in self.desk.begin(self._start_equity, alarms=self.bookkeeper is None):
            self._services.attend(service, name)
        for symbol in self.symbols:
            self._services.serve(symbol, symbol.engine.run(), "engine")
            self._services.serve(symbol, symbol.monitor.run(), "price monitor")
            self._services.serve(
                symbol, self.adapter.stream_prices(symbol.instrument, symbol.monitor), "prices"
            )
            self._services.serve(symbol, self._begin_trading(symbol), "start", may_return=True)
        self._services.share(
            tell_service_manager(self.notifier, self.clock, self.symbols), "notify"
        )
        self._services.watch(self.herald.run(self.symbols), "alerts")

    async def _build_symbol(self, index: int, chosen: SymbolSettings) -> Symbol:
        adapter, clock, settings = self.adapter, self.clock, self.settings
        name = chosen.name
        instrument = await self._ask(f"instrument {name}", lambda: adapter.fetch_instrument(name))
        account = await self._ask(f"account {name}", lambda: adapter.fetch_account(instrument))
        problems = check_symbol(chosen, instrument, chosen.grid.anchor)
        if problems:
            raise self._explain(problems)
        refusals = account_problems(account, chosen.grid, settings.safety, name=chosen.name)
        if refusals:
            raise ConfigError("\n".join(refusals))
        if self._start_equity is None:
            self._start_equity = account
        start = await self._ask(f"position {name}", lambda: adapter.fetch_position(instrument))
        memory = self.store.load(instrument)
        if memory is not None:
            refuse_other_levels(chosen, instrument, memory, self.store.path(instrument.name))
        else:
            memory = await self._recollect(chosen, instrument)
        form = adapter.client_order_ids
        manager = PositionManager(
            instrument=instrument,
            settings=chosen.grid,
            sequences=form.sequences,
            max_slot=form.max_slot,
            first_sequence=first_sequence(clock.now_ns() // 1_000_000, form),
            request_lifetime_s=adapter.capabilities.request_lifetime_s,
            order_lifetime_s=adapter.capabilities.order_lifetime_s,
            memory=memory,
        )
        queue = EventQueue(turn=self._turn)
        channel = Channel(name=chosen.name, instrument=instrument, queue=queue)
        since_ns = (clock.now_ns() if memory is None else memory.booked_ns) - OVERLAP_NS
        reconciler = Reconciler(
            channel,
            adapter,
            clock,
            settings.reconcile_interval_s,
            since_ns,
            doubts_empty=True,
        )
        return Symbol(
            settings=chosen,
            instrument=instrument,
            manager=manager,
            channel=channel,
            reconciler=reconciler,
            start=start,
            engine=Engine(
                symbol_index=index,
                channel=channel,
                manager=manager,
                executor=self.executor,
                journal=self.journal,
                clock=clock,
                ask_snapshot=reconciler.request,
                on_order_sent=self._note_first_order,
                on_give_up=lambda reason: self._services.give_up(chosen.name, reason),
                on_decided=self._hearers(instrument),
                latency=self.desk.latency,
            ),
            monitor=PriceMonitor(
                settings.price_monitor,
                queue,
                clock,
                name=chosen.name,
                confirming=adapter.capabilities.confirming_price,
            ),
            order_feed=OrderFeed(channel, clock, reconciler.request),
        )

    async def _ask(self, what: str, question: Callable[[], Awaitable[T]]) -> T:
        """A question that the start needs answered: asked again while the trouble may pass, and said so."""

        def on_trouble(error: VenueError, wait_s: float) -> None:
            self._log.warning(
                log_events.START_RETRIED, what=what, error=str(error), wait_s=round(wait_s, 1)
            )
            self.notifier.status(f"starting: {what}: {error}; asked again in {wait_s:.0f} s")

        return await ask_until_answered(question, on_trouble)

    def _hearers(self, instrument: Instrument) -> OnDecided | None:
        """Who hears what an engine decides; None when nobody does."""
        hearers = [
            who.hears(instrument)
            for who in (
                self.bookkeeper,
                self.herald if self.herald.is_employed else None,
                self.desk.news if self.desk.doorkeeper is not None else None,
            )
            if who is not None
        ]
        return heard_by(hearers)

    async def _recollect(self, chosen: SymbolSettings, instrument: Instrument) -> GridMemory | None:
        """Without a state file: what the venue's orders and trades tell of the process before, None for nothing."""
        now_ns = self.clock.now_ns()
        remains = await self._ask(
            f"orders and trades {chosen.name}",
            lambda: read_remains(self.adapter, instrument, now_ns),
        )
        memory = recollect(remains, chosen.grid, instrument, now_ns=now_ns)
        if memory is not None:
            self._log.warning(
                log_events.STATE_RECOLLECTED,
                instrument=chosen.name,
                anchor=f"{instrument.price(memory.anchor_ticks):f}",
                slots_held=len(memory.holdings),
                position=remains.position.qty_lots,
            )
        return memory

    async def _hire_when_it_can_write(self) -> Bookkeeper | None:
        """A database server may come up after us."""
        wait_s = 1.0
        while True:
            try:
                return self._hire_bookkeeper()
            except ConfigError:
                raise
            except MarketMakerError as error:
                self._log.warning(
                    log_events.START_RETRIED, what="ledger", error=str(error), wait_s=wait_s
                )
                self.notifier.status(f"starting: {error}; tried again in {wait_s:.0f} s")
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LEDGER_WAIT_MAX_S)

    def _hire_bookkeeper(self) -> Bookkeeper | None:
        """None without a ledger: its database library is then not even loaded."""
        if not self.settings.ledger:
            return None
        from marketmaker.bookkeeper import Bookkeeper

        return Bookkeeper(
            settings=self.settings,
            adapter=self.adapter,
            clock=self.clock,
            account=self._ledger_account,
            in_thread=self._ledger_in_thread,
            symbols=self.symbols,
            alert=self._alert,
            on_trouble=lambda reason: self._disk.failed(reason, "ledger"),
            on_recovered=lambda: self._disk.recovered("ledger"),
            serve=lambda symbol, work: self._services.serve(
                symbol, work, "ledger catch-up", may_return=True
            ),
        )

    def _journal_header(self) -> JournalHeader:
        return JournalHeader(
            version=__version__,
            symbols=tuple(
                JournaledSymbol(
                    name=symbol.settings.name,
                    core=CoreArguments(
                        instrument=symbol.instrument,
                        settings=symbol.settings.grid,
                        sequences=symbol.manager.sequences,
                        max_slot=symbol.manager.max_slot,
                        first_sequence=symbol.manager.next_sequence,
                        request_lifetime_s=self.adapter.capabilities.request_lifetime_s,
                        order_lifetime_s=self.adapter.capabilities.order_lifetime_s,
                        memory=symbol.manager.restored,
                    ),
                )
                for symbol in self.symbols
            ),
        )

    async def _begin_trading(self, symbol: Symbol) -> None:
        """From the first price on: the check that needs it, then the private stream and those that look after it."""
        await symbol.monitor.priced.wait()
        assert symbol.monitor.last_price_ticks is not None
        price = symbol.instrument.price(symbol.monitor.last_price_ticks)
        anchor = symbol.settings.grid.anchor or price
        problems = check_symbol(symbol.settings, symbol.instrument, anchor)
        if problems:
            self._refused = self._explain(problems)
            self.stop(f"configuration refused at the price of {price:f}")
            return
        self._services.serve(symbol, symbol.reconciler.run(), "reconciler")
        cleaner = OrderCleaner(symbol.channel.queue, self.clock, self.settings.cleanup_interval_s)
        self._services.serve(symbol, cleaner.run(), "order cleaner")
        ceiling = self.settings.risk.max_funding_rate
        if ceiling is not None:
            watch = FundingWatch(
                symbol.channel,
                self.adapter,
                self.clock,
                side=symbol.settings.grid.side,
                ceiling=ceiling,
                interval_s=self.settings.risk.check_interval_s,
            )
            self._services.serve(symbol, watch.run(), "funding watch")
        self._services.serve(
            symbol, self.adapter.stream_orders(symbol.instrument, symbol.order_feed), "orders"
        )

    def _alert(self, alert: RaiseAlert) -> None:
        self.desk.alert(alert)
        self._log.warning(
            log_events.ALERT_RAISED,
            severity=alert.severity.value,
            topic=alert.topic,
            message=alert.message,
        )
        self.herald.alert(alert)

    def _note_first_order(self) -> None:
        if self.first_order_s is None:
            self.first_order_s = time.perf_counter() - self._began_s

    # --- the end ---

    def _report(self) -> RunReport:
        start = self._start_equity.equity if self._start_equity is not None else Decimal(0)
        return RunReport(
            reading=self._shutdown.reading,
            equity_start=start,
            exit_reason=self.stop_reason,
            exit_code=int(self._services.failed or bool(self._shutdown.unconfirmed)),
            unconfirmed=tuple(self._shutdown.unconfirmed),
            first_order_s=self.first_order_s,
            peak_rss_mb=peak_rss_mb(),
        )

    async def _close(self) -> None:
        await self._services.close()
        await self.executor.close()
        await self.desk.close()
        problem = await self.keeper.close(CLOSE_TIMEOUT_S)
        if problem:
            self._shutdown.not_confirmed(f"the state of the last moments was not kept: {problem}")
        if self.bookkeeper is not None:
            problem = await self.bookkeeper.close(CLOSE_TIMEOUT_S)
            if problem:
                self._shutdown.not_confirmed(problem)
        self.journal.close()
        if self.journal.failed is not None:
            self._shutdown.not_confirmed(f"the journal is not whole: {self.journal.failed}")
        self.store.release()
        self.instance.release()
        self._say_goodbye()
        await by(asyncio.get_running_loop().time() + CLOSE_TIMEOUT_S, self.adapter.close())

    def _say_goodbye(self) -> None:
        ends_well = not (self._services.failed or self._shutdown.unconfirmed)
        self.herald.tell(
            log_events.APP_STOPPED,
            Severity.INFO if ends_well and self.stop_reason else Severity.ERROR,
            "; ".join((self.stop_reason or "could not start", *self._shutdown.unconfirmed)),
        )
        self.herald.close()


def heard_by(hearers: list[OnDecided]) -> OnDecided | None:
    """One that calls them all, in order."""
    if len(hearers) < 2:
        return hearers[0] if hearers else None

    def all_hear(event: Event, actions: Sequence[Action]) -> None:
        for hear in hearers:
            hear(event, actions)

    return all_hear


def peak_rss_mb() -> float:
    """In MiB. Where Linux tells it, this program's own: `getrusage` counts that of the process that started it."""
    with suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
