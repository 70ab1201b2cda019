"""Requests in, answers out. One small dispatch over the table of routes: no framework's router is in the way."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web

from marketmaker.web import assets, metrics
from marketmaker.web.asked import OK_SYMBOL, only, parse_query, read_body
from marketmaker.web.guard import Guard
from marketmaker.web.history import SPANS, History
from marketmaker.web.link import Message
from marketmaker.web.openapi import description
from marketmaker.web.replies import (
    FORBIDDEN_BY_DEFAULT,
    SAFE_HEADERS,
    STYLED,
    Problem,
    encode,
    json_response,
    refusal,
    respond,
    wire,
)
from marketmaker.web.routes import RELOADING, ROUTES, Access, Route

ANSWER_TIMEOUT_S = 90.0
WATCHERS_MAX = 64
UNREAD_EVENTS = 256
KEPT_NEWS = 500
"""Of each kind."""
BEAT_S = 10.0
NS_PER_MS = 1_000_000
REPEATABLE = web.RequestKey("repeatable", str)
Ask = Callable[[Message], Awaitable[dict[str, Any] | None]]


class Server:
    """`ask` puts a request to the daemon; `watched` is told how many look at the stream. Give it readings with
    `show`, and with `keep_news` what happened before the first."""

    def __init__(self, guard: Guard, ask: Ask, watched: Callable[[int], None]) -> None:
        self._guard = guard
        self._ask = ask
        self._tell_watched = watched
        self._view: dict[str, Any] | None = None
        self._view_s = 0.0
        self._news: defaultdict[str, deque[dict[str, Any]]] = defaultdict(
            lambda: deque(maxlen=KEPT_NEWS)
        )
        self._history = History()
        self._status_text: bytes | None = None
        self._metrics_text = (-1, b"")
        self._repeats: dict[str, bytes] = {}
        self._repeats_ms = 0
        self._watchers: dict[asyncio.Queue[bytes], None] = {}
        self._routes: dict[str, dict[str, Route]] = {}
        for route in ROUTES:
            self._routes.setdefault(route.path, {})[route.method] = route
        self._readings: dict[str, Callable[[], web.Response]] = {
            "healthz": self._healthz,
            "readyz": self._readyz,
            "metrics": self._metrics,
            "status": self._status,
        }
        self._handlers: dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {
            "status": self._status_of,
            "events": self._events,
            "news": self._list_news,
            "history": self._read_history,
            "openapi": self._openapi,
            "docs": self._docs,
            "page": self._page,
        }

    # --- what the daemon shows ---

    def show(self, view: dict[str, Any], news: list[dict[str, Any]]) -> None:
        """A reading, and the news that it counts already."""
        self._view = view
        self._view_s = time.monotonic()
        self._status_text = None
        self._metrics_text = (-1, b"")
        self._repeats.clear()
        self._history.hear(view)
        self.keep_news(news)
        if self._watchers:
            told = [
                f"id: {each['id']}\nevent: news\ndata: {encode(each)}\n\n".encode() for each in news
            ]
            self._send_all(b"".join((self._view_event(), *told)))

    def keep_news(self, news: list[dict[str, Any]]) -> None:
        for each in news:
            self._news[each["kind"]].append(each)

    # --- requests ---

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._dispatch(request)
        except Problem as problem:
            return refusal(problem.status, problem.error)

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        methods = self._routes.get(path)
        route = methods.get(request.method) if methods else None
        peer = request.remote
        access = route.access if route is not None else Access.PUBLIC
        refused = self._guard.refuse(access, request.headers, peer)
        if refused is not None:
            return refusal(refused.status, refused.error)
        if route is None:
            if methods is not None:
                return refusal(405, f"use {' or '.join(methods)}", Allow=", ".join(methods))
            return static(request)
        if route.access is Access.ACT:
            return await self._act(route, request)
        reading = self._readings.get(route.name)
        if reading is None or (route.query and request.query_string):
            return await self._handlers[route.name](request)
        if "Authorization" not in request.headers:
            request[REPEATABLE] = route.name
        return reading()

    def repeatable(self, request: web.BaseRequest) -> Callable[[], bytes] | None:
        """How to answer `request` once more without reading it again, None where it has to be: only a reading that was
        admitted without the token."""
        name = request.get(REPEATABLE)
        return None if name is None else partial(self._repeat, name)

    def _repeat(self, name: str) -> bytes:
        """As it is within this millisecond: nothing in a reading is told more finely."""
        now_ms = time.monotonic_ns() // NS_PER_MS
        if now_ms != self._repeats_ms:
            self._repeats.clear()
            self._repeats_ms = now_ms
        if name not in self._repeats:
            try:
                response = self._readings[name]()
            except Problem as problem:
                response = refusal(problem.status, problem.error)
            self._repeats[name] = wire(response)
        return self._repeats[name]

    async def _act(self, route: Route, request: web.BaseRequest) -> web.Response:
        wanted = await read_body(request)
        message: Message = {"t": "ask", "do": route.name}
        if route.body == RELOADING:
            message["apply"] = only(wanted, "apply", False)
            if not isinstance(message["apply"], bool):
                raise Problem(400, "apply is true or false")
        else:
            message["symbols"] = self._symbols(only(wanted, "symbols", []))
        if self._view is None:
            raise Problem(503, "the daemon has not shown itself yet")
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answer = await self._ask(message)
        except TimeoutError:
            raise Problem(504, "the daemon has not answered; what was asked goes on") from None
        if answer is None:
            raise Problem(502, "the daemon could not carry it out; its log says why")
        return json_response(encode(answer).encode())

    def _symbols(self, wanted: object) -> list[str]:
        if not isinstance(wanted, list) or len(wanted) > 1000:
            raise Problem(400, "symbols is a list of names")
        for name in wanted:
            if not isinstance(name, str) or not OK_SYMBOL.match(name):
                raise Problem(400, "symbols is a list of names such as ETHUSDT")
        for name in wanted:
            self._known(name)
        return wanted

    def _known(self, name: str) -> dict[str, Any]:
        for row in self._seen()["symbols"]:
            if row["symbol"] == name:
                found: dict[str, Any] = row
                return found
        raise Problem(404, f"{name} is not traded here")

    def _seen(self) -> dict[str, Any]:
        if self._view is None:
            raise Problem(503, "the daemon has not shown itself yet")
        return self._view

    # --- answers ---

    def health(self) -> dict[str, Any]:
        """Of this moment: a reading that is old, or prices that grew old since, count as well."""
        view = self._view
        if view is None:
            return {
                "healthy": False,
                "ready": False,
                "status": "unhealthy",
                "reasons": ["the daemon has not shown itself yet"],
                "age_s": 0.0,
            }
        age_s = time.monotonic() - self._view_s
        reasons = list(view["health"])
        for row in view["symbols"]:
            streams = row["streams"]
            stale_s, price_s = streams["stale_after_s"], streams.get("price_age_s")
            if age_s > stale_s:
                reasons.append(f"the daemon has not shown itself for {age_s:.1f} s")
                break
            aged = price_s is not None and price_s + age_s > stale_s
            if row["healthy"] and row["state"] == "quoting" and aged:
                reasons.append(f"{row['symbol']}: price is {price_s + age_s:.1f} s old")
        healthy = not reasons
        status = "unhealthy" if not healthy else "quoting" if view["quoting"] else "paused"
        return {
            "healthy": healthy,
            "ready": view["ready"],
            "status": status,
            "reasons": reasons or list(view["reasons"]),
            "age_s": round(age_s, 3),
        }

    def _healthz(self) -> web.Response:
        health = self.health()
        return json_response(encode(health).encode(), status=200 if health["healthy"] else 503)

    def _readyz(self) -> web.Response:
        health = self.health()
        return json_response(encode(health).encode(), status=200 if health["ready"] else 503)

    def _metrics(self) -> web.Response:
        """Made once a second: the age of a reading that is not renewed is what tells that the daemon hangs."""
        view, age_s = self._seen(), time.monotonic() - self._view_s
        made_s, text = self._metrics_text
        if made_s != int(age_s):
            text = metrics.exposition(view, age_s, healthy=self.health()["healthy"])
            self._metrics_text = (int(age_s), text)
        return respond(text, metrics.CONTENT_TYPE)

    def _status(self) -> web.Response:
        self._seen()
        return json_response(self._status_bytes())

    async def _status_of(self, request: web.BaseRequest) -> web.Response:
        view = self._seen()
        asked = parse_query(self._routes["/status"]["GET"], request)
        if "symbol" not in asked:
            return self._status()
        return json_response(encode({**view, "symbols": [self._known(asked["symbol"])]}).encode())

    def _status_bytes(self) -> bytes:
        if self._status_text is None:
            self._status_text = encode(self._view).encode()
        return self._status_text

    def _view_event(self) -> bytes:
        return b"event: view\ndata: " + self._status_bytes() + b"\n\n"

    async def _list_news(self, request: web.BaseRequest) -> web.Response:
        asked = parse_query(self._routes["/news"]["GET"], request)
        after, kind = int(asked.get("after", 0)), asked.get("kind")
        kinds = list(self._news) if kind is None else [kind]
        found = [each for name in kinds for each in self._news[name] if each["id"] > after]
        found.sort(key=lambda each: each["id"])
        return json_response(encode({"news": found}).encode())

    async def _read_history(self, request: web.BaseRequest) -> web.Response:
        asked = parse_query(self._routes["/history"]["GET"], request)
        self._known(asked["symbol"])
        found = self._history.read(asked["symbol"], asked.get("span", next(iter(SPANS))))
        return json_response(encode(found).encode())

    async def _openapi(self, request: web.BaseRequest) -> web.Response:
        return json_response(encode(description()).encode())

    async def _docs(self, request: web.BaseRequest) -> web.Response:
        return respond(assets.page("docs.html"), "text/html", policy=STYLED)

    async def _page(self, request: web.BaseRequest) -> web.Response:
        return respond(assets.page("index.html"), "text/html", policy=FORBIDDEN_BY_DEFAULT)

    # --- the stream ---

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        if len(self._watchers) >= WATCHERS_MAX:
            raise Problem(429, f"{WATCHERS_MAX} watch already")
        response = web.StreamResponse(headers={**SAFE_HEADERS, "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        await response.prepare(request)
        queue: asyncio.Queue[bytes] = asyncio.Queue(UNREAD_EVENTS)
        if self._view is not None:
            queue.put_nowait(self._view_event())
        self._watchers[queue] = None
        self._tell_watched(len(self._watchers))
        try:
            async for chunk in chunks(queue):
                await response.write(chunk)
        except (ConnectionError, asyncio.CancelledError):
            pass  # whoever watched is gone
        finally:
            self._watchers.pop(queue, None)
            self._tell_watched(len(self._watchers))
        return response

    def _send_all(self, chunk: bytes) -> None:
        """A watcher that does not read is let go; its page asks again."""
        for queue in list(self._watchers):
            try:
                queue.put_nowait(chunk)
            except asyncio.QueueFull:
                del self._watchers[queue]
                queue.get_nowait()
                queue.put_nowait(b"")


async def chunks(queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    """Until an empty chunk; a comment now and then, so that a connection that is gone is noticed."""
    while True:
        try:
            async with asyncio.timeout(BEAT_S):
                chunk = await queue.get()
        except TimeoutError:
            chunk = b": still here\n\n"
        if not chunk:
            return
        yield chunk


def static(request: web.BaseRequest) -> web.Response:
    found = assets.find(request.path)
    if found is None:
        return refusal(404, "nothing is served here; /docs lists what is")
    if request.method != "GET":
        return refusal(405, "use GET", Allow="GET")
    body, content_type = found
    return respond(body, content_type)
