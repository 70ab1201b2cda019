"""Venues on this machine: servers that speak a real venue's protocol over the embedded exchange's matching engine.

A live configuration can be rehearsed against one without an account, and an adapter tested against one that misbehaves.

    stage     one port, the exchange behind it, the mischief in between; every venue's file composes one
    desk      orders in no venue's words: what is taken, remembered, told
    book      the embedded exchange, driven by a feed on the real clock
    bars, figures, limits, mischief, sockets    parts of these
    <venue>   its routes, signatures, refusals and shapes: a file, or a package where one file is too long

How to write the next: the module `loopback.<id>` has `make(...)` with the parameters of `make_loopback`, and gives a
`stage.LoopbackVenue`. It checks what the real venue checks (key, signature, time, filters, limits), with its codes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marketmaker.loopback.stage import LoopbackVenue


def make_loopback(venue: str, **parts: Any) -> LoopbackVenue:
    """`parts`: feed, and where they are not the venue's own paper, speed, history_s, instruments, and the fields of
    its settings (`stage.StageSettings` and what it adds)."""
    module = importlib.import_module(f"marketmaker.loopback.{venue}")
    made: LoopbackVenue = module.make(**parts)
    return made
