"""Bitget: what is written, what is read, and the adapter against the loopback venue over real sockets, with both kinds
of account."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from marketmaker.adapters.bitget import unified
from marketmaker.adapters.bitget.build import Signer, build_subscribe
from marketmaker.adapters.bitget.classic import Classic
from marketmaker.adapters.bitget.parse import (
    parse_answer_error,
    parse_candle,
    parse_error,
    parse_instrument,
    refusal_of,
)
from marketmaker.adapters.bitget.tables import ERROR_OF_CODE, ERRORS
from marketmaker.adapters.bitget.unified import Unified, most_together
from marketmaker.adapters.bitget.wire import (
    read_acks,
    read_candles,
    read_contracts,
    read_frame,
    read_funding_rates,
    read_tickers,
    read_trades,
)
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.http import Answer
from marketmaker.adapters.websocket import Link
from marketmaker.errors import (
    AuthenticationRefused,
    ClockSkew,
    DuplicateClientOrderId,
    FilterViolation,
    InsufficientMargin,
    MalformedMessage,
    OrderNotFound,
    OutcomeUnknown,
    Overloaded,
    PositionModeMismatch,
    RateLimited,
    ReduceOnlyRefused,
    Rejected,
    VenueError,
)
from marketmaker.loopback import make_loopback
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import (
    ClientOrderId,
    EndReason,
    OrderReport,
    OrderStatus,
    Side,
    TimeInForce,
)
from marketmaker.model.settings import Credentials
from marketmaker.runtime.clock import RealClock
from tests.support.loopback import ASK, BID, PAPER, until
from tests.support.paper import (
    HeardCandles,
    HeardOrders,
    HeardPrices,
    QuietFeed,
    listening,
    make_order,
    make_quote,
)
from tests.support.venue_desk import RIGHT, VenueDesk, on_loopback, refs, sample, sample_names

SIGNER = Signer(
    Credentials(api_key="KEY", api_secret="mmSecret-0123456789abcdef", passphrase="mmPass1")
)
MS = 1_767_225_600_123
IDS = TextForm("mm")
ACCOUNTS = ("unified", "classic")


def instrument(name: str, tick: str, lot: str) -> Instrument:
    return Instrument(
        venue="bitget", name=name, base=name[:3], quote="USDT", tick_size=Decimal(tick),
        lot_size=Decimal(lot), min_notional=Decimal(5), maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.0006"),
    )  # fmt: skip


ETH = Contract(instrument("ETHUSDT", "0.01", "0.01"))
BTC = Contract(instrument("BTCUSDT", "0.1", "0.0001"))
CONTRACTS = {"ETHUSDT": ETH, "BTCUSDT": BTC}


@dataclass
class Reader:
    """A `generation.Reading` that remembers what a test tells it."""

    ids: TextForm = IDS
    ending: bool = False
    taking: bool = False
    owners: dict[str, ClientOrderId] = field(default_factory=dict)

    def asked(self, client_order_id: ClientOrderId | None) -> bool:
        return self.ending

    def owner(self, venue_order_id: str) -> ClientOrderId | None:
        return self.owners.get(venue_order_id)

    def takes(self, symbol: str, side: Side, price_ticks: int) -> bool:
        return self.taking


def data_of(name: str) -> bytes:
    return json.dumps(sample("bitget", name)["data"]).encode()


# -- what is written ---------------------------------------------------------------------------------


def test_requests_and_logins_are_signed_as_in_the_venues_vectors() -> None:
    path = "/api/v2/mix/order/orders-pending"
    get = SIGNER.request("GET", path, {"symbol": "ETHUSDT", "productType": "USDT-FUTURES"}, MS)
    assert get.query == "productType=USDT-FUTURES&symbol=ETHUSDT"
    assert get.headers["ACCESS-SIGN"] == "hpWfO5rTxhEGB1TZC564+7mxMKKhINEAg5WAOSapFIg="
    assert (get.headers["ACCESS-TIMESTAMP"], get.headers["ACCESS-PASSPHRASE"]) == (
        str(MS),
        "mmPass1",
    )
    old = {
        "symbol": "ETHUSDT", "productType": "USDT-FUTURES", "marginMode": "crossed",
        "marginCoin": "USDT", "size": "0.05", "price": "3000.10", "side": "buy",
        "orderType": "limit", "force": "post_only", "clientOid": "mm-b-000001", "reduceOnly": "NO",
    }  # fmt: skip
    post = SIGNER.request("POST", "/api/v2/mix/order/place-order", old, MS)
    assert post.headers["ACCESS-SIGN"] == "EFp1Pd5pFH5HNEC4oaUbj4jwvXBjM1W1g8pH1xcXgnM="
    new = {
        "category": "USDT-FUTURES", "symbol": "ETHUSDT", "qty": "0.05", "price": "3000.10",
        "side": "buy", "orderType": "limit", "timeInForce": "post_only", "reduceOnly": "no",
        "clientOid": "mm-b-000001",
    }  # fmt: skip
    post = SIGNER.request("POST", "/api/v3/trade/place-order", new, MS)
    assert post.headers["ACCESS-SIGN"] == "6nJh1bPd+5kVYeDPaIuNV5taBcuotNNt6ytvRKjWV1I="
    (login,) = json.loads(SIGNER.login(MS))["args"]
    assert login == {
        "apiKey": "KEY", "passphrase": "mmPass1", "timestamp": "1767225600",
        "sign": "9hB/VOzFg1kmHHzs5dyrmOeS1UF7XUvHhWtFIVNy1Xc=",
    }  # fmt: skip
    assert "mmSecret" not in repr(SIGNER)


def test_a_query_is_signed_as_it_reads_before_it_is_percent_encoded() -> None:
    request = SIGNER.request("GET", "/p", {"clientOid": "a:b,c"}, MS)
    assert request.query == "clientOid=a%3Ab%2Cc"
    assert request.headers["ACCESS-SIGN"] == SIGNER.sign(f"{MS}GET/p?clientOid=a:b,c")


def test_an_order_of_a_unified_account_says_the_same_over_both_ways() -> None:
    """The sheet's order, and the samples' frame around it."""
    order = make_order(Side.BUY, 300_010, 5)
    deed = Unified().place([order], ETH, ["mm-b-000001"])
    assert deed.path == "/api/v3/trade/place-order"
    assert json.dumps(deed.params, separators=(",", ":")) == (
        '{"category":"USDT-FUTURES","symbol":"ETHUSDT","qty":"0.05","price":"3000.10","side":"buy",'
        '"orderType":"limit","timeInForce":"post_only","reduceOnly":"no","clientOid":"mm-b-000001"}'
    )
    frame = json.loads(unified.build_place([order], ETH, ["mm-b-000001"], number=7))
    expected = sample("bitget", "wsapi_place_uta")["request"]
    arg = dict(expected["args"][0])
    assert arg.pop("marginMode") == "crossed", "the account's own, left out"
    assert frame == {**expected, "args": [arg]}
    cancel = json.loads(unified.build_cancel(["mm-b-000001"], number=9))
    assert cancel == sample("bitget", "wsapi_cancel_uta")["request"]


def test_what_takes_or_reduces_goes_alone_and_an_own_order_makes_way() -> None:
    entry = make_order(Side.BUY, 300_000, 5)
    taking = replace(entry, post_only=False)
    exits = replace(entry, reduce_only=True)
    at_once = replace(taking, time_in_force=TimeInForce.IOC)
    assert most_together([entry, entry]) == 20
    assert [most_together([entry, each]) for each in (taking, exits, at_once)] == [1, 1, 1]
    for generation in (Unified(), Classic()):
        row = generation.place([at_once], ETH, ["a"]).params
        assert row["stpMode"] == "cancel_maker"
        assert "ioc" in (row.get("timeInForce"), row.get("force"))
        assert "stpMode" not in generation.place([entry], ETH, ["a"]).params
    frame = json.loads(unified.build_place([exits], ETH, ["a"], number=1))
    assert frame["args"][0]["reduceOnly"] == "yes"


def test_an_order_of_a_classic_account_is_the_sheets() -> None:
    contract = Contract(ETH.instrument)
    deed = Classic().place([make_order(Side.BUY, 300_010, 5)], contract, ["mm-b-000001"])
    assert deed.path == "/api/v2/mix/order/place-order"
    assert json.dumps(deed.params, separators=(",", ":")) == (
        '{"symbol":"ETHUSDT","productType":"USDT-FUTURES","marginMode":"crossed","marginCoin":"USDT",'
        '"size":"0.05","price":"3000.10","side":"buy","orderType":"limit","force":"post_only",'
        '"clientOid":"mm-b-000001","reduceOnly":"NO"}'
    )
    contract.parts["margin mode"] = "isolated"
    several = Classic().place([make_order(Side.SELL, 1, 1)] * 2, contract, ["a", "b"])
    assert several.params["marginMode"] == "isolated"
    assert [row["clientOid"] for row in several.params["orderList"]] == ["a", "b"]
    gone = Classic().cancel(contract, ["a", "b"])
    assert gone.path == "/api/v2/mix/order/batch-cancel-orders"
    assert gone.params["orderIdList"] == [{"clientOid": "a"}, {"clientOid": "b"}]


def test_subscriptions_are_in_the_words_of_each_generation() -> None:
    asked = json.loads(build_subscribe("subscribe", ["trade ETHUSDT", "order"], 1))
    assert asked["args"] == [
        {"instType": "USDT-FUTURES", "channel": "trade", "instId": "ETHUSDT"},
        {"instType": "UTA", "topic": "order"},
    ]


# -- what is read ------------------------------------------------------------------------------------


def test_an_instruments_steps_are_exact() -> None:
    (row,) = read_contracts(data_of("rest_instruments"))
    found = parse_instrument(row, None)
    assert (found.tick_size, found.lot_size) == (Decimal("0.1"), Decimal("0.01"))
    assert (found.maker_fee, found.taker_fee) == (Decimal("0.0004"), Decimal("0.0006"))
    assert (found.min_notional, found.min_qty) == (5, 1)
    row.pricePlace, row.priceEndStep = "2", "5"
    assert parse_instrument(row, None).tick_size == Decimal("0.05")
    for wrong in ("99", "-1", "1.5", "x"):
        row.pricePlace = wrong
        with pytest.raises(MalformedMessage):
            parse_instrument(row, None)


@pytest.mark.parametrize(
    ("name", "status", "reason", "filled"),
    [
        ("ws_order_new", OrderStatus.OPEN, None, 0),
        ("ws_order_partial", OrderStatus.OPEN, None, 2),
        ("ws_order_filled", OrderStatus.FILLED, None, 100),
        ("ws_order_canceled", OrderStatus.CANCELLED, EndReason.REQUESTED, 0),
        ("ws_postonly_reject", OrderStatus.CANCELLED, EndReason.POST_ONLY, 0),
    ],
)
def test_events_of_a_classic_accounts_orders(
    name: str, status: OrderStatus, reason: EndReason | None, filled: int
) -> None:
    ((_, report),) = Classic().hear_orders(data_of(name), CONTRACTS.get, Reader())
    assert (report.status, report.end_reason, report.filled_lots) == (status, reason, filled)


def test_a_partial_fill_carries_its_trade_and_what_was_paid() -> None:
    ((symbol, report),) = Classic().hear_orders(
        data_of("ws_order_partial"), CONTRACTS.get, Reader()
    )
    fill = report.fill
    assert fill is not None and symbol == "ETHUSDT"
    assert (fill.trade_id, fill.qty_lots, fill.price_ticks) == ("1391500399017938777", 2, 300_010)
    assert (fill.fee, fill.is_maker) == (Decimal("0.0120004"), True)


def test_both_signs_of_a_fee_are_what_was_paid() -> None:
    (old,) = Classic().read_fills_page(data_of("rest_user_trades")).rows
    owner = ClientOrderId(3, Side.SELL, 7)
    reader = Reader(owners={old.orderId: owner})
    fill = Classic().parse_fill(old, ETH, reader)
    assert (fill.fee, fill.is_maker, fill.client_order_id) == (Decimal("0.02161596"), False, owner)
    assert Classic().unnamed([old]) == [(old.orderId, 1_698_730_804_882_000_000)]
    page = Unified().read_fills_page(data_of("rest_user_trades_uta"))
    (new,) = page.rows
    fill = Unified().parse_fill(new, BTC, reader)
    assert (fill.fee, fill.is_maker, fill.price_ticks) == (Decimal("0.6417006"), False, 1_069_501)
    assert Unified().unnamed([new]) == [] and page.cursor == "131111111111111111"
    new.clientOid = None
    assert Unified().unnamed([new]) == [(new.orderId, 1_750_141_421_721_000_000)]
    ((_, told),) = Unified().hear_fills(data_of("ws_fill_uta"), CONTRACTS.get, reader)
    assert (told.fee, told.ts_venue_ns) == (Decimal("0.569958"), 1_736_378_720_623_000_000)
    ((_, told),) = Classic().hear_fills(data_of("ws_fill"), CONTRACTS.get, reader)
    assert (told.fee, told.trade_id) == (Decimal("0.183717"), "222")


def test_orders_of_a_unified_account_read_alike_in_event_query_and_list() -> None:
    ((_, filled),) = Unified().hear_orders(data_of("ws_order_uta_filled"), CONTRACTS.get, Reader())
    assert (filled.status, filled.qty_lots, filled.price_ticks) == (OrderStatus.FILLED, 10, 0)
    (row,) = Unified().read_orders_page(data_of("rest_open_orders_uta")).rows
    report = Unified().parse_order(row, BTC, Reader())
    assert (report.status, report.price_ticks, report.qty_lots) == (OrderStatus.OPEN, 450_000, 100)
    (row,) = Unified().read_orders_page(data_of("rest_history_orders_uta")).rows
    assert Unified().parse_order(row, BTC, Reader()).status is OrderStatus.FILLED
    row = Unified().read_order(data_of("rest_order_detail_uta"))
    assert row.orderStatus == "filled"


def test_spot_orders_of_the_same_name_are_not_ours() -> None:
    """Their steps are others: to read them would break the stream with every trade of the owner's."""
    for name, hear in (
        ("ws_order_uta_filled", Unified().hear_orders),
        ("ws_fill_uta", Unified().hear_fills),
    ):
        row = {**sample("bitget", name)["data"][0], "category": "spot", "qty": "1", "execQty": "1"}
        row |= {"price": "0.123456789", "execPrice": "0.123456789"}
        assert hear(json.dumps([row]).encode(), CONTRACTS.get, Reader()) == []  # type: ignore[operator]


