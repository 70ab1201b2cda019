"""The whole daemon against a venue that misbehaves, by seed. What must hold is written down in `sim.checks`."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from marketmaker.sim.faults import Fault, draw_plan, parse_faults
from marketmaker.simulation import Task, command_of, outcomes, simulate, transition_pairs

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 240
MINUTES = 2.5
FORMER_FAILURES = {
    1009: "a reduce-only refusal while part of the position is the owner's",
    1023: "an order resting between two attempts left while the order stream was down",
    1031: "the last readings waited for a position that belongs to somebody else",
    1059: "an order was tried again after entries had been locked for want of margin",
    1103: "trades that a process without memory had taken over were booked again by the next",
    2140: "inventory given up to match the position came back with the next process",
    2239: "an empty list of open orders at the start was believed at once",
    2176: "an exit of a neutral grid was reduce-only while the other side held too little to sell",
}
"""Seed of three minutes → what it once found."""
YOUNGER = (Fault.THIN_BUDGET, Fault.ENDPOINT_DOWN, Fault.PRICE_LEAP)
"""Kinds of faults that did not exist when those seeds were found."""
SEEN_TOO_STRICTLY = [
    pytest.param(48, (), id="a trade that the first reading did not tell, of an order it listed"),
    pytest.param(48, YOUNGER, id="a stop asked for while the disk held the process up"),
    pytest.param(1193, YOUNGER, id="an order listed as open after it had filled"),
    pytest.param(1664, YOUNGER, id="two refusals in one answer"),
    pytest.param(1089, (), id="an entry that gave a slot back what it owed"),
]
"""Seed of ten minutes, kinds it is run without."""


def test_seeds_with_the_faults_they_draw_break_no_rule() -> None:
    tasks = (Task(seed=seed, minutes=MINUTES) for seed in range(SEEDS))
    for task, outcome in outcomes(tasks, min(2, os.cpu_count() or 1)):
        assert outcome.violation is None, f"{outcome.violation}; again: {command_of(task)}"


@pytest.mark.parametrize(
    ("seed", "minutes", "without"),
    [
        pytest.param(48, 2.0, YOUNGER, id="dust carried to another slot was not written down"),
        pytest.param(135, 5.0, YOUNGER, id="an entry over dust was placed again by a restart"),
        pytest.param(280, 10.0, YOUNGER, id="a quantity booked without its trade was booked again"),
        pytest.param(
            1008, 10.0, YOUNGER, id="a trade older than those the stream told was never asked for"
        ),
        pytest.param(
            285, 10.0, YOUNGER, id="a position left to the owner was taken by the next process"
        ),
        pytest.param(712, 10.0, (), id="booked again from an earlier trade after two crashes"),
    ],
)
def test_a_longer_seed_that_once_found_a_bug_finds_none(
    seed: int, minutes: float, without: tuple[Fault, ...]
) -> None:
    assert (
        simulate(Task(seed=seed, minutes=minutes, journal=True, without=without)).violation is None
    )


@pytest.mark.parametrize(("seed", "without"), SEEN_TOO_STRICTLY)
def test_a_seed_in_which_the_observer_was_wrong_breaks_no_rule(
    seed: int, without: tuple[Fault, ...]
) -> None:
    assert simulate(Task(seed=seed, minutes=10, without=without)).violation is None


@pytest.mark.parametrize("seed", FORMER_FAILURES, ids=lambda seed: f"seed-{seed}")
def test_a_seed_that_once_found_a_bug_finds_none(seed: int) -> None:
    assert simulate(Task(seed=seed, without=YOUNGER)).violation is None


def test_a_run_without_faults_trades_and_sends_nothing_after_a_restart() -> None:
    outcome = simulate(Task(seed=1, only=()))
    assert outcome.violation is None
    assert outcome.trades > 10
    assert outcome.processes == 2
    assert outcome.healed_s >= 0


def digest_of(seeds: int, hash_seed: str) -> str:
    """What the command prints over all journals and requests, from a process of its own."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "marketmaker", "simulate", "--digest", "--json"),
            *("--seeds", str(seeds), "--minutes", "2"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(run.stdout)
    assert result["seeds"] == seeds and not result["violations"] and result["orders_placed"] > 100
    digest: str = result["digest"]
    return digest


def test_the_same_seeds_give_the_same_journals_and_requests_whatever_the_hash_seed() -> None:
    digests = {digest_of(4, hash_seed) for hash_seed in ("1", "2")}
    assert len(digests) == 1 and len(digests.pop()) == 64


@pytest.mark.long
def test_fifty_seeds_give_the_same_journals_and_requests_in_two_processes() -> None:
    digests = {hash_seed: digest_of(50, hash_seed) for hash_seed in ("1", "77")}
    print(f"PYTHONHASHSEED, digest of 50 seeds: {digests}")
    assert len(set(digests.values())) == 1


def test_a_journal_that_differs_changes_the_digest() -> None:
    one, other = (simulate(Task(seed=seed, minutes=2, journal=True)) for seed in (7, 8))
    assert one.journal_digest != other.journal_digest
    assert one.journal_digest != hashlib.sha256(b"").hexdigest()


def test_a_kind_of_fault_that_is_switched_off_leaves_the_others_as_they_were() -> None:
    whole = draw_plan(3, 90.0)
    dropped = whole.kinds[0]
    rest = draw_plan(3, 90.0, without=(dropped,))
    assert dropped not in rest.kinds
    assert rest.strikes == tuple(s for s in whole.strikes if s.fault is not dropped)
    assert rest.rates == {kind: rate for kind, rate in whole.rates.items() if kind is not dropped}


def test_every_kind_of_fault_can_be_named_and_is_drawn_by_some_seed() -> None:
    named = parse_faults(",".join(fault.value for fault in Fault))
    assert named == tuple(Fault)
    assert {kind for seed in range(40) for kind in draw_plan(seed, 90.0).kinds} == set(Fault)


def test_every_fault_ends_in_time_for_the_grid_to_become_whole() -> None:
    plan = draw_plan(5, 90.0, only=tuple(Fault))
    assert all(strike.stop_s <= 90.0 for strike in plan.strikes)


def test_a_table_of_seeds_reaches_every_slot_transition_that_can_be() -> None:
    """Of those that need a rare meeting one is enough; the others come by themselves."""
    reached: dict[str, int] = {}
    for seed in (1, 2, 3, 7, 9, 10, 12, 101):
        for pair, times in simulate(Task(seed=seed, minutes=4)).transitions.items():
            reached[pair] = reached.get(pair, 0) + times
    pairs = transition_pairs()
    assert {pair for pair, then in pairs.items() if not then}.isdisjoint(reached)
    assert reached.keys() >= {pair for pair, then in pairs.items() if then} - {
        "pending+part_filled"
    }


COMPANY = {Fault.QUERY_LAG: (Fault.OUTCOME_UNKNOWN,)}
"""What a fault needs beside it: nobody asks about a young order whose placement was answered."""


def test_each_kind_of_fault_does_something_by_itself() -> None:
    """Alone, in one of a few seeds; those that meet an order or a disk need more than one."""
    idle = set(Fault)
    for seed in range(6):
        for fault in sorted(idle, key=lambda each: each.value):
            task = Task(seed=seed, minutes=3, only=(fault, *COMPANY.get(fault, ())))
            if simulate(task).struck.get(fault.value):
                idle.discard(fault)
    assert not idle, idle
