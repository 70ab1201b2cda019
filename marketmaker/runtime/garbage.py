"""Keeps Python's garbage collector, and its other threads, off the path of an order.

Left alone it runs when enough has been allocated, which is while orders are being made, and a full collection looks at
everything that was ever loaded: milliseconds. Here it never runs by itself. What lives when trading begins is frozen,
that is, never looked at again; what came since is looked at by the clock, the young four times a second, the older seldom.
Almost nothing needs it: reference counts free what is not part of a cycle.

A thread that computes (the ledger's) gives the interpreter up when another has waited for it for 5 ms, unless told
otherwise; here it is `SWITCH_S`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable

SWITCH_S = 0.0005
POLL_S = 0.1
INTERVAL_S = 0.25
"""At 2,000 orders a second a second's worth of the young is 15 ms in one piece."""
OLDER_EVERY, ALL_EVERY = 240, 7200
"""In intervals."""


async def collect_by_the_clock(trading: Callable[[], bool]) -> None:
    """Until cancelled; the collector is as it was afterwards. It is left alone until `trading`."""
    while not trading():  # noqa: ASYNC110  (a start has no one moment to wait for)
        await asyncio.sleep(POLL_S)
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        count = 0
        while True:
            await asyncio.sleep(INTERVAL_S)
            count += 1
            gc.collect(2 if count % ALL_EVERY == 0 else 1 if count % OLDER_EVERY == 0 else 0)
    finally:
        sys.setswitchinterval(switch_s)
        gc.enable()
        gc.unfreeze()
