"""Keeps the web process: opens its sockets, starts it, shows it readings, carries out what it is asked, starts it anew.

The sockets are bound here, once, so that an address in use is found before the first order and a web process that ends
takes no listener with it. It gets no environment but the path to Python, so no key of an exchange can be read there.

Readings are shown once a second, four times while somebody watches, more often where `stale_after` is short, and less
often where making one is costly: it never takes more than a fiftieth of the time. News goes with the reading that counts it, never before: whoever looks sees one
truth. A web process that does not read what it is shown is ended and started anew. Nothing that happens here or there
ends trading.
"""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import socket
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import structlog

from marketmaker import logs
from marketmaker.control import Control
from marketmaker.errors import ConfigError
from marketmaker.model.settings import HttpSettings
from marketmaker.model.view import NewsView
from marketmaker.news import News
from marketmaker.overview import Overview
from marketmaker.reload import Reloader
from marketmaker.runtime import log_events
from marketmaker.runtime.wire_format import encoder_of
from marketmaker.token_file import remove_token, write_token
from marketmaker.web.link import Message, pack, read_message

IDLE_S, WATCHED_S = 1.0, 0.25
LOOKS_BEFORE_STALE = 4
"""The web process calls a daemon unhealthy whose last reading is older than `stale_after`."""
COSTLY = 50
"""The pause between two readings is at least so many times what making one took."""
UNREAD_BYTES = 4 << 20
UNTOLD_NEWS = 2000
"""Between two readings; the web process keeps fewer of each kind."""
LONGEST_PAUSE_S = 30.0
LASTED_S = 60.0
END_TIMEOUT_S = 2.0
BACKLOG = 512
NEEDED = ("aiohttp", "prometheus_client", "swagger_ui_bundle")
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")


