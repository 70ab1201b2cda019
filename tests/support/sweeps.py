"""Sweeps for tests: a small market, a Dask cluster of processes, a sweep as a process that can be killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.recordings import trade_columns, write_parquet

CONFIG = """
mode: paper
symbols:
  - name: XRPUSDT
    grid: {price_interval: 0.004, order_amount: 50}
"""
SPACE = """
grid:
  price_interval: {low: 0.001, high: 0.02, step: 0.0005}
  buy_window: {low: 2, high: 20}
  order_amount: {low: 20, high: 100}
"""
PATIENCE_S = 1_500


def market(folder: Path, rows: int = 1_200, seed: int = 4) -> tuple[Path, Path, Path]:
    """(configuration, data, space)"""
    chance, price, prices = random.Random(seed), 14_000.0, []
    for _ in range(rows):
        price += chance.choice((-23, -9, -2, 2, 9, 23)) + (14_000 - price) * 0.004
        prices.append(round(price) / 10_000)
    times = [1_700_000_000_000 + 10_000 * place for place in range(rows)]
    config, space = folder / "config.yaml", folder / "space.yaml"
    config.write_text(CONFIG)
    space.write_text(SPACE)
    data = write_parquet(folder / "xrpusdt.parquet", trade_columns(prices, ts_ms=times))
    return config, data, space


def command(files: tuple[Path, Path, Path], out: Path, *more: object) -> list[str]:
    config, data, space = files
    arguments = [str(config), "--data", str(data), "--space", str(space), "--out", str(out)]
    return ["sweep", *arguments, "--json", *map(str, more)]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "marketmaker", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        assert process is None or process.poll() is None, "ended too soon"
        time.sleep(0.02)


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def children_of(pid: int) -> list[int]:
    """Worker processes: those that multiprocessing spawned."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


class Cluster:
    def __init__(self, address: str, workers: list[subprocess.Popen[bytes]]) -> None:
        self.address = address
        self.workers = workers


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A Dask scheduler and its workers, as processes on this machine."""
    file = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    scheduler = subprocess.Popen(
        [
            *(sys.executable, "-m", "distributed.cli.dask_scheduler"),
            *(
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--no-dashboard",
                "--scheduler-file",
                str(file),
            ),
        ],
        env=environment,
        **quiet,  # type: ignore[call-overload]
    )
    started = [scheduler]
    try:
        wait_until(lambda: file.exists() and bool(file.read_text()))
        address = json.loads(file.read_text())["address"]
        for _ in range(workers):
            started.append(
                subprocess.Popen(
                    [
                        *(sys.executable, "-m", "distributed.cli.dask_worker", address),
                        *("--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"),
                        *("--local-directory", str(folder)),
                    ],
                    env=environment,
                    **quiet,  # type: ignore[call-overload]
                )
            )
        yield Cluster(address, started[1:])
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGKILL)
            process.wait()
