"""An adapter on its loopback venue with all its streams up, over real sockets: the same for every venue."""

from __future__ import annotations

import importlib
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from marketmaker.adapters import make_adapter
from marketmaker.loopback import make_loopback
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import OrderRef, OrderReport, Side
from marketmaker.model.settings import Credentials, PaperSettings
from marketmaker.runtime.clock import RealClock
from tests.support.loopback import BID, PAPER, until
from tests.support.paper import (
    HeardCandles,
    HeardOrders,
    HeardPrices,
    QuietFeed,
    listening,
    make_order,
    make_quote,
    make_trade,
)

ROOT = Path(__file__).parents[2]
SAMPLES = Path(os.environ.get("MARKETMAKER_SAMPLES") or ROOT.parent / "shared/venues/samples")
RIGHT = {
    "api_key": "loopback-key",
    "api_secret": "loopback-secret",
    "passphrase": "loopback-passphrase",
}


@dataclass
class VenueDesk:
    venue: Any
    adapter: Any
    instrument: Instrument
    orders: HeardOrders
    prices: HeardPrices
    candles: HeardCandles

    def trade(self, price_ticks: int, qty_lots: int) -> None:
        trade = make_trade(price_ticks, qty_lots, RealClock().now_ns())
        self.venue.stage.push(self.instrument.name, trade)

    def reports(self, order_id: str) -> list[OrderReport]:
        return [each for each in self.orders.reports if each.venue_order_id == order_id]


def on_loopback(venue_id: str, venue: Any, credentials: dict[str, str], **parts: float) -> Any:
    """The venue's adapter with these credentials, pointed at the loopback."""
    return make_adapter(
        venue_id,
        credentials=Credentials(**credentials),
        bot_tag="mm",
        clock=RealClock(),
        rng=random.Random(1),
        endpoints=venue.endpoints,
        **parts,
    )


@asynccontextmanager
async def venue_desk(
    venue_id: str,
    paper: PaperSettings = PAPER,
    credentials: dict[str, str] | None = None,
    **parts: float,
) -> AsyncIterator[VenueDesk]:
    venue = make_loopback(venue_id, feed=QuietFeed("ETHUSDT"), paper=paper)
    await venue.start()
    venue.stage.push("ETHUSDT", make_quote(BID, BID + 10, ts_ns=RealClock().now_ns()))
    adapter = on_loopback(venue_id, venue, credentials or RIGHT, **parts)
    try:
        await adapter.connect()
        instrument = await adapter.fetch_instrument("ETHUSDT")
        made = VenueDesk(venue, adapter, instrument, HeardOrders(), HeardPrices(), HeardCandles())
        async with listening(
            adapter.stream_orders(instrument, made.orders),
            adapter.stream_prices(instrument, made.prices),
            adapter.stream_candles(["ETHUSDT", "NOSUCH"], 60, made.candles),
        ):
            await until(lambda: bool(made.orders.ups and made.prices.ups and made.candles.ups))
            await until(lambda: getattr(adapter, "_entry", None) is None or adapter._entry.up)
            yield made
        assert adapter.malformed.count == 0, list(adapter.malformed)
    finally:
        await adapter.close()
        await venue.close()


def refs(*sequences: int) -> list[OrderRef]:
    orders = [make_order(Side.BUY, 299_000, 100, sequence=number) for number in sequences]
    return [OrderRef(client_order_id=o.client_order_id, venue_order_id="") for o in orders]


def sample(venue_id: str, name: str) -> Any:
    """A real payload of the venue; skips without them."""
    path = SAMPLES / venue_id / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no recorded payloads at {SAMPLES} (set MARKETMAKER_SAMPLES)")
    return json.loads(path.read_text())


def sample_names(venue_id: str, pattern: str) -> list[str]:
    names = sorted(path.stem for path in (SAMPLES / venue_id).glob(f"{pattern}.json"))
    if not names:
        pytest.skip(f"no recorded payloads at {SAMPLES} (set MARKETMAKER_SAMPLES)")
    return names


def module_of(venue_id: str) -> Any:
    return importlib.import_module(f"marketmaker.adapters.{venue_id}")
