"""`marketmaker parity`: the backtester decides what a paper run decided, and says so when it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")

from marketmaker.__main__ import main
from marketmaker.backtest.drive import drive
from tests.support.backtests import SECOND_NS, Lines, job_grid, job_paper, make_bench, trades

CONFIG = """
mode: paper
paper: {{fill: {fill}}}
grid: {{side: {side}}}
symbols:
  - name: ETHUSDT
    grid: {{price_interval: 2, order_amount: 60, buy_window: 8, sell_window: 8}}
  - name: BTCUSDT
    grid: {{price_interval: 40, order_amount: 200}}
"""


def paper_run(folder: Path, *, fill: str = "queue", side: str = "long", seed: int = 7) -> Path:
    """Ten minutes on the synthetic market."""
    config, journal = folder / "config.yaml", folder / "journal.jsonl"
    config.write_text(CONFIG.format(fill=fill, side=side))
    subprocess.run(
        [
            *(sys.executable, "-m", "marketmaker", "run", str(config)),
            *("--feed", f"synthetic:{seed}", "--speed", "max", "--duration", "600"),
            *("--journal", str(journal)),
        ],
        capture_output=True,
        check=True,
        timeout=300,
    )
    return journal


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paper_run(tmp_path_factory.mktemp("paper"))


def parity(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main(["parity", str(path), "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def assert_identical(code: int, found: dict[str, Any]) -> None:
    assert (code, found["identical"]) == (0, True)
    for each in found["symbols"]:
        counts = {each[name] for name in ("decided", "backtested")}
        assert counts == {each["identical_again"]} == {each["identical_in_backtest"]}
        assert each["decided"] > 100 and each["fills_recorded"] == each["fills_backtest"] > 20
        assert each["pnl_recorded"] == each["pnl_backtest"]
        assert each["gap_bp"] == 0
        assert each["first_difference"] is each["first_difference_again"] is None


def test_ten_minutes_on_paper_are_decided_identically(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_identical(*parity(journal, capsys))


@pytest.mark.slow
@pytest.mark.parametrize(("fill", "side"), [("cross", "short"), ("touch", "neutral")])
def test_so_are_other_fill_rules_and_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fill: str, side: str
) -> None:
    assert_identical(*parity(paper_run(tmp_path, fill=fill, side=side, seed=11), capsys))


Line = dict[str, Any]


def changed(journal: Path, to: Path, change: Callable[[Line], Line | None]) -> Path:
    """The journal with some of its lines changed, or left out (None)."""
    lines = (change(json.loads(line)) for line in journal.read_text().splitlines())
    to.write_text("".join(json.dumps(line) + "\n" for line in lines if line is not None))
    return to


def test_a_decision_that_would_be_another_today_is_found(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One placement of the journal a tick higher: one decision of each comparison is missing, and named."""
    done = []

    def higher(line: Line) -> Line:
        for action in line.get("a", ()):
            if action["t"] == "PlaceOrder" and line["s"] == 0 and not done:
                done.append(action["order"]["price_ticks"])
                action["order"]["price_ticks"] += 1
        return line

    code, found = parity(changed(journal, tmp_path / "other.jsonl", higher), capsys)
    first = found["symbols"][0]
    assert code == 1
    assert first["identical_again"] == first["identical_in_backtest"] == first["decided"] - 1
    assert first["backtested"] == first["decided"]
    assert (
        first["first_difference_again"]["decision"]
        == first["first_difference"]["recorded"]["decision"]
    )
    assert f"{(done[0] + 1) / 100:.2f}" in first["first_difference"]["recorded"]["decision"]
    assert f"{done[0] / 100:.2f}" in first["first_difference"]["backtest"]["decision"]
    assert found["symbols"][1]["identical_again"] == found["symbols"][1]["decided"]


def test_a_market_that_would_have_filled_more_is_found_and_priced(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One price of the journal lies ten intervals lower: the backtest fills every buy above it, and says which slot
    parted first."""
    seen = []

    def lower(line: Line) -> Line:
        event = line.get("e", {})
        if event.get("t") == "PriceChanged" and line["s"] == 0:
            seen.append(event)
            if len(seen) == 100:
                event["price_ticks"] -= 2_000
        return line

    path = changed(journal, tmp_path / "lower.jsonl", lower)
    assert main(["parity", str(path)]) == 1
    out = capsys.readouterr().out
    assert "first difference" in out and "entry in the window" in out
    _, found = parity(path, capsys)
    first = found["symbols"][0]
    assert first["fills_backtest"] > first["fills_recorded"]
    assert first["identical_in_backtest"] < first["decided"]
    assert first["gap_bp"] != 0


def test_fees_that_are_not_the_instruments_are_a_gap_and_no_difference(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every recorded fee is 1 bp of the turnover higher than 2 bp: the backtest earns 1 bp more."""

    def dearer(line: Line) -> Line:
        for action in line.get("a", ()):
            if action["t"] == "RecordFill":
                action["fee"] = format(Decimal(action["fee"]) * Decimal("1.5"), "f")
        return line

    _, found = parity(changed(journal, tmp_path / "dear.jsonl", dearer), capsys)
    for each in found["symbols"]:
        assert each["identical_in_backtest"] == each["decided"]
        assert each["gap_bp"] == pytest.approx(1.0)


def test_a_journal_cut_off_is_compared_as_far_as_it_goes(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = journal.read_text().splitlines(keepends=True)
    cut = tmp_path / "cut.jsonl"
    cut.write_text("".join(lines[: len(lines) // 2]) + lines[len(lines) // 2][:20])
    code, found = parity(cut, capsys)
    assert code == 0 and found["symbols"][0]["decided"] > 50
    assert any("not closed" in remark for remark in found["remarks"])


def test_what_is_no_journal_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "no.jsonl"
    path.write_text('{"journal":9}\n')
    assert main(["parity", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"marketmaker: {path}:1: does not begin with")


def test_a_cancel_of_a_placement_on_its_way_is_dropped_as_the_executor_drops_it() -> None:
    """The price leaves the window before the order has arrived, and comes back: the order rests, and was asked to be
    cancelled in vain. Found by comparing a run on recorded frames with the backtest."""
    lines = Lines()
    bench = make_bench(
        trades([14_000, 14_006, *[14_000] * 6], step_ns=SECOND_NS // 10),
        job_grid(10, 3),
        job_paper("touch"),
        latency_ns=SECOND_NS // 4,
        journal=lines,
    )
    drive(bench)
    asked = sum(line.count('"t":"CancelOrder"') for line in lines.lines)
    assert asked > 0 == bench.exchange.counts["cancelled"]
