"""Setting the machine's clock while we run changes nothing for us."""

from __future__ import annotations

import time

import pytest

from marketmaker.runtime.clock import RealClock


def test_the_clock_begins_at_the_time_of_day() -> None:
    assert abs(RealClock().now_ns() - time.time_ns()) < 60 * 1_000_000_000


def test_a_clock_set_back_or_forward_is_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RealClock()
    before = clock.now_ns()
    for jump_s in (-86_400, 86_400):
        there = time.time_ns() + jump_s * 1_000_000_000
        monkeypatch.setattr(time, "time_ns", lambda there=there: there)
        after = clock.now_ns()
        assert before <= after < before + 60 * 1_000_000_000
