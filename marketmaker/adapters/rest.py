"""Signed requests to one account's REST server: the venue's time in them, its limits heeded, its clock measured again.

The venue brings two functions. `sign` makes of a request what goes on the wire; `judge` says what an answer means (see
`http`), after it has read what the headers say of our usage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from marketmaker.adapters.http import Answer, HttpClient
from marketmaker.adapters.parsing import NS_PER_S
from marketmaker.adapters.tasks import Tasks
from marketmaker.adapters.venue_clock import VenueClock
from marketmaker.errors import AuthenticationRefused, ClockSkew, RateLimited, VenueError

QUIET_MAX_S = 4 * 86_400
CLOCK_EVERY_S = 1_800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """As it goes on the wire: `query` is percent-encoded, and nothing is added to it."""

    query: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Params = Mapping[str, object]
Sign = Callable[[str, str, Any, int], Request]
"""(method, path, parameters, venue time in ms) to a request."""


class Quiet:
    """A limit with a time stops every request until then: to go on asking would make it worse."""

    def __init__(self, venue: str, now_ns: Callable[[], int]) -> None:
        self._venue = venue
        self._now_ns = now_ns
        self._until_ns = 0

    def keep(self, seconds: float) -> None:
        until_ns = self._now_ns() + round(min(seconds, QUIET_MAX_S) * NS_PER_S)
        self._until_ns = max(self._until_ns, until_ns)

    def refusal(self, operation: str) -> RateLimited | None:
        """What a request would be told, were it sent now; None when it may be."""
        left_s = (self._until_ns - self._now_ns()) / NS_PER_S
        if left_s <= 0:
            return None
        return RateLimited(
            "keeping quiet as the venue asked",
            retry_after_s=left_s,
            venue=self._venue,
            operation=operation,
        )


class Rest:
    """`keyed`: there is a key to sign with. `heed` must be told of refusals that come another way than by REST.

    `server_time` asks for the venue's time in Unix ns; it is used to measure the clock again after a ClockSkew.
    """

    def __init__(
        self,
        base_url: str,
        *,
        venue: str,
        clock: VenueClock,
        tasks: Tasks,
        sign: Sign,
        judge: Callable[[Answer, str], VenueError | None],
        keyed: bool,
        server_time: Callable[[], Awaitable[int]],
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self.clock = clock
        self.quiet = Quiet(venue, clock.local_ns)
        self.http = HttpClient(
            base_url, venue=venue, judge=self._judged, headers=headers, timeout_s=timeout_s
        )
        self._venue = venue
        self._tasks = tasks
        self._sign = sign
        self._judge = judge
        self._keyed = keyed
        self._server_time = server_time
        self._measuring: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self.http.open()

    async def close(self) -> None:
        await self.http.close()

    async def get(self, path: str, params: Params | None = None, *, operation: str) -> bytes:
        """A public question: unsigned."""
        self._may_send(operation)
        return await self.http.request("GET", path, build_query(params or {}), operation=operation)

    async def keyed(self, method: str, path: str, *, operation: str) -> bytes:
        """With the key in the headers but no signature."""
        self._may_send(operation)
        return await self.http.request(method, path, operation=operation)

    async def signed(self, method: str, path: str, params: Any = None, *, operation: str) -> bytes:
        """`params`: what `sign` takes, mostly a mapping; for some venues a list in the body."""
        if not self._keyed:
            raise no_key(self._venue, operation)
        self._may_send(operation)
        request = self._sign(method, path, {} if params is None else params, self.clock.now_ms())
        return await self.http.request(
            method,
            path,
            request.query,
            body=request.body,
            headers=request.headers,
            operation=operation,
        )

    async def measure_clock(self) -> None:
        await self.clock.measure(self._server_time)

    async def keep_time(self) -> None:
        """Until cancelled; what a measurement that failed leaves is the last one."""
        while True:
            await asyncio.sleep(CLOCK_EVERY_S)
            await self._measure_again()

    def heed(self, error: VenueError) -> None:
        if isinstance(error, RateLimited) and error.retry_after_s is not None:
            self.quiet.keep(error.retry_after_s)
        if isinstance(error, ClockSkew) and (self._measuring is None or self._measuring.done()):
            self._measuring = self._tasks.own(self._measure_again())

    async def _measure_again(self) -> None:
        with suppress(VenueError):
            await self.measure_clock()

    def _may_send(self, operation: str) -> None:
        if (refusal := self.quiet.refusal(operation)) is not None:
            raise refusal

    def _judged(self, answer: Answer, operation: str) -> VenueError | None:
        error = self._judge(answer, operation)
        if error is not None:
            self.heed(error)
        return error


def no_key(venue: str, operation: str) -> AuthenticationRefused:
    return AuthenticationRefused("no API key is configured", venue=venue, operation=operation)


def build_query(params: Params) -> str:
    return "&".join(f"{name}={quote(str(value), safe='')}" for name, value in params.items())


def build_json(value: object) -> str:
    """Compact."""
    return msgspec.json.encode(value).decode()
