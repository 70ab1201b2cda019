"""SIGTERM and SIGINT at any moment end the daemon in good order: nothing open, nothing sent after, exit code 0."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.daemon import (
    TWO_SYMBOLS,
    Daemon,
    Ended,
    Strike,
    cancels_of,
    problems_of_books,
    problems_of_stop,
    problems_of_strike,
    strike,
    strikes,
    write_config,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SEED = 20261120
BLOWS = strikes(24, SEED)
AT_ONCE = 4


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Future[Ended]]]:
    """All runs, a few at a time; each test waits for its own."""

    folders = [tmp_path_factory.mktemp("strike") for _ in BLOWS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield [
            pool.submit(strike, folder, write_config(folder, TWO_SYMBOLS), blow)
            for folder, blow in zip(folders, BLOWS, strict=True)
        ]


@pytest.mark.parametrize("place", range(len(BLOWS)), ids=map(str, BLOWS))
def test_a_signal_at_a_random_moment_leaves_nothing_open(
    struck: list[Future[Ended]], place: int
) -> None:
    assert problems_of_strike(struck[place].result(), BLOWS[place]) == []


def test_the_random_moments_lie_before_and_after_the_first_order(
    struck: list[Future[Ended]],
) -> None:
    placed = [sum(row["orders_placed"] for row in future.result().symbols) for future in struck]
    assert min(placed) == 0
    assert all(count for count, blow in zip(placed, BLOWS, strict=True) if blow.trading)


STANDS_STILL = """
import sys, time
from pathlib import Path

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "structlog":
            here = Path(__file__).parent
            (here / "importing").touch()
            while not (here / "go").exists():
                time.sleep(0.005)

sys.meta_path.insert(0, Finder())
"""
"""As `sitecustomize`: the program stands still in the middle of its imports until it is told to go on."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_imports_sends_nothing_and_still_writes_the_summary(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "sitecustomize.py").write_text(STANDS_STILL)
    config = write_config(tmp_path, TWO_SYMBOLS)
    daemon = Daemon(tmp_path, config, env={"PYTHONPATH": str(tmp_path)}).start()
    try:
        while not (tmp_path / "importing").exists():
            time.sleep(0.005)
        daemon.send(number)
        time.sleep(0.05)
        (tmp_path / "go").touch()
        ended = daemon.finish()
    finally:
        daemon.kill()
    assert problems_of_strike(ended, Strike(number, 0.0, 1)) == []
    assert [row["orders_placed"] for row in ended.symbols] == [0, 0]
    assert "Traceback" not in ended.err


def test_more_signals_change_nothing(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, write_config(tmp_path, TWO_SYMBOLS)).start()
    try:
        daemon.wait_until_it_minds_signals()
        time.sleep(0.8)
        ended = daemon.pelt(signal.SIGINT, signal.SIGTERM)
    finally:
        daemon.kill()
    assert problems_of_books(ended) == []
    assert problems_of_stop(ended) == []
    assert ended.summary is not None
    assert ended.summary["exit_reason"] in {"SIGINT", "SIGTERM"}
    assert "Traceback" not in ended.err


def test_a_signal_ends_a_run_on_virtual_time(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, write_config(tmp_path, TWO_SYMBOLS), ("--speed", "max")).start()
    try:
        daemon.wait_until_it_trades()
        daemon.send(signal.SIGTERM)
        ended = daemon.finish()
    finally:
        daemon.kill()
    assert problems_of_strike(ended, Strike(signal.SIGTERM, 1.0, 1)) == []
    _, entries = ended.entries()
    assert cancels_of(entries) > 0


HANGING = TWO_SYMBOLS + "shutdown_timeout: 4\n"
LONG_S = 20.0


def test_a_signal_while_placements_hang_ends_in_time_and_names_what_is_not_confirmed(
    tmp_path: Path,
) -> None:
    """The venue took the orders, answers nothing about them, and its order stream is down."""
    daemon = Daemon(
        tmp_path, write_config(tmp_path, HANGING), command=("-m", "tests.support.hanging_daemon")
    ).start()
    try:
        daemon.wait_for_error_output("HANGING")
        time.sleep(0.2)
        daemon.send(signal.SIGTERM)
        began_s = time.monotonic()
        ended = daemon.finish()
        took_s = time.monotonic() - began_s
    finally:
        daemon.kill()
    assert took_s < LONG_S, "it waited for as long as without that setting"
    assert ended.code == 1
    assert ended.summary is not None
    assert ended.summary["exit_reason"] == "SIGTERM"
    assert ended.summary["open_orders_left"] == 0
    assert any("placement without an answer" in what for what in ended.summary["unconfirmed"])
    assert "NOT CONFIRMED: " in ended.err
    assert "Traceback" not in ended.err
    assert not any("placed after the stop" in what for what in problems_of_stop(ended))
