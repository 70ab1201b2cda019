"""How fast the backtest is on recorded trades, beside hftbacktest and a bare numba loop in the same run.

The job of `tests/backtest/test_oracle.py`: a long grid on the XRP trades, 50 USDT a level, fill rule touch. Every
engine runs each case in a process of its own, so that memory is its own; they take turns, `--rounds` times, and the
best of each counts, so that a busy machine disturbs all alike. Rates and ratios are by processor time, wall time stands
beside it. Reading the file and building the index are shown apart. Data more than once in a row is streamed: the
stretch goes by again and again, each time with its own times, and only one is in memory; what a fill costs is shown for
each quarter of the stretches (their median), so that one sees whether it grows.

    make bench-backtest                     what the README quotes; the compiled core where `make compile` built it
    python benchmarks/backtest.py [--data FILE] [--spacing N ...] [--window N ...] [--times N ...] [--mode plain|compiled|both]
                                  [--peers PYTHON] [--no-peers] [--only command|engines] [--json]
    python benchmarks/backtest.py --agree   both drivers on every row, event by event: minutes

`--peers`: the Python in which the extra `bench` (hftbacktest, numba) is installed, if it is not this one.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.peers import LONG_S, unfinished
from marketmaker import compiled
from marketmaker.backtest.arrays import MarketData, load, look_at
from marketmaker.backtest.drive import Bench, drive
from marketmaker.backtest.skip import skip_ahead
from marketmaker.backtesting import rare_collections
from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument
from marketmaker.model.settings import (
    GridSettings,
    InstrumentSettings,
    PaperSettings,
    PostOnlyPolicy,
    WindowFrom,
)
from marketmaker.runtime.retry import refusal_of
from marketmaker.sim.instruments import paper_instrument

ROOT = Path(__file__).resolve().parent.parent
FILE = "xrpusdt-spot-trades-20260317-20260322.parquet"
FOLDER = Path(os.environ.get("MARKETMAKER_DATA") or ROOT.parent / "shared" / "data")
PAPER = PaperSettings(balance=Decimal(10**8), funding_rate=Decimal(0), funding_interval_s=1e9)
NORMAL = 10
"""The spacing at which windows of 10 and repeated data are looked at."""
BUSY = 1
"""Only at this spacing do 10,000 levels fit above zero."""
PEER_TIMES_MAX = 10
"""hftbacktest holds 64 bytes an event several times over: more than this does not fit into memory."""
CONFIG = """
mode: paper
paper: {balance: 100000000}
symbols:
  - name: XRPUSDT
    grid: {price_interval: 0.001, order_amount: 50, buy_window: 10, sell_window: 5000, max_open_orders: 10000,
           place_distance: 0, window_from: below, post_only: "off"}
