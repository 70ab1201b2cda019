"""OKX."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from tests.support.agreement import Agreement, Pair, Params, flat
from tests.support.independent import PEERS, SYMBOL


def words(route: str, message: Any) -> list[tuple[str, Params]]:
    """An order by its `op`; a subscription by its channel."""
    op, args = message.get("op", ""), message.get("args", [])
    if op == "subscribe":
        return [(f"subscribe {each['channel']}", each) for each in args]
    if op == "login":
        return [("login", args[0])]
    return [
        (op, {**flat(args), **({"expTime": message["expTime"]} if "expTime" in message else {})})
    ]


LATELY_MS = int(time.time() * 1_000) - 60_000
DAYS_AGO_MS = LATELY_MS - 5 * 86_400_000
PAGE = "we name the page and its size, so as to know whether there is another"
OUR_NAME = "we know an order by the name that we gave it, ccxt by its number at the venue"
TAG = "orders carry the bot's tag, by which the dead man's switch knows them"
PAIRS: dict[str, Pair] = {
    "instruments": Pair(
        own="/public/instruments",
        ours=lambda s: s.replay("ours"),
        theirs=lambda s: s.replay("theirs"),
    ),
    "streams": Pair(
        own="WS ",
        ours=lambda s: s.replay("ours"),
        theirs=lambda s: s.they_watch(
            lambda: s.theirs.watch_trades(SYMBOL),
            lambda: s.theirs.watch_mark_price(SYMBOL, {"channel": "mark-price"}),
            lambda: s.theirs.watch_ohlcv(SYMBOL, "1m"),
            lambda: s.theirs.watch_orders(SYMBOL),
            s.theirs.watch_positions,
        ),
        differences={
            "only ours": "a funding payment is told by balance_and_position; ccxt asks for none",
            "instId": "we hear the orders of every swap of the account over one subscription, ccxt of one",
            "instType": "we hold swaps only, ccxt asks for any kind",
        },
    ),
    "server time": Pair(
        ours=lambda s: s.ours._server_time(), theirs=lambda s: s.theirs.fetch_time()
    ),
    "account": Pair(
        ours=lambda s: s.ours.fetch_account(s.instrument),
        theirs=lambda s: s.theirs.fetch_balance(),
        differences={
            "only ours": "the safety check wants position mode, rights of the key and leverage; ccxt reads the balance alone",
            "ccy": "we ask for the quote currency, ccxt for every one",
        },
    ),
    "fees": Pair(
        ours=lambda s: s.ours.fetch_instrument("ETHUSDT"),
        theirs=lambda s: s.theirs.fetch_trading_fee(SYMBOL),
        differences={
            "instFamily": "of a swap the family is asked for, and is the same text",
            "uly": "the older name of the family",
        },
    ),
    "position": Pair(
        ours=lambda s: s.ours.fetch_position(s.instrument),
        theirs=lambda s: s.theirs.fetch_positions([SYMBOL]),
        differences={
            "only ours": "a flat instrument is left out of the answer: its mark price is asked for",
            "instType": "we say that it is a swap; its name says it too",
        },
    ),
    "open orders": Pair(
        ours=lambda s: s.ours.fetch_open_orders(s.instrument),
        theirs=lambda s: s.theirs.fetch_open_orders(SYMBOL),
        differences={"instType": "we say that it is a swap; its name says it too", "limit": PAGE},
    ),
    "one order": Pair(
        ours=lambda s: s.we_query(),
        theirs=lambda s: s.they_query(),
        differences={"clOrdId": OUR_NAME, "ordId": OUR_NAME},
    ),
    "own trades": Pair(
        ours=lambda s: s.ours.fetch_fills(s.instrument, DAYS_AGO_MS * 1_000_000),
        theirs=lambda s: s.theirs.fetch_my_trades(SYMBOL, DAYS_AGO_MS),
        differences={"limit": PAGE},
    ),
    "candles": Pair(
        ours=lambda s: s.ours.fetch_candles("ETHUSDT", 60, 5),
        theirs=lambda s: s.theirs.fetch_ohlcv(SYMBOL, "1m", None, 5),
    ),
    "funding rate": Pair(
        ours=lambda s: s.ours.fetch_funding_rate(s.instrument),
        theirs=lambda s: s.theirs.fetch_funding_rate(SYMBOL),
    ),
    "funding payments": Pair(
        ours=lambda s: s.ours._read_bills(LATELY_MS * 1_000_000),
        theirs=lambda s: s.theirs.fetch_funding_history(None, LATELY_MS, 100),
        instead={"/api/v5/account/bills-archive": "/api/v5/account/bills"},
        differences={
            "begin": "ccxt asks for everything and picks",
            "path": "the last week, which is asked for, is the same; the archive of months is read more slowly",
        },
    ),
    "place by REST": Pair(
        ours=lambda s: s.we_place(rest=True),
        theirs=lambda s: s.they_place(),
        differences={"tag": TAG},
    ),
    "place by socket": Pair(
        ours=lambda s: s.we_place(rest=False),
        theirs=lambda s: s.they_place(rest=False, op="order"),
        differences={
            "tag": TAG,
            "expTime": "an order that waits too long on its way is not wanted any more",
        },
    ),
    "place a batch": Pair(
        ours=lambda s: s.we_place(2, rest=True),
        theirs=lambda s: s.they_place_two(),
        differences={"tag": TAG},
    ),
    "cancel by REST": Pair(
        ours=lambda s: s.we_cancel(rest=True),
        theirs=lambda s: s.they_cancel(),
        differences={"clOrdId": OUR_NAME, "ordId": OUR_NAME},
    ),
    "cancel by socket": Pair(
        ours=lambda s: s.we_cancel(rest=False),
        theirs=lambda s: s.they_cancel(rest=False),
        differences={"clOrdId": OUR_NAME, "ordId": OUR_NAME},
    ),
    "cancel a batch": Pair(
        ours=lambda s: s.we_cancel(2, rest=True),
        theirs=lambda s: s.they_cancel_two(),
        differences={"clOrdId": OUR_NAME, "ordId": OUR_NAME},
    ),
    "dead man's switch": Pair(
        ours=lambda s: s.ours._arm("ETH-USDT-SWAP", 60.0),
        theirs=lambda s: s.theirs.cancel_all_orders_after(60_000),
        differences={"tag": TAG},
    ),
}
PEER = replace(
    PEERS["okx"],
    options={
        **PEERS["okx"].options,
        "createOrder": "privatePostTradeOrder",
        "cancelOrder": "privatePostTradeCancelOrder",
    },
)
AGREEMENT = Agreement(
    peer=PEER,
    pairs=PAIRS,
    words=words,
    presence=frozenset({"timestamp", "sign", "clOrdId", "ordId"}),
)
