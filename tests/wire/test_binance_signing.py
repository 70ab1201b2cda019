"""What we write to Binance: signatures, orders, cancels, batches, and that no secret is ever shown."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.adapters.binance import LIVE, make
from marketmaker.adapters.binance.build import (
    Signer,
    build_cancel,
    build_order_params,
    build_place,
)
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.parsing import Steps
from marketmaker.adapters.rest import build_json, build_query
from marketmaker.errors import MalformedMessage
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import Side, TimeInForce
from marketmaker.model.settings import Credentials
from tests.support.fakes import ManualClock, make_instrument
from tests.support.paper import make_order

KEY = "mmKey0000000000000000000000000000000000000000000000000000000001"
SECRET = "mmSecret00000000000000000000000000000000000000000000000000000001"
SIGNER = Signer(Credentials(api_key=KEY, api_secret=SECRET))
MS = 1_767_225_600_000
CLIENT_ID = "g1-b-0001"
ETH = make_instrument("ETHUSDT")


def hmac_hex(text: str) -> str:
    return hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


def instrument_of(tick: Decimal, lot: Decimal) -> Instrument:
    return Instrument(
        venue="binance",
        name="ETHUSDT",
        base="ETH",
        quote="USDT",
        tick_size=tick,
        lot_size=lot,
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
    )


def test_an_order_over_rest_is_signed_as_in_the_venues_vector() -> None:
    order = make_order(Side.BUY, 300_000, 10)
    params = build_order_params(order, Contract(ETH), CLIENT_ID)
    query = SIGNER.query(build_query(params), MS)
    assert query == (
        "symbol=ETHUSDT&side=BUY&type=LIMIT&timeInForce=GTX&quantity=0.010&price=3000.00"
        f"&newClientOrderId=g1-b-0001&recvWindow=5000&timestamp={MS}"
        "&signature=6438f2e89f33c3d2aff4e88343d82d9dcd97abec3cb76ffdbf65ef899ec96a28"
    )


def test_a_batch_over_rest_is_signed_as_in_the_venues_vector() -> None:
    row = build_order_params(make_order(Side.BUY, 300_000, 10), Contract(ETH), CLIENT_ID)
    query = SIGNER.query(build_query({"batchOrders": build_json([row])}), MS)
    assert query.startswith("batchOrders=%5B%7B%22symbol%22%3A%22ETHUSDT%22%2C%22side%22")
    assert query.endswith("fce0a53ed0475ae7655a30bce218f21d3d78ccd5ad0e1d3e9a66f6065ac46835")


def test_an_order_over_websocket_is_the_venues_own_example() -> None:
    order = make_order(Side.BUY, 300_000, 10)
    frame = build_place(order, Contract(ETH), CLIENT_ID, request=1, ms=MS, signer=SIGNER)
    assert json.loads(frame) == {
        "id": "1",
        "method": "order.place",
        "params": {
            "apiKey": KEY,
            "symbol": "ETHUSDT",
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "GTX",
            "quantity": "0.010",
            "price": "3000.00",
            "newClientOrderId": CLIENT_ID,
            "recvWindow": 5000,
            "timestamp": MS,
            "signature": "821acab9b0816f001599e0c7f2537e984f69d1cf9fd46c8907a2be9cc5053122",
        },
    }


def test_the_vectors_of_the_venue_sheet_are_the_ones_above(data_dir: Path) -> None:
    path = data_dir.parent / "venues" / "samples" / "binance" / "sign_vectors.json"
    if not path.is_file():
        pytest.skip(f"no {path}")
    vectors = json.loads(path.read_text())
    assert (vectors["api_key"], vectors["secret"]) == (KEY, SECRET)
    assert len(vectors["vectors"]) == 3
    for vector in vectors["vectors"]:
        assert SIGNER.sign(vector["string_to_sign"]) == vector["signature"], vector["name"]


@given(
    side=st.sampled_from(Side),
    post_only=st.booleans(),
    reduce_only=st.booleans(),
    ioc=st.booleans(),
    ticks=st.integers(1, 10**9),
    lots=st.integers(1, 10**9),
    tick=st.sampled_from(["0.01", "0.1", "1", "0.0001", "0.05", "10", "0.0000001", "2.5"]),
    lot=st.sampled_from(["0.001", "1", "0.1", "100"]),
    request=st.integers(1, 10**12),
)
def test_every_placement_is_json_whose_signature_covers_its_sorted_parameters(
    side: Side,
    post_only: bool,
    reduce_only: bool,
    ioc: bool,
    ticks: int,
    lots: int,
    tick: str,
    lot: str,
    request: int,
) -> None:
    contract = Contract(instrument_of(Decimal(tick), Decimal(lot)))
    order = make_order(
        side,
        ticks,
        lots,
        post_only=post_only,
        reduce_only=reduce_only,
        time_in_force=TimeInForce.IOC if ioc else TimeInForce.GTC,
    )
    frame = build_place(order, contract, CLIENT_ID, request=request, ms=MS, signer=SIGNER)
    message = json.loads(frame)
    params = message["params"]
    signature = params.pop("signature")
    assert message["id"] == str(request)
    assert signature == hmac_hex("&".join(f"{name}={params[name]}" for name in sorted(params)))
    assert params["timeInForce"] == ("IOC" if ioc else "GTX" if post_only else "GTC")
    assert params.get("reduceOnly") == ("true" if reduce_only else None)
    assert Decimal(params["price"]) == ticks * Decimal(tick)
    assert Decimal(params["quantity"]) == lots * Decimal(lot)
    assert "E" not in params["price"].upper()
    by_rest = build_order_params(order, contract, CLIENT_ID)
    extra = {"apiKey": KEY, "recvWindow": 5000, "timestamp": MS}
    assert {**by_rest, **extra} == params, "both ways say the same"


def test_a_cancel_is_json_whose_signature_covers_its_sorted_parameters() -> None:
    frame = build_cancel("ETHUSDT", CLIENT_ID, request=7, ms=MS, signer=SIGNER)
    message = json.loads(frame)
    params = message["params"]
    signature = params.pop("signature")
    assert (message["id"], message["method"]) == ("7", "order.cancel")
    assert params["origClientOrderId"] == CLIENT_ID
    assert signature == hmac_hex("&".join(f"{name}={params[name]}" for name in sorted(params)))


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.text(max_size=12), max_size=5))
def test_a_query_reads_back_as_what_was_put_in(params: dict[str, str]) -> None:
    query = SIGNER.query(build_query(params), MS)
    text, _, signature = query.rpartition("&signature=")
    assert signature == hmac_hex(text)
    expected = [*params.items(), ("recvWindow", "5000"), ("timestamp", str(MS))]
    assert parse_qsl(text, keep_blank_values=True) == [(k, str(v)) for k, v in expected]


@given(
    steps=st.integers(0, 10**15),
    size=st.sampled_from(["0.01", "0.10", "1", "0.00001", "0.05", "10", "2.5", "0.25"]),
    zeros=st.integers(0, 6),
)
def test_decimal_text_becomes_steps_and_back_without_loss(
    steps: int, size: str, zeros: int
) -> None:
    converter = Steps(Decimal(size))
    text = converter.format(steps)
    assert Decimal(text) == steps * Decimal(size)
    padded = text + ("" if "." in text else ".") + "0" * zeros if zeros else text
    assert converter.parse(padded) == steps
    assert converter.near(text) == steps if len(text) < 20 else True


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ".",
            ".5",
            "-1",
            "+1",
            "1e3",
            "1_000",
            " 1",
            "1 ",
            "0x1",
            "NaN",
            "inf",
            "1.2.3",
        ),
        *("3000.005", "3000.1x", "٣", "1" * 40, "1,5"),
    ],
)
def test_what_is_not_a_number_on_the_step_is_malformed(text: str) -> None:
    with pytest.raises(MalformedMessage):
        Steps(Decimal("0.01")).parse(text)


def test_a_price_between_two_steps_of_five_is_malformed() -> None:
    assert Steps(Decimal("0.05")).parse("10.15") == 203
    with pytest.raises(MalformedMessage, match="off the step"):
        Steps(Decimal("0.05")).parse("10.16")


def test_nothing_shows_a_secret() -> None:
    credentials = Credentials(api_key=KEY, api_secret=SECRET)
    adapter = make(credentials, LIVE, "mm", ManualClock(), random.Random(1))
    for thing in (adapter, adapter._signer, adapter._rest.http, vars(adapter)):
        assert SECRET not in repr(thing)
    assert quote(SECRET) not in repr(vars(adapter._signer))
