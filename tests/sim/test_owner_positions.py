"""The owner holds a position of their own on the account we trade on."""

from __future__ import annotations

import asyncio

import pytest

from marketmaker.model.order import Side
from marketmaker.model.settings import GridSide, PositionPolicy
from tests.support.paper import on_virtual_time
from tests.support.stage import Stage, stage_settings, staged

POLICIES = list(PositionPolicy)


async def begun(stage: Stage) -> None:
    stage.go("3000.5")
    stage.begin()
    await stage.until_whole()
    await stage.until(lambda: stage.manager.position_settled)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("side", [GridSide.LONG, GridSide.NEUTRAL])
@on_virtual_time
async def test_inventory_against_the_owners_position_is_offered_and_sold(
    side: GridSide, policy: PositionPolicy
) -> None:
    """In one-way mode our purchase only makes the owner's short smaller: its sale is nothing a venue would call
    reducing."""
    settings = stage_settings(grid={"on_position_difference": policy, "side": side})
    async with staged(settings) as stage:
        await begun(stage)
        stage.hand(Side.SELL, 500)
        await asyncio.sleep(40)
        foreign = stage.manager.repair.foreign_lots
        assert stage.position == -500
        if side is GridSide.LONG or policy is PositionPolicy.IGNORE:
            assert foreign == -500
        placed = stage.observer.placed
        stage.go(2998)
        await asyncio.sleep(120)
        assert stage.position == -480
        assert stage.observer.placed - placed < 10
        assert stage.exits() >= 1
        stage.go("3000.6")
        await asyncio.sleep(2)
        assert stage.position == -500
        assert stage.manager.repair.foreign_lots == foreign


@on_virtual_time
async def test_a_venue_that_will_not_have_an_exit_is_asked_ever_less_often_and_the_owner_told() -> (
    None
):
    """The owner's own reduce-only orders may use up what there is to reduce: our books are right, and no exit passes."""
    from marketmaker.sim.faults import Fault

    async with staged(stage_settings()) as stage:
        await begun(stage)
        with stage.rate(Fault.REDUCE_ONLY_REFUSED):
            stage.go(2998)
            await asyncio.sleep(300)
            refused = stage.observer.placed
            await asyncio.sleep(600)
            assert stage.observer.placed - refused <= 21
        await stage.until_whole(within_s=31)
        assert stage.exits() == 1
