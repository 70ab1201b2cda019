"""The whole daemon inside one test: the real application and the paper exchange on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

from marketmaker.app import Application
from marketmaker.core import readings
from marketmaker.errors import ConfigError
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Quote, Trade
from marketmaker.model.order import ClientOrderId, NewOrder, OrderReport, Side, TimeInForce
from marketmaker.model.settings import (
    ExecutionSettings,
    GridSettings,
    PaperSettings,
    RiskSettings,
    SafetySettings,
    Settings,
    SymbolSettings,
)
from marketmaker.model.status import GridTotals
from marketmaker.runtime.notify import Notifier
from marketmaker.sim.feed import MarketFeed
from marketmaker.sim.loop import LoopClock, VirtualTimeLoop
from marketmaker.sim.synthetic import SyntheticFeed
from marketmaker.sim.venue import PaperExchange
from marketmaker.summary import RunReport, summary
from marketmaker.symbol import Symbol
from tests.support.paper import (
    START_NS,
    QuietFeed,
    loop_now_ns,
    make_instrument,
    make_quote,
    make_trade,
)

TAG = "mm1"
CHEAP = PaperSettings(maker_fee=Decimal("0.00001"), taker_fee=Decimal("0.00005"))


def make_grid(interval: str = "1", amount: str = "60", **changes: Any) -> GridSettings:
    return GridSettings(price_interval=Decimal(interval), order_amount=Decimal(amount), **changes)


def make_settings(*symbols: SymbolSettings, **changes: Any) -> Settings:
    """ETHUSDT alone unless told otherwise; the candle gate is off, the account check lenient."""
    defaults: dict[str, Any] = {
        "mode": "paper",
        "exchange": "paper",
        "bot_tag": TAG,
        "symbols": symbols or (SymbolSettings(name="ETHUSDT", grid=make_grid()),),
        "paper": CHEAP,
        "execution": ExecutionSettings(),
        "risk": RiskSettings(enabled=False),
        "safety": SafetySettings(min_positions=1),
    }
    return Settings(**{**defaults, **changes})


def make_exchange(settings: Settings, feed: MarketFeed | None = None) -> PaperExchange:
    names = tuple(symbol.name for symbol in settings.symbols)
    return PaperExchange(
        settings=settings.paper,
        instruments={name: make_instrument(name, settings=settings.paper) for name in names},
        feed=feed or SyntheticFeed(7, names, START_NS),
        bot_tag=settings.bot_tag,
        now_ns=loop_now_ns,
    )


def make_application(
    settings: Settings, adapter: Any, *, environ: dict[str, str] | None = None
) -> Application:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return Application(
        settings=settings,
        adapter=adapter,
        clock=LoopClock(loop),
        notifier=Notifier(environ or {}),
        explain=lambda problems: ConfigError("\n".join(problems)),
        began_s=0.0,
    )


class Run:
    """One life of an application. `report` and `stopped_after_s` (virtual) are there once it has ended."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.report: RunReport | None = None
        self.stopped_after_s = 0.0
        self.task = asyncio.create_task(app.run())

    async def stop(self, reason: str = "test") -> RunReport:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.app.stop(reason)
        self.report = await self.task
        self.stopped_after_s = loop.time() - began
        return self.report

    def symbol(self, name: str = "ETHUSDT") -> Symbol:
        return next(each for each in self.app.symbols if each.settings.name == name)

    def totals(self, name: str = "ETHUSDT") -> GridTotals:
        return readings.totals(self.symbol(name).manager)

    async def until(
        self, condition: Callable[[], bool], *, within_s: float = 60.0, step_s: float = 0.05
    ) -> None:
        """Let virtual time pass until the condition holds; fails when it does not in time, or when the run ends."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while not condition():
            assert loop.time() < deadline, f"not within {within_s} s"
            if self.task.done():
                raise AssertionError(f"the run ended: {self.task.result()}")
            await asyncio.sleep(step_s)

    async def until_quoting(self, name: str = "ETHUSDT") -> None:
        await self.until_built(name)
        await self.until(lambda: self.totals(name).open_orders > 0)

    async def until_built(self, name: str = "ETHUSDT") -> None:
        await self.until(lambda: name in [each.settings.name for each in self.app.symbols])


@asynccontextmanager
async def running(settings: Settings, adapter: Any) -> AsyncIterator[Run]:
    """Stops it at the end of the block unless the test has."""
    run = Run(make_application(settings, adapter))
    try:
        yield run
    except BaseException:
        run.task.cancel()
        await asyncio.gather(run.task, return_exceptions=True)
        raise
    if run.report is None:
        await run.stop()


def problems_of(report: RunReport | None, *, exit_code: int = 0) -> list[str]:
    """What is wrong with the books at the end of a run."""
    assert report is not None
    if report.reading is None:
        return [f"the venue was not read; unconfirmed: {report.unconfirmed}"]
    content = summary(report)
    found = [
        f"{key} is {content[key]}, not {wanted}"
        for key, wanted in (
            ("open_orders_left", 0),
            ("equity_residual", 0),
            ("exit_code", exit_code),
        )
        if content[key] != wanted
    ]
    found += [
        f"{row.name}: slots hold {row.totals.inventory_lots}, the venue {row.end.qty_lots}"
        for row in report.reading.symbols
        if row.totals.inventory_lots != row.end.qty_lots
    ]
    if exit_code == 0:
        found += report.unconfirmed
    return found


class View:
    """An adapter that is another one, but for what a subclass says."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Market:
    """Prices by hand: quotes one tick to either side and a trade that takes what is on the way."""

    def __init__(self, exchange: PaperExchange, name: str = "ETHUSDT") -> None:
        self.exchange = exchange
        self.name = name
        self.instrument: Instrument = make_instrument(name)

    def go(self, price: str | Decimal, *, lots: int = 1_000_000) -> None:
        ticks = self.instrument.exact_ticks(Decimal(price))
        now_ns = loop_now_ns()
        quote: Quote = make_quote(ticks - 1, ticks + 1, ts_ns=now_ns)
        trade: Trade = make_trade(ticks, lots, ts_ns=now_ns)
        self.exchange.push(self.name, trade)
        self.exchange.push(self.name, quote)

    async def walk(self, prices: Sequence[str | Decimal], *, pause_s: float = 0.2) -> None:
        for price in prices:
            self.go(price)
            await asyncio.sleep(pause_s)


