"""For every call that both make, our request is ccxt's in meaning: where it goes, what it says, how it is signed.

Both talk to the same loopback venue, which checks the signature of each, and what arrived there is compared. What is
not the same stands in a table with its reason, and a difference that is not in the table fails, as does a row that is
not needed any more. A new venue adds a `Pair`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from marketmaker.adapters import make_adapter
from marketmaker.adapters.ccxt.values import redirected
from marketmaker.loopback.binance import LoopbackBinance
from marketmaker.model.order import OrderRef, Side
from marketmaker.runtime.clock import RealClock
from tests.contract.makers import CREDENTIALS, impatient
from tests.support.loopback import binance_venue, until
from tests.support.paper import make_order

SYMBOL = "ETH/USDT:USDT"
PRESENCE_ONLY = frozenset({"timestamp", "signature", "recvWindow"})
"""Both must send these or neither; their values differ by the moment and by taste."""
Request = tuple[str, str, dict[str, Any]]


@dataclass
class Sides:
    """Both clients of one venue, and what has arrived there."""

    venue: LoopbackBinance
    ours: Any
    theirs: Any
    instrument: Any
    arrived: list[Request] = field(default_factory=list)
    sequence: int = 0

    def order(self, **more: Any) -> Any:
        self.sequence += 1
        return make_order(Side.BUY, 299_000, 10, sequence=self.sequence, **more)

    def wire_id(self, order: Any) -> str:
        return str(self.ours.client_order_ids.encode(order.client_order_id))

    async def theirs_places(self, client_id: str, **params: Any) -> Any:
        given = {"clientOrderId": client_id, "postOnly": True, **params}
        return await self.theirs.create_order(SYMBOL, "limit", "buy", 0.01, 2990, given)


@asynccontextmanager
async def both() -> AsyncIterator[Sides]:
    pytest.importorskip("ccxt")
    import ccxt.pro

    async with binance_venue() as venue:
        sides = Sides(venue, None, None, None)
        answer, answer_ws = venue._answer, venue._answer_ws

        def noted(method: str, path: str, query: str, body: str, key: str) -> Any:
            from marketmaker.loopback.binance.venue import parse_params

            sides.arrived.append((method, path, dict(parse_params(query, body))))
            return answer(method, path, query, body, key)

        def noted_ws(method: str, params: dict[str, str]) -> Any:
            sides.arrived.append(("WS", method, dict(params)))
            return answer_ws(method, params)

        venue._answer, venue._answer_ws = noted, noted_ws  # type: ignore[method-assign]
        sides.theirs = ccxt.pro.binanceusdm(
            {
                "apiKey": CREDENTIALS.api_key,
                "secret": CREDENTIALS.api_secret,
                "enableRateLimit": False,
            }
        )
        sides.theirs.has["fetchCurrencies"] = False
        sides.theirs.urls["api"] = redirected(
            sides.theirs.urls["api"], venue.rest_url, venue.ws_url
        )
        sides.ours = impatient(
            make_adapter(
                "binance",
                credentials=CREDENTIALS,
                bot_tag="mm",
                clock=RealClock(),
                rng=random.Random(1),
                endpoints=venue.endpoints,
                dead_man_s=0.0,
            )
        )
        try:
            await sides.ours.connect()
            await sides.theirs.load_markets()
            sides.instrument = await sides.ours.fetch_instrument("ETHUSDT")
            yield sides
        finally:
            await sides.ours.close()
            await sides.theirs.close()


@dataclass(frozen=True, kw_only=True)
class Pair:
    """`prepare` is done before and not compared. `differences`: a parameter, "path" or "only ours"/"only theirs", and
    why it is not the same."""

    ours: Callable[[Sides], Awaitable[Any]]
    theirs: Callable[[Sides], Awaitable[Any]]
    differences: dict[str, str] = field(default_factory=dict)


async def no_entry(sides: Sides, work: Callable[[], Awaitable[Any]]) -> Any:
    """Ours without its order socket."""
    entry = sides.ours._entry
    await until(lambda: entry.up)
    link, entry.link = entry.link, None
    try:
        return await work()
    finally:
        entry.link = link


async def with_socket(sides: Sides, work: Callable[[], Awaitable[Any]]) -> Any:
    await until(lambda: sides.ours._entry.up)
    return await work()


async def place_rest(s: Sides) -> None:
    order = s.order()
    await no_entry(s, lambda: s.ours.place(s.instrument, [order]))


async def place_socket(s: Sides) -> None:
    order = s.order()
    await with_socket(s, lambda: s.ours.place(s.instrument, [order]))


async def cancel_ours(s: Sides, *, socket: bool) -> None:
    order = s.order()
    await with_socket(s, lambda: s.ours.place(s.instrument, [order]))
    s.arrived.clear()
    ref = OrderRef(client_order_id=order.client_order_id, venue_order_id="")
    via = with_socket if socket else no_entry
    await via(s, lambda: s.ours.cancel(s.instrument, [ref]))


async def cancel_theirs(s: Sides, *, socket: bool) -> None:
    name = f"theirs{random.random()}"[:20]
    await s.theirs_places(name)
    s.arrived.clear()
    method = s.theirs.cancel_order_ws if socket else s.theirs.cancel_order
    await method(None, SYMBOL, {"clientOrderId": name})


async def batch_ours(s: Sides) -> None:
    orders = [s.order(), s.order()]
    await no_entry(s, lambda: s.ours.place(s.instrument, orders))


async def batch_theirs(s: Sides) -> None:
    row = {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 0.01, "price": 2990}
    names = [f"batch{n}-{random.random()}"[:20] for n in (1, 2)]
    await s.theirs.create_orders(
        [{**row, "params": {"postOnly": True, "clientOrderId": name}} for name in names]
    )


async def query_ours(s: Sides) -> None:
    order = s.order()
    await with_socket(s, lambda: s.ours.place(s.instrument, [order]))
    s.arrived.clear()
    await s.ours.fetch_order(s.instrument, order.client_order_id)


async def query_theirs(s: Sides) -> None:
    name = f"asked{random.random()}"[:20]
    await s.theirs_places(name)
    s.arrived.clear()
    await s.theirs.fetch_order(None, SYMBOL, {"clientOrderId": name})


CLIENT_ID = "each names its own order"
ACK = (
    "we take the short answer of a post-only order, which comes sooner; ccxt always asks for RESULT"
)
PAGE = "we name the page size, so as to know whether there is another page"
LIMITS = "ccxt asks not to be told its usage; we want to be told"
PAIRS: dict[str, Pair] = {
    "server time": Pair(
        ours=lambda s: s.ours._server_time(), theirs=lambda s: s.theirs.fetch_time()
    ),
    "balance": Pair(
        ours=lambda s: s.ours.fetch_account(s.instrument),
        theirs=lambda s: s.theirs.fetch_balance({"useV2": False}),
        differences={
            "only ours": "balance alone is a tenth of the account's answer; the safety check wants mode, leverage, key",
            "only theirs": "the account's answer holds every position of the venue",
        },
    ),
    "position": Pair(
        ours=lambda s: s.ours.fetch_position(s.instrument),
        theirs=lambda s: s.theirs.fetch_positions([SYMBOL], {"method": "positionRisk"}),
        differences={
            "symbol": "we ask for one symbol, ccxt for all and picks",
            "only ours": "a flat symbol is left out of the answer: its mark price is asked for",
            "only theirs": "ccxt computes margins from the brackets; we do not need them",
        },
    ),
    "open orders": Pair(
        ours=lambda s: s.ours.fetch_open_orders(s.instrument),
        theirs=lambda s: s.theirs.fetch_open_orders(SYMBOL),
    ),
    "one order": Pair(
        ours=query_ours, theirs=query_theirs, differences={"origClientOrderId": CLIENT_ID}
    ),
    "own trades": Pair(
        ours=lambda s: s.ours._trades(s.instrument, {"startTime": 1, "endTime": 604_800_001}),
        theirs=lambda s: s.theirs.fetch_my_trades(SYMBOL, 1),
        differences={"limit": PAGE},
    ),
    "candles": Pair(
        ours=lambda s: s.ours.fetch_candles("ETHUSDT", 60, 5),
        theirs=lambda s: s.theirs.fetch_ohlcv(SYMBOL, "1m", None, 5),
    ),
    "funding rate": Pair(
        ours=lambda s: s.ours.fetch_funding_rate(s.instrument),
        theirs=lambda s: s.theirs.fetch_funding_rate(SYMBOL),
    ),
    "place by REST": Pair(
        ours=place_rest,
        theirs=lambda s: s.theirs_places("theirs-rest"),
        differences={"newClientOrderId": CLIENT_ID, "newOrderRespType": ACK},
    ),
    "place by socket": Pair(
        ours=place_socket,
        theirs=lambda s: s.theirs.create_order_ws(
            SYMBOL, "limit", "buy", 0.01, 2990, {"clientOrderId": "theirs-ws", "postOnly": True}
        ),
        differences={
            "newClientOrderId": CLIENT_ID,
            "newOrderRespType": ACK,
            "returnRateLimits": LIMITS,
            "clientOrderId": "ccxt leaves its own words in the request; the venue does not read them",
            "postOnly": "as above: timeInForce GTX says it",
        },
    ),
    "place a batch": Pair(
        ours=batch_ours,
        theirs=batch_theirs,
        differences={"newClientOrderId": CLIENT_ID, "newOrderRespType": ACK},
    ),
    "cancel by REST": Pair(
        ours=lambda s: cancel_ours(s, socket=False),
        theirs=lambda s: cancel_theirs(s, socket=False),
        differences={"origClientOrderId": CLIENT_ID},
    ),
    "cancel by socket": Pair(
        ours=lambda s: cancel_ours(s, socket=True),
        theirs=lambda s: cancel_theirs(s, socket=True),
        differences={"origClientOrderId": CLIENT_ID, "returnRateLimits": LIMITS},
    ),
    "cancel all": Pair(
        ours=lambda s: s.ours.cancel_all(s.instrument),
        theirs=lambda s: s.theirs.cancel_all_orders(SYMBOL),
    ),
    "listen key": Pair(
        ours=lambda s: s.ours._private_url(),
        theirs=lambda s: s.theirs.fapiPrivatePostListenKey(),
    ),
    "income": Pair(
        ours=lambda s: s.ours._read_income(1_000_000),
        theirs=lambda s: s.theirs.fetch_funding_history(None, 1, 1000),
    ),
}


def plain(params: dict[str, Any]) -> dict[str, Any]:
    """Numbers by value, lists of orders as the first of them: `0.010` is `0.01`."""
    params = dict(params)
    if "batchOrders" in params:
        rows = json.loads(params.pop("batchOrders"))
        params |= {name: str(value) for name, value in rows[0].items()}
        params["orders"] = len(rows)
    return {name: by_value(value) for name, value in params.items()}


def by_value(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def differences(ours: list[Request], theirs: list[Request]) -> dict[str, str]:
    found = {}
    paths = [[f"{method} {path}" for method, path, _ in side] for side in (ours, theirs)]
    if only := [each for each in paths[0] if each not in paths[1]]:
        found["only ours"] = ", ".join(only)
    if only := [each for each in paths[1] if each not in paths[0]]:
        found["only theirs"] = ", ".join(only)
    for method, path, params in ours:
        for their_method, their_path, given in theirs:
            if (method, path) == (their_method, their_path):
                a, b = plain(params), plain(given)
                for name in {*a, *b}:
                    if name in PRESENCE_ONLY and (name in a) == (name in b):
                        continue
                    if a.get(name) != b.get(name):
                        found[name] = f"ours {a.get(name)!r}, theirs {b.get(name)!r}"
                break
    return found


@pytest.mark.parametrize("name", PAIRS)
async def test_our_request_is_theirs_but_for_what_the_table_says(name: str) -> None:
    pair = PAIRS[name]
    async with both() as sides:
        sides.arrived.clear()
        await pair.ours(sides)
        ours = list(sides.arrived)
        sides.arrived.clear()
        await pair.theirs(sides)
        theirs = list(sides.arrived)
        await asyncio.sleep(0)
    assert ours and theirs, (ours, theirs)
    found = differences(ours, theirs)
    assert set(found) == set(pair.differences), found
