"""Who computes a trial: this process, processes of this machine, or a Dask cluster.

A trial travels as a grid and comes back as a few numbers. The data does not travel: every worker maps the converted
copy of the recording that lies beside it, or reads the recording where there is none, once. On a cluster the files
therefore have to be at the same paths everywhere, and hold the same.

A worker that dies takes no trial with it: what it had in hand is given to another one. Trials that kill three workers
in a row without any other being finished end the sweep.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib import import_module
from itertools import pairwise
from multiprocessing.connection import wait
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Protocol
from uuid import uuid4

import numpy as np

from marketmaker import backtesting
from marketmaker.backtest import arrays
from marketmaker.backtest.arrays import MarketData
from marketmaker.backtest.curve import steps_of, walk
from marketmaker.backtest.figures import round_trips
from marketmaker.backtest.funding import RecordedFunding
from marketmaker.backtest.index import PriceIndex
from marketmaker.backtest.skip import skip_ahead
from marketmaker.errors import ConfigError, MarketMakerError
from marketmaker.model.instrument import Instrument
from marketmaker.model.settings import GridSettings, PaperSettings
from marketmaker.sweep.store import Part

BREAKS_MAX = 3
REACH_S = 10
Done = Callable[[int, tuple[Part, ...]], None]
Work = Sequence[tuple[int, GridSettings]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What all trials of a sweep share. `options`: those of `backtest` that say how the data is read and matched.

    `rows`: what the data must hold. `parts`: into how many the data is cut, equally many rows each.
    """

    instrument: Instrument
    paper: PaperSettings
    cleanup_interval_s: float
    funding: RecordedFunding | None
    options: argparse.Namespace
    rows: int
    parts: int
    identity: str

    def __reduce__(self) -> tuple[Callable[..., Job], tuple[dict[str, Any], dict[str, Any]]]:
        """On its way to a worker: compiled records, as the instrument's is, are made anew there from their values."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        instrument = own.pop("instrument")
        values = {each.name: getattr(instrument, each.name) for each in fields(instrument)}
        return unpacked, (own, {name: values[name] for name in values if name not in DERIVED})


DERIVED = {each.name for each in fields(Instrument) if not each.init}


def unpacked(own: dict[str, Any], instrument: dict[str, Any]) -> Job:
    return Job(instrument=Instrument(**instrument), **own)


def cuts(rows: int, parts: int) -> list[tuple[int, int]]:
    edges = np.linspace(0, rows, parts + 1).round().astype(int).tolist()
    return list(pairwise(edges))


class _Loaded:
    """The parts of one job's data, kept by a process for its next trial."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._identity = ""
        self._parts: list[tuple[MarketData, PriceIndex]] = []

    def parts_of(self, job: Job) -> list[tuple[MarketData, PriceIndex]]:
        with self._lock:
            if self._identity != job.identity:
                self._parts = load_parts(job)
                self._identity = job.identity
            return self._parts


_loaded = _Loaded()


def load_parts(job: Job) -> list[tuple[MarketData, PriceIndex]]:
    names = (job.instrument.name,)
    looked = [backtesting.look_at(Path(name), names, job.options) for name in job.options.data]
    data, _ = backtesting.load_all(looked, job.instrument, names, job.options)
    if len(data) != job.rows:
        raise ConfigError(
            f"{job.options.data[0]}: holds {len(data):,} rows here and {job.rows:,} where the sweep was started; "
            "give every worker the same files"
        )
    found = []
    for start, stop in cuts(len(data), job.parts):
        part = arrays.part_of(data, start, stop)
        found.append((part, part.index()))
    return found


def evaluate(job: Job, grid: GridSettings) -> tuple[Part, ...]:
    """One trial: every part from a fresh start, with the whole balance and nothing held."""
    return tuple(_evaluate(job, grid, data, index) for data, index in _loaded.parts_of(job))


