"""`marketmaker check --online`: what would keep this configuration from trading at its venue, and how far away that is.

It connects with the configured key, asks what the daemon asks before its first order, listens for a price, and sends
no order. The rules are the daemon's own: `config.check_symbol` and `core.safety`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median
from typing import Any, TypeVar

from marketmaker.adapters.protocol import Adapter
from marketmaker.cli.check import words
from marketmaker.cli.table import aligned
from marketmaker.config import Configuration, check_symbol
from marketmaker.core.safety import account_problems
from marketmaker.errors import ConfigError, VenueError
from marketmaker.launch import make_real_loop, venue_adapter
from marketmaker.model.account import AccountState
from marketmaker.model.instrument import Instrument, Ticks
from marketmaker.model.settings import SymbolSettings
from marketmaker.runtime.clock import RealClock

ROUND_TRIPS = 5
PRICE_WAIT_S = 20.0
T = TypeVar("T")


@dataclass(slots=True)
class Found:
    """Times in seconds. `questions`: round trips by what was asked."""

    exchange: str
    problems: list[str] = field(default_factory=list)
    questions: dict[str, list[float]] = field(default_factory=dict)
    account: AccountState | None = None
    symbols: list[dict[str, Any]] = field(default_factory=list)
    open_orders: int = 0

    async def timed(self, what: str, asked: Awaitable[T]) -> T:
        began_s = time.perf_counter()
        answer = await asked
        self.questions.setdefault(what, []).append(time.perf_counter() - began_s)
        return answer


class FirstPrice:
    """How long until the stream was up, and until it brought a price."""

    def __init__(self) -> None:
        self.began_s = time.perf_counter()
        self.up_s: float | None = None
        self.price_s: float | None = None
        self.price_ticks: Ticks | None = None
        self.age_s: float | None = None
        self.came = asyncio.Event()

    def on_price(self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int) -> None:
        if self.price_ticks is None:
            self.price_ticks = price_ticks
            self.price_s = time.perf_counter() - self.began_s
            self.age_s = (ts_local_ns - ts_venue_ns) / 1e9
            self.came.set()

    def on_confirming_price(
        self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int
    ) -> None: ...

    def stream_up(self) -> None:
        if self.up_s is None:
            self.up_s = time.perf_counter() - self.began_s

    def stream_down(self, reason: str) -> None: ...


def look(configuration: Configuration) -> Found:
    """Raises ConfigError for mode: paper and for what the adapter lacks; VenueError when the venue cannot be asked."""
    if configuration.settings.mode != "live":
        raise ConfigError("--online is for mode: live; the embedded exchange is always there")
    with asyncio.Runner(loop_factory=make_real_loop) as runner:
        return runner.run(look_at(configuration))


async def look_at(configuration: Configuration) -> Found:
    settings = configuration.settings
    found = Found(settings.exchange)
    adapter = venue_adapter(settings, RealClock())
    try:
        await found.timed("connect", adapter.connect())
        for symbol in settings.symbols:
            await look_at_symbol(configuration, adapter, symbol, found)
    finally:
        await adapter.close()
    return found


async def look_at_symbol(
    configuration: Configuration, adapter: Adapter, symbol: SymbolSettings, found: Found
) -> None:
    instrument = await found.timed("instrument", adapter.fetch_instrument(symbol.name))
    account = await found.timed("account", adapter.fetch_account(instrument))
    for _ in range(ROUND_TRIPS):
        position = await found.timed("position", adapter.fetch_position(instrument))
    orders = await found.timed("open orders", adapter.fetch_open_orders(instrument))
    first = await first_price(adapter, instrument)
    price = None if first.price_ticks is None else instrument.price(first.price_ticks)
    if price is None:
        found.problems.append(
            f"{symbol.name}: no price came within {PRICE_WAIT_S:g} s; is it traded, and are the endpoints right?"
        )
    grid = symbol.grid
    found.problems += check_symbol(symbol, instrument, grid.anchor or price)
    found.problems += account_problems(
        account, grid, configuration.settings.safety, name=symbol.name
    )
    found.account = account
    found.open_orders += len(orders)
    found.symbols.append(
        {
            "symbol": symbol.name,
            "price": price,
            "tick_size": instrument.tick_size,
            "lot_size": instrument.lot_size,
            "min_notional": instrument.min_notional,
            "maker_fee": instrument.maker_fee,
            "taker_fee": instrument.taker_fee,
            "position": instrument.base_qty(position.qty_lots),
            "open_orders": len(orders),
            "stream_up_s": first.up_s,
            "first_price_s": first.price_s,
            "price_age_s": first.age_s,
        }
    )


async def first_price(adapter: Adapter, instrument: Instrument) -> FirstPrice:
    first = FirstPrice()
    stream = asyncio.create_task(adapter.stream_prices(instrument, first))
    came = asyncio.create_task(first.came.wait())
    done, _ = await asyncio.wait(
        {stream, came}, timeout=PRICE_WAIT_S, return_when=asyncio.FIRST_COMPLETED
    )
    for task in (stream, came):
        task.cancel()
    await asyncio.gather(stream, came, return_exceptions=True)
    if stream in done:
        stream.result()
    return first


def told(found: Found) -> dict[str, Any]:
    """As JSON: exact numbers as text, times in milliseconds."""
    account = found.account
    return {
        "ok": not found.problems,
        "exchange": found.exchange,
        "problems": found.problems,
        "clock_offset_ms": None if account is None else account.clock_offset_ns / 1e6,
        "equity": None if account is None else words(account.equity),
        "available": None if account is None else words(account.available),
        "leverage": None if account is None else words(account.leverage),
        "hedge_mode": None if account is None else account.hedge_mode,
        "can_withdraw": None if account is None else account.can_withdraw,
        "round_trip_ms": {
            what: {
                "least": round(min(times) * 1e3, 2),
                "median": round(median(times) * 1e3, 2),
                "most": round(max(times) * 1e3, 2),
            }
            for what, times in found.questions.items()
        },
        "symbols": [
            {
                name: words(value) if isinstance(value, Decimal) else value
                for name, value in row.items()
            }
            for row in found.symbols
        ],
    }


def lines(found: Found) -> Iterator[str]:
    """The same for a person."""
    content = told(found)
    yield from aligned(
        [
            ("equity", f"{content['equity']}, available {content['available']}"),
            ("leverage", str(content["leverage"])),
            ("position mode", "hedge" if content["hedge_mode"] else "one-way"),
            (
                "key may withdraw",
                {True: "yes", False: "no"}.get(content["can_withdraw"], "not told"),
            ),
            ("venue's clock", f"{content['clock_offset_ms']:+.1f} ms from ours"),
        ]
    )
    yield ""
    rows = [("asked for", "round trip ms", "median", "most")]
    rows += [
        (what, f"{times['least']}", f"{times['median']}", f"{times['most']}")
        for what, times in content["round_trip_ms"].items()
    ]
    yield from aligned(rows)
    yield ""
    heads = (
        "symbol",
        "price",
        "position",
        "open_orders",
        "maker_fee",
        "stream_up_s",
        "first_price_s",
    )
    yield from aligned(
        [heads, *(tuple(shown(row[head]) for head in heads) for row in content["symbols"])]
    )
    yield ""
    if found.problems:
        yield from (f"would not start: {problem}" for problem in found.problems)
    else:
        yield "nothing keeps it from trading; no order was sent"


def shown(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "none" if value is None else str(value)


def run_online(configuration: Configuration, write: Callable[[str], None], *, as_json: bool) -> int:
    """0 when nothing keeps it from trading, 2 when the operator has to mend something."""
    try:
        found = look(configuration)
    except VenueError as error:
        raise ConfigError(f"{configuration.settings.exchange}: {error}") from error
    if as_json:
        write(json.dumps(told(found), indent=2))
    else:
        for line in lines(found):
            write(line)
    return 2 if found.problems else 0