def test_a_classic_order_is_told_by_state_or_status_and_in_lower_case() -> None:
    (row,) = Classic().read_orders_page(data_of("rest_open_orders")).rows
    report = Classic().parse_order(row, ETH, Reader())
    assert (report.qty_lots, report.filled_lots, report.fill) == (10_000, 1_210, None)
    detail = Classic().read_order(data_of("rest_order_detail"))
    report = Classic().parse_order(detail, ETH, Reader())
    assert (report.status, report.reduce_only) == (OrderStatus.FILLED, True)


@pytest.mark.parametrize(
    ("change", "reader", "reason"),
    [
        ({}, Reader(), EndReason.POST_ONLY),
        ({}, Reader(ending=True), EndReason.REQUESTED),
        ({"uTime": "1767225603171"}, Reader(), EndReason.REQUESTED),
        ({"accBaseVolume": "0.01"}, Reader(), EndReason.REQUESTED),
        ({"force": "ioc"}, Reader(), EndReason.IOC),
        ({"force": "gtc"}, Reader(), EndReason.REQUESTED),
        ({"reduceOnly": "yes"}, Reader(taking=True), EndReason.POST_ONLY),
        ({"reduceOnly": "yes"}, Reader(), EndReason.REDUCE_ONLY),
        ({"reduceOnly": "YES", "force": "gtc"}, Reader(), EndReason.REDUCE_ONLY),
        ({"force": "gtc", "cancelReason": "risk_control"}, Reader(), EndReason.VENUE),
    ],
)
def test_one_reason_for_everything_is_told_apart_by_shape(
    change: dict[str, str], reader: Reader, reason: EndReason
) -> None:
    row = {**sample("bitget", "ws_postonly_reject")["data"][0], **change}
    ((_, report),) = Classic().hear_orders(json.dumps([row]).encode(), CONTRACTS.get, reader)
    assert report.end_reason is reason


