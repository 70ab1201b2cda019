"""The Binance loopback venue, asked by hand and by ccxt: shapes, refusals, streams and what it can be told to do wrong."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from marketmaker.__main__ import main
from marketmaker.errors import ConfigError
from marketmaker.loopback.binance import BinanceSettings, LoopbackBinance
from marketmaker.loopback.mischief import Failure, Mischief
from marketmaker.model.settings import InstrumentSettings, PaperSettings
from marketmaker.sim.synthetic import SyntheticFeed
from tests.support.loopback import (
    ASK,
    BID,
    DEADLINE_S,
    PAPER,
    RawClient,
    Reply,
    binance_venue,
    order_params,
    push_quote,
    push_trade,
    until,
)
from tests.support.venue_desk import SAMPLES

ROOT = Path(__file__).resolve().parents[2]
CUT = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
POST_ONLY_CODE = -5022
ORDER_COUNT_HEADER = "X-MBX-ORDER-COUNT-10S"


@asynccontextmanager
async def venue_and_client(
    *symbols: str, settings: BinanceSettings | None = None, paper: PaperSettings = PAPER
) -> AsyncIterator[tuple[LoopbackBinance, RawClient]]:
    async with (
        binance_venue(*symbols, settings=settings, paper=paper) as venue,
        RawClient(venue) as client,
    ):
        yield venue, client


# -- shapes ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples() -> dict[str, Any]:
    """Real payloads of the venue by name; skips without them."""
    folder = SAMPLES / "binance"
    if not folder.is_dir():
        pytest.skip(f"no recorded payloads at {SAMPLES} (set MARKETMAKER_SAMPLES)")
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def differences(
    ours: Any, theirs: Any, where: str = "", ignored: frozenset[str] = frozenset()
) -> list[str]:
    """Keys that only one of them has and values of another type; of lists, the first elements are compared."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = [f"{where}.{key}: not ours" for key in theirs.keys() - ours.keys() - ignored]
        found += [f"{where}.{key}: only ours" for key in ours.keys() - theirs.keys() - ignored]
        for key in ours.keys() & theirs.keys():
            found += differences(ours[key], theirs[key], f"{where}.{key}", ignored)
        return sorted(found)
    if isinstance(ours, list) and isinstance(theirs, list):
        if ours and theirs:
            return differences(ours[0], theirs[0], f"{where}[]", ignored)
        return [] if ours or not theirs else [f"{where}: empty"]
    if theirs is None or type(ours) is type(theirs):
        return []
    return [f"{where}: {type(ours).__name__}, theirs {type(theirs).__name__}"]


TRAILING = frozenset({"activatePrice", "priceRate"})
"""Fields of trailing stops, which some samples show."""


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": 1, "b": 1}, {"a": 1}),
        ({"a": [{"b": True}]}, {"a": [{"b": 1}]}),
        ({"a": []}, {"a": [1]}),
        ({}, {"a": 1}),
    ],
)
def test_the_comparison_sees_another_type_a_missing_key_and_one_too_many(
    ours: Any, theirs: Any
) -> None:
    assert len(differences(ours, theirs)) == 1


async def test_every_answer_has_the_shape_of_the_venues_own(samples: dict[str, Any]) -> None:
    async with venue_and_client() as (venue, client):
        for price in (300_005, 300_006):
            push_trade(venue, price)
        eth = {"symbol": "ETHUSDT"}
        got: dict[str, Any] = {}

        async def ask(name: str, method: str, path: str, **params: object) -> None:
            reply = await client.signed(method, path, **params)
            assert reply.status == 200, (name, reply)
            got[name] = reply.body

        await ask("rest_place_order", "POST", "/fapi/v1/order", **order_params())
        await ask("rest_open_orders", "GET", "/fapi/v1/openOrders", **eth)
        await ask("rest_positions_phantom", "GET", "/fapi/v3/positionRisk", **eth)
        query = {**eth, "origClientOrderId": "g1-b-0001"}
        await ask("rest_query_order", "GET", "/fapi/v1/order", **query)
        await ask(
            "rest_modify_order",
            *("PUT", "/fapi/v1/order"),
            **{**query, "side": "BUY", "quantity": "0.020", "price": "2998.00", "modifyId": 1},
        )
        await ask("rest_cancel_order", "DELETE", "/fapi/v1/order", **query)
        batch = [order_params(newClientOrderId="a"), order_params(price="3100.00")]
        await ask(
            "rest_place_order_batch",
            *("POST", "/fapi/v1/batchOrders"),
            batchOrders=json.dumps(batch),
        )
        ids = json.dumps(["a", "nobody"])
        await ask(
            "rest_cancel_batch", "DELETE", "/fapi/v1/batchOrders", **eth, origClientOrderIdList=ids
        )
        await ask("rest_cancel_all", "DELETE", "/fapi/v1/allOpenOrders", **eth)
        market = order_params(type="MARKET", timeInForce=None, price=None, quantity="0.050")
        await ask("rest_place_order_doc", "POST", "/fapi/v1/order", **market)
        await ask("rest_positions", "GET", "/fapi/v3/positionRisk", **eth)
        await ask("rest_user_trades_doc", "GET", "/fapi/v1/userTrades", **eth)
        await ask("rest_income", "GET", "/fapi/v1/income")
        await ask("rest_balance", "GET", "/fapi/v3/balance")
        await ask("rest_account_config", "GET", "/fapi/v1/accountConfig")
        await ask("rest_symbol_config", "GET", "/fapi/v1/symbolConfig", **eth)
        await ask("rest_commission_rate", "GET", "/fapi/v1/commissionRate", **eth)
        await ask("rest_set_leverage", "POST", "/fapi/v1/leverage", **eth, leverage=7)
        await ask("rest_rate_limit_order", "GET", "/fapi/v1/rateLimit/order")
        await ask(
            "rest_countdown_cancel_all",
            *("POST", "/fapi/v1/countdownCancelAll"),
            **eth,
            countdownTime=60_000,
        )
        await ask("rest_instruments", "GET", "/fapi/v1/exchangeInfo")
        await ask("rest_server_time", "GET", "/fapi/v1/time")
        await ask("rest_premium_index", "GET", "/fapi/v1/premiumIndex", **eth)
        await ask("rest_funding_rate_history", "GET", "/fapi/v1/fundingRate", **eth)
        await ask("rest_klines", "GET", "/fapi/v1/klines", **eth, interval="1m")
        got["rest_listen_key"] = (await client.send("POST", "/fapi/v1/listenKey")).body
    wrong = {
        name: found
        for name, body in got.items()
        if (found := differences(body, samples[name], ignored=TRAILING))
    }
    assert wrong == {}
    assert [type(cell) for cell in got["rest_klines"][0]] == [
        type(cell) for cell in samples["rest_klines"][0]
    ]
    assert got["rest_place_order_batch"][1] == samples["error_postonly"]
    assert got["rest_cancel_batch"][1] == samples["error_unknown_order"]
    assert got["rest_cancel_all"] == samples["rest_cancel_all"]
    filters = {each["filterType"] for each in got["rest_instruments"]["symbols"][0]["filters"]}
    assert filters == {
        each["filterType"] for each in samples["rest_instruments"]["symbols"][0]["filters"]
    }


