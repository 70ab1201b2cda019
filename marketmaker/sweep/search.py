"""Optuna proposes trials in batches; a batch is proposed when the one before is told, in the order of its numbers.

So what is tried depends on the seed and on the results, and not on who computed them, how many did, or in which order
they were done. Each batch has a sampler of its own, seeded by the seed and the batch's number: a resumed sweep asks
again, is given the same trials, and only computes those whose results it does not have.

    random  independent draws              batches of 64
    grid    every combination, shuffled    batches of 64
    tpe     tree-structured Parzen         batches of 8, each drawn from what all before have shown
    nsga2   evolution on return and        batches of 24: one generation
            drawdown together
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from marketmaker.sweep.space import Choice, Params, Range, Space, Steps

BATCH = {"random": 64, "grid": 64, "tpe": 8, "nsga2": 24}
SAMPLERS = tuple(BATCH)
BATCHES_OF_A_SEED = 1_000_003
"""Seeds of one sweep's samplers lie in a row; another sweep's begin elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    number: int
    params: Params


class Search:
    """`batches` yields proposals; the caller answers each batch with `tell` before it asks for the next one.

    `score` is higher for better; `pair` is (return, drawdown), which nsga2 takes instead. None: could not be tried.
    """

    def __init__(self, space: Space, sampler: str, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._kind = sampler
        self._seed = seed
        self._two = sampler == "nsga2"
        maximize, minimize = (
            optuna.study.StudyDirection.MAXIMIZE,
            optuna.study.StudyDirection.MINIMIZE,
        )
        self._study = optuna.create_study(
            directions=[maximize, minimize] if self._two else [maximize],
            sampler=RandomSampler(seed=seed),
        )
        self._asked: list[Trial] = []
        self._grid = shuffled(space, seed) if sampler == "grid" else []

    def batches(self, trials: int) -> Iterator[list[Proposal]]:
        size = BATCH[self._kind]
        if self._kind == "grid":
            trials = min(trials, len(self._grid))
        for start in range(0, trials, size):
            self._study.sampler = self._sampler(start // size)
            yield [self._ask(number) for number in range(start, min(start + size, trials))]

    def tell(self, results: Sequence[tuple[float, tuple[float, float]] | None]) -> None:
        """Of the batch that was asked last, in its order."""
        for trial, result in zip(self._asked, results, strict=True):
            if result is None:
                self._study.tell(trial, state=TrialState.FAIL)
            else:
                score, pair = result
                self._study.tell(trial, pair if self._two else score)
        self._asked.clear()

    def _ask(self, number: int) -> Proposal:
        if self._grid:
            self._study.enqueue_trial(self._grid[number])
        trial = self._study.ask({key: distribution(each) for key, each in self._space.items()})
        self._asked.append(trial)
        return Proposal(
            number=number,
            params={key: text_of(self._space[key], value) for key, value in trial.params.items()},
        )

    def _sampler(self, batch: int) -> BaseSampler:
        seed = (self._seed * BATCHES_OF_A_SEED + batch) % (1 << 32)
        if self._kind == "tpe":
            return TPESampler(seed=seed)
        if self._kind == "nsga2":
            return NSGAIISampler(population_size=BATCH["nsga2"], seed=seed)
        return RandomSampler(seed=seed)


def distribution(dimension: Choice | Steps | Range) -> BaseDistribution:
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    if isinstance(dimension, Range):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    if dimension.log:
        low = int(dimension.low)
        return IntDistribution(low, low + dimension.count - 1, log=True)
    return IntDistribution(0, dimension.count - 1)


def text_of(dimension: Choice | Steps | Range, value: Any) -> str:
    if isinstance(dimension, Choice):
        return str(value)
    if isinstance(dimension, Range):
        return dimension.value(value)
    return str(value) if dimension.log else dimension.value(value)


def shuffled(space: Space, seed: int) -> list[dict[str, Any]]:
    """Every combination once, in an order that the seed decides; as Optuna's internal values."""
    axes: list[list[Any]] = []
    for each in space.values():
        assert not isinstance(each, Range)
        if isinstance(each, Choice):
            axes.append(list(each.values))
        else:
            low = int(each.low) if each.log else 0
            axes.append(list(range(low, low + each.count)))
    every = [dict(zip(space, values, strict=True)) for values in product(*axes)]
    random.Random(seed).shuffle(every)
    return every
