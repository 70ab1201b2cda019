"""What `marketmaker sweep` does, in order: read, search, judge, write."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from marketmaker import __version__, backtesting
from marketmaker.backtest import result as words
from marketmaker.cli.progress import Progress
from marketmaker.cli.table import aligned
from marketmaker.config import Configuration, check_symbol, load_configuration
from marketmaker.config.load import read_file
from marketmaker.config.yaml_source import decode
from marketmaker.errors import ConfigError, MarketMakerError
from marketmaker.model.settings import GridSettings
from marketmaker.runtime.wire_format import to_json, to_text
from marketmaker.sweep.forward import (
    Outcome,
    Verdict,
    in_sample,
    judge,
    out_of_sample,
    outcome,
    score,
)
from marketmaker.sweep.space import (
    Params,
    Space,
    combinations,
    problem_with,
    read_space,
    with_params,
)
from marketmaker.sweep.store import Part, Store, Trial
from marketmaker.sweep.workers import Job, Pool, cuts, open_pool
from marketmaker.sweep.write_config import configuration_with

try:
    from marketmaker.sweep.search import Proposal, Search
except ModuleNotFoundError as missing:
    if missing.name != "optuna":
        raise
    raise ConfigError("sweep needs optuna: pip install 'marketmaker[sweep]'") from None

TRIALS = 100
AS_CONFIGURED = -1
FRONT_SHOWN = 12
OPTIONS = ("data", "columns", "bars", "begin", "end", "fill", "latency", "no_cache")
NOT_IN_IDENTITY = ("data", "no_cache")


def run(args: argparse.Namespace) -> int:
    """Raises ConfigError, one line per problem; MarketMakerError when no worker is left."""
    configuration = load_configuration(args.config)
    space, _ = read_space(args.space)
    trials = how_many(space, args)
    prepared = backtesting.prepare(configuration, args)
    if len(prepared.data) < args.folds + 1:
        raise ConfigError(
            f"{args.data[0]}: {len(prepared.data)} rows are too few for {args.folds} folds; lower --folds"
        )
    folder = Path(args.out or Path(args.config).with_suffix(".sweep"))
    job = job_of(prepared, args)
    store = Store(folder, made_from(prepared, space, job, args), resume=args.resume)
    try:
        sweep = Sweep(prepared, space, job, store, args)
        for line in sweep.understood(trials):
            print(f"marketmaker: {line}", file=sys.stderr)
        finished = sweep.search_all(trials)
    except KeyboardInterrupt:
        raise MarketMakerError(
            f"stopped with {len(store.done)} trials kept in {store.path}; the same command with --resume goes on"
        ) from None
    finally:
        store.close()
    verdict = judge(finished, balance=sweep.balance, objective=args.objective)
    if verdict is None:
        raise ConfigError(f"{args.space}: no trial could be tried: {finished[0].refused}")
    best_path = write_best(
        configuration=configuration,
        args=args,
        prepared=prepared,
        verdict=verdict,
        balance=sweep.balance,
        folder=folder,
        trials=trials,
    )
    content = as_json(verdict, finished, sweep, args)
    content["configuration"] = str(best_path)
    text = words.to_text(content)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    print(text if args.json else "\n".join(report(verdict, finished, sweep, best_path)))
    return 0


def how_many(space: Space, args: argparse.Namespace) -> int:
    every = combinations(space)
    if args.sampler != "grid":
        return int(args.trials or TRIALS)
    if every is None:
        raise ConfigError(
            f"{args.space}: --sampler grid needs steps or lists of values for every key; give each range a step"
        )
    if every > 1_000_000:
        raise ConfigError(
            f"{args.space}: has {every:,} combinations; widen steps or take --sampler tpe"
        )
    return min(int(args.trials or every), every)


def job_of(prepared: backtesting.Prepared, args: argparse.Namespace) -> Job:
    options = argparse.Namespace(**{name: getattr(args, name) for name in OPTIONS})
    options.data = [str(Path(name).absolute()) for name in args.data]
    data = prepared.data
    known = {name: getattr(options, name) for name in OPTIONS if name not in NOT_IN_IDENTITY}
    facts = [known, args.folds, len(data), data.ts_ns[[0, -1]].tolist(), str(prepared.funding)]
    facts += [to_text(to_json(each)) for each in (prepared.instrument, prepared.settings.paper)]
    return Job(
        instrument=prepared.instrument,
        paper=prepared.settings.paper,
        cleanup_interval_s=prepared.settings.cleanup_interval_s,
        funding=prepared.funding,
        options=options,
        rows=len(data),
        parts=args.folds + 1,
        identity=hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16],
    )


def made_from(
    prepared: backtesting.Prepared, space: Space, job: Job, args: argparse.Namespace
) -> dict[str, Any]:
    """Everything a trial's parameters and results depend on."""
    return {
        "version": __version__,
        "grid": to_json(prepared.symbol.grid),
        "space": {key: str(dimension) for key, dimension in space.items()},
        "data or options of it": job.identity,
        "sampler": args.sampler,
        "seed": args.seed,
        "objective": args.objective,
    }


