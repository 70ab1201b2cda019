"""What Binance says, read: its example payloads, recorded frames, its error codes, and frames that are none of these."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketmaker import errors
from marketmaker.adapters.binance import LIVE, Binance, make, parse, tables, wire
from marketmaker.adapters.binance.parse import (
    parse_answer_error,
    parse_error,
    parse_instrument,
    parse_kline_row,
    parse_order,
    parse_position,
    parse_trade_row,
)
from marketmaker.adapters.binance.tables import ERROR_OF_CODE
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.feeds import PriceFeed
from marketmaker.adapters.frames import FRAME_KEPT, KEPT
from marketmaker.adapters.http import Answer
from marketmaker.adapters.websocket import Link
from marketmaker.errors import MalformedMessage, VenueError
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import ClientOrderId, EndReason, OrderReport, OrderStatus, Side
from marketmaker.model.settings import Credentials
from tests.support.fakes import ManualClock
from tests.support.hostile import mutate
from tests.support.paper import HeardCandles, HeardOrders, HeardPrices

OPEN, FILLED, CANCELLED = OrderStatus.OPEN, OrderStatus.FILLED, OrderStatus.CANCELLED
STEPS = {
    "ETHUSDT": ("0.01", "0.001"),
    "BTCUSDT": ("0.1", "0.001"),
    "BNBUSDT": ("0.0001", "1"),
    "SOLUSDT": ("0.01", "0.01"),
}
IDS = TextForm("mm")
NOW_NS = 1_767_225_600_000_000_000


def instrument_of(symbol: str) -> Instrument:
    tick, lot = STEPS[symbol]
    return Instrument(
        venue="binance",
        name=symbol,
        base=symbol.removesuffix("USDT"),
        quote="USDT",
        tick_size=Decimal(tick),
        lot_size=Decimal(lot),
        maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.0005"),
    )


@dataclass
class Ear:
    """An adapter without a network that listens to everything, and what it told."""

    adapter: Binance
    prices: HeardPrices
    orders: HeardOrders
    candles: HeardCandles
    link: Link

    def price(self, frame: bytes) -> None:
        self.adapter._hear_price(self.link, frame)

    def private(self, frame: bytes) -> None:
        self.adapter._hear_private(self.link, frame)

    def candle(self, frame: bytes) -> None:
        self.adapter._hear_candle(self.link, frame)

    def reply(self, frame: bytes) -> None:
        self.adapter._hear_reply(self.link, frame)

    @property
    def told(self) -> tuple[int, ...]:
        """How much was passed on to listeners."""
        heard = (self.prices.prices, self.prices.confirming, self.orders.log, self.candles.candles)
        return tuple(len(each) for each in heard)


@pytest.fixture
def ear() -> Ear:
    return make_ear()


def make_ear() -> Ear:
    adapter = make(
        Credentials(api_key="k", api_secret="s"), LIVE, "mm", ManualClock(NOW_NS), random.Random(1)
    )
    made = Ear(adapter, HeardPrices(), HeardOrders(), HeardCandles(), Link(1))
    for symbol in STEPS:
        contract = Contract(instrument_of(symbol))
        adapter._contracts[symbol] = contract
        adapter._price_feeds.of[symbol] = PriceFeed(contract, [made.prices])
        adapter._order_feeds.of[symbol] = [made.orders]
        adapter._candle_feeds.of[symbol, 60] = [made.candles]
    return made


@pytest.fixture(scope="module")
def samples(data_dir: Path) -> Path:
    folder = data_dir.parent / "venues" / "samples" / "binance"
    if not folder.is_dir():
        pytest.skip(f"no example payloads at {folder}")
    return folder


def read(samples: Path, name: str) -> bytes:
    """As it would come: compact."""
    return compact(json.loads((samples / f"{name}.json").read_bytes()))


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# -- the example payloads ----------------------------------------------------------------------------

ERROR_SAMPLES: dict[str, tuple[int, type[VenueError]]] = {
    "error_503_unknown": (503, errors.OutcomeUnknown),
    "error_auth": (401, errors.AuthenticationRefused),
    "error_duplicate_client_id": (400, errors.DuplicateClientOrderId),
    "error_insufficient_margin": (400, errors.InsufficientMargin),
    "error_ip_banned": (418, errors.RateLimited),
    "error_lot": (400, errors.FilterViolation),
    "error_max_open_orders": (400, errors.Rejected),
    "error_min_notional": (400, errors.FilterViolation),
    "error_order_not_found": (400, errors.OrderNotFound),
    "error_overloaded_safe_to_retry": (503, errors.Overloaded),
    "error_position_side": (400, errors.PositionModeMismatch),
    "error_postonly": (400, errors.PostOnlyWouldCross),
    "error_precision": (400, errors.FilterViolation),
    "error_price_band": (400, errors.FilterViolation),
    "error_rate_limited": (429, errors.RateLimited),
    "error_reduce_only": (400, errors.ReduceOnlyRefused),
    "error_signature": (400, errors.AuthenticationRefused),
    "error_tick": (400, errors.FilterViolation),
    "error_timestamp": (400, errors.ClockSkew),
    "error_too_many_orders": (429, errors.RateLimited),
    "error_unknown_order": (400, errors.OrderNotFound),
    "error_unknown_status": (400, errors.OutcomeUnknown),
}
REST_SAMPLES: dict[str, Callable[[bytes], object]] = {
    "rest_account_config": wire.read_account_config,
    "rest_balance": wire.read_balances,
    "rest_cancel_order": wire.read_order,
    "rest_commission_rate": wire.read_commission,
    "rest_income": wire.read_income,
    "rest_instruments": wire.read_exchange_info,
    "rest_klines": wire.read_klines,
    "rest_listen_key": wire.read_listen_key,
    "rest_modify_order": wire.read_order,
    "rest_open_orders": wire.read_orders,
    "rest_open_orders_doc": wire.read_orders,
    "rest_place_order": wire.read_order,
    "rest_place_order_doc": wire.read_order,
    "rest_positions": wire.read_positions,
    "rest_positions_phantom": wire.read_positions,
    "rest_premium_index": wire.read_premium_index,
    "rest_query_order": wire.read_order,
    "rest_server_time": wire.read_server_time,
    "rest_symbol_config": wire.read_symbol_config,
    "rest_user_trades": wire.read_trades,
    "rest_user_trades_doc": wire.read_trades,
}
BATCH_SAMPLES = {
    "rest_cancel_batch": [CANCELLED, errors.OrderNotFound],
    "rest_place_order_batch": [OPEN, errors.PostOnlyWouldCross],
}
PRICE_SAMPLES = {"ws_agg_trade", "ws_bbo", "ws_mark_price", "ws_trade", "ws_trade_raw"}
ORDER_SAMPLES: dict[str, tuple[OrderStatus, EndReason | None, int]] = {
    "ws_order_adl": (FILLED, None, 1000),
    "ws_order_amended": (OPEN, None, 0),
    "ws_order_canceled": (CANCELLED, EndReason.REQUESTED, 0),
    "ws_order_expired_stp": (CANCELLED, EndReason.SELF_TRADE, 0),
    "ws_order_filled": (FILLED, None, 6),
    "ws_order_liquidation": (FILLED, None, 100),
    "ws_order_new": (OPEN, None, 0),
    "ws_order_new_live": (OPEN, None, 0),
    "ws_order_partial": (OPEN, None, 4),
    "ws_postonly_reject": (CANCELLED, EndReason.POST_ONLY, 0),
}
"""Status, why it ended, lots of the fill it tells of."""
REPLY_SAMPLES = {
    "wsapi_error",
    "wsapi_order_cancel_reply",
    "wsapi_order_modify_reply",
    "wsapi_order_place_reply",
}
TESTED_ELSEWHERE = {
    "ws_account_update",
    "ws_kline",
    "ws_listen_key_expired",
    "ws_subscribe_ack",
    "ws_depth",
    "ws_trade_lite",
    "sign_vectors",
    "wsapi_order_place_request",
}
NEVER_READ = {
    "rest_cancel_all": "only its status counts",
    "rest_countdown_cancel_all": "only its status counts",
    "rest_funding_info": "not asked for",
    "rest_funding_rate_history": "not asked for",
    "rest_rate_limit_order": "exchangeInfo and the usage headers say it",
    "rest_set_leverage": "the leverage is the operator's",
}


def test_every_example_payload_is_accounted_for(samples: Path) -> None:
    known = [
        *(ERROR_SAMPLES, REST_SAMPLES, BATCH_SAMPLES, PRICE_SAMPLES, ORDER_SAMPLES, REPLY_SAMPLES),
        *(TESTED_ELSEWHERE, NEVER_READ),
    ]
    names = [name for group in known for name in group]
    assert len(names) == len(set(names))
    assert {path.stem for path in samples.glob("*.json")} == set(names)


@pytest.mark.parametrize("name", ERROR_SAMPLES)
def test_an_error_payload_is_its_class(samples: Path, name: str) -> None:
    status, kind = ERROR_SAMPLES[name]
    answer = Answer(status=status, headers={}, body=read(samples, name))
    error = parse_answer_error(answer, "place", NOW_NS)
    assert type(error) is kind
    assert (error.venue, error.operation) == ("binance", "place")


def test_a_ban_says_when_it_ends(samples: Path) -> None:
    body = read(samples, "error_ip_banned")
    error = parse_answer_error(Answer(status=418, headers={}, body=body), "x", NOW_NS)
    assert isinstance(error, errors.RateLimited)
    assert (error.banned, error.retry_after_s) == (True, 300.0)
    told = Answer(
        status=429, headers={"Retry-After": "7"}, body=read(samples, "error_rate_limited")
    )
    error = parse_answer_error(told, "x", NOW_NS)
    assert isinstance(error, errors.RateLimited)
    assert (error.banned, error.retry_after_s) == (False, 7.0)


@pytest.mark.parametrize("name", REST_SAMPLES)
def test_a_rest_payload_can_be_read(samples: Path, name: str) -> None:
    assert REST_SAMPLES[name](read(samples, name)) is not None


def test_instruments_come_from_filters(samples: Path) -> None:
    info = wire.read_exchange_info(read(samples, "rest_instruments"))
    assert parse.parse_limits(info.rateLimits) == {"weight": 2400, "1M": 1200, "10S": 300}
    btc, eth = (parse_instrument(row, Decimal(0), Decimal(1)) for row in info.symbols)
    assert all(parse.is_tradable(row) for row in info.symbols)
    assert (btc.tick_size, btc.lot_size) == (Decimal("0.10"), Decimal("0.001"))
    assert (eth.name, eth.tick_size, eth.min_notional) == ("ETHUSDT", Decimal("0.01"), 10)
    assert (eth.min_qty, eth.max_qty, eth.base, eth.quote) == (1, 10_000_000, "ETH", "USDT")


def test_open_orders_trades_positions_and_candles_become_our_values(samples: Path) -> None:
    eth, btc = Contract(instrument_of("ETHUSDT")), Contract(instrument_of("BTCUSDT"))
    (row,) = wire.read_orders(read(samples, "rest_open_orders"))
    order = parse_order(row, eth, IDS)
    assert (order.price_ticks, order.qty_lots, order.status) == (300_000, 10, OPEN)
    assert (order.venue_order_id, order.client_order_id) == ("8389765900000000101", None)
    sold, bought = (
        parse_trade_row(row, eth, None)
        for row in wire.read_trades(read(samples, "rest_user_trades"))
    )
    assert (sold.side, sold.price_ticks, sold.qty_lots) == (Side.SELL, 277_835, 5)
    assert (bought.price_ticks, bought.fee) == (277_900, Decimal("0.00555800"))
    assert not sold.is_maker
    (old,) = wire.read_trades(read(samples, "rest_user_trades_doc"))
    with pytest.raises(MalformedMessage):
        parse_trade_row(old, btc, None)
    phantom = parse_position(wire.read_positions(read(samples, "rest_positions_phantom")), eth)
    assert phantom is not None
    assert (phantom.qty_lots, phantom.entry_price, phantom.mark_price) == (0, 0, Decimal("3010.5"))
    others = wire.read_positions(read(samples, "rest_positions"))
    assert parse_position(others, eth) is None
    (bar,) = wire.read_klines(read(samples, "rest_klines"))
    candle = parse_kline_row(bar, "ETHBTC", 60, NOW_NS)
    assert (candle.open, candle.close, candle.closed) == (0.0163479, 0.01577100, True)


@pytest.mark.parametrize("name", BATCH_SAMPLES)
def test_one_bad_item_of_a_batch_fails_alone(samples: Path, ear: Ear, name: str) -> None:
    contract = ear.adapter._contracts["ETHUSDT"]
    items = wire.read_items(read(samples, name))
    good, bad = (ear.adapter._item(bytes(item), "place", contract) for item in items)
    assert isinstance(good, OrderReport)
    assert [good.status, type(bad)] == BATCH_SAMPLES[name]


@pytest.mark.parametrize(
    ("name", "price", "confirming"),
    [
        ("ws_agg_trade", 10, None),
        ("ws_trade", 301_021, None),
        ("ws_trade_raw", 301_021, None),
        ("ws_bbo", None, 253_585),
        ("ws_mark_price", None, 117_942),
    ],
)
def test_a_price_payload_is_told_in_ticks(
    samples: Path, ear: Ear, name: str, price: int | None, confirming: int | None
) -> None:
    ear.price(read(samples, name))
    assert [ticks for ticks, _, _ in ear.prices.prices] == [price] * (price is not None)
    assert [t for t, _, _ in ear.prices.confirming] == [confirming] * (confirming is not None)
    assert not ear.adapter.malformed


@pytest.mark.parametrize("name", ORDER_SAMPLES)
def test_an_order_event_is_told_with_its_status_its_end_and_its_fill(
    samples: Path, ear: Ear, name: str
) -> None:
    ear.private(read(samples, name))
    (report,) = ear.orders.reports
    lots = report.fill.qty_lots if report.fill else 0
    assert (report.status, report.end_reason, lots) == ORDER_SAMPLES[name]
    assert report.client_order_id is None, "none of these is ours"
    if report.fill:
        assert report.fill.fee > 0
        assert report.fill.venue_order_id == report.venue_order_id


def test_an_order_of_ours_is_given_back_to_its_slot(samples: Path, ear: Ear) -> None:
    frame = json.loads(read(samples, "ws_order_partial"))
    ours = make_id()
    frame["o"]["c"] = IDS.encode(ours)
    ear.private(compact(frame))
    (report,) = ear.orders.reports
    assert report.client_order_id == ours
    assert report.fill is not None
    assert (report.fill.client_order_id, report.fill.is_maker) == (ours, True)
    assert (report.fill.fee, report.fill.trade_id) == (Decimal("0.0024"), "6310000900")
    assert (report.filled_lots, report.qty_lots, report.price_ticks) == (4, 10, 300_000)


def test_a_fee_in_another_asset_is_what_the_rate_would_have_been(samples: Path, ear: Ear) -> None:
    frame = json.loads(read(samples, "ws_order_partial"))
    frame["o"] |= {"n": "0.000004", "N": "BNB"}
    ear.private(compact(frame))
    (report,) = ear.orders.reports
    assert report.fill is not None
    assert report.fill.fee == Decimal("0.004") * 3000 * Decimal("0.0002")


def test_a_position_is_told_from_the_one_way_row_alone(samples: Path, ear: Ear) -> None:
    frame = json.loads(read(samples, "ws_account_update"))
    ear.private(compact(frame))
    assert [position.qty_lots for position in ear.orders.positions] == [0]
    frame["a"]["P"] = [
        {"s": "ETHUSDT", "pa": "-0.004", "ep": "3000.00", "up": "0.04", "ps": "BOTH"}
    ]
    ear.private(compact(frame))
    position = ear.orders.positions[-1]
    assert (position.qty_lots, position.entry_price) == (-4, 3000)
    assert position.mark_price == 2990


def test_a_candle_payload_is_told(samples: Path, ear: Ear) -> None:
    ear.candle(read(samples, "ws_kline"))
    (candle,) = ear.candles.candles
    assert (candle.symbol, candle.interval_s, candle.closed) == ("BTCUSDT", 60, False)
    assert (candle.open, candle.high, candle.low, candle.close) == (0.001, 0.0025, 0.0015, 0.002)


@pytest.mark.parametrize("name", ["ws_depth", "ws_subscribe_ack"])
def test_known_frames_that_say_nothing_are_passed_over(samples: Path, ear: Ear, name: str) -> None:
    ear.price(read(samples, name))
    ear.private(read(samples, "ws_trade_lite"))
    assert not any(ear.told)
    assert not ear.adapter.malformed


@pytest.mark.parametrize("name", sorted(REPLY_SAMPLES))
def test_a_reply_to_an_order_can_be_read(samples: Path, name: str) -> None:
    reply = wire.read_reply(read(samples, name))
    assert (reply.status == 200) == (reply.error is None)
    if reply.error is None:
        assert wire.read_order(bytes(reply.result)).orderId > 0
    assert reply.rateLimits[0].limit in (300, 2400)


# -- errors ------------------------------------------------------------------------------------------

SHEET = """
    PostOnlyWouldCross -5022 | RateLimited -1003 -1015 | OutcomeUnknown -1006 -1007 -1000 -1001
    Overloaded -1008 | InsufficientMargin -2019 -2018 -2027 -2028 | OrderNotFound -2011 -2013
    DuplicateClientOrderId -4116
    FilterViolation -1013 -4014 -4023 -1111 -4003 -4004 -4005 -4001 -4002 -4013 -4164 -4016 -4024 -4131
    ClockSkew -1021 -5028 | AuthenticationRefused -1022 -2014 -2015 | ReduceOnlyRefused -2022 -4118
    PositionModeMismatch -4061 | Rejected -2010 -2025 -1121 -4140 -4141 -4400 -5027 -5026 -1125