def test_positions_are_signed_and_two_way_ones_refused() -> None:
    rows = sample("bitget", "ws_positions")["data"]
    one_way = json.dumps([{**rows[0], "posMode": "one_way_mode"}]).encode()
    ((_, position),) = Classic().hear_positions(one_way, CONTRACTS.get, lambda symbol: "1905.5")
    assert (position.qty_lots, position.entry_price) == (-10, Decimal(1900))
    assert position.mark_price == Decimal("1905.5")
    assert position.liquidation_price == Decimal("5788.108475905242")
    ((_, unmarked),) = Classic().hear_positions(one_way, CONTRACTS.get, lambda symbol: "")
    assert unmarked.mark_price == 1900
    for generation, name in ((Classic(), "rest_positions"), (Unified(), "rest_positions_uta")):
        with pytest.raises(PositionModeMismatch, match="one-way"):
            generation.parse_position(data_of(name), BTC)
    body = sample("bitget", "rest_positions_uta")["data"]
    body["list"][0] |= {"holdMode": "one_way_mode"}
    position = Unified().parse_position(json.dumps(body).encode(), BTC)
    assert position is not None
    assert (position.qty_lots, position.mark_price) == (1_192_068, Decimal(118_097))
    assert Unified().parse_position(b'{"list":null}', BTC) is None


