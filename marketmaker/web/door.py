"""One connection. A client that asks the same thing again, byte for byte, is answered without being read anew.

aiohttp reads and answers every request; that takes an eighth of a millisecond, most of it for reading headers that a
monitor repeats with each look. So the door keeps the last request of its connection that was admitted to a plain
reading (`Server.repeatable`), and when the very same bytes come again it writes that reading, as it is now, itself.

Nothing else may be concluded here. What `guard` decides follows from the bytes of a request, the other end and the
token; the first are the same, the second belongs to the connection, the third never changes. A request that carries
the token is not kept. Whatever is not one whole request alone, sent while nothing is being answered, gives the
connection to aiohttp for good: order and meaning of what follows are then its matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from aiohttp import HttpVersion11, web

LONGEST_KEPT = 4096
Repeat = Callable[[], bytes]


class Door(asyncio.Protocol):
    """`inner` is aiohttp's side of the connection."""

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._kept: bytes | None = None
        self._repeat: Repeat | None = None
        self._asked: bytes | None = None
        self._resting = True
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._resting and data == self._kept and not self._full:
            assert self._transport is not None and self._repeat is not None
            self._transport.write(self._repeat())
            return
        self._asked = data if self._resting and is_one_request(data) else None
        self._resting = False
        self._inner.data_received(data)

    def answered(self, request: web.BaseRequest, repeat: Repeat | None) -> None:
        """`request` was, to the last byte; `repeat` makes the answer anew, None where it must be read again."""
        plain = request.version == HttpVersion11 and request.keep_alive and not request.body_exists
        asked, self._asked = self._asked, None
        if asked is None or not plain:
            return
        self._resting = True
        if repeat is not None:
            self._kept, self._repeat = asked, repeat

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._full = True
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._full = False
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)


def is_one_request(data: bytes) -> bool:
    """A head that asks to GET and ends with the data; a body would have to be announced in it, which aiohttp sees."""
    return (
        len(data) <= LONGEST_KEPT
        and data.startswith(b"GET ")
        and data.find(b"\r\n\r\n") == len(data) - 4
        and data.count(b"\n") == data.count(b"\r\n")
    )
