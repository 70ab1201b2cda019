"""Two clients of one loopback venue, our adapter and ccxt, and what each has sent there, said in one form.

A request is (method, path, parameters): of REST with what its query, its body and its signing headers say, of a socket
with the words of its message. A difference is a parameter that only one of them sends or sends otherwise, or a path
that only one of them goes.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

from marketmaker.adapters import make_adapter
from marketmaker.loopback import make_loopback
from marketmaker.loopback.sockets import Socket
from marketmaker.loopback.stage import LoopbackVenue
from marketmaker.model.order import OrderRef, Side
from marketmaker.runtime.clock import RealClock
from tests.contract.makers import MAKERS, impatient
from tests.support.independent import SYMBOL, Peer, make_ccxt, push_quote, push_trade
from tests.support.loopback import PAPER, until
from tests.support.paper import HeardCandles, HeardOrders, HeardPrices, QuietFeed, make_order

Params = dict[str, Any]
Request = tuple[str, str, Params]
Words = Callable[[str, Any], list[tuple[str, Params]]]
PRICE, PRICE_TICKS = 2990.0, 299_000
ETH, LOTS = 0.01, 10
SIGNING = (
    "ok-access-",
    "access-",
    "x-bapi-",
    "x-mbx-",
    "x-api-",
    "x-signature",
    "x-timestamp",
    "x-window",
)
ORDER_IN_PATH = re.compile(r"/orders/[^/]+$")
MOMENTS = frozenset({"starttime", "endtime", "from", "to", "begin", "end"})
MS_SINCE = 10**11
"""A time above it is in ms."""
ONE_AFTER_THE_OTHER_S = 10
GATE_SIGNING = ("key", "sign", "timestamp")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same errand of both. `differences`: a parameter, "only ours" or "only theirs" (paths), and why it is not the
    same. `own`: of it only the requests that go to these paths or streams are compared. `instead`: ccxt's path for
    one of ours, a difference called "path"."""

    ours: Callable[[Sides], Awaitable[Any]]
    theirs: Callable[[Sides], Awaitable[Any]]
    differences: dict[str, str] = field(default_factory=dict)
    own: str = ""
    instead: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A venue's pairs. `words`: what a message on a socket of this route says, as (path, parameters).

    `presence`: parameters that both must send or neither, whose values differ by the moment or by taste.
    """

    peer: Peer
    pairs: dict[str, Pair]
    words: Words
    presence: frozenset[str] = frozenset()


@dataclass
class Sides:
    venue: LoopbackVenue
    peer: Peer
    words: Words
    ours: Any = None
    theirs: Any = None
    instrument: Any = None
    arrived: list[Request] = field(default_factory=list)
    at_first: dict[str, list[Request]] = field(default_factory=dict)
    sequence: int = 0

    # -- what both can do ----------------------------------------------------------------------------

    def order(self) -> Any:
        self.sequence += 1
        return make_order(Side.BUY, PRICE_TICKS, LOTS, sequence=self.sequence)

    def name(self) -> str:
        self.sequence += 1
        return self.peer.client_id(f"x{self.sequence}")

    @property
    def amount(self) -> float:
        return round(ETH / self.peer.face, 9)

    async def replay(self, side: str) -> None:
        """What it asked when it came."""
        self.arrived.extend(self.at_first[side])

    async def by_rest(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Ours without its order socket."""
        if not goes_by_socket(self.ours):
            return await work()
        entry = self.ours._entry
        await until(lambda: entry.up)
        link, entry.link = entry.link, None
        try:
            return await work()
        finally:
            entry.link = link

    async def we_place(self, count: int = 1, *, rest: bool) -> tuple[list[Any], list[Any]]:
        orders = [self.order() for _ in range(count)]
        work = lambda: self.ours.place(self.instrument, orders)  # noqa: E731
        outcomes = await (self.by_rest(work) if rest else work())
        assert not any(isinstance(each, Exception) for each in outcomes), outcomes
        return orders, outcomes

    async def we_cancel(self, count: int = 1, *, rest: bool) -> None:
        orders, reports = await self.we_place(count, rest=rest)
        refs = [
            OrderRef(client_order_id=order.client_order_id, venue_order_id=report.venue_order_id)
            for order, report in zip(orders, reports, strict=True)
        ]
        self.arrived.clear()
        work = lambda: self.ours.cancel(self.instrument, refs)  # noqa: E731
        gone = await (self.by_rest(work) if rest else work())
        assert not any(isinstance(each, Exception) for each in gone), gone

    async def we_query(self) -> None:
        [order], _ = await self.we_place(rest=False)
        self.arrived.clear()
        await self.ours.fetch_order(self.instrument, order.client_order_id)

    async def they_place(self, *, rest: bool = True, **params: Any) -> Any:
        given = {"clientOrderId": self.name(), "postOnly": True, **params}
        place = self.theirs.create_order if rest else self.theirs.create_order_ws
        return await place(SYMBOL, "limit", "buy", self.amount, PRICE, given)

    async def they_place_two(self, **params: Any) -> Any:
        row = {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": self.amount}
        rows = [
            {
                **row,
                "price": PRICE,
                "params": {"postOnly": True, "clientOrderId": self.name(), **params},
            }
            for _ in range(2)
        ]
        return await self.theirs.create_orders(rows)

    async def they_place_one(self) -> str:
        """Its number at the venue; what was sent for it is forgotten."""
        order = await self.they_place()
        self.arrived.clear()
        return str(order["id"])

    async def they_cancel(self, *, rest: bool = True) -> None:
        number = await self.they_place_one()
        cancel = self.theirs.cancel_order if rest else self.theirs.cancel_order_ws
        await cancel(number, SYMBOL)

    async def they_cancel_two(self, **params: Any) -> None:
        placed = await self.they_place_two()
        self.arrived.clear()
        await self.theirs.cancel_orders([each["id"] for each in placed], SYMBOL, params)

    async def they_query(self, method: str = "fetch_order") -> None:
        number = await self.they_place_one()
        await getattr(self.theirs, method)(number, SYMBOL)

    async def they_watch(self, *watches: Callable[[], Awaitable[Any]]) -> None:
        """Until each has asked to be told, which is the last thing that it does."""

        def asked() -> int:
            return sum(path.startswith("subscribe ") for _, path, _ in self.arrived)

        for watch in watches:
            before, watching = asked(), asyncio.ensure_future(watch())
            await until(lambda: asked() > before or watching.done())  # noqa: B023
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            assert asked() > before, watching

    # -- noting --------------------------------------------------------------------------------------

    def note_rest(self, request: web.Request, body: str) -> None:
        params: Params = dict(request.query)
        if body:
            try:
                said = json.loads(body)
            except ValueError:
                said = dict(parse_qsl(body, keep_blank_values=True))
            rows = said if isinstance(said, list) else [said]
            params |= flat(rows)
        for name, value in request.headers.items():
            if name.lower().startswith(SIGNING) or name.lower() in GATE_SIGNING:
                params[f"header {name.lower()}"] = value
        path = ORDER_IN_PATH.sub("/orders/{order}", request.path)
        self.arrived.append((request.method, path, params))

    def note_socket(self, socket: Socket, text: str) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            return
        for path, params in self.words(socket.route, message):
            self.arrived.append(("WS", path, params))


def goes_by_socket(adapter: Any) -> bool:
    """Whether its orders do: it has such a socket, and this account may use it."""
    entry = getattr(adapter, "_entry", None)
    return entry is not None and entry._users > 0


def flat(rows: list[Any]) -> Params:
    """Of a list of orders the first, and how many there are."""
    if not rows or not isinstance(rows[0], dict):
        return {"list": len(rows)}
    first = dict(rows[0])
    return first if len(rows) == 1 else {**first, "orders": len(rows)}


@asynccontextmanager
async def both(agreement: Agreement) -> AsyncIterator[Sides]:
    pytest.importorskip("ccxt")
    maker, peer = MAKERS[agreement.peer.id], agreement.peer
    feed = QuietFeed("ETHUSDT")
    settings = {**maker.settings, **peer.venue}
    venue = make_loopback(peer.id, feed=feed, paper=PAPER, **settings)
    sides = Sides(venue, peer, agreement.words)
    listen_in(venue, sides)
    await venue.start()
    push_quote(venue)
    push_trade(venue)
    sides.theirs = make_ccxt(peer, venue)
    sides.ours = impatient(
        make_adapter(
            peer.id,
            credentials=maker.credentials,
            bot_tag="mm",
            clock=RealClock(),
            rng=random.Random(1),
            endpoints=venue.endpoints,
            dead_man_s=0.0,
        )
    )
    streams: list[asyncio.Task[None]] = []
    try:
        await sides.ours.connect()
        sides.instrument = await sides.ours.fetch_instrument("ETHUSDT")
        orders, prices, candles = HeardOrders(), HeardPrices(), HeardCandles()
        ours = sides.ours
        streams = [
            asyncio.ensure_future(ours.stream_orders(sides.instrument, orders)),
            asyncio.ensure_future(ours.stream_prices(sides.instrument, prices)),
            asyncio.ensure_future(ours.stream_candles(["ETHUSDT"], 60, candles)),
        ]
        await until(lambda: bool(orders.ups and prices.ups and candles.ups))
        await until(lambda: not goes_by_socket(ours) or ours._entry.up)
        await quiet(sides)
        sides.at_first["ours"] = list(sides.arrived)
        sides.arrived.clear()
        await sides.theirs.load_markets()
        sides.at_first["theirs"] = list(sides.arrived)
        yield sides
    finally:
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        await sides.ours.close()
        await sides.theirs.close()
        await venue.close()


def listen_in(venue: LoopbackVenue, sides: Sides) -> None:
    stage = venue.stage
    respond, serve = stage.respond, stage.sockets.serve

    async def responded(request: web.Request, answer: Callable[[str], Any]) -> web.StreamResponse:
        def noted(body: str) -> Any:
            sides.note_rest(request, body)
            return answer(body)

        return await respond(request, noted)

    async def served(request: web.Request, **parts: Any) -> web.WebSocketResponse:
        heard = parts.pop("heard")

        def noted(socket: Socket, text: str) -> None:
            sides.note_socket(socket, text)
            heard(socket, text)

        return await serve(request, heard=noted, **parts)

    stage.respond = responded  # type: ignore[method-assign]
    stage.sockets.serve = served  # type: ignore[method-assign]


async def quiet(sides: Sides) -> None:
    """Until what the adapter does by itself is over."""
    heard = -1
    while heard != len(sides.arrived):
        heard = len(sides.arrived)
        await asyncio.sleep(0.3)


# -- comparing ---------------------------------------------------------------------------------------


def by_value(value: Any) -> Any:
    """`0.010` is `0.01`, and true is `true`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return json.dumps(value, sort_keys=True)
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def same_moment(name: str, ours: Any, theirs: Any) -> bool:
    """Whether both say "now", or a time counted from now, in s or in ms: they were asked one after the other."""
    if name.lower() not in MOMENTS or not (isinstance(ours, float) and isinstance(theirs, float)):
        return False
    per_s = 1_000 if ours > MS_SINCE else 1
    return abs(ours - theirs) < ONE_AFTER_THE_OTHER_S * per_s


def plain(params: Params) -> Params:
    params = dict(params)
    if isinstance(params.get("batchOrders"), str):  # Binance, JSON in a query
        params |= flat(json.loads(params.pop("batchOrders")))
    if isinstance(params.get("request"), list):  # Bybit, a batch beside its category
        params |= flat(params.pop("request"))
    for name in ("orderList", "orderIdList"):  # Bitget, the same on a classic account
        if isinstance(params.get(name), list):
            params |= flat(params.pop(name))
    return {name: by_value(value) for name, value in params.items()}


def differences(
    ours: list[Request], theirs: list[Request], presence: frozenset[str]
) -> dict[str, str]:
    found = {}
    paths = [[f"{method} {path}" for method, path, _ in side] for side in (ours, theirs)]
    if only := [each for each in paths[0] if each not in paths[1]]:
        found["only ours"] = ", ".join(dict.fromkeys(only))
    if only := [each for each in paths[1] if each not in paths[0]]:
        found["only theirs"] = ", ".join(dict.fromkeys(only))
    for method, path, params in ours:
        for their_method, their_path, given in theirs:
            if (method, path) != (their_method, their_path):
                continue
            a, b = plain(params), plain(given)
            for name in sorted({*a, *b}):
                both_say = name in a and name in b
                if both_say and (name in presence or name.startswith("header ")):
                    continue
                if a.get(name) != b.get(name) and not same_moment(name, a.get(name), b.get(name)):
                    found[name] = f"ours {a.get(name)!r}, theirs {b.get(name)!r} ({method} {path})"
            break
    return found


def only(requests: list[Request], own: str) -> list[Request]:
    return [each for each in requests if own in f"{each[0]} {each[1]}"]


async def unlike(agreement: Agreement) -> dict[str, str]:
    """Pairs whose differences are not those of their table, with what was found."""
    wrong = {}
    async with both(agreement) as sides:
        for name, pair in agreement.pairs.items():
            sides.arrived.clear()
            await pair.ours(sides)
            ours = only(sides.arrived, pair.own)
            sides.arrived.clear()
            await pair.theirs(sides)
            theirs = only(sides.arrived, pair.own)
            assert ours and theirs, (name, ours, theirs)
            found = {}
            if any(path in pair.instead for _, path, _ in theirs):
                found["path"] = str(pair.instead)
                theirs = [
                    (method, pair.instead.get(path, path), said) for method, path, said in theirs
                ]
            found |= differences(ours, theirs, agreement.presence)
            if set(found) != set(pair.differences):
                wrong[name] = (
                    f"not in the table: { {k: v for k, v in found.items() if k not in pair.differences} },"
                    f" in the table and not found: {sorted(set(pair.differences) - set(found))}"
                )
    return wrong
