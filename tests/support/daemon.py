"""The daemon as a process of its own: start it, stop it, and read what it leaves behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marketmaker.model.action import CancelOrder, PlaceOrder
from marketmaker.model.event import OrderReported, StopRequested
from marketmaker.model.order import ClientOrderId, OrderStatus
from marketmaker.runtime.journal import JournalEntry, read_journal

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "config.example.yaml"
TIMEOUT_S = 120.0
POLL_S = 0.002

TWO_SYMBOLS = """
mode: paper
symbols:
  - name: ETHUSDT
    grid: {price_interval: 0.5, order_amount: 60, post_only_rejects: 2}
  - name: BTCUSDT
    grid: {price_interval: 8, order_amount: 300, buy_window: 15}
paper: {maker_fee: 0.00001}
"""
"""Levels so narrow, at a fee that allows it, that the synthetic market fills and moves them all the time."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """As a service manager would start it, whoever runs the tests."""
    kept = {k: v for k, v in os.environ.items() if k not in {"NOTIFY_SOCKET", "WATCHDOG_USEC"}}
    return {**kept, **(extra or {})}


@dataclass
class Ended:
    """`summary` is None when none, or half of one, was written."""

    code: int
    out: str
    err: str
    summary: dict[str, Any] | None
    journal: Path
    seconds: float

    @property
    def symbols(self) -> list[dict[str, Any]]:
        assert self.summary is not None
        rows = self.summary["symbols"]
        assert isinstance(rows, list)
        return rows

    def entries(self) -> tuple[tuple[str, ...], list[JournalEntry]]:
        """Names by index, and everything heard and decided."""
        header, entries = read_journal(str(self.journal))
        return tuple(symbol.name for symbol in header.symbols), list(entries)


@dataclass
class Daemon:
    """`marketmaker run` in `folder`, with its journal and its summary there."""

    folder: Path
    config: Path
    options: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ("-m", "marketmaker", "run")
    name: str = "run"

    def __post_init__(self) -> None:
        self.journal = self.folder / f"{self.name}.jsonl"
        self.summary = self.folder / f"{self.name}.json"
        self.process: subprocess.Popen[bytes] | None = None
        self.began_s = 0.0

    def start(self) -> Daemon:
        arguments = [sys.executable, *self.command, str(self.config), *self.options]
        arguments += ["--journal", str(self.journal), "--summary", str(self.summary)]
        self.began_s = time.monotonic()
        with self._file("out").open("wb") as out, self._file("err").open("wb") as err:
            self.process = subprocess.Popen(
                arguments,
                cwd=ROOT,
                env=environment(self.env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        return self

    def wait_until_it_minds_signals(self) -> None:
        """From the first line of the program on; before, there is only an interpreter that loads its own modules."""
        assert self.process is not None
        while self.process.poll() is None and not minds_signals(self.process.pid):
            time.sleep(POLL_S)

    def wait_until_it_trades(self) -> None:
        """The journal is written every 0.2 s."""
        assert self.process is not None
        while self.process.poll() is None and not (
            self.journal.exists() and '"PlaceOrder"' in self.journal.read_text()
        ):
            time.sleep(POLL_S)

    def wait_for_error_output(self, text: str) -> None:
        assert self.process is not None
        while text not in self._file("err").read_text():
            assert self.process.poll() is None, f"ended without {text!r}"
            time.sleep(POLL_S)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def pelt(self, *signals: signal.Signals) -> Ended:
        """All of them every millisecond, until it has ended."""
        while self.process is not None and self.process.poll() is None:
            for each in signals:
                self.send(each)
            time.sleep(0.001)
        return self.finish()

    def finish(self, timeout_s: float = TIMEOUT_S) -> Ended:
        assert self.process is not None
        try:
            code = self.process.wait(timeout_s)
        finally:
            self.kill()
        return Ended(
            code=code,
            out=self._file("out").read_text(),
            err=self._file("err").read_text(),
            summary=self._read_summary(),
            journal=self.journal,
            seconds=time.monotonic() - self.began_s,
        )

    def _read_summary(self) -> dict[str, Any] | None:
        try:
            content = json.loads(self.summary.read_text())
        except (OSError, ValueError):
            return None
        assert isinstance(content, dict)
        return content

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _file(self, kind: str) -> Path:
        return self.folder / f"{self.name}.{kind}"


def run_daemon(
    folder: Path,
    config: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    name: str = "run",
) -> Ended:
    """Until it ends by itself."""
    return Daemon(folder, config, options, env or {}, name=name).start().finish()


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "marketmaker", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def write_config(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def minds_signals(pid: int) -> bool:
    """Whether SIGTERM would not simply kill the process: it is held back or has a handler (Linux tells)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    bit = 1 << (signal.SIGTERM - 1)
    masks = [line.split()[1] for line in status.splitlines() if line[:6] in {"SigBlk", "SigCgt"}]
    return any(int(mask, 16) & bit for mask in masks)


