"""A door that remembers requests says what aiohttp alone says, admits nobody whom the guard refuses, and is never stale."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marketmaker.web.__main__ import answer
from marketmaker.web.door import Door, is_one_request
from marketmaker.web.guard import Guard
from marketmaker.web.server import Server
from tests.support.web import StoppedClock

TOKEN = "correct-horse-battery"
WITHIN_S = 30.0
BETWEEN_S = 0.003
"""Long enough, mostly, for an answer: where it is not, the order of the answers has to be right all the same."""
HEALTHY = {"time_ms": 0, "health": [], "symbols": [], "quoting": True, "ready": True, "reasons": []}
HOST = ("Host: 127.0.0.1:8420",)


def get(
    path: str = "/healthz", *lines: str, version: str = "1.1", host: tuple[str, ...] = HOST
) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"GET {path} HTTP/{version}", *host, *lines))
    return f"{head}\r\n".encode()


ASKED = get()
LAST = get("/readyz", "Connection: close")
NONSENSE = b"\0" * 9000
"""Ends a request that waits for its body as well as one that waits for its head."""
SEGMENTS = {
    "health": ASKED,
    "ready": get("/readyz"),
    "status": get("/status"),
    "query": get("/status?symbol=ETHUSDT"),
    "unknown query": get("/healthz?x=1"),
    "token": get("/healthz", f"Authorization: Bearer {TOKEN}"),
    "wrong token": get("/healthz", "Authorization: Bearer wrong"),
    "page from elsewhere": get("/healthz", "Origin: http://evil.example"),
    "rebound": get(host=("Host: evil.example",)),
    "forwarded": get("/healthz", "X-Forwarded-For: 192.0.2.7"),
    "cross-site": get("/healthz", "Sec-Fetch-Site: cross-site"),
    "missing": get("/nothing"),
    "page": get("/"),
    "two at once": ASKED + ASKED,
    "two at once, the second refused": ASKED + get(host=("Host: evil.example",)),
    "head with a body": get("/healthz", "Content-Length: 4") + b"GET ",
    "announces a body that is a request": get("/healthz", f"Content-Length: {len(ASKED)}"),
    "half": ASKED[:20],
    "other half": ASKED[20:],
    "post": f"POST /control/pause HTTP/1.1\r\n{HOST[0]}\r\nContent-Length: 2\r\n\r\n{{}}".encode(),
    "old": get("/healthz", "Connection: keep-alive", version="1.0"),
    "bare line ends": ASKED.replace(b"\r\n", b"\n"),
    "no request": b"hello\r\n\r\n",
}


def served() -> Server:
    async def ask(message: dict[str, Any]) -> None:
        raise AssertionError(f"nobody with the token asked for {message}")

    server = Server(Guard(token=TOKEN, origins=()), ask, lambda by: None)
    server.show(HEALTHY, [])
    return server


@asynccontextmanager
async def listening(make: Callable[[], asyncio.Protocol]) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    door = await loop.create_server(make, "127.0.0.1", 0)
    try:
        yield door.sockets[0].getsockname()[1]
    finally:
        door.close()


def with_doors(server: Server) -> Callable[[], asyncio.Protocol]:
    inner = web.Server(partial(answer, server), access_log=None)
    return lambda: Door(inner())


def without(server: Server) -> Callable[[], asyncio.Protocol]:
    return web.Server(server.handle, access_log=None)


async def talk(port: int, segments: list[bytes]) -> bytes:
    """Everything that comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = bytearray()

    async def hear() -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(1 << 16):
                heard.extend(chunk)

    try:
        async with asyncio.timeout(WITHIN_S):
            hearing = asyncio.ensure_future(hear())
            for segment in (*segments, LAST):
                writer.write(segment)
                await asyncio.sleep(BETWEEN_S)
            await asyncio.wait({hearing}, timeout=10 * BETWEEN_S)
            if not hearing.done():
                writer.write(NONSENSE)
            await hearing
    finally:
        writer.close()
    return bytes(heard)


def comparable(heard: bytes) -> bytes:
    """Without what depends on the moment."""
    heard = re.sub(rb'"age_s":[0-9.]+', b'"age_s":0', heard)
    return re.sub(rb"(Date|Content-Length): [^\r]*", rb"\1: x", heard)


