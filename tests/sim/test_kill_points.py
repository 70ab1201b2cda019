"""Killed at every point of three reference scenarios; restarted with its disk, without it, and with an old one.

`make test` visits a part of the points, another part of each scenario; all of them:

    pytest -m long tests/sim/test_kill_points.py -s
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.killing import Killings, KillingStage, Scenario, kill_everywhere

HOUR_S = 3600.0


async def an_hour(stage: KillingStage) -> None:
    """A life of an hour, some trades early and some late; the old disk is one of its beginning."""
    stage.go("3000.5")
    stage.begin()
    await stage.until_whole()
    await stage.walk(2998, 2996, "2998.5", 3000)
    await asyncio.sleep(3)
    stage.keep_old()
    await stage.walk(2996, 2994, 2998, 2995, pause_s=1.0)
    await asyncio.sleep(HOUR_S / 2)
    await stage.walk(2992, 2996, 2994, pause_s=1.0)
    await asyncio.sleep(HOUR_S / 2)
    await stage.check_quiet()


async def nothing(stage: KillingStage) -> None: ...


async def trade(stage: KillingStage) -> None:
    """Entries fill, one of them in two parts, windows move, exits are placed, filled and taken back."""
    stage.hit(-5, 7)
    await asyncio.sleep(0.4)
    stage.hit(-5, 5)
    await asyncio.sleep(0.2)
    await stage.walk(2991, 2989, 2993, 2996, 2992, pause_s=0.4)


async def first_start(stage: KillingStage) -> None:
    stage.go("3000.5")
    stage.begin()
    await asyncio.sleep(1.5)
    await stage.walk(2998, 2996, 2999, pause_s=0.4)


async def come_back(stage: KillingStage) -> None:
    """The recovery itself: orders are open, some filled while nobody looked."""
    stage.begin()
    await asyncio.sleep(2.5)


async def an_hour_and_a_crash(stage: KillingStage) -> None:
    await an_hour(stage)
    await stage.kill()
    await stage.walk(2991, 2996, pause_s=0.3)
    await asyncio.sleep(1)


async def stop_amid_trades(stage: KillingStage) -> None:
    stage.go(2991)
    stage.running.app.stop("SIGTERM")
    stage.observer.stop_asked(stage.venue.now_ns())
    await asyncio.sleep(0.03)
    stage.go(2989)
    await stage.running.task


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="first start", prelude=nothing, act=first_start),
        Scenario(name="trading", prelude=an_hour, act=trade),
        Scenario(name="recovery", prelude=an_hour_and_a_crash, act=come_back),
        Scenario(name="stop", prelude=an_hour, act=stop_amid_trades),
    )
}


def show(name: str, found: Killings) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.points.most_common())
    print(f"\n{name}: {found.points.total()} points ({kinds}); {found.restarts} restarts")
    assert not found.failures, f"{len(found.failures)} failures; {found.failures[0]}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_some_points_nothing_is_lost_doubled_or_forgotten(
    name: str, tmp_path: Path
) -> None:
    show(name, kill_everywhere(SCENARIOS[name], tmp_path, every=60, first=len(name)))


@pytest.mark.long
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_every_point_nothing_is_lost_doubled_or_forgotten(
    name: str, tmp_path: Path
) -> None:
    found = kill_everywhere(SCENARIOS[name], tmp_path)
    show(name, found)
    assert found.restarts == 3 * found.points.total()
