"""`marketmaker bench` in a process of its own: the daemon against the stopwatch, over real sockets."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("picows")
pytest.importorskip("sqlalchemy")

pytestmark = pytest.mark.e2e


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "marketmaker", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_no_tick_gets_two_orders_and_every_stage_is_seen() -> None:
    answer = bench("--ticks", "100", "--json")
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout)
    assert set(result["faults"]) <= {"a tick without an order for a second"}  # a busy machine
    assert result["twice"] == result["unmatched"] == 0
    assert result["lat_us"]["n"] > 0
    assert all(us > 0 for us in result["stages_us"].values())


def test_a_wrong_pace_is_bad_usage() -> None:
    answer = bench("--pace", "fast")
    assert answer.returncode == 2
    assert "fast" in answer.stderr