"""


def job(spacing: int, window: int, instrument: Instrument) -> GridSettings:
    return GridSettings(
        price_interval=instrument.tick_size * spacing,
        order_amount=Decimal(50),
        min_order_value=Decimal(1),
        buy_window=window,
        sell_window=10**6,
        max_open_orders=10**7,
        place_distance=Decimal(0),
        window_from=WindowFrom.BELOW,
        post_only=PostOnlyPolicy.OFF,
    )


def make_bench(
    data: MarketData, spacing: int, window: int, instrument: Instrument, fill: str = "touch"
) -> Bench:
    return Bench(
        data,
        instrument=instrument,
        grid=job(spacing, window, instrument),
        paper=replace(PAPER, fill=fill),
        refusal_of=refusal_of,
    )


def rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """(wall seconds, processor seconds, what `work` answered)."""
    gc.collect()
    began, began_cpu = time.perf_counter(), time.process_time()
    answer = work()
    return time.perf_counter() - began, time.process_time() - began_cpu, answer


# --- one engine, one case: in a process of its own ---


def one_case(args: argparse.Namespace, instrument: Instrument) -> dict[str, Any]:
    spacing, window, times = args.spacing[0], args.window[0], args.times[0]
    path = Path(args.data)
    read = timed(lambda: load(look_at(path, (instrument.name,)), instrument))
    data: MarketData = read[2]
    index_wall_s, index_cpu_s, index = timed(data.index)
    span = int(data.ts_ns[-1] - data.ts_ns[0]) + 1_000_000_000

    a_fill_us: list[float] = []

    def run() -> Bench:
        bench = make_bench(data, spacing, window, instrument)
        a_fill_us.clear()
        for number in range(times):
            fills, began_s = len(bench.fills), time.process_time()
            if number:
                bench.go_on(replace(data, ts_ns=data.ts_ns + span * number))
            skip_ahead(bench, index)
            spent_us = (time.process_time() - began_s) * 1e6
            a_fill_us.append(spent_us / max(len(bench.fills) - fills, 1))
        return bench

    spent: list[tuple[float, float]] = []
    while unfinished([cpu_s for cpu_s, _ in spent], args.repeats):
        with rare_collections():
            wall_s, cpu_s, bench = timed(run)
        spent.append((cpu_s, wall_s))
    cpu_s, wall_s = min(spent)
    books = bench.manager.books
    made = books.realised - books.inventory_cost + bench.manager.price * books.inventory_lots
    return {
        "spacing": spacing,
        "window": window,
        "times": times,
        "rows": len(data) * times,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "fills": len(bench.fills),
        "orders": bench.manager.orders_placed,
        "played": bench.woken,
        "pnl": float(round(made * instrument.quantum - books.fees, 4)),
        "rss_mb": rss_mb(),
        "read_wall_s": read[0],
        "read_cpu_s": read[1],
        "index_wall_s": index_wall_s,
        "index_cpu_s": index_cpu_s,
        "quarters_us": quarters(a_fill_us),
    }


def quarters(values: list[float]) -> list[float]:
    """The median of each quarter, first to last; nothing where there are fewer than eight."""
    size = len(values) // 4
    if size < 2:
        return []
    return [median(values[size * place : size * (place + 1)]) for place in range(4)]


# --- all of them, side by side ---


def modes(wanted: str) -> Iterator[str]:
    """Which of plain and compiled are measured."""
    try:
        compiled.check_build(compiled.BUILD)
    except ConfigError as error:
        if wanted == "compiled":
            raise
        print(f"plain Python only: {error}", file=sys.stderr)
        yield "plain"
        return
    if wanted in ("plain", "both"):
        yield "plain"
    if wanted in ("compiled", "both", "best"):
        yield "compiled"


def child(command: list[str], mode: str = "plain") -> dict[str, Any] | None:
    """What the process printed; None, with a line on stderr, when it could not."""
    environment = os.environ | {compiled.VARIABLE: "1" if mode == "compiled" else "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1], file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def cases(args: argparse.Namespace) -> Iterator[tuple[int, int, int]]:
    """(spacing, window, times)."""
    first = args.window[0]
    for spacing in args.spacing:
        yield spacing, first, 1
    for window in args.window[1:]:
        yield min(args.spacing), window, 1
    for times in args.times:
        if times > 1:
            yield NORMAL, first, times


def side_by_side(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    ours = list(modes(args.mode))
    peers = [] if args.no_peers else ["hftbacktest", "numba"]
    for spacing, window, times in cases(args):
        case = ["--spacing", str(spacing), "--window", str(window), "--times", str(times)]
        case += ["--data", str(args.data), "--repeats", str(args.repeats)]
        commands = {
            f"marketmaker {mode}": ([sys.executable, __file__, "--one", *case], mode)
            for mode in ours
        }
        if times <= PEER_TIMES_MAX:
            script = str(ROOT / "benchmarks" / "peers.py")
            commands |= {peer: ([args.peers, script, peer, *case], "plain") for peer in peers}
        best: dict[str, dict[str, Any]] = {}
        for number in range(args.rounds):
            for engine, command in list(commands.items()):
                if number and best[engine]["cpu_s"] > LONG_S:
                    continue
                found = child(*command)
                if found is None:
                    del commands[engine]
                    peers = [peer for peer in peers if peer != engine]
                elif engine not in best or found["cpu_s"] < best[engine]["cpu_s"]:
                    best[engine] = {**found, "engine": engine}
        rows = list(best.values())
        fastest = min(
            (row["cpu_s"] for row in rows if row["engine"] == "hftbacktest"), default=None
        )
        for row in rows:
            row["x_hftbacktest"] = None if fastest is None else fastest / row["cpu_s"]
            yield row


def whole_command(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """From the parquet file to the report, as a user has it: start of Python, reading, index, run, result."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(CONFIG, encoding="utf-8")
        recording = Path(folder) / Path(args.data).name
        recording.symlink_to(Path(args.data).resolve())
        command = [sys.executable, "-m", "marketmaker", "backtest", str(config)]
        command += ["--data", str(recording), "--fill", "touch", "--json"]
        command += ["--out", str(Path(folder) / "out")]
        for mode in modes(args.mode):
            environment = os.environ | {compiled.VARIABLE: "1" if mode == "compiled" else "0"}
            for name, more in (
                ("nothing kept", ["--no-cache"]),
                ("first time", []),
                ("converted before", []),
            ):
                spent = []
                for _ in range(args.repeats):
                    if name == "first time":
                        for kept in Path(folder).glob("*.mmcache"):
                            kept.unlink()
                    spent.append(once(command + more, environment))
                wall_s, cpu_s, fills = min(spent)
                yield {
                    "command": f"parquet to HTML report, {mode}, {name}",
                    "wall_s": wall_s,
                    "cpu_s": cpu_s,
                    "fills": fills,
                }


