"""OKX: what is written, what is read, and the adapter against the loopback venue over real sockets."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from decimal import Decimal

import pytest

from marketmaker.adapters.contract import Contract
from marketmaker.adapters.http import Answer
from marketmaker.adapters.okx.build import Signer, build_order_params, build_place, build_time
from marketmaker.adapters.okx.parse import (
    parse_answer_error,
    parse_contract,
    parse_fill,
    parse_order,
    parse_placed,
    parse_position,
)
from marketmaker.adapters.okx.tables import CANCEL_SOURCES, ERROR_OF_CODE, ERRORS
from marketmaker.adapters.okx.wire import (
    read_acks,
    read_fills,
    read_frame,
    read_instruments,
    read_orders,
    read_positions,
)
from marketmaker.errors import (
    AuthenticationRefused,
    DuplicateClientOrderId,
    FilterViolation,
    MalformedMessage,
    OrderNotFound,
    OutcomeUnknown,
    PositionModeMismatch,
    RateLimited,
    VenueError,
)
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.order import EndReason, OrderReport, OrderStatus, Side
from marketmaker.model.settings import Credentials
from tests.support.loopback import BID, PAPER, until
from tests.support.paper import (
    make_order,
)
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
    Credentials(
        api_key="mmOkxKey000001",
        api_secret="mmOkxSecret000000000000000000001",
        passphrase="mmPass1!",
    )
)
MS = 1_767_225_600_000
ETH_ROW = {
    "instId": "ETH-USDT-SWAP", "instFamily": "ETH-USDT", "ctType": "linear", "ctVal": "0.1",
    "ctMult": "1", "ctValCcy": "ETH", "settleCcy": "USDT", "tickSz": "0.01", "lotSz": "0.01",
    "minSz": "0.01", "state": "live", "instIdCode": 10461,
}  # fmt: skip
IDS = TextForm("mm")


def eth() -> Contract:
    row = read_instruments(json.dumps([ETH_ROW]).encode())[0]
    return parse_contract(row, Decimal("0.0002"), Decimal("0.0005"))


def rows_of(name: str) -> bytes:
    return json.dumps(sample("okx", name)["data"]).encode()


# -- what is written ---------------------------------------------------------------------------------


def test_requests_and_logins_are_signed_as_in_the_venues_vectors() -> None:
    vectors = {each["name"]: each["signature"] for each in sample("okx", "sign_vectors")["vectors"]}
    params = {"instType": "SWAP", "instId": "ETH-USDT-SWAP"}
    get = SIGNER.request("GET", "/api/v5/trade/orders-pending", params, MS)
    assert get.headers["OK-ACCESS-SIGN"] == vectors["rest_get"]
    assert get.headers["OK-ACCESS-TIMESTAMP"] == "2026-01-01T00:00:00.000Z"
    body = {
        "instId": "ETH-USDT-SWAP", "tdMode": "cross", "side": "buy", "ordType": "post_only",
        "sz": "0.1", "px": "3000.00", "clOrdId": "g1b0001",
    }  # fmt: skip
    post = SIGNER.request("POST", "/api/v5/trade/order", body, MS)
    assert post.headers["OK-ACCESS-SIGN"] == vectors["rest_post"]
    assert json.loads(SIGNER.login(MS)) == sample("okx", "ws_login_request")
    assert "mmOkxSecret" not in repr(SIGNER)


def test_a_time_keeps_its_milliseconds() -> None:
    assert build_time(MS + 7) == "2026-01-01T00:00:00.007Z"


def test_an_order_counts_contracts_and_says_the_same_over_both_ways() -> None:
    """0.010 ETH are a tenth of a contract of 0.1 ETH."""
    contract = eth()
    assert contract.instrument.lot_size == Decimal("0.001")
    order = make_order(Side.BUY, 300_000, 10)
    frame = json.loads(build_place([order], contract, ["g1b0001"], tag="mm", number=1512, ms=MS))
    expected = sample("okx", "wsorder_place_request")
    assert frame["args"][0] == {**expected["args"][0], "sz": "0.10", "px": "3000.00", "tag": "mm"}
    assert (frame["id"], frame["op"], frame["expTime"]) == ("1512", "order", str(MS + 5_000))
    rest = build_order_params(order, contract, "g1b0001", "mm")
    assert {**rest, "instIdCode": 10461} == {**frame["args"][0], "instId": "ETH-USDT-SWAP"}


def test_a_reducing_order_says_so_and_several_go_as_a_batch() -> None:
    order = replace(make_order(Side.SELL, 300_000, 10), reduce_only=True, post_only=False)
    frame = json.loads(build_place([order, order], eth(), ["a1", "a2"], tag="mm", number=1, ms=MS))
    assert frame["op"] == "batch-orders"
    assert [row["clOrdId"] for row in frame["args"]] == ["a1", "a2"]
    assert all(row["reduceOnly"] is True and row["ordType"] == "limit" for row in frame["args"])


# -- what is read ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "reason", "filled"),
    [
        ("ws_order_new", OrderStatus.OPEN, None, 0),
        ("ws_order_partial", OrderStatus.OPEN, None, 4),
        ("ws_order_filled", OrderStatus.FILLED, None, None),
        ("ws_order_canceled", OrderStatus.CANCELLED, EndReason.REQUESTED, None),
        ("ws_postonly_reject", OrderStatus.CANCELLED, EndReason.POST_ONLY, 0),
        ("ws_order_stp", OrderStatus.CANCELLED, EndReason.SELF_TRADE, None),
        ("ws_order_caa", OrderStatus.CANCELLED, EndReason.EXPIRED, None),
    ],
)
def test_events_of_orders(
    name: str, status: OrderStatus, reason: EndReason | None, filled: int | None
) -> None:
    report = parse_order(read_orders(rows_of(name))[0], eth(), IDS)
    assert (report.status, report.end_reason) == (status, reason)
    assert filled is None or report.filled_lots == filled


def test_a_partial_fill_carries_its_trade_and_what_was_paid() -> None:
    fill = parse_order(read_orders(rows_of("ws_order_partial"))[0], eth(), IDS).fill
    assert fill is not None
    assert (fill.trade_id, fill.qty_lots, fill.price_ticks) == ("1518905600", 4, 300_000)
    assert (fill.fee, fill.is_maker) == (Decimal("0.0024"), True)
    again = parse_fill(read_fills(rows_of("rest_user_trades"))[0], eth(), IDS)
    assert (again.trade_id, again.fee, again.ts_venue_ns) == (
        fill.trade_id,
        fill.fee,
        fill.ts_venue_ns,
    )


def test_a_list_of_open_orders_tells_of_no_trade() -> None:
    (report,) = (parse_order(row, eth(), IDS) for row in read_orders(rows_of("rest_open_orders")))
    assert report.fill is None and report.price_ticks == 300_000


def test_a_short_position_is_below_zero() -> None:
    for name in ("rest_positions", "ws_positions"):
        position = parse_position(read_positions(rows_of(name)), eth())
        assert position is not None
        assert (position.qty_lots, position.entry_price) == (-10, Decimal("2990.5"))


def test_each_order_of_a_batch_has_its_own_answer() -> None:
    acks = read_acks(rows_of("rest_place_order_batch"))
    order = make_order(Side.BUY, 300_000, 10)
    first, second = (parse_placed(ack, order, "place") for ack in acks)
    assert isinstance(first, OrderReport) and first.venue_order_id == "2497956918703120384"
    assert isinstance(second, FilterViolation) and second.code == "51121"


def test_every_recorded_error_is_of_its_class() -> None:
    """Of the request itself or of its one order; none falls through to the status."""
    names = sample_names("okx", "error_*")
    for name in names:
        body = sample("okx", name)
        rows = body.get("data") or [{}]
        code = rows[0].get("sCode") or body["code"]
        assert code in ERROR_OF_CODE, name
        answer = Answer(status=200, headers={}, body=json.dumps(body).encode())
        found = parse_answer_error(answer, "place")
        if found is None:
            order = make_order(Side.BUY, 300_000, 10)
            acks = read_acks(json.dumps(body["data"]).encode())
            outcome = parse_placed(acks[0], order, "place")
            assert isinstance(outcome, VenueError)
            found = outcome
        about_mode = "posSide" in json.dumps(body)
        assert type(found) is (PositionModeMismatch if about_mode else ERROR_OF_CODE[code]), name


def test_every_recorded_frame_is_understood() -> None:
    names = sample_names("okx", "ws_*")
    for name in names:
        content = sample("okx", name)
        if "op" in content:
            continue  # what a client sends
        frame = read_frame(json.dumps(content).encode())
        assert frame.event or frame.arg is not None, name
        if not frame.event and frame.arg is not None and frame.arg.channel == "orders":
            for row in read_orders(bytes(frame.data)):
                if row.instId == "ETH-USDT-SWAP":
                    parse_order(row, eth(), IDS)


def test_no_code_stands_for_two_classes() -> None:
    codes = [code for each in ERRORS.values() for code in each]
    assert len(codes) == len(set(codes))
    assert CANCEL_SOURCES["31"] is EndReason.POST_ONLY


@pytest.mark.parametrize(
    "change",
    [
        {"state": "sleeping"}, {"side": "hold"}, {"sz": "0.005"}, {"sz": "-1"}, {"px": "NaN"},
        {"accFillSz": "9"}, {"uTime": "soon"}, {"fillSz": "1e9"},
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_refused(change: dict[str, str]) -> None:
    row = {**sample("okx", "ws_order_partial")["data"][0], **change}
    with pytest.raises(MalformedMessage):
        parse_order(read_orders(json.dumps([row]).encode())[0], eth(), IDS)


# -- over real sockets -------------------------------------------------------------------------------


def desk(**parts: float) -> AbstractAsyncContextManager[VenueDesk]:
    return venue_desk("okx", **parts)


async def test_an_instrument_is_the_same_in_coins_as_at_any_venue() -> None:
    async with desk() as d:
        assert (d.instrument.name, d.instrument.base, d.instrument.quote) == (
            "ETHUSDT",
            "ETH",
            "USDT",
        )
        assert (d.instrument.tick_size, d.instrument.lot_size) == (
            Decimal("0.01"),
            Decimal("0.001"),
        )


async def test_post_only_is_refused_later_by_the_stream() -> None:
    async with desk() as d:
        taking = make_order(Side.BUY, BID + 20, 100, sequence=1)
        (placed,) = await d.adapter.place(d.instrument, [taking])
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
        ways = {method for method, path in d.venue.stage.served if "order" in path}
        assert ("WS" in ways) is not over_rest


async def test_a_fill_is_told_by_stream_query_and_history_alike() -> None:
    async with desk() as d:
        (placed,) = await d.adapter.place(d.instrument, [make_order(Side.BUY, BID, 100)])
        assert isinstance(placed, OrderReport)
        d.trade(BID - 1, 40)
        await until(lambda: any(each.fill for each in d.orders.reports))
        told = next(each.fill for each in d.orders.reports if each.fill)
        (kept,) = await d.adapter.fetch_fills(d.instrument, 0)
        assert kept == told
        asked = await d.adapter.fetch_order(
            d.instrument, make_order(Side.BUY, BID, 100).client_order_id
        )
        assert asked.filled_lots == told.qty_lots
        position = await d.adapter.fetch_position(d.instrument)
        assert position.qty_lots == told.qty_lots
        assert position.entry_price == Decimal(BID) * d.instrument.tick_size
        await until(lambda: bool(d.orders.positions))


async def test_an_open_list_of_several_pages_comes_whole() -> None:
    async with desk() as d:
        for start in range(0, 230, 20):
            orders = [
                make_order(Side.BUY, 250_000 + n, 20, sequence=n)
                for n in range(start, min(start + 20, 230))
            ]
            for outcome in await d.adapter.place(d.instrument, orders):
                assert isinstance(outcome, OrderReport)
            d.venue._windows.clear()
        listed = await d.adapter.fetch_open_orders(d.instrument)
        assert len({each.venue_order_id for each in listed}) == 230


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


async def test_the_switch_cancels_only_what_carries_our_tag() -> None:
    async with desk() as d:
        await d.adapter.place(d.instrument, [make_order(Side.BUY, 299_000, 100)])
        await until(lambda: "mm" in d.venue.stage._switches)
        d.venue._cancel_tagged("other")
        assert len(d.venue.desk.open_orders()) == 1
        d.venue._cancel_tagged("mm")
        await until(lambda: any(each.end_reason is EndReason.EXPIRED for each in d.orders.reports))
        assert d.venue.desk.open_orders() == []


async def test_a_rate_limit_keeps_the_account_quiet() -> None:
    async with desk() as d:
        d.venue.mischief.rate_limit = 1
        with pytest.raises(RateLimited) as caught:
            await d.adapter.fetch_position(d.instrument)
        assert caught.value.retry_after_s
        with pytest.raises(RateLimited, match="keeping quiet"):
            await d.adapter.fetch_position(d.instrument)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"api_key": "nobody"}, "50111"),
        ({"api_secret": "guessed"}, "50113"),
        ({"passphrase": "forgotten"}, "50105"),
    ],
)
async def test_a_wrong_credential_is_refused_by_name(wrong: dict[str, str], code: str) -> None:
    async with desk() as d:
        other = on_loopback("okx", d.venue, {**RIGHT, **wrong})
        await other._rest.open()
        try:
            with pytest.raises(AuthenticationRefused) as caught:
                await other._ask("/api/v5/account/config", operation="account")
            assert caught.value.code == code
            assert not any(value in str(caught.value) for value in {**RIGHT, **wrong}.values())
        finally:
            await other.close()


async def test_prices_and_candles_arrive() -> None:
    async with desk() as d:
        d.trade(BID + 3, 5)
        await until(lambda: bool(d.prices.prices))
        assert d.prices.prices[-1][0] == BID + 3
        await until(lambda: bool(d.candles.candles))
        assert d.candles.candles[-1].symbol == "ETHUSDT"
        (candle, *_) = await d.adapter.fetch_candles("ETHUSDT", 60, 10)
        assert candle.high >= 3000
        assert await d.adapter.fetch_funding_rate(d.instrument) == PAPER.funding_rate
