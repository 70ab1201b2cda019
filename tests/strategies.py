"""Shared Hypothesis strategies, built from the type hints of our own values."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from marketmaker.model.action import Action
from marketmaker.model.event import Event
from marketmaker.model.instrument import Instrument, Lots
from marketmaker.model.settings import GridSettings
from marketmaker.model.status import GridMemory

EVENT_TYPES: tuple[type[Any], ...] = get_args(Event)
ACTION_TYPES: tuple[type[Any], ...] = get_args(Action)

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**80), 2**80),
    bool: st.booleans(),
    str: ANY_TEXT,
    float: st.floats(allow_nan=False),
    Decimal: DECIMALS,
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value a field with this type hint may hold; NaN alone is left out, as it equals nothing."""
    if isinstance(hint, NewType):
        return values(hint.__supertype__)
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return st.one_of(st.none() if part is NoneType else values(part) for part in get_args(hint))
    if origin is tuple:
        parts = get_args(hint)
        if parts[-1] is Ellipsis:
            return st.lists(values(parts[0]), max_size=3).map(tuple)
        return st.tuples(*map(values, parts))
    if hint in SCALARS:
        return SCALARS[hint]
    if hint is Instrument:
        return instruments()
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{f.name: values(hints[f.name]) for f in fields(hint) if f.init})
    hints = get_type_hints(hint)
    return st.builds(hint, *(values(hints[name]) for name in hint._fields))


@cache
def events() -> st.SearchStrategy[Event]:
    return st.one_of(map(values, EVENT_TYPES))


@cache
def actions() -> st.SearchStrategy[Action]:
    return st.one_of(map(values, ACTION_TYPES))


@cache
def instruments() -> st.SearchStrategy[Instrument]:
    """Linear ones, with steps from 1e-9 to 1000."""
    steps = st.builds(
        lambda digits, exponent: Decimal(digits).scaleb(exponent),
        st.sampled_from([1, 2, 5, 25]),
        st.integers(-9, 2),
    )
    fees = st.decimals(Decimal("-0.01"), Decimal("0.01"), places=6)
    return st.builds(
        Instrument,
        venue=ANY_TEXT,
        name=ANY_TEXT,
        base=ANY_TEXT,
        quote=ANY_TEXT,
        tick_size=steps,
        lot_size=steps,
        multiplier=steps,
        min_qty=st.integers(1, 10**6).map(Lots),
        max_qty=st.none() | st.integers(1, 10**12).map(Lots),
        min_notional=st.decimals(0, 1000, places=4),
        maker_fee=fees,
        taker_fee=fees,
        spot=st.booleans(),
    )


@cache
def grid_memories() -> st.SearchStrategy[GridMemory]:
    return values(GridMemory)


@cache
def grid_settings() -> st.SearchStrategy[GridSettings]:
    """Of the right types, not necessarily ones that make sense."""
    return values(GridSettings)
