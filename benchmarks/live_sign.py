"""One order, from our values to the bytes that would be sent, and ccxt's `sign`, in turns, medians.

Binance wants every order signed; the others take orders over a socket that has logged in, and theirs are encoded only.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from time import perf_counter_ns
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from marketmaker.adapters.binance.build import Signer, build_cancel, build_place
from marketmaker.adapters.bitget import unified as bitget
from marketmaker.adapters.bybit import build as bybit
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.gate import build as gate
from marketmaker.adapters.okx import build as okx
from marketmaker.compiled import which
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.order import ClientOrderId, NewOrder, Side, TimeInForce
from marketmaker.model.settings import Credentials

ROUNDS, CALLS = 30, 200
MS = 1_767_225_600_000
INSTRUMENT = Instrument(
    venue="binance",
    name="ETHUSDT",
    base="ETH",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.001"),
    maker_fee=Decimal("0.0002"),
    taker_fee=Decimal("0.0005"),
)


def ours() -> dict[str, Callable[[int], object]]:
    contract, ids = Contract(INSTRUMENT), TextForm("mm1")
    futures = Contract(INSTRUMENT, Decimal(1), "ETH_USDT")
    signer = Signer(Credentials(api_key="key" * 20, api_secret="secret" * 10))

    def order_of(number: int) -> NewOrder:
        return NewOrder(
            client_order_id=ClientOrderId(number % 1000, Side.BUY, number),
            side=Side.BUY,
            price_ticks=Ticks(300_000 + number),
            qty_lots=Lots(10),
            post_only=True,
            reduce_only=False,
            time_in_force=TimeInForce.GTC,
        )

    def place(number: int) -> bytes:
        order = order_of(number)
        wire = ids.encode(order.client_order_id)
        return build_place(order, contract, wire, request=number, ms=MS, signer=signer)

    def cancel(number: int) -> bytes:
        wire = ids.encode(ClientOrderId(number % 1000, Side.BUY, number))
        return build_cancel("ETHUSDT", wire, request=number, ms=MS, signer=signer)

    def elsewhere(
        build: Callable[..., bytes], about: Contract, **more: object
    ) -> Callable[[int], bytes]:
        def place(number: int) -> bytes:
            order = order_of(number)
            return build([order], about, [ids.encode(order.client_order_id)], number=number, **more)

        return place

    return {
        "binance, place": place,
        "binance, cancel": cancel,
        "okx, place": elsewhere(okx.build_place, contract, tag="", ms=MS),
        "bybit, place": elsewhere(bybit.build_place, contract, ms=MS),
        "bitget, place": elsewhere(bitget.build_place, contract),
        "gate, place": elsewhere(gate.build_place, futures, ms=MS),
    }


def theirs() -> dict[str, Callable[[int], object]]:
    """ccxt's `sign`: from its own parameters to an address, headers and a body. What `create_order` does before is not
    in it."""
    try:
        import ccxt  # noqa: PLC0415  (only where it is installed)
    except ImportError:
        return {}
    keys = {"apiKey": "key" * 20, "secret": "secret" * 10, "password": "pass"}

    def signing(
        exchange: Any, path: str, api: Any, price: str, request: dict[str, object]
    ) -> Callable[[int], object]:
        def place(number: int) -> object:
            text = f"{(300_000 + number) / 100:.2f}"
            return exchange.sign(path, api, "POST", {**request, price: text})

        return place

    one = {"symbol": "ETHUSDT", "side": "Buy", "orderType": "limit", "qty": "0.010"}
    return {
        "ccxt binance, sign": signing(
            ccxt.binanceusdm(keys),
            "order",
            ["fapiPrivate"],
            "price",
            {**one, "timeInForce": "GTX", "newClientOrderId": "c1"},
        ),
        "ccxt okx, sign": signing(
            ccxt.okx(keys), "trade/order", ["private"], "px", {**one, "clOrdId": "c1"}
        ),
        "ccxt bybit, sign": signing(
            ccxt.bybit(keys), "v5/order/create", ["private"], "price", {**one, "orderLinkId": "c1"}
        ),
        "ccxt bitget, sign": signing(
            ccxt.bitget(keys),
            "v2/mix/order/place-order",
            ["private", "mix"],
            "price",
            {**one, "clientOid": "c1"},
        ),
        "ccxt gate, sign": signing(
            ccxt.gate(keys),
            "{settle}/orders",
            ["private", "futures"],
            "price",
            {"settle": "usdt", "contract": "ETH_USDT", "size": 10, "text": "t-c1"},
        ),
    }


def main() -> None:
    calls = {**ours(), **theirs()}
    medians: dict[str, list[float]] = {name: [] for name in calls}
    number = 0
    for _ in range(ROUNDS):
        for name, call in calls.items():
            took = []
            for _ in range(CALLS):
                number += 1
                began = perf_counter_ns()
                call(number)
                took.append(perf_counter_ns() - began)
            medians[name].append(statistics.median(took) / 1000)
    print(f"\nencode and sign one order, us, median of {ROUNDS} rounds of {CALLS}; core: {which()}")
    for name, values in medians.items():
        print(f"  {name:<20}{statistics.median(values):>8.1f}")


if __name__ == "__main__":
    main()