async def test_every_event_has_the_shape_of_the_venues_own(samples: dict[str, Any]) -> None:
    async with venue_and_client() as (venue, client):
        private = await client.listen()
        public = await client.stream("/public/ws/ethusdt@bookTicker/ethusdt@trade")
        market = await client.stream("/market/stream?streams=ethusdt@aggTrade")
        slow = await client.stream("/market/ws/ethusdt@kline_1m/ethusdt@markPrice@1s")
        await client.place()
        await client.signed(
            *("PUT", "/fapi/v1/order"),
            **order_params(origClientOrderId="g1-b-0001", price="2998.00", modifyId=7),
        )
        push_trade(venue, 299_800, 4)
        await client.place(newClientOrderId="second", price="2997.00")
        await client.signed(
            "DELETE", "/fapi/v1/order", symbol="ETHUSDT", origClientOrderId="second"
        )
        push_quote(venue, BID, ASK)
        got = {
            "ws_order_new": await private.find(lambda each: each.get("o", {}).get("x") == "NEW"),
            "ws_order_amended": await private.find(
                lambda each: each.get("o", {}).get("x") == "AMENDMENT"
            ),
            "ws_trade_lite": await private.find(lambda each: each["e"] == "TRADE_LITE"),
            "ws_order_filled": await private.find(
                lambda each: each.get("o", {}).get("x") == "TRADE"
            ),
            "ws_account_update": await private.find(lambda each: each["e"] == "ACCOUNT_UPDATE"),
            "ws_order_canceled": await private.find(
                lambda each: each.get("o", {}).get("x") == "CANCELED"
            ),
            "ws_bbo": await public.find(lambda each: each["e"] == "bookTicker"),
            "ws_trade": await market.next(),
            "ws_kline": await slow.find(lambda each: each["e"] == "kline"),
            "ws_mark_price": await slow.find(lambda each: each["e"] == "markPriceUpdate"),
        }
        got["ws_trade_raw"] = next(each for each in public.heard if each["e"] == "trade")
        venue.expire_listen_key()
        got["ws_listen_key_expired"] = await private.find(
            lambda each: each["e"] == "listenKeyExpired"
        )
    modify_id = frozenset({"M"})
    wrong = {
        name: found
        for name, event in got.items()
        if (
            found := differences(
                event,
                samples[name],
                ignored=frozenset() if name == "ws_order_amended" else modify_id,
            )
        )
    }
    assert wrong == {}


async def test_order_entry_by_websocket_answers_in_the_venues_shapes(
    samples: dict[str, Any],
) -> None:
    async with venue_and_client() as (_, client):
        ws = await client.stream("/ws-fapi/v1")
        placed = await ws.ask(by_websocket(client, "order.place", **order_params()))
        crossing = order_params(newClientOrderId="x", price="3100.00")
        refused = await ws.ask(by_websocket(client, "order.place", **crossing))
        query = {"symbol": "ETHUSDT", "origClientOrderId": "g1-b-0001"}
        known = await ws.ask(by_websocket(client, "order.status", **query))
        change = order_params(origClientOrderId="g1-b-0001", price="2998.00", modifyId=1)
        modified = await ws.ask(by_websocket(client, "order.modify", **change))
        cancelled = await ws.ask(by_websocket(client, "order.cancel", **query))
        positions = await ws.ask(by_websocket(client, "v2/account.position"))
    assert differences(placed, samples["wsapi_order_place_reply"]) == []
    assert differences(refused, samples["wsapi_error"]) == []
    assert refused["error"]["code"] == POST_ONLY_CODE
    assert known["result"]["status"] == "NEW"
    pair = frozenset({"pair"})
    assert differences(modified, samples["wsapi_order_modify_reply"], ignored=pair) == []
    assert differences(cancelled, samples["wsapi_order_cancel_reply"], ignored=TRAILING) == []
    assert cancelled["result"]["status"] == "CANCELED"
    assert positions["result"] == []


def by_websocket(client: RawClient, method: str, **params: object) -> dict[str, Any]:
    params = {"apiKey": client.key, "timestamp": client.now_ms(), **params}
    text = "&".join(f"{name}={params[name]}" for name in sorted(params))
    params["signature"] = client.sign(text)
    return {"id": f"{method}-{time.monotonic_ns()}", "method": method, "params": params}


# -- the door ----------------------------------------------------------------------------------------


async def test_the_signing_vectors_of_the_sheet_are_accepted_and_a_changed_one_is_not(
    samples: dict[str, Any],
) -> None:
    vectors = samples["sign_vectors"]
    settings = BinanceSettings(api_key=vectors["api_key"], api_secret=vectors["secret"])
    by_name = {each["name"]: each for each in vectors["vectors"]}
    async with venue_and_client(settings=settings) as (venue, client):
        venue.mischief.clock_offset_ms = 1_767_225_600_100 - client.now_ms()
        order = by_name["rest_order"]
        query = f"{order['string_to_sign']}&signature={order['signature']}"
        assert (await client.send("POST", "/fapi/v1/order", query)).status == 200
        other = query.replace("quantity=0.010", "quantity=0.011")
        assert (await client.send("POST", "/fapi/v1/order", other)).code == -1022
        batch = by_name["rest_batch_orders"]
        query = f"{batch['string_to_sign']}&signature={batch['signature']}"
        answer = (await client.send("POST", "/fapi/v1/batchOrders", query)).body
        assert answer == [samples["error_duplicate_client_id"]]
        ws = await client.stream("/ws-fapi/v1")
        reply = await ws.ask(samples["wsapi_order_place_request"])
        assert reply["error"] == samples["error_duplicate_client_id"]


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"timestamp": None}, 400, -1102),
        ({"timestamp": -6_000}, 400, -1021),
        ({"timestamp": 2_000}, 400, -1021),
        ({"timestamp": -6_000, "recvWindow": 60_000}, 200, None),
        ({"recvWindow": 60_001}, 400, -1131),
        ({"timestamp": "soon"}, 400, -1100),
    ],
)
async def test_a_request_outside_its_time_is_refused(
    changes: dict[str, Any], status: int, code: int | None
) -> None:
    async with venue_and_client() as (_, client):
        params: dict[str, Any] = {"timestamp": 0, **changes}
        if isinstance(params["timestamp"], int):
            params["timestamp"] += client.now_ms()
        query = urlencode({name: each for name, each in params.items() if each is not None})
        reply = await client.send(
            "GET", "/fapi/v3/balance", f"{query}&signature={client.sign(query)}"
        )
        assert (reply.status, reply.code if code else None) == (status, code)


async def test_a_wrong_key_a_missing_one_and_a_wrong_secret_are_told_apart(
    samples: dict[str, Any],
) -> None:
    async with venue_and_client() as (venue, client):
        query = f"timestamp={client.now_ms()}&signature=00"
        assert (await client.send("GET", "/fapi/v3/balance", query, key=False)).code == -2014
        reply = await client.signed("GET", "/fapi/v3/balance", signature_of="another")
        assert reply.status == 200
        client.secret = "another"
        reply = await client.signed("GET", "/fapi/v3/balance")
        assert (reply.status, reply.body) == (400, samples["error_signature"])
        client.key = "another"
        reply = await client.signed("GET", "/fapi/v3/balance")
        assert (reply.status, reply.body) == (401, samples["error_auth"])
        assert venue.served[-1] == ("GET", "/fapi/v3/balance")


async def test_a_form_body_is_signed_after_the_query_with_nothing_between() -> None:
    async with venue_and_client() as (venue, client):
        order = order_params()
        query = urlencode({"symbol": order.pop("symbol"), "side": order.pop("side")})
        body = urlencode({**order, "timestamp": client.now_ms()})
        signature = client.sign(query + body)
        async with client.http.post(
            f"{venue.rest_url}/fapi/v1/order?{query}",
            data=f"{body}&signature={signature}",
            headers={
                "X-MBX-APIKEY": client.key,
                "Content-Type": "application/x-www-form-urlencoded",
            },
        ) as answer:
            assert answer.status == 200
        assert await client.open_orders() == ["g1-b-0001"]


