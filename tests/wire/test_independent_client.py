"""ccxt and ccxt.pro, unmodified, on the loopback venues: what they were written for is spoken here, not our adapters'
mirror image. Binance's own suite (`test_loopback_binance.py`) asks the same of it, and more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from marketmaker.loopback.stage import LoopbackVenue
from tests.support.independent import PEERS, SYMBOL, Peer, push_quote, push_trade, venue_and_ccxt

pytestmark = pytest.mark.parametrize("peer", PEERS.values(), ids=list(PEERS))
PATIENCE_S = 30.0
CASH = 10_000
TAKER_FEE_PAID = 0.150005
"""Of 0.1 ETH bought at 3000.1."""
ROOMY = {"okx": {"orders_per_2s": 10_000}, "bybit": {"orders_per_s": 10_000}}
"""Orders are repeated until one is told of."""


async def place(peer: Peer, client: Any, price: float, **params: Any) -> Any:
    """A post-only buy of 0.1 ETH."""
    given = {"postOnly": True, **params}
    return await client.create_order(SYMBOL, "limit", "buy", peer.amount, price, given)


def eth(client: Any, contracts: float) -> Any:
    return pytest.approx(float(contracts) * client.market(SYMBOL)["contractSize"])


async def listed(client: Any) -> list[str]:
    return sorted(order["id"] for order in await client.fetch_open_orders(SYMBOL))


async def test_it_loads_markets_places_amends_finds_and_cancels(peer: Peer) -> None:
    async with venue_and_ccxt(peer) as (_, client):
        market = client.market(SYMBOL)
        assert market["linear"] and market["swap"] and market["active"]
        assert (market["contractSize"], market["precision"]["price"]) == (peer.face, 0.01)
        assert market["precision"]["amount"] * market["contractSize"] == pytest.approx(0.001)

        name = peer.client_id("mine")
        order = await place(peer, client, 2999, clientOrderId=name)
        [found] = await client.fetch_open_orders(SYMBOL)
        assert (found["id"], found["clientOrderId"]) == (order["id"], name)
        assert (found["status"], found["side"], found["price"]) == ("open", "buy", 2999)
        assert found["postOnly"] and eth(client, found["amount"]) == 0.1
        more = peer.quirks.get("fetch_order", {})
        if "edit_order" not in peer.lacks:
            edited = await client.edit_order(
                order["id"], SYMBOL, "limit", "buy", 2 * peer.amount, 2998
            )
            assert edited["id"] == order["id"]
            known = await client.fetch_order(order["id"], SYMBOL, more)
            assert (known["price"], known["status"]) == (2998, "open")
            assert eth(client, known["remaining"]) == 0.2
        assert (await client.cancel_order(order["id"], SYMBOL))["id"] == order["id"]
        known = await client.fetch_order(order["id"], SYMBOL, more)
        assert (known["status"], known["filled"]) == ("canceled", 0)
        assert await listed(client) == []


async def test_one_bad_order_of_its_batch_fails_alone(peer: Peer) -> None:
    async with venue_and_ccxt(peer) as (_, client):
        row = {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": peer.amount}
        named = [
            {**row, "price": 2990, "params": {"postOnly": True, "clientOrderId": each}}
            for each in map(peer.client_id, ("one", "two", "one"))
        ]
        placed = await client.create_orders(named)
        good = sorted(each["id"] for each in placed if each["id"])
        assert (len(placed), len(good)) == (3 if peer.tells_refused else 2, 2)
        assert await listed(client) == good
        if "cancel_orders" not in peer.lacks:
            more = peer.quirks.get("cancel_orders", {})
            gone = await client.cancel_orders(good[:1], SYMBOL, more)
            assert [each["id"] for each in gone] == good[:1]
            assert await listed(client) == good[1:]
        if "cancel_all_orders" not in peer.lacks:
            await client.cancel_all_orders(SYMBOL)
            assert await listed(client) == []


async def test_it_reads_balance_position_trades_and_settings(peer: Peer) -> None:
    async with venue_and_ccxt(peer) as (_, client):
        bought = await client.create_order(SYMBOL, "market", "buy", peer.amount, 3000.1)
        balance = await client.fetch_balance()
        assert balance["USDT"]["total"] == pytest.approx(CASH - TAKER_FEE_PAID, abs=0.01)
        assert balance["USDT"]["free"] < balance["USDT"]["total"]
        [position] = await client.fetch_positions([SYMBOL])
        assert (position["side"], eth(client, position["contracts"])) == ("long", 0.1)
        assert float(position["entryPrice"]) == pytest.approx(3000.1)
        [trade] = await client.fetch_my_trades(SYMBOL)
        assert (trade["order"], trade["takerOrMaker"], trade["side"]) == (
            bought["id"],
            "taker",
            "buy",
        )
        assert (trade["price"], eth(client, trade["amount"])) == (3000.1, 0.1)
        assert trade["fee"]["cost"] * peer.fee_sign == pytest.approx(TAKER_FEE_PAID)
        [*_, ended] = await client.fetch_closed_orders(SYMBOL)
        assert (ended["id"], ended["status"]) == (bought["id"], "closed")
        assert (await client.fetch_funding_rate(SYMBOL))["fundingRate"] == 0.0001
        [*_, candle] = await client.fetch_ohlcv(SYMBOL, "1m")
        assert candle[4] == 3000
        assert await client.fetch_funding_history(SYMBOL) == []
        asked: dict[str, Callable[[], Awaitable[Any]]] = {
            "fetch_time": client.fetch_time,
            "set_leverage": lambda: client.set_leverage(7, SYMBOL),
            "fetch_leverage": lambda: client.fetch_leverage(SYMBOL),
            "fetch_trading_fee": lambda: client.fetch_trading_fee(SYMBOL),
            "fetch_position_mode": lambda: client.fetch_position_mode(SYMBOL),
        }
        told = {name: await ask() for name, ask in asked.items() if name not in peer.lacks}
        if "fetch_time" in told:
            assert abs(told["fetch_time"] - client.milliseconds()) < 10_000
        if "fetch_leverage" in told:
            assert told["fetch_leverage"]["longLeverage"] == 7
        if "fetch_trading_fee" in told:
            fee = told["fetch_trading_fee"]
            assert (fee["maker"], fee["taker"]) == (0.0002, 0.0005)
        if "fetch_position_mode" in told:
            assert told["fetch_position_mode"]["hedged"] is False


async def test_it_reads_our_refusals_as_its_own_errors(peer: Peer) -> None:
    async with venue_and_ccxt(peer) as (venue, client):
        import ccxt

        async def refused(kind: str, usual: str, asked: Awaitable[Any]) -> None:
            wanted = getattr(ccxt, peer.errors.get(kind, usual))
            with pytest.raises(wanted):
                await asked

        poor = client.create_order(
            SYMBOL, "limit", "buy", 1000 * peer.amount, 2999, {"postOnly": True}
        )
        await refused("margin", "InsufficientFunds", poor)
        await refused("unknown", "OrderNotFound", client.cancel_order(peer.stranger, SYMBOL))
        name = peer.client_id("twice")
        await place(peer, client, 2999, clientOrderId=name)
        await refused("twice", "InvalidOrder", place(peer, client, 2999, clientOrderId=name))
        if not peer.late_post_only:
            await refused("crossing", "InvalidOrder", place(peer, client, 3001))
        else:
            crossing = await place(peer, client, 3001)
            more = peer.quirks.get("fetch_order", {})
            assert (await client.fetch_order(crossing["id"], SYMBOL, more))["status"] == "canceled"
        venue.stage.mischief.rate_limit = 1
        await refused("limit", "RateLimitExceeded", client.fetch_balance())
        client.secret = "QUIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
        await refused("secret", "AuthenticationError", client.fetch_balance())


async def watched(venue: LoopbackVenue, watch: Any, happens: Callable[[], Any] | None) -> Any:
    """What it tells first. `happens` is let happen until then, for it does not say when it has subscribed."""
    watching = asyncio.ensure_future(watch)
    async with asyncio.timeout(PATIENCE_S):
        while not watching.done():
            if happens is not None and (work := happens()) is not None:
                await work
            await asyncio.wait({watching}, timeout=0.05)
    return watching.result()


async def test_it_watches_trades_prices_candles_orders_and_positions(peer: Peer) -> None:
    async with venue_and_ccxt(peer, **ROOMY.get(peer.id, {})) as (venue, client):
        told = await watched(venue, client.watch_trades(SYMBOL), lambda: push_trade(venue, 7))
        assert (told[-1]["price"], eth(client, told[-1]["amount"])) == (3000, 0.007)
        told = await watched(venue, client.watch_bids_asks([SYMBOL]), lambda: push_quote(venue))
        assert (told[SYMBOL]["bid"], told[SYMBOL]["ask"]) == (3000, 3000.1)
        told = await watched(venue, client.watch_ohlcv(SYMBOL, "1m"), None)
        assert told[-1][4] == 3000

        def buys() -> Awaitable[Any]:
            return client.create_order(SYMBOL, "market", "buy", peer.amount / 10, 3000.1)

        def bids() -> Awaitable[Any]:
            return place(peer, client, 2995)

        told = await watched(venue, client.watch_orders(SYMBOL), bids)
        assert (told[-1]["status"], told[-1]["price"]) == ("open", 2995)
        assert told[-1]["id"] in await listed(client)
        if "watch_my_trades" not in peer.lacks:
            told = await watched(venue, client.watch_my_trades(SYMBOL), buys)
            assert (told[-1]["price"], eth(client, told[-1]["amount"])) == (3000.1, 0.01)
        told = await watched(venue, client.watch_positions([SYMBOL]), buys)
        assert told[-1]["side"] == "long" and told[-1]["symbol"] == SYMBOL


async def test_it_places_and_cancels_over_the_order_socket(peer: Peer) -> None:
    if "create_order_ws" in peer.lacks:
        pytest.skip("the venue takes orders by REST only")
    async with venue_and_ccxt(peer) as (venue, client):
        before = len(venue.stage.served)
        order = await client.create_order_ws(
            SYMBOL, "limit", "buy", peer.amount, 2995, {"postOnly": True}
        )
        assert await listed(client) == [order["id"]]
        assert (await client.cancel_order_ws(order["id"], SYMBOL))["id"] == order["id"]
        assert await listed(client) == []
        asked = list(venue.stage.served)[before:]
        assert sum(method == "WS" for method, _ in asked) == 2
        assert not any(method in ("POST", "DELETE") for method, _ in asked)
