"""Gate."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from tests.support.agreement import Agreement, Pair, Params
from tests.support.independent import PEERS, SYMBOL


def words(route: str, message: Any) -> list[tuple[str, Params]]:
    """An order by its channel, with its parameters; a subscription by its channel, with what it is about."""
    channel, payload = message.get("channel", ""), message.get("payload")
    if message.get("event") == "subscribe":
        auth = {f"header {k.lower()}": v for k, v in (message.get("auth") or {}).items()}
        return [(f"subscribe {channel}", {"payload": payload, **auth})]
    if channel == "futures.login":
        return [(channel, {k: v for k, v in payload.items() if k != "req_id"})]
    if channel == "futures.ping":
        return []
    asked = payload["req_param"]
    return [(channel, asked if isinstance(asked, dict) else {"list": len(asked)})]


LATELY_MS = int(time.time() * 1_000) - 60_000
PAGE = "we name the page and its size, so as to know whether there is another"
UNASKED = "ccxt leaves its own words in the request; the venue does not read them"
PAIRS: dict[str, Pair] = {
    "instruments": Pair(
        own="/futures/usdt/contracts",
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
            s.theirs.watch_balance,
        ),
        differences={
            "only ours": "the order socket logs in at once, ccxt's when it first places (see below)",
            "payload": "we hear the trades of every contract of the account over one subscription, ccxt of one",
        },
    ),
    "server time": Pair(
        ours=lambda s: s.ours._server_time(), theirs=lambda s: s.theirs.fetch_time()
    ),
    "account": Pair(
        ours=lambda s: s.ours.fetch_account(s.instrument),
        theirs=lambda s: s.theirs.fetch_balance(),
        differences={
            "only ours": "leverage stands with the position; ccxt reads the balance alone"
        },
    ),
    "position": Pair(
        ours=lambda s: s.ours.fetch_position(s.instrument),
        theirs=lambda s: s.theirs.fetch_position(SYMBOL),
    ),
    "open orders": Pair(
        ours=lambda s: s.ours.fetch_open_orders(s.instrument),
        theirs=lambda s: s.theirs.fetch_open_orders(SYMBOL),
        differences={"limit": PAGE, "offset": PAGE},
    ),
    "one order": Pair(
        ours=lambda s: s.we_query(),
        theirs=lambda s: s.they_query(),
        differences={"contract": UNASKED},
    ),
    "own trades": Pair(
        ours=lambda s: s.ours.fetch_fills(s.instrument, LATELY_MS * 1_000_000),
        theirs=lambda s: s.theirs.fetch_my_trades(SYMBOL, LATELY_MS),
        differences={
            "limit": PAGE,
            "offset": PAGE,
            "to": "we say until when, so that pages do not move while they are read",
        },
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
        ours=lambda s: s.ours._read_funding(LATELY_MS * 1_000_000),
        theirs=lambda s: s.theirs.fetch_funding_history(None, LATELY_MS),
        differences={"limit": PAGE, "offset": PAGE},
    ),
    "place by REST": Pair(ours=lambda s: s.we_place(rest=True), theirs=lambda s: s.they_place()),
    "order socket login": Pair(
        own="futures.login",
        ours=lambda s: s.replay("ours"),
        theirs=lambda s: s.they_place(rest=False),
        differences={
            "req_param": "a login has no parameters: the empty text is signed, or the empty object"
        },
    ),
    "place by socket": Pair(
        ours=lambda s: s.we_place(rest=False),
        theirs=lambda s: s.they_place(rest=False),
        differences={"settle": UNASKED},
    ),
    "place a batch": Pair(
        ours=lambda s: s.we_place(2, rest=True),
        theirs=lambda s: s.they_place_two(),
        differences={"settle": UNASKED},
    ),
    "cancel by REST": Pair(
        ours=lambda s: s.we_cancel(rest=True),
        theirs=lambda s: s.they_cancel(),
        differences={"contract": UNASKED},
    ),
    "cancel by socket": Pair(
        ours=lambda s: s.we_cancel(rest=False),
        theirs=lambda s: s.they_cancel(rest=False),
        differences={"contract": UNASKED, "settle": UNASKED},
    ),
    "cancel a batch": Pair(
        ours=lambda s: s.we_cancel(2, rest=True),
        theirs=lambda s: s.they_cancel_two(settle="usdt"),
    ),
    "cancel all": Pair(
        ours=lambda s: s.ours.cancel_all(s.instrument),
        theirs=lambda s: s.theirs.cancel_all_orders(SYMBOL),
    ),
}
NO_SNAPSHOT = {"watchPositions": {"fetchPositionsSnapshot": False}}
PEER = replace(PEERS["gate"], options={**PEERS["gate"].options, **NO_SNAPSHOT})
AGREEMENT = Agreement(
    peer=PEER,
    pairs=PAIRS,
    words=words,
    presence=frozenset({"timestamp", "signature", "text", "order_id", "to"}),
)
