"""Levels in whole ticks: known values of both spacings, and where they end."""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketmaker.core.lattice import ArithmeticLattice, GeometricLattice, build_lattice
from marketmaker.model.instrument import Ticks
from marketmaker.model.settings import Spacing
from tests.support.toy_venue import ETH, grid_settings


def test_arithmetic_levels_lie_an_interval_apart() -> None:
    lattice = build_lattice(Ticks(250_000), grid_settings(), ETH)
    assert [lattice.level(k) for k in (-2, -1, 0, 1, 2)] == [
        249_800,
        249_900,
        250_000,
        250_100,
        250_200,
    ]


def test_an_interval_off_the_tick_rounds_each_level_once_halves_upward() -> None:
    lattice = build_lattice(Ticks(250_000), grid_settings(price_interval=Decimal("0.015")), ETH)
    assert [lattice.level(k) - 250_000 for k in range(-4, 5)] == [-6, -4, -3, -1, 0, 2, 3, 5, 6]


def test_geometric_levels_are_rounded_halves_upward() -> None:
    lattice = GeometricLattice(Ticks(10), Decimal("1.25"))
    assert [lattice.level(k) for k in range(4)] == [10, 13, 16, 20]


def test_arithmetic_lowest_is_the_first_level_above_nought() -> None:
    lattice = ArithmeticLattice(Ticks(1_000), 300, 1)
    assert lattice.lowest == -3
    assert lattice.level(lattice.lowest) == 100
    assert lattice.level(lattice.lowest - 1) <= 0


def test_an_arithmetic_level_of_exactly_nought_is_not_quoted() -> None:
    assert ArithmeticLattice(Ticks(1_000), 250, 1).lowest == -3


def test_geometric_lowest_is_where_a_step_is_a_whole_tick() -> None:
    lattice = GeometricLattice(Ticks(250_000), Decimal("1.01"))
    assert lattice.exact_level(lattice.lowest) * Decimal("0.01") >= 1
    assert lattice.exact_level(lattice.lowest - 1) * Decimal("0.01") < 1


@pytest.mark.parametrize("ratio", ["1.0001", "1.01", "1.5", "3", "11"])
@pytest.mark.parametrize("anchor", [2, 37, 10_000, 6_500_000])
def test_geometric_lowest_holds_for_extreme_ratios_and_anchors(ratio: str, anchor: int) -> None:
    lattice = GeometricLattice(Ticks(anchor), Decimal(ratio))
    step = Decimal(ratio) - 1
    assert lattice.exact_level(lattice.lowest) * step >= 1
    assert lattice.exact_level(lattice.lowest - 1) * step < 1


@pytest.mark.parametrize("price", [0, -1, -250_000])
def test_no_geometric_level_lies_below_the_first_tick(price: int) -> None:
    lattice = GeometricLattice(Ticks(250_000), Decimal("1.01"))
    assert lattice.at_or_below(Ticks(price)) == lattice.lowest - 1


def test_levels_forgotten_for_want_of_room_come_back_the_same() -> None:
    lattice = GeometricLattice(Ticks(250_000), Decimal("1.001"))
    before = lattice.level(3)
    lattice.known.update(dict.fromkeys(range(10**6, 2 * 10**6 + 1), Ticks(1)))
    assert lattice.level(4) > before
    assert len(lattice.known) == 1
    assert lattice.level(3) == before


def test_geometric_levels_come_from_the_settings() -> None:
    chosen = grid_settings(
        spacing=Spacing.GEOMETRIC, price_interval=None, interval_pct=Decimal("0.01")
    )
    lattice = build_lattice(Ticks(250_000), chosen, ETH)
    assert [lattice.level(k) for k in (-1, 0, 1)] == [247_525, 250_000, 252_500]


def test_arithmetic_spacing_without_an_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="price_interval"):
        build_lattice(Ticks(1), grid_settings(price_interval=None), ETH)


def test_geometric_spacing_without_a_percentage_is_refused() -> None:
    with pytest.raises(ValueError, match="interval_pct"):
        build_lattice(Ticks(1), grid_settings(spacing=Spacing.GEOMETRIC), ETH)
