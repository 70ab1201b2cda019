"""The Binance loopback venue for tests: started in a block, with a quoted market, and a plain client to ask it by hand."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp
import yarl

from marketmaker.loopback.binance import BinanceSettings, LoopbackBinance
from marketmaker.model.order import Side
from marketmaker.model.settings import InstrumentSettings, PaperSettings
from marketmaker.sim.feed import MarketFeed
from tests.support.paper import QuietFeed, make_quote, make_trade

BID, ASK = 300_000, 300_010
"""ETHUSDT when the block begins: 3000.00 to 3000.10, 1 ETH on each side. BTCUSDT: the same in its ticks."""
DEADLINE_S = 30.0
UNTIL_S = 30.0
"""Only a failure waits so long; a busy machine may need some of it."""
PAPER = PaperSettings(fill="touch", balance=Decimal(10_000), leverage=Decimal(5))


@asynccontextmanager
async def binance_venue(
    *symbols: str,
    settings: BinanceSettings | None = None,
    paper: PaperSettings = PAPER,
    feed: MarketFeed | None = None,
    instruments: dict[str, InstrumentSettings] | None = None,
) -> AsyncIterator[LoopbackBinance]:
    """A venue with a market at rest, unless a feed is given; `push_quote` and `push_trade` move it."""
    symbols = symbols or ("ETHUSDT", "BTCUSDT")
    venue = LoopbackBinance(
        feed=feed or QuietFeed(*symbols), paper=paper, settings=settings, instruments=instruments
    )
    await venue.start()
    try:
        if feed is None:
            for symbol in symbols:
                push_quote(venue, BID, ASK, symbol=symbol)
        yield venue
    finally:
        await venue.close()


def push_quote(
    venue: LoopbackBinance, bid_ticks: int, ask_ticks: int, *, symbol: str = "ETHUSDT"
) -> None:
    venue.stage.push(symbol, make_quote(bid_ticks, ask_ticks, ts_ns=time.time_ns()))


def push_trade(
    venue: LoopbackBinance,
    price_ticks: int,
    qty_lots: int = 1,
    *,
    aggressor: Side = Side.SELL,
    symbol: str = "ETHUSDT",
) -> None:
    venue.stage.push(symbol, make_trade(price_ticks, qty_lots, time.time_ns(), aggressor))


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: Any

    @property
    def code(self) -> int | None:
        return self.body.get("code") if isinstance(self.body, dict) else None


class RawClient:
    """Requests by hand, signed as the venue's documentation says.

    Sent once: left to itself, aiohttp sends a GET, PUT or DELETE again when the connection breaks before the answer.
    """

    def __init__(self, venue: LoopbackBinance) -> None:
        self.venue = venue
        self.key = venue.settings.api_key
        self.secret = venue.settings.api_secret
        self.http = aiohttp.ClientSession()
        self.http._retry_connection = False

    async def __aenter__(self) -> RawClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def sign(self, text: str) -> str:
        return hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()

    async def send(self, method: str, path: str, query: str = "", *, key: bool = True) -> Reply:
        headers = {"X-MBX-APIKEY": self.key} if key else {}
        url = f"{self.venue.rest_url}{path}" + (f"?{query}" if query else "")
        async with asyncio.timeout(DEADLINE_S):
            async with self.http.request(
                method, yarl.URL(url, encoded=True), headers=headers
            ) as answer:
                body = json.loads(await answer.text())
                return Reply(answer.status, dict(answer.headers), body)

    async def public(self, path: str, **params: object) -> Reply:
        return await self.send("GET", path, urlencode(params), key=False)

    async def signed(self, method: str, path: str, **params: object) -> Reply:
        params.setdefault("timestamp", self.now_ms())
        query = urlencode(params)
        return await self.send(method, path, f"{query}&signature={self.sign(query)}")

    async def place(self, **changes: object) -> Reply:
        return await self.signed("POST", "/fapi/v1/order", **order_params(**changes))

    async def open_orders(self) -> list[str]:
        reply = await self.signed("GET", "/fapi/v1/openOrders", symbol="ETHUSDT")
        return [order["clientOrderId"] for order in reply.body]

    async def listen(self) -> Stream:
        """A private stream by a new listen key."""
        key = (await self.send("POST", "/fapi/v1/listenKey")).body["listenKey"]
        return await self.stream(f"/private/ws?listenKey={key}")

    async def stream(self, path: str) -> Stream:
        before = self.venue.stage.connections
        ws = await self.http.ws_connect(f"{self.venue.ws_url}{path}")
        await until(lambda: self.venue.stage.connections > before)
        return Stream(ws)


@dataclass(slots=True)
class Stream:
    ws: aiohttp.ClientWebSocketResponse
    heard: list[Any] = field(default_factory=list)

    async def next(self, wait_s: float = DEADLINE_S) -> Any:
        """Raises TimeoutError when nothing comes, ConnectionError when it was closed."""
        message = await self.ws.receive(timeout=wait_s)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(message.type.name)
        self.heard.append(json.loads(message.data))
        return self.heard[-1]

    async def find(self, wanted: Callable[[Any], bool]) -> Any:
        """The next message that is wanted; the others on the way are kept in `heard`."""
        async with asyncio.timeout(DEADLINE_S):
            while not wanted(message := await self.next()):
                pass
        return message

    async def order_event(self, happened: str) -> Any:
        """The `o` of the next ORDER_TRADE_UPDATE of this execution type."""
        event = await self.find(lambda each: "o" in each and each["o"]["x"] == happened)
        return event["o"]

    async def ask(self, message: dict[str, Any]) -> Any:
        """The answer to a request over this socket, by its id."""
        await self.ws.send_json(message)
        return await self.find(lambda each: each.get("id") == message["id"])

    async def silent(self, wait_s: float = 0.15) -> bool:
        try:
            await self.next(wait_s)
        except TimeoutError:
            return True
        return False


def order_params(**changes: object) -> dict[str, object]:
    """A post-only buy of 0.010 ETH at 2999.00; a change to None leaves the parameter out."""
    params: dict[str, object] = {
        "symbol": "ETHUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTX",
        "quantity": "0.010",
        "price": "2999.00",
        "newClientOrderId": "g1-b-0001",
        **changes,
    }
    return {name: value for name, value in params.items() if value is not None}


async def until(true: Callable[[], bool]) -> None:
    """Let the loop run until it is so. Raises TimeoutError."""
    async with asyncio.timeout(UNTIL_S):
        while not true():  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0.002)
