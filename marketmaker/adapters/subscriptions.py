"""What a session is subscribed to: asked for in turn, acknowledged one way or another, and heard from in time.

Venues acknowledge by the number of the request (`answered`), by naming the topic (`answered_topic`), or not at all
(`acknowledged=False`). An acknowledgement proves little: a misspelt or misrouted topic may be acknowledged and stay
silent, so every topic also has a deadline for its first message (`heard`), after which its link is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

from marketmaker.adapters.websocket import Link, Session
from marketmaker.errors import NotSent, StreamBroken

Verb = Literal["subscribe", "unsubscribe"]
Build = Callable[[Verb, Sequence[str], int], bytes]
"""(verb, topics, number of the request) to the control message."""


class Subscriptions:
    """`wanted` topics are the venue's own names, or any text that `build` can turn into them.

    `first_message_s(topic)`: how long it may stay silent after it was asked for; None for ever (private topics).
    `most`: topics in one control message; `gap_s`: least time between two.
    """

    def __init__(
        self,
        build: Build,
        *,
        first_message_s: Callable[[str], float | None],
        most: int = 100,
        gap_s: float = 0.0,
        acknowledged: bool = True,
    ) -> None:
        self.wanted: dict[str, None] = {}
        self._build = build
        self._first_message_s = first_message_s
        self._most = most
        self._gap_s = gap_s
        self._acknowledged = acknowledged
        self._acks: dict[int, dict[str, asyncio.Future[None]]] = {}
        self._asked: dict[int, dict[str, asyncio.Future[None]]] = {}
        self._last_number = 0
        self._next_s = 0.0

    async def subscribe(self, session: Session, link: Link) -> None:
        """Until everything wanted is acknowledged on this link. Raises StreamBroken or NotSent."""
        acks = self._acks.setdefault(link.number, {})
        while self._missing(acks) or not all(acks[name].done() for name in self.wanted):
            if self._missing(acks):
                await self._wait_turn()
                self._ask(session, link, acks)
            waiting = {acks[name] for name in self.wanted if name in acks}
            if not waiting:
                continue
            _, late = await asyncio.wait(waiting, timeout=session.timing.ready_s)
            if late:
                raise StreamBroken("no answer to a subscription")
        for name in self.wanted:
            acks[name].result()

    def unsubscribe(self, session: Session, names: Sequence[str]) -> None:
        for name in names:
            self.wanted.pop(name, None)
        link = session.link
        if link is None or not names:
            return
        for name in names:
            self._acks.get(link.number, {}).pop(name, None)
            link.silent.pop(name, None)
        for first in range(0, len(names), self._most):
            self._last_number += 1
            with suppress(NotSent):
                link.send(
                    self._build("unsubscribe", names[first : first + self._most], self._last_number)
                )

    def answered(self, number: int, refusal: str = "") -> None:
        """The request of this number was carried out, or refused for this reason."""
        for ack in self._asked.pop(number, {}).values():
            _settle(ack, refusal)

    def answered_topic(self, link: Link, name: str, refusal: str = "") -> None:
        ack = self._acks.get(link.number, {}).get(name)
        if ack is not None:
            _settle(ack, refusal)

    def heard(self, link: Link, name: str) -> None:
        """The topic has brought a message."""
        if link.silent:
            link.silent.pop(name, None)

    def forget(self, link: Link) -> None:
        for ack in self._acks.pop(link.number, {}).values():
            _settle(ack, "the socket closed before it answered")

    def _missing(self, acks: Mapping[str, object]) -> list[str]:
        return [name for name in self.wanted if name not in acks]

    async def _wait_turn(self) -> None:
        now_s = asyncio.get_running_loop().time()
        turn_s = max(now_s, self._next_s)
        self._next_s = turn_s + self._gap_s
        if turn_s > now_s:
            await asyncio.sleep(turn_s - now_s)

    def _ask(self, session: Session, link: Link, acks: dict[str, asyncio.Future[None]]) -> None:
        names = self._missing(acks)[: self._most]
        if not names:
            return
        self._last_number += 1
        loop = asyncio.get_running_loop()
        link.send(self._build("subscribe", names, self._last_number))
        fresh = {name: loop.create_future() for name in names}
        acks.update(fresh)
        if self._acknowledged:
            self._asked[self._last_number] = fresh
        else:
            for ack in fresh.values():
                ack.set_result(None)
        for name in names:
            within_s = self._first_message_s(name)
            if within_s is not None:
                session.expect(link, (name,), within_s)


def _settle(ack: asyncio.Future[None], refusal: str) -> None:
    if ack.done():
        return
    if refusal:
        ack.set_exception(StreamBroken(refusal))
        ack.exception()
    else:
        ack.set_result(None)
