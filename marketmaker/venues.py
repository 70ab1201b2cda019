"""The venues this project knows by name: what each is called, which credentials it needs, whether it works today."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """`credentials` are the keys the configuration's `credentials` section must hold to trade there.

    `optional` ones it may. `available`: this version has an adapter for it (`adapters.<id>`). `rehearsal`: `marketmaker venue <id>` serves one
    on this machine (`loopback.<id>`).
    """

    id: str
    name: str
    credentials: tuple[str, ...]
    optional: tuple[str, ...] = ()
    available: bool = False
    rehearsal: bool = False


KEY_PAIR = ("api_key", "api_secret")
KEY_PAIR_AND_PASSPHRASE = ("api_key", "api_secret", "passphrase")

VENUES: dict[str, Venue] = {
    venue.id: venue
    for venue in (
        Venue(id="paper", name="Embedded paper exchange", credentials=(), available=True),
        Venue(
            id="binance", name="Binance USD-M", credentials=KEY_PAIR, available=True, rehearsal=True
        ),
        Venue(
            id="okx",
            name="OKX",
            credentials=KEY_PAIR_AND_PASSPHRASE,
            available=True,
            rehearsal=True,
        ),
        Venue(id="bybit", name="Bybit", credentials=KEY_PAIR, available=True, rehearsal=True),
        Venue(
            id="bitget",
            name="Bitget",
            credentials=KEY_PAIR_AND_PASSPHRASE,
            available=True,
            rehearsal=True,
        ),
        Venue(id="gate", name="Gate", credentials=KEY_PAIR, available=True, rehearsal=True),
        Venue(id="htx", name="HTX", credentials=KEY_PAIR),
        Venue(id="kucoin", name="KuCoin Futures", credentials=KEY_PAIR_AND_PASSPHRASE),
        Venue(id="kraken", name="Kraken Futures", credentials=KEY_PAIR),
        Venue(id="bitfinex", name="Bitfinex", credentials=KEY_PAIR),
        Venue(id="backpack", name="Backpack", credentials=KEY_PAIR, available=True, rehearsal=True),
        Venue(
            id="lighter",
            name="Lighter",
            credentials=("account_index", "api_key_index", "private_key"),
        ),
        Venue(id="grvt", name="GRVT", credentials=("api_key", "private_key", "sub_account_id")),
        Venue(id="paradex", name="Paradex", credentials=("account_address", "private_key")),
        Venue(id="extended", name="Extended", credentials=("api_key", "private_key", "vault")),
        Venue(id="apex", name="ApeX Omni", credentials=(*KEY_PAIR_AND_PASSPHRASE, "omni_seed")),
        Venue(id="aster", name="Aster", credentials=("account_address", "private_key")),
        Venue(
            id="edgex",
            name="EdgeX",
            credentials=(*KEY_PAIR_AND_PASSPHRASE, "account_id", "private_key"),
        ),
        Venue(id="hyperliquid", name="Hyperliquid", credentials=("account_address", "private_key")),
    )
}

CCXT = "ccxt:"
CCXT_ID = re.compile(r"[a-z0-9_]{2,40}")


def venue_of(exchange: str) -> Venue | None:
    """By its id; `ccxt:<id>` is any exchange that ccxt knows. None for an id that cannot be one."""
    name = exchange.removeprefix(CCXT)
    if name == exchange:
        return VENUES.get(exchange)
    if not CCXT_ID.fullmatch(name):
        return None
    return Venue(
        id=exchange,
        name=f"{name} through ccxt",
        credentials=KEY_PAIR,
        optional=("passphrase",),
        available=True,
    )


CREDENTIAL_NAMES: tuple[str, ...] = tuple(
    dict.fromkeys(name for venue in VENUES.values() for name in venue.credentials)
)
"""Every credential some venue asks for, the common ones first."""

IDENTIFIERS = frozenset(
    ("account_address", "account_id", "sub_account_id", "account_index", "api_key_index", "vault")
)
"""Credentials that name an account and open nothing: no secrets. Some are short numbers that would mask prices."""


def available_venues() -> str:
    """Ids of the venues that work today, for messages."""
    return ", ".join(venue.id for venue in VENUES.values() if venue.available)