class Sweep:
    """One search: what was asked for, and what is known so far."""

    def __init__(
        self,
        prepared: backtesting.Prepared,
        space: Space,
        job: Job,
        store: Store,
        args: argparse.Namespace,
    ) -> None:
        self.prepared = prepared
        self.space = space
        self.job = job
        self.store = store
        self.args = args
        self.balance = float(prepared.settings.paper.balance)
        self.configured: Trial | None = None
        self._best: float | None = None
        self._price = backtesting.first_price(prepared.data, prepared.instrument)

    def understood(self, trials: int) -> Iterator[str]:
        yield from self.prepared.data.described
        yield from backtesting.understood(self.prepared, self.args)
        ends = self.part_times()
        yield (
            f"{trials:,} trials by {self.args.sampler}, seed {self.args.seed}, of {', '.join(self.space)}; "
            f"{len(self.store.done)} are done already"
        )
        yield (
            f"{self.job.parts} parts of {self.job.rows // self.job.parts:,} events, each from a fresh start; the last one, from "
            f"{words.moment(ends[-1][0])}, chooses nothing"
        )

    def part_times(self) -> list[tuple[int, int]]:
        ts_ns = self.prepared.data.ts_ns
        return [
            (int(ts_ns[start]), int(ts_ns[stop - 1]))
            for start, stop in cuts(self.job.rows, self.job.parts)
        ]

    def search_all(self, trials: int) -> list[Trial]:
        """Every trial, those of an earlier run included."""
        search = Search(self.space, self.args.sampler, self.args.seed)
        finished: list[Trial] = []
        with (
            open_pool(self.job, jobs=self.args.jobs, dask=self.args.dask) as pool,
            Progress.on(sys.stderr, trials, "trials") as progress,
        ):
            print(f"marketmaker: trials are computed {pool.name}", file=sys.stderr)
            self._try_configured(pool)
            for batch in search.batches(trials):
                told = self._batch(batch, pool, progress)
                search.tell([self._values(trial) for trial in told])
                finished += told
        return finished

    def _try_configured(self, pool: Pool) -> None:
        """The configuration as it is, to compare with."""
        found = self.store.done.get(AS_CONFIGURED)
        if found is None:

            def done(number: int, parts: tuple[Part, ...]) -> None:
                self.store.add(Trial(number=number, params={}, parts=parts))

            pool.run([(AS_CONFIGURED, self.prepared.symbol.grid)], done)
            found = self.store.done[AS_CONFIGURED]
        self.configured = found

    def _batch(
        self, batch: list[Proposal], pool: Pool, progress: Callable[..., None] | None
    ) -> list[Trial]:
        """The batch's trials in its order; equal parameters are computed once."""
        grids: dict[int, GridSettings] = {}
        first_of: dict[str, int] = {}
        for proposal in batch:
            known = self.store.done.get(proposal.number)
            if known is not None:
                if known.params != proposal.params:
                    raise ConfigError(
                        f"{self.store.path}: trial {proposal.number} was another one; the sampler has changed since "
                        "(another Optuna?): name another --out"
                    )
                continue
            key = json.dumps(proposal.params, sort_keys=True)
            if first_of.setdefault(key, proposal.number) != proposal.number:
                continue
            grid = with_params(self.prepared.symbol.grid, proposal.params)
            refused = self._problem(grid)
            if refused:
                self._add(proposal, (), refused)
            else:
                grids[proposal.number] = grid
        by_number = {proposal.number: proposal for proposal in batch}

        def done(number: int, parts: tuple[Part, ...]) -> None:
            self._add(by_number[number], parts)
            if progress is not None:
                progress(len(self.store.done) - 2, self._note())

        if grids:
            pool.run(list(grids.items()), done)
        for proposal in batch:
            if proposal.number not in self.store.done:
                same = first_of[json.dumps(proposal.params, sort_keys=True)]
                twin = self.store.done[same]
                self._add(proposal, twin.parts, twin.refused)
        return [self.store.done[proposal.number] for proposal in batch]

    def _add(self, proposal: Proposal, parts: tuple[Part, ...], refused: str = "") -> None:
        trial = Trial(number=proposal.number, params=proposal.params, parts=parts, refused=refused)
        self.store.add(trial)
        values = self._values(trial)
        if values is not None and (self._best is None or values[0] > self._best):
            self._best = values[0]

    def _problem(self, grid: GridSettings) -> str:
        name = self.prepared.symbol.name
        broken = problem_with(grid, name)
        if broken:
            return broken
        symbol = replace(self.prepared.symbol, grid=grid)
        found = check_symbol(symbol, self.prepared.instrument, grid.anchor or self._price)
        return found[0] if found else ""

    def _values(self, trial: Trial) -> tuple[float, tuple[float, float]] | None:
        if not trial.parts:
            return None
        found = in_sample(trial, self.balance)
        return score(found, self.args.objective), (found.gain, found.drawdown)

    def _note(self) -> str:
        return "" if self._best is None else f"best {self.args.objective} {self._best:+.4g}"