def quiet_exchange(settings: Settings) -> PaperExchange:
    return make_exchange(settings, QuietFeed(*(symbol.name for symbol in settings.symbols)))


@contextmanager
def as_another_bot(exchange: PaperExchange, tag: str) -> Iterator[None]:
    """Orders placed inside carry another tag: to the daemon they are somebody else's."""
    core = exchange._exchange
    own = core._encode
    core._encode = TextForm(tag).encode
    try:
        yield
    finally:
        core._encode = own


def trade_by_hand(
    exchange: PaperExchange, name: str, side: Side, price_ticks: int, lots: int
) -> OrderReport:
    """Somebody else with our account takes from the market."""
    order = NewOrder(
        client_order_id=ClientOrderId(0, side, loop_now_ns() % 1_000_000),
        side=side,
        price_ticks=Ticks(price_ticks),
        qty_lots=Lots(lots),
        post_only=False,
        reduce_only=False,
        time_in_force=TimeInForce.IOC,
    )
    with as_another_bot(exchange, "zzz"):
        return exchange._exchange.place(name, order, loop_now_ns())


def with_grid(settings: Settings, **changes: Any) -> Settings:
    """The same settings with every symbol's grid changed."""
    symbols = tuple(
        replace(symbol, grid=replace(symbol.grid, **changes)) for symbol in settings.symbols
    )
    return replace(settings, symbols=symbols)