@pytest.mark.parametrize(
    ("account", "names"),
    [
        ("unified", ("rest_account_settings_uta", "rest_balance_uta")),
        ("classic", ("rest_balance",)),
    ],
)
async def test_what_an_account_is_worth_and_how_it_is_set(
    account: str, names: tuple[str, ...]
) -> None:
    answers = [data_of(name) for name in names]

    async def ask(path: str, params: dict[str, object], operation: str) -> bytes:
        return answers.pop(0)

    generation: Any = Unified() if account == "unified" else Classic()
    standing = await generation.standing(ask, BTC)
    if account == "unified":
        assert (standing.equity, standing.leverage) == (Decimal("6.19300826"), 20)
        assert standing.available == Decimal("6.19299777") and not standing.hedge_mode
    else:
        assert (standing.equity, standing.leverage) == (Decimal("13178.86110692"), 20)
        assert standing.available == Decimal("13168.86110692") and standing.hedge_mode


def test_market_data_of_the_samples() -> None:
    trades = read_trades(json.dumps(sample("bitget", "ws_trade")).encode())
    assert (trades.arg.instId, trades.data[0].price) == ("BTCUSDT", "27000.5")
    (ticker,) = read_tickers(data_of("ws_ticker"))
    assert (ticker.markPrice, ticker.nextFundingTime) == ("27000.0", "1695722400000")
    candles = [
        parse_candle(row, "BTCUSDT", 300, 1_695_836_400_000_000_000)
        for row in read_candles(data_of("rest_klines"))
    ]
    assert [candle.closed for candle in candles] == [True, True]
    assert (candles[0].open, candles[0].volume) == (26_210.5, 26.26)
    (candle,) = read_candles(data_of("ws_kline"))
    assert candle.close == "27000.5"
    for name in ("rest_funding_rate", "rest_funding_rate_uta"):
        assert read_funding_rates(data_of(name))[0].symbol == "BTCUSDT"


