"""One order, from our values to the bytes that would be sent: ours for Binance and ccxt's, in turns, medians."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from time import perf_counter_ns

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from marketmaker.adapters.binance.build import Signer, build_cancel, build_place
from marketmaker.adapters.contract import Contract
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.order import ClientOrderId, NewOrder, Side, TimeInForce
from marketmaker.model.settings import Credentials

ROUNDS, CALLS = 30, 200
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
    signer = Signer(Credentials(api_key="key" * 20, api_secret="secret" * 10))

    def place(number: int) -> bytes:
        order = NewOrder(
            client_order_id=ClientOrderId(number % 1000, Side.BUY, number),
            side=Side.BUY,
            price_ticks=Ticks(300_000 + number),
            qty_lots=Lots(10),
            post_only=True,
            reduce_only=False,
            time_in_force=TimeInForce.GTC,
        )
        wire = ids.encode(order.client_order_id)
        return build_place(
            order, contract, wire, request=number, ms=1_767_225_600_000, signer=signer
        )

    def cancel(number: int) -> bytes:
        wire = ids.encode(ClientOrderId(number % 1000, Side.BUY, number))
        return build_cancel("ETHUSDT", wire, request=number, ms=1_767_225_600_000, signer=signer)

    return {"ours, place": place, "ours, cancel": cancel}


def theirs() -> dict[str, Callable[[int], object]]:
    try:
        import ccxt  # noqa: PLC0415  (only where it is installed)
    except ImportError:
        return {}
    exchange = ccxt.binanceusdm({"apiKey": "key" * 20, "secret": "secret" * 10})

    def place(number: int) -> object:
        request = {
            "symbol": "ETHUSDT",
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "GTX",
            "quantity": "0.010",
            "price": f"{(300_000 + number) / 100:.2f}",
            "newClientOrderId": f"c{number}",
        }
        return exchange.sign("order", ["fapiPrivate"], "POST", request)

    return {"ccxt, sign() alone": place}


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
    print(f"\nencode and sign one order, us, median of {ROUNDS} rounds of {CALLS}")
    for name, values in medians.items():
        print(f"  {name:<20}{statistics.median(values):>8.1f}")


if __name__ == "__main__":
    main()
