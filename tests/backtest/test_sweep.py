"""`marketmaker sweep`: the same best trial whoever computes it, no trial lost, and nothing chosen by what is held out."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")
pytest.importorskip("optuna")

from marketmaker.__main__ import main
from marketmaker.config import load_settings, settings_from_text
from marketmaker.errors import ConfigError
from marketmaker.model.settings import InstrumentSettings, PaperSettings
from marketmaker.sim.instruments import paper_instrument
from marketmaker.sweep import workers
from marketmaker.sweep.forward import front_of, in_sample, judge
from marketmaker.sweep.search import Search
from marketmaker.sweep.space import read_space, with_params
from marketmaker.sweep.store import Part, Trial
from marketmaker.sweep.write_config import configuration_with
from tests.support.sweeps import (
    children_of,
    cluster,
    command,
    finish,
    lines_in,
    market,
    start,
    wait_until,
)

Files = tuple[Path, Path, Path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return market(tmp_path_factory.mktemp("market"))


def sweep(
    files: Files, out: Path, capsys: pytest.CaptureFixture[str], *more: object
) -> dict[str, Any]:
    assert main(command(files, out, *more)) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def without_path(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "configuration"}


@pytest.fixture(scope="module")
def alone(files: Files, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """24 trials in one process, undisturbed."""
    out = tmp_path_factory.mktemp("alone")
    assert main(command(files, out, "--trials", 24, "--jobs", 1)) == 0
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return found


@pytest.mark.slow
def test_two_processes_one_of_them_killed_give_what_one_process_gives(
    files: Files, tmp_path: Path, alone: dict[str, Any]
) -> None:
    process = start(command(files, tmp_path, "--trials", 24, "--jobs", 2))
    wait_until(lambda: lines_in(tmp_path / "trials.jsonl") > 6, process)
    victims = children_of(process.pid)
    assert len(victims) == 2
    os.kill(victims[0], signal.SIGKILL)
    assert without_path(finish(process)) == without_path(alone)
    assert lines_in(tmp_path / "trials.jsonl") == 2 + 24


@pytest.mark.slow
def test_a_dask_cluster_one_worker_of_which_is_killed_gives_what_one_process_gives(
    files: Files, tmp_path: Path, alone: dict[str, Any]
) -> None:
    pytest.importorskip("distributed")
    out = tmp_path / "out"
    with cluster(tmp_path) as dask:
        process = start(command(files, out, "--trials", 24, "--dask", dask.address))
        wait_until(lambda: lines_in(out / "trials.jsonl") > 6, process)
        dask.workers[0].kill()
        assert without_path(finish(process)) == without_path(alone)


@pytest.mark.slow
def test_a_killed_sweep_goes_on_where_it_was(
    files: Files, tmp_path: Path, alone: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed in the middle of a line, too: what is not whole is done again. Its workers do not outlive it."""
    trials = tmp_path / "trials.jsonl"
    process = start(command(files, tmp_path, "--trials", 24, "--jobs", 2))
    wait_until(lambda: lines_in(trials) > 11, process)
    helpers = children_of(process.pid)
    process.kill()
    process.communicate(timeout=60)
    assert len(helpers) == 2
    wait_until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in helpers))
    kept = lines_in(trials)
    with trials.open("ab") as file:
        file.write(b'{"trial":23,"par')
    assert main(command(files, tmp_path, "--trials", 24)) == 2
    assert "add --resume" in capsys.readouterr().err
    before = trials.read_bytes().rpartition(b"\n")[0]
    found = sweep(files, tmp_path, capsys, "--trials", 24, "--jobs", 1, "--resume")
    assert without_path(found) == without_path(alone)
    assert trials.read_bytes().startswith(before)
    assert lines_in(trials) == 2 + 24 > kept


@pytest.mark.long
def test_500_trials_on_two_processes_and_on_dask_have_the_same_best(
    tmp_path: Path,
) -> None:
    pytest.importorskip("distributed")
    files = market(tmp_path, rows=400)
    local = start(command(files, tmp_path / "local", "--trials", 500, "--jobs", 2))
    found = finish(local)
    with cluster(tmp_path) as dask:
        process = start(command(files, tmp_path / "dask", "--trials", 500, "--dask", dask.address))
        wait_until(lambda: lines_in(tmp_path / "dask" / "trials.jsonl") > 100, process)
        dask.workers[1].kill()
        other = finish(process)
    assert found["trials"] == 500
    assert without_path(found) == without_path(other)
    shown = {key: found["best"][key] for key in ("trial", "params")}
    print(f"best of 500 on both: {shown}")


