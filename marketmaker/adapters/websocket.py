"""WebSocket sessions: one logical connection that is kept up, on the loop's own time.

A `Session` opens a socket, lets its owner greet it (subscribe, wait for acknowledgements), and from then on calls its
owner from the loop as frames arrive: no queue and no task lies between a frame and `on_message`.

It gives a socket up when the peer closes it, when nothing at all was heard for two heartbeats (after the first it asks
with a ping), or when the owner says so (`fail`). Then `on_down` is called at once and a new one is opened, after a
back-off that is forgotten once a socket has lived for a while.

A socket that merely grows old, or that the owner wants exchanged (`rotate`), is replaced without a gap: the new one is
opened and greeted while the old one works, `link` changes over, and the old one goes on delivering for `linger_s`.
While both live a message may come twice, and in either order; owners must not mind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from marketmaker.adapters.backoff import Backoff
from marketmaker.adapters.picows_socket import dial_picows
from marketmaker.adapters.protocol import Turn
from marketmaker.errors import NotSent, StreamBroken, VenueError


class Socket(Protocol):
    """One open WebSocket. None of these waits. `more`: the message being heard is not the last of those that were read
    at once."""

    more: bool

    def send(self, message: bytes) -> None: ...
    def ping(self) -> None: ...
    def close(self) -> None: ...


class Dial(Protocol):
    """Opens a socket; `heard` gets each whole message (b"" for a pong), `closed` the reason, once.

    Raises OSError or TimeoutError, with no address in its text.
    """

    async def __call__(
        self,
        url: str,
        *,
        heard: Callable[[bytes], None],
        closed: Callable[[str], None],
        timeout_s: float,
    ) -> Socket: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """`ready_s`: from open to greeted. `age_s`: when a socket is replaced though nothing is wrong with it.

    `settled_s`: how long one must have lived for the back-off to start anew.
    """

    connect_s: float = 5.0
    ready_s: float = 10.0
    heartbeat_s: float = 10.0
    age_s: float = 23 * 3600.0
    linger_s: float = 5.0
    settled_s: float = 30.0


class NoTurn:
    def begin(self) -> None:
        pass

    def more(self) -> None:
        pass

    def end(self) -> None:
        pass


NO_TURN: Final = NoTurn()
"""For those who act on nothing."""


class Link:
    """One socket of a session. `silent`: subscriptions of which it has not brought a message yet."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.socket: Socket | None = None
        self.gone = False
        self.silent: dict[str, None] = {}
        self.heard = False
        self.asked = False
        self.born_s = 0.0
        self.timers: list[asyncio.TimerHandle] = []

    def send(self, message: bytes) -> None:
        """Hands the bytes to the kernel. Raises NotSent when the socket is known to be gone."""
        if self.gone or self.socket is None:
            raise NotSent("the socket is closed")
        self.socket.send(message)


