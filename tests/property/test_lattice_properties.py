"""Both lattices: rising levels, an exact inverse, and the levels the definition gives."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from math import floor

from hypothesis import assume, given
from hypothesis import strategies as st

from marketmaker.core.lattice import ArithmeticLattice, GeometricLattice, Lattice
from marketmaker.model.instrument import Ticks

ANCHORS = st.integers(1, 10**8).map(Ticks)
NUMBERS = st.integers(-2_000, 2_000)


@st.composite
def arithmetic(draw: st.DrawFn) -> ArithmeticLattice:
    """Intervals from one tick up, whole or not."""
    denominator = draw(st.integers(1, 1_000))
    numerator = draw(st.integers(denominator, 10**6))
    return ArithmeticLattice(draw(ANCHORS), numerator, denominator)


@st.composite
def geometric(draw: st.DrawFn) -> GeometricLattice:
    step = draw(st.decimals(Decimal("0.0001"), Decimal("0.5"), places=4))
    return GeometricLattice(draw(st.integers(10, 10**8).map(Ticks)), 1 + step)


LATTICES: st.SearchStrategy[Lattice] = st.one_of(arithmetic(), geometric())


@given(LATTICES, st.integers(0, 1_000))
def test_levels_rise_strictly_from_the_lowest_quotable_one(lattice: Lattice, above: int) -> None:
    number = lattice.lowest + above
    assert 1 <= lattice.level(number) < lattice.level(number + 1)


@given(LATTICES, st.integers(0, 1_000))
def test_at_or_below_undoes_level(lattice: Lattice, above: int) -> None:
    number = lattice.lowest + above
    level = lattice.level(number)
    assert lattice.at_or_below(level) == number
    below = lattice.at_or_below(Ticks(level - 1))
    assert below == number - 1 if above else below < number


@given(LATTICES, st.integers(1, 10**9).map(Ticks))
def test_at_or_below_is_the_greatest_level_not_above_the_price(
    lattice: Lattice, price: Ticks
) -> None:
    number = lattice.at_or_below(price)
    assert lattice.level(number) <= price < lattice.level(number + 1)


@given(LATTICES)
def test_level_nought_is_the_anchor(lattice: ArithmeticLattice | GeometricLattice) -> None:
    assert lattice.level(0) == lattice.anchor


@given(arithmetic(), NUMBERS)
def test_an_arithmetic_level_is_its_exact_value_rounded_half_up(
    lattice: ArithmeticLattice, number: int
) -> None:
    exact = lattice.anchor + number * Fraction(lattice.numerator, lattice.denominator)
    assert lattice.level(number) == floor(exact + Fraction(1, 2))


@given(arithmetic(), NUMBERS)
def test_an_interval_off_the_tick_keeps_its_average_exactly(
    lattice: ArithmeticLattice, number: int
) -> None:
    span = lattice.level(number + lattice.denominator) - lattice.level(number)
    assert span == lattice.numerator


@given(geometric(), st.integers(-300, 300))
def test_a_geometric_level_is_the_decimal_power_rounded_half_up(
    lattice: GeometricLattice, number: int
) -> None:
    with localcontext() as context:
        context.prec = 120
        exact = lattice.anchor * lattice.ratio ** abs(number)
        if number < 0:
            exact = lattice.anchor / lattice.ratio**-number
        expected = int(exact.to_integral_value(ROUND_HALF_UP))
    assume(expected < 10**30)
    assert lattice.level(number) == expected
