"""A long quiet life: many symbols on virtual time, with state, journal and ledger, and what the process holds meanwhile.

    python benchmarks/soak.py                      24 simulated hours, 10 symbols, 40 orders each
    python benchmarks/soak.py --hours 1 --warm-up 0.5 --symbols 2

Every ten simulated minutes tasks, open file descriptors and resident memory are noted. What is kept on purpose (ended
orders, trades, the venue's own lists) has a bound and is full after the warm-up; from then on a straight line is laid
through each figure. Exit code 1 when one of them climbs, or when the books do not balance at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from marketmaker import logs
from marketmaker.app import Application
from marketmaker.config import paper_instruments
from marketmaker.core import readings
from marketmaker.errors import ConfigError
from marketmaker.model.settings import (
    ExecutionSettings,
    GridSettings,
    GridSide,
    InstrumentSettings,
    PaperSettings,
    RiskSettings,
    SafetySettings,
    Settings,
    SymbolSettings,
)
from marketmaker.runtime.notify import Notifier
from marketmaker.sim import exchange
from marketmaker.sim.instruments import LISTINGS
from marketmaker.sim.loop import LoopClock, VirtualTimeLoop
from marketmaker.sim.synthetic import SyntheticFeed
from marketmaker.sim.venue import PaperExchange
from marketmaker.summary import RunReport, summary

START_NS = 1_767_225_600_000_000_000
SAMPLE_S = 600
MIB = 1024 * 1024
MOST_MIB_PER_H = 0.5
MOST_PER_H = 0.05
VENUE_KEEPS = 2_000
"""Ended orders and trades of a symbol that the exchange inside this process remembers: full within the warm-up."""
SHARED_MEMORY = "/dev/shm"
"""Virtual time asks for a day's worth of fsync in minutes."""


@dataclass(slots=True, kw_only=True)
class Sample:
    hour: float
    tasks: float
    fds: float
    rss_mib: float
    open_orders: int
    fills: int


@dataclass(slots=True, kw_only=True)
class Watch:
    """`samples` in order of time."""

    app: Application
    began_s: float
    samples: list[Sample] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            gc.collect()
            self.samples.append(self.look())
            if len(self.samples) % 6 == 0:
                print(shown(self.samples[-1], self.began_s), flush=True)

    def look(self) -> Sample:
        totals = [readings.totals(symbol.manager) for symbol in self.app.symbols]
        return Sample(
            hour=asyncio.get_running_loop().time() / 3600,
            tasks=len(asyncio.all_tasks()),
            fds=len(os.listdir("/proc/self/fd")),
            rss_mib=resident_bytes() / MIB,
            open_orders=sum(each.open_orders for each in totals),
            fills=sum(each.fills for each in totals),
        )


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def shown(sample: Sample, began_s: float) -> str:
    return (
        f"{sample.hour:5.1f} h  tasks {sample.tasks:4.0f}  fds {sample.fds:3.0f}  rss {sample.rss_mib:7.1f} MiB  "
        f"orders {sample.open_orders:4d}  fills {sample.fills:7d}  after {time.perf_counter() - began_s:6.0f} s"
    )


def slope_per_h(samples: Sequence[Sample], name: str) -> float:
    """Of the straight line with the least squares."""
    hours = [sample.hour for sample in samples]
    values = [getattr(sample, name) for sample in samples]
    middle, mean = sum(hours) / len(hours), sum(values) / len(values)
    spread = sum((hour - middle) ** 2 for hour in hours)
    return (
        sum((hour - middle) * (value - mean) for hour, value in zip(hours, values, strict=True))
        / spread
    )


INTERVALS = {
    "ETHUSDT": "3",
    "BTCUSDT": "60",
    "SOLUSDT": "0.15",
    "XRPUSDT": "0.0014",
    "DOGEUSDT": "0.00015",
    "APEUSDT": "0.001",
    "FILUSDT": "0.004",
    "AAAUSDT": "0.1",
    "BBBUSDT": "0.1",
    "CCCUSDT": "0.1",
}
"""About 0.1 % of each price: the synthetic market crosses a level every few seconds."""
UNLISTED = InstrumentSettings(tick_size=Decimal("0.001"), lot_size=Decimal("0.01"))
LISTED = InstrumentSettings()