class Session:
    """`name` stands in reasons. `url` is asked anew for every socket.

    `greet(link)` may wait; it ends when the link is ready and raises VenueError when it will not be. `on_message(link,
    message)` must not raise: what it does raise ends `run`. `on_up` and `on_down(reason)` alternate; `on_gone(link,
    reason)` is called for every link that ends. `ping`: the message that this venue wants every
    heartbeat, instead of a WebSocket ping when nothing was heard; what answers it comes to `on_message`. `opened` counts attempts, `ups` calls of `on_up`.
    """

    def __init__(
        self,
        name: str,
        *,
        url: Callable[[], Awaitable[str]],
        greet: Callable[[Link], Awaitable[None]],
        on_message: Callable[[Link, bytes], None],
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        backoff: Backoff,
        on_gone: Callable[[Link, str], None] = lambda link, reason: None,
        timing: Timing | None = None,
        ping: bytes = b"",
        dial: Dial | None = None,
    ) -> None:
        self.name = name
        self.turn: Turn = NO_TURN
        self.timing = timing or Timing()
        self.link: Link | None = None
        self.opened = 0
        self.ups = 0
        self._told_up: bool | None = None
        self._url = url
        self._greet = greet
        self._on_message = on_message
        self._on_up = on_up
        self._on_down = on_down
        self._on_gone = on_gone
        self._backoff = backoff
        self._ping = ping
        self._dial = dial or dial_picows
        self._links: dict[int, Link] = {}
        self._due = asyncio.Event()
        self._failure: Exception | None = None
        self._users = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        return self.link is not None

    async def hold(self) -> None:
        """Keeps the session running until cancelled, together with everyone else who holds it. Raises its failure."""
        self._users += 1
        if self._task is None:
            self._task = asyncio.create_task(self.run(), name=self.name)
        task = self._task
        failure: BaseException | None = None
        try:
            await asyncio.shield(task)
        except BaseException as error:
            failure = error
        # Not in a `finally`: what mypyc makes of one that waits forgets the exception that is on its way.
        self._users -= 1
        if self._users == 0:
            self._task = None
            task.cancel()
            await asyncio.wait([task])
        if failure is not None:
            raise failure

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._due.clear()
                try:
                    fresh = await self._open()
                except VenueError as error:
                    if self.link is None:
                        self._tell_down(str(error))
                    await self._pause()
                    continue
                if self._failure is None and self._adopt(fresh):
                    await self._until_due(fresh)
                if self._failure is not None:
                    raise self._failure
        finally:
            for link in list(self._links.values()):
                self._end(link, "stopped", tell=False)

    def rotate(self) -> None:
        """Replace the socket without a gap, soon."""
        self._due.set()

    def fail(self, link: Link, reason: str) -> None:
        """The link cannot be trusted any more."""
        self._end(link, reason)

    def expect(self, link: Link, names: Iterable[str], within_s: float) -> None:
        """Unless each of `names` has left `link.silent` by then, the link fails."""
        wanted = tuple(names)
        link.silent.update(dict.fromkeys(wanted))

        def check() -> None:
            missing = [name for name in wanted if name in link.silent]
            if missing and not link.gone:
                self.fail(link, f"no message of {', '.join(missing)} within {within_s:g} s")

        link.timers.append(asyncio.get_running_loop().call_later(within_s, check))

    async def _open(self) -> Link:
        self.opened += 1
        link = Link(self.opened)
        link.born_s = asyncio.get_running_loop().time()
        self._links[link.number] = link
        try:
            link.socket = await self._connect(link)
            self._listen(link)
            async with asyncio.timeout(self.timing.ready_s):
                await self._greet(link)
        except TimeoutError:
            reason = "not ready in time"
        except VenueError as error:
            reason = error.message
        except BaseException:
            self._end(link, "given up", tell=False)
            raise
        else:
            if not link.gone:
                return link
            reason = "closed while it was being opened"
        self._end(link, reason, tell=False)
        raise StreamBroken(f"{self.name}: {reason}")

    async def _connect(self, link: Link) -> Socket:
        url = await self._url()
        try:
            async with asyncio.timeout(self.timing.connect_s):
                socket = await self._dial(
                    url,
                    heard=partial(self._hear, link),
                    closed=partial(self._close, link),
                    timeout_s=self.timing.connect_s,
                )
        except TimeoutError:
            raise StreamBroken("no connection in time") from None
        except OSError as error:
            raise StreamBroken(f"no connection: {error}") from None
        if link.gone:
            socket.close()
            raise StreamBroken("closed while it was being opened")
        return socket

    def _adopt(self, fresh: Link) -> bool:
        if fresh.gone:
            return False
        old, self.link = self.link, fresh
        if old is None:
            self.ups += 1
            self._told_up = True
            self._on_up()
        else:
            loop = asyncio.get_running_loop()
            old.timers.append(
                loop.call_later(self.timing.linger_s, self._end, old, "replaced", False)
            )
        return not fresh.gone

    async def _until_due(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_at(link.born_s + self.timing.age_s, self._due.set)
        try:
            await self._due.wait()
        finally:
            timer.cancel()
        if loop.time() - link.born_s >= self.timing.settled_s:
            self._backoff.reset()
        elif self._failure is None:
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._backoff.next_s())

    def _hear(self, link: Link, message: bytes) -> None:
        link.heard = True
        turn = self.turn
        if message and not link.gone:
            turn.begin()
            try:
                self._on_message(link, message)
            except Exception as error:
                self._failure = self._failure or error
                self._due.set()
        socket = link.socket
        if socket is not None and socket.more:
            turn.more()
        else:
            turn.end()

    def _close(self, link: Link, reason: str) -> None:
        try:
            self._end(link, reason)
        except Exception as error:
            self._failure = self._failure or error
            self._due.set()

    def _listen(self, link: Link) -> None:
        """Looks after the heartbeat until the link is gone."""
        loop, interval_s = asyncio.get_running_loop(), self.timing.heartbeat_s

        def beat() -> None:
            if link.gone or link.socket is None:
                return
            if link.heard:
                link.heard = link.asked = False
                if self._ping:
                    link.socket.send(self._ping)
            elif link.asked:
                self.fail(link, f"silent for {2 * interval_s:g} s")
                return
            else:
                link.asked = True
                if self._ping:
                    link.socket.send(self._ping)
                else:
                    link.socket.ping()
            link.timers[0] = loop.call_later(interval_s, beat)

        link.timers.insert(0, loop.call_later(interval_s, beat))

    def _end(self, link: Link, reason: str, tell: bool = True) -> None:
        if link.gone:
            return
        link.gone = True
        self._links.pop(link.number, None)
        for timer in link.timers:
            timer.cancel()
        if link.socket is not None:
            link.socket.close()
        self._on_gone(link, reason)
        if link is self.link:
            self.link = None
            self._due.set()
            if tell:
                self._tell_down(f"{self.name}: {reason}")

    def _tell_down(self, reason: str) -> None:
        if self._told_up is not False:
            self._told_up = False
            self._on_down(reason)


def share_turn(turn: Turn, *sessions: Session) -> None:
    """What these sessions read at once is heard as a whole and acted on in the callback in which it came: prices, so that
    an order leaves with the frame that calls for it; answers and order events, so that what they make room for does."""
    for session in sessions:
        session.turn = turn
