"""What an adapter remembers of a long run: the newest entries, so that a month of trading does not fill the memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

REMEMBERED = 20_000

K = TypeVar("K")
V = TypeVar("V")


def remember(store: OrderedDict[K, V], key: K, value: V) -> None:
    """The oldest of `store` is forgotten when there are more than `REMEMBERED`."""
    store[key] = value
    if len(store) > REMEMBERED:
        store.popitem(last=False)