def test_every_recorded_frame_is_understood() -> None:
    names = [name for name in sample_names("bitget", "ws_*") if name != "ws_login"]
    for name in names:
        frame = read_frame(json.dumps(sample("bitget", name)).encode())
        assert frame.arg is not None and frame.arg.name, name
    login = sample("bitget", "ws_login")
    for key, event in (("reply_ok", "login"), ("reply_bad", "error")):
        assert read_frame(json.dumps(login[key]).encode()).event == event
    for name in ("wsapi_place_uta", "wsapi_cancel_uta"):
        for key, reply in sample("bitget", name).items():
            frame = read_frame(json.dumps(reply).encode())
            if key == "reply_ok":
                (ack,) = Unified().acks(bytes(frame.args), 1)
                assert ack.orderId == "1391500303017938001"
            elif key == "reply_error":
                assert parse_error(frame.code, frame.msg or "", "place").code == "25202"


def test_every_recorded_answer_of_a_deed_is_understood() -> None:
    for name in ("rest_place_order", "rest_place_order_uta", "rest_cancel_order"):
        (ack,) = Unified().acks(data_of(name), 1)
        assert ack.orderId and refusal_of(ack, "place") is None
        assert ack == Classic().acks(data_of(name), 1)[0]
    (done,) = Classic().acks(data_of("rest_batch_place"), 2)
    assert refusal_of(done, "place") is None
    done, failed = Classic().acks(data_of("rest_batch_cancel"), 2)
    assert refusal_of(done, "cancel") is None
    assert isinstance(refusal_of(failed, "cancel"), OrderNotFound), "it comes without a code"
    assert len(read_acks(data_of("rest_cancel_all")).failureList) == 1
    body = sample("bitget", "rest_cancel_all_uta")["data"]["list"]
    (failed,) = Unified().acks(json.dumps(body).encode(), 2)
    assert isinstance(refusal_of(failed, "cancel"), OrderNotFound)
    assert sample("bitget", "rest_modify_order")["data"]["orderId"], "amended orders are new ones"


# -- refusals ----------------------------------------------------------------------------------------

SHEET: dict[type[VenueError], str] = {
    RateLimited: "429 1001 30006 25004",
    InsufficientMargin: "40754 40762 43012 40711 40712 40798 25202 25203 25228 25231",
    OrderNotFound: "40109 40768 43001 43025 45057 22001 80011 31007 25204 24056",
    DuplicateClientOrderId: "40708 40786 43118 45034 50060 25212",
    FilterViolation: (
        "40808 40815 40816 43028 45035 45115 25205 25206 25244 43027 43042 45110 45111 45112 45113 "
        "25207 25208 25610 25611"
    ),
    ReduceOnlyRefused: "22002 45003 45005 45006 25601",
    PositionModeMismatch: "40774",
    ClockSkew: "40004 40005 40008 40911",
    AuthenticationRefused: (
        "40001 40002 40003 40006 40009 40011 40012 40014 40018 40036 40037 40038 25620 40085"
    ),
    OutcomeUnknown: "40010 40910 40015 40200 45001 25000 25001 25003",
    Overloaded: "40308 40309 43115 25101",
    Rejected: "40761 43005 45118 25230 40017 40019 40020 40034 40305 400172 25200",
}


def test_every_code_of_the_sheet_is_of_its_class() -> None:
    for kind, codes in SHEET.items():
        for code in codes.split():
            for told in (code, int(code)):
                found = parse_error(told, "why", "place")
                assert (type(found), found.code) == (kind, code)


def test_no_code_stands_for_two_classes() -> None:
    codes = [code for each in ERRORS.values() for code in each]
    assert len(codes) == len(set(codes))


def test_every_recorded_error_is_of_its_class() -> None:
    for name in sample_names("bitget", "error_*"):
        body = sample("bitget", name)
        status = 429 if name == "error_rate_limited" else 400
        if name == "error_batch_item":
            done, failed = Classic().acks(json.dumps(body["data"]).encode(), 2)
            assert refusal_of(done, "place") is None
            assert isinstance(refusal_of(failed, "place"), FilterViolation)
            continue
        for each in (200, status):
            answer = Answer(status=each, headers={}, body=json.dumps(body).encode())
            found = parse_answer_error(answer, "place")
            assert type(found) is ERROR_OF_CODE[body["code"]], name


def test_a_wrong_position_mode_says_which_switch_to_flip() -> None:
    for code, text in ((40774, "unilateral position"), (400172, "Illegal position opening type")):
        found = parse_error(code, text, "place")
        assert isinstance(found, PositionModeMismatch) and "one-way" in str(found)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html>", OutcomeUnknown),
        (502, b"<html>", OutcomeUnknown),
        (429, b"slow down", RateLimited),
        (403, b"no", AuthenticationRefused),
        (400, b'{"code":"49999","msg":"new"}', Rejected),
        (500, b'{"code":"00000","msg":"success","data":null}', OutcomeUnknown),
    ],
)
def test_what_has_no_code_of_its_own_is_judged_by_its_status(
    status: int, body: bytes, kind: type[VenueError]
) -> None:
    found = parse_answer_error(Answer(status=status, headers={}, body=body), "place")
    assert type(found) is kind


