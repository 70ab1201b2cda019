"""Venues, behind one page: `protocol.Adapter`. Nothing above this room knows a venue by another page.

An adapter is composed, nothing is inherited. What venues share:

    parsing         JSON into structs, decimal text into whole steps and back, times, words of a table
    contract        one instrument at the wire: the venue's name for it, its steps, contracts of a size
    http            pooled requests with deadlines and outcomes: never sent, answered, fate unknown
    rest            signed requests over it: venue time, limits heeded, clock measured again
    venue_clock     the offset of the venue's clock
    websocket       one logical connection: greet, heartbeat, back-off, replacement without a gap
    logins          the first message of a link that must say who it is, and the wait for its answer
    sessions        the sessions of one adapter, made alike
    subscriptions   topics asked for, acknowledged, and heard from in time
    order_socket    requests over a socket, each ending in one outcome
    feeds           who listens to prices, candles and orders
    owners          whose order it was, for trades without a client id
    dead_man        the venue's switch that cancels when we fall silent, kept from going off
    funding         payments read from the history after an event or a gap
    frames          what broke its contract, counted and kept
    tasks, backoff  owned tasks; waits that grow

How to write the next. The module `adapters.<id>` is one readable file, or a package where one file cannot be read from
top to bottom: docstring with the pages read and the venue's oddities; tables (addresses, limits, error codes to our
classes, their words to ours); the wire's structs, only the fields that are read; `parse_*`, pure, each with a trimmed
real frame; `build_*` and the signer, pure, the time an argument; the class, which only waits and hears. It exports
`LIVE` and `DEMO` (dataclasses of addresses with at least the four names of the configuration; DEMO None where there is
no demo) and `make`. `binance` is the model.

Instruments are named as in the configuration, base and quote in one word (ETHUSDT); the adapter finds the venue's own
name (`Contract.symbol`). Ticks and lots are the venue's steps in quote and base currency: a venue that counts contracts
gives `Contract` their step. Names that venues share are here, in `make_adapter`.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from marketmaker.errors import ConfigError

if TYPE_CHECKING:
    from marketmaker.adapters.protocol import Adapter
    from marketmaker.adapters.venue_clock import Clock
    from marketmaker.model.settings import Credentials


def make_adapter(
    venue: str,
    *,
    credentials: Credentials,
    bot_tag: str,
    clock: Clock,
    rng: random.Random,
    testnet: bool = False,
    endpoints: Mapping[str, str] | None = None,
    **parts: Any,
) -> Adapter:
    """The adapter of a venue by its id, or of any exchange by `ccxt:<id>`. `endpoints` replace the venue's own by name; `parts` go to the adapter as they
    are (`dead_man_s`, `timeout_s`, `timing`, `dial`). Raises ConfigError, naming the key, for what the venue lacks."""
    venue, _, exchange = venue.partition(":")
    module = importlib.import_module(f"marketmaker.adapters.{venue}")
    if exchange:
        parts["exchange"] = exchange
    addresses = addresses_of(venue, testnet=testnet, endpoints=endpoints or {})
    adapter: Adapter = module.make(credentials, addresses, bot_tag, clock, rng, **parts)
    return adapter


def addresses_of(venue: str, *, testnet: bool, endpoints: Mapping[str, str]) -> Any:
    """The venue's dataclass of addresses, with `endpoints` in place of its own. Raises ConfigError as `make_adapter`."""
    module = importlib.import_module(f"marketmaker.adapters.{venue}")
    base = module.DEMO if testnet else module.LIVE
    if base is None:
        raise ConfigError(f"testnet: {venue} has none; write testnet: false")
    known = {field.name for field in fields(base)}
    given = dict(endpoints)
    if unknown := sorted(set(given) - known):
        raise ConfigError(
            f"endpoints.{unknown[0]}: {venue} has no such address; it has {', '.join(sorted(known))}"
        )
    if "rest_url" in given and "key_url" in known:
        # A rehearsed venue's key means nothing to the real one's other host.
        given.setdefault("key_url", "")
    return replace(base, **given)
