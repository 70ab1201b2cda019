"""What broke the systems this one grew from, one test for each: the fault is injected by itself, over a few seeds.

Every rule of `sim.checks` watches all the while; a test adds only that its fault really struck and what else is true.
"""

from __future__ import annotations

import pytest

from marketmaker.sim.faults import Fault
from marketmaker.simulation import Outcome, Task, command_of, simulate

SEEDS = range(4)


def suffer(*faults: Fault, seeds: range = SEEDS) -> list[Outcome]:
    """Runs in which exactly these faults exist; each breaks no rule, and each fault strikes in one of them."""
    found = []
    for seed in seeds:
        task = Task(seed=seed, only=faults, minutes=2.5)
        outcome = simulate(task)
        assert outcome.violation is None, f"{outcome.violation}; again: {command_of(task)}"
        found.append(outcome)
    struck = {name for outcome in found for name in outcome.struck}
    assert {fault.value for fault in faults} <= struck
    return found


def test_f1_a_placement_whose_answer_is_lost_is_asked_for_and_never_doubled() -> None:
    outcomes = suffer(Fault.ANSWER_LOST, Fault.REQUEST_LOST, Fault.OUTCOME_UNKNOWN)
    assert sum(outcome.transitions.get("pending+unknown", 0) for outcome in outcomes) > 0


def test_f2_updates_repeated_late_or_out_of_order_change_nothing_twice() -> None:
    suffer(Fault.REPORT_REPEATED, Fault.REPORT_REORDERED, Fault.REPORT_DELAYED, Fault.LATE_ANSWER)


def test_f3_a_partial_fill_that_was_never_told_is_taken_from_the_last_word() -> None:
    suffer(Fault.REPORT_MERGED, Fault.STREAM_SILENT)


def test_f4_a_fill_between_a_cancel_and_its_answer_counts_once() -> None:
    suffer(Fault.SLOW_REQUEST, Fault.LATE_ANSWER, Fault.QUIET_CANCEL)


def test_f5_an_order_stream_that_is_down_or_silent_while_orders_fill_loses_nothing() -> None:
    suffer(Fault.STREAM_DOWN, Fault.STREAM_SILENT)


def test_f6_no_entry_rests_on_a_half_open_price_stream() -> None:
    suffer(Fault.PRICE_SILENT, Fault.PRICE_DOWN, Fault.PRICE_OUTLIER)


def test_f7_a_stop_while_placing_leaves_nothing_open_and_sends_nothing_after() -> None:
    suffer(Fault.STOP, Fault.LATE_ANSWER, Fault.SLOW_REQUEST, seeds=range(8))


@pytest.mark.parametrize("disk", [Fault.CRASH, Fault.CRASH_DISK_LOST, Fault.CRASH_DISK_OLD])
def test_f8_a_killed_process_comes_back_to_its_orders_and_position(disk: Fault) -> None:
    assert sum(outcome.processes >= 3 for outcome in suffer(disk)) >= 2


def test_f9_an_endpoint_that_answers_empty_stale_or_not_at_all_destroys_nothing() -> None:
    suffer(Fault.SNAPSHOT_EMPTY, Fault.SNAPSHOT_STALE, Fault.SNAPSHOT_ERROR)
    suffer(Fault.QUERY_LAG, Fault.OUTCOME_UNKNOWN, Fault.ANSWER_LOST)


def test_f10_a_position_closed_by_hand_is_noticed_without_a_storm_of_retries() -> None:
    outcomes = suffer(Fault.MANUAL_CLOSE, Fault.REDUCE_ONLY_REFUSED)
    assert all(outcome.placed < 1_000 for outcome in outcomes)


def test_f11_foreign_orders_and_a_second_bot_are_never_touched() -> None:
    suffer(Fault.SECOND_BOT, Fault.MANUAL_ORDER, Fault.CRASH)


def test_f12_a_cancel_that_is_refused_or_unanswered_stays_open_until_it_is_known() -> None:
    suffer(Fault.ANSWER_LOST, Fault.OVERLOADED, Fault.QUIET_CANCEL, Fault.MAINTENANCE)


def test_f14_exits_go_on_while_entries_are_kept_out() -> None:
    suffer(Fault.NO_MARGIN, Fault.PRICE_SILENT, Fault.DISK_FULL, Fault.DISK_SHORT)


def test_f17_a_rate_limit_a_ban_or_maintenance_stills_the_whole_account() -> None:
    suffer(Fault.RATE_LIMIT, Fault.BAN, Fault.MAINTENANCE, Fault.POST_ONLY_MODE, Fault.OVERLOADED)


def test_f19_a_process_that_did_not_run_for_a_while_acts_on_the_newest_price() -> None:
    suffer(Fault.STALL, Fault.REPORT_DELAYED)


def test_f21_a_full_or_slow_disk_loses_nothing() -> None:
    suffer(Fault.DISK_FULL, Fault.DISK_SHORT, Fault.CRASH)


def test_f22_a_clock_that_jumps_and_drifts_doubles_nothing() -> None:
    suffer(Fault.CLOCK_JUMP, Fault.CLOCK_DRIFT, Fault.CLOCK_REFUSED)


def test_orders_refused_late_or_ended_by_the_venue_are_placed_again_with_patience() -> None:
    suffer(Fault.LATE_POST_ONLY, Fault.ENDED_BY_VENUE, Fault.NOT_SENT, seeds=range(12))
