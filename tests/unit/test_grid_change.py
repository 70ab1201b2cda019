"""A restart whose levels would give held slots other prices is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketmaker.core import readings
from marketmaker.errors import ConfigError
from marketmaker.model.settings import GridSettings, SymbolSettings
from marketmaker.model.status import GridMemory
from marketmaker.symbol import refuse_other_levels
from tests.support.toy_venue import ETH, ToyVenue, grid_settings, make_manager


def memory_with_inventory(settings: GridSettings) -> GridMemory:
    venue = ToyVenue(make_manager(settings))
    venue.start(250_000)
    venue.calm()
    venue.fill(venue.open()[-1])
    memory = readings.memory(venue.manager)
    assert memory is not None
    assert memory.holdings
    return memory


def check(memory: GridMemory, settings: GridSettings) -> None:
    refuse_other_levels(SymbolSettings(name="ETHUSDT", grid=settings), ETH, memory, "state.json")


def test_the_same_grid_starts_again() -> None:
    check(memory_with_inventory(grid_settings()), grid_settings(order_amount=Decimal(80)))


@pytest.mark.parametrize(
    "changes",
    [
        {"price_interval": Decimal(2)},
        {"side": grid_settings().side.__class__("short")},
        {"anchor": Decimal(2400)},
    ],
)
def test_another_interval_side_or_anchor_is_refused(changes: dict[str, object]) -> None:
    memory = memory_with_inventory(grid_settings())
    with pytest.raises(ConfigError, match="slots hold inventory"):
        check(memory, grid_settings(**changes))


def test_without_inventory_the_grid_may_change() -> None:
    venue = ToyVenue(make_manager())
    venue.start(250_000)
    memory = readings.memory(venue.manager)
    assert memory is not None
    check(memory, grid_settings(price_interval=Decimal(2)))
