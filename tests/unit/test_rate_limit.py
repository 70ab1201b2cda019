"""The token bucket: exact, never above its burst, and with something left for cancels."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.model.settings import ExecutionSettings
from marketmaker.runtime.rate_limit import TokenBucket, account_bucket
from tests.support.fakes import CAPABILITIES, NS


def test_a_new_bucket_is_full_and_cancels_alone_may_empty_it() -> None:
    bucket = TokenBucket(10, burst=10, reserve=0.2)
    assert not bucket.take(9, 0, cancel=False)
    assert bucket.take(8, 0, cancel=False)
    assert bucket.available(0, cancel=False) == 0
    assert bucket.take(2, 0, cancel=True)
    assert bucket.available(0, cancel=True) == 0


def test_the_wait_is_exact_to_the_nanosecond() -> None:
    bucket = TokenBucket(3, burst=1, reserve=0)
    assert bucket.take(1, 0, cancel=True)
    wait = bucket.wait_ns(1, 0, cancel=True)
    assert wait == 333_333_334
    assert bucket.available(wait - 1, cancel=True) == 0
    assert bucket.take(1, wait, cancel=True)


def test_a_rate_finer_than_a_thousandth_is_rounded_down_and_a_float_that_is_not() -> None:
    """Seeds with a thin budget: 5.5687 a second became 5.569, and a message too many left within the hour."""
    fine, exact = TokenBucket(5.5687, burst=10**5, reserve=0), TokenBucket(1.001, 10**5, 0)
    for bucket in (fine, exact):
        assert bucket.take(10**5, 0, cancel=True)
    assert fine.available(10_000 * NS, cancel=True) == 55_680
    assert exact.available(1_000 * NS, cancel=True) == 1_001


def test_nothing_drifts_over_a_day_of_odd_steps() -> None:
    """However time is cut up, exactly rate times time comes back."""
    bucket = TokenBucket(7, burst=10**7, reserve=0)
    bucket.take(10**7, 0, cancel=True)
    now, step = 0, 999_999_937
    while now + step < 86_400 * NS:
        now += step
        bucket.available(now, cancel=True)
    assert bucket.available(86_400 * NS, cancel=True) == 7 * 86_400


def test_a_pause_stops_cancels_too_and_a_shorter_one_does_not_end_it() -> None:
    bucket = TokenBucket(10, burst=10, reserve=0)
    bucket.pause_until(5 * NS)
    bucket.pause_until(2 * NS)
    assert not bucket.take(1, 3 * NS, cancel=True)
    assert bucket.wait_ns(1, 3 * NS, cancel=True) == 2 * NS
    assert bucket.take(1, 5 * NS, cancel=True)


def test_the_venues_own_count_only_lowers_the_level() -> None:
    bucket = TokenBucket(10, burst=10, reserve=0)
    bucket.correct(used=97, limit=100, now_ns=0)
    assert bucket.available(0, cancel=True) == 3
    bucket.correct(used=0, limit=100, now_ns=0)
    assert bucket.available(0, cancel=True) == 3
    bucket.correct(used=120, limit=100, now_ns=0)
    assert bucket.available(0, cancel=True) == 0


def test_a_long_rest_fills_the_bucket_and_no_more() -> None:
    bucket = TokenBucket(10, burst=10, reserve=0)
    bucket.take(10, 0, cancel=True)
    assert bucket.available(3600 * NS, cancel=True) == 10


def test_a_clock_set_back_neither_fills_nor_starves() -> None:
    bucket = TokenBucket(1, burst=1, reserve=0)
    bucket.take(1, 1000 * NS, cancel=True)
    assert bucket.available(0, cancel=True) == 0
    assert bucket.available(1 * NS, cancel=True) == 1


def test_a_wait_that_never_ends_is_refused() -> None:
    with pytest.raises(ValueError, match="burst of 10"):
        TokenBucket(1, burst=10, reserve=0.5).wait_ns(6, 0, cancel=False)


def test_the_reserve_leaves_at_least_one_token_to_placements() -> None:
    assert TokenBucket(1, burst=3, reserve=1.0).available(0, cancel=False) == 1


@pytest.mark.parametrize(("rate", "burst", "reserve"), [(0, 1, 0), (1, 0, 0), (1, 1, 1.5)])
def test_impossible_budgets_are_refused(rate: float, burst: int, reserve: float) -> None:
    with pytest.raises(ValueError, match="impossible budget"):
        TokenBucket(rate, burst, reserve)


def test_the_venues_limit_caps_what_the_operator_chose() -> None:
    settings = ExecutionSettings(orders_per_s=100, burst=200, cancel_reserve=0)
    bucket = account_bucket(settings, replace(CAPABILITIES, orders_per_s=2.0, order_burst=5))
    assert bucket.take(5, 0, cancel=False)
    assert bucket.wait_ns(1, 0, cancel=False) == NS // 2


@given(
    rate=st.integers(1, 50),
    burst=st.integers(1, 40),
    reserve=st.floats(0, 1),
    steps=st.lists(st.tuples(st.integers(0, 2 * NS), st.integers(1, 5), st.booleans())),
)
def test_no_window_ever_sees_more_than_burst_plus_rate(
    rate: int, burst: int, reserve: float, steps: list[tuple[int, int, bool]]
) -> None:
    """What was taken never exceeds the burst plus rate times time, and the wait told is the true one."""
    bucket = TokenBucket(rate, burst, reserve)
    now = taken = 0
    for gap, n, cancel in steps:
        now += gap
        if bucket.take(n, now, cancel=cancel):
            taken += n
        else:
            try:
                wait = bucket.wait_ns(n, now, cancel=cancel)
            except ValueError:
                continue
            assert wait > 0
            assert bucket.available(now + wait - 1, cancel=cancel) < n
            now += wait
            assert bucket.take(n, now, cancel=cancel)
            taken += n
        assert taken * NS <= burst * NS + rate * now
