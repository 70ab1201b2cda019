"""What `marketmaker run` does: trade until told to stop, on whichever kind of time the feed asks for."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from marketmaker import compiled, crash, logs
from marketmaker.adapters import make_adapter
from marketmaker.adapters.protocol import Adapter
from marketmaker.alerts.desk import AlertDesk
from marketmaker.app import Application
from marketmaker.backtest.data import RecordedOrSynthetic, open_feed
from marketmaker.cli.status_line import StatusLine, StatusRow
from marketmaker.config import Configuration, load_configuration, paper_instruments
from marketmaker.config.http import with_address
from marketmaker.core import readings
from marketmaker.errors import ConfigError
from marketmaker.herald import Herald, sender_of
from marketmaker.ledger.url import secrets_in
from marketmaker.model.settings import Settings, SymbolSettings
from marketmaker.no_dumps import forbid_core_dumps
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock, RealClock
from marketmaker.runtime.garbage import collect_by_the_clock
from marketmaker.runtime.instance_lock import account_of
from marketmaker.runtime.notify import Notifier
from marketmaker.sim.loop import LoopClock, VirtualTimeLoop
from marketmaker.sim.venue import PaperExchange
from marketmaker.summary import RunReport, summary, table, write_summary
from marketmaker.symbol import Symbol

SYNTHETIC_EPOCH_NS = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z: where a synthetic market begins when its time is virtual, so that runs can be repeated."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(args: argparse.Namespace) -> int:
    """Raises what went wrong, after the summary was written; ConfigError for what the operator has to mend."""
    check_writable(args.summary)
    try:
        return run_configured(args)
    except Exception as error:
        if args.summary:
            refused = isinstance(error, ConfigError)
            empty = RunReport(
                reading=None,
                equity_start=Decimal(0),
                exit_reason=logs.masked(f"{'refused' if refused else 'failed'}: {error}"),
                exit_code=2 if refused else 1,
                unconfirmed=(),
                first_order_s=None,
                peak_rss_mb=0.0,
            )
            with suppress(OSError):
                write_summary(args.summary, summary(empty))
        raise


def check_writable(path: str | None) -> None:
    if path and not os.access(Path(path).absolute().parent, os.W_OK):
        raise ConfigError(
            f"--summary {path}: its directory does not exist or may not be written to"
        )


def run_configured(args: argparse.Namespace) -> int:
    configuration = load(args)
    settings = configuration.settings
    secrets = (*configuration.secrets, *secrets_in(settings.ledger))
    logs.register_secrets(secrets)
    forbid_core_dumps(undumpable=bool(secrets))
    crash.mask_uncaught()
    crash.keep_reports_in(settings.state_dir)
    if settings.mode == "live":
        return run_live(args, configuration, settings)
    return run_paper(args, configuration, settings)


def run_paper(args: argparse.Namespace, configuration: Configuration, settings: Settings) -> int:
    text = args.feed or settings.paper.feed
    virtual = args.speed != 1.0
    feed = open_feed(text, wanted_symbols(settings, text), start_of_time_ns(virtual))
    loop, clock = make_loop(feed, args.speed)
    tty = sys.stdout.isatty()
    logs.configure(
        settings.log_level,
        tty=tty,
        now_ns=clock.now_ns,
        to_journal=logs.leads_to_journal(sys.stdout, os.environ),
    )
    herald = Herald(hire(settings, clock, virtual=virtual), settings=settings, clock=clock)

    async def paper() -> RunReport:
        exchange = PaperExchange(
            settings=settings.paper,
            instruments=paper_instruments(settings),
            feed=feed,
            bot_tag=settings.bot_tag,
            now_ns=clock.now_ns,
        )
        app = Application(
            settings=settings,
            symbols=symbols_with_data(settings, feed),
            adapter=exchange,
            clock=clock,
            notifier=Notifier(os.environ),
            explain=configuration.explain,
            began_s=args.began_s,
            ledger_account=paper_account(),
            ledger_in_thread=args.speed == 1.0,
            herald=herald,
            load=lambda: load(args),
            serves_http=args.speed == 1.0,
        )
        return await trade(
            args,
            app,
            [stop_at_end_of_feed(app, exchange)],
            tty=tty,
        )

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return finish(args, runner.run(paper()), tty=tty)


def run_live(args: argparse.Namespace, configuration: Configuration, settings: Settings) -> int:
    """Raises ConfigError for what the venue's adapter lacks, before anything is sent."""
    if args.feed or args.speed != 1.0:
        raise ConfigError("--feed and --speed are for mode: paper; a venue has its own market")
    loop, clock = make_real_loop(), RealClock()
    tty = sys.stdout.isatty()
    logs.configure(
        settings.log_level,
        tty=tty,
        now_ns=clock.now_ns,
        to_journal=logs.leads_to_journal(sys.stdout, os.environ),
    )
    herald = Herald(hire(settings, clock, virtual=False), settings=settings, clock=clock)

    async def live() -> RunReport:
        app = Application(
            settings=settings,
            adapter=venue_adapter(settings, clock),
            clock=clock,
            notifier=Notifier(os.environ),
            explain=configuration.explain,
            began_s=args.began_s,
            seed=clock.now_ns(),
            ledger_account=account_of(settings.credentials),
            ledger_in_thread=True,
            herald=herald,
            load=lambda: load(args),
            serves_http=True,
        )
        return await trade(args, app, [], tty=tty)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return finish(args, runner.run(live()), tty=tty)


