"""Backpack: what is written, what is read, and what only this venue does."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from marketmaker.adapters.backpack import adapter as module
from marketmaker.adapters.backpack.build import Signer, build_order, build_signed, build_subscribe
from marketmaker.adapters.backpack.parse import (
    parse_contract,
    parse_error,
    parse_fill,
    parse_micros,
    parse_order,
    parse_order_event,
    parse_position,
    parse_position_event,
    parse_utc,
)
from marketmaker.adapters.backpack.tables import ERROR_OF_CODE, ERRORS
from marketmaker.adapters.backpack.wire import (
    read_failure,
    read_fills,
    read_frame,
    read_markets,
    read_order,
    read_order_event,
    read_orders,
    read_position_event,
    read_positions,
)
from marketmaker.adapters.contract import Contract
from marketmaker.errors import (
    AuthenticationRefused,
    ClockSkew,
    ConfigError,
    MalformedMessage,
    PostOnlyWouldCross,
)
from marketmaker.loopback.backpack.venue import PUBLIC_KEY, SEED
from marketmaker.model.client_order_id import IntegerForm
from marketmaker.model.order import EndReason, OrderReport, OrderStatus, Side
from marketmaker.model.settings import Credentials
from tests.support.loopback import BID, until
from tests.support.paper import make_order
from tests.support.venue_desk import RIGHT, sample, sample_names, venue_desk

SIGNER = Signer(Credentials(api_key=PUBLIC_KEY, api_secret=SEED))
MS = 1_750_793_021_519
IDS = IntegerForm("mm", 32)
PAIR = {"api_key": PUBLIC_KEY, "api_secret": SEED}


def contract_of(symbol: str) -> Contract:
    base, quote, _ = symbol.split("_")
    row = {
        "symbol": symbol, "baseSymbol": base, "quoteSymbol": quote, "marketType": "PERP",
        "filters": {
            "price": {"tickSize": "0.01"}, "quantity": {"minQuantity": "0.0001", "stepSize": "0.0001"},
        },
    }  # fmt: skip
    return parse_contract(
        read_markets(json.dumps([row]).encode())[0], Decimal("0.0002"), Decimal("0.0005")
    )


SOL, ETH = contract_of("SOL_USDC_PERP"), contract_of("ETH_USDC_PERP")


def test_requests_are_signed_as_in_the_venues_vectors() -> None:
    body = sample("backpack", "rest_place_order_request")
    assert build_signed("orderExecute", body) == (
        "instruction=orderExecute&clientId=1234567&orderType=Limit&postOnly=true&price=141.25"
        "&quantity=0.5&side=Bid&symbol=SOL_USDC_PERP&timeInForce=GTC"
    )
    placed = SIGNER.request("POST", "/api/v1/order", body, MS)
    assert placed.headers["X-Signature"] == (
        "FZUerchkTut7xxHd79TCHPKUhZEXM0aAuQj6d/vXoGgEHKJTftcunEjWVUOOQwHP7hJ3ojN4U4v8fdaZWbOgBw=="
    )
    gone = SIGNER.request(
        "DELETE", "/api/v1/order", {"symbol": "SOL_USDC_PERP", "orderId": "28"}, MS
    )
    assert gone.headers["X-Signature"] == (
        "kBY0RJJYjjJDtjZq885kYPrJe1fz5rbSAeV1Bwfg/1Fhgmk07sTpo+ou03p8ao0OeVn26IInTXi22zDl3NmHCA=="
    )
    assert json.loads(gone.body) == {"symbol": "SOL_USDC_PERP", "orderId": "28"}
    asked = SIGNER.request("GET", "/api/v1/position", {}, MS)
    assert asked.headers["X-Signature"] == (
        "daq0RDZ4PwEovl7IXLqdLgazihePTPx7+KKfBoYu3zBdV6GdI9uwifKDur5qjjN11PinuMwEVZwxEVI+lfL6CA=="
    )
    topics = ["account.orderUpdate", "account.positionUpdate"]
    frame = json.loads(build_subscribe("subscribe", topics, 1, signer=SIGNER, ms=MS))
    assert frame == sample("backpack", "ws_subscribe_private")
    assert SEED not in repr(SIGNER)


def test_a_batch_is_signed_order_by_order_under_one_time() -> None:
    rows = [{"symbol": "SOL_USDC_PERP", "clientId": n} for n in (1, 2)]
    text = (
        "instruction=orderExecute&clientId=1&symbol=SOL_USDC_PERP"
        "&instruction=orderExecute&clientId=2&symbol=SOL_USDC_PERP"
        f"&timestamp={MS}&window=5000"
    )
    assert SIGNER.request("POST", "/api/v1/orders", rows, MS).headers["X-Signature"] == SIGNER.sign(
        text
    )


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"api_secret": "not base64!"}, "api_secret"),
        ({"api_secret": "c2hvcnQ="}, "api_secret"),
        ({"api_key": "AAAALo/mVPlAeLES6KmLp5AfhTrmlb7X4OORC60ElmQ="}, "api_key"),
    ],
)
def test_a_pair_that_does_not_match_is_refused_before_it_is_used(
    wrong: dict[str, str], named: str
) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        Signer(Credentials(**{**PAIR, **wrong}))
    assert SEED not in str(caught.value)


def test_an_order_is_named_by_a_whole_number() -> None:
    row = build_order(make_order(Side.BUY, 14_125, 5_000), SOL, "1234567")
    assert row == sample("backpack", "rest_place_order_request") | {"quantity": "0.5000"}


@pytest.mark.parametrize(
    ("name", "status", "reason", "filled"),
    [
        ("ws_order_new", OrderStatus.OPEN, None, 0),
        ("ws_order_partially_filled", OrderStatus.OPEN, None, 2_000),
        ("ws_order_filled", OrderStatus.FILLED, None, 5_000),
        ("ws_order_canceled", OrderStatus.CANCELLED, EndReason.REQUESTED, 2_000),
        ("ws_order_expired_postonly", OrderStatus.CANCELLED, EndReason.POST_ONLY, 0),
    ],
)
def test_events_of_orders(
    name: str, status: OrderStatus, reason: EndReason | None, filled: int
) -> None:
    event = read_order_event(json.dumps(sample("backpack", name)["data"]).encode())
    report = parse_order_event(event, SOL, IDS, None)
    assert (report.status, report.end_reason, report.filled_lots) == (status, reason, filled)
    assert (report.fill is not None) == (name in ("ws_order_partially_filled", "ws_order_filled"))


def test_an_event_that_leaves_out_the_order_is_completed_from_what_was_told() -> None:
    known = parse_order_event(
        read_order_event(json.dumps(sample("backpack", "ws_order_new")["data"]).encode()),
        SOL,
        IDS,
        None,
    )
    short = {"e": "orderCancelled", "s": "SOL_USDC_PERP", "S": "Bid", "X": "Cancelled", "i": "9",
             "T": 1694687692980000, "z": "0"}  # fmt: skip
    report = parse_order_event(read_order_event(json.dumps(short).encode()), SOL, IDS, known)
    assert (report.qty_lots, report.price_ticks) == (5_000, 14_125)


def test_recorded_positions_fills_and_lists() -> None:
    position = parse_position(
        read_positions(json.dumps(sample("backpack", "rest_positions")).encode()), ETH
    )
    assert position is not None and position.qty_lots == 36
    told = read_position_event(
        json.dumps(sample("backpack", "ws_position_snapshot")["data"]).encode()
    )
    assert parse_position_event(told, SOL).qty_lots == -100
    fills = read_fills(json.dumps(sample("backpack", "rest_my_trades")).encode())
    fill = parse_fill(fills[0], ETH, IDS)
    assert (fill.qty_lots, fill.fee, fill.ts_venue_ns % 1_000_000_000) == (
        26,
        Decimal("0.004974"),
        92_000_000,
    )
    for name in ("rest_open_orders", "rest_cancel_all"):
        for row in read_orders(json.dumps(sample("backpack", name)).encode()):
            parse_order(row, SOL, IDS)
    for name in ("rest_order", "rest_place_order", "rest_cancel_order"):
        parse_order(read_order(json.dumps(sample("backpack", name)).encode()), SOL, IDS)


def test_every_recorded_frame_has_a_stream_or_an_error() -> None:
    for name in sample_names("backpack", "ws_*"):
        if name != "ws_subscribe_private":
            frame = read_frame(json.dumps(sample("backpack", name)).encode())
            assert frame.stream or bytes(frame.error) != b"null", name


def test_every_recorded_error_is_of_its_class() -> None:
    special = {
        "error_post_only": PostOnlyWouldCross,
        "error_signature": AuthenticationRefused,
        "error_timestamp": ClockSkew,
    }
    for name in sample_names("backpack", "error_*"):
        failure = read_failure(json.dumps(sample("backpack", name)).encode())
        expected = special.get(name) or ERROR_OF_CODE[failure.code]
        assert type(parse_error(failure, "place")) is expected, name
    codes = [code for each in ERRORS.values() for code in each]
    assert len(codes) == len(set(codes))


def test_times_are_read_in_each_of_their_dresses() -> None:
    assert parse_utc("2025-07-19 13:12:00") == parse_utc("2025-07-19T13:12:00")
    assert parse_utc("1970-01-01T00:00:01.5") == 1_500_000_000
    assert parse_micros("1754517402449064") == parse_micros(1754517402449064)
    for wrong in ("yesterday", "2025-13-01T00:00:00"):
        with pytest.raises(MalformedMessage):
            parse_utc(wrong)


async def test_an_order_that_has_ended_is_found_in_the_history() -> None:
    """By its number where this process met it, else among the recent ones."""
    async with venue_desk("backpack", credentials=PAIR) as d:
        order = make_order(Side.BUY, BID - 100, 100)
        (placed,) = await d.adapter.place(d.instrument, [order])
        assert isinstance(placed, OrderReport)
        d.venue.desk.cancel_all("ETHUSDT")
        for forget in (False, True):
            if forget:
                d.adapter._numbers.clear()
            found = await d.adapter.fetch_order(d.instrument, order.client_order_id)
            assert (found.status, found.venue_order_id) == (
                OrderStatus.CANCELLED,
                placed.venue_order_id,
            )


async def test_funding_is_found_in_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FUNDING_POLL_S", 0.05)
    async with venue_desk("backpack", credentials=PAIR) as d:
        await d.adapter.place(d.instrument, [make_order(Side.BUY, BID, 100)])
        d.trade(BID - 1, 100)
        await until(lambda: bool(d.orders.positions))
        d.venue.stage.book.exchange.pay_funding(d.venue.stage.book.now_ns())
        await until(lambda: bool(d.orders.funding))
        assert d.orders.funding[0][1] < 0, "longs pay"
        assert RIGHT["api_key"] != PUBLIC_KEY