def once(command: list[str], environment: dict[str, str]) -> tuple[float, float, int]:
    """(wall seconds, processor seconds, fills) of the whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall_s, _, done = timed(
        lambda: subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=environment, check=True
        )
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, sum(after[:2]) - sum(before[:2]), json.loads(done.stdout)["fills"]


def agree(args: argparse.Namespace, instrument: Instrument) -> int:
    data = load(look_at(Path(args.data), (instrument.name,)), instrument)
    for spacing in args.spacing:
        for fill in ("cross", "touch", "queue"):
            benches = [make_bench(data, spacing, 10, instrument, fill) for _ in range(2)]
            drive(benches[0])
            skip_ahead(benches[1], data.index())
            same = benches[0].fills == benches[1].fills
            print(
                f"d={spacing} {fill}: {len(benches[0].fills)} fills, {'same' if same else 'DIFFER'}"
            )
            if not same:
                return 1
    return 0


def line_of(row: dict[str, Any]) -> str:
    if "command" in row:
        return f"{row['command']:<46} {row['wall_s']:>7.2f} s (cpu {row['cpu_s']:.2f})  {row['fills']:,} fills"
    ratio = row["x_hftbacktest"]
    line = (
        f"d={row['spacing']:<3} W={row['window']:<6,} x{row['times']:<3} {row['engine']:<21}"
        f"{row['rows'] / row['cpu_s'] / 1e6:>9.2f} M rows/s  cpu {row['cpu_s']:>8.3f} s  wall {row['wall_s']:>8.3f} s"
        f"  {row['fills']:>7,} fills  PnL {row['pnl']:>11,.4f}  RSS {row['rss_mb']:>5.0f} MB"
    )
    if ratio is not None:
        line += f"  {ratio:>7.2f} x hftbacktest"
    if "read_cpu_s" in row:
        line += (
            f"\n{'':<45} of it orders {row['orders']:,}, events played {row['played']:,},"
            f" {row['cpu_s'] / max(row['fills'], 1) * 1e6:.0f} us a fill; before it: file read in"
            f" {row['read_wall_s']:.2f} s (cpu {row['read_cpu_s']:.2f}), index built in"
            f" {row['index_wall_s']:.3f} s (cpu {row['index_cpu_s']:.3f})"
        )
        if row["quarters_us"]:
            each = ", ".join(f"{spent_us:.0f}" for spent_us in row["quarters_us"])
            line += f"\n{'':<45} us a fill in each quarter of the stretches: {each}"
    return line


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=str(FOLDER / FILE))
    parser.add_argument("--spacing", type=int, nargs="+", default=[100, NORMAL, BUSY])
    parser.add_argument("--window", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 40])
    parser.add_argument("--repeats", type=int, default=3, help="at least; the best counts")
    parser.add_argument("--rounds", type=int, default=5, help="in which the engines take turns")
    parser.add_argument("--mode", choices=["plain", "compiled", "both", "best"], default="best")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument(
        "--only",
        choices=["command", "engines"],
        nargs="+",
        default=["command", "engines"],
        help="the whole command, or the engines side by side",
    )
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--agree", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    instrument = paper_instrument("XRPUSDT", InstrumentSettings(), PAPER)
    if not Path(args.data).is_file():
        print(f"{args.data}: no such file; set MARKETMAKER_DATA or give --data", file=sys.stderr)
        return 2
    if args.agree:
        return agree(args, instrument)
    if args.one:
        print(json.dumps(one_case(args, instrument)), flush=True)
        return 0
    pieces = {"command": whole_command, "engines": side_by_side}
    for name in args.only:
        for row in pieces[name](args):
            print(json.dumps(row) if args.json else line_of(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
