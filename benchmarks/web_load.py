"""What ten thousand requests a second cost trading: the tick-to-order time with and without them, in one run.

    python benchmarks/web_load.py [--seconds 10] [--rounds 3] [--rate 10000]

A paper run is left alone and asked in turn: a client process asks /healthz `rate` times a second over kept connections,
each of which waits for its answer before it asks again. The histogram of tick-to-order times is read before and after
each turn. What counts is the ratio of the p99 of all turns with load to that of all turns without. Needs two processors
that nobody else uses: daemon, web process and client share them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, cast

import uvloop

ROOT = Path(__file__).resolve().parents[1]
CONNECTIONS = 128
BEAT_S = 0.001
CONFIG = """
mode: paper
symbols:
  - name: ETHUSDT
    grid: {{price_interval: 1, order_amount: 60, buy_window: 5}}
paper: {{maker_fee: 0.000001, orders_per_s: 1000, order_burst: 1000, fill: cross}}
execution: {{orders_per_s: 1000, burst: 1000}}
risk: {{enabled: false}}
safety: {{min_positions: 1}}
http: {{listen: "127.0.0.1:{port}"}}
"""
START_MS = 1_700_000_000_000
TICK_EVERY_MS = 10


def write_feed(path: Path, seconds: float) -> None:
    """A price that climbs and falls through the levels, one level at every tick: each tick moves orders."""
    rows = ["time,price,quantity,is_buyer_maker"]
    for tick in range(int(seconds * 1000 / TICK_EVERY_MS)):
        level = tick % 400
        price = 3000.5 + (level if level < 200 else 400 - level)
        rows.append(f"{START_MS + tick * TICK_EVERY_MS},{price},0.001,{level >= 200:d}")
    path.write_text("\n".join(rows) + "\n")


class Pace:
    """So many requests a second, no more; what could not be asked in time is made up for."""

    def __init__(self, rate: float, seconds: float) -> None:
        self._rate = rate
        self._seconds = seconds
        self._began_s = time.monotonic()
        self._asked = 0

    @property
    def left_s(self) -> float:
        return self._began_s + self._seconds - time.monotonic()

    def takes(self) -> bool:
        """Whether one more is due now, which then counts as asked."""
        gone_s = min(time.monotonic() - self._began_s, self._seconds)
        if self._asked >= gone_s * self._rate:
            return False
        self._asked += 1
        return True


class Client(asyncio.Protocol):
    """One kept connection: asks when it is due and its last request was answered. `free` holds those that wait to be due."""

    def __init__(self, request: bytes, pace: Pace, free: list[Client]) -> None:
        self.answered = 0
        self._request = request
        self._pace = pace
        self._free = free
        self._transport: asyncio.Transport | None = None
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._free.append(self)

    def go_on(self) -> bool:
        """False when nothing is due."""
        assert self._transport is not None
        due = self._pace.takes()
        if due:
            self._transport.write(self._request)
        return due

    def data_received(self, data: bytes) -> None:
        self._unread += data
        head, found, body = self._unread.partition(b"\r\n\r\n")
        length = head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
        if not found or len(body) < int(length):
            return
        self._unread = b""
        self.answered += head.startswith(b"HTTP/1.1 200 ")
        if not self.go_on():
            self._free.append(self)


async def ask_steadily(port: int, rate: float, seconds: float) -> int:
    """Returns how many were answered with 200."""
    loop = asyncio.get_running_loop()
    request = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    free: list[Client] = []
    pace = Pace(rate, seconds)
    clients = [
        (await loop.create_connection(lambda: Client(request, pace, free), "127.0.0.1", port))[1]
        for _ in range(CONNECTIONS)
    ]
    while pace.left_s > 0:
        while free and free[-1].go_on():
            free.pop()
        await asyncio.sleep(BEAT_S)
    return sum(client.answered for client in clients)


def load(port: int, rate: float, seconds: float, answered: Any) -> None:
    """A process of its own, that gives way; in earnest it would not be on this machine."""
    os.nice(19)
    answered.value = uvloop.run(ask_steadily(port, rate, seconds))


def counts(port: int) -> list[int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=30) as answer:
        latency = json.load(answer)["latency"]
    counts_: list[int] = latency["counts"]
    return counts_


def bounds(port: int) -> list[float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=30) as answer:
        found: list[float] = json.load(answer)["latency"]["bounds_s"]
    return found


def quantile(edges: list[float], samples: list[int], share: float) -> float:
    """Within a bucket, as if the samples lay evenly."""
    wanted, seen, low = share * sum(samples), 0.0, 0.0
    for edge, count in zip(edges, samples, strict=False):
        if count and seen + count >= wanted:
            return low + (edge - low) * (wanted - seen) / count
        seen += count
        low = edge
    return edges[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--port", type=int, default=18420)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(CONFIG.format(port=args.port))
        feed = Path(folder) / "trades.csv"
        write_feed(feed, args.rounds * (2 * args.seconds + 10) + 60)
        daemon = subprocess.Popen(
            [sys.executable, "-m", "marketmaker", "run", str(config), "--feed", str(feed)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        try:
            return measure(args)
        finally:
            daemon.terminate()
            daemon.wait(60)


def measure(args: argparse.Namespace) -> int:
    deadline = time.monotonic() + 60
    while True:
        try:
            edges = bounds(args.port)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    time.sleep(3)
    quiet, loaded = [0] * (len(edges) + 1), [0] * (len(edges) + 1)
    answered = multiprocessing.Value("q", 0)
    total = 0
    for turn in range(args.rounds):
        for samples, rate in ((quiet, 0.0), (loaded, args.rate)):
            before = counts(args.port)
            if rate:
                client = multiprocessing.Process(
                    target=load, args=(args.port, rate, args.seconds, answered)
                )
                client.start()
                client.join()
                total += answered.value
            else:
                time.sleep(args.seconds)
            time.sleep(1.2)
            for place, (then, now) in enumerate(zip(before, counts(args.port), strict=True)):
                samples[place] += now - then
        print(
            f"round {turn + 1}: quiet p99 {quantile(edges, quiet, 0.99) * 1e6:.0f} us of {sum(quiet)}, "
            f"loaded p99 {quantile(edges, loaded, 0.99) * 1e6:.0f} us of {sum(loaded)}, "
            f"{answered.value / args.seconds:.0f} requests a second answered",
            flush=True,
        )
    rate = total / (args.rounds * args.seconds)
    for share in (0.5, 0.9, 0.99):
        ratio = quantile(edges, loaded, share) / quantile(edges, quiet, share)
        print(f"p{share * 100:g}: loaded / quiet = {ratio:.2f}")
    print(f"answered {rate:.0f} requests a second with 200")
    return 0


if __name__ == "__main__":
    sys.exit(main())