def _evaluate(job: Job, grid: GridSettings, data: MarketData, index: PriceIndex) -> Part:
    bench = backtesting.make_bench(
        data,
        instrument=job.instrument,
        grid=grid,
        paper=job.paper,
        options=job.options,
        cleanup_interval_s=job.cleanup_interval_s,
        funding=job.funding,
    )
    with backtesting.rare_collections():
        skip_ahead(bench, index)
    balance = float(job.paper.balance)
    worst = walk(bench, steps_of(bench, balance)).worst
    quantum = float(job.instrument.quantum)
    fills = bench.fills
    traded = sum(map(int.__mul__, fills.price_ticks, fills.qty_lots))
    return Part(
        pnl=float(bench.exchange.account.equity() - job.paper.balance),
        drawdown=worst.depth,
        share=worst.share,
        fills=len(fills),
        round_trips=len(round_trips(bench).net),
        turnover=traded * quantum,
    )


class Pool(Protocol):
    """`run` computes every trial and tells each as soon as it is done, in any order."""

    name: str

    def run(self, work: Work, done: Done) -> None: ...


class HerePool:
    """In this process, one after the other."""

    name = "in this process"

    def __init__(self, job: Job) -> None:
        self._job = job

    def run(self, work: Work, done: Done) -> None:
        for number, grid in work:
            done(number, evaluate(self._job, grid))


class ProcessPool:
    """Processes of this machine."""

    def __init__(self, job: Job, jobs: int) -> None:
        self.name = f"on {jobs} processes"
        self._job = job
        self._jobs = jobs
        self._executor = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._jobs, mp_context=multiprocessing.get_context("spawn"), initializer=begin_work
        )

    def run(self, work: Work, done: Done) -> None:
        left = dict(work)
        breaks = 0
        while left:
            try:
                futures: dict[Future[tuple[Part, ...]], int] = {
                    self._executor.submit(evaluate, self._job, grid): number
                    for number, grid in left.items()
                }
                for future in as_completed(futures):
                    parts = future.result()
                    done(futures[future], parts)
                    del left[futures[future]]
                    breaks = 0
            except BrokenProcessPool as error:
                breaks += 1
                self._executor.shutdown(wait=False, cancel_futures=True)
                if breaks >= BREAKS_MAX:
                    raise MarketMakerError(
                        f"{BREAKS_MAX} worker processes in a row died (out of memory?); use fewer --jobs, then --resume"
                    ) from error
                self._executor = self._start()

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)


def begin_work() -> None:
    """A worker leaves Ctrl-C to its parent, and does not outlive it: an executor's workers would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


class DaskPool:
    """The workers of a running Dask scheduler."""

    def __init__(self, job: Job, address: str) -> None:
        """Raises ConfigError when nobody answers at the address, or dask.distributed is not installed."""
        try:
            self._dask: Any = import_module("distributed")
        except ModuleNotFoundError:
            raise ConfigError(
                "--dask needs dask.distributed: pip install 'marketmaker[sweep]'"
            ) from None
        self._job = job
        try:
            self._client = self._dask.Client(address, timeout=REACH_S)
        except (OSError, ValueError, TimeoutError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"--dask {address}: no scheduler answers ({reason}); start `dask scheduler` and `dask worker`"
            ) from error
        self._sweep = uuid4().hex
        """Two sweeps on one cluster must not take each other's results, which have numbers alone in common."""
        self.name = f"on the Dask cluster at {address}"

    def run(self, work: Work, done: Done) -> None:
        futures = {
            self._client.submit(
                evaluate,
                self._job,
                grid,
                key=f"marketmaker-{self._sweep}-{number}",
                pure=False,
                retries=BREAKS_MAX,
            ): number
            for number, grid in work
        }
        try:
            for future in self._dask.as_completed(futures):
                done(futures[future], future.result())
        except self._dask.KilledWorker as error:
            raise MarketMakerError(f"a trial killed worker after worker ({error})") from error
        finally:
            self._client.cancel([future for future in futures if not future.done()], force=True)

    def close(self) -> None:
        self._client.close()


@contextmanager
def open_pool(job: Job, *, jobs: int, dask: str | None) -> Iterator[Pool]:
    if dask is None and jobs == 1:
        yield HerePool(job)
        return
    pool = ProcessPool(job, jobs) if dask is None else DaskPool(job, dask)
    try:
        yield pool
    finally:
        pool.close()
