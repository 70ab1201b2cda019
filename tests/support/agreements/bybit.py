"""Bybit."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from tests.support.agreement import Agreement, Pair, Params
from tests.support.independent import PEERS, SYMBOL


def words(route: str, message: Any) -> list[tuple[str, Params]]:
    """An order by its `op`, with its header; a subscription by its topic."""
    op, args = message.get("op", ""), message.get("args", [])
    if op == "subscribe":
        return [(f"subscribe {each}", {}) for each in args]
    if op == "auth":
        return [(f"{route} auth", {"key": args[0], "expires": args[1], "sign": args[2]})]
    if op == "ping":
        return []
    headers = {f"header {name.lower()}": value for name, value in message["header"].items()}
    return [(op, {**args[0], **headers})]


LATELY_MS = int(time.time() * 1_000) - 60_000
PAGE = "we name the page and its size, so as to know whether there is another"
OUR_NAME = "we know an order by the name that we gave it, ccxt by its number at the venue"
ONE_WAY = "we say that it is a one-way position; ccxt leaves it to be understood"
SAID = "we always say it, ccxt only when it is so"
PAIRS: dict[str, Pair] = {
    "instruments": Pair(
        own="/market/instruments-info",
        ours=lambda s: s.replay("ours"),
        theirs=lambda s: s.replay("theirs"),
    ),
    "streams": Pair(
        own="WS ",
        ours=lambda s: s.replay("ours"),
        theirs=lambda s: s.they_watch(
            lambda: s.theirs.watch_trades(SYMBOL),
            lambda: s.theirs.watch_ticker(SYMBOL),
            lambda: s.theirs.watch_ohlcv(SYMBOL, "1m"),
            lambda: s.theirs.watch_orders(SYMBOL),
            lambda: s.theirs.watch_my_trades(SYMBOL),
            lambda: s.theirs.watch_positions([SYMBOL]),
        ),
        differences={
            "only ours": "the order socket logs in at once, ccxt's when it first places (see below)",
        },
    ),
    "server time": Pair(
        ours=lambda s: s.ours._server_time(), theirs=lambda s: s.theirs.fetch_time()
    ),
    "account": Pair(
        ours=lambda s: s.ours.fetch_account(s.instrument),
        theirs=lambda s: s.theirs.fetch_balance(),
        differences={
            "only ours": "the safety check wants position mode, leverage and rights of the key; ccxt reads the balance alone",
            "coin": "we ask for the quote currency, ccxt for every one",
        },
    ),
    "fees": Pair(
        ours=lambda s: s.ours.fetch_instrument("ETHUSDT"),
        theirs=lambda s: s.theirs.fetch_trading_fee(SYMBOL),
    ),
    "position": Pair(
        ours=lambda s: s.ours.fetch_position(s.instrument),
        theirs=lambda s: s.theirs.fetch_position(SYMBOL),
    ),
    "open orders": Pair(
        ours=lambda s: s.ours.fetch_open_orders(s.instrument),
        theirs=lambda s: s.theirs.fetch_open_orders(SYMBOL),
        differences={
            "limit": PAGE,
            "openOnly": "we say what is the rule when nothing is said: orders that rest",
        },
    ),
    "one order": Pair(
        ours=lambda s: s.we_query(),
        theirs=lambda s: s.they_query("fetch_open_order"),
        differences={"orderId": OUR_NAME, "orderLinkId": OUR_NAME},
    ),
    "own trades": Pair(
        ours=lambda s: s.ours.fetch_fills(s.instrument, LATELY_MS * 1_000_000),
        theirs=lambda s: s.theirs.fetch_my_trades(SYMBOL, LATELY_MS),
        differences={
            "limit": PAGE,
            "endTime": "we walk week by week, which is the longest span; ccxt asks for what is not a week old",
            "execType": "liquidations and forced reductions are trades of ours too; ccxt asks for ordinary ones",
        },
    ),
    "candles": Pair(
        ours=lambda s: s.ours.fetch_candles("ETHUSDT", 60, 5),
        theirs=lambda s: s.theirs.fetch_ohlcv(SYMBOL, "1m", None, 5),
    ),
    "funding rate": Pair(
        ours=lambda s: s.ours.fetch_funding_rate(s.instrument),
        theirs=lambda s: s.theirs.fetch_ticker(SYMBOL),
    ),
    "funding payments": Pair(
        ours=lambda s: s.ours._read_funding(LATELY_MS * 1_000_000),
        theirs=lambda s: s.theirs.fetch_funding_history(SYMBOL, LATELY_MS),
        differences={
            "limit": PAGE,
            "size": "ccxt names the page by an older word",
            "endTime": "we walk week by week, which is the longest span",
            "symbol": "we ask for all at once, ccxt for one",
        },
    ),
    "place by REST": Pair(
        ours=lambda s: s.we_place(rest=True),
        theirs=lambda s: s.they_place(),
        differences={"positionIdx": ONE_WAY, "reduceOnly": SAID},
    ),
    "order socket login": Pair(
        own="trade auth",
        ours=lambda s: s.replay("ours"),
        theirs=lambda s: s.they_place(rest=False),
    ),
    "place by socket": Pair(
        ours=lambda s: s.we_place(rest=False),
        theirs=lambda s: s.they_place(rest=False),
        differences={"positionIdx": ONE_WAY, "reduceOnly": SAID},
    ),
    "place a batch": Pair(
        ours=lambda s: s.we_place(2, rest=True),
        theirs=lambda s: s.they_place_two(),
        differences={"positionIdx": ONE_WAY, "reduceOnly": SAID},
    ),
    "cancel by REST": Pair(
        ours=lambda s: s.we_cancel(rest=True),
        theirs=lambda s: s.they_cancel(),
        differences={"orderId": OUR_NAME, "orderLinkId": OUR_NAME},
    ),
    "cancel by socket": Pair(
        ours=lambda s: s.we_cancel(rest=False),
        theirs=lambda s: s.they_cancel(rest=False),
        differences={"orderId": OUR_NAME, "orderLinkId": OUR_NAME},
    ),
    "cancel a batch": Pair(
        ours=lambda s: s.we_cancel(2, rest=True),
        theirs=lambda s: s.they_cancel_two(),
        differences={"orderId": OUR_NAME, "orderLinkId": OUR_NAME},
    ),
    "cancel all": Pair(
        ours=lambda s: s.ours.cancel_all(s.instrument),
        theirs=lambda s: s.theirs.cancel_all_orders(SYMBOL),
    ),
}
NO_SNAPSHOT = {"watchPositions": {"fetchPositionsSnapshot": False}}
PEER = replace(PEERS["bybit"], options={**PEERS["bybit"].options, **NO_SNAPSHOT})
AGREEMENT = Agreement(
    peer=PEER,
    pairs=PAIRS,
    words=words,
    presence=frozenset({"expires", "sign", "orderId", "orderLinkId"}),
)
