"""Back-off, HTTP requests and WebSocket sessions: what each failure is called, and that streams come back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from marketmaker.adapters.backoff import Backoff
from marketmaker.adapters.http import Answer, HttpClient
from marketmaker.adapters.picows_socket import dial_picows
from marketmaker.adapters.websocket import Link, Session, Timing
from marketmaker.errors import NotSent, OutcomeUnknown, Rejected, StreamBroken, VenueError
from tests.support.fakes import run_virtual

SECRET = "signature=5ecret"

# -- back-off ----------------------------------------------------------------------------------------


def test_waits_double_up_to_the_most_and_vary_by_half() -> None:
    backoff = Backoff(random.Random(3), first_s=1.0, most_s=8.0)
    waits = [backoff.next_s() for _ in range(8)]
    for wait, whole in zip(waits, [1, 2, 4, 8, 8, 8, 8, 8], strict=True):
        assert whole / 2 <= wait <= whole
    assert len(set(waits)) == len(waits)
    backoff.reset()
    assert backoff.next_s() <= 1.0


def test_the_same_seed_waits_the_same() -> None:
    first, second = (Backoff(random.Random(5)) for _ in range(2))
    assert [first.next_s() for _ in range(5)] == [second.next_s() for _ in range(5)]


# -- HTTP --------------------------------------------------------------------------------------------

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Requests:
    """First lines of the requests a server has read."""

    lines: list[str] = field(default_factory=list)


@asynccontextmanager
async def http_server(answer: Serve | bytes) -> AsyncIterator[tuple[HttpClient, Requests]]:
    """A client, and a server that reads a request's head and then does what it is told."""
    seen = Requests()
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                seen.lines.append(head.split(b"\r\n")[0].decode())
                if isinstance(answer, bytes):
                    writer.write(answer)
                else:
                    await answer(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = make_client(f"http://127.0.0.1:{port}")
    await client.open()
    try:
        yield client, seen
    finally:
        await client.close()
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()


def make_client(url: str, *, timeout_s: float = 5.0, body_max: int = 1000) -> HttpClient:
    def judge(answer: Answer, operation: str) -> VenueError | None:
        return None if answer.status == 200 else Rejected("no", operation=operation)

    return HttpClient(url, venue="v", judge=judge, timeout_s=timeout_s, body_max=body_max)


def response(status: int, body: bytes, *, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, size, body)


async def failure_of(client: HttpClient, timeout_s: float | None = None) -> VenueError:
    with pytest.raises(VenueError) as caught:
        await client.request("POST", "/order", SECRET, operation="place", timeout_s=timeout_s)
    error = caught.value
    assert SECRET not in repr(error) + str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    assert error.operation == "place"
    return error


async def test_a_good_answer_is_its_body_and_the_query_goes_out_as_it_is() -> None:
    async with http_server(response(200, b"fine")) as (client, seen):
        query = "a=%5B%7B%22x%22&b=1,2&c=~"
        assert await client.request("GET", "/x", query, operation="x") == b"fine"
        assert await client.request("DELETE", "/y", operation="x") == b"fine"
        assert seen.lines == [f"GET /x?{query} HTTP/1.1", "DELETE /y HTTP/1.1"]


async def test_an_answer_that_says_no_is_what_the_judge_makes_of_it() -> None:
    async with http_server(response(400, b"{}")) as (client, _):
        assert type(await failure_of(client)) is Rejected


async def test_a_refused_connection_was_never_sent() -> None:
    async with http_server(b"") as (client, _):
        pass
    await client.open()
    try:
        assert type(await failure_of(client)) is NotSent
    finally:
        await client.close()


async def test_a_host_that_does_not_exist_was_never_sent() -> None:
    client = make_client("http://no-such-host.invalid")
    await client.open()
    try:
        assert type(await failure_of(client)) is NotSent
    finally:
        await client.close()


async def test_a_client_that_was_not_opened_sends_nothing() -> None:
    assert type(await failure_of(make_client("http://127.0.0.1:1"))) is NotSent


async def test_a_deadline_before_there_is_a_connection_was_never_sent() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with http_server(hang) as (client, seen):
        client._connections = 1
        await client.close()
        await client.open()
        first = asyncio.create_task(failure_of(client, timeout_s=0.5))
        while not seen.lines:  # noqa: ASYNC110  (the server has no event for it)
            await asyncio.sleep(0)
        error = await failure_of(client, timeout_s=0.05)
        assert type(error) is NotSent
        assert type(await first) is OutcomeUnknown
        assert len(seen.lines) == 1, "the second request never left"


async def test_a_deadline_after_sending_leaves_the_outcome_unknown() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with http_server(hang) as (client, seen):
        assert type(await failure_of(client, timeout_s=0.1)) is OutcomeUnknown
        assert len(seen.lines) == 1


async def test_a_reset_after_sending_leaves_the_outcome_unknown() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with http_server(reset) as (client, seen):
        assert type(await failure_of(client)) is OutcomeUnknown
        assert len(seen.lines) == 1, "it is not sent a second time"


async def test_a_kept_alive_connection_that_dies_under_a_post_is_not_used_again_by_itself() -> None:
    answered = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        answered += 1
        if answered == 1:
            writer.write(response(200, b"fine"))
        else:
            writer.transport.abort()

    async with http_server(once) as (client, seen):
        await client.request("GET", "/warm", operation="x")
        assert type(await failure_of(client)) is OutcomeUnknown
        assert len(seen.lines) == 2


@pytest.mark.parametrize(
    "answer",
    [
        response(200, b"half", length=100),
        b"SSH-2.0-OpenSSH\r\n\r\n",
        response(200, b"x" * 1001),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_an_answer_that_cannot_be_trusted_leaves_the_outcome_unknown(answer: bytes) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with http_server(cut) as (client, _):
        assert type(await failure_of(client)) is OutcomeUnknown


# -- sessions, on virtual time -----------------------------------------------------------------------


class FakeSocket:
    def __init__(self, url: str, heard: Callable[[bytes], None], closed: Callable[[str], None]):
        self.url = url
        self.heard = heard
        self.closed = closed
        self.sent: list[bytes] = []
        self.pings = 0
        self.open = True
        self.pongs = True
        self.more = False

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def ping(self) -> None:
        self.pings += 1
        if self.pongs:
            self.heard(b"")

    def close(self) -> None:
        self.open = False
        self.closed("closed by us")


class Net:
    """Sockets in the order in which they were opened. `refuse`: so many attempts fail first."""

    def __init__(self) -> None:
        self.sockets: list[FakeSocket] = []
        self.times: list[float] = []
        self.refuse = 0

    async def dial(
        self,
        url: str,
        *,
        heard: Callable[[bytes], None],
        closed: Callable[[str], None],
        timeout_s: float,
    ) -> FakeSocket:
        await asyncio.sleep(0.01)
        self.times.append(asyncio.get_running_loop().time())
        if self.refuse:
            self.refuse -= 1
            raise ConnectionRefusedError("connection refused")
        self.sockets.append(FakeSocket(url, heard, closed))
        return self.sockets[-1]


class Owner:
    """Writes down what a session tells it."""

    def __init__(self, **timing: float) -> None:
        self.net = Net()
        self.log: list[str] = []
        self.messages: list[tuple[int, bytes]] = []
        self.gone: list[tuple[int, str]] = []
        self.greet: Callable[[Link], Awaitable[None]] = self.greet_at_once
        self.session = Session(
            "test",
            url=self.url,
            greet=self._greet,
            on_message=lambda link, message: self.messages.append((link.number, message)),
            on_up=lambda: self.log.append("up"),
            on_down=self.log.append,
            on_gone=lambda link, why: self.gone.append((link.number, why)),
            backoff=Backoff(random.Random(1), first_s=1.0, most_s=16.0),
            timing=Timing(**timing),
            dial=self.net.dial,
        )

    async def url(self) -> str:
        return "ws://venue"

    async def _greet(self, link: Link) -> None:
        await self.greet(link)

    async def greet_at_once(self, link: Link) -> None:
        link.send(b"hello")


@asynccontextmanager
async def running(session: Session) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(session.hold())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def on_virtual_time(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def body(_: object) -> None:
            await test()

        run_virtual(body)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@on_virtual_time
async def test_a_session_is_up_once_it_was_greeted_and_passes_messages_on() -> None:
    owner = Owner()
    async with running(owner.session):
        await asyncio.sleep(1)
        (socket,) = owner.net.sockets
        assert (owner.log, socket.sent) == (["up"], [b"hello"])
        socket.heard(b"one")
        socket.heard(b"two")
        assert owner.messages == [(1, b"one"), (1, b"two")]
    assert not socket.open
    assert owner.log == ["up"], "an end that was asked for is no fault"


@on_virtual_time
async def test_a_lost_connection_is_told_at_once_and_replaced() -> None:
    owner = Owner()
    async with running(owner.session):
        await asyncio.sleep(100)
        owner.net.sockets[0].closed("connection lost")
        assert owner.log == ["up", "test: connection lost"]
        await asyncio.sleep(1)
        assert owner.log == ["up", "test: connection lost", "up"]
        assert len(owner.net.sockets) == 2
        assert owner.gone == [(1, "connection lost")]


@on_virtual_time
async def test_attempts_back_off_and_down_is_told_once() -> None:
    owner = Owner()
    owner.net.refuse = 7
    async with running(owner.session):
        await asyncio.sleep(200)
        assert owner.log == ["test: no connection: connection refused", "up"]
    gaps = [later - earlier for earlier, later in zip(owner.net.times, owner.net.times[1:])]  # noqa: B905
    for gap, whole in zip(gaps, [1, 2, 4, 8, 16, 16, 16], strict=True):
        assert whole / 2 <= gap - 0.01 <= whole + 0.001


@on_virtual_time
async def test_a_server_that_accepts_and_hangs_up_is_not_hammered() -> None:
    owner = Owner()

    async def hang_up() -> None:
        while True:
            await asyncio.sleep(0.1)
            for socket in owner.net.sockets:
                if socket.open:
                    socket.closed("closed by the peer")
                    socket.open = False

    async with running(owner.session):
        task = asyncio.create_task(hang_up())
        await asyncio.sleep(60)
        assert len(owner.net.sockets) < 12
        task.cancel()


@on_virtual_time
async def test_silence_is_asked_about_and_then_believed() -> None:
    owner = Owner(heartbeat_s=10.0)
    async with running(owner.session):
        await asyncio.sleep(35)
        first = owner.net.sockets[0]
        assert (first.pings, first.open) == (2, True), "it answered each time"
        first.pongs = False
        await asyncio.sleep(30)
        assert not first.open
        assert owner.log[1] == "test: silent for 20 s"
        assert len(owner.net.sockets) == 2


@on_virtual_time
async def test_a_busy_socket_is_never_asked() -> None:
    owner = Owner(heartbeat_s=10.0)
    async with running(owner.session):
        for _ in range(100):
            await asyncio.sleep(1)
            owner.net.sockets[0].heard(b"tick")
        assert owner.net.sockets[0].pings <= 1


@on_virtual_time
async def test_a_venue_that_wants_messages_for_pings_gets_one_every_heartbeat() -> None:
    owner = Owner(heartbeat_s=10.0)
    owner.session._ping = b"ping"
    async with running(owner.session):
        await asyncio.sleep(1)
        first = owner.net.sockets[0]
        for _ in range(54):
            await asyncio.sleep(1)
            first.heard(b"tick")
        assert (first.sent, first.pings) == ([b"hello", *[b"ping"] * 5], 0)
        await asyncio.sleep(31)
        assert not first.open, "a message that is not answered is believed, too"


@on_virtual_time
async def test_a_subscription_that_stays_silent_ends_its_socket() -> None:
    owner = Owner()

    async def greet(link: Link) -> None:
        owner.session.expect(link, ["a", "b"], 30.0)

    owner.greet = greet
    async with running(owner.session):
        await asyncio.sleep(20)
        assert owner.session.link is not None
        del owner.session.link.silent["a"]
        await asyncio.sleep(11)
        assert owner.log[1] == "test: no message of b within 30 s"
        await asyncio.sleep(5)
        link = owner.session.link
        assert link is not None and link.number == 2
        link.silent.clear()
        await asyncio.sleep(60)
        assert owner.session.link is link, "everything has been heard"


@on_virtual_time
async def test_an_old_socket_is_replaced_without_a_gap() -> None:
    """The new one is greeted before the old one goes, both deliver meanwhile, and nobody is told of a break."""
    owner = Owner(age_s=1000.0, linger_s=5.0)
    released = asyncio.Event()

    async def greet(link: Link) -> None:
        if link.number > 1:
            await released.wait()

    owner.greet = greet
    async with running(owner.session):
        await asyncio.sleep(1003)
        old, new = owner.net.sockets
        assert owner.session.link is not None and owner.session.link.number == 1
        old.heard(b"while the new one is greeted")
        released.set()
        await asyncio.sleep(1)
        assert owner.session.link.number == 2
        assert old.open
        old.heard(b"late")
        new.heard(b"early")
        await asyncio.sleep(10)
        assert (old.open, new.open) == (False, True)
        assert owner.log == ["up"]
        assert owner.messages == [
            (1, b"while the new one is greeted"),
            (1, b"late"),
            (2, b"early"),
        ]
        assert owner.gone == [(1, "replaced")]


@on_virtual_time
async def test_a_replacement_that_cannot_be_opened_leaves_the_old_one_working() -> None:
    owner = Owner(age_s=100.0)
    async with running(owner.session):
        await asyncio.sleep(50)
        owner.net.refuse = 4
        await asyncio.sleep(52)
        assert owner.net.sockets[0].open
        await asyncio.sleep(60)
        assert owner.log == ["up"]
        assert [socket.open for socket in owner.net.sockets] == [False, True]


@on_virtual_time
async def test_an_old_socket_that_dies_while_it_is_replaced_is_a_break() -> None:
    owner = Owner(age_s=100.0)
    async with running(owner.session):
        await asyncio.sleep(50)
        owner.net.refuse = 3
        await asyncio.sleep(51)
        owner.net.sockets[0].closed("connection lost")
        assert owner.log == ["up", "test: connection lost"]
        await asyncio.sleep(30)
        assert owner.log == ["up", "test: connection lost", "up"]


@on_virtual_time
async def test_a_greeting_that_fails_or_hangs_is_a_failed_attempt() -> None:
    owner = Owner(ready_s=10.0)

    async def greet(link: Link) -> None:
        if link.number == 1:
            raise StreamBroken("subscription refused")
        if link.number == 2:
            await asyncio.Event().wait()

    owner.greet = greet
    async with running(owner.session):
        await asyncio.sleep(60)
        assert owner.log == ["test: subscription refused", "up"]
        assert [socket.open for socket in owner.net.sockets] == [False, False, True]


@on_virtual_time
async def test_nothing_can_be_sent_over_a_link_that_is_gone() -> None:
    owner = Owner()
    async with running(owner.session):
        await asyncio.sleep(1)
        link = owner.session.link
        assert link is not None
        owner.session.fail(link, "a gap")
        with pytest.raises(NotSent):
            link.send(b"late")
        owner.net.sockets[0].heard(b"late")
        assert owner.messages == []
        assert owner.log == ["up", "test: a gap"]


@on_virtual_time
async def test_a_bug_in_the_owner_ends_the_session_for_all_who_hold_it() -> None:
    owner = Owner()

    def burst(link: Link, message: bytes) -> None:
        raise ZeroDivisionError

    owner.session._on_message = burst
    holders = [asyncio.create_task(owner.session.hold()) for _ in range(2)]
    await asyncio.sleep(1)
    owner.net.sockets[0].heard(b"x")
    results = await asyncio.gather(*holders, return_exceptions=True)
    assert [type(result) for result in results] == [ZeroDivisionError] * 2
    assert not owner.net.sockets[0].open


@on_virtual_time
async def test_a_session_lives_as_long_as_anybody_holds_it_and_can_be_held_again() -> None:
    owner = Owner()
    first, second = (asyncio.create_task(owner.session.hold()) for _ in range(2))
    await asyncio.sleep(1)
    first.cancel()
    await asyncio.sleep(1)
    assert owner.net.sockets[0].open
    second.cancel()
    await asyncio.sleep(1)
    assert not owner.net.sockets[0].open
    async with running(owner.session):
        await asyncio.sleep(1)
        assert owner.session.up
        assert len(owner.net.sockets) == 2


@on_virtual_time
async def test_a_socket_that_ends_before_it_is_ours_is_closed_and_counts_as_a_failed_attempt() -> (
    None
):
    owner = Owner()
    dial = owner.net.dial

    async def dial_dead(url: str, **parts: Any) -> FakeSocket:
        socket = await dial(url, **parts)
        if len(owner.net.sockets) == 1:
            socket.closed("closed by the peer")
        return socket

    owner.session._dial = dial_dead
    async with running(owner.session):
        await asyncio.sleep(30)
        assert [socket.open for socket in owner.net.sockets] == [False, True]
        assert owner.log == ["test: closed while it was being opened", "up"]


# -- a real socket -----------------------------------------------------------------------------------


@asynccontextmanager
async def websocket_server(
    talk: Callable[[ServerConnection], Awaitable[None]],
) -> AsyncIterator[str]:
    async with serve(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/x?listenKey=5ecret"


async def test_the_real_socket_carries_messages_whole_both_ways_and_says_when_it_ends() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send(await connection.recv())
        await connection.send(["in ", "three ", "parts"])
        await connection.send(b"binary")
        await connection.ping()
        await connection.close(1001)

    heard: list[bytes] = []
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with websocket_server(talk) as url:
        socket = await dial_picows(
            url,
            heard=heard.append,
            closed=lambda why: None if ended.done() else ended.set_result(why),
            timeout_s=30.0,
        )
        socket.send(b"hello")
        async with asyncio.timeout(30):
            reason = await ended
        assert heard == [b"hello", b"in three parts", b"binary"]
        assert "1001" in reason or "GOING_AWAY" in reason
        socket.close()
        await asyncio.sleep(0)


async def test_the_real_socket_hears_the_answer_to_its_ping() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.wait_closed()

    pong = asyncio.Event()
    async with websocket_server(talk) as url:
        socket = await dial_picows(
            url, heard=lambda _: pong.set(), closed=lambda _: None, timeout_s=30.0
        )
        socket.ping()
        async with asyncio.timeout(30):
            await pong.wait()
        socket.close()


async def test_a_connection_or_a_handshake_that_is_refused_says_so_without_its_address() -> None:
    async with http_server(response(401, b"no")) as (client, _):
        url = client._base_url.replace("http", "ws") + "/ws?listenKey=5ecret"
        for _ in range(2):
            with pytest.raises(OSError) as caught:
                await dial_picows(url, heard=lambda _: None, closed=lambda _: None, timeout_s=30.0)
            assert "5ecret" not in str(caught.value) + repr(caught.value.__cause__)
            url = "ws://127.0.0.1:1/ws?listenKey=5ecret"


async def test_a_session_over_real_sockets_comes_back_after_the_server_hung_up() -> None:
    served = 0

    async def talk(connection: ServerConnection) -> None:
        nonlocal served
        served += 1
        await connection.send(f"{await connection.recv()} {served}")
        if served > 1:
            await connection.wait_closed()

    owner = Owner()
    twice = asyncio.Event()

    def hear(link: Link, message: bytes) -> None:
        owner.messages.append((link.number, message))
        if message == b"hello 2":
            twice.set()

    async with websocket_server(talk) as url:

        async def address() -> str:
            return url

        session = Session(
            "real",
            url=address,
            greet=owner.greet_at_once,
            on_message=hear,
            on_up=lambda: owner.log.append("up"),
            on_down=lambda why: owner.log.append("down"),
            backoff=Backoff(random.Random(1), first_s=0.01, most_s=0.02),
        )
        async with running(session):
            async with asyncio.timeout(30):
                await twice.wait()
            assert owner.log == ["up", "down", "up"]
    assert [message for _, message in owner.messages] == [b"hello 1", b"hello 2"]