def write_best(
    *,
    configuration: Configuration,
    args: argparse.Namespace,
    prepared: backtesting.Prepared,
    verdict: Verdict,
    balance: float,
    folder: Path,
    trials: int,
) -> Path:
    """The configuration with the best trial's parameters, checked as `check` would."""
    inside, outside = in_sample(verdict.best, balance), out_of_sample(verdict.best, balance)
    text = configuration_with(
        decode(read_file(args.config), args.config),
        args.config,
        symbol=prepared.symbol.name,
        params=verdict.best.params,
        remarks=(
            f"Trial {verdict.best.number} of {trials}: best {args.objective} by marketmaker sweep "
            f"--sampler {args.sampler} --seed {args.seed}, from {configuration.name}.",
            f"In sample {inside.gain:+.3%}, drawdown {inside.drawdown:.3%}; "
            f"out of sample {outside.gain:+.3%}, drawdown {outside.drawdown:.3%}.",
        ),
    )
    path = folder / "best.yaml"
    path.write_text(text, encoding="utf-8")
    load_configuration(str(path))
    return path


def as_json(
    verdict: Verdict, finished: list[Trial], sweep: Sweep, args: argparse.Namespace
) -> dict[str, Any]:
    balance = sweep.balance

    def trial_json(trial: Trial) -> dict[str, Any]:
        return {
            "trial": trial.number,
            "params": trial.params,
            "in_sample": in_sample(trial, balance).as_json(),
            "out_of_sample": out_of_sample(trial, balance).as_json(),
        }

    times = sweep.part_times()
    return {
        "symbol": sweep.prepared.symbol.name,
        "sampler": args.sampler,
        "seed": args.seed,
        "objective": args.objective,
        "trials": len(finished),
        "refused": sum(bool(trial.refused) for trial in finished),
        "parts": [[words.moment(start), words.moment(end)] for start, end in times],
        "best": trial_json(verdict.best),
        "as_configured": None if sweep.configured is None else trial_json(sweep.configured),
        "walk_forward": [
            {
                "fold": fold.number,
                "trial": fold.trial.number,
                "params": fold.trial.params,
                "in_sample": fold.inside.as_json(),
                "out_of_sample": fold.outside.as_json(),
            }
            for fold in verdict.folds
        ],
        "front": [trial_json(trial) for trial in verdict.front],
    }


def shown(found: Outcome) -> tuple[str, str, str]:
    return f"{found.gain:+.3%}", f"{found.drawdown:.3%}", f"{found.fills:,}"


def params_text(params: Params) -> str:
    return ", ".join(f"{key} {value}" for key, value in params.items()) or "as configured"


def report(verdict: Verdict, finished: list[Trial], sweep: Sweep, best_path: Path) -> Iterator[str]:
    balance = sweep.balance
    refused = sum(bool(trial.refused) for trial in finished)
    yield f"{len(finished):,} trials of {sweep.prepared.symbol.name}" + (
        f", {refused:,} of which could not be tried" if refused else ""
    )
    yield ""
    yield "Walk-forward: the best of each part, and what it did on the next"
    head = ("", "in sample", "drawdown", "fills", "out of sample", "drawdown", "fills", "trial", "")
    rows: list[tuple[str, ...]] = [("part", *head[1:8], "parameters")]
    rows += [
        (
            f"{fold.number} to {fold.number + 1}",
            *shown(fold.inside),
            *shown(fold.outside),
            str(fold.trial.number),
            params_text(fold.trial.params),
        )
        for fold in verdict.folds
    ]
    inside = sum(fold.inside.gain for fold in verdict.folds)
    outside = sum(fold.outside.gain for fold in verdict.folds)
    rows.append(("sum", f"{inside:+.3%}", "", "", f"{outside:+.3%}", "", "", "", ""))
    yield from aligned(rows)
    yield ""
    yield "Pareto front of return against drawdown, in sample (all parts but the last) and on the last part"
    rows = [("", *head[1:8], "parameters")]
    rows += [trial_row("", trial, balance) for trial in thinned(list(verdict.front))]
    if sweep.configured is not None:
        rows.append(trial_row("now", sweep.configured, balance))
    rows.append(trial_row("best", verdict.best, balance))
    yield from aligned(rows)
    yield ""
    if inside > 0 and outside <= 0:
        yield "What was best in sample did not hold on what followed: the search fits the past, not the market."
    yield f"best: {params_text(verdict.best.params)}; written to {best_path}: marketmaker run {best_path}"


def trial_row(label: str, trial: Trial, balance: float) -> tuple[str, ...]:
    number = "" if trial.number == AS_CONFIGURED else str(trial.number)
    inside, outside = outcome(trial.parts[:-1], balance), outcome(trial.parts[-1:], balance)
    return (label, *shown(inside), *shown(outside), number, params_text(trial.params))


def thinned(front: list[Trial]) -> list[Trial]:
    """At most twelve, the ends among them."""
    if len(front) <= FRONT_SHOWN:
        return front
    last = len(front) - 1
    places = sorted({round(place * last / (FRONT_SHOWN - 1)) for place in range(FRONT_SHOWN)})
    return [front[place] for place in places]