# What every run must leave behind


def problems_of_books(ended: Ended) -> list[str]:
    """What is wrong with the summary of a run that should have ended well."""
    if ended.summary is None:
        return [f"no summary; exit code {ended.code}; {ended.err[-2000:]}{ended.out[-2000:]}"]
    found = []
    if ended.code != 0:
        found.append(f"exit code {ended.code}: {ended.err[-2000:]}")
    for key, wanted in (("open_orders_left", 0), ("equity_residual", 0), ("unconfirmed", [])):
        if ended.summary[key] != wanted:
            found.append(f"{key} is {ended.summary[key]}")
    for row in ended.summary["symbols"]:
        if row["inventory_in_slots"] != row["position"]:
            found.append(
                f"{row['symbol']} holds {row['position']}, slots {row['inventory_in_slots']}"
            )
    if not ended.summary["symbols"]:
        found.append("no symbol in the summary")
    return found


def problems_of_stop(ended: Ended) -> list[str]:
    """What the journal says against an orderly stop: orders placed after it, or still open after the last cancel.

    The venue's side of it is in its reports: when it accepted each order and when it ended each.
    """
    names, entries = ended.entries()
    found = []
    stopped: set[int] = set()
    accepted: dict[int, dict[ClientOrderId, int]] = {}
    over: dict[int, dict[ClientOrderId, int]] = {}
    last_cancel_ns: dict[int, int] = {}
    for entry in entries:
        index, event = entry.symbol_index, entry.event
        if isinstance(event, StopRequested):
            stopped.add(index)
        placed = [action for action in entry.actions if isinstance(action, PlaceOrder)]
        if placed and index in stopped:
            found.append(f"{names[index]} placed after the stop, line {entry.line_number}")
        if not isinstance(event, OrderReported) or event.report.client_order_id is None:
            continue
        name, status, ts_ns = (
            event.report.client_order_id,
            event.report.status,
            event.report.ts_venue_ns,
        )
        accepted.setdefault(index, {}).setdefault(name, ts_ns)
        if status is not OrderStatus.OPEN:
            over.setdefault(index, {})[name] = ts_ns
        if status is OrderStatus.CANCELLED:
            last_cancel_ns[index] = max(last_cancel_ns.get(index, 0), ts_ns)
    if len(stopped) != len(names):
        found.append(f"{len(names) - len(stopped)} symbols never heard of the stop")
    for index, orders in accepted.items():
        left = sorted(set(orders) - set(over.get(index, {})))
        if left:
            found.append(f"{names[index]}: the venue never ended {left}")
        if index in last_cancel_ns and max(orders.values()) > last_cancel_ns[index]:
            found.append(f"{names[index]}: the venue took an order after the last cancel")
    sequences = [
        (entry.symbol_index, action.order.client_order_id)
        for entry in entries
        for action in entry.actions
        if isinstance(action, PlaceOrder)
    ]
    if len(sequences) != len(set(sequences)):
        found.append("a client order id was used twice")
    return found


def cancels_of(entries: list[JournalEntry]) -> int:
    return sum(isinstance(action, CancelOrder) for entry in entries for action in entry.actions)


# Signals at random moments


@dataclass(frozen=True)
class Strike:
    """`after_s` counts from when the process minds signals, or from when it had sent its first orders."""

    number: signal.Signals
    after_s: float
    seed: int
    trading: bool = False

    def __str__(self) -> str:
        since = "the first orders" if self.trading else "the start"
        return f"{self.number.name} {self.after_s:.3f} s after {since}"


def strikes(count: int, seed: int) -> list[Strike]:
    """Half of them while it starts and sends its first orders, half while it trades."""
    rng = random.Random(seed)
    drawn = []
    for place in range(count):
        number = rng.choice((signal.SIGTERM, signal.SIGINT))
        trading = place % 2 == 0
        after_s = rng.uniform(0.0, 2.5 if trading else 0.8)
        drawn.append(Strike(number, after_s, rng.randrange(1_000_000), trading))
    return drawn


def strike(folder: Path, config: Path, blow: Strike) -> Ended:
    daemon = Daemon(folder, config, ("--feed", f"synthetic:{blow.seed}"))
    daemon.start()
    try:
        daemon.wait_until_it_minds_signals()
        if blow.trading:
            daemon.wait_until_it_trades()
        time.sleep(blow.after_s)
        daemon.send(blow.number)
        return daemon.finish()
    finally:
        daemon.kill()


def problems_of_strike(ended: Ended, blow: Strike) -> list[str]:
    found = problems_of_books(ended)
    if ended.summary is not None and ended.summary["exit_reason"] != blow.number.name:
        found.append(f"exit_reason is {ended.summary['exit_reason']!r}")
    return found + problems_of_stop(ended)
