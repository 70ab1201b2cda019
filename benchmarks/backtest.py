"""How fast the backtest is on recorded trades, beside a bare loop over the same rows in the same run.

The job of `tests/backtest/test_oracle.py`: a long grid on the XRP trades, 50 USDT a level. Reading the file and
building the index are timed apart. Each case prints input rows per second, wall time, the processor time in it, events
played, fills and the peak memory of the process so far; the ratio is its processor time as a multiple of the bare
loop's: a compiled one where numba is installed, else one pass of numpy over the prices.

    python benchmarks/backtest.py [--data FILE] [--times N ...] [--spacing N ...] [--window N ...] [--json]
    python benchmarks/backtest.py --agree     both drivers on every row, event by event: minutes
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from marketmaker.backtest.arrays import MarketData, from_trades, load, look_at
from marketmaker.backtest.drive import Bench, drive
from marketmaker.backtest.skip import skip_ahead
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
PAPER = PaperSettings(
    balance=Decimal(10**9),
    funding_rate=Decimal(0),
    funding_interval_s=1e9,
)


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


def repeated(data: MarketData, times: int) -> MarketData:
    """The stretch over and over, a second apart."""
    if times == 1:
        return data
    span = int(data.ts_ns[-1] - data.ts_ns[0]) + 1_000_000_000
    ts_ns = np.concatenate([data.ts_ns + span * number for number in range(times)])
    return from_trades(data.symbol, ts_ns, np.tile(data.price, times), np.tile(data.qty, times))


def bare_loop() -> tuple[str, Callable[[Any, int], int]]:
    """(name, loop over prices that counts level crossings at a spacing)."""
    try:
        from numba import njit  # noqa: PLC0415  (optional)
    except ImportError:

        def passed(prices: Any, spacing: int) -> int:
            levels = (prices - prices[0] - 1) // spacing
            return int((levels[1:] != levels[:-1]).sum())

        return "numpy", passed

    @njit
    def walked(prices: Any, spacing: int) -> int:
        count, last = 0, (prices[0] - prices[0] - 1) // spacing
        for price in prices:
            level = (price - prices[0] - 1) // spacing
            if level != last:
                count += 1
                last = level
        return count

    return "numba", walked


def rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """(wall seconds, processor seconds, what `work` answered)."""
    gc.collect()
    began, began_cpu = time.perf_counter(), time.process_time()
    answer = work()
    return time.perf_counter() - began, time.process_time() - began_cpu, answer


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


def measure(args: argparse.Namespace, instrument: Instrument) -> Iterator[dict[str, Any]]:
    path = Path(args.data)
    read_s, _, data = timed(lambda: load(look_at(path, (instrument.name,)), instrument))
    yield {"what": "read file", "rows": len(data), "wall_s": read_s, "rss_mb": rss_mb()}
    name, loop = bare_loop()
    loop(data.price[:1_000], 10)
    for times in args.times:
        rows = repeated(data, times)
        index_s, _, index = timed(rows.index)
        yield {"what": f"index x{times}", "rows": len(rows), "wall_s": index_s, "rss_mb": rss_mb()}
        for spacing in args.spacing:
            _, loop_s, _ = timed(lambda rows=rows, spacing=spacing: loop(rows.price, spacing))
            for window in args.window:
                bench = make_bench(rows, spacing, window, instrument)
                wall_s, cpu_s, _ = timed(lambda bench=bench, index=index: skip_ahead(bench, index))
                yield {
                    "what": f"d={spacing} W={window} x{times}",
                    "rows": len(rows),
                    "wall_s": wall_s,
                    "cpu_s": cpu_s,
                    "rows_per_s": len(rows) / wall_s,
                    "played": bench.woken,
                    "fills": len(bench.fills),
                    "us_per_played": cpu_s / bench.woken * 1e6,
                    "x_loop": cpu_s / loop_s,
                    "loop": name,
                    "rss_mb": rss_mb(),
                }


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", default=str(FOLDER / FILE))
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--spacing", type=int, nargs="+", default=[100, 10, 1])
    parser.add_argument("--window", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    parser.add_argument("--agree", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    instrument = paper_instrument("XRPUSDT", InstrumentSettings(), PAPER)
    if args.agree:
        return agree(args, instrument)
    for row in measure(args, instrument):
        if args.json:
            print(json.dumps(row), flush=True)
        elif "played" not in row:
            print(
                f"{row['what']:<22} {row['rows']:>11,} rows {row['wall_s']:>8.3f} s"
                f"  RSS {row['rss_mb']:.0f} MB",
                flush=True,
            )
        else:
            print(
                f"{row['what']:<22} {row['rows_per_s'] / 1e6:>8.2f} M rows/s {row['wall_s']:>8.3f} s"
                f" (cpu {row['cpu_s']:.3f})  {row['played']:>9,} played  {row['fills']:>9,} fills"
                f"  {row['us_per_played']:>6.1f} us each  {row['x_loop']:>8.1f} x {row['loop']}"
                f"  RSS {row['rss_mb']:.0f} MB",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
