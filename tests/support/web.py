"""A paper run with its HTTP, as a process of its own, and a small client for it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon, write_config

TOKEN = "not-a-secret-but-long-enough"
WITHIN_S = 60.0
PAPER = """
mode: paper
symbols:
  - name: ETHUSDT
    grid: {price_interval: 0.5, order_amount: 60}
  - name: BTCUSDT
    grid: {price_interval: 8, order_amount: 300, buy_window: 15}
paper: {maker_fee: 0.00001}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class StoppedClock:
    """Stands where a module has `time`, and goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def monotonic_ns(self) -> int:
        return round(self.now_s * 1e9)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """One running daemon's HTTP."""

    daemon: Daemon
    port: int
    token: str = TOKEN

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`token` None sends none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN_S)
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        text = None
        if body is not None:
            text = body if isinstance(body, str | bytes) else json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, text, sent)
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())
        finally:
            connection.close()

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def act(self, what: str, **body: Any) -> Any:
        answer = self.ask("POST", f"/control/{what}", token=self.token, body=body)
        assert answer.status == 200, answer.body
        return answer.json

    def status(self, symbol: str = "ETHUSDT") -> Any:
        """The row of one symbol."""
        rows = self.get("/status").json["symbols"]
        return next(row for row in rows if row["symbol"] == symbol)

    def until(self, condition: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
            assert self.daemon.process is not None
            assert self.daemon.process.poll() is None, "the daemon ended"
            time.sleep(0.05)

    def is_up(self) -> bool:
        try:
            return self.get("/readyz").status == 200
        except OSError:
            return False


@contextmanager
def serving(
    folder: Path,
    text: str = PAPER,
    *options: str,
    token: str = TOKEN,
    env: Mapping[str, str] | None = None,
    command: tuple[str, ...] = ("-m", "marketmaker", "run"),
) -> Iterator[Site]:
    """A daemon that trades and serves; ended in good order at the end unless the test has."""
    port = free_port()
    http_section = f'http: {{listen: "127.0.0.1:{port}"{f", token: {token}" if token else ""}}}\n'
    config = write_config(folder, text + http_section)
    daemon = Daemon(folder, config, options or ("--feed", "synthetic:7"), env or {}, command)
    daemon.start()
    site = Site(daemon, port, token)
    try:
        site.until(site.is_up, "ready")
        yield site
    finally:
        daemon.kill()