def venue_adapter(settings: Settings, clock: Clock, **parts: Any) -> Adapter:
    """The adapter of the configured venue, not connected; `parts`: see `make_adapter`. Raises ConfigError."""
    venue = settings.exchange
    try:
        return make_adapter(
            venue,
            credentials=settings.credentials,
            bot_tag=settings.bot_tag,
            clock=clock,
            rng=random.Random(clock.now_ns()),
            testnet=settings.testnet,
            endpoints=settings.endpoints.given(),
            **parts,
        )
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{venue} needs {error.name}: install it with pip install 'marketmaker[live]'"
        ) from error


def finish(args: argparse.Namespace, report: RunReport, *, tty: bool) -> int:
    content = summary(report)
    if args.summary:
        write_summary(args.summary, content)
    print(table(content), file=sys.stdout if tty else sys.stderr)
    return report.exit_code


def load(args: argparse.Namespace) -> Configuration:
    """The configuration file, with what the command line says instead."""
    configuration = load_configuration(args.config)
    settings = configuration.settings
    if args.journal is not None:
        settings = replace(settings, journal=args.journal)
    if args.http is not None:
        settings = replace(settings, http=with_address(settings.http, args.http))
    return replace(configuration, settings=settings)


def start_of_time_ns(virtual: bool) -> int:
    return SYNTHETIC_EPOCH_NS if virtual else RealClock().now_ns()


def wanted_symbols(settings: Settings, feed: str) -> tuple[str, ...]:
    """What the feed is asked for: a synthetic market also plays the symbols that the risk monitor watches."""
    names = [symbol.name for symbol in settings.symbols]
    if feed.partition(":")[0] == "synthetic" and settings.risk.enabled:
        names += settings.risk.monitor_symbols
    return tuple(dict.fromkeys(names))


def make_loop(
    feed: RecordedOrSynthetic, factor: float | None
) -> tuple[asyncio.AbstractEventLoop, Clock]:
    if factor == 1.0:
        return make_real_loop(), RealClock()
    loop = VirtualTimeLoop(feed.start_ns, factor)
    return loop, LoopClock(loop)


def make_real_loop() -> asyncio.AbstractEventLoop:
    with suppress(ImportError):
        import uvloop  # noqa: PLC0415  (not on every platform, and only where time is real)

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


async def trade(
    args: argparse.Namespace,
    app: Application,
    beside: Sequence[Coroutine[None, None, None]],
    *,
    tty: bool,
) -> RunReport:
    """`beside`: what runs as long as the application does."""
    structlog.get_logger().info(log_events.CORE_CHOSEN, core=compiled.which())
    with signals_stop(app):
        helpers = [asyncio.create_task(each) for each in beside]
        if args.speed == 1.0:
            helpers.append(asyncio.create_task(collect_by_the_clock(app.has_ordered)))
        if args.duration is not None:
            helpers.append(asyncio.create_task(stop_after(app, args.duration)))
        if tty and app.desk.doorkeeper is not None:
            app.desk.doorkeeper.on_open = lambda door: print(f"dashboard: {door}", flush=True)
        if tty and args.speed is not None:
            line = StatusLine(sys.stdout, lambda: [status_row(each) for each in app.symbols])
            helpers.append(asyncio.create_task(line.run()))
        try:
            return await app.run()
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)


