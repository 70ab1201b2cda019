"""What a sweep amounts to.

The data is cut into folds + 1 parts of equally many events. Every trial runs on each part from a fresh start.

    fold k         of all trials the one that did best on part k, and what it did on part k + 1, which chose nothing
    in sample      all parts but the last: the return is their sum, the drawdown the deepest of them
    out of sample  the last part; no trial was proposed or chosen by it
    front          trials that no other beats in sample on return and drawdown both

Returns and drawdowns are fractions of the balance at the beginning, drawdowns of the peak. Equal results: the lower
number comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from marketmaker.sweep.store import Part, Trial

OBJECTIVES = ("return", "calmar")
LEAST_DRAWDOWN = 1e-4
"""Calmar divides by no less than 0.01 %: a grid that hardly trades is not the best of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Fractions of the balance."""

    gain: float
    drawdown: float
    fills: int

    def as_json(self) -> dict[str, Any]:
        return {"return": self.gain, "drawdown": self.drawdown, "fills": self.fills}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    number: int
    trial: Trial
    inside: Outcome
    outside: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    folds: tuple[Fold, ...]
    front: tuple[Trial, ...]
    best: Trial


def outcome(parts: Sequence[Part], balance: float) -> Outcome:
    return Outcome(
        gain=sum(part.pnl for part in parts) / balance,
        drawdown=max(part.share for part in parts),
        fills=sum(part.fills for part in parts),
    )


def in_sample(trial: Trial, balance: float) -> Outcome:
    return outcome(trial.parts[:-1], balance)


def out_of_sample(trial: Trial, balance: float) -> Outcome:
    return outcome(trial.parts[-1:], balance)


def score(found: Outcome, objective: str) -> float:
    if objective == "calmar":
        return found.gain / max(found.drawdown, LEAST_DRAWDOWN)
    return found.gain


def judge(trials: Sequence[Trial], *, balance: float, objective: str) -> Verdict | None:
    """None when no trial could be tried. `trials` in any order."""
    tried = sorted((trial for trial in trials if trial.parts), key=lambda trial: trial.number)
    if not tried:
        return None
    folds = []
    for place in range(len(tried[0].parts) - 1):
        here = {trial.number: outcome(trial.parts[place : place + 1], balance) for trial in tried}
        chosen = max(tried, key=lambda trial: (score(here[trial.number], objective), -trial.number))
        folds.append(
            Fold(
                number=place + 1,
                trial=chosen,
                inside=here[chosen.number],
                outside=outcome(chosen.parts[place + 1 : place + 2], balance),
            )
        )
    whole = {trial.number: in_sample(trial, balance) for trial in tried}
    best = max(tried, key=lambda trial: (score(whole[trial.number], objective), -trial.number))
    return Verdict(folds=tuple(folds), front=tuple(front_of(tried, balance)), best=best)


def front_of(trials: Sequence[Trial], balance: float) -> list[Trial]:
    """Smallest drawdown first; of trials with equal results the first alone."""
    placed = [(in_sample(trial, balance), trial) for trial in trials]
    placed.sort(key=lambda pair: (pair[0].drawdown, -pair[0].gain, pair[1].number))
    front, highest = [], float("-inf")
    for found, trial in placed:
        if found.gain > highest:
            front.append(trial)
            highest = found.gain
    return front
