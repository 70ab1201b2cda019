"""What the journal writes, the journal reads: every value, exactly, for all values."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketmaker.model.account import AccountState, Position, VenueSnapshot
from marketmaker.model.action import Action
from marketmaker.model.event import Event
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import Fill, NewOrder, OrderRef, OrderReport
from marketmaker.model.settings import GridSettings
from marketmaker.model.status import GridMemory, Holding
from marketmaker.runtime.journal import (
    CoreArguments,
    Journal,
    JournaledSymbol,
    JournalHeader,
    read_journal,
)
from marketmaker.runtime.wire_format import (
    action_from_json,
    event_from_json,
    from_json,
    to_json,
    to_text,
)
from marketmaker.runtime.wire_text import line_text
from tests.strategies import ACTION_TYPES, EVENT_TYPES, actions, events, values

VALUE_TYPES: tuple[type[Any], ...] = (
    Position,
    AccountState,
    VenueSnapshot,
    NewOrder,
    OrderRef,
    Fill,
    OrderReport,
    GridSettings,
    Instrument,
    Holding,
    GridMemory,
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["PriceChanged", "PlaceOrder", "NaN", "1e400", "-Infinity"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=6) | st.sampled_from(["t", "ts_ns", "price_ticks", "order", "reason"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


def over_the_wire(value: object) -> Any:
    line = to_text(to_json(value))
    assert line.isascii() and "\n" not in line
    assert line_text(value) == line
    return json.loads(line)


def decimals_in(value: object) -> list[str]:
    """As text, because Decimal("1.0") equals Decimal("1.00")."""
    match value:
        case Decimal():
            return [str(value)]
        case tuple():
            return [text for item in value for text in decimals_in(item)]
    names = getattr(value, "__dataclass_fields__", {})
    return [text for name in names for text in decimals_in(getattr(value, name))]


@pytest.mark.parametrize("kind", EVENT_TYPES)
@settings(max_examples=30)
@given(data=st.data())
def test_every_event_comes_back_exactly(kind: type[Any], data: st.DataObject) -> None:
    event = data.draw(values(kind))
    back = event_from_json(over_the_wire(event))
    assert back == event and decimals_in(back) == decimals_in(event)


@pytest.mark.parametrize("kind", ACTION_TYPES)
@settings(max_examples=30)
@given(data=st.data())
def test_every_action_comes_back_exactly(kind: type[Any], data: st.DataObject) -> None:
    action = data.draw(values(kind))
    back = action_from_json(over_the_wire(action))
    assert back == action and decimals_in(back) == decimals_in(action)


@pytest.mark.parametrize("kind", VALUE_TYPES)
@settings(max_examples=30)
@given(data=st.data())
def test_every_other_value_comes_back_exactly(kind: type[Any], data: st.DataObject) -> None:
    value = data.draw(values(kind))
    back = from_json(over_the_wire(value), kind)
    assert back == value and decimals_in(back) == decimals_in(value)


@pytest.mark.parametrize("tick_size", ["0", "-1", "1E+999999", "NaN", "x"])
def test_an_instrument_that_cannot_be_is_refused(tick_size: str) -> None:
    wire = {"venue": "x", "name": "x", "base": "x", "quote": "x", "lot_size": "1E+999999"}
    wire |= {"maker_fee": "0", "taker_fee": "0", "tick_size": tick_size}
    with pytest.raises(ValueError, match=r"^Instrument"):
        from_json(wire, Instrument)


@given(event=events())
def test_reading_gives_the_very_types_that_were_written(event: Event) -> None:
    """An int does not come back as a bool or a float, a side not as a number."""
    assert repr(event_from_json(over_the_wire(event))) == repr(event)


@given(junk=JSON)
def test_junk_is_refused_with_a_value_error_and_nothing_else(junk: Any) -> None:
    for read in (event_from_json, action_from_json):
        try:
            read(junk)
        except ValueError as error:
            assert str(error) and "\n" not in str(error)
    for kind in VALUE_TYPES:
        try:
            from_json(junk, kind)
        except ValueError as error:
            assert str(error)


@given(event=events(), data=st.data())
def test_one_spoiled_member_never_passes_for_the_same_event(
    event: Event, data: st.DataObject
) -> None:
    """A member that is dropped, replaced or added is refused, or what is read differs from the original."""
    wire = over_the_wire(event)
    name = data.draw(st.sampled_from(sorted(wire)))
    how = data.draw(st.sampled_from(["drop", "replace", "add"]))
    if how == "drop":
        del wire[name]
    elif how == "replace":
        replacement = data.draw(JSON)
        if json.dumps(replacement) == json.dumps(wire[name]):
            return
        wire[name] = replacement
    else:
        wire["stowaway"] = wire[name]
    try:
        assert event_from_json(wire) != event
    except ValueError:
        pass


@given(
    entries=st.lists(st.tuples(st.integers(0, 1), events(), st.lists(actions(), max_size=3))),
    cores=st.lists(values(CoreArguments), min_size=2, max_size=2),
    suffix=st.sampled_from(["jsonl", "jsonl.gz"]),
)
def test_a_journal_gives_back_what_was_heard_and_decided(
    tmp_path_factory: pytest.TempPathFactory,
    entries: list[tuple[int, Event, list[Action]]],
    cores: list[CoreArguments],
    suffix: str,
) -> None:
    path: Path = tmp_path_factory.mktemp("journal") / f"journal.{suffix}"
    header = JournalHeader(
        version="1.2.3",
        symbols=tuple(JournaledSymbol(name=core.instrument.name, core=core) for core in cores),
    )
    journal = Journal(str(path))
    journal.open(header)
    for symbol, event, decided in entries:
        journal.heard(symbol, event)
        journal.decided(symbol, decided)
    journal.close()
    header_back, read = read_journal(str(path))
    assert header_back == header
    assert [(e.symbol_index, e.event, e.actions) for e in read] == entries
    assert read.closed and read.torn_line is None and read.lost_line is None
