"""The simulation finds the mistakes it was made for. `python -m tests.mutants` tries each up to 300 seeds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants.patches import MUTANTS, Mutant
from tests.mutants.trial import PACKAGE, Trial, apply, mutated_package

MINUTES = 3.0
SEEDS_QUICK, SEEDS = 12, 300


@pytest.fixture(scope="module")
def package() -> Iterator[Path]:
    with mutated_package() as directory:
        yield directory


def test_every_patch_still_fits_the_code(tmp_path: Path) -> None:
    for mutant in MUTANTS:
        for edit in mutant.edits:
            target = tmp_path / "marketmaker" / edit.file
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.write_text((PACKAGE / edit.file).read_text("utf-8"), "utf-8")
        for edit in mutant.edits:
            apply(tmp_path, edit)
        for edit in mutant.edits:
            (tmp_path / "marketmaker" / edit.file).unlink(missing_ok=True)
    assert len(MUTANTS) >= 25 and len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_the_code_as_it_is_survives_the_same_trial(package: Path) -> None:
    untouched = Mutant(name="nothing is changed", case="", edits=())
    assert Trial(package, untouched).run(range(3), MINUTES).rule == ""


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.quick], ids=lambda m: m.name)
def test_a_mistake_is_found_soon(package: Path, mutant: Mutant) -> None:
    assert Trial(package, mutant).run(range(SEEDS_QUICK), MINUTES).rule not in ("", "alive")


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_mistake_is_found_within_three_hundred_seeds(package: Path, mutant: Mutant) -> None:
    assert Trial(package, mutant).run(range(SEEDS), MINUTES).rule
