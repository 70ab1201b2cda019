"""Bitget, with both kinds of account."""

from __future__ import annotations

import time
from typing import Any

from tests.support.agreement import Agreement, Pair, Params, Sides
from tests.support.independent import PEERS, SYMBOL


def words(route: str, message: Any) -> list[tuple[str, Params]]:
    """An order by its topic; a subscription by what it is about."""
    op, args = message.get("op", ""), message.get("args", [])
    if op == "subscribe":
        return [
            (f"subscribe {' '.join(str(each.get(n)) for n in NAMES if each.get(n))}", {})
            for each in args
        ]
    if op == "login":
        return [(f"{route} login", dict(args[0]))]
    if op == "trade":
        return [(str(message["topic"]), dict(args[0]))]
    return []


NAMES = ("instType", "channel", "topic", "instId", "symbol", "interval")
LATELY_MS = int(time.time() * 1_000) - 60_000
PAGE = "we name the page's size, so as to know whether there is another"
OUR_NAME = "we know an order by the name that we gave it, ccxt by its number at the venue"
MARKET = (
    "market data is that of API v2 for both kinds of account; ccxt asks API v3 of a unified one"
)
SAID = "we always say it, ccxt only when it is so"
SPAN = "we walk week by week, which is the longest span; ccxt leaves the end open"
ONE_SYMBOL = "we ask for one symbol, ccxt for every one and picks"
SELF_TRADE = "that of the account: ccxt says none"
SOCKETS = "ccxt has no order entry over the socket here; ours logs in at once"
STREAMS = "ccxt watches trades of its own on a topic of their own; ours are on the orders channel"
Work = dict[str, Pair]


async def cancel_all_of_theirs(sides: Sides) -> None:
    """With an order to cancel: of none a classic account says that there is none."""
    await sides.they_place_one()
    await sides.theirs.cancel_all_orders(SYMBOL)


