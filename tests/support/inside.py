"""What an object holds, whether its class is Python's own or compiled."""

from __future__ import annotations

from contextlib import suppress
from types import GetSetDescriptorType
from typing import Any


def attributes(of: Any) -> dict[str, Any]:
    """Name to value; a compiled class has no `__dict__`."""
    if hasattr(of, "__dict__"):
        return vars(of)
    found: dict[str, Any] = {}
    for kind in type(of).__mro__:
        for name, held in vars(kind).items():
            if isinstance(held, GetSetDescriptorType):
                with suppress(AttributeError):
                    found[name] = getattr(of, name)
    return found
