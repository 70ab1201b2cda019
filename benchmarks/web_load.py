"""What ten thousand requests a second cost trading: the tick-to-order time with and without them, in one run.

    python benchmarks/web_load.py [--seconds 10] [--rounds 5] [--rate 10000]

A paper run is left alone and asked in turn: a client process asks /healthz `rate` times a second over kept connections,
each of which waits for its answer before it asks again. The histogram of tick-to-order times is read before and after
each turn, which makes some thousands of orders. What counts is the p99 of a turn with load divided by that of the turn
without beside it: the median of all rounds, every second of which begins with the load.

Daemon, web process and client share this machine's processors. In earnest the client would lie on another machine: here
it has the lowest priority, does as little as it can, and asks once a millisecond all that is due by then. Beside the times
stands what each took of a second, and how long of each the daemon could have run and had no processor: some tens of
milliseconds without any load mean that somebody else is busy here, and that the figures are theirs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONNECTIONS = 128
BEAT_S = 0.001
ENOUGH = 0.98
"""Of the wanted rate; with less the figures say nothing, and the exit code is 1."""
CONFIG = """
mode: paper
log_level: warning
symbols:
  - name: ETHUSDT
    grid: {{price_interval: 1, order_amount: 600, buy_window: 5}}
paper: {{maker_fee: 0.000001, orders_per_s: 9000, order_burst: 9000, fill: cross}}
execution: {{orders_per_s: 9000, burst: 9000}}
risk: {{enabled: false}}
safety: {{min_positions: 1}}
http: {{listen: "127.0.0.1:{port}"}}
"""
START_MS = 1_700_000_000_000
TICKS_PER_S = 400
FIRST_PRICE = 30_000.5


def write_feed(path: Path, seconds: float) -> None:
    """A price that climbs one level at every tick: each places the nearest entry and cancels the furthest."""
    rows = ["time,price,quantity,is_buyer_maker"]
    for tick in range(int(seconds * TICKS_PER_S)):
        rows.append(f"{START_MS + tick * 1000 // TICKS_PER_S},{FIRST_PRICE + tick},0.001,0")
    path.write_text("\n".join(rows) + "\n")


def ask_steadily(port: int, rate: float, seconds: float) -> int:
    """Returns how many were answered with 200. As little work as a client can have: what it takes, trading may lack.

    Once a millisecond it reads what was answered and asks what is due by then, each connection one thing at a time;
    what could not be asked for want of a free connection is made up for.
    """
    request = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    free = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    by_number = {connection.fileno(): connection for connection in free}
    poll = select.epoll()
    for number, connection in by_number.items():
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(number, select.EPOLLIN)
    unread = dict.fromkeys(by_number, b"")
    began_s = time.monotonic()
    asked = answered = 0
    while (gone_s := time.monotonic() - began_s) < seconds:
        while free and asked < gone_s * rate:
            free.pop().send(request)
            asked += 1
        time.sleep(BEAT_S)
        for number, _ in poll.poll(0, CONNECTIONS):
            text = unread[number] + by_number[number].recv(1 << 16)
            head, found, body = text.partition(b"\r\n\r\n")
            if not found or len(body) < length_of(head):
                unread[number] = text
                continue
            unread[number] = b""
            answered += head.startswith(b"HTTP/1.1 200 ")
            free.append(by_number[number])
    return answered


@lru_cache(maxsize=64)
def length_of(head: bytes) -> int:
    return int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])


def load(port: int, rate: float, seconds: float, answered: Any, took_s: Any) -> None:
    """A process of its own, that gives way; in earnest it would not be on this machine."""
    os.nice(19)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    answered.value = ask_steadily(port, rate, seconds)
    took_s.value = time.process_time()


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What one turn showed: orders by bucket of their time, and how the daemon's thread fared."""

    samples: list[int]
    seconds: float
    waited_s: float
    ran_s: float
    web_s: float