@pytest.mark.parametrize(
    "change",
    [
        {"status": "sleeping"}, {"side": "hold"}, {"size": "0.005"}, {"size": "-1"}, {"price": "NaN"},
        {"accBaseVolume": "9"}, {"uTime": "soon"}, {"baseVolume": "1e9"}, {"tradeScope": "Q"},
        {"fillFee": "much"},
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_refused(change: dict[str, str]) -> None:
    row = {**sample("bitget", "ws_order_partial")["data"][0], **change}
    with pytest.raises(MalformedMessage):
        Classic().hear_orders(json.dumps([row]).encode(), CONTRACTS.get, Reader())


@pytest.mark.parametrize(
    "change",
    [{"execPrice": "94993.05"}, {"execQty": "0"}, {"tradeScope": "both"}, {"execTime": ""}],
)
def test_what_breaks_the_contract_of_a_unified_account_is_refused(change: dict[str, str]) -> None:
    row = {**sample("bitget", "ws_fill_uta")["data"][0], **change}
    with pytest.raises(MalformedMessage):
        Unified().hear_fills(json.dumps([row]).encode(), CONTRACTS.get, Reader())


# -- over real sockets -------------------------------------------------------------------------------


@asynccontextmanager
async def desk(account: str = "unified", **parts: float) -> AsyncIterator[VenueDesk]:
    venue: Any = make_loopback("bitget", feed=QuietFeed("ETHUSDT"), paper=PAPER, account=account)
    await venue.start()
    venue.stage.push("ETHUSDT", make_quote(BID, ASK, ts_ns=RealClock().now_ns()))
    adapter = on_loopback("bitget", venue, RIGHT, **parts)
    try:
        await adapter.connect()
        found = await adapter.fetch_instrument("ETHUSDT")
        made = VenueDesk(venue, adapter, found, HeardOrders(), HeardPrices(), HeardCandles())
        async with listening(
            adapter.stream_orders(found, made.orders),
            adapter.stream_prices(found, made.prices),
            adapter.stream_candles(["ETHUSDT", "NOSUCH"], 60, made.candles),
        ):
            await until(lambda: bool(made.orders.ups and made.prices.ups and made.candles.ups))
            await until(lambda: account == "classic" or adapter._entry.up)
            yield made
        assert adapter.malformed.count == 0, list(adapter.malformed)
    finally:
        await adapter.close()
        await venue.close()


@pytest.mark.parametrize("account", ACCOUNTS)
async def test_it_finds_out_which_generation_the_account_is_of(account: str) -> None:
    async with desk(account) as d:
        assert type(d.adapter._generation) is (Unified if account == "unified" else Classic)
        asked = {path for _, path in d.venue.stage.served}
        assert ("/api/v2/mix/account/accounts" in asked) is (account == "classic")
        assert bool(d.venue.stage._switches) is (account == "unified")
        await d.adapter.place(d.instrument, [make_order(Side.BUY, 299_000, 100)])
        ways = {method for method, path in d.venue.stage.served if "place-order" in path}
        assert ways == {"WS" if account == "unified" else "POST"}


@pytest.mark.parametrize("account", ACCOUNTS)
async def test_post_only_is_refused_later_by_the_stream(account: str) -> None:
    async with desk(account) as d:
        taking = make_order(Side.BUY, ASK + 10, 100, sequence=1)
        (placed,) = await d.adapter.place(d.instrument, [taking])
        assert isinstance(placed, OrderReport) and placed.status is OrderStatus.OPEN
        await until(lambda: len(d.reports(placed.venue_order_id)) >= 2)
        last = d.reports(placed.venue_order_id)[-1]
        assert (last.status, last.end_reason) == (OrderStatus.CANCELLED, EndReason.POST_ONLY)


@pytest.mark.parametrize(("account", "over_rest"), [("unified", False), ("unified", True), ("classic", True)])  # fmt: skip
async def test_one_bad_order_of_a_batch_fails_alone(account: str, over_rest: bool) -> None:
    async with desk(account) as d:
        if over_rest and account == "unified":
            d.adapter._services[0].cancel()
            await until(lambda: not d.adapter._entry.up)
        orders = [make_order(Side.BUY, 299_000, 100, sequence=n) for n in (1, 2)]
        small = make_order(Side.BUY, 299_000, 1, sequence=3)
        first, second, third = await d.adapter.place(d.instrument, [*orders, small])
        assert isinstance(first, OrderReport) and isinstance(second, OrderReport)
        assert isinstance(third, FilterViolation)
        gone, also, unknown = await d.adapter.cancel(d.instrument, refs(1, 2, 9))
        assert gone is None and also is None
        assert isinstance(unknown, OrderNotFound)
        assert await d.adapter.fetch_open_orders(d.instrument) == []
        ways = {
            method
            for method, path in d.venue.stage.served
            if path in ("batch-place", "batch-cancel")
        }
        assert ways == (set() if over_rest else {"WS"})


@pytest.mark.parametrize("account", ACCOUNTS)
async def test_a_fill_is_told_by_stream_query_and_history_alike(account: str) -> None:
    async with desk(account) as d:
        order = make_order(Side.BUY, BID, 100)
        (placed,) = await d.adapter.place(d.instrument, [order])
        assert isinstance(placed, OrderReport)
        d.trade(BID - 1, 40)
        await until(lambda: any(each.fill for each in d.orders.reports))
        told = next(each.fill for each in d.orders.reports if each.fill)
        (kept,) = await d.adapter.fetch_fills(d.instrument, 0)
        assert kept == told and told.client_order_id == order.client_order_id
        asked = await d.adapter.fetch_order(d.instrument, order.client_order_id)
        assert asked.filled_lots == told.qty_lots
        position = await d.adapter.fetch_position(d.instrument)
        assert position.qty_lots == told.qty_lots
        await until(lambda: bool(d.orders.positions))
        stranger = on_loopback("bitget", d.venue, RIGHT)
        try:
            await stranger.connect()
            found = await stranger.fetch_instrument("ETHUSDT")
            assert await stranger.fetch_fills(found, 0) == [kept], "it asks whose the order was"
        finally:
            await stranger.close()


async def test_an_own_order_that_a_plain_one_would_meet_goes_first() -> None:
    async with desk() as d:
        await d.adapter.place(d.instrument, [make_order(Side.SELL, BID + 5, 100, sequence=1)])
        crossing = make_order(Side.BUY, BID + 5, 100, sequence=2, post_only=False)
        (placed,) = await d.adapter.place(d.instrument, [crossing])
        assert isinstance(placed, OrderReport)
        (left,) = await d.adapter.fetch_open_orders(d.instrument)
        assert left.client_order_id == crossing.client_order_id
        assert not d.venue.desk.trades


async def test_a_fill_that_comes_before_its_order_is_booked_once() -> None:
    """The two topics are not in step, and either may be first."""
    async with desk() as d:
        d.venue.mischief.reorder_events = True
        (placed,) = await d.adapter.place(d.instrument, [make_order(Side.BUY, BID, 100)])
        assert isinstance(placed, OrderReport)
        for lots in (30, 30, 40):
            d.trade(BID - 1, lots)
        await until(lambda: sum(bool(each.fill) for each in d.orders.reports) >= 1)
        d.venue.mischief.reorder_events = False
        await until(lambda: d.reports(placed.venue_order_id)[-1].status is OrderStatus.FILLED)
        assert max(each.filled_lots for each in d.orders.reports) == 100
        assert len({each.fill.trade_id for each in d.orders.reports if each.fill}) == len(
            d.venue.desk.trades
        )


@pytest.mark.parametrize("account", ACCOUNTS)
async def test_an_open_list_of_several_pages_comes_whole(account: str) -> None:
    async with desk(account) as d:
        for start in range(0, 210, 20):
            orders = [
                make_order(Side.BUY, 290_000 + n, 10, sequence=n)
                for n in range(start, min(start + 20, 210))
            ]
            for outcome in await d.adapter.place(d.instrument, orders):
                assert isinstance(outcome, OrderReport)
            d.venue._windows.clear()
        listed = await d.adapter.fetch_open_orders(d.instrument)
        assert len({each.venue_order_id for each in listed}) == 210


@pytest.mark.parametrize("account", ACCOUNTS)
async def test_cancelling_all_of_nothing_is_no_refusal(account: str) -> None:
    async with desk(account) as d:
        await d.adapter.cancel_all(d.instrument)
        await d.adapter.place(d.instrument, [make_order(Side.BUY, 299_000, 100)])
        await d.adapter.cancel_all(d.instrument)
        assert d.venue.desk.open_orders() == []


async def test_an_answer_that_does_not_come_leaves_the_fate_unknown() -> None:
    async with desk(timeout_s=0.3) as d:
        d.venue.mischief.hang_answers = 1
        (outcome,) = await d.adapter.place(d.instrument, [make_order(Side.BUY, 299_000, 100)])
        assert isinstance(outcome, OutcomeUnknown)
        assert len(await d.adapter.fetch_open_orders(d.instrument)) == 1


async def test_an_order_socket_that_is_too_busy_for_a_number_keeps_the_account_quiet() -> None:
    async with desk() as d:
        d.adapter._hear_reply(Link(0), b'{"event":"error","code":30006,"msg":"Too many requests"}')
        (outcome,) = await d.adapter.place(d.instrument, [make_order(Side.BUY, 299_000, 100)])
        assert isinstance(outcome, RateLimited)


async def test_an_answer_that_leaves_an_order_out_leaves_its_fate_unknown() -> None:
    async with desk() as d:
        orders = [make_order(Side.BUY, 299_000, 100, sequence=n) for n in (1, 2)]
        ids = [d.adapter.ids.encode(order.client_order_id) for order in orders]
        rows = [{"orderId": None, "clientOid": ids[1]}]
        acks = Unified().acks(json.dumps(rows).encode(), 2)
        first, second = d.adapter._of_acks(acks, orders, "place")
        assert isinstance(first, OutcomeUnknown)
        assert isinstance(second, OrderReport) and second.venue_order_id == ""


@pytest.mark.parametrize("account", ACCOUNTS)
async def test_the_socket_comes_back_logged_in_and_subscribed(account: str) -> None:
    async with desk(account) as d:
        ups = d.orders.ups
        d.venue.stage.disconnect_all()
        await until(lambda: d.orders.ups > ups)
        await until(lambda: account == "classic" or d.adapter._entry.up)
        (placed,) = await d.adapter.place(d.instrument, [make_order(Side.BUY, 299_000, 100)])
        assert isinstance(placed, OrderReport)
        await until(lambda: bool(d.reports(placed.venue_order_id)))


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
        ({"api_key": "nobody"}, "40037"),
        ({"api_secret": "guessed"}, "40009"),
        ({"passphrase": "forgotten"}, "40012"),
    ],
)
@pytest.mark.parametrize("account", ACCOUNTS)
async def test_a_wrong_credential_is_refused_by_name(
    account: str, wrong: dict[str, str], code: str
) -> None:
    async with desk(account) as d:
        other = on_loopback("bitget", d.venue, {**RIGHT, **wrong})
        try:
            with pytest.raises(AuthenticationRefused) as caught:
                await other.connect()
            assert caught.value.code == code
            assert not any(value in str(caught.value) for value in {**RIGHT, **wrong}.values())
        finally:
            await other.close()


