"""Logins over a socket: the first message of a link, and the wait for what the venue answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from marketmaker.adapters.websocket import Link
from marketmaker.errors import VenueError


class Logins:
    """`build()`: the message that logs in now. `heed`: is told of every refusal."""

    def __init__(self, build: Callable[[], bytes], *, heed: Callable[[VenueError], None]) -> None:
        self._build = build
        self._heed = heed
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def log_in(self, link: Link) -> None:
        """Until it is answered. Raises the refusal."""
        answer = self._waiting[id(link)] = asyncio.get_running_loop().create_future()
        try:
            link.send(self._build())
            await answer
        finally:
            del self._waiting[id(link)]

    def awaited(self, link: Link) -> bool:
        """Whether the next answer on this link is that of its login."""
        waiting = self._waiting.get(id(link))
        return waiting is not None and not waiting.done()

    def answered(self, link: Link, refusal: VenueError | None) -> None:
        """None: logged in. An answer that nobody waits for says nothing."""
        waiting = self._waiting.get(id(link))
        if waiting is None or waiting.done():
            return
        if refusal is None:
            waiting.set_result(None)
        else:
            self._heed(refusal)
            waiting.set_exception(refusal)
