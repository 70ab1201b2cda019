"""Gate: what is written, what is read, and the adapter against the loopback venue over real sockets."""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest

from marketmaker.adapters.contract import Contract
from marketmaker.adapters.gate.build import Signer, build_order, build_place, build_subscribe
from marketmaker.adapters.gate.parse import (
    decimal_of,
    parse_bar,
    parse_bar_name,
    parse_contract,
    parse_error,
    parse_fill,
    parse_order,
    parse_position,
    parse_trade_report,
)
from marketmaker.adapters.gate.tables import ERROR_OF_LABEL, ERRORS
from marketmaker.adapters.gate.wire import (
    read_bars,
    read_contracts,
    read_failure,
    read_frame,
    read_order,
    read_orders,
    read_positions,
    read_reply,
    read_tickers,
    read_trades,
    read_user_trades,
)
from marketmaker.errors import (
    AuthenticationRefused,
    MalformedMessage,
    OrderNotFound,
    OutcomeUnknown,
    PostOnlyWouldCross,
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

SIGNER = Signer(Credentials(api_key="KEY", api_secret="mmSecret-0123456789abcdef"))
MS = 1_767_225_600_000
IDS = TextForm("mm", "t-")
ETH_ROW = {
    "name": "ETH_USDT", "quanto_multiplier": "0.01", "order_price_round": "0.1",
    "order_size_min": 1, "order_size_max": 1000000, "maker_fee_rate": "0.0002",
    "taker_fee_rate": "0.0005",
}  # fmt: skip


def eth() -> Contract:
    return parse_contract(read_contracts(json.dumps([ETH_ROW]).encode())[0])


def result_of(name: str) -> bytes:
    return json.dumps(sample("gate", name)["result"]).encode()


# -- what is written ---------------------------------------------------------------------------------


def test_requests_are_signed_as_in_the_venues_vectors() -> None:
    body = {
        "contract": "ETH_USDT",
        "size": 5,
        "price": "3000.1",
        "tif": "poc",
        "text": "t-mm-b-000001",
    }
    post = SIGNER.request("POST", "/api/v4/futures/usdt/orders", body, MS)
    assert hashlib.sha512(post.body).hexdigest().startswith("6d4ec7192f94b4ea98b0d1ad8609d432")
    assert post.headers["SIGN"].startswith("e46e849defa2e45f6a3748e635d55b22f912f38c44434c7e")
    params = {"contract": "ETH_USDT", "status": "open"}
    get = SIGNER.request("GET", "/api/v4/futures/usdt/orders", params, MS)
    assert get.headers["SIGN"].startswith("3f0a234ac4d79e4aecde0b97403ad593ec96451e99af87ed")
    assert get.headers["Timestamp"] == "1767225600"
    assert "mmSecret" not in repr(SIGNER)


def test_a_private_subscription_and_the_login_are_the_venues_own_examples() -> None:
    frame = json.loads(
        build_subscribe("subscribe", ["futures.orders"], 11, signer=SIGNER, user="100000", ms=MS)
    )
    assert frame == sample("gate", "ws_subscribe_orders")["request"]
    assert (
        json.loads(SIGNER.login(MS, number="login-1")) == sample("gate", "wsapi_login")["request"]
    )


def test_an_order_counts_signed_contracts() -> None:
    """0.05 ETH are five contracts of 0.01 ETH; sells are below zero."""
    contract = eth()
    assert contract.instrument.lot_size == Decimal("0.01")
    buy = make_order(Side.BUY, 30_001, 5)
    assert build_order(buy, contract, "t-mm-b-000001") == {
        "contract": "ETH_USDT", "size": 5, "price": "3000.1", "tif": "poc", "text": "t-mm-b-000001",
    }  # fmt: skip
    sell = replace(make_order(Side.SELL, 30_001, 5), reduce_only=True, post_only=False)
    frame = json.loads(build_place([sell, sell], contract, ["t-a", "t-b"], number=3, ms=MS))
    assert frame["channel"] == "futures.order_batch_place"
    rows = frame["payload"]["req_param"]
    assert [(row["size"], row["reduce_only"], row["tif"]) for row in rows] == [
        (-5, True, "gtc")
    ] * 2


# -- what is read ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "reason", "filled"),
    [
        ("ws_order_new", OrderStatus.OPEN, None, 0),
        ("ws_order_partial", OrderStatus.OPEN, None, 2),
        ("ws_order_filled", OrderStatus.FILLED, None, 5),
        ("ws_order_canceled", OrderStatus.CANCELLED, EndReason.REQUESTED, 2),
        ("ws_order_reduce_only_removed", OrderStatus.CANCELLED, EndReason.REDUCE_ONLY, 0),
    ],
)
def test_events_of_orders(
    name: str, status: OrderStatus, reason: EndReason | None, filled: int
) -> None:
    report = parse_order(read_orders(result_of(name))[0], eth(), IDS)
    assert (report.status, report.end_reason, report.filled_lots) == (status, reason, filled)
    assert (report.price_ticks, report.qty_lots) == (30_001, 5)


