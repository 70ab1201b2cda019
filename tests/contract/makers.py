"""Who takes part in conformance. A new venue adds one line to `MAKERS` and must pass every card, or skip by capability."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from marketmaker.adapters import make_adapter
from marketmaker.adapters.backoff import Backoff
from marketmaker.adapters.protocol import Adapter
from marketmaker.adapters.websocket import Timing
from marketmaker.loopback import make_loopback
from marketmaker.loopback.backpack.venue import PUBLIC_KEY, SEED
from marketmaker.model.settings import Credentials, PaperSettings
from marketmaker.runtime.clock import RealClock
from tests.contract.bench import MID, QUIET_S, Bench, sessions
from tests.support.paper import (
    HeardCandles,
    HeardOrders,
    HeardPrices,
    QuietFeed,
    listening,
    loop_now_ns,
    make_paper,
    make_quote,
    make_trade,
)

SYMBOL = "ETHUSDT"
BIG = 10**6
Card = Callable[[Bench], Awaitable[None]]
CREDENTIALS = Credentials(
    api_key="loopback-key", api_secret="loopback-secret", passphrase="loopback-passphrase"
)


@dataclass(kw_only=True)
class Maker:
    """`exchange`: as in a configuration. `loopback`: the venue that is rehearsed, "" for the embedded exchange.

    `pages`: module constants that say how much one page holds, made small so that a card meets several pages.
    `settings`: of the loopback venue, beside its own. `credentials`: those it takes. `endpoints`: the only addresses the
    adapter takes; () for all. `title`: of another kind of account there, which publishes nothing. `quiet_s`: after how long without news nothing more is under way. `long`: not in
    `make test`. `lacks`: cards it cannot play, each with the reason.
    """

    exchange: str
    title: str = ""
    loopback: str = ""
    pages: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    endpoints: tuple[str, ...] = ()
    quiet_s: float = QUIET_S
    least_timeout_s: float = 0.0
    long: bool = False
    credentials: Credentials = CREDENTIALS
    lacks: dict[str, str] = field(default_factory=dict)


def venue(name: str, **more: Any) -> Maker:
    return Maker(exchange=name, loopback=name, **more)


OWN_READER = "ccxt reads and limits its own sockets and requests"
CCXT_LACKS = {
    "an unreadable private frame is kept and asks for a snapshot": OWN_READER,
    "an unreadable public frame is kept and changes nothing": OWN_READER,
    "a subscription that is acknowledged and forgotten is not believed": OWN_READER,
    "a rate limit with a time keeps every request at home": OWN_READER,
    "a server that is not there was never sent anything": "ccxt does not say what was sent",
    "a clock that went wrong is measured again": "ccxt signs with its own clock",
    "funding is told once with its sign": "its history is read every five minutes",
    "a server that does not answer is given up in time": "ccxt asks several questions for one, and bears one that fails",
    "the testnet is another place than the real one": "of binanceusdm it is ccxt's demo trading",
}
A_BAN = "a ban is told as one with its end"
TOO_BUSY = "a venue that is too busy has not done it"

BUSY_BITGET = "what it says when it is busy leaves open whether the order was taken"

MAKERS: dict[str, Maker] = {
    maker.exchange: maker
    for maker in (
        Maker(exchange="paper"),
        venue(
            "binance",
            pages=(
                "marketmaker.adapters.binance.adapter.TRADES_PER_PAGE",
                "marketmaker.adapters.binance.adapter.ORDERS_PER_PAGE",
            ),
        ),
        Maker(
            exchange="ccxt:binanceusdm",
            loopback="binance",
            pages=("marketmaker.adapters.ccxt.adapter.PAGE",),
            endpoints=("rest_url", "ws_public_url"),
            quiet_s=0.25,
            least_timeout_s=2.0,
            long=True,
            lacks=CCXT_LACKS,
        ),
        venue(
            "okx",
            pages=("marketmaker.adapters.okx.adapter.ROWS_PER_PAGE",),
            settings={"orders_per_2s": 10_000},
            lacks={A_BAN: "it limits, and never bans"},
        ),
        venue(
            "bybit",
            pages=(
                "marketmaker.adapters.bybit.adapter.FILLS_PER_PAGE",
                "marketmaker.adapters.bybit.adapter.ORDERS_PER_PAGE",
            ),
            settings={"orders_per_s": 10_000},
            lacks={
                A_BAN: "it does not say how long; ten minutes are waited",
                TOO_BUSY: "it has no answer of that kind: what it did not do was over a limit",
            },
        ),
        venue(
            "bitget",
            pages=("marketmaker.adapters.bitget.adapter.ROWS_PER_PAGE",),
            settings={"orders_per_s": 10_000},
            lacks={A_BAN: "it limits, and never bans", TOO_BUSY: BUSY_BITGET},
        ),
        venue(
            "gate",
            pages=("marketmaker.adapters.gate.adapter.ROWS_PER_PAGE",),
            settings={"orders_per_s": 10_000, "cancels_per_s": 10_000},
            lacks={
                A_BAN: "it limits, and never bans",
                TOO_BUSY: "its TOO_BUSY leaves open whether the order was taken",
            },
        ),
        venue(
            "backpack",
            pages=("marketmaker.adapters.backpack.adapter.ROWS_PER_PAGE",),
            settings={"requests_per_minute": 1_000_000},
            credentials=Credentials(api_key=PUBLIC_KEY, api_secret=SEED),
            lacks={
                A_BAN: "it limits, and never bans",
                "a wrong key is refused": "a pair that does not match is refused before it is used",
                "a wrong secret is refused and never shown": "a pair that does not match is refused before it is used",
                "an account in hedge mode is told and its orders refused": "it knows one-way positions only",
                "funding is told once with its sign": "it tells of no payment; the history is read every ten minutes",
            },
        ),
    )
}

VARIANTS: dict[str, Maker] = {
    maker.title: maker
    for maker in (
        replace(
            MAKERS["bitget"],
            title="bitget, a classic account",
            settings={"orders_per_s": 10_000, "account": "classic"},
            long=True,
        ),
    )
}
"""Other kinds of accounts at the same venues: the same cards, and no matrix of their own. Not in `make test`:
`pytest tests/contract/test_conformance.py -m long -k classic`."""

ROOMY = PaperSettings(
    fill="queue",
    balance=Decimal(100_000),
    leverage=Decimal(20),
    orders_per_s=10_000.0,
    order_burst=10_000,
)


@asynccontextmanager
async def open_bench(
    maker: Maker, paper: PaperSettings = ROOMY, **parts: Any
) -> AsyncIterator[Bench]:
    """`parts`: of the adapter (`dead_man_s`, `timeout_s`)."""
    if maker.loopback:
        async with open_rehearsed(maker, paper, **parts) as bench:
            yield bench
    else:
        async with open_embedded(paper) as bench:
            yield bench


@asynccontextmanager
async def open_embedded(paper: PaperSettings) -> AsyncIterator[Bench]:
    exchange = make_paper(SYMBOL, "BTCUSDT", settings=paper)
    await exchange.connect()

    def trade(price_ticks: int, qty_lots: int) -> None:
        exchange.push(SYMBOL, make_trade(price_ticks, qty_lots, loop_now_ns()))

    def quote(bid: int, bid_lots: int, ask: int, ask_lots: int) -> None:
        exchange.push(SYMBOL, make_quote(bid, ask, bid_lots, ask_lots, loop_now_ns()))

    async with heard(exchange) as bench:
        bench.trade, bench.quote = trade, quote
        bench.drop, bench.restore = exchange.drop_order_stream, exchange.restore_order_stream
        bench.virtual, bench.exchange = True, "paper"
        quote(MID - 1, BIG, MID + 1, BIG)
        trade(MID, 1)
        await bench.reset()
        yield bench
    await exchange.close()


@asynccontextmanager
async def open_rehearsed(maker: Maker, paper: PaperSettings, **parts: Any) -> AsyncIterator[Bench]:
    rehearsed = make_loopback(
        maker.loopback, feed=QuietFeed(SYMBOL, "BTCUSDT"), paper=paper, **maker.settings
    )
    stage = rehearsed.stage
    await rehearsed.start()

    def trade(price_ticks: int, qty_lots: int) -> None:
        stage.push(SYMBOL, make_trade(price_ticks, qty_lots, time.time_ns()))

    def quote(bid: int, bid_lots: int, ask: int, ask_lots: int) -> None:
        stage.push(SYMBOL, make_quote(bid, ask, bid_lots, ask_lots, time.time_ns()))

    def make(**changes: Any) -> Adapter:
        endpoints = {**rehearsed.endpoints, **changes.pop("endpoints", {})}
        if maker.endpoints:
            endpoints = {name: endpoints[name] for name in maker.endpoints}
        wanted = {
            "credentials": maker.credentials,
            "bot_tag": "mm",
            "clock": RealClock(),
            "rng": random.Random(1),
            "endpoints": endpoints,
            "timing": Timing(settled_s=0.0),
            "timeout_s": 5.0,
            **parts,
            **changes,
        }
        wanted["timeout_s"] = max(wanted["timeout_s"], maker.least_timeout_s)
        return impatient(make_adapter(maker.exchange, **wanted))

    @asynccontextmanager
    async def other(**changes: Any) -> AsyncIterator[Adapter]:
        made = make(**changes)
        try:
            yield made
        finally:
            await made.close()

    adapter = make()
    try:
        quote(MID - 1, BIG, MID + 1, BIG)
        trade(MID, 1)
        stage.push("BTCUSDT", make_quote(MID - 1, MID + 1, BIG, BIG, time.time_ns()))
        await adapter.connect()
        async with heard(adapter) as bench:
            bench.trade, bench.quote = trade, quote
            bench.drop, bench.restore = stage.disconnect_all, lambda: None
            bench.venue, bench.open_other, bench.exchange = rehearsed, other, maker.exchange
            bench.quiet_s = maker.quiet_s
            await bench.until(lambda: bench.orders.ups and bench.prices.ups and bench.candles.ups)
            await bench.reset()
            yield bench
    finally:
        await adapter.close()
        await rehearsed.close()


@asynccontextmanager
async def heard(adapter: Adapter) -> AsyncIterator[Bench]:
    """A bench whose adapter's streams are all asked for."""
    instrument = await adapter.fetch_instrument(SYMBOL)
    orders, prices, candles = HeardOrders(), HeardPrices(), HeardCandles()

    def nothing(*_: int) -> None: ...

    async with listening(
        adapter.stream_orders(instrument, orders),
        adapter.stream_prices(instrument, prices),
        adapter.stream_candles([SYMBOL], 60, candles),
    ):
        yield Bench(
            adapter=adapter,
            instrument=instrument,
            orders=orders,
            prices=prices,
            candles=candles,
            trade=nothing,
            quote=nothing,
            drop=nothing,
            restore=nothing,
        )


def impatient(adapter: Adapter) -> Adapter:
    """It tries again at once, so that a card need not wait."""
    for session in sessions(adapter):
        session._backoff = Backoff(random.Random(1), first_s=0.01, most_s=0.05)
    return adapter
