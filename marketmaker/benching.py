"""What `marketmaker bench` does: the daemon, as `run` starts it, in this process; the venue with the stopwatch in
another; and probes on the stages between a frame and its order.

A probe reads the clock when a stage begins and when it ends, and takes off what the stages inside it took, so the
figures add up. Probes cost time themselves, some tenths of a microsecond per stage; the latencies that the venue
measured include them, so compare those of `benchmarks/live.py`, which runs without.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from marketmaker import launch
from marketmaker.adapters.binance.adapter import Binance
from marketmaker.adapters.picows_socket import PicowsSocket
from marketmaker.adapters.websocket import Session
from marketmaker.cli import run as run_command
from marketmaker.compiled import in_use
from marketmaker.core.position_manager import PositionManager
from marketmaker.errors import MarketMakerError
from marketmaker.ledger.intake import Intake
from marketmaker.loopback import stopwatch
from marketmaker.runtime.engine import Engine
from marketmaker.runtime.event_queue import EventQueue
from marketmaker.runtime.executor import Executor
from marketmaker.runtime.journal import Journal
from marketmaker.runtime.price_monitor import PriceMonitor

READ, DECIDE, SUBMIT, BUILD, KERNEL = "read", "decide", "submit", "build", "kernel"
WATCH, PUMP, HANDLE, JOURNAL, LEDGER = "watch", "pump", "handle", "journal", "ledger"
ANSWER = "answer"
STAGES = {
    READ: "frame read, decoded, told apart",
    WATCH: "price monitor and queue",
    PUMP: "queue to engine",
    DECIDE: "decision (core)",
    SUBMIT: "executor and rate budget",
    BUILD: "order built and signed",
    KERNEL: "bytes to the kernel",
    ANSWER: "answers heard",
    JOURNAL: "journal, after the bytes",
    LEDGER: "ledger, after the bytes",
    HANDLE: "engine: the rest, after the bytes",
}


class Stages:
    """Time spent in each stage, without that in the stages inside it."""

    def __init__(self) -> None:
        self.spent_ns = dict.fromkeys(STAGES, 0)
        self.counting = False
        self._inside_ns = [0]
        self._thread = threading.get_ident()

    def probe(self, stage: str, owner: Any, name: str) -> None:
        """Puts a probe on a method, on its class, before any object is made of it."""
        inner: Callable[..., Any] = getattr(owner, name)
        spent, inside = self.spent_ns, self._inside_ns

        @wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            inside.append(0)
            began = perf_counter_ns()
            try:
                return inner(*args, **kwargs)
            finally:
                took = perf_counter_ns() - began
                if self.counting:
                    spent[stage] += took - inside.pop()
                else:
                    inside.pop()
                inside[-1] += took

        setattr(owner, name, timed)


def probe_everything(stages: Stages) -> None:
    for stage, owner, name in (
        (READ, Session, "_hear"),
        (WATCH, PriceMonitor, "on_price"),
        (PUMP, EventQueue, "_pump"),
        (HANDLE, Engine, "handle"),
        (DECIDE, PositionManager, "decide"),
        (SUBMIT, Executor, "submit"),
        (BUILD, Binance, "place"),
        (KERNEL, PicowsSocket, "send"),
        (ANSWER, Executor, "_answered"),
        (JOURNAL, Journal, "heard"),
        (JOURNAL, Journal, "decided"),
        (JOURNAL, Journal, "write_down"),
        (LEDGER, Intake, "note"),
    ):
        stages.probe(stage, owner, name)


def names_of(count: int) -> list[str]:
    return ["ETHUSDT", *(f"M{number}USDT" for number in range(2, count + 1))][:count]


@contextmanager
def venue(arguments: list[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """(the venue's process, its port); ended when the block is."""
    process = subprocess.Popen(
        [sys.executable, "-m", "marketmaker.loopback.stopwatch", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline().split()[1])
    finally:
        process.kill()
        process.wait()


def run(args: argparse.Namespace) -> int:
    symbols = names_of(args.symbols)
    stages = Stages()
    probe_everything(stages)
    result: dict[str, Any] = {}
    options = ["--symbols", ",".join(symbols), "--levels", str(args.levels), "--pace", args.pace]
    options += ["--ticks", str(args.ticks), "--max-seconds", str(60 + args.ticks // 20)]
    with tempfile.TemporaryDirectory() as directory, venue(options) as (process, port):
        text = stopwatch.configuration(
            port=port, symbols=symbols, levels=args.levels, directory=directory
        )
        path = Path(directory) / "config.yaml"
        path.write_text(text)
        os.environ.update(stopwatch.environment())
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{os.getpid()}\n")
        process.stdin.flush()
        lines = process.stdout

        def wait() -> None:
            for line in lines:
                if line.startswith("STEADY"):
                    stages.counting = True
                elif line.startswith("RESULT"):
                    stages.counting = False
                    result.update(json.loads(line[7:]))
                    break
            os.kill(os.getpid(), signal.SIGTERM)

        signal.pthread_sigmask(signal.SIG_BLOCK, launch.SIGNALS)
        watcher = threading.Thread(target=wait, daemon=True)
        watcher.start()
        code = daemon(path, began_s=args.began_s)
        watcher.join(1.0)
    if not result.get("orders"):
        raise MarketMakerError(f"the daemon placed nothing (it ended with exit code {code})")
    print(report(result, stages, as_json=args.json))
    return 0


def daemon(path: Path, *, began_s: float) -> int:
    """`marketmaker run PATH`, its words kept out of ours."""
    parser = argparse.ArgumentParser()
    run_command.add_arguments(parser)
    args = parser.parse_args([str(path)])
    args.began_s = began_s
    kept_out, kept_err = os.dup(1), os.dup(2)
    with open(path.with_suffix(".log"), "wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            return launch.run(args)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept_out, 1)
            os.dup2(kept_err, 2)
            os.close(kept_out)
            os.close(kept_err)


def report(result: dict[str, Any], stages: Stages, *, as_json: bool) -> str:
    orders = max(1, result["orders"])
    per_order = {stage: spent / 1000 / orders for stage, spent in stages.spent_ns.items()}
    if as_json:
        told = {"stages_us": {stage: round(us, 2) for stage, us in per_order.items()}}
        return json.dumps({**result, **told}, indent=2)
    latency = result["lat_us"]
    lines = [
        f"{result['orders']} orders; from the trade's first byte to the order's last, in us: "
        f"median {latency['p50']:.0f}, 90 % {latency['p90']:.0f}, 99 % {latency['p99']:.0f}",
        f"CPU per order {result['cpu_us_per_order']:.0f} us, memory {result['rss_mib']:.0f} MiB; "
        f"{'the compiled core' if in_use() else 'plain Python'}",
        "",
        "where it goes, us per order, everything that belongs to one counted (trade, answer, order events):",
    ]
    width = max(map(len, STAGES.values()))
    lines += [f"  {STAGES[stage]:<{width}}  {us:8.1f}" for stage, us in per_order.items()]
    lines.append(f"  {'sum':<{width}}  {sum(per_order.values()):8.1f}")
    if result["faults"]:
        lines.append(f"faults: {result['faults']}")
    return "\n".join(lines)