"""
CODES = [
    (int(code), words.split()[0])
    for line in SHEET.splitlines()
    for words in line.split("|")
    if words.strip()
    for code in words.split()[1:]
]


@pytest.mark.parametrize(("code", "kind"), CODES)
def test_every_code_of_the_sheet_is_its_class(code: int, kind: str) -> None:
    assert type(parse_error(code, "m", "place")).__name__ == kind


def test_no_code_stands_in_two_classes() -> None:
    assert len(ERROR_OF_CODE) == sum(len(codes) for codes in tables.ERRORS.values())


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (503, b'{"msg":"Service Unavailable."}', errors.Overloaded),
        (503, b'{"code":0,"msg":"Unknown error, please check"}', errors.OutcomeUnknown),
        (503, b"<html>503 Service Unavailable</html>", errors.OutcomeUnknown),
        (502, b"", errors.OutcomeUnknown),
        (408, b"{}", errors.OutcomeUnknown),
        (403, b"<html>", errors.RateLimited),
        (429, b"", errors.RateLimited),
        (401, b"", errors.AuthenticationRefused),
        (400, b'{"code":-9999,"msg":"new"}', errors.Rejected),
        (404, b"\xff\xfe", errors.Rejected),
        (302, b"", errors.OutcomeUnknown),
        (503, b'{"code":-1008,"msg":"x"}', errors.Overloaded),
        (400, b'{"code":"x"}', errors.Rejected),
    ],
)
def test_an_answer_without_a_known_code_goes_by_its_status(
    status: int, body: bytes, kind: type[VenueError]
) -> None:
    error = parse_answer_error(Answer(status=status, headers={}, body=body), "place", NOW_NS)
    assert type(error) is kind


def test_hedge_mode_says_which_switch_to_flip() -> None:
    assert "one-way" in str(parse_error(-4061, "Order's position side does not match", "place"))
    row = {
        "symbol": "ETHUSDT",
        "positionSide": "LONG",
        "positionAmt": "1",
        "entryPrice": "1",
        "markPrice": "1",
    }
    with pytest.raises(errors.PositionModeMismatch, match="one-way"):
        parse_position(wire.read_positions(compact([row])), Contract(instrument_of("ETHUSDT")))


# -- recorded frames ---------------------------------------------------------------------------------


def recorded(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as lines:
        for line in lines:
            yield line.partition(b" ")[2].rstrip()


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_every_line_of_a_recording_is_accounted_for(data_dir: Path, ear: Ear, symbol: str) -> None:
    path = data_dir / f"{symbol.lower()}-usdm-ws-20240808.gz"
    if not path.is_file():
        pytest.skip(f"no recording at {path}")
    tick, latest_ms = Decimal(STEPS[symbol][0]), 0
    kinds: Counter[str] = Counter()
    trades: list[tuple[int, int]] = []
    mids: list[tuple[int, int]] = []
    lines = 0
    for frame in recorded(path):
        lines += 1
        message = json.loads(frame)
        if "lastUpdateId" in message:
            kinds["the body of a REST request"] += 1
            continue
        ear.price(frame)
        event = message["data"]
        kinds[event["e"]] += 1
        if event["e"] == "bookTicker":
            mid = (Decimal(event["b"]) + Decimal(event["a"])) / 2 / tick
            mids.append((int(mid), event["T"] * 1_000_000))
        elif event["e"] == "trade" and event["X"] == "MARKET" and event["T"] >= latest_ms:
            latest_ms = event["T"]
            trades.append((int(Decimal(event["p"]) / tick), latest_ms * 1_000_000))
    assert [heard[:2] for heard in ear.prices.prices] == trades
    assert [heard[:2] for heard in ear.prices.confirming] == mids
    assert kinds.pop("the body of a REST request") == 1
    assert set(kinds) == {"trade", "bookTicker", "depthUpdate"}
    assert sum(kinds.values()) + 1 == lines > 50_000
    assert ear.adapter.malformed.count == 0


# -- hostile frames ----------------------------------------------------------------------------------


def make_id() -> ClientOrderId:
    return ClientOrderId(3, Side.BUY, 12)


ORDER = {
    **{"s": "ETHUSDT", "c": IDS.encode(make_id()), "S": "BUY", "o": "LIMIT", "f": "GTX"},
    **{"q": "0.010", "p": "3000.00", "x": "TRADE", "X": "PARTIALLY_FILLED", "i": 83897659000000101},
    **{"l": "0.004", "z": "0.004", "L": "3000.00", "n": "0.0024", "N": "USDT", "T": 1767225605000},
    **{"t": 6310000900, "m": True, "R": False, "ps": "BOTH", "er": "0"},
}
POSITION = {"s": "ETHUSDT", "pa": "0.004", "ep": "3000.00", "up": "0.04", "ps": "BOTH"}
BAR = {"t": 1638747660000, "i": "1m", "o": "1", "c": "2", "h": "3", "l": "1", "v": "9", "x": False}
ROW = {
    **{"orderId": 7, "clientOrderId": IDS.encode(make_id()), "side": "BUY", "status": "NEW"},
    **{"price": "3000.00", "origQty": "0.010", "executedQty": "0", "updateTime": 1767225605000},
}
FRAMES = [
    compact(frame)
    for frame in (
        {"e": "aggTrade", "E": 1, "s": "ETHUSDT", "p": "3010.21", "q": "1", "T": 1767225600105},
        {
            "e": "trade",
            "s": "ETHUSDT",
            "p": "3010.21",
            "q": "0.4",
            "T": 1767225600105,
            "X": "MARKET",
        },
        {"e": "bookTicker", "s": "ETHUSDT", "b": "3010.21", "a": "3010.22", "T": 1767225600105},
        {"e": "markPriceUpdate", "s": "ETHUSDT", "p": "3010.2177", "E": 1767225600105},
        {"e": "kline", "E": 1, "s": "ETHUSDT", "k": BAR},
        {"stream": "ethusdt@aggTrade", "data": {"e": "aggTrade", "s": "ETHUSDT", "p": "1", "T": 1}},
        {"result": None, "id": 1},
        {"error": {"code": 2, "msg": "Invalid"}, "id": 1},
        {"e": "ORDER_TRADE_UPDATE", "T": 1, "o": ORDER},
        {"e": "ACCOUNT_UPDATE", "T": 1767225605000, "a": {"m": "FUNDING_FEE", "P": [POSITION]}},
        {"id": "1", "status": 200, "result": ROW, "rateLimits": []},
        {"id": "1", "status": 400, "error": {"code": -5022, "msg": "m"}},
        [ROW, {"code": -2011, "msg": "m"}],
        {"code": -1003, "msg": "banned until 1767225900000"},
    )
]


def feed_everything(ear: Ear, frame: bytes) -> None:
    """To every parser; a refused frame is counted and changes nothing, and nothing else is ever raised."""
    contract = ear.adapter._contracts["ETHUSDT"]
    for hear in (ear.price, ear.candle, ear.private, ear.reply):
        refused, told, last = ear.adapter.malformed.count, ear.told, last_ms(ear)
        hear(frame)
        if ear.adapter.malformed.count > refused:
            assert (ear.told, last_ms(ear)) == (told, last)
    ear.adapter._item(frame, "place", contract)
    parse_answer_error(Answer(status=400, headers={}, body=frame), "place", NOW_NS)
    for read_body in REST_SAMPLES.values():
        try:
            read_body(frame)
        except MalformedMessage:
            pass
    assert len(ear.adapter.malformed) <= KEPT
    ear.orders.downs.clear()


def last_ms(ear: Ear) -> list[object]:
    return [(feed.last_ns, feed.mark) for feed in ear.adapter._price_feeds.of.values()]


def test_the_frames_to_be_mutated_are_good_ones(ear: Ear) -> None:
    hear = [ear.price] * 4 + [ear.candle] + [ear.price] * 3 + [ear.private] * 2 + [ear.reply] * 2
    for heard, frame in zip(hear, FRAMES, strict=False):
        heard(frame)
    assert ear.told == (3, 2, 2, 1)
    assert ear.adapter.malformed.count == 0


@pytest.mark.parametrize("seed", range(6))
def test_no_mutated_frame_raises_or_changes_anything_when_it_is_refused(seed: int) -> None:
    rng, ear = random.Random(seed), make_ear()
    for _ in range(5_000):
        feed_everything(ear, mutate(rng.choice(FRAMES), rng))
        if ear.told[0] > 1000:
            ear = make_ear()
    assert ear.adapter.malformed.count > 1_000


@settings(max_examples=300)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from([*ORDER, "e", "a", "k", "data", "id", "code"]), inner)
        ),
        max_leaves=12,
    )
)
def test_no_other_json_raises_either(value: Any) -> None:
    ear = make_ear()
    feed_everything(ear, compact(value))
    if isinstance(value, dict):
        for frame in FRAMES[:12]:
            feed_everything(ear, compact({**json.loads(frame), **value}))


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b"[" * 200_000, b'{"e":"aggTrade"' * 3, b"null", b"7"]
)
def test_what_is_no_frame_at_all_is_kept_and_counted(ear: Ear, text: bytes) -> None:
    ear.price(text)
    assert ear.adapter.malformed.count == 1
    ((_, kept),) = ear.adapter.malformed
    assert kept == text[:FRAME_KEPT]


def test_an_unreadable_order_event_asks_for_a_snapshot(ear: Ear) -> None:
    """The stream is said to be down and up again: whoever listens reads everything anew."""
    event = compact({"e": "ORDER_TRADE_UPDATE", "o": {**ORDER, "X": "NEW_KIND"}})
    ear.private(event)
    assert ear.orders.reports == []
    assert (len(ear.orders.downs), ear.orders.ups) == (len(STEPS), len(STEPS))
    assert ear.adapter.malformed.count == 1


def test_an_older_trade_by_another_socket_is_not_told_again(ear: Ear) -> None:
    def trade(price: str, ms: int) -> bytes:
        return compact({"e": "aggTrade", "s": "ETHUSDT", "p": price, "T": ms})

    ear.price(trade("3000.00", 1_767_225_600_000))
    ear.price(trade("2999.00", 1_767_225_599_999))
    ear.price(trade("3001.00", 1_767_225_600_000))
    assert [price for price, _, _ in ear.prices.prices] == [300_000, 300_100]
    ear.price(trade("2500.00", 1_767_225_500_000))
    assert ear.prices.prices[-1][0] == 250_000, "a clock that was set back is not silence for ever"
