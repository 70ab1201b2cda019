"""The sessions of one adapter: made alike, each with a back-off of its own."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from marketmaker.adapters.backoff import Backoff
from marketmaker.adapters.websocket import Dial, Link, Session, Timing


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
        greet: Callable[[Link], Awaitable[None]],
        on_message: Callable[[Link, bytes], None],
        on_up: Callable[[], None] = lambda: None,
        on_down: Callable[[str], None] = lambda reason: None,
        on_gone: Callable[[Link, str], None] = lambda link, reason: None,
    ) -> Session:
        """`url`: where it always is, or who is asked for it anew."""
        return Session(
            f"{self._venue} {name}",
            url=fixed(url) if isinstance(url, str) else url,
            greet=greet,
            on_message=on_message,
            on_up=on_up,
            on_down=on_down,
            on_gone=on_gone,
            backoff=Backoff(self._rng),
            timing=self._timing,
            ping=self._ping,
            dial=self._dial,
        )


def fixed(url: str) -> Callable[[], Awaitable[str]]:
    async def address() -> str:
        return url

    return address