def test_more_trials_continue_a_sweep(
    files: Files, tmp_path: Path, alone: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """10 end in the middle of a batch."""
    sweep(files, tmp_path, capsys, "--trials", 10, "--jobs", 1)
    found = sweep(files, tmp_path, capsys, "--trials", 24, "--jobs", 1, "--resume")
    assert without_path(found) == without_path(alone)


def test_another_sweep_is_not_resumed(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(files, tmp_path, capsys, "--trials", 1, "--jobs", 1)
    for other, named in (
        (("--seed", 2), "seed"),
        (("--sampler", "random"), "sampler"),
        (("--fill", "touch"), "data or options of it"),
        (("--folds", 3), "data or options of it"),
    ):
        assert main(command(files, tmp_path, "--trials", 1, "--resume", *other)) == 2
        assert f"another {named};" in capsys.readouterr().err


def test_the_best_configuration_passes_check_and_is_the_best_trial(
    files: Files, alone: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = alone["configuration"]
    assert main(["check", path]) == 0
    capsys.readouterr()
    grid = load_settings(path).symbols[0].grid
    base = load_settings(str(files[0])).symbols[0].grid
    assert grid == with_params(base, alone["best"]["params"]) != base


def test_a_trial_is_what_backtest_says_of_the_same_stretch(
    files: Files, tmp_path: Path, alone: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The held-out part of the best trial against `backtest --from` its begin."""
    data = files[1]
    begin = alone["parts"][-1][0].rstrip("Z")
    arguments = ["backtest", alone["configuration"], "--data", str(data), "--from", begin, "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    outside = alone["best"]["out_of_sample"]
    assert float(found["pnl"]["total"]) / 10_000 == pytest.approx(outside["return"])
    assert found["fills"] == outside["fills"] > 3
    assert found["figures"]["max_drawdown_share"] == pytest.approx(outside["drawdown"], rel=1e-6)


def test_the_last_part_chooses_nothing(
    files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever it gives, the same trials are proposed and the same one is best."""
    usual = workers.evaluate

    def elsewhere(job: workers.Job, grid: Any) -> tuple[Part, ...]:
        *inside, last = usual(job, grid)
        changed = Part(
            pnl=-last.pnl * 3, drawdown=1.0, share=0.5, fills=0, round_trips=0, turnover=0
        )
        return (*inside, changed)

    one = sweep(files, tmp_path / "one", capsys, "--trials", 16, "--jobs", 1)
    monkeypatch.setattr(workers, "evaluate", elsewhere)
    other = sweep(files, tmp_path / "other", capsys, "--trials", 16, "--jobs", 1)
    assert one["best"]["trial"] == other["best"]["trial"]
    assert one["best"]["params"] == other["best"]["params"]
    assert [each["trial"] for each in one["front"]] == [each["trial"] for each in other["front"]]
    assert one["best"]["out_of_sample"] != other["best"]["out_of_sample"]


@pytest.mark.parametrize("sampler", ["random", "grid", "tpe", "nsga2"])
def test_proposals_depend_on_seed_and_results_alone(tmp_path: Path, sampler: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "grid: {buy_window: {low: 1, high: 12}, side: [long, short], price_interval: [1, 2]}"
    )
    space, _ = read_space(str(path))

    def proposed(seed: int) -> list[dict[str, str]]:
        search, found = Search(space, sampler, seed), []
        for batch in search.batches(48):
            found += [proposal.params for proposal in batch]
            search.tell([(value(each.params), (value(each.params), 0.1)) for each in batch])
        return found

    def value(params: dict[str, str]) -> float:
        return float(params["buy_window"]) * float(params["price_interval"])

    first = proposed(1)
    assert first == proposed(1) != proposed(2)
    assert len(first) == 48
    if sampler == "grid":
        assert len({json.dumps(each) for each in first}) == 48


def test_the_front_is_what_no_other_trial_beats() -> None:
    chance = random.Random(1)
    trials = [
        Trial(
            number=number,
            params={},
            parts=(
                Part(
                    pnl=chance.randint(-9, 9),
                    drawdown=0.0,
                    share=chance.randint(1, 9) / 100,
                    fills=1,
                    round_trips=0,
                    turnover=0.0,
                ),
            )
            * 2,
        )
        for number in range(60)
    ]
    placed = {trial.number: in_sample(trial, 100.0) for trial in trials}

    def beaten(one: int) -> bool:
        mine = (placed[one].gain, -placed[one].drawdown)
        others = [(found.gain, -found.drawdown, number) for number, found in placed.items()]
        return any(
            (gain >= mine[0] and depth >= mine[1] and (gain, depth) != mine)
            or ((gain, depth) == mine and number < one)
            for gain, depth, number in others
        )

    assert {each.number for each in front_of(trials, 100.0)} == {
        number for number in placed if not beaten(number)
    }
    verdict = judge(trials, balance=100.0, objective="return")
    assert verdict is not None
    assert placed[verdict.best.number].gain == max(found.gain for found in placed.values())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("grids: {}", "space.yaml:1: grids: unknown"),
        ("grid:", "space.yaml:1: grid: missing"),
        ("grid: {buy_windo: [1]}", "space.yaml:1: grid.buy_windo: is no key of grid"),
        ("grid:\n  buy_window: 5", "space.yaml:2: grid.buy_window: is 5; write a list"),
        ("grid: {buy_window: []}", "grid.buy_window: is empty"),
        ("grid: {buy_window: [1, -1]}", "grid.buy_window: -1"),
        ("grid: {buy_window: {low: 5}}", "grid.buy_window: needs low and high"),
        ("grid: {buy_window: {low: 9, high: 5}}", "low 9 is not below high 5"),
        ("grid: {buy_window: {low: 1, high: x}}", "high is x, not a number"),
        ("grid: {buy_window: {low: 1, high: 9, stepp: 1}}", "has stepp; write"),
        ("grid: {buy_window: {low: 1, high: 9, step: 0.5}}", "grid.buy_window: 1.5"),
        ("grid: {price_interval: {low: 0.1, high: 1, step: 0}}", "step is 0; write"),
        ("grid: {price_interval: {low: 0, high: 1, log: true}}", "log: true needs low above 0"),
        ("grid: {side: [long, up]}", "grid.side: up"),
    ],
)
def test_a_wrong_space_is_refused_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_space(str(path))
    assert problem in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_grid_sweep_wants_steps(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, data, _ = files
    space = tmp_path / "space.yaml"
    space.write_text("grid: {price_interval: {low: 0.001, high: 0.01}}")
    assert main(command((config, data, space), tmp_path / "out", "--sampler", "grid")) == 2
    assert "give each range a step" in capsys.readouterr().err


def test_combinations_that_cannot_work_are_counted_and_never_best(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """buy_window 60 leaves no order for sells under max_open_orders 50; 1 USDT is under the smallest order."""
    config, data, _ = files
    space = tmp_path / "space.yaml"
    space.write_text("grid: {buy_window: [5, 60], max_open_orders: [50], order_amount: [1, 50]}")
    arguments = command((config, data, space), tmp_path / "out", "--sampler", "grid", "--jobs", 1)
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["trials"], found["refused"]) == (4, 3)
    assert found["best"]["params"] == {
        "buy_window": "5",
        "max_open_orders": "50",
        "order_amount": "50",
    }


def test_nobody_at_the_address_is_one_line(
    files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "REACH_S", 0.2)
    assert main(command(files, tmp_path, "--trials", 1, "--dask", "tcp://127.0.0.1:9")) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "--dask tcp://127.0.0.1:9: no scheduler answers" in last


def test_a_written_configuration_keeps_everything_else() -> None:
    text = """
mode: live
exchange: binance
credentials: {api_key: "${KEY}", api_secret: '${SECRET}'}
grid:
  side: long
  price_bounds: [1, 2]
symbols:
  - name: XRPUSDT
    grid: {spacing: geometric, interval_pct: 0.001, order_amount: 50}
  - name: ETHUSDT
    grid:
      price_interval: 2
      order_amount: 60
risk:
  monitor_symbols: [BTCUSDT, ETHUSDT, SOLUSDT]
"""
    params = {"spacing": "arithmetic", "price_interval": "0.002"}
    written = configuration_with(text, "c.yaml", symbol="XRPUSDT", params=params, remarks=["best"])
    assert written.startswith("# best\n")
    environ = {"KEY": "k", "SECRET": "s"}
    text = text.replace("mode: live\nexchange: binance", "mode: paper")
    written = written.replace("mode: live\nexchange: binance", "mode: paper")
    before, after = (
        settings_from_text(text, "a", environ),
        settings_from_text(written, "b", environ),
    )
    assert after.symbols[1] == before.symbols[1]
    assert after.symbols[0].grid == with_params(before.symbols[0].grid, params)
    assert (after.credentials, after.risk) == (before.credentials, before.risk)


def test_a_job_reaches_a_worker_as_it_was_sent() -> None:
    """Values alone travel: a compiled record cannot be unpickled."""
    job = workers.Job(
        instrument=paper_instrument("XRPUSDT", InstrumentSettings(), PaperSettings()),
        paper=PaperSettings(),
        cleanup_interval_s=10.0,
        funding=None,
        options=argparse.Namespace(data=["trades.parquet"]),
        rows=400,
        parts=5,
        identity="one",
    )
    assert pickle.loads(pickle.dumps(job)) == job
    make, (_, instrument) = job.__reduce__()
    assert make is workers.unpacked
    assert instrument["name"] == "XRPUSDT"
    assert "quantum" not in instrument
