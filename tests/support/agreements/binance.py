"""Binance USD-M."""

from __future__ import annotations

from typing import Any

from tests.support.agreement import Agreement, Pair, Params
from tests.support.independent import SYMBOL, Peer


def words(route: str, message: Any) -> list[tuple[str, Params]]:
    """An order by its method; a subscription by its stream."""
    method, params = message.get("method", ""), message.get("params", {})
    if isinstance(params, list):
        return [(f"subscribe {each}", {}) for each in params] if method == "SUBSCRIBE" else []
    return [(method, params)]


ACK = (
    "we take the short answer of a post-only order, which comes sooner; ccxt always asks for RESULT"
)
PAGE = "we name the page size, so as to know whether there is another page"
LIMITS = "ccxt asks not to be told its usage; we want to be told"
OUR_NAME = "we know an order by the name that we gave it, ccxt by its number at the venue"
LEFT = "ccxt leaves its own words in the request; the venue does not read them"
HEADER = {
    "header x-mbx-apikey": "our key goes with everything; what is public is not refused for it"
}
BY_NAME = {"origClientOrderId": OUR_NAME, "orderId": OUR_NAME}
PAIRS: dict[str, Pair] = {
    "instruments": Pair(
        own="/fapi/v1/exchangeInfo",
        ours=lambda s: s.replay("ours"),
        theirs=lambda s: s.replay("theirs"),
        differences=HEADER,
    ),
    "server time": Pair(
        ours=lambda s: s.ours._server_time(),
        theirs=lambda s: s.theirs.fetch_time(),
        differences=HEADER,
    ),
    "balance": Pair(
        ours=lambda s: s.ours.fetch_account(s.instrument),
        theirs=lambda s: s.theirs.fetch_balance({"useV2": False}),
        differences={
            "only ours": "balance alone is a tenth of the account's answer; the safety check wants mode, leverage, key",
            "only theirs": "the account's answer holds every position of the venue",
        },
    ),
    "position": Pair(
        ours=lambda s: s.ours.fetch_position(s.instrument),
        theirs=lambda s: s.theirs.fetch_positions([SYMBOL], {"method": "positionRisk"}),
        differences={
            "symbol": "we ask for one symbol, ccxt for all and picks",
            "only ours": "a flat symbol is left out of the answer: its mark price is asked for",
            "only theirs": "ccxt computes margins from the brackets; we do not need them",
        },
    ),
    "open orders": Pair(
        ours=lambda s: s.ours.fetch_open_orders(s.instrument),
        theirs=lambda s: s.theirs.fetch_open_orders(SYMBOL),
    ),
    "one order": Pair(
        ours=lambda s: s.we_query(),
        theirs=lambda s: s.they_query(),
        differences=BY_NAME,
    ),
    "own trades": Pair(
        ours=lambda s: s.ours._trades(s.instrument, {"startTime": 1, "endTime": 604_800_001}),
        theirs=lambda s: s.theirs.fetch_my_trades(SYMBOL, 1),
        differences={"limit": PAGE},
    ),
    "candles": Pair(
        ours=lambda s: s.ours.fetch_candles("ETHUSDT", 60, 5),
        theirs=lambda s: s.theirs.fetch_ohlcv(SYMBOL, "1m", None, 5),
        differences=HEADER,
    ),
    "funding rate": Pair(
        ours=lambda s: s.ours.fetch_funding_rate(s.instrument),
        theirs=lambda s: s.theirs.fetch_funding_rate(SYMBOL),
        differences=HEADER,
    ),
    "place by REST": Pair(
        ours=lambda s: s.we_place(rest=True),
        theirs=lambda s: s.they_place(),
        differences={"newOrderRespType": ACK},
    ),
    "place by socket": Pair(
        ours=lambda s: s.we_place(rest=False),
        theirs=lambda s: s.they_place(rest=False),
        differences={
            "newOrderRespType": ACK,
            "returnRateLimits": LIMITS,
            "clientOrderId": LEFT,
            "postOnly": f"{LEFT}: timeInForce GTX says it",
        },
    ),
    "place a batch": Pair(
        ours=lambda s: s.we_place(2, rest=True),
        theirs=lambda s: s.they_place_two(),
        differences={"newOrderRespType": ACK},
    ),
    "cancel by REST": Pair(
        ours=lambda s: s.we_cancel(rest=True), theirs=lambda s: s.they_cancel(), differences=BY_NAME
    ),
    "cancel by socket": Pair(
        ours=lambda s: s.we_cancel(rest=False),
        theirs=lambda s: s.they_cancel(rest=False),
        differences={**BY_NAME, "returnRateLimits": LIMITS},
    ),
    "cancel a batch": Pair(
        ours=lambda s: s.we_cancel(2, rest=True),
        theirs=lambda s: s.they_cancel_two(),
        differences={"orderidlist": OUR_NAME, "origClientOrderIdList": OUR_NAME},
    ),
    "cancel all": Pair(
        ours=lambda s: s.ours.cancel_all(s.instrument),
        theirs=lambda s: s.theirs.cancel_all_orders(SYMBOL),
    ),
    "listen key": Pair(
        ours=lambda s: s.ours._private_url(),
        theirs=lambda s: s.theirs.fapiPrivatePostListenKey(),
    ),
    "income": Pair(
        ours=lambda s: s.ours._read_income(1_000_000),
        theirs=lambda s: s.theirs.fetch_funding_history(None, 1, 1000),
    ),
}
PEER = Peer(id="binance", ccxt="binanceusdm", options={})
AGREEMENT = Agreement(
    peer=PEER,
    pairs=PAIRS,
    words=words,
    presence=frozenset({"timestamp", "signature", "recvWindow", "newClientOrderId", "orderId"}),
)