@pytest.mark.parametrize(
    ("changes", "code", "sample"),
    [
        ({"price": "3000.015"}, -1111, "error_precision"),
        ({"symbol": "BTCUSDT", "price": "29000.05", "quantity": "0.01"}, -4014, "error_tick"),
        ({"quantity": "0.0105"}, -1111, "error_precision"),
        ({"quantity": "0.001"}, -4164, "error_min_notional"),
        ({"quantity": "0"}, -4003, None),
        ({"quantity": "-1"}, -1100, None),
        ({"quantity": "2000000"}, -4005, None),
        ({"price": "3200.00"}, -4016, None),
        ({"side": "SELL", "price": "2800.00"}, -4024, None),
        ({"price": "0"}, -4001, None),
        ({"price": "NaN"}, -1100, None),
        ({"price": "1e400"}, -1100, None),
        ({"price": None}, -1102, None),
        ({"price": "3000.10"}, POST_ONLY_CODE, "error_postonly"),
        ({"quantity": "100"}, -2019, "error_insufficient_margin"),
        ({"side": "SELL", "price": "3010.00", "reduceOnly": "true"}, -2022, "error_reduce_only"),
        ({"positionSide": "LONG"}, -4061, "error_position_side"),
        ({"newClientOrderId": "x" * 37}, -4015, None),
        ({"newClientOrderId": "with space"}, -4015, None),
        ({"symbol": "NOPEUSDT"}, -1121, None),
        ({"side": "LONG"}, -1117, None),
        ({"type": "STOP_MARKET"}, -4120, None),
        ({"type": "ICEBERG"}, -1116, None),
        ({"timeInForce": "FOREVER"}, -1115, None),
    ],
)
async def test_an_order_the_venue_would_refuse_is_refused_with_its_code(
    samples: dict[str, Any], changes: dict[str, Any], code: int, sample: str | None
) -> None:
    async with venue_and_client() as (_, client):
        reply = await client.place(**changes)
        assert (reply.status, reply.code) == (400, code)
        if sample is not None:
            assert reply.body == samples[sample]
        assert await client.open_orders() == []
        assert (
            await client.signed(
                "GET", "/fapi/v1/order", symbol="ETHUSDT", origClientOrderId="g1-b-0001"
            )
        ).body == samples["error_order_not_found"]


async def test_a_quantity_off_a_coarse_step_is_refused(samples: dict[str, Any]) -> None:
    coarse = {"ETHUSDT": InstrumentSettings(lot_size=Decimal("0.005"))}
    async with binance_venue("ETHUSDT", instruments=coarse) as venue, RawClient(venue) as client:
        assert (await client.place(quantity="0.012")).body == samples["error_lot"]
        assert (await client.place(quantity="0.015")).status == 200


async def test_a_duplicate_open_id_is_refused_and_a_closed_one_may_be_used_again(
    samples: dict[str, Any],
) -> None:
    async with venue_and_client() as (_, client):
        first = (await client.place()).body
        again = await client.place(price="2998.00")
        assert (again.status, again.body) == (400, samples["error_duplicate_client_id"])
        query = {"symbol": "ETHUSDT", "origClientOrderId": "g1-b-0001"}
        await client.signed("DELETE", "/fapi/v1/order", **query)
        second = (await client.place(price="2998.00")).body
        assert second["orderId"] > first["orderId"] > 2**53
        known = (await client.signed("GET", "/fapi/v1/order", **query)).body
        assert (known["orderId"], known["price"]) == (second["orderId"], "2998.00")
        old = await client.signed(
            "GET", "/fapi/v1/order", symbol="ETHUSDT", orderId=first["orderId"]
        )
        assert old.body["status"] == "CANCELED"


async def test_cancelling_the_unknown_and_the_cancelled_gives_unknown_order(
    samples: dict[str, Any],
) -> None:
    async with venue_and_client() as (_, client):
        query = {"symbol": "ETHUSDT", "origClientOrderId": "g1-b-0001"}
        for _ in range(2):
            reply = await client.signed("DELETE", "/fapi/v1/order", **query)
            assert (reply.status, reply.body) == (400, samples["error_unknown_order"])
            await client.place()
            assert (await client.signed("DELETE", "/fapi/v1/order", **query)).status == 200


async def test_batches_have_the_venues_limits() -> None:
    async with venue_and_client() as (_, client):
        orders = [order_params(newClientOrderId=f"n{count}") for count in range(6)]
        too_many = await client.signed(
            "POST", "/fapi/v1/batchOrders", batchOrders=json.dumps(orders)
        )
        assert too_many.code == -4082
        ids = json.dumps([f"n{count}" for count in range(11)])
        too_many = await client.signed(
            "DELETE", "/fapi/v1/batchOrders", symbol="ETHUSDT", origClientOrderIdList=ids
        )
        assert too_many.code == -1130


async def test_no_more_than_200_orders_rest_on_a_symbol(samples: dict[str, Any]) -> None:
    settings = BinanceSettings(orders_per_10s=1_000)
    async with venue_and_client(settings=settings) as (_, client):
        for batch in range(40):
            orders = [
                order_params(newClientOrderId=f"{batch}-{count}", price=f"{2_990 - batch}.00")
                for count in range(5)
            ]
            await client.signed("POST", "/fapi/v1/batchOrders", batchOrders=json.dumps(orders))
        reply = await client.place()
        assert reply.body == samples["error_max_open_orders"]


# -- limits ------------------------------------------------------------------------------------------


async def test_weight_is_counted_and_told_and_ends_in_429_and_then_in_a_ban(
    samples: dict[str, Any],
) -> None:
    settings = BinanceSettings(weight_per_minute=40, patience=2)
    async with venue_and_client(settings=settings) as (venue, client):
        stop_the_clock(venue, client)
        first = await client.signed("GET", "/fapi/v3/balance")
        assert first.headers["X-MBX-USED-WEIGHT-1M"] == "5"
        assert ORDER_COUNT_HEADER not in first.headers
        everything = await client.signed("GET", "/fapi/v1/openOrders")
        assert everything.status == 429
        assert 0 < int(everything.headers["Retry-After"]) <= 60
        assert everything.code == samples["error_rate_limited"]["code"]
        assert (await client.signed("GET", "/fapi/v1/openOrders")).status == 429
        banned = await client.signed("GET", "/fapi/v1/openOrders")
        assert (banned.status, banned.code) == (418, -1003)
        assert int(banned.headers["Retry-After"]) == 120
        assert banned.body["msg"].startswith(samples["error_ip_banned"]["msg"][:40])
        assert (await client.public("/fapi/v1/ping")).status == 418


async def test_orders_are_counted_and_one_too_many_is_not_carried_out(
    samples: dict[str, Any],
) -> None:
    settings = BinanceSettings(orders_per_10s=6)
    async with venue_and_client(settings=settings) as (venue, client):
        stop_the_clock(venue, client)
        assert (await client.place()).headers[ORDER_COUNT_HEADER] == "1"
        batch = json.dumps([order_params(newClientOrderId="a")])
        reply = await client.signed("POST", "/fapi/v1/batchOrders", batchOrders=batch)
        assert reply.headers[ORDER_COUNT_HEADER] == "6"
        assert reply.headers["X-MBX-ORDER-COUNT-1M"] == "2"
        over = await client.place(newClientOrderId="b")
        assert (over.status, over.code) == (429, -1015)
        assert over.body["msg"] == samples["error_too_many_orders"]["msg"].replace("300", "6")
        assert await client.open_orders() == ["g1-b-0001", "a"]


def stop_the_clock(venue: LoopbackBinance, client: RawClient) -> None:
    """For both, so that no window of the limits ends within the test."""
    now_ns = time.time_ns()
    venue.stage._clock = lambda: now_ns
    client.now_ms = lambda: now_ns // 1_000_000  # type: ignore[method-assign]


# -- the life of orders ------------------------------------------------------------------------------


