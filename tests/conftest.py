"""What every test may use: hypothesis profiles, the folder of recorded market data, and how tests share processes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("dev", deadline=None, max_examples=100, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Recorded market data: $MARKETMAKER_DATA, else ../shared/data beside the repository; skips without it."""
    folder = Path(os.environ.get("MARKETMAKER_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no recorded market data at {folder} (set MARKETMAKER_DATA)")
    return folder


class ByStage(LoadScopeScheduling):
    """What shares a stage runs in one process: a venue's cards, else a file. Every simulation stands alone."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, name = nodeid.partition("::")
        if path.endswith("/test_conformance.py") and "[" in name:
            return f"conformance of {re.split(r'[]-]', name.partition('[')[2])[0]}"
        return nodeid if path.startswith("tests/sim/") else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByStage | None:
    return ByStage(config, log) if config.getvalue("dist") == "loadscope" else None
