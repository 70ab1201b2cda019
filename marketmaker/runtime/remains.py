"""Reads what an earlier process left at the venue, for one that starts without memory (`core.recollection`)."""

from __future__ import annotations

import asyncio

from marketmaker.adapters.protocol import Adapter
from marketmaker.core.recollection import Remains
from marketmaker.model.instrument import Instrument

LOOK_BACK_NS = 86_400 * 1_000_000_000
"""How old a trade may be that still tells where inventory lies."""
READINGS_AT_MOST = 5
BETWEEN_READINGS_S = 0.2


async def read_remains(adapter: Adapter, instrument: Instrument, now_ns: int) -> Remains:
    """Of one moment: read again until two readings in a row say the same; nothing at all is believed at once.

    Raises VenueError.
    """
    remains = await read_once(adapter, instrument, now_ns)
    for _ in range(READINGS_AT_MOST - 1):
        if not (remains.own_orders or remains.own_fills or remains.position.qty_lots):
            break
        await asyncio.sleep(BETWEEN_READINGS_S)
        again = await read_once(adapter, instrument, now_ns)
        same = again.same_as(remains)
        remains = again
        if same:
            break
    return remains


async def read_once(adapter: Adapter, instrument: Instrument, now_ns: int) -> Remains:
    """Orders before trades: an order that is no longer open has all of its trades in the list."""
    open_orders = await adapter.fetch_open_orders(instrument)
    position = await adapter.fetch_position(instrument)
    fills = await adapter.fetch_fills(instrument, now_ns - LOOK_BACK_NS)
    return Remains(open_orders=tuple(open_orders), fills=tuple(fills), position=position)
