"""The compiled core decides, fills and writes what plain Python does. Skipped where `make compile` built none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numpy")

from marketmaker import compiled
from marketmaker.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def digest_with(value: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.journal_digest"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {compiled.VARIABLE: value},
    )
    return done.stdout.split()


def test_it_leaves_the_same_journals_books_and_accounts() -> None:
    try:
        compiled.check_build(compiled.BUILD)
    except ConfigError as error:
        pytest.skip(str(error))
    plain, built = digest_with("0"), digest_with("1")
    assert (plain[0], built[0]) == ("False", "True")
    assert plain[1] == built[1]
