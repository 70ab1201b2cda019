"""Funding in a backtest: the configuration's rate or recorded ones, each payment once, at its own rate."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

pytest.importorskip("numpy")

from marketmaker.backtest.funding import RecordedFunding, read_funding
from marketmaker.errors import ConfigError
from tests.support.backtests import (
    SECOND_NS,
    START_NS,
    assert_same,
    both,
    job_grid,
    job_paper,
    trades,
)
from tests.support.recordings import csv_text, write

HOUR_NS = 3_600 * SECOND_NS


def schedule(*rates: str) -> RecordedFunding:
    return RecordedFunding(
        times_ns=tuple(START_NS + place * HOUR_NS for place in range(1, len(rates) + 1)),
        rates=tuple(map(Decimal, rates)),
    )


def test_each_recorded_rate_is_paid_once_on_what_is_held_then() -> None:
    """Down 21 ticks, then still: nothing is held at the first payment, one slot at the second, two at the third."""
    prices = [14_000, *range(13_999, 13_979, -1), *[13_979] * 4]
    reference, skipped = both(
        trades(prices, step_ns=HOUR_NS // 8),
        job_grid(),
        job_paper("touch"),
        funding=schedule("0.0001", "-0.0002", "0.0003", "0.0001"),
    )
    assert_same(reference, skipped)
    times, amounts = zip(*reference.payments, strict=True)
    assert list(times) == [START_NS + hour * HOUR_NS for hour in (2, 3)]
    held = sum(
        quantity * side
        for quantity, side in zip(reference.fills.qty_lots, reference.fills.side, strict=True)
    )
    value = held * 13_979 * 1e-5
    assert amounts[1] == pytest.approx(-0.0003 * value)
    assert amounts[0] > 0
    assert float(reference.totals.funding) == pytest.approx(sum(amounts))


def test_a_file_of_rates_is_read_by_its_columns(tmp_path: Path) -> None:
    """Binance's history, and a candle file whose open is the rate."""
    named = {
        "calc_time": [1_700_000_000_007, 1_700_028_800_000],
        "last_funding_rate": [1e-4, -5e-5],
    }
    bars = {
        "open_time_ms": named["calc_time"],
        **{key: [0.0, 0.0] for key in ("high", "low", "close")},
        "open": named["last_funding_rate"],
    }
    for number, columns in enumerate((named, bars)):
        found = read_funding(write(tmp_path / f"{number}.csv", csv_text(columns)))
        assert found.rates == (Decimal("0.0001"), Decimal("-0.00005"))
        assert found.next_ns(0) == 1_700_000_000_007_000_000


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"time": [1]}, "lacks rate"),
        ({"time": [1_700_000_000_000] * 2, "rate": [0, 0]}, "row 2: time does not go on"),
        ({"time": [1_700_000_000_000], "rate": ["nan"]}, "row 1: rate is nan, must be a finite"),
        ({"time": [1_700_000_000_000], "rate": ["a"]}, "row 1: rate 'a' is not a number"),
        ({"time": [1_700_000_000_000], "rate": [1]}, "row 1: rate 1 is over 0.1 a payment"),
    ],
)
def test_a_wrong_file_of_rates_is_one_line(
    tmp_path: Path, columns: dict[str, list[object]], problem: str
) -> None:
    path = write(tmp_path / "rates.csv", csv_text(columns))
    with pytest.raises(ConfigError, match=problem) as caught:
        read_funding(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