async def test_a_fill_shows_in_the_order_the_stream_the_trades_the_position_and_the_wallet() -> (
    None
):
    async with venue_and_client(paper=PaperSettings(fill="queue")) as (venue, client):
        private = await client.listen()
        await client.place(price="3000.05")
        push_trade(venue, 300_005, 4)
        part = await private.order_event("TRADE")
        assert (part["X"], part["l"], part["z"], part["L"]) == (
            *("PARTIALLY_FILLED", "0.004", "0.004", "3000.05"),
        )
        assert (part["n"], part["N"], part["m"]) == ("0.00240004", "USDT", True)
        push_trade(venue, 300_005, 10)
        rest = await private.order_event("TRADE")
        assert (rest["X"], rest["l"], rest["z"]) == ("FILLED", "0.006", "0.010")
        query = {"symbol": "ETHUSDT", "origClientOrderId": "g1-b-0001"}
        order = (await client.signed("GET", "/fapi/v1/order", **query)).body
        assert (order["status"], order["executedQty"], order["avgPrice"]) == (
            *("FILLED", "0.010", "3000.05000"),
        )
        trades = (await client.signed("GET", "/fapi/v1/userTrades", symbol="ETHUSDT")).body
        assert [each["id"] for each in trades] == [part["t"], rest["t"]]
        assert {each["orderId"] for each in trades} == {order["orderId"]}
        [position] = (await client.signed("GET", "/fapi/v3/positionRisk")).body
        assert (position["positionAmt"], Decimal(position["entryPrice"])) == (
            "0.010",
            Decimal("3000.05"),
        )
        [balance] = (await client.signed("GET", "/fapi/v3/balance")).body
        assert Decimal(balance["balance"]) == Decimal(10_000) - Decimal("0.00600010")


async def test_partial_closes_realise_against_the_average_entry_and_show_in_the_wallet() -> None:
    async with venue_and_client() as (venue, client):
        private = await client.listen()
        await client.place(timeInForce="GTC", price="3000.10", quantity="0.020")
        push_quote(venue, 301_000, 301_010)
        await client.place(
            side="SELL", timeInForce="IOC", price="3010.00", reduceOnly="true", newClientOrderId="s"
        )
        await private.order_event("TRADE")
        sold = await private.order_event("TRADE")
        assert (sold["R"], Decimal(sold["rp"])) == (True, Decimal("0.099"))
        update = await private.find(lambda each: each["e"] == "ACCOUNT_UPDATE")
        fees = Decimal("0.0005") * (Decimal("60.002") + Decimal("30.1"))
        wallet = Decimal(10_000) + Decimal("0.099") - fees
        assert Decimal(update["a"]["B"][0]["wb"]) == wallet.quantize(Decimal("1e-8"))
        assert update["a"]["P"][0]["pa"] == "0.010"
        income = (await client.signed("GET", "/fapi/v1/income")).body
        assert [each["incomeType"] for each in income] == [
            *("COMMISSION", "COMMISSION", "REALIZED_PNL"),
        ]


async def test_an_amended_order_keeps_its_id_and_its_fills() -> None:
    async with venue_and_client(paper=PaperSettings(fill="queue")) as (venue, client):
        private = await client.listen()
        placed = (await client.place(price="3000.05")).body
        push_trade(venue, 300_005, 4)
        change = order_params(origClientOrderId="g1-b-0001", quantity="0.030", price="3000.04")
        changed = (await client.signed("PUT", "/fapi/v1/order", **change)).body
        assert (changed["orderId"], changed["origQty"], changed["executedQty"]) == (
            *(placed["orderId"], "0.030", "0.004"),
        )
        event = await private.order_event("AMENDMENT")
        assert (event["p"], event["z"], event["X"]) == ("3000.04", "0.004", "PARTIALLY_FILLED")
        assert not any(each.get("o", {}).get("x") == "CANCELED" for each in private.heard)
        assert (await client.signed("PUT", "/fapi/v1/order", **change)).code == -5027
        push_trade(venue, 300_004, 100)
        filled = await private.order_event("TRADE")
        assert (filled["X"], filled["l"], filled["z"]) == ("FILLED", "0.026", "0.030")
        assert (await client.signed("PUT", "/fapi/v1/order", **change)).code == -2013


async def test_an_amendment_that_would_take_ends_a_post_only_order() -> None:
    async with venue_and_client() as (_, client):
        private = await client.listen()
        await client.place()
        change = order_params(origClientOrderId="g1-b-0001", price="3000.50")
        assert (await client.signed("PUT", "/fapi/v1/order", **change)).code == POST_ONLY_CODE
        assert (await private.order_event("EXPIRED"))["X"] == "EXPIRED"
        assert await client.open_orders() == []


async def test_an_order_that_meets_ones_own_expires_the_resting_one() -> None:
    async with venue_and_client() as (venue, client):
        private = await client.listen()
        push_quote(venue, 299_000, 301_000)
        await client.place(price="3000.00")
        sell = {"side": "SELL", "newClientOrderId": "s", "price": "2999.00"}
        assert (await client.place(**sell)).code == POST_ONLY_CODE
        assert (await client.place(**sell, timeInForce="GTC")).status == 200
        gone = await private.order_event("EXPIRED")
        assert (gone["c"], gone["X"], gone["er"]) == ("g1-b-0001", "EXPIRED_IN_MATCH", "4")
        assert await client.open_orders() == ["s"]


async def test_an_immediate_order_that_takes_nothing_expires() -> None:
    async with venue_and_client() as (_, client):
        private = await client.listen()
        reply = await client.place(timeInForce="IOC")
        assert reply.body["status"] == "NEW"
        assert (await private.order_event("EXPIRED"))["X"] == "EXPIRED"


async def test_the_dead_mans_switch_cancels_the_symbol_unless_it_is_armed_again() -> None:
    async with venue_and_client() as (_, client):
        private = await client.listen()
        await client.place()
        await client.place(symbol="BTCUSDT", newClientOrderId="b", price="29000.0")
        arm = {"symbol": "ETHUSDT", "countdownTime": 60_000}
        await client.signed("POST", "/fapi/v1/countdownCancelAll", **arm)
        await client.signed("POST", "/fapi/v1/countdownCancelAll", **{**arm, "countdownTime": 1})
        assert (await private.order_event("CANCELED"))["c"] == "g1-b-0001"
        reply = await client.signed("GET", "/fapi/v1/openOrders")
        assert [each["clientOrderId"] for each in reply.body] == ["b"]


async def test_a_liquidation_is_a_foreign_order_of_the_venue() -> None:
    paper = PaperSettings(fill="touch", balance=Decimal(100), leverage=Decimal(20))
    async with venue_and_client(paper=paper) as (venue, client):
        private = await client.listen()
        await client.place(timeInForce="GTC", price="3000.10", quantity="0.600")
        push_quote(venue, 283_000, 283_010)
        closed = await private.order_event("CALCULATED")
        assert (closed["S"], closed["X"], closed["z"]) == ("SELL", "FILLED", "0.600")
        assert closed["c"].startswith("autoclose-")
        assert (await client.signed("GET", "/fapi/v3/positionRisk")).body == []


async def test_funding_moves_the_wallet_and_names_no_position() -> None:
    paper = PaperSettings(fill="touch", funding_interval_s=1.0)
    async with venue_and_client(paper=paper) as (_, client):
        private = await client.listen()
        await client.place(timeInForce="GTC", price="3000.10")
        paid = await private.find(lambda each: each.get("a", {}).get("m") == "FUNDING_FEE")
        assert paid["a"]["P"] == []
        assert Decimal(paid["a"]["B"][0]["bc"]) == Decimal("-0.0030000500").quantize(
            Decimal("1e-8")
        )
        income = await client.signed("GET", "/fapi/v1/income", incomeType="FUNDING_FEE")
        assert income.body[0]["income"] == paid["a"]["B"][0]["bc"]


