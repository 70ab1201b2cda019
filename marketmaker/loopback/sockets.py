"""WebSocket clients of a loopback venue: what each has subscribed to, sending without waiting, pings, old age."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiohttp import ClientConnectionResetError, WSCloseCode, WSMsgType, web

UNSENT_MAX = 20_000
"""A client that lets more than this pile up is disconnected."""
CLOSE_TIMEOUT_S = 2.0


class Socket:
    """One client. `route` is the path it came in by, `combined` whether its messages are wrapped with their stream."""

    def __init__(
        self, request: web.Request, ws: web.WebSocketResponse, route: str, combined: bool
    ) -> None:
        self.ws = ws
        self.route = route
        self.combined = combined
        self.streams: dict[str, None] = {}
        self.listen_key: str | None = None
        self.events: frozenset[str] | None = None
        self.opened_s = self.ping_s = self.pong_s = time.monotonic()
        self.control: list[float] = []
        self.state: dict[str, Any] = {}
        """What the venue remembers of the client: who it is, since when."""
        self._transport = request.transport
        self._unsent: asyncio.Queue[str | bytes] = asyncio.Queue(UNSENT_MAX)

    def send(self, text: str) -> None:
        try:
            self._unsent.put_nowait(text)
        except asyncio.QueueFull:
            self.cut()

    def ping(self, payload: bytes) -> None:
        if not self._unsent.full():
            self._unsent.put_nowait(payload)

    def cut(self) -> None:
        """End the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    def over_limit(self, most_per_s: int) -> bool:
        """One more control message; whether it is one too many."""
        now_s = time.monotonic()
        self.control = [at for at in self.control if now_s - at < 1.0]
        self.control.append(now_s)
        return len(self.control) > most_per_s

    async def _pump(self) -> None:
        while True:
            message = await self._unsent.get()
            if isinstance(message, str):
                await self.ws.send_str(message)
            else:
                await self.ws.ping(message)

    async def run(self, heard: Callable[[Socket, str], None]) -> None:
        """Until the client or we end it. `heard` gets every text message."""
        pump = asyncio.create_task(self._pump(), name="loopback socket")
        try:
            async for message in self.ws:
                match message.type:
                    case WSMsgType.TEXT:
                        heard(self, message.data)
                    case WSMsgType.PING:
                        await self.ws.pong(message.data)
                    case WSMsgType.PONG:
                        self.pong_s = time.monotonic()
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)


class Sockets:
    """Every client, by stream. `age_s`: how long a connection may last; `ping_s`, `pong_s`: how often it is asked whether
    it lives, and how long it may take to say so."""

    def __init__(self, *, age_s: float, ping_s: float, pong_s: float) -> None:
        self._age_s = age_s
        self._ping_s = ping_s
        self._pong_s = pong_s
        self._all: dict[Socket, None] = {}
        self._by_stream: dict[str, dict[Socket, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    async def serve(
        self,
        request: web.Request,
        *,
        route: str,
        combined: bool,
        opened: Callable[[Socket], None],
        heard: Callable[[Socket, str], None],
    ) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(autoping=False, compress=False, timeout=CLOSE_TIMEOUT_S)
        await ws.prepare(request)
        socket = Socket(request, ws, route, combined)
        self._all[socket] = None
        try:
            opened(socket)
            await socket.run(heard)
        except (ClientConnectionResetError, ConnectionError):
            pass  # it went away in the middle of a word
        finally:
            del self._all[socket]
            for stream in tuple(socket.streams):
                self.leave(socket, stream)
        return ws

    def join(self, socket: Socket, stream: str, *, heard: bool) -> None:
        """`heard` False: the client believes that it has subscribed."""
        socket.streams[stream] = None
        if heard:
            self._by_stream.setdefault(stream, {})[socket] = None

    def leave(self, socket: Socket, stream: str) -> None:
        socket.streams.pop(stream, None)
        listeners = self._by_stream.get(stream)
        if listeners is not None:
            listeners.pop(socket, None)
            if not listeners:
                del self._by_stream[stream]

    def drop(self, stream: str) -> None:
        """Nobody hears it any more, and nobody is told."""
        for socket in tuple(self._by_stream.get(stream, ())):
            self.leave(socket, stream)

    def wanted(self, stream: str) -> bool:
        return stream in self._by_stream

    def streams(self) -> tuple[str, ...]:
        """Those that somebody listens to."""
        return tuple(self._by_stream)

    def publish(self, stream: str, text: str, event: str = "") -> None:
        """`text` is the JSON of one message; clients that asked for certain events get only those."""
        wrapped = f'{{"stream":"{stream}","data":{text}}}'
        for socket in tuple(self._by_stream.get(stream, ())):
            if socket.events is None or event in socket.events:
                socket.send(wrapped if socket.combined else text)

    def cut_all(self) -> None:
        for socket in tuple(self._all):
            socket.cut()

    async def close_all(self) -> None:
        for socket in tuple(self._all):
            await socket.ws.close(code=WSCloseCode.GOING_AWAY)

    def look_after(self, payload: bytes) -> None:
        """To be called every second."""
        now_s = time.monotonic()
        for socket in tuple(self._all):
            if now_s - socket.opened_s >= self._age_s or now_s - socket.pong_s >= self._pong_s:
                socket.cut()
            elif now_s - socket.ping_s >= self._ping_s:
                socket.ping_s = now_s
                socket.ping(payload)