class Doorkeeper:
    """`token` is the one that acts; where the settings have none it is made here and kept in a file of this user's.
    `on_open` is told what to open in a browser, once it can be."""

    def __init__(
        self,
        *,
        settings: HttpSettings,
        overview: Overview,
        control: Control,
        reloader: Reloader,
        news: News,
    ) -> None:
        assert settings.listen is not None
        self._settings = settings
        self._overview = overview
        self._control = control
        self._reloader = reloader
        self._news = news
        self._sockets: list[socket.socket] = []
        self._untold: deque[NewsView] = deque(maxlen=UNTOLD_NEWS)
        self._watched = 0
        self._stale_after_s = math.inf
        self._look_now = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._asked: set[asyncio.Task[None]] = set()
        self.on_open: Callable[[str], None] | None = None
        self.host, self.port = settings.listen
        self.token = settings.token or secrets.token_urlsafe(32)
        logs.register_secrets((self.token,))
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="web"
        )
        self._deeds: dict[str, Callable[[Message], Awaitable[object]]] = {
            "pause": lambda message: control.pause(message["symbols"]),
            "resume": lambda message: control.resume(message["symbols"]),
            "cancel-all": lambda message: control.cancel_all(message["symbols"]),
            "flatten": lambda message: control.flatten(message["symbols"]),
            "reload": lambda message: reloader.reload(apply=message["apply"]),
        }

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    @property
    def door(self) -> str:
        """What to open in a browser: with the token where it is nobody else's choice. Browsers never send that part."""
        return self.address if self._settings.token else f"{self.address}#token={self.token}"

    def open(self) -> None:
        """Raises ConfigError when the address cannot be had, or what serving needs is not installed."""
        missing = [name for name in NEEDED if find_spec(name) is None]
        if missing:
            raise ConfigError(
                f"http needs {', '.join(missing)}: install it with pip install 'marketmaker[web]'"
            )
        try:
            found = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, address in found:
                sock = socket.socket(family, kind, protocol)
                self._sockets.append(sock)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(address)
                sock.listen(BACKLOG)
        except OSError as error:
            self._close_sockets()
            raise ConfigError(
                f"http.listen: {self.address} cannot be served ({os.strerror(error.errno or 0)}); "
                "choose another port, or remove http"
            ) from None
        if not self._settings.token:
            write_token(self.port, self.token)
        self._log.info(log_events.WEB_LISTENING, address=self.address)
        if self.on_open is not None:
            self.on_open(self.door)

    async def run(self) -> None:
        failures = 0
        self._news.on_news = self._untold.append
        while True:
            began_s = time.monotonic()
            reason = await self._serve_once()
            if time.monotonic() - began_s > LASTED_S:
                failures = 0
            pause_s = min(2.0**failures, LONGEST_PAUSE_S)
            failures = min(failures + 1, 10)
            self._log.warning(log_events.WEB_ENDED, reason=reason, wait_s=pause_s)
            await asyncio.sleep(pause_s)

    async def close(self) -> None:
        """The last reading, then the end of the link: the web process ends with it."""
        for task in self._asked:
            task.cancel()
        self._close_sockets()
        if not self._settings.token:
            remove_token(self.port, self.token)
        if self._writer is not None:
            self._show()
            self._writer.close()
        if self._process is not None:
            await self._end(self._process)

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    async def _serve_once(self) -> str:
        """One life of a web process; returns how it ended."""
        ours, theirs = socket.socketpair()
        try:
            numbers = [theirs.fileno(), *(sock.fileno() for sock in self._sockets)]
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "marketmaker.web",
                *map(str, numbers),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=numbers,
                env={name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ},
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            return f"cannot be started: {error.strerror}"
        finally:
            theirs.close()
        try:
            reader, self._writer = await asyncio.open_connection(sock=ours)
            self._send(self._hello())
            async with asyncio.TaskGroup() as group:
                showing = group.create_task(self._keep_showing())
                trouble = await self._hear(reader)
                showing.cancel()
        finally:
            self._watched = 0
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()
            complaint = await self._end(process)
        return trouble or complaint

    async def _end(self, process: asyncio.subprocess.Process) -> str:
        """How it ended, in one line; it is ended where it does not by itself."""
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                _, complaint = await process.communicate()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            _, complaint = await process.communicate()
        lines = complaint.decode("utf-8", "replace").strip().splitlines() if complaint else []
        return f"exit code {process.returncode}{': ' + lines[-1] if lines else ''}"

    def _hello(self) -> Message:
        self._untold.clear()
        return {
            "t": "hello",
            "token": self.token,
            "host": self.host,
            "port": self.port,
            "origins": list(self._settings.origins),
            "news": [plain(each) for each in self._news.recent],
        }

    async def _keep_showing(self) -> None:
        while True:
            began_s = time.perf_counter()
            self._show()
            cost_s = time.perf_counter() - began_s
            wanted_s = WATCHED_S if self._watched else IDLE_S
            pause_s = max(min(wanted_s, self._stale_after_s / LOOKS_BEFORE_STALE), cost_s * COSTLY)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._look_now.wait()
            self._look_now.clear()

    def _show(self) -> None:
        looked = self._overview.look()
        self._stale_after_s = min(
            (row.streams.stale_after_s for row in looked.symbols), default=math.inf
        )
        view = plain(looked)
        news = [plain(each) for each in self._untold]
        self._untold.clear()
        self._send({"t": "view", "view": view, "news": news})

    def _send(self, message: Message) -> None:
        writer = self._writer
        if writer is None or writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() > UNREAD_BYTES:
            writer.transport.abort()
            return
        writer.write(pack(message))

    async def _hear(self, reader: asyncio.StreamReader) -> str:
        """Until the web process closes the link; returns what was wrong with what it said, ""  for nothing."""
        while True:
            try:
                message = await read_message(reader)
            except ValueError as error:
                return f"said what cannot be understood: {error}"
            if message is None:
                return ""
            match message.get("t"):
                case "watched":
                    self._watched = int(message["by"])
                    self._look_now.set()
                case "ask":
                    task = asyncio.get_running_loop().create_task(self._carry_out(message))
                    self._asked.add(task)
                    task.add_done_callback(self._asked.discard)
                case other:
                    return f"said what nobody knows: {other!r}"

    async def _carry_out(self, message: Message) -> None:
        try:
            body: Message | None = plain(await self._deeds[message["do"]](message))
        except Exception as error:
            self._log.error(log_events.WEB_FAILED, asked=message.get("do"), exc_info=error)
            body = None
        self._show()
        self._send({"t": "answer", "id": message["id"], "body": body})


def plain(value: object) -> Message:
    """A frozen reading as JSON values."""
    kind: Any = type(value)
    return encoder_of(kind)(value)