def pairs(*, unified: bool) -> Work:
    """Errands that both kinds of account know; what is different is in the tables of each."""
    of_market = {"only ours": MARKET, "only theirs": MARKET} if unified else {}
    return {
        "instruments": Pair(
            own="/contracts",
            ours=lambda s: s.replay("ours"),
            theirs=lambda s: s.theirs.fetch_markets({"uta": False}),
            differences={},
        ),
        "server time": Pair(
            ours=lambda s: s.ours._server_time(), theirs=lambda s: s.theirs.fetch_time()
        ),
        "which generation": Pair(
            ours=lambda s: s.ours._find_generation(),
            theirs=lambda s: (
                s.theirs.privateUtaGetV3AccountSettings()
                if unified
                else s.theirs.privateMixGetV2MixAccountAccounts({"productType": "USDT-FUTURES"})
            ),
            differences={}
            if unified
            else {"only ours": "a classic account first refuses to tell a unified one's settings"},
        ),
        "fees": Pair(
            ours=lambda s: s.ours.fetch_instrument("ETHUSDT"),
            theirs=lambda s: s.theirs.fetch_trading_fee(SYMBOL),
        ),
        "account": Pair(
            ours=lambda s: s.ours.fetch_account(s.instrument),
            theirs=lambda s: s.theirs.fetch_balance(),
            differences={"only ours": "the safety check wants position mode and leverage"}
            if unified
            else {
                "only ours": "the account of one symbol, which tells position mode and leverage",
                "only theirs": "the accounts of every coin, which tell the balance alone",
            },
        ),
        "position": Pair(
            ours=lambda s: s.ours.fetch_position(s.instrument),
            theirs=lambda s: s.theirs.fetch_position(SYMBOL),
            differences={"only ours": "a flat symbol has no row: its mark price is asked for"},
        ),
        "open orders": Pair(
            ours=lambda s: s.ours.fetch_open_orders(s.instrument),
            theirs=lambda s: s.theirs.fetch_open_orders(SYMBOL),
            differences={"limit": PAGE},
        ),
        "one order": Pair(
            ours=lambda s: s.we_query(),
            theirs=lambda s: s.they_query(),
            differences={"orderId": OUR_NAME, "clientOid": OUR_NAME},
        ),
        "own trades": Pair(
            ours=lambda s: s.ours.fetch_fills(s.instrument, LATELY_MS * 1_000_000),
            theirs=lambda s: s.theirs.fetch_my_trades(SYMBOL, LATELY_MS),
            differences={
                "limit": PAGE,
                "endTime": SPAN,
                "category": ONE_SYMBOL,
                "symbol": ONE_SYMBOL,
            }
            if unified
            else {
                "path": "fill-history goes back 90 days, fills a few",
                "limit": PAGE,
                "endTime": SPAN,
            },
            instead={"/api/v2/mix/order/fills": "/api/v2/mix/order/fill-history"},
        ),
        "candles": Pair(
            ours=lambda s: s.ours.fetch_candles("ETHUSDT", 60, 5),
            theirs=lambda s: s.theirs.fetch_ohlcv(SYMBOL, "1m", None, 5),
            differences=of_market,
        ),
        "funding rate": Pair(
            ours=lambda s: s.ours.fetch_funding_rate(s.instrument),
            theirs=lambda s: s.theirs.fetch_funding_rate(SYMBOL),
            differences=of_market,
        ),
        "funding payments": Pair(
            ours=lambda s: s.ours._read_payments(LATELY_MS * 1_000_000),
            theirs=lambda s: s.theirs.fetch_funding_history(SYMBOL, LATELY_MS),
            differences={"limit": PAGE}
            if unified
            else {
                "limit": PAGE,
                "symbol": "we ask for all at once, ccxt for one",
                "marginCoin": "the product has one coin; ccxt names it",
            },
        ),
        "place by REST": Pair(
            ours=lambda s: s.we_place(rest=True),
            theirs=lambda s: s.they_place(),
            differences={"reduceOnly": SAID},
        ),
        "place a batch": Pair(
            ours=lambda s: s.we_place(2, rest=True),
            theirs=lambda s: s.they_place_two(),
            differences={"reduceOnly": SAID},
        ),
        "cancel by REST": Pair(
            ours=lambda s: s.we_cancel(rest=True),
            theirs=lambda s: s.they_cancel(),
            differences={
                "orderId": OUR_NAME,
                "clientOid": OUR_NAME,
                **(
                    {"symbol": "an order's name is enough; ccxt adds the symbol"}
                    if unified
                    else {"marginCoin": "as the venue's page has it; ccxt leaves it out"}
                ),
            },
        ),
        "cancel a batch": Pair(
            ours=lambda s: s.we_cancel(2, rest=True),
            theirs=lambda s: s.they_cancel_two(),
            differences={
                "orderId": OUR_NAME,
                "clientOid": OUR_NAME,
                **(
                    {}
                    if unified
                    else {"marginCoin": "as the venue's page has it; ccxt leaves it out"}
                ),
            },
        ),
        "cancel all": Pair(
            ours=lambda s: s.ours.cancel_all(s.instrument),
            theirs=cancel_all_of_theirs,
            differences={}
            if unified
            else {
                "path": "ccxt cancels all by a batch without a list",
                "marginCoin": "as the venue's page has it; ccxt leaves it out",
            },
            instead={
                "/api/v2/mix/order/batch-cancel-orders": "/api/v2/mix/order/cancel-all-orders"
            },
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
            differences={"only ours": MARKET, "only theirs": MARKET}
            if unified
            else {"only theirs": STREAMS},
        ),
    }


PRESENCE = frozenset({"timestamp", "sign", "clientOid"})
BITGET = Agreement(peer=PEERS["bitget"], pairs=pairs(unified=True), words=words, presence=PRESENCE)
BITGET_CLASSIC = Agreement(
    peer=PEERS["bitget-classic"], pairs=pairs(unified=False), words=words, presence=PRESENCE
)
