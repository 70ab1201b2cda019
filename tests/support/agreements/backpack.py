"""Backpack."""

from __future__ import annotations

import time
from typing import Any

from tests.support.agreement import Agreement, Pair, Params
from tests.support.independent import PEERS, SYMBOL


def words(route: str, message: Any) -> list[tuple[str, Params]]:
    """A subscription by its stream, with who asks."""
    if message.get("method") != "SUBSCRIBE":
        return []
    names = ("header key", "header signature", "header timestamp", "header window")
    signed = dict(zip(names, message.get("signature") or (), strict=False))
    return [(f"subscribe {topic}", signed) for topic in message["params"]]


LATELY_MS = int(time.time() * 1_000) - 60_000
PAGE = "we name the page and its size, so as to know whether there is another"
OUR_NAME = "we know an order by the name that we gave it, ccxt by its number at the venue"
PAIRS: dict[str, Pair] = {
    "instruments": Pair(
        own="/api/v1/markets",
        ours=lambda s: s.replay("ours"),
        theirs=lambda s: s.replay("theirs"),
    ),
    "streams": Pair(
        own="WS ",
        ours=lambda s: s.replay("ours"),
        theirs=lambda s: s.they_watch(
            lambda: s.theirs.watch_trades(SYMBOL),
            lambda: s.theirs.watch_ohlcv(SYMBOL, "1m"),
            lambda: s.theirs.watch_orders(SYMBOL),
            lambda: s.theirs.watch_positions([SYMBOL]),
        ),
        differences={
            "only ours": "we hear the orders and positions of the whole account, and the mark price, by which a stale price is confirmed",
            "only theirs": "ccxt hears them symbol by symbol",
        },
    ),
    "server time": Pair(
        ours=lambda s: s.ours._server_time(), theirs=lambda s: s.theirs.fetch_time()
    ),
    "account": Pair(
        ours=lambda s: s.ours.fetch_account(s.instrument),
        theirs=lambda s: s.theirs.fetch_balance(),
        differences={
            "only ours": "equity in use is told by the collateral, leverage by the account",
            "only theirs": "ccxt reads the bare balances",
        },
    ),
    "position": Pair(
        ours=lambda s: s.ours.fetch_position(s.instrument),
        theirs=lambda s: s.theirs.fetch_positions([SYMBOL]),
        differences={
            "only ours": "a flat symbol is left out of the answer: its mark price is asked for",
            "symbol": "we ask for one symbol, ccxt for all and picks",
        },
    ),
    "open orders": Pair(
        ours=lambda s: s.ours.fetch_open_orders(s.instrument),
        theirs=lambda s: s.theirs.fetch_open_orders(SYMBOL),
        differences={"marketType": "we say that it is a perpetual; its name says it too"},
    ),
    "one order": Pair(
        ours=lambda s: s.we_query(),
        theirs=lambda s: s.they_query("fetch_open_order"),
        differences={"clientId": OUR_NAME, "orderId": OUR_NAME},
    ),
    "own trades": Pair(
        ours=lambda s: s.ours.fetch_fills(s.instrument, LATELY_MS * 1_000_000),
        theirs=lambda s: s.theirs.fetch_my_trades(SYMBOL, LATELY_MS),
        differences={
            "limit": PAGE,
            "offset": PAGE,
            "sortDirection": "oldest first, so that a page does not move when a trade is added",
            "fillType": "liquidations and forced reductions are trades of ours too; ccxt asks for ordinary ones",
        },
    ),
    "candles": Pair(
        ours=lambda s: s.ours.fetch_candles("ETHUSDT", 60, 5),
        theirs=lambda s: s.theirs.fetch_ohlcv(SYMBOL, "1m", None, 5),
        differences={"endTime": "now is the end when none is said"},
    ),
    "funding rate": Pair(
        ours=lambda s: s.ours.fetch_funding_rate(s.instrument),
        theirs=lambda s: s.theirs.fetch_funding_rate(SYMBOL),
    ),
    "funding payments": Pair(
        ours=lambda s: s.ours._read_funding(LATELY_MS * 1_000_000),
        theirs=lambda s: s.theirs.fetch_funding_history(None, LATELY_MS),
        differences={"limit": PAGE, "offset": PAGE},
    ),
    "place": Pair(
        ours=lambda s: s.we_place(rest=True),
        theirs=lambda s: s.they_place(),
        differences={"timeInForce": "we say what is the rule when nothing is said"},
    ),
    "place a batch": Pair(
        ours=lambda s: s.we_place(2, rest=True),
        theirs=lambda s: s.they_place_two(),
        differences={"timeInForce": "we say what is the rule when nothing is said"},
    ),
    "cancel": Pair(ours=lambda s: s.we_cancel(rest=True), theirs=lambda s: s.they_cancel()),
    "cancel all": Pair(
        ours=lambda s: s.ours.cancel_all(s.instrument),
        theirs=lambda s: s.theirs.cancel_all_orders(SYMBOL),
    ),
}
AGREEMENT = Agreement(
    peer=PEERS["backpack"], pairs=PAIRS, words=words, presence=frozenset({"clientId", "orderId"})
)