async def test_position_mode_and_margin_type_change_only_when_nothing_is_open() -> None:
    async with venue_and_client() as (venue, client):
        mode, kind = "/fapi/v1/positionSide/dual", "/fapi/v1/marginType"
        margin = {"symbol": "ETHUSDT", "marginType": "ISOLATED"}
        assert (await client.signed("POST", mode, dualSidePosition="false")).code == -4059
        await client.place()
        assert (await client.signed("POST", mode, dualSidePosition="true")).code == -4067
        assert (await client.signed("POST", kind, **margin)).code == -4047
        push_trade(venue, 299_800)
        assert (await client.signed("POST", mode, dualSidePosition="true")).code == -4068
        assert (await client.signed("POST", kind, **margin)).code == -4048
        await client.place(
            *(), side="SELL", type="MARKET", timeInForce=None, price=None, newClientOrderId="out"
        )
        assert (await client.signed("POST", kind, **margin)).body["code"] == 200
        assert (await client.signed("POST", kind, **margin)).code == -4046
        assert (await client.signed("POST", mode, dualSidePosition="true")).body["code"] == 200
        assert (await client.signed("GET", mode)).body == {"dualSidePosition": True}
        assert (await client.place(newClientOrderId="h")).code == -4061


async def test_trades_are_paged_by_time_by_id_and_by_limit() -> None:
    async with venue_and_client() as (_, client):
        for count in range(5):
            await client.place(
                type="MARKET", timeInForce=None, price=None, newClientOrderId=f"m{count}"
            )
        path = "/fapi/v1/userTrades"
        every = (await client.signed("GET", path, symbol="ETHUSDT")).body
        ids = [each["id"] for each in every]
        assert len(ids) == 5 and ids == sorted(ids)

        async def page(**params: object) -> list[int]:
            reply = await client.signed("GET", path, symbol="ETHUSDT", **params)
            return [each["id"] for each in reply.body]

        assert await page(limit=2) == ids[-2:]
        assert await page(limit=2, startTime=every[0]["time"]) == ids[:2]
        assert await page(fromId=ids[2], limit=2) == ids[2:4]
        assert await page(orderId=every[1]["orderId"]) == [ids[1]]
        assert await page(endTime=every[0]["time"] - 1) == []
        both = await client.signed("GET", path, symbol="ETHUSDT", fromId=1, startTime=1)
        assert both.code == -1128
        week = await client.signed("GET", path, symbol="ETHUSDT", startTime=1, endTime=700_000_000)
        assert week.code == -4165


# -- streams -----------------------------------------------------------------------------------------


async def test_a_stream_on_the_wrong_route_is_acknowledged_and_stays_silent(
    samples: dict[str, Any],
) -> None:
    async with venue_and_client() as (venue, client):
        wrong = await client.stream("/public/ws")
        right = await client.stream("/market/ws")
        ask = {"method": "SUBSCRIBE", "params": ["ethusdt@aggTrade"], "id": 1}
        assert await wrong.ask(ask) == samples["ws_subscribe_ack"]
        assert await right.ask(ask) == samples["ws_subscribe_ack"]
        push_trade(venue, BID)
        assert (await right.next())["e"] == "aggTrade"
        assert await wrong.silent()
        listed = await wrong.ask({"method": "LIST_SUBSCRIPTIONS", "id": 2})
        assert listed["result"] == ["ethusdt@aggTrade"]
        await right.ask({"method": "UNSUBSCRIBE", "params": ["ethusdt@aggTrade"], "id": 3})
        push_trade(venue, BID)
        assert await right.silent()


@pytest.mark.parametrize(("unrouted", "hears"), [("public", False), ("all", True)])
async def test_a_path_without_a_route_serves_the_public_one_or_as_a_demo_everything(
    unrouted: str, hears: bool
) -> None:
    async with venue_and_client(settings=BinanceSettings(unrouted=unrouted)) as (venue, client):
        books = await client.stream("/ws/ethusdt@bookTicker")
        trades = await client.stream("/stream?streams=ethusdt@aggTrade")
        key = (await client.send("POST", "/fapi/v1/listenKey")).body["listenKey"]
        private = await client.stream(f"/ws/{key}")
        push_quote(venue, BID, ASK)
        assert (await books.next())["e"] == "bookTicker"
        push_trade(venue, BID)
        await client.place()
        assert await trades.silent() is not hears
        assert await private.silent() is not hears


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", "7", '{"method":"DANCE","id":1}', '{"method":"SUBSCRIBE"}']
)
async def test_a_control_message_that_makes_no_sense_is_answered_with_an_error(text: str) -> None:
    async with venue_and_client() as (_, client):
        ws = await client.stream("/public/ws")
        await ws.ws.send_str(text)
        assert "error" in await ws.next()


async def test_more_than_ten_control_messages_a_second_end_the_connection() -> None:
    async with venue_and_client() as (_, client):
        ws = await client.stream("/public/ws")
        with pytest.raises(ConnectionError):
            for number in range(12):
                await ws.ask({"method": "LIST_SUBSCRIPTIONS", "id": number})


async def test_a_list_of_events_in_the_address_lets_only_those_through() -> None:
    async with venue_and_client() as (venue, client):
        key = (await client.send("POST", "/fapi/v1/listenKey")).body["listenKey"]
        picky = await client.stream(f"/private/ws?listenKey={key}&events=ACCOUNT_UPDATE")
        await client.place(timeInForce="GTC", price="3000.10")
        assert (await picky.next())["e"] == "ACCOUNT_UPDATE"
        venue.expire_listen_key()
        assert await picky.silent()


async def test_a_listen_key_is_extended_by_asking_again_and_silent_once_closed() -> None:
    async with venue_and_client() as (_, client):
        path = "/fapi/v1/listenKey"
        assert (await client.send("PUT", path)).code == -1125
        first = (await client.send("POST", path)).body
        assert (await client.send("POST", path)).body == first
        assert (await client.send("PUT", path)).body == first
        private = await client.stream(f"/private/ws?listenKey={first['listenKey']}")
        assert (await client.send("DELETE", path)).body == {}
        await client.place()
        assert await private.silent()
        assert (await client.send("POST", path)).body != first


async def test_a_listen_key_that_nobody_extends_expires() -> None:
    async with venue_and_client(settings=BinanceSettings(listen_key_s=0.1)) as (_, client):
        private = await client.listen()
        assert (await private.next())["e"] == "listenKeyExpired"
        await client.place()
        assert await private.silent()


async def test_a_connection_ends_at_its_age_and_when_it_does_not_answer_pings() -> None:
    for settings in (BinanceSettings(connection_s=0.1), BinanceSettings(ping_s=0.1, pong_s=1.5)):
        async with venue_and_client(settings=settings) as (_, client):
            ws = await client.http.ws_connect(f"{client.venue.ws_url}/public/ws", autoping=False)
            kinds = [message.type async for message in deaf(ws)]
            assert aiohttp.WSMsgType.PING in kinds or settings.connection_s < 1
            assert client.venue.stage.connections == 0


async def deaf(ws: aiohttp.ClientWebSocketResponse) -> AsyncIterator[aiohttp.WSMessage]:
    """What comes until the connection ends, pings among it, answered by nobody."""
    async with asyncio.timeout(DEADLINE_S):
        while not ws.closed:
            message = await ws.receive()
            yield message
            if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                break
    await until_closed(ws)


async def until_closed(ws: aiohttp.ClientWebSocketResponse) -> None:
    await ws.close()
    await asyncio.sleep(0)


