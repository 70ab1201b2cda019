"""Stops the daemon with SIGTERM or SIGINT at random moments, many times, and says what each run left behind.

    python scripts/random_signals.py --runs 200

Exit code 0 when every run ended with exit code 0, with no order open and none sent after the last cancel, and with its
books equal to the exchange's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.daemon import (  # noqa: E402
    TWO_SYMBOLS,
    Ended,
    Strike,
    problems_of_strike,
    strike,
    strikes,
    write_config,
)

STEP_S = 0.2
NAME_WIDTH = 24


def run_one(folder: Path, blow: Strike) -> Ended:
    folder.mkdir()
    return strike(folder, write_config(folder, TWO_SYMBOLS), blow)


def bucket(blow: Strike) -> str:
    since = "first orders" if blow.trading else "start"
    return f"{since} + {int(blow.after_s / STEP_S) * STEP_S:.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=4)
    args = parser.parse_args()
    blows = strikes(args.runs, args.seed)
    rows: dict[str, Counter[str]] = {}
    bad: list[str] = []
    with tempfile.TemporaryDirectory() as top, ThreadPoolExecutor(args.at_once) as pool:
        folders = [Path(top) / str(place) for place in range(len(blows))]
        for place, ended in enumerate(pool.map(run_one, folders, blows)):
            blow = blows[place]
            problems = problems_of_strike(ended, blow)
            bad += [f"run {place} ({blow}): {what}" for what in problems]
            row = rows.setdefault(bucket(blow), Counter())
            row["runs"] += 1
            row[blow.number.name] += 1
            row["exit 0"] += ended.code == 0
            row["with problems"] += bool(problems)
            for symbol in ended.symbols if ended.summary is not None else []:
                row["orders"] += symbol["orders_placed"]
                row["fills"] += symbol["fills"]
            row["left open"] += (ended.summary or {}).get("open_orders_left") or 0
            if sys.stderr.isatty():
                print(f"\r{place + 1}/{len(blows)}", end="", file=sys.stderr, flush=True)
    print_table(rows)
    for what in bad:
        print(what)
    return 1 if bad else 0


def print_table(rows: dict[str, Counter[str]]) -> None:
    columns = (
        "runs",
        "SIGTERM",
        "SIGINT",
        "exit 0",
        "orders",
        "fills",
        "left open",
        "with problems",
    )
    print(f"{'signal':{NAME_WIDTH}}" + "".join(f"{column:>14}" for column in columns))
    total: Counter[str] = Counter()
    for name in sorted(rows):
        total.update(rows[name])
        print(f"{name:{NAME_WIDTH}}" + "".join(f"{rows[name][column]:>14}" for column in columns))
    print(f"{'all':{NAME_WIDTH}}" + "".join(f"{total[column]:>14}" for column in columns))


if __name__ == "__main__":
    sys.exit(main())
