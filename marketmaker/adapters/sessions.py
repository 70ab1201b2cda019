"""The sessions of one adapter: made alike, each with a back-off of its own."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Protocol

from marketmaker.adapters.backoff import Backoff
from marketmaker.adapters.subscriptions import Subscriptions
from marketmaker.adapters.websocket import Dial, Link, Session, Timing


class Feeds(Protocol):
    def up(self) -> None: ...
    def down(self, reason: str) -> None: ...


async def nothing_to_say(link: Link) -> None:
    """The greeting of a socket whose address says it all."""


class Sessions:
    """Makes the sessions of one adapter; here is what they have in common. `ping`, `dial`: see `Session`."""

    def __init__(
        self,
        venue: str,
        *,
        rng: random.Random,
        timing: Timing | None,
        dial: Dial | None,
        ping: bytes = b"",
    ) -> None:
        self._venue = venue
        self._rng = rng
        self._timing = timing
        self._dial = dial
        self._ping = ping

    def make(
        self,
        name: str,
        url: str | Callable[[], Awaitable[str]],
        *,
        on_message: Callable[[Link, bytes], None],
        greet: Callable[[Link], Awaitable[None]] = nothing_to_say,
        topics: Subscriptions | None = None,
        feeds: Feeds | None = None,
        on_gone: Callable[[Link, str], None] = lambda link, reason: None,
    ) -> Session:
        """`url`: where it always is, or who is asked for it anew. `topics` are subscribed to after the greeting; `feeds`
        hear whether the session is up.
        """

        async def greet_and_subscribe(link: Link) -> None:
            await greet(link)
            if topics is not None:
                await topics.subscribe(session, link)

        def gone(link: Link, reason: str) -> None:
            on_gone(link, reason)
            if topics is not None:
                topics.forget(link)

        session = Session(
            f"{self._venue} {name}",
            url=fixed(url) if isinstance(url, str) else url,
            greet=greet_and_subscribe,
            on_message=on_message,
            on_up=feeds.up if feeds is not None else lambda: None,
            on_down=feeds.down if feeds is not None else lambda reason: None,
            on_gone=gone,
            backoff=Backoff(self._rng),
            timing=self._timing,
            ping=self._ping,
            dial=self._dial,
        )
        return session


def fixed(url: str) -> Callable[[], Awaitable[str]]:
    async def address() -> str:
        return url

    return address