def ran_and_waited(pid: int) -> tuple[float, float]:
    """Seconds on a processor, and seconds in which the main thread could have run and had none."""
    ran_ns, waited_ns, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(ran_ns) / 1e9, int(waited_ns) / 1e9


def take_turn(args: argparse.Namespace, pids: tuple[int, int], during: Callable[[], None]) -> Turn:
    before, began_s = counts(args.port), time.monotonic()
    (ran_s, waited_s), (web_s, _) = (ran_and_waited(pid) for pid in pids)
    during()
    (ran_now_s, waited_now_s), (web_now_s, _) = (ran_and_waited(pid) for pid in pids)
    seconds = time.monotonic() - began_s
    time.sleep(1.2)  # the next reading
    return Turn(
        samples=[now - then for then, now in zip(before, counts(args.port), strict=True)],
        seconds=seconds,
        waited_s=waited_now_s - waited_s,
        ran_s=ran_now_s - ran_s,
        web_s=web_now_s - web_s,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
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
            return measure(args, daemon.pid)
        finally:
            daemon.terminate()
            daemon.wait(60)


def measure(args: argparse.Namespace, daemon: int) -> int:
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
    (web,) = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
    pids = (daemon, int(web))
    answered, took_s = multiprocessing.Value("q", 0), multiprocessing.Value("d", 0.0)
    rates: list[float] = []
    turns: dict[str, list[Turn]] = {"quiet": [], "loaded": []}

    def ask_all() -> None:
        client = multiprocessing.Process(
            target=load, args=(args.port, args.rate, args.seconds, answered, took_s)
        )
        client.start()
        client.join()
        if client.exitcode:
            raise SystemExit("the client failed")
        rates.append(answered.value / args.seconds)

    for number in range(args.rounds):
        order = ("quiet", "loaded") if number % 2 == 0 else ("loaded", "quiet")
        for kind in order:
            during = ask_all if kind == "loaded" else partial(time.sleep, args.seconds)
            turns[kind].append(take_turn(args, pids, during))
        quiet, loaded = turns["quiet"][-1], turns["loaded"][-1]
        print(
            f"round {number + 1}: "
            + "; ".join(
                f"{kind} p50 {quantile(edges, turn.samples, 0.5) * 1e6:.0f} "
                f"p99 {quantile(edges, turn.samples, 0.99) * 1e6:.0f} us of {sum(turn.samples)} orders, "
                f"ran {turn.ran_s / turn.seconds * 1e3:.0f} waited {turn.waited_s / turn.seconds * 1e3:.1f} ms/s"
                for kind, turn in (("quiet", quiet), ("loaded", loaded))
            )
            + f"; {rates[-1]:.0f} requests a second answered, for which web ran {loaded.web_s / loaded.seconds * 1e3:.0f} "
            f"and the client {took_s.value / args.seconds * 1e3:.0f} ms/s",
            flush=True,
        )
    for share in (0.5, 0.9, 0.99):
        ratios = [
            quantile(edges, loaded.samples, share) / quantile(edges, quiet.samples, share)
            for quiet, loaded in zip(turns["quiet"], turns["loaded"], strict=True)
        ]
        pooled = [
            quantile(
                edges, [sum(each) for each in zip(*(t.samples for t in of), strict=True)], share
            )
            for of in (turns["loaded"], turns["quiet"])
        ]
        print(
            f"p{share * 100:g}: loaded / quiet = {median(ratios):.2f}, median of {len(ratios)} rounds "
            f"({min(ratios):.2f} to {max(ratios):.2f}); of all orders together {pooled[0] / pooled[1]:.2f}"
        )
    print(
        f"answered {sum(rates) / len(rates):.0f} requests a second with 200, at least {min(rates):.0f}"
    )
    return 0 if min(rates) > ENOUGH * args.rate else 1


if __name__ == "__main__":
    sys.exit(main())