class Line:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Line:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        async with asyncio.timeout(WITHIN_S):
            self._writer.write(request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            return int(head.split()[1]), await self._reader.readexactly(length)


def watched(server: Server) -> list[str]:
    """The paths that were really read, as they are."""
    read: list[str] = []
    handle = server.handle

    async def watch(request: web.BaseRequest) -> web.StreamResponse:
        read.append(request.path_qs)
        return await handle(request)

    server.handle = watch  # type: ignore[method-assign]
    return read


def run(script: Callable[[Server, list[str], Line], Awaitable[None]]) -> None:
    async def whole() -> None:
        server = served()
        read = watched(server)
        async with listening(with_doors(server)) as port, Line(port) as line:
            await script(server, read, line)

    asyncio.run(whole())


@settings(max_examples=60)
@given(st.lists(st.sampled_from(sorted(SEGMENTS)), max_size=6))
@example(["health", "health", "rebound", "health", "page from elsewhere", "health"])
@example(["health", "two at once", "health", "health"])
@example(["health", "health", "half", "other half", "health"])
@example(["announces a body that is a request", "health", "health", "health"])
@example(["health", "announces a body that is a request", "health", "health", "health"])
@example(["token", "token", "health", "wrong token", "health", "forwarded"])
def test_a_door_says_what_aiohttp_alone_says(names: list[str]) -> None:
    async def both() -> tuple[bytes, bytes]:
        segments = [SEGMENTS[name] for name in names]
        async with listening(with_doors(served())) as one, listening(without(served())) as other:
            first, second = await asyncio.gather(talk(one, segments), talk(other, segments))
        return first, second

    first, second = asyncio.run(both())
    assert comparable(first) == comparable(second)


def test_what_is_asked_again_is_read_once_and_told_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the very same millisecond, too."""
    monkeypatch.setattr("marketmaker.web.server.time", StoppedClock())

    async def script(server: Server, read: list[str], line: Line) -> None:
        for _ in range(5):
            status, body = await line.ask(ASKED)
            assert status == 200 and b'"status":"quoting"' in body
        assert read == ["/healthz"]
        server.show({**HEALTHY, "health": ["ETHUSDT: order stream is not live"]}, [])
        status, body = await line.ask(ASKED)
        assert status == 503 and b"order stream is not live" in body
        assert (await line.ask(get("/readyz")))[0] == 200
        assert (await line.ask(ASKED))[0] == 503
        assert read == ["/healthz", "/readyz", "/healthz"]

    run(script)


def test_a_reading_grows_old_while_the_same_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon says nothing more: after `stale_after` that is told, although no request is read any more."""
    clock = StoppedClock()
    monkeypatch.setattr("marketmaker.web.server.time", clock)

    async def script(server: Server, read: list[str], line: Line) -> None:
        row = {"symbol": "ETHUSDT", "state": "quoting", "healthy": True}
        server.show({**HEALTHY, "symbols": [{**row, "streams": {"stale_after_s": 5.0}}]}, [])
        await line.ask(ASKED)
        clock.now_s += 4.9
        first, _ = await line.ask(ASKED)
        clock.now_s += 0.2
        last, body = await line.ask(ASKED)
        assert (first, last) == (200, 503) and b"has not shown itself for" in body
        assert len(read) == 1

    run(script)


def test_an_answer_that_is_waited_for_is_not_overtaken() -> None:
    async def whole() -> None:
        asked, may_answer = asyncio.Event(), asyncio.Event()

        async def ask(message: dict[str, Any]) -> dict[str, Any]:
            asked.set()
            await may_answer.wait()
            return {"done": True}

        server = Server(Guard(token=TOKEN, origins=()), ask, lambda by: None)
        server.show(HEALTHY, [])
        deed = f"POST /control/pause HTTP/1.1\r\n{HOST[0]}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n"
        async with listening(with_doors(server)) as port:
            talking = asyncio.ensure_future(talk(port, [ASKED, ASKED, deed.encode(), ASKED]))
            async with asyncio.timeout(WITHIN_S):
                await asked.wait()
                await asyncio.sleep(5 * BETWEEN_S)
                may_answer.set()
                heard = await talking
        found = re.findall(rb'"status":"quoting"|"done":true', heard)
        health, done = b'"status":"quoting"', b'"done":true'
        assert found == [health, health, done, health, health]

    asyncio.run(whole())


REFUSED = {
    "page from elsewhere": 403,
    "rebound": 421,
    "forwarded": 401,
    "cross-site": 403,
    "wrong token": 401,
}


@pytest.mark.parametrize("name", REFUSED)
def test_whoever_is_refused_is_refused_each_time(name: str) -> None:
    async def script(server: Server, read: list[str], line: Line) -> None:
        for _ in range(3):
            assert (await line.ask(ASKED))[0] == 200
            assert (await line.ask(ASKED))[0] == 200
            assert (await line.ask(SEGMENTS[name]))[0] == REFUSED[name]
            assert (await line.ask(SEGMENTS[name]))[0] == REFUSED[name]

    run(script)


def test_a_token_is_kept_nowhere_and_compared_each_time() -> None:
    async def script(server: Server, read: list[str], line: Line) -> None:
        for _ in range(4):
            assert (await line.ask(SEGMENTS["token"]))[0] == 200
        assert len(read) == 4

    run(script)


@pytest.mark.parametrize("place", range(4, len(ASKED) - 4))
def test_any_other_byte_is_read_anew(place: int) -> None:
    """And on a connection of its own nothing is remembered of another's."""

    async def script(server: Server, read: list[str], line: Line) -> None:
        await line.ask(ASKED)
        await line.ask(ASKED)
        changed = bytearray(ASKED)
        changed[place] ^= 1
        status, _ = await line.ask(bytes(changed))
        assert status in {200, 400, 401, 403, 404, 405, 421} and (len(read) == 2 or status == 400)

    run(script)


@pytest.mark.parametrize(
    ("data", "one"),
    [
        (ASKED, True),
        (ASKED + ASKED, False),
        (ASKED[:-1], False),
        (ASKED + b"\n", False),
        (get("/healthz", "A: b\n\nGET / HTTP/1.1"), False),
        (b"POST" + ASKED[3:], False),
        (get("/" + "a" * 5000), False),
        (b"", False),
    ],
)
def test_one_request_alone_is_told_from_everything_else(data: bytes, one: bool) -> None:
    assert is_one_request(data) is one