async def test_candles_come_live_by_request_and_from_before_the_start() -> None:
    now_ns = time.time_ns()
    feed = SyntheticFeed(3, ("ETHUSDT",), now_ns)
    venue = LoopbackBinance(feed=feed, paper=PAPER, speed=20.0, history_s=40 * 60.0 * 20)
    await venue.start()
    try:
        async with RawClient(venue) as client:
            rows = (
                await client.public("/fapi/v1/klines", symbol="ETHUSDT", interval="5m", limit=20)
            ).body
            assert 8 <= len(rows) <= 9
            assert all(later[0] - row[0] == 300_000 for row, later in pairwise(rows))
            assert all(Decimal(row[3]) <= Decimal(row[4]) <= Decimal(row[2]) for row in rows)
            start = rows[2][0]
            some = await client.public(
                "/fapi/v1/klines", symbol="ETHUSDT", interval="5m", startTime=start, limit=2
            )
            assert [row[0] for row in some.body] == [start, start + 300_000]
            stream = await client.stream("/market/ws/ethusdt@kline_1m/ethusdt@aggTrade")
            candle = await stream.find(lambda each: each["e"] == "kline")
            assert candle["k"]["t"] % 60_000 == 0
            await stream.find(lambda each: each["e"] == "aggTrade")
    finally:
        await venue.close()


async def test_a_feed_of_strangers_and_a_taken_port_are_refused() -> None:
    feed = SyntheticFeed(1, ("NOPEUSDT",), 0)
    with pytest.raises(ConfigError, match="NOPEUSDT"):
        LoopbackBinance(feed=feed)
    async with binance_venue() as venue:
        other = LoopbackBinance(feed=SyntheticFeed(1, ("ETHUSDT",), time.time_ns()))
        with pytest.raises(ConfigError, match=str(venue.stage.port)):
            await other.start(venue.stage.port)


# -- mischief ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switch", "done"),
    [
        ("lose_answers", True),
        ("lose_requests", False),
        ("hang_answers", True),
        ("hang_requests", False),
        ("unknown_done", True),
        ("unknown_not_done", False),
    ],
)
async def test_a_placement_without_an_answer_was_carried_out_or_not_as_told(
    switch: str, done: bool
) -> None:
    async with venue_and_client() as (venue, client):
        venue.mischief.set({switch: 1})
        if switch.startswith("unknown"):
            reply = await client.place()
            assert reply.status == 503 and "Unknown error" in reply.body["msg"]
        else:
            hangs = switch.startswith("hang")
            with pytest.raises(TimeoutError if hangs else CUT):
                async with asyncio.timeout(0.2 if hangs else DEADLINE_S):
                    await client.place()
        assert await client.open_orders() == (["g1-b-0001"] if done else [])
        assert (await client.place(newClientOrderId="next")).status == 200


async def test_a_lost_answer_over_websocket_leaves_the_connection_open() -> None:
    async with venue_and_client() as (venue, client):
        ws = await client.stream("/ws-fapi/v1")
        venue.mischief.lose_answers = 1
        await ws.ws.send_json(by_websocket(client, "order.place", **order_params()))
        assert await ws.silent()
        query = {"symbol": "ETHUSDT", "origClientOrderId": "g1-b-0001"}
        known = await ws.ask(by_websocket(client, "order.status", **query))
        assert known["result"]["status"] == "NEW"


async def test_troubles_of_order_entry_by_websocket_have_codes_and_times(
    samples: dict[str, Any],
) -> None:
    async with venue_and_client() as (venue, client):
        ws = await client.stream("/ws-fapi/v1")

        async def place() -> dict[str, Any]:
            answer = await ws.ask(by_websocket(client, "order.place", **order_params()))
            assert answer["status"] != 200
            return dict(answer["error"])

        venue.mischief.unknown_done = 1
        assert await place() == samples["error_unknown_status"]
        assert await place() == samples["error_duplicate_client_id"]
        venue.mischief.maintenance = True
        assert await place() == samples["error_overloaded_safe_to_retry"]
        venue.mischief.set({"maintenance": False, "rate_limit": 1, "retry_after_s": 3})
        data = (await place())["data"]
        assert data["retryAfter"] - data["serverTime"] == 3_000


@pytest.mark.parametrize("when", ["before", "after"])
async def test_events_come_clearly_before_or_after_the_answer(when: str) -> None:
    async with venue_and_client() as (venue, client):
        private = await client.listen()
        venue.mischief.events = when
        placing = asyncio.create_task(client.place())
        hearing = asyncio.create_task(private.next())
        first, _ = await asyncio.wait({placing, hearing}, return_when=asyncio.FIRST_COMPLETED)
        assert first == {hearing if when == "before" else placing}
        assert (await placing).status == 200
        assert (await hearing)["o"]["x"] == "NEW"


async def test_events_are_doubled_swapped_lost_and_hushed() -> None:
    async with venue_and_client() as (venue, client):
        private = await client.listen()

        async def life() -> None:
            await client.place()
            query = {"symbol": "ETHUSDT", "origClientOrderId": "g1-b-0001"}
            await client.signed("DELETE", "/fapi/v1/order", **query)

        async def heard(count: int) -> list[str]:
            return [(await private.next())["o"]["x"] for _ in range(count)]

        venue.mischief.duplicate_events = True
        await life()
        assert await heard(4) == ["NEW", "NEW", "CANCELED", "CANCELED"]
        venue.mischief.duplicate_events = False
        venue.mischief.reorder_events = True
        await life()
        assert await heard(2) == ["CANCELED", "NEW"]
        venue.mischief.reorder_events = False
        venue.mischief.lose_events = 1
        await life()
        assert await heard(1) == ["CANCELED"]
        venue.mischief.silent = ["private"]
        await life()
        assert await private.silent()


async def test_a_lone_event_is_not_kept_for_ever_while_events_are_swapped() -> None:
    async with venue_and_client() as (venue, client):
        private = await client.listen()
        venue.mischief.reorder_events = True
        await client.place()
        assert (await private.next())["o"]["x"] == "NEW"


async def test_a_hushed_stream_is_silent_and_open() -> None:
    async with venue_and_client() as (venue, client):
        ws = await client.stream("/public/ws/ethusdt@bookTicker/btcusdt@bookTicker")
        venue.mischief.silent = ["ethusdt@bookTicker"]
        push_quote(venue, BID, ASK)
        push_quote(venue, BID, ASK, symbol="BTCUSDT")
        assert (await ws.next())["s"] == "BTCUSDT"
        venue.mischief.silent = []
        push_quote(venue, BID, ASK)
        assert (await ws.next())["s"] == "ETHUSDT"


async def test_a_lost_subscription_is_acknowledged() -> None:
    async with venue_and_client() as (venue, client):
        ws = await client.stream("/public/ws")
        venue.mischief.lose_subscriptions = 1
        await ws.ask({"method": "SUBSCRIBE", "params": ["ethusdt@bookTicker"], "id": 1})
        push_quote(venue, BID, ASK)
        assert await ws.silent()


async def test_disconnecting_ends_every_socket_at_once() -> None:
    async with venue_and_client() as (venue, client):
        streams = [await client.listen(), await client.stream("/public/ws")]
        venue.stage.disconnect_all()
        for stream in streams:
            with pytest.raises(ConnectionError):
                await stream.next()
        await until(lambda: venue.stage.connections == 0)


