"""The web process: `python -m marketmaker.web LINK SOCKET...`, file numbers that the daemon opened and passed on.

It ends when the link does. Its priority is low, so that a page never takes the processor from trading.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import web

from marketmaker.give_way import give_way
from marketmaker.no_dumps import forbid_core_dumps
from marketmaker.web.door import Door
from marketmaker.web.guard import Guard
from marketmaker.web.link import Message, pack, read_message
from marketmaker.web.server import Server

PRIORITY = 15
BACKLOG = 512
CLOSE_TIMEOUT_S = 0.5


async def serve(link: socket.socket, listeners: list[socket.socket]) -> None:
    reader, writer = await asyncio.open_connection(sock=link)
    hello = await read_message(reader)
    if hello is None:
        return
    waiting: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
    numbers = itertools.count(1)

    async def ask(message: Message) -> dict[str, Any] | None:
        number = next(numbers)
        waiting[number] = asyncio.get_running_loop().create_future()
        try:
            writer.write(pack({**message, "id": number}))
            await writer.drain()
            return await waiting[number]
        finally:
            del waiting[number]

    guard = Guard(token=hello["token"], origins=tuple(hello["origins"]))
    server = Server(guard, ask, lambda by: writer.write(pack({"t": "watched", "by": by})))
    server.keep_news(hello["news"])
    inner = web.Server(partial(answer, server), access_log=None)
    loop = asyncio.get_running_loop()
    doors: list[asyncio.Server] = []
    try:
        for sock in listeners:
            doors.append(
                await loop.create_server(lambda: Door(inner()), sock=sock, backlog=BACKLOG)
            )
        gc.freeze()
        while (message := await read_message(reader)) is not None:
            match message["t"]:
                case "view":
                    server.show(message["view"], message["news"])
                case "answer":
                    future = waiting.get(message["id"])
                    if future is not None and not future.done():
                        future.set_result(message["body"])
                case _:
                    pass
    finally:
        for door in doors:
            door.close()
        inner.pre_shutdown()
        await inner.shutdown(CLOSE_TIMEOUT_S)


async def answer(server: Server, request: web.BaseRequest) -> web.StreamResponse:
    """Sends the answer as well, so that the door knows when its connection rests again."""
    response = await server.handle(request)
    with suppress(ConnectionError):  # whoever asked is gone; aiohttp clears up
        await response.prepare(request)
        await response.write_eof()
    if request.transport is not None:
        door = request.transport.get_protocol()
        assert isinstance(door, Door)
        door.answered(request, server.repeatable(request))
    return response


def main() -> None:
    numbers = [int(text) for text in sys.argv[1:]]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    forbid_core_dumps(undumpable=True)
    give_way(PRIORITY)
    link, *listeners = [socket.socket(fileno=number) for number in numbers]
    for sock in (link, *listeners):
        sock.setblocking(False)
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(link, listeners))
    else:
        uvloop.run(serve(link, listeners))


if __name__ == "__main__":
    main()
