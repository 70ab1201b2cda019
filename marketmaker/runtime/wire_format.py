"""Our own values as JSON and back, exactly: what the journal and the state files are written in.

    value                     JSON
    frozen dataclass          object, one member per constructor field; None is left out
    ClientOrderId             array, in field order
    Decimal                   string, digits and exponent as they are
    enum                      its value
    Ticks, Lots, Quanta, int  number
    float                     number; "inf", "-inf" and "nan" as strings
    tuple                     array

The outermost object also names its class in the member `t`. The rules come from the type hints, once per class.
Reading is strict: a member nobody knows, a missing one, or one of the wrong type is a ValueError that says where.
A field with a default may be missing, so that files from before it existed can still be read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, NewType, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from marketmaker.errors import MarketMakerError
from marketmaker.model.action import Action
from marketmaker.model.event import Event

T = TypeVar("T")
TAG = "t"
NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}

to_text: Callable[[object], str] = json.JSONEncoder(
    separators=(",", ":"), allow_nan=False, check_circular=False
).encode
"""One line of ASCII without blanks; members keep their order."""


@dataclass(frozen=True, slots=True)
class Codec:
    """`encode` is None when the value is JSON as it stands."""

    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any]


def to_json(value: object) -> dict[str, Any]:
    """A dataclass of `model` as JSON-ready dicts, lists, strings and numbers."""
    kind: Any = type(value)
    return {TAG: kind.__name__, **encoder_of(kind)(value)}


def from_json(data: object, expected: type[T]) -> T:
    """Raises ValueError for anything that is not an `expected`; the member `t` may be missing."""
    if isinstance(data, dict) and TAG in data:
        if data[TAG] != expected.__name__:
            raise ValueError(f"{shown(data[TAG])} where a {expected.__name__} belongs")
        data = {key: item for key, item in data.items() if key != TAG}
    hint: Any = expected
    return cast(T, codec_of(hint).decode(data))


def event_from_json(data: object) -> Event:
    """Raises ValueError."""
    return cast(Event, from_json(data, tagged_class(data, EVENT_CLASSES, "event")))


def action_from_json(data: object) -> Action:
    """Raises ValueError."""
    return cast(Action, from_json(data, tagged_class(data, ACTION_CLASSES, "action")))


EVENT_CLASSES: dict[str, type[object]] = {kind.__name__: kind for kind in get_args(Event)}
ACTION_CLASSES: dict[str, type[object]] = {kind.__name__: kind for kind in get_args(Action)}


def tagged_class(data: object, known: dict[str, type[object]], noun: str) -> type[object]:
    if not isinstance(data, dict):
        raise ValueError(f"{shown(data)} is not an {noun}")
    tag = data.get(TAG)
    kind = known.get(tag) if isinstance(tag, str) else None
    if kind is None:
        raise ValueError(f"{shown(tag)} is not the name of an {noun}")
    return kind


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@cache
def codec_of(hint: Any) -> Codec:
    """Raises TypeError for a type hint that has no wire format."""
    if isinstance(hint, NewType):
        return codec_of(hint.__supertype__)
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return optional_codec(hint)
    if origin is tuple:
        return tuple_codec(get_args(hint))
    if hint in SCALARS:
        return SCALARS[hint]
    if isinstance(hint, type):
        if issubclass(hint, Enum):
            return enum_codec(hint)
        if is_dataclass(hint):
            return Codec(encoder_of(hint), decoder_of(hint))
        if issubclass(hint, tuple) and hasattr(hint, "_fields"):
            return named_tuple_codec(hint)
    raise TypeError(f"{hint!r} has no wire format")


def decode_str(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"{shown(value)} is not a string")
    return value


def decode_bool(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{shown(value)} is not true or false")
    return value


def decode_int(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{shown(value)} is not a whole number")
    return value


def encode_float(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def decode_float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is str and value in NON_FINITE:
        return NON_FINITE[value]
    if type(value) is int and abs(value) <= 1 << 53:
        return float(value)
    raise ValueError(f"{shown(value)} is not a number")


def decode_decimal(value: Any) -> Decimal:
    if type(value) is str:
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("nan")
        if number.is_finite():
            return number
    raise ValueError(f"{shown(value)} is not a decimal number in quotes")


SCALARS: dict[Any, Codec] = {
    str: Codec(None, decode_str),
    bool: Codec(None, decode_bool),
    int: Codec(None, decode_int),
    float: Codec(encode_float, decode_float),
    Decimal: Codec(str, decode_decimal),
}


def enum_codec(kind: type[Enum]) -> Codec:
    members: dict[Any, Enum] = {member.value: member for member in kind}
    value_types = {type(value) for value in members}

    def encode(member: Enum) -> Any:
        return member._value_

    def decode(value: Any) -> Enum:
        if type(value) not in value_types or value not in members:
            raise ValueError(f"{shown(value)} is not one of {', '.join(map(repr, members))}")
        return members[value]

    return Codec(encode, decode)


def optional_codec(hint: Any) -> Codec:
    inner_hints = [part for part in get_args(hint) if part is not NoneType]
    if len(inner_hints) != 1 or len(get_args(hint)) != 2:
        raise TypeError(f"{hint!r} has no wire format: only `X | None` has")
    inner = codec_of(inner_hints[0])

    def encode(value: Any) -> Any:
        return None if value is None or inner.encode is None else inner.encode(value)

    def decode(value: Any) -> Any:
        return None if value is None else inner.decode(value)

    return Codec(None if inner.encode is None else encode, decode)


def tuple_codec(hints: tuple[Any, ...]) -> Codec:
    """`tuple[X, ...]` of any length, or `tuple[X, Y]` of exactly that one."""
    if hints[-1] is Ellipsis:
        each = codec_of(hints[0])

        def encode_each(values: tuple[Any, ...]) -> list[Any]:
            return list(values if each.encode is None else map(each.encode, values))

        def decode_each(data: Any) -> tuple[Any, ...]:
            if type(data) is not list:
                raise ValueError(f"{shown(data)} is not an array")
            return tuple(map(each.decode, data))

        return Codec(encode_each, decode_each)
    return fixed_codec(hints, tuple)


def named_tuple_codec(kind: type[Any]) -> Codec:
    hints = get_type_hints(kind)
    return fixed_codec(tuple(hints[name] for name in kind._fields), lambda items: kind(*items))


def fixed_codec(hints: tuple[Any, ...], build: Callable[[list[Any]], Any]) -> Codec:
    parts = [codec_of(hint) for hint in hints]

    def encode(values: tuple[Any, ...]) -> list[Any]:
        return [
            value if part.encode is None else part.encode(value)
            for part, value in zip(parts, values, strict=True)
        ]

    def decode(data: Any) -> Any:
        if type(data) is not list or len(data) != len(parts):
            raise ValueError(f"{shown(data)} is not an array of {len(parts)}")
        return build([part.decode(item) for part, item in zip(parts, data, strict=True)])

    return Codec(encode, decode)


def is_optional(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint)


@cache
def encoder_of(kind: type[Any]) -> Callable[[Any], dict[str, Any]]:
    """None is left out where reading puts it back: the field is optional and has no other default."""
    hints = get_type_hints(kind)
    plan = [
        (
            field.name,
            codec_of(hints[field.name]).encode,
            is_optional(hints[field.name]) and field.default in (MISSING, None),
        )
        for field in fields(kind)
        if field.init
    ]

    def encode(value: Any) -> dict[str, Any]:
        data = {}
        for name, encode_item, may_omit in plan:
            item = getattr(value, name)
            if item is None and may_omit:
                continue
            data[name] = item if encode_item is None else encode_item(item)
        return data

    return encode


@cache
def decoder_of(kind: type[Any]) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    decoders = {f.name: codec_of(hints[f.name]).decode for f in fields(kind) if f.init}
    without_default = {
        f.name: is_optional(hints[f.name])
        for f in fields(kind)
        if f.init and f.default is MISSING and f.default_factory is MISSING
    }

    def decode(data: Any) -> Any:
        if type(data) is not dict:
            raise ValueError(f"{shown(data)} is not a {kind.__name__}")
        arguments: dict[str, Any] = {}
        for name, item in data.items():
            decoder = decoders.get(name)
            if decoder is None:
                raise ValueError(f"{kind.__name__} has no field {shown(name)}")
            try:
                arguments[name] = decoder(item)
            except ValueError as error:
                raise ValueError(f"{kind.__name__}.{name}: {error}") from None
        for name, optional in without_default.items():
            if name not in arguments:
                if not optional:
                    raise ValueError(f"{kind.__name__}.{name} is missing")
                arguments[name] = None
        try:
            return kind(**arguments)
        except (MarketMakerError, ArithmeticError) as error:
            raise ValueError(f"{kind.__name__}: {error}") from error

    return decode