@pytest.mark.parametrize("text", ["3000.1", '"3000.1"', "3.0001e3"])
def test_a_figure_is_the_same_as_number_and_as_text(text: str) -> None:
    assert decimal_of(msgspec.Raw(text.encode())) == Decimal("3000.1")


def test_what_was_paid_in_points_is_stated_at_the_rate() -> None:
    row = {
        "id": "1", "contract": "ETH_USDT", "order_id": "7", "size": -5, "price": "3000.1",
        "role": "maker", "fee": 0, "point_fee": 0.03, "create_time_ms": MS,
    }  # fmt: skip
    fill = parse_fill(read_user_trades(json.dumps([row]).encode())[0], eth(), IDS)
    assert (fill.side, fill.qty_lots) == (Side.SELL, 5)
    assert fill.fee == Decimal("3000.1") * Decimal("0.05") * Decimal("0.0002")


def test_a_trade_alone_fills_an_order_no_further_than_its_own_trades() -> None:
    fill = parse_fill(
        read_user_trades(
            json.dumps(
                [
                    {
                        "id": "1", "contract": "ETH_USDT", "order_id": "7", "size": 2,
                        "price": "3000.1", "role": "maker", "create_time_ms": MS,
                    }
                ]
            ).encode()
        )[0],
        eth(),
        IDS,
    )  # fmt: skip
    alone = parse_trade_report(fill, None, 2)
    assert (alone.filled_lots, alone.status) == (2, OrderStatus.OPEN)
    known = parse_order(read_orders(result_of("ws_order_partial"))[0], eth(), IDS)
    both = parse_trade_report(fill, known, 5)
    assert (both.filled_lots, both.qty_lots, both.status) == (5, 5, OrderStatus.FILLED)


def test_recorded_answers_of_the_order_socket() -> None:
    error = read_reply(json.dumps(sample("gate", "wsapi_place_error")).encode())
    assert error.data.errs is not None and not error.ack
    assert isinstance(parse_error(error.data.errs, "place"), PostOnlyWouldCross)
    echo = read_reply(json.dumps(sample("gate", "wsapi_place")["ack"]).encode())
    assert echo.ack
    cancel = read_reply(json.dumps(sample("gate", "wsapi_cancel")["result"]).encode())
    assert read_order(bytes(cancel.data.result)).status == "finished"


def test_every_recorded_error_is_of_its_class() -> None:
    for name in sample_names("gate", "error_*"):
        failure = read_failure(json.dumps(sample("gate", name)).encode())
        assert failure.label in ERROR_OF_LABEL, name
        assert type(parse_error(failure, "place")) is ERROR_OF_LABEL[failure.label], name


def test_every_recorded_frame_is_understood() -> None:
    read = {
        "futures.trades": read_trades,
        "futures.tickers": lambda text: read_tickers(bytes(read_frame(text).result)),
        "futures.candlesticks": lambda text: [
            parse_bar(bar, "X", parse_bar_name(bar.n)[0], Decimal(1), 0)
            for bar in read_bars(bytes(read_frame(text).result))
        ],
        "futures.orders": lambda text: read_orders(bytes(read_frame(text).result)),
        "futures.usertrades": lambda text: read_user_trades(bytes(read_frame(text).result)),
        "futures.positions": lambda text: read_positions(bytes(read_frame(text).result)),
    }
    for name in sample_names("gate", "ws_*"):
        content = sample("gate", name)
        if "channel" not in content:
            continue  # several messages, or a note
        text = json.dumps(content).encode()
        frame = read_frame(text)
        assert frame.event in ("update", "all"), name
        if frame.channel in read:
            read[frame.channel](text)


def test_recorded_positions_trades_and_lists() -> None:
    btc = parse_contract(
        read_contracts(
            json.dumps([{**ETH_ROW, "name": "BTC_USDT", "order_price_round": "0.001"}]).encode()
        )[0]
    )
    row = read_positions(json.dumps(sample("gate", "rest_positions")).encode())[0]
    position = parse_position(row, btc, None)
    assert (position.qty_lots, position.entry_price) == (-9440, Decimal("3779.55"))
    trades = read_user_trades(json.dumps(sample("gate", "rest_user_trades")).encode())
    assert parse_fill(trades[0], btc, IDS).ts_venue_ns == 1_514_764_800_123_000_000
    orders = read_orders(json.dumps(sample("gate", "rest_open_orders")).encode())
    assert [parse_order(each, btc, IDS).side for each in orders] == [Side.BUY, Side.SELL]


