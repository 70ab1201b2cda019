"""Bybit: what is written, what is read, and the adapter against the loopback venue over real sockets."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from marketmaker.adapters.bybit.build import Signer, build_order, build_place
from marketmaker.adapters.bybit.parse import (
    parse_answer_error,
    parse_bar,
    parse_execution,
    parse_fill,
    parse_instrument,
    parse_order,
    parse_position,
)
from marketmaker.adapters.bybit.tables import ERROR_OF_CODE, ERRORS, TRADES
from marketmaker.adapters.bybit.wire import (
    read_bars,
    read_executions,
    read_frame,
    read_instruments,
    read_orders,
    read_positions,
    read_reply,
    read_ticker,
    read_trades,
)
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.http import Answer
from marketmaker.errors import (
    AuthenticationRefused,
    DuplicateClientOrderId,
    MalformedMessage,
    OrderNotFound,
    OutcomeUnknown,
    PositionModeMismatch,
    RateLimited,
)
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.order import EndReason, OrderReport, OrderStatus, Side
from marketmaker.model.settings import Credentials
from tests.support.loopback import BID, PAPER, until
from tests.support.paper import make_order
from tests.support.venue_desk import (
    RIGHT,
    VenueDesk,
    on_loopback,
    refs,
    sample,
    sample_names,
    venue_desk,
)

SIGNER = Signer(
    Credentials(api_key="mmBybitKey000001", api_secret="mmBybitSecret00000000000000000000001")
)
MS = 1_767_225_600_000
IDS = TextForm("mm")
ETH_ROW = {
    "symbol": "ETHUSDT", "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": "ETH",
    "quoteCoin": "USDT", "settleCoin": "USDT", "priceFilter": {"tickSize": "0.01"},
    "lotSizeFilter": {
        "qtyStep": "0.01", "minOrderQty": "0.01", "maxOrderQty": "7240.00", "minNotionalValue": "5",
    },
}  # fmt: skip


def eth() -> Contract:
    row = read_instruments(json.dumps([ETH_ROW]).encode())[0]
    return Contract(parse_instrument(row, Decimal("0.0002"), Decimal("0.00055")))


def rows_of(name: str) -> bytes:
    return json.dumps(sample("bybit", name)["data"]).encode()


def listed(name: str) -> bytes:
    return json.dumps(sample("bybit", name)["result"]["list"]).encode()


# -- what is written ---------------------------------------------------------------------------------


def test_requests_and_logins_are_signed_as_in_the_venues_vectors() -> None:
    vectors = {each["name"]: each for each in sample("bybit", "sign_vectors")["vectors"]}
    params = {"category": "linear", "symbol": "ETHUSDT", "openOnly": 0, "limit": 50}
    get = SIGNER.request("GET", "/v5/order/realtime", params, MS)
    assert get.headers["X-BAPI-SIGN"] == vectors["rest_get"]["signature"]
    order = make_order(Side.BUY, 300_000, 1)
    body = build_order(order, eth(), "g1-b-0001")
    assert json.dumps(body, separators=(",", ":")) == vectors["rest_post"]["body"]
    post = SIGNER.request("POST", "/v5/order/create", body, MS)
    assert post.headers["X-BAPI-SIGN"] == vectors["rest_post"]["signature"]
    asked = json.loads(SIGNER.auth(MS))
    assert asked["args"] == sample("bybit", "ws_auth_request")["args"]
    assert "mmBybitSecret" not in repr(SIGNER)


def test_an_order_over_the_trade_socket_is_the_venues_own_example() -> None:
    order = make_order(Side.BUY, 300_000, 10)
    frame = json.loads(build_place([order], eth(), ["g1-b-0001"], number=7, ms=MS))
    assert frame == {**sample("bybit", "wstrade_create_request"), "reqId": "7"}


def test_several_orders_go_as_a_batch_whose_rows_have_no_category() -> None:
    order = replace(make_order(Side.SELL, 300_000, 10), reduce_only=True, post_only=False)
    frame = json.loads(build_place([order, order], eth(), ["a1", "a2"], number=1, ms=MS))
    assert frame["op"] == "order.create-batch"
    (arg,) = frame["args"]
    assert arg["category"] == "linear"
    assert [row["orderLinkId"] for row in arg["request"]] == ["a1", "a2"]
    assert all(row["reduceOnly"] and row["timeInForce"] == "GTC" for row in arg["request"])
    assert all("category" not in row for row in arg["request"])


# -- what is read ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("ws_order_new", OrderStatus.OPEN, None),
        ("ws_order_partial", OrderStatus.OPEN, None),
        ("ws_order_filled", OrderStatus.FILLED, None),
        ("ws_order_canceled", OrderStatus.CANCELLED, EndReason.REQUESTED),
        ("ws_postonly_reject", OrderStatus.CANCELLED, EndReason.POST_ONLY),
        ("ws_order_smp", OrderStatus.CANCELLED, EndReason.SELF_TRADE),
        ("ws_order_filled_cancel_race", OrderStatus.FILLED, None),
    ],
)
def test_events_of_orders(name: str, status: OrderStatus, reason: EndReason | None) -> None:
    report = parse_order(read_orders(rows_of(name))[0], eth(), IDS)
    assert (report.status, report.end_reason) == (status, reason)
    assert report.fill is None


def test_an_execution_says_how_much_of_its_order_was_filled() -> None:
    row = {
        "symbol": "ETHUSDT", "orderId": "fd43", "execId": "0ab1", "execPrice": "3000.00",
        "execQty": "0.04", "execFee": "0.024", "execTime": "1767225605000", "side": "Buy",
        "orderPrice": "3000.00", "orderQty": "0.10", "leavesQty": "0.05", "isMaker": True,
    }  # fmt: skip
    report = parse_execution(read_executions(json.dumps([row]).encode())[0], eth(), IDS)
    assert (report.filled_lots, report.qty_lots, report.status) == (5, 10, OrderStatus.OPEN)
    assert report.fill is not None and report.fill.qty_lots == 4
    assert (report.fill.fee, report.fill.is_maker) == (Decimal("0.024"), True)


def test_recorded_trades_of_ours() -> None:
    rows = [row for row in read_executions(listed("rest_user_trades")) if row.symbol == "ETHUSDT"]
    fills = [parse_fill(row, eth(), IDS) for row in rows]
    assert [(each.qty_lots, each.side, each.fee) for each in fills] == [
        (50, Side.SELL, Decimal("0.9000"))
    ]
    for name in ("ws_execution", "ws_execution_adl"):
        assert read_executions(rows_of(name))[0].execType in TRADES


def test_positions_have_the_sign_of_their_side() -> None:
    position = parse_position(read_positions(listed("rest_positions")), eth())
    assert position is not None
    assert (position.qty_lots, position.entry_price) == (-500, Decimal("3000.00"))
    told = parse_position(read_positions(rows_of("ws_position")), eth())
    assert told is not None
    assert (told.qty_lots, told.entry_price) == (-1, Decimal("3641.075"))


def test_every_recorded_error_is_of_its_class() -> None:
    for name in sample_names("bybit", "error_*"):
        content = sample("bybit", name)
        status = content.get("_http_status", 200)
        text = content.get("_body_text")
        body = (text if text is not None else json.dumps(content)).encode()
        error = parse_answer_error(Answer(status=status, headers={}, body=body), "place")
        assert error is not None, name
        if status == 403:
            assert isinstance(error, RateLimited) and error.banned
        elif content["retCode"] == 10001 and isinstance(error, PositionModeMismatch):
            assert "position idx" in content["retMsg"]
        else:
            assert type(error) is ERROR_OF_CODE[content["retCode"]], name


def test_every_recorded_frame_is_understood() -> None:
    read: dict[str, Any] = {
        "publicTrade": read_trades,
        "tickers": read_ticker,
        "order": lambda text: read_orders(bytes(read_frame(text).data)),
        "execution": lambda text: read_executions(bytes(read_frame(text).data)),
        "position": lambda text: read_positions(bytes(read_frame(text).data)),
        "kline": lambda text: [
            parse_bar(bar, "X") for bar in read_bars(bytes(read_frame(text).data))
        ],
    }
    for name in sample_names("bybit", "ws_*"):
        text = json.dumps(sample("bybit", name)).encode()
        if name == "ws_auth_request":
            continue
        frame = read_frame(text)
        kind = frame.topic if "fast" in frame.topic else frame.topic.partition(".")[0]
        assert kind or frame.op, name
        if kind in read:
            read[kind](text)
    for name in sample_names("bybit", "wstrade_*"):
        if "request" not in name:
            assert read_reply(json.dumps(sample("bybit", name)).encode()).op


def test_no_code_stands_for_two_classes() -> None:
    codes = [code for each in ERRORS.values() for code in each]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    "change",
    [
        {"orderStatus": "Sleeping"}, {"side": "Hold"}, {"qty": "0.005"}, {"qty": "-1"},
        {"price": "NaN"}, {"cumExecQty": "9"}, {"updatedTime": "soon"},
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_refused(change: dict[str, str]) -> None:
    row = {**sample("bybit", "ws_order_new")["data"][0], **change}
    with pytest.raises(MalformedMessage):
        parse_order(read_orders(json.dumps([row]).encode())[0], eth(), IDS)


# -- over real sockets -------------------------------------------------------------------------------


def desk(**parts: float) -> AbstractAsyncContextManager[VenueDesk]:
    return venue_desk("bybit", **parts)


async def test_post_only_is_refused_later_by_the_stream() -> None:
    async with desk() as d:
        (placed,) = await d.adapter.place(d.instrument, [make_order(Side.BUY, BID + 20, 100)])
        assert isinstance(placed, OrderReport) and placed.status is OrderStatus.OPEN
        await until(lambda: len(d.reports(placed.venue_order_id)) >= 2)
        last = d.reports(placed.venue_order_id)[-1]
        assert (last.status, last.end_reason) == (OrderStatus.CANCELLED, EndReason.POST_ONLY)


@pytest.mark.parametrize("over_rest", [False, True])
async def test_one_bad_order_of_a_batch_fails_alone(over_rest: bool) -> None:
    async with desk() as d:
        if over_rest:
            d.adapter._services[0].cancel()
            await until(lambda: not d.adapter._entry.up)
        orders = [make_order(Side.BUY, 299_000, 100, sequence=n) for n in (1, 2, 1)]
        first, second, third = await d.adapter.place(d.instrument, orders)
        assert isinstance(first, OrderReport) and isinstance(second, OrderReport)
        assert isinstance(third, DuplicateClientOrderId)
        gone, also, unknown = await d.adapter.cancel(d.instrument, refs(1, 2, 9))
        assert gone is None and also is None
        assert isinstance(unknown, OrderNotFound)
        assert await d.adapter.fetch_open_orders(d.instrument) == []
        (alone,) = await d.adapter.place(
            d.instrument, [make_order(Side.BUY, 299_000, 100, sequence=3)]
        )
        assert isinstance(alone, OrderReport)
        ways = {method for method, path in d.venue.stage.served if "order" in path}
        assert ("WS" in ways) is not over_rest


async def test_an_id_is_never_free_again() -> None:
    async with desk() as d:
        order = make_order(Side.BUY, 299_000, 100, sequence=1)
        await d.adapter.place(d.instrument, [order])
        await d.adapter.cancel(d.instrument, refs(1))
        (again,) = await d.adapter.place(d.instrument, [order])
        assert isinstance(again, DuplicateClientOrderId)


async def test_a_fill_is_told_by_stream_query_and_history_alike() -> None:
    async with desk() as d:
        await d.adapter.place(d.instrument, [make_order(Side.BUY, BID, 100)])
        d.trade(BID - 1, 40)
        await until(lambda: any(each.fill for each in d.orders.reports))
        told = next(each for each in d.orders.reports if each.fill)
        assert told.fill is not None and told.filled_lots == told.fill.qty_lots
        (kept,) = await d.adapter.fetch_fills(d.instrument, 0)
        assert kept == told.fill
        asked = await d.adapter.fetch_order(
            d.instrument, make_order(Side.BUY, BID, 100).client_order_id
        )
        assert asked.filled_lots == told.filled_lots
        position = await d.adapter.fetch_position(d.instrument)
        assert position.qty_lots == told.filled_lots
        await until(lambda: bool(d.orders.positions))


async def test_an_open_list_of_several_pages_comes_whole() -> None:
    async with desk() as d:
        for start in range(0, 120, 10):
            orders = [
                make_order(Side.BUY, 250_000 + n, 20, sequence=n) for n in range(start, start + 10)
            ]
            outcomes = await d.adapter.place(d.instrument, orders)
            assert all(isinstance(each, OrderReport) for each in outcomes)
            d.venue._windows.clear()
        listed = await d.adapter.fetch_open_orders(d.instrument)
        assert len({each.venue_order_id for each in listed}) == 120


async def test_an_answer_that_does_not_come_leaves_the_fate_unknown() -> None:
    async with desk(timeout_s=0.3) as d:
        d.venue.mischief.hang_answers = 1
        (outcome,) = await d.adapter.place(d.instrument, [make_order(Side.BUY, 299_000, 100)])
        assert isinstance(outcome, OutcomeUnknown)
        assert len(await d.adapter.fetch_open_orders(d.instrument)) == 1


async def test_the_socket_comes_back_logged_in_and_subscribed() -> None:
    async with desk() as d:
        ups = d.orders.ups
        d.venue.stage.disconnect_all()
        await until(lambda: d.orders.ups > ups and d.adapter._entry.up)
        (placed,) = await d.adapter.place(d.instrument, [make_order(Side.BUY, 299_000, 100)])
        assert isinstance(placed, OrderReport)
        await until(lambda: bool(d.reports(placed.venue_order_id)))


async def test_usage_is_read_from_both_ways() -> None:
    async with desk() as d:
        heard: list[tuple[int, int]] = []
        d.adapter.on_usage = lambda used, limit: heard.append((used, limit))
        await d.adapter.place(d.instrument, [make_order(Side.BUY, 299_000, 100)])
        assert heard and heard[-1][1] == 10 and heard[-1][0] >= 1


async def test_a_ban_by_address_keeps_everything_quiet() -> None:
    async with desk() as d:
        d.venue.mischief.ban_s = 60.0
        with pytest.raises(RateLimited) as caught:
            await d.adapter.fetch_position(d.instrument)
        assert caught.value.banned
        with pytest.raises(RateLimited, match="keeping quiet"):
            await d.adapter.fetch_position(d.instrument)


@pytest.mark.parametrize(
    ("wrong", "code"), [({"api_key": "nobody"}, "10003"), ({"api_secret": "guessed"}, "10004")]
)
async def test_a_wrong_credential_is_refused_by_name(wrong: dict[str, str], code: str) -> None:
    async with desk() as d:
        other = on_loopback("bybit", d.venue, {**RIGHT, **wrong})
        await other._rest.open()
        try:
            with pytest.raises(AuthenticationRefused) as caught:
                await other._ask("/v5/account/info", operation="account")
            assert caught.value.code == code
            assert not any(value in str(caught.value) for value in {**RIGHT, **wrong}.values())
        finally:
            await other.close()


async def test_hedge_mode_and_the_right_to_withdraw_are_seen() -> None:
    async with desk() as d:
        d.venue.mischief.hedge_mode = d.venue.mischief.may_withdraw = True
        account = await d.adapter.fetch_account(d.instrument)
        assert account.hedge_mode and account.can_withdraw
        assert account.equity == PAPER.balance
        (refused,) = await d.adapter.place(d.instrument, [make_order(Side.BUY, 299_000, 100)])
        assert isinstance(refused, PositionModeMismatch)


async def test_prices_and_candles_arrive() -> None:
    async with desk() as d:
        d.trade(BID + 3, 5)
        await until(lambda: bool(d.prices.prices))
        assert d.prices.prices[-1][0] == BID + 3
        await until(lambda: bool(d.candles.candles and d.prices.confirming))
        assert d.candles.candles[-1].symbol == "ETHUSDT"
        (candle, *_) = await d.adapter.fetch_candles("ETHUSDT", 60, 10)
        assert candle.high >= 3000
        assert await d.adapter.fetch_funding_rate(d.instrument) == PAPER.funding_rate