async def test_post_only_is_refused_at_once_or_later_by_the_stream_as_told(
    samples: dict[str, Any],
) -> None:
    async with venue_and_client() as (venue, client):
        private = await client.listen()
        venue.mischief.reject_post_only = 1
        assert (await client.place()).body == samples["error_postonly"]
        venue.mischief.expire_post_only = 1
        late = await client.place()
        assert (late.status, late.body["status"]) == (200, "NEW")
        ended = await private.order_event("EXPIRED")
        assert differences({"o": ended}, {"o": samples["ws_postonly_reject"]["o"]}) == []
        query = {"symbol": "ETHUSDT", "origClientOrderId": "g1-b-0001"}
        assert (await client.signed("GET", "/fapi/v1/order", **query)).body["status"] == "EXPIRED"
        venue.mischief.late_post_only = True
        assert (await client.place(price="3000.10")).status == 200
        assert (await private.order_event("EXPIRED"))["p"] == "3000.10"
        assert (await client.place()).status == 200
        assert await client.open_orders() == ["g1-b-0001"]


async def test_rate_limits_bans_overload_and_maintenance_come_when_told(
    samples: dict[str, Any],
) -> None:
    async with venue_and_client() as (venue, client):
        venue.mischief.set({"rate_limit": 1, "retry_after_s": 7})
        limited = await client.place()
        assert (limited.status, limited.headers["Retry-After"]) == (429, "7")
        assert limited.body == samples["error_rate_limited"]
        venue.mischief.overloaded = 1
        busy = await client.place()
        assert (busy.status, busy.body) == (503, samples["error_overloaded_safe_to_retry"])
        venue.mischief.maintenance = True
        assert (await client.public("/fapi/v1/ping")).body == {"msg": "Service Unavailable."}
        venue.mischief.maintenance = False
        venue.mischief.ban_s = 0.3
        banned = await client.place()
        assert (banned.status, banned.headers["Retry-After"]) == (418, "1")
        await asyncio.sleep(0.35)
        assert (await client.place()).status == 200


async def test_the_venues_clock_can_be_off(samples: dict[str, Any]) -> None:
    async with venue_and_client() as (venue, client):
        venue.mischief.clock_offset_ms = -30_000
        ahead = await client.place()
        assert (ahead.status, ahead.code) == (400, samples["error_timestamp"]["code"])
        venue.mischief.clock_offset_ms = 30_000
        assert (await client.place()).body == samples["error_timestamp"]
        theirs = (await client.public("/fapi/v1/time")).body["serverTime"]
        assert abs(theirs - client.now_ms() - 30_000) < 1_000
        assert (await client.place(timestamp=theirs)).body["updateTime"] >= theirs


async def test_what_the_account_may_do_can_be_changed(samples: dict[str, Any]) -> None:
    async with venue_and_client() as (venue, client):
        venue.mischief.may_trade = False
        assert (await client.place()).body == samples["error_auth"]
        assert (await client.signed("GET", "/fapi/v3/balance")).status == 200
        venue.mischief.set({"may_trade": True, "may_withdraw": True, "hedge_mode": True})
        config = (await client.signed("GET", "/fapi/v1/accountConfig")).body
        assert (config["canWithdraw"], config["dualSidePosition"]) == (True, True)
        rights = (await client.signed("GET", "/sapi/v1/account/apiRestrictions")).body
        assert rights["enableWithdrawals"] is True
        assert (await client.place()).body == samples["error_position_side"]
        venue.mischief.ip_allowed = False
        assert (await client.signed("GET", "/fapi/v3/balance")).status == 401


async def test_any_code_can_be_ordered_for_a_path() -> None:
    async with venue_and_client() as (venue, client):
        venue.mischief.fail = [Failure(code=-4400, message="quiet", path="/fapi/v1/order")]
        assert (await client.signed("GET", "/fapi/v3/balance")).status == 200
        assert (await client.place()).code == -4400
        assert (await client.place()).status == 200


async def test_cancels_are_struck_when_the_scope_says_so() -> None:
    async with venue_and_client() as (venue, client):
        venue.mischief.set({"scope": "cancel", "lose_answers": 1, "delay_answers_s": 0.01})
        assert (await client.place()).status == 200
        query = {"symbol": "ETHUSDT", "origClientOrderId": "g1-b-0001"}
        with pytest.raises(CUT):
            await client.signed("DELETE", "/fapi/v1/order", **query)
        assert await client.open_orders() == []


async def test_another_process_can_change_the_switches_and_move_the_market() -> None:
    async with venue_and_client(settings=BinanceSettings(control=True)) as (venue, client):
        private = await client.listen()
        await client.place()

        async def control(order: dict[str, Any]) -> Reply:
            async with client.http.post(f"{venue.rest_url}/_mischief", json=order) as answer:
                return Reply(answer.status, dict(answer.headers), await answer.json())

        reply = await control({"set": {"hang_answers": 2}})
        assert (reply.body["hang_answers"], reply.body["open_orders"]) == (2, 1)
        assert venue.mischief.hang_answers == 2
        await control({"quotes": [{"symbol": "ETHUSDT", "bid": "2990", "ask": "2990.1"}]})
        assert (await private.order_event("TRADE"))["X"] == "FILLED"
        assert (await control({"set": {"nonsense": 1}})).status == 400
        assert (await control({"do": ["nonsense"]})).status == 400
        await control({"do": ["disconnect"]})
        with pytest.raises(ConnectionError):
            await private.find(lambda each: False)


async def test_without_permission_there_is_no_control_endpoint() -> None:
    async with (
        venue_and_client() as (venue, client),
        client.http.post(f"{venue.rest_url}/_mischief", json={}) as answer,
    ):
        assert answer.status == 404


@pytest.mark.parametrize(
    "changes",
    [{"nonsense": 1}, {"lose_answers": "many"}, {"scope": "all"}, {"fail": [{"kode": 1}]}],
)
def test_a_switch_that_does_not_exist_or_take_the_value_changes_nothing(
    changes: dict[str, object],
) -> None:
    mischief = Mischief()
    with pytest.raises(ValueError):
        mischief.set({"maintenance": True, **changes})
    assert mischief == Mischief()


# -- the command -------------------------------------------------------------------------------------


