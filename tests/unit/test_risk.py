"""The candle gate and the limits on the account."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from marketmaker.core.risk import (
    DAY_NS,
    CandleGate,
    EquityWatch,
    SymbolStatus,
    Transition,
    assess_limits,
)
from marketmaker.model.market import Candle
from marketmaker.model.settings import RiskSettings
from tests.support.fakes import NS

MINUTE = 60 * NS
T0 = 1_750_000_020 * NS // MINUTE * MINUTE
THREE = ("A", "B", "C")


def candle(
    symbol: str,
    minute: int,
    *,
    close: float = 100.0,
    volume: float = 10.0,
    closed: bool = True,
    interval_s: int = 60,
) -> Candle:
    return Candle(
        symbol=symbol,
        interval_s=interval_s,
        open_ts_ns=T0 + minute * MINUTE,
        open=100.0,
        high=max(100.0, close),
        low=min(100.0, close),
        close=close,
        volume=volume,
        closed=closed,
    )


def at(minute: float) -> int:
    return T0 + round(minute * MINUTE)


def make_settings(symbols: tuple[str, ...] = THREE, threshold: int = 3) -> RiskSettings:
    return RiskSettings(monitor_symbols=symbols, average_window=3, recovery_threshold=threshold)


def calm_gate(symbols: tuple[str, ...] = THREE, threshold: int = 3) -> CandleGate:
    """Minutes -5 to -1 were calm and are closed; it is now the start of minute 0."""
    gate = CandleGate(make_settings(symbols, threshold))
    for minute in range(-5, 0):
        for symbol in symbols:
            assert gate.hear(candle(symbol, minute), at(minute + 1)) is None
    return gate


def everybody(
    gate: CandleGate,
    minute: int,
    now: int,
    *,
    close: float,
    volume: float,
    closed: bool,
    symbols: tuple[str, ...] = THREE,
) -> list[Transition]:
    heard = [
        gate.hear(candle(symbol, minute, close=close, volume=volume, closed=closed), now)
        for symbol in symbols
    ]
    return [change for change in heard if change is not None]


def crash(gate: CandleGate, minute: int, now: int, *, closed: bool = False) -> list[Transition]:
    return everybody(gate, minute, now, close=90.0, volume=100.0, closed=closed)


def rise(gate: CandleGate, minute: int, now: int, *, closed: bool = True) -> list[Transition]:
    return everybody(gate, minute, now, close=110.0, volume=10.0, closed=closed)


def status_of(gate: CandleGate, symbol: str, now: int) -> SymbolStatus:
    return next(s for s in gate.status(now).symbols if s.symbol == symbol)


def test_the_gate_shuts_when_every_symbol_panics_on_its_open_candle() -> None:
    gate = calm_gate()
    assert gate.hear(candle("A", 0, close=90, volume=100, closed=False), at(0.1)) is None
    assert gate.hear(candle("B", 0, close=90, volume=100, closed=False), at(0.1)) is None
    change = gate.hear(candle("C", 0, close=90, volume=100, closed=False), at(0.2))
    assert change is not None
    assert change.shut
    assert change.ts_ns == gate.since_ns == at(0.2)
    assert "all 3 markets panic: A close 90 < mean 100, volume 10.0 > 3 x mean" in change.reason


def test_close_at_the_mean_or_volume_at_the_multiple_is_no_panic() -> None:
    gate = calm_gate(("A",))
    assert gate.hear(candle("A", 0, close=100, volume=100, closed=False), at(0.1)) is None
    assert gate.hear(candle("A", 0, close=90, volume=30, closed=False), at(0.2)) is None
    assert gate.hear(candle("A", 0, close=90, volume=30.1, closed=False), at(0.3)) is not None


def test_averages_leave_out_the_candle_that_is_judged() -> None:
    gate = calm_gate(("A",))
    gate.hear(candle("A", 0, close=90, volume=31, closed=True), at(1))
    status = status_of(gate, "A", at(1))
    assert (status.mean_close, status.mean_volume, status.ratio) == (100.0, 10.0, 3.1)
    assert gate.shut


def test_one_symbol_that_stays_calm_keeps_the_gate_open() -> None:
    gate = calm_gate()
    for symbol in ("A", "B"):
        assert gate.hear(candle(symbol, 0, close=90, volume=100, closed=False), at(0.1)) is None
    assert not gate.shut


def test_a_crash_after_a_calm_minute_shuts_once_and_does_not_flap() -> None:
    """The seed opened on the last closed candle, the calm minute, and shut again on every update."""
    gate = calm_gate()
    changes = []
    for second in range(0, 60, 3):
        changes += crash(gate, 0, at(second / 60))
    assert [change.shut for change in changes] == [True]
    changes = crash(gate, 0, at(1), closed=True)
    for second in range(0, 60, 3):
        changes += everybody(gate, 1, at(1 + second / 60), close=85.0, volume=50.0, closed=False)
    assert changes == []
    assert gate.shut


def test_it_opens_after_a_candle_that_opened_and_closed_since_and_not_before_min_hold() -> None:
    gate = calm_gate()
    crash(gate, 0, at(0.2))
    crash(gate, 0, at(1), closed=True)
    assert rise(gate, 1, at(2)) == []  # healthy, opened and closed since, but only 108 s
    assert gate.status(at(2)).recovered == 3
    assert gate.assess(at(2.2) - 1) is None
    change = gate.assess(at(2.2))
    assert change is not None
    assert not change.shut
    assert change.reason == "3 of 3 markets have recovered"


def test_a_candle_that_opened_before_the_gate_shut_never_opens_it() -> None:
    gate = calm_gate()
    crash(gate, 0, at(0.2))
    rise(gate, 0, at(1))
    assert gate.status(at(1)).recovered == 0
    rise(gate, 1, at(1.1), closed=False)
    assert gate.assess(at(2.9)) is None


def test_an_open_candle_never_counts_as_recovered() -> None:
    gate = calm_gate()
    crash(gate, 0, at(0.2))
    crash(gate, 0, at(1), closed=True)
    assert rise(gate, 1, at(1.9), closed=False) == []
    assert gate.status(at(1.9)).recovered == 0


def test_a_recovery_lapses_with_the_next_bad_candle() -> None:
    gate = calm_gate()
    crash(gate, 0, at(0.2))
    crash(gate, 0, at(1), closed=True)
    rise(gate, 1, at(2))
    everybody(gate, 2, at(2.1), close=50.0, volume=900.0, closed=False)
    assert gate.status(at(2.1)).recovered == 0
    everybody(gate, 2, at(3), close=50.0, volume=10.0, closed=True)
    assert gate.status(at(3)).recovered == 0
    assert gate.assess(at(3)) is None


def test_two_healthy_of_three_needed_are_not_enough() -> None:
    gate = calm_gate()
    crash(gate, 0, at(0.2))
    gate.hear(candle("C", 3, close=50.0), at(4))
    for symbol in ("A", "B"):
        gate.hear(candle(symbol, 3, close=110.0), at(4))
    assert gate.assess(at(4)) is None
    assert gate.status(at(4)).recovered == 2


def test_the_threshold_never_asks_for_more_symbols_than_have_data() -> None:
    gate = calm_gate(("A", "B"), threshold=3)
    for symbol in ("A", "B"):
        gate.hear(candle(symbol, 0, close=90, volume=100), at(1))
    assert gate.shut
    assert gate.status(at(1)).needed == 2
    changes = [gate.hear(candle(symbol, 3, close=110.0), at(4)) for symbol in ("A", "B")]
    assert [c.shut for c in changes if c] == [False]


def test_a_symbol_without_data_neither_stops_the_gate_from_shutting_nor_counts_as_healthy() -> None:
    gate = CandleGate(make_settings(("A", "B")))
    for minute in range(-5, 0):
        gate.hear(candle("A", minute), at(minute + 1))
    assert status_of(gate, "B", at(0)).no_data == "no candle yet"
    change = gate.hear(candle("A", 0, close=90, volume=100, closed=False), at(0.1))
    assert change is not None
    assert change.shut
    assert gate.status(at(0.1)).needed == 1


def test_without_any_data_the_gate_stays_as_it_is() -> None:
    gate = calm_gate()
    crash(gate, 0, at(0.2))
    rise(gate, 1, at(2))
    assert gate.status(at(60)).needed == 0
    assert gate.assess(at(60)) is None
    assert gate.shut
    fresh = CandleGate(make_settings())
    assert fresh.assess(at(60)) is None
    assert not fresh.shut


def test_two_quiet_intervals_are_no_data() -> None:
    gate = calm_gate(("A",))
    assert status_of(gate, "A", at(2)).no_data == ""
    assert status_of(gate, "A", at(2) + 1).no_data == "quiet for 120 s"


def test_a_stream_that_repeats_an_old_candle_is_quiet_as_well() -> None:
    gate = calm_gate(("A",))
    for second in range(0, 400, 5):
        gate.hear(candle("A", -1), at(second / 60))
    assert status_of(gate, "A", at(6)).no_data.startswith("quiet")


def test_history_that_is_only_old_is_no_data() -> None:
    gate = CandleGate(make_settings(("A",)))
    for minute in range(-5, 0):
        gate.hear(candle("A", minute), at(100))
    assert status_of(gate, "A", at(100)).no_data == "only old candles"


def test_a_short_history_and_one_without_volume_are_no_data() -> None:
    gate = CandleGate(make_settings(("A", "B")))
    for minute in range(-3, 0):
        gate.hear(candle("A", minute), at(0))
        gate.hear(candle("B", minute, volume=0.0), at(0))
    gate.hear(candle("B", 0, volume=5.0, close=90.0, closed=False), at(0))
    assert status_of(gate, "A", at(0)).no_data == "2 of 3 closed candles"
    assert status_of(gate, "B", at(0)).no_data == "no volume"


def test_a_venue_that_never_says_closed_says_it_by_going_on() -> None:
    gate = CandleGate(make_settings(("A",)))
    for minute in range(-5, 1):
        gate.hear(candle("A", minute, closed=False), at(minute))
    assert status_of(gate, "A", at(0)).no_data == ""


def test_a_late_open_reading_does_not_undo_a_closed_candle() -> None:
    gate = calm_gate(("A",))
    gate.hear(candle("A", 0, close=100.0, closed=True), at(1))
    assert gate.hear(candle("A", 0, close=1.0, volume=999.0, closed=False), at(1)) is None
    assert not gate.shut


def test_foreign_symbols_other_intervals_and_impossible_figures_change_nothing() -> None:
    gate = calm_gate(("A",))
    before = gate.status(at(0))
    for strange in (
        candle("Z", 0, close=1, volume=999),
        candle("A", 0, close=1, volume=999, interval_s=300),
        candle("A", 0, close=float("nan"), volume=999),
        candle("A", 0, close=1, volume=float("inf")),
        candle("A", 0, close=1, volume=-1),
    ):
        assert gate.hear(strange, at(0)) is None
    assert gate.status(at(0)) == before


def test_order_of_arrival_of_history_and_stream_does_not_matter() -> None:
    candles = [candle("A", minute, close=100.0 + minute) for minute in range(-5, 0)]
    forward, backward = CandleGate(make_settings(("A",))), CandleGate(make_settings(("A",)))
    for one in candles:
        forward.hear(one, at(0))
    for one in reversed(candles):
        backward.hear(one, at(0))
    assert forward.status(at(0)) == backward.status(at(0))


def test_memory_stays_at_two_windows() -> None:
    gate = CandleGate(make_settings(("A",)))
    for minute in range(500):
        gate.hear(candle("A", minute), at(minute + 1))
    assert len(gate._histories["A"].closed) <= 7


@given(
    st.lists(
        st.tuples(
            st.sampled_from(THREE),
            st.sampled_from([50.0, 90.0, 100.0, 110.0, 150.0]),
            st.sampled_from([0.0, 1.0, 10.0, 35.0, 500.0]),
            st.booleans(),
            st.integers(0, 90),
        ),
        max_size=250,
    )
)
def test_the_gate_never_flips_more_than_once_per_min_hold(
    steps: list[tuple[str, float, float, bool, int]],
) -> None:
    """Shut and open alternate, open comes at least min_hold after shut: so each of them at most once per min_hold."""
    gate = calm_gate()
    now = at(0)
    changes = []
    for symbol, close, volume, closed, seconds in steps:
        now += seconds * NS
        minute = (now - T0) // MINUTE
        one = candle(symbol, minute - closed, close=close, volume=volume, closed=closed)
        changes += [gate.hear(one, now)]
    flips = [change for change in changes if change is not None]
    assert [flip.shut for flip in flips] == [index % 2 == 0 for index in range(len(flips))]
    for earlier, later in pairwise(flips):
        if earlier.shut:
            assert later.ts_ns - earlier.ts_ns >= 120 * NS


D = Decimal


def test_limits_are_fractions_of_the_equity_at_the_start() -> None:
    settings = RiskSettings(daily_loss_limit=D("0.05"), max_drawdown=D("0.1"))
    assert assess_limits(D(951), D(1000), D(1000), D(1000), settings) is None
    daily = assess_limits(D(950), D(1000), D(1000), D(1000), settings)
    assert daily == "daily_loss_limit: equity is 50 below 1000, the limit is 50.00"
    drawdown = assess_limits(D(1100), D(1000), D(1200), D(1100), settings)
    assert drawdown == "max_drawdown: equity is 100 below 1200, the limit is 100.0"


def test_without_limits_nothing_is_reached() -> None:
    assert assess_limits(D(0), D(1000), D(1000), D(1000), RiskSettings()) is None


def test_a_limit_of_zero_allows_no_loss_but_does_not_fire_on_none() -> None:
    settings = RiskSettings(max_drawdown=D(0))
    assert assess_limits(D(1000), D(1000), D(1000), D(1000), settings) is None
    assert assess_limits(D("999.99"), D(1000), D(1000), D(1000), settings) is not None


def test_a_daily_loss_holds_until_the_utc_day_ends_and_counts_anew_from_there() -> None:
    watch = EquityWatch(RiskSettings(daily_loss_limit=D("0.05")))
    day = 20_000 * DAY_NS
    assert watch.hear(D(1000), day) == ""
    assert watch.hear(D(940), day + 1).startswith("daily_loss_limit")
    assert watch.hear(D(999), day + DAY_NS - 1).startswith("daily_loss_limit")
    assert watch.hear(D(940), day + DAY_NS) == ""
    assert watch.hear(D(889), day + DAY_NS + 1).startswith("daily_loss_limit")


def test_a_drawdown_is_from_the_peak_and_holds_for_good() -> None:
    watch = EquityWatch(RiskSettings(daily_loss_limit=D("0.05"), max_drawdown=D("0.2")))
    day = 20_000 * DAY_NS
    watch.hear(D(1000), day)
    watch.hear(D(1300), day + 1)
    assert watch.hear(D(1101), day + DAY_NS) == ""
    assert watch.hear(D(1040), day + DAY_NS + 1).startswith("max_drawdown")
    assert watch.hear(D(2000), day + 5 * DAY_NS).startswith("max_drawdown")


def test_a_drawdown_is_found_while_a_daily_loss_already_holds() -> None:
    watch = EquityWatch(RiskSettings(daily_loss_limit=D("0.05"), max_drawdown=D("0.2")))
    day = 20_000 * DAY_NS
    watch.hear(D(1000), day)
    assert watch.hear(D(900), day + 1).startswith("daily_loss_limit")
    assert watch.hear(D(800), day + 2).startswith("max_drawdown")
    assert watch.hear(D(1000), day + DAY_NS).startswith("max_drawdown")