async def test_a_wrong_login_takes_the_order_socket_away_and_says_why() -> None:
    async with desk() as d:
        link = Link(1)
        link.socket = FakeSocket()
        login = d.adapter._tasks.own(d.adapter._logins.log_in(link))
        await until(lambda: bool(link.socket and link.socket.sent))  # type: ignore[attr-defined]
        d.adapter._hear_reply(link, b'{"event":"error","code":30015,"msg":"Invalid sign"}')
        with pytest.raises(AuthenticationRefused, match="30015"):
            await login


class FakeSocket:
    more = False

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def ping(self) -> None: ...

    def close(self) -> None: ...


async def test_prices_candles_and_funding_arrive() -> None:
    async with desk() as d:
        d.trade(BID + 3, 5)
        await until(lambda: bool(d.prices.prices))
        assert d.prices.prices[-1][0] == BID + 3
        await until(lambda: bool(d.candles.candles))
        assert d.candles.candles[-1].symbol == "ETHUSDT"
        (candle, *_) = await d.adapter.fetch_candles("ETHUSDT", 60, 10)
        assert candle.high >= 3000
        assert await d.adapter.fetch_funding_rate(d.instrument) == PAPER.funding_rate


async def test_the_newest_of_trades_counts_whichever_way_they_stand() -> None:
    """The venue pushes the newest first."""
    async with desk() as d:
        now_ms = RealClock().now_ns() // 1_000_000
        rows = [
            {"ts": str(now_ms - age), "price": price, "size": "1", "side": "buy", "tradeId": "1"}
            for age, price in ((1, "3000.05"), (400, "3000.00"))
        ]
        for trades, seen in ((rows, BID + 5), (rows[::-1], BID + 5)):
            d.prices.prices.clear()
            arg = {"instType": "USDT-FUTURES", "channel": "trade", "instId": "ETHUSDT"}
            message = {"action": "snapshot", "arg": arg, "data": trades, "ts": now_ms}
            d.adapter._hear_price(Link(0), json.dumps(message, separators=(",", ":")).encode())
            assert [price for price, _, _ in d.prices.prices] == [seen]


async def test_a_new_candle_closes_the_one_before_it() -> None:
    """The venue does not say so, and need not push the old one again."""
    async with desk() as d:
        now_ms = RealClock().now_ns() // 1_000_000
        open_ms = now_ms - now_ms % 60_000
        d.candles.candles.clear()
        for start_ms, close in ((open_ms, "3000.05"), (open_ms + 60_000, "3000.07")):
            row = [str(start_ms), "3000", "3001", "2999", close, "1", "3000", "3000"]
            arg = {"instType": "USDT-FUTURES", "channel": "candle1m", "instId": "ETHUSDT"}
            message = {"action": "update", "arg": arg, "data": [row], "ts": now_ms}
            d.adapter._hear_candle(Link(0), json.dumps(message).encode())
        told = [(candle.close, candle.closed) for candle in d.candles.candles]
        assert told == [(3000.05, False), (3000.05, True), (3000.07, False)]