@pytest.mark.e2e
async def test_the_command_plays_a_market_until_it_is_told_to_stop() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "marketmaker", "venue", "binance", "--symbols", "ETHUSDT"),
        "--allow-mischief",
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    told: list[str] = []
    async with asyncio.timeout(30):
        while not told or not told[-1].startswith("Ctrl-C"):
            told.append((await process.stdout.readline()).decode())
    url = next(line.partition('"')[2].strip('"\n') for line in told if "rest_url" in line)
    async with aiohttp.ClientSession() as http:
        address = f"{url}/fapi/v1/klines?symbol=ETHUSDT&interval=5m"
        async with http.get(address) as answer:
            assert len(await answer.json()) >= 20
        async with http.get(f"{url}/_mischief") as answer:
            assert (await answer.json())["maintenance"] is False
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nowhere",),
        ("binance", "--port", "70000"),
        ("binance", "--speed", "0"),
        ("binance", "--feed", "no/such/file"),
        ("binance", "--symbols", "NOPEUSDT"),
        ("binance", "--balance", "NaN"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(["venue", *arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert "Traceback" not in capsys.readouterr().err


# -- an independent client ---------------------------------------------------------------------------

SYMBOL = "ETH/USDT:USDT"


@asynccontextmanager
async def venue_and_ccxt() -> AsyncIterator[tuple[LoopbackBinance, Any]]:
    """ccxt.pro as it is installed, with nothing but its addresses and its currency list changed."""
    pytest.importorskip("ccxt")
    import ccxt.pro

    async with binance_venue() as venue:
        ccxt_venue = ccxt.pro.binanceusdm(
            {
                "apiKey": venue.settings.api_key,
                "secret": venue.settings.api_secret,
                "enableRateLimit": False,
                "options": {"fetchCurrencies": False},
            }
        )
        addresses = ccxt_venue.urls["api"]
        for access in ("Public", "Private"):
            for version in ("", "V2", "V3"):
                addresses[f"fapi{access}{version}"] = (
                    f"{venue.rest_url}/fapi/{version.lower() or 'v1'}"
                )
        addresses["sapi"] = f"{venue.rest_url}/sapi/v1"
        addresses["ws"]["linear"] = f"{venue.ws_url}/ws"
        addresses["ws"]["ws-api"]["linear"] = f"{venue.ws_url}/ws-fapi/v1"
        try:
            yield venue, ccxt_venue
        finally:
            await ccxt_venue.close()


async def test_ccxt_loads_the_markets_with_our_steps_and_minimums() -> None:
    async with venue_and_ccxt() as (_, client):
        market = (await client.load_markets())[SYMBOL]
        assert market["linear"] and market["active"] and market["contractSize"] == 1
        assert market["precision"] == {"amount": 0.001, "price": 0.01, **rest_of(market)}
        assert market["limits"]["cost"]["min"] == 20
        assert market["limits"]["amount"]["min"] == 0.001


def rest_of(market: dict[str, Any]) -> dict[str, Any]:
    return {
        key: each for key, each in market["precision"].items() if key not in ("amount", "price")
    }


async def test_ccxt_places_finds_cancels_and_amends_orders() -> None:
    async with venue_and_ccxt() as (_, client):
        order = await client.create_order(
            SYMBOL, "limit", "buy", 0.01, 2999, {"postOnly": True, "clientOrderId": "mine"}
        )
        assert (order["status"], order["clientOrderId"], order["postOnly"]) == (
            "open",
            "mine",
            True,
        )
        assert [each["id"] for each in await client.fetch_open_orders(SYMBOL)] == [order["id"]]
        edited = await client.edit_order(order["id"], SYMBOL, "limit", "buy", 0.02, 2998)
        assert (edited["id"], edited["price"], edited["amount"]) == (order["id"], 2998, 0.02)
        known = await client.fetch_order(order["id"], SYMBOL)
        assert (known["status"], known["remaining"]) == ("open", 0.02)
        assert (await client.cancel_order(order["id"], SYMBOL))["status"] == "canceled"
        assert [each["status"] for each in await client.fetch_orders(SYMBOL)] == ["canceled"]


async def test_ccxt_reads_our_refusals_as_its_own_errors() -> None:
    # it knows most of the codes by the venue's own address only
    async with venue_and_ccxt() as (venue, client):
        import ccxt

        async def place(price: float, amount: float = 0.01, **params: Any) -> Any:
            return await client.create_order(
                SYMBOL, "limit", "buy", amount, price, {"postOnly": True, **params}
            )

        with pytest.raises(ccxt.InvalidOrder):
            await place(3001)
        with pytest.raises(ccxt.ExchangeError, match="-2019"):
            await place(2999, 100)
        with pytest.raises(ccxt.OrderNotFound):
            await client.cancel_order("1", SYMBOL)
        await place(2999, clientOrderId="twice")
        with pytest.raises(ccxt.ExchangeError, match="-4116"):
            await place(2999, clientOrderId="twice")
        venue.mischief.rate_limit = 1
        with pytest.raises(ccxt.DDoSProtection):
            await client.fetch_balance()
        venue.mischief.ban_s = 0.05
        with pytest.raises(ccxt.DDoSProtection):
            await client.fetch_balance()
        await asyncio.sleep(0.06)
        client.secret = "wrong"
        with pytest.raises(ccxt.AuthenticationError):
            await client.fetch_balance()


async def test_ccxt_batches_cancels_all_and_reads_what_each_order_became() -> None:
    async with venue_and_ccxt() as (_, client):
        batch = [
            {
                "symbol": SYMBOL,
                "type": "limit",
                "side": "buy",
                "amount": 0.01,
                "price": price,
                "params": {"postOnly": True},
            }
            for price in (2990, 2991, 3100)
        ]
        placed = await client.create_orders(batch)
        assert sorted(each["status"] for each in placed) == ["open", "open", "rejected"]
        ids = [each["id"] for each in placed if each["status"] == "open"]
        gone = await client.cancel_orders(ids[:1], SYMBOL)
        assert [each["status"] for each in gone] == ["canceled"]
        await client.cancel_all_orders(SYMBOL)
        assert await client.fetch_open_orders(SYMBOL) == []


async def test_ccxt_reads_balance_position_trades_candles_and_settings() -> None:
    async with venue_and_ccxt() as (venue, client):
        push_trade(venue, BID)
        bought = await client.create_order(SYMBOL, "market", "buy", 0.1)
        assert (bought["status"], bought["filled"]) == ("closed", 0.1)
        balance = await client.fetch_balance()
        assert balance["USDT"]["total"] == pytest.approx(10_000 - 0.150005)
        assert balance["USDT"]["free"] < balance["USDT"]["total"]
        [position] = await client.fetch_positions([SYMBOL])
        assert (position["side"], position["contracts"]) == ("long", 0.1)
        assert position["entryPrice"] == pytest.approx(3000.1)
        [trade] = await client.fetch_my_trades(SYMBOL)
        assert (trade["order"], trade["takerOrMaker"]) == (bought["id"], "taker")
        assert trade["fee"] == {"currency": "USDT", "cost": 0.150005}
        assert len(await client.fetch_ohlcv(SYMBOL, "1m")) >= 1
        assert (await client.fetch_funding_rate(SYMBOL))["fundingRate"] == 0.0001
        assert (await client.fetch_order_book(SYMBOL))["bids"] == [[3000.0, 1.0]]
        assert (await client.fetch_trading_fee(SYMBOL))["maker"] == 0.0002
        assert (await client.fetch_position_mode(SYMBOL))["hedged"] is False
        await client.set_leverage(10, SYMBOL)
        leverage = await client.fetch_leverage(SYMBOL)
        assert leverage["longLeverage"] == 10


async def test_ccxt_watches_orders_trades_candles_and_best_prices() -> None:
    async with venue_and_ccxt() as (venue, client):
        await client.load_markets()

        async def first(watch: Any, happens: Callable[[], Any]) -> Any:
            watching = asyncio.create_task(watch)
            connections, streams = venue.stage.connections, len(venue.served)
            await until(
                lambda: venue.stage.connections > connections or len(venue.served) > streams
            )
            async with asyncio.timeout(DEADLINE_S):
                while not watching.done():
                    happens()
                    await asyncio.wait({watching}, timeout=0.05)
                return await watching

        trades = await first(client.watch_trades(SYMBOL), lambda: push_trade(venue, BID, 7))
        assert (trades[-1]["amount"], trades[-1]["price"]) == (0.007, 3000.0)
        best = await first(client.watch_bids_asks([SYMBOL]), lambda: push_quote(venue, BID, ASK))
        assert best[SYMBOL]["ask"] == 3000.1
        candles = await first(client.watch_ohlcv(SYMBOL, "1m"), lambda: None)
        assert candles[-1][4] == 3000.0
        watching = asyncio.create_task(client.watch_orders(SYMBOL))
        await until(lambda: ("POST", "/fapi/v1/listenKey") in venue.served)
        await asyncio.sleep(0.1)
        await client.create_order(SYMBOL, "limit", "buy", 0.01, 2999, {"postOnly": True})
        async with asyncio.timeout(DEADLINE_S):
            [order] = await watching
        assert (order["status"], order["price"]) == ("open", 2999.0)


async def test_ccxt_places_and_cancels_over_websocket() -> None:
    async with venue_and_ccxt() as (venue, client):
        order = await client.create_order_ws(SYMBOL, "limit", "buy", 0.01, 2995, {"postOnly": True})
        assert order["status"] == "open"
        assert (await client.cancel_order_ws(order["id"], SYMBOL))["status"] == "canceled"
        assert ("WS", "order.place") in venue.served
        assert ("POST", "/fapi/v1/order") not in venue.served