def test_no_label_stands_for_two_classes() -> None:
    labels = [label for each in ERRORS.values() for label in each]
    assert len(labels) == len(set(labels))


@pytest.mark.parametrize(
    "change",
    [
        {"status": "sleeping"}, {"size": 0}, {"left": -3}, {"left": 9}, {"price": "NaN"},
        {"size": 1.5}, {"price": 3000.15},
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_refused(change: dict[str, object]) -> None:
    row = {**sample("gate", "ws_order_partial")["result"][0], **change}
    with pytest.raises(MalformedMessage):
        parse_order(read_orders(json.dumps([row]).encode())[0], eth(), IDS)


# -- over real sockets -------------------------------------------------------------------------------


def desk(**parts: float) -> AbstractAsyncContextManager[VenueDesk]:
    return venue_desk("gate", **parts)


@pytest.mark.parametrize("over_rest", [False, True])
async def test_one_bad_order_of_a_batch_fails_alone(over_rest: bool) -> None:
    async with desk() as d:
        if over_rest:
            d.adapter._services[0].cancel()
            await until(lambda: not d.adapter._entry.up)
        good, taking = (
            make_order(Side.BUY, price, 100, sequence=n)
            for n, price in ((1, 299_000), (2, BID + 20))
        )
        first, second = await d.adapter.place(d.instrument, [good, taking])
        assert isinstance(first, OrderReport)
        assert isinstance(second, PostOnlyWouldCross)
        gone, unknown = await d.adapter.cancel(d.instrument, refs(1, 9))
        assert gone is None
        assert isinstance(unknown, OrderNotFound)
        (alone,) = await d.adapter.place(
            d.instrument, [make_order(Side.BUY, 299_000, 100, sequence=3)]
        )
        assert isinstance(alone, OrderReport)
        (ended,) = await d.adapter.cancel(d.instrument, refs(3))
        assert isinstance(ended, OrderReport) and ended.status is OrderStatus.CANCELLED
        ways = {method for method, path in d.venue.stage.served if "order" in path}
        assert ("WS" in ways) is not over_rest


async def test_a_fill_is_told_by_stream_query_and_history_alike() -> None:
    async with desk() as d:
        await d.adapter.place(d.instrument, [make_order(Side.BUY, BID, 100)])
        d.trade(BID - 1, 40)
        await until(lambda: any(each.fill for each in d.orders.reports))
        told = next(each for each in d.orders.reports if each.fill)
        (kept,) = await d.adapter.fetch_fills(d.instrument, 0)
        assert kept == told.fill
        asked = await d.adapter.fetch_order(
            d.instrument, make_order(Side.BUY, BID, 100).client_order_id
        )
        assert asked.filled_lots == told.filled_lots
        position = await d.adapter.fetch_position(d.instrument)
        assert position.qty_lots == told.filled_lots
        await until(lambda: bool(d.orders.positions))


async def test_an_answer_that_does_not_come_leaves_the_fate_unknown() -> None:
    async with desk(timeout_s=0.3) as d:
        d.venue.mischief.hang_answers = 1
        (outcome,) = await d.adapter.place(d.instrument, [make_order(Side.BUY, 299_000, 100)])
        assert isinstance(outcome, OutcomeUnknown)
        assert len(await d.adapter.fetch_open_orders(d.instrument)) == 1


async def test_usage_and_limits_are_read() -> None:
    async with desk() as d:
        heard: list[tuple[int, int]] = []
        d.adapter.on_usage = lambda used, limit: heard.append((used, limit))
        await d.adapter.place(d.instrument, [make_order(Side.BUY, 299_000, 100)])
        assert heard and heard[-1][1] == 100
        d.venue.mischief.rate_limit = 1
        with pytest.raises(RateLimited):
            await d.adapter.fetch_position(d.instrument)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"api_key": "nobody"}, "INVALID_KEY"), ({"api_secret": "guessed"}, "INVALID_SIGNATURE")],
)
async def test_a_wrong_credential_is_refused_by_name(wrong: dict[str, str], code: str) -> None:
    async with desk() as d:
        other = on_loopback("gate", d.venue, {**RIGHT, **wrong})
        try:
            with pytest.raises(AuthenticationRefused) as caught:
                await other.connect()
            assert caught.value.code == code
            assert not any(value in str(caught.value) for value in {**RIGHT, **wrong}.values())
        finally:
            await other.close()


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
