"""How a card is written down: a coroutine over a bench, whose name in words is what it shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.contract.bench import Bench


@dataclass(frozen=True, kw_only=True)
class Card:
    """`own`: it needs a bench of its own, made with these (`paper`, or parts of the adapter); None: it shares one."""

    kind: str
    title: str
    play: Callable[[Bench], Awaitable[None]]
    own: dict[str, Any] | None = field(default=None)


CARDS: dict[str, Card] = {}


def card(
    kind: str, **own: Any
) -> Callable[[Callable[[Bench], Awaitable[None]]], Callable[[Bench], Awaitable[None]]]:
    def write_down(play: Callable[[Bench], Awaitable[None]]) -> Callable[[Bench], Awaitable[None]]:
        title = play.__name__.replace("_", " ")
        assert title not in CARDS, title
        CARDS[title] = Card(kind=kind, title=title, play=play, own=own or None)
        return play

    return write_down