def make_settings(symbols: int, folder: str) -> Settings:
    """Neutral grids, 20 orders to each side."""
    return Settings(
        mode="paper",
        exchange="paper",
        bot_tag="mm1",
        symbols=tuple(
            SymbolSettings(
                name=name,
                grid=GridSettings(
                    side=GridSide.NEUTRAL,
                    price_interval=Decimal(interval),
                    order_amount=Decimal(150),
                    buy_window=20,
                    sell_window=20,
                ),
                instrument=LISTED if name in LISTINGS else UNLISTED,
            )
            for name, interval in list(INTERVALS.items())[:symbols]
        ),
        paper=PaperSettings(
            balance=Decimal(5_000_000), maker_fee=Decimal("0.00005"), orders_per_s=200.0
        ),
        execution=ExecutionSettings(orders_per_s=200.0, burst=60),
        risk=RiskSettings(enabled=False),
        safety=SafetySettings(min_positions=1),
        state_dir=f"{folder}/state",
        journal=f"{folder}/journal.jsonl.gz",
        ledger=f"sqlite:///{folder}/ledger.db",
    )


async def live(settings: Settings, hours: float, loop: VirtualTimeLoop) -> tuple[RunReport, Watch]:
    began_s = time.perf_counter()
    venue = PaperExchange(
        settings=settings.paper,
        instruments=paper_instruments(settings),
        feed=SyntheticFeed(7, tuple(symbol.name for symbol in settings.symbols), START_NS),
        bot_tag=settings.bot_tag,
        now_ns=lambda: loop.now_ns,
    )
    app = Application(
        settings=settings,
        adapter=venue,
        clock=LoopClock(loop),
        notifier=Notifier({}),
        explain=lambda problems: ConfigError("\n".join(problems)),
        began_s=began_s,
    )
    watch = Watch(app=app, began_s=began_s)
    watching = asyncio.create_task(watch.run())
    loop.call_later(hours * 3600, app.stop, "duration")
    try:
        return await app.run(), watch
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--warm-up", type=float, default=8.0, help="hours that are not judged")
    parser.add_argument("--symbols", type=int, default=10, choices=range(1, len(INTERVALS) + 1))
    args = parser.parse_args()
    logs.configure("error", tty=False, now_ns=time.time_ns)
    exchange.ENDED_KEPT, exchange.FILLS_KEPT = VENUE_KEEPS, VENUE_KEEPS
    memory = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="marketmaker-soak-", dir=memory) as folder:
        loop = VirtualTimeLoop(START_NS)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            report, watch = runner.run(live(make_settings(args.symbols, folder), args.hours, loop))
        size_mib = (
            sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / MIB
        )
    return judge(report, watch, args.warm_up, size_mib)


def judge(report: RunReport, watch: Watch, warm_up_h: float, size_mib: float) -> int:
    judged = [sample for sample in watch.samples if sample.hour >= warm_up_h]
    if len(judged) < 3:
        print(f"only {len(judged)} samples after the warm-up: nothing to judge", file=sys.stderr)
        return 1
    content = summary(report)
    orders = sum(sample.open_orders for sample in judged) / len(judged) / len(watch.app.symbols)
    print(
        f"{judged[-1].hour:.1f} simulated hours, {len(watch.app.symbols)} symbols, {orders:.1f} orders each,"
        f" {judged[-1].fills} fills, {size_mib:.0f} MiB of journal and ledger"
    )
    code = 0
    for name, unit, most in (
        ("tasks", "tasks", MOST_PER_H),
        ("fds", "descriptors", MOST_PER_H),
        ("rss_mib", "MiB", MOST_MIB_PER_H),
    ):
        slope = slope_per_h(judged, name)
        values = [getattr(sample, name) for sample in judged]
        verdict = "flat" if slope <= most else "CLIMBS"
        code = code if slope <= most else 1
        print(
            f"slope of {name:8s} {slope:+.4f} {unit}/h after {warm_up_h:g} h"
            f"  (from {values[0]:.1f} to {values[-1]:.1f}, {min(values):.1f} to {max(values):.1f}): {verdict}"
        )
    residual, left = content["equity_residual"], content["open_orders_left"]
    print(f"equity residual {residual}, orders left open {left}, exit code {report.exit_code}")
    return code or int(residual != 0 or left != 0 or report.exit_code != 0)


if __name__ == "__main__":
    sys.exit(main())
