"""ccxt.pro: watch trades, and create a post-only order a fixed distance below each, limiter off.

    python benchmarks/live_ccxt.py PORT SYMBOL OFFSET_TICKS [blind]

It also watches its orders, as whoever trades must: that is how it hears of a fill. `blind` leaves that out.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import ccxt.pro
import uvloop

PORT, SYMBOL, OFFSET = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) / 100
HTTP, WEB = f"http://127.0.0.1:{PORT}", f"ws://127.0.0.1:{PORT}"


def local(value: Any) -> Any:
    """Every address of ccxt's, on this machine."""
    if isinstance(value, dict):
        return {key: local(item) for key, item in value.items()}
    if isinstance(value, str) and "://" in value:
        scheme, _, rest = value.partition("://")
        _, slash, path = rest.partition("/")
        return (WEB if scheme.startswith("ws") else HTTP) + slash + path
    return value


async def main() -> None:
    exchange = ccxt.pro.binanceusdm(
        {
            "apiKey": "stopwatch-key",
            "secret": "stopwatch-secret",
            "enableRateLimit": False,
            "options": {"fetchMarkets": {"types": ["linear"]}, "fetchCurrencies": False},
        }
    )
    exchange.urls["api"] = local(exchange.urls["api"])
    exchange.has["fetchCurrencies"] = False
    await exchange.load_markets()
    market = next(name for name, row in exchange.markets.items() if row["id"] == SYMBOL)
    number = 0

    async def hear_orders() -> None:
        while True:
            for order in await exchange.watch_orders(market):
                assert order["status"]

    hearing = None if "blind" in sys.argv else asyncio.create_task(hear_orders())
    try:
        while True:
            trades = await exchange.watch_trades(market)
            if hearing is not None and hearing.done():
                hearing.result()
            price = trades[-1]["price"] - OFFSET
            number += 1
            await exchange.create_order(
                market,
                "limit",
                "buy",
                0.01,
                price,
                {"timeInForce": "GTX", "newClientOrderId": f"c{number}"},
            )
    finally:
        await exchange.close()


uvloop.run(main())