def hire(settings: Settings, clock: Clock, *, virtual: bool) -> AlertDesk | None:
    """Who sends alerts and heartbeats, with its process running; None without any to send.

    Raises ConfigError for an address that is not understood. On virtual time nobody is told: what happens then does
    not happen, and an hour of it would be told in a second.
    """
    if not settings.alerts.channels and not settings.alerts.heartbeat.url:
        return None
    if virtual:
        print("marketmaker: alerts are not sent on virtual time", file=sys.stderr)
        return None
    desk = AlertDesk(settings.alerts, sender=sender_of(settings), now_ns=clock.now_ns)
    desk.open()
    return desk


def paper_account() -> str:
    """Every run begins with fresh play money, and trade ids that begin anew."""
    return f"{RealClock().now_ns() // 1_000_000}-{os.getpid()}"


def symbols_with_data(settings: Settings, feed: RecordedOrSynthetic) -> tuple[SymbolSettings, ...]:
    """A recording may hold fewer symbols than the configuration names: the others are not started, and it is said."""
    absent = [symbol.name for symbol in settings.symbols if symbol.name not in feed.symbols]
    if absent:
        print(
            f"marketmaker: the feed has no data of {', '.join(absent)}: not started",
            file=sys.stderr,
        )
    return tuple(symbol for symbol in settings.symbols if symbol.name in feed.symbols)


@contextmanager
def signals_stop(app: Application) -> Iterator[None]:
    """A first signal begins the orderly end; later ones change nothing, to the last line of the process. SIGHUP reloads.

    Signals that were held back until now are heard at once. Afterwards they are ignored if they were: only this thread
    could hold them back again, and one that another thread takes must not kill what still writes its summary. The
    loop's own handlers would leave a moment in which it does.
    """
    loop = asyncio.get_running_loop()

    def in_the_loop(what: Callable[[], None]) -> Callable[[int, object], None]:
        def handler(number: int, frame: object) -> None:
            loop.call_soon_threadsafe(what)

        return handler

    work: dict[signal.Signals, Callable[[], None]] = {
        number: partial(app.stop, number.name) for number in (*SIGNALS, signal.SIGHUP)
    }
    # A terminal that goes away hangs up as well: nobody is left to press Ctrl-C, so that is a stop.
    if sys.stdin is None or not sys.stdin.isatty():
        work[signal.SIGHUP] = app.reload
    before = {number: signal.signal(number, in_the_loop(each)) for number, each in work.items()}
    for number in work:
        signal.siginterrupt(number, False)
    held_back = signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield
    finally:
        ends_here = held_back.issuperset(SIGNALS)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if ends_here else handler)


async def stop_at_end_of_feed(app: Application, exchange: PaperExchange) -> None:
    await exchange.finished.wait()
    if exchange.failure is None:  # otherwise the price stream fails, and says why
        app.stop("end of feed")


async def stop_after(app: Application, seconds: float) -> None:
    await asyncio.sleep(seconds)
    app.stop("duration")


def status_row(symbol: Symbol) -> StatusRow:
    instrument, totals = symbol.instrument, readings.totals(symbol.manager)
    price = symbol.monitor.last_price_ticks
    pnl = instrument.money(totals.realised) - totals.fees + totals.funding
    if price is not None:
        value = instrument.notional(price, totals.inventory_lots)
        pnl += value - instrument.money(totals.inventory_cost)
    why: tuple[Any, ...] = totals.not_quoting
    return StatusRow(
        symbol=symbol.settings.name,
        price=None if price is None else instrument.price(price),
        quoted=totals.open_orders,
        held=totals.held_slots,
        fills=totals.fills,
        pnl=pnl,
        quote=instrument.quote,
        why_paused=symbol.failed or (str(why[0]) if why else ""),
    )
