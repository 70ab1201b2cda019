"""ccxt.pro as it is installed, on a loopback venue: nothing but its addresses and what it loads is chosen.

Each venue's oddities, as ccxt sees them, are data in `PEERS`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from marketmaker.adapters.ccxt.values import redirected
from marketmaker.loopback import make_loopback
from marketmaker.loopback.backpack.venue import PUBLIC_KEY, SEED
from marketmaker.loopback.gate.shapes import USER
from marketmaker.loopback.stage import LoopbackVenue
from marketmaker.runtime.clock import RealClock
from tests.support.loopback import ASK, BID, PAPER
from tests.support.paper import QuietFeed, make_quote, make_trade

SYMBOL = "ETH/USDT:USDT"
LOOPBACK_KEYS = {
    "apiKey": "loopback-key",
    "secret": "loopback-secret",
    "password": "loopback-passphrase",
}
QTY = 0.1
"""ETH."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """How ccxt is set up for a venue, and what it cannot do there.

    `ccxt`: ccxt's name of it. `face`: ETH in one of the venue's own units of quantity. `client_id`: a name the venue takes, of any text.
    `ended`: where an order that has ended is looked up. `lacks`: methods ccxt has not for this venue, or not for swaps.
    `fee_sign`: of what it reads of a fee. `tells_refused`: whether a batch's refused orders are in its answer.
    `quirks`: parameters a method wants on top. `errors`: ccxt's class for what the venue refuses. `title`, `venue`: of
    another kind of account there, and the settings of the loopback venue that make it.
    """

    id: str
    options: dict[str, Any]
    ccxt: str = ""
    face: float = 1.0
    keys: dict[str, str] = field(default_factory=lambda: dict(LOOPBACK_KEYS))
    client_id: Callable[[str], str] = str
    late_post_only: bool = False
    lacks: frozenset[str] = frozenset()
    quirks: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    stranger: str = "123456"
    fee_sign: int = 1
    tells_refused: bool = True
    title: str = ""
    venue: dict[str, Any] = field(default_factory=dict)

    @property
    def amount(self) -> float:
        return QTY / self.face


def number_of(text: str) -> str:
    return str(int(text.encode().hex(), 16) % 10**9)


PEERS: dict[str, Peer] = {
    peer.title or peer.id: peer
    for peer in (
        Peer(
            id="okx",
            options={"fetchMarkets": {"types": ["swap"]}, "fetchCurrencies": False},
            face=0.1,
            late_post_only=True,
            lacks=frozenset({"cancel_all_orders"}),
            errors={"twice": "InvalidOrder"},
        ),
        Peer(
            id="bybit",
            options={"fetchMarkets": {"types": ["linear"]}, "fetchCurrencies": False},
            late_post_only=True,
            lacks=frozenset({"fetch_position_mode"}),
            quirks={"fetch_order": {"acknowledged": True}},
            errors={"twice": "InvalidOrder"},
            stranger="fd4300ae-7847-404e-b947-b46980a4dddd",
        ),
        Peer(
            id="bitget",
            options={"fetchMarkets": {"types": ["swap"]}},
            late_post_only=True,
            # It reads the fees of a unified account as those of a classic one, whose sign is the other.
            fee_sign=-1,
            lacks=frozenset({"create_order_ws", "fetch_position_mode", "fetch_leverage"}),
            errors={
                "margin": "ExchangeError",
                "unknown": "ExchangeError",
                "twice": "ExchangeError",
                "limit": "DDoSProtection",
            },
        ),
        Peer(
            id="bitget",
            title="bitget-classic",
            venue={"account": "classic"},
            options={"fetchMarkets": {"types": ["swap"]}},
            late_post_only=True,
            tells_refused=False,
            lacks=frozenset({"create_order_ws", "fetch_position_mode", "edit_order"}),
            errors={"twice": "ExchangeError", "limit": "DDoSProtection"},
        ),
        Peer(
            id="gate",
            options={
                "fetchMarkets": {"types": ["swap"]},
                "swap": {"fetchMarkets": {"settlementCurrencies": ["usdt"]}},
            },
            face=0.001,
            keys={**LOOPBACK_KEYS, "uid": str(USER)},
            client_id=lambda text: f"t-{text}",
            lacks=frozenset({"fetch_position_mode", "fetch_leverage", "fetch_trading_fee"}),
            # Left alone, it writes the settlement currency in capitals into the address.
            quirks={"cancel_orders": {"settle": "usdt"}},
            errors={"twice": "InvalidOrder", "crossing": "OrderImmediatelyFillable"},
        ),
        Peer(
            id="backpack",
            options={},
            keys={"apiKey": PUBLIC_KEY, "secret": SEED},
            client_id=number_of,
            lacks=frozenset(
                {
                    *("cancel_orders", "edit_order", "fetch_position_mode", "fetch_leverage"),
                    *("fetch_trading_fee", "set_leverage", "watch_my_trades", "create_order_ws"),
                    # It takes the first digit of the time for the time.
                    "fetch_time",
                }
            ),
            errors={
                "twice": "ExchangeError",
                "crossing": "InvalidOrder",
                "unknown": "ExchangeNotAvailable",
                "secret": "BadRequest",
            },
        ),
    )
}


@asynccontextmanager
async def venue_and_ccxt(peer: Peer, **settings: Any) -> AsyncIterator[tuple[LoopbackVenue, Any]]:
    """`settings`: of the loopback venue."""
    pytest.importorskip("ccxt")

    venue = make_loopback(
        peer.id, feed=QuietFeed("ETHUSDT"), paper=PAPER, **{**peer.venue, **settings}
    )
    await venue.start()
    client = make_ccxt(peer, venue)
    try:
        push_quote(venue)
        push_trade(venue)
        await client.load_markets()
        yield venue, client
    finally:
        await client.close()
        await venue.close()


def make_ccxt(peer: Peer, venue: LoopbackVenue) -> Any:
    import ccxt.pro

    settings = {**peer.keys, "enableRateLimit": False}
    client = getattr(ccxt.pro, peer.ccxt or peer.id)(
        {**settings, "options": {"defaultType": "swap", **peer.options}}
    )
    client.has["fetchCurrencies"] = False
    stage = venue.stage
    client.urls["api"] = redirected(client.urls["api"], stage.rest_url, stage.ws_url)
    return client


def push_quote(venue: LoopbackVenue) -> None:
    """1 ETH on each side, 3000.0 to 3000.1."""
    venue.stage.push("ETHUSDT", make_quote(BID, ASK, 1_000, 1_000, RealClock().now_ns()))


def push_trade(venue: LoopbackVenue, lots: int = 1) -> None:
    """At 3000.0."""
    venue.stage.push("ETHUSDT", make_trade(BID, lots, RealClock().now_ns()))
