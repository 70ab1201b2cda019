"""The systemd units: accepted by systemd, well sandboxed, and alike but for their names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.service_manager import INSTALLED, UNITS
from tests.support.service_manager import unit_settings as settings

EXPOSURE_MAX = 2.0

analyze = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(analyze is None, reason="systemd-analyze is not installed")


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Both units, the template as an instance, with a program that exists on this machine."""
    copies = []
    for source, name in (
        ("marketmaker.service", "marketmaker.service"),
        ("marketmaker@.service", "marketmaker@eth.service"),
    ):
        text = (UNITS / source).read_text()
        assert INSTALLED in text
        copies.append(tmp_path / name)
        copies[-1].write_text(text.replace(INSTALLED, sys.executable))
    return copies


def run_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert analyze is not None
    return subprocess.run(
        [analyze, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@needs_systemd
def test_systemd_finds_no_fault_with_the_units(units: list[Path]) -> None:
    done = run_analyze("verify", *map(str, units))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_the_check_sees_a_misspelt_setting(units: list[Path]) -> None:
    units[0].write_text(units[0].read_text().replace("WatchdogSec=", "WatchdogSek="))
    done = run_analyze("verify", *map(str, units))
    assert "WatchdogSek" in done.stderr


@needs_systemd
def test_systemd_rates_both_sandboxes_at_two_or_better(units: list[Path]) -> None:
    for unit in units:
        done = run_analyze("security", "--offline=true", "--no-pager", str(unit))
        [verdict] = [line for line in done.stdout.splitlines() if "exposure level" in line]
        assert float(verdict.split(": ")[1].split()[0]) <= EXPOSURE_MAX, done.stdout


@needs_systemd
def test_the_rating_sees_a_sandbox_that_was_opened(units: list[Path]) -> None:
    units[0].write_text(units[0].read_text().partition("DynamicUser=")[0])
    done = run_analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(units[0]))
    assert done.returncode != 0, done.stdout


@pytest.mark.parametrize("name", ["marketmaker.service", "marketmaker@.service"])
def test_a_unit_says_when_to_restart_and_how_long_to_wait(name: str) -> None:
    unit = settings(name)
    expected = {
        "Type": "notify",
        "NotifyAccess": "main",
        "WatchdogSec": "30",
        "Restart": "on-failure",
        "RestartPreventExitStatus": "2",
        "TimeoutStopSec": "45",
        "KillSignal": "SIGTERM",
        "ExecReload": "/bin/kill -HUP $MAINPID",
        "DynamicUser": "yes",
        "LimitCORE": "0",
    }
    assert {key: unit[f"Service.{key}"] for key in expected} == expected


@pytest.mark.parametrize("name", ["marketmaker.service", "marketmaker@.service"])
def test_the_credentials_a_unit_loads_are_in_a_directory_it_creates(name: str) -> None:
    """systemd refuses to start a unit whose LoadCredential= path does not exist."""
    unit = settings(name)
    _, _, path = unit["Service.LoadCredential"].partition(":")
    assert path == f"/etc/{unit['Service.ConfigurationDirectory']}"
    assert unit["Service.ConfigurationDirectoryMode"] == "0700"


@pytest.mark.parametrize("name", ["marketmaker.service", "marketmaker@.service"])
def test_relative_paths_of_the_configuration_are_in_the_state_directory(name: str) -> None:
    unit = settings(name)
    assert unit["Service.WorkingDirectory"] == f"%S/{unit['Service.StateDirectory']}"


def test_instances_share_no_directory_with_each_other_or_the_plain_unit() -> None:
    plain, instance = settings("marketmaker.service"), settings("marketmaker@.service")
    for key in ("Service.StateDirectory", "Service.ConfigurationDirectory"):
        assert instance[key] == f"{plain[key]}-%i"


def test_the_template_differs_from_the_plain_unit_only_where_it_names_itself() -> None:
    plain, instance = settings("marketmaker.service"), settings("marketmaker@.service")
    assert plain.keys() == instance.keys()
    different = {key for key in plain if plain[key] != instance[key]}
    assert all("%i" in instance[key] for key in different)
    assert len(different) == 7
