"""A million frames and bodies that no venue should send, over every parser of every adapter.

What is mutated are the frames and bodies that the adapter's own conversation with its loopback venue was made of, so a
new venue takes part without a word. Nothing but our own errors may come out, a refused frame changes nothing, and what
is kept of it is bounded. `make test` plays a few thousand a venue; the rest is by hand:

    pytest tests/wire/test_hostile.py -m long        HOSTILE=frames in all, a million unless said otherwise; SEED=other ones
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from marketmaker.adapters.frames import KEPT
from marketmaker.adapters.http import Answer, HttpClient
from marketmaker.adapters.websocket import Link, Session
from marketmaker.errors import ConfigError, VenueError
from tests.contract.bench import BUY, MID, Bench
from tests.contract.makers import MAKERS, open_bench
from tests.support.hostile import mutate

VENUES = [name for name, maker in MAKERS.items() if maker.loopback and not name.startswith("ccxt:")]
IN_ALL = int(os.environ.get("HOSTILE", "1000000"))
SEED = int(os.environ.get("SEED", "2"))
GROWTH_MAX_MB = 96


@dataclass
class Heard:
    """Frames by the session that heard them, bodies by what was asked."""

    frames: list[tuple[Session, bytes]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def conversation(
    exchange: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Bench, Heard]]:
    """A bench after a day's worth of kinds of messages, with all of them written down."""
    heard, request, hear = Heard(), HttpClient.request, Session._hear

    async def noted(self: HttpClient, *args: Any, **kwargs: Any) -> bytes:
        body = await request(self, *args, **kwargs)
        heard.bodies.append(body)
        return body

    def listened(self: Session, link: Link, message: bytes) -> None:
        if message:
            heard.frames.append((self, message))
        hear(self, link, message)

    with monkeypatch.context() as patch:
        patch.setattr(HttpClient, "request", noted)
        patch.setattr(Session, "_hear", listened)
        async with open_bench(MAKERS[exchange]) as bench:
            await bench.place(bench.rest(), bench.order(BUY, MID + 1), bench.rest(200))
            await bench.go_long(50)
            partial = bench.order(BUY, MID)
            await bench.accept(partial)
            bench.trade(MID, 40)
            await bench.calm()
            await bench.cancel(partial, bench.rest(300))
            bench.quote(MID - 2, 10, MID + 2, 10)
            for _, question in questions(bench):
                await question()
            await asyncio.sleep(1.2)
            patch.undo()
            yield bench, heard


def questions(bench: Bench) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
    adapter, instrument, known = bench.adapter, bench.instrument, bench.rest()
    return [
        ("instrument", lambda: adapter.fetch_instrument("ETHUSDT")),
        ("account", lambda: adapter.fetch_account(instrument)),
        ("position", lambda: adapter.fetch_position(instrument)),
        ("open orders", lambda: adapter.fetch_open_orders(instrument)),
        ("fills", lambda: adapter.fetch_fills(instrument, 0)),
        ("candles", lambda: adapter.fetch_candles("ETHUSDT", 60, 5)),
        ("funding rate", lambda: adapter.fetch_funding_rate(instrument)),
        ("place", lambda: adapter.place(instrument, [known])),
    ]


def play_frames(bench: Bench, heard: Heard, count: int, rng: random.Random) -> int:
    """Without a pause, so that nothing real comes between. Returns how many were refused."""
    adapter: Any = bench.adapter
    by_kind: dict[Session, list[bytes]] = {}
    for session, frame in heard.frames:
        by_kind.setdefault(session, []).append(frame)
    listening = list(by_kind)
    link, refused = Link(0), 0
    for _ in range(count):
        session = rng.choice(listening)
        frame = rng.choice(by_kind[session if rng.random() < 0.9 else rng.choice(listening)])
        before, told = adapter.malformed.count, told_so_far(bench)
        session._on_message(link, mutate(frame, rng))
        if adapter.malformed.count > before:
            refused += 1
            assert told_so_far(bench) == told, "a refused frame changed something"
        if len(bench.orders.log) > 5_000:
            forget(bench)
    assert len(adapter.malformed) <= KEPT
    return refused


def told_so_far(bench: Bench) -> tuple[int, ...]:
    orders, prices = bench.orders, bench.prices
    return (
        len(orders.reports),
        len(orders.positions),
        len(orders.funding),
        len(prices.prices),
        len(bench.candles.candles),
    )


def forget(bench: Bench) -> None:
    heard: tuple[list[Any], ...] = (
        bench.orders.log,
        bench.orders.reports,
        bench.orders.times,
        bench.orders.positions,
        bench.orders.downs,
        bench.prices.prices,
        bench.prices.confirming,
        bench.candles.candles,
    )
    for each in heard:
        each.clear()


async def play_bodies(
    bench: Bench, heard: Heard, count: int, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every question is answered with something that was once an answer to some question."""

    async def answer(self: HttpClient, *args: Any, operation: str, **kwargs: Any) -> bytes:
        body = mutate(rng.choice(heard.bodies), rng)
        status = rng.choice((200, 200, 200, 400, 401, 403, 404, 429, 500, 503))
        headers = rng.choice(({}, {"Retry-After": "9" * 400}, {"Retry-After": "soon"}))
        refusal = self._judge(Answer(status=status, headers=headers, body=body), operation)
        if refusal is not None:
            raise refusal
        return body

    quiet = getattr(bench.adapter, "_rest").quiet  # noqa: B009
    with monkeypatch.context() as patch:
        patch.setattr(HttpClient, "request", answer)
        entry = getattr(bench.adapter, "_entry", None)
        link = None if entry is None else entry.link
        if entry is not None:
            entry.link = None
        asked = questions(bench)
        try:
            for _ in range(count):
                quiet._until_ns = 0
                name, question = rng.choice(asked)
                try:
                    outcomes = await question()
                except (VenueError, ConfigError):
                    continue
                if name == "place":
                    assert len(outcomes) == 1
        finally:
            if entry is not None:
                entry.link = link
            quiet._until_ns = 0


async def play(
    exchange: str, frames: int, bodies: int, seed: int, patch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    async with conversation(exchange, patch) as (bench, heard):
        assert len(heard.frames) > 10 and len(heard.bodies) > 5
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refused, left = 0, frames
        while left > 0:
            refused += play_frames(bench, heard, min(2_000, left), rng)
            left -= 2_000
            await asyncio.sleep(0)
            forget(bench)
        assert refused > frames // 4, "most of it was not even refused"
        await play_bodies(bench, heard, bodies, rng, patch)
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
        assert grown_mb < GROWTH_MAX_MB, f"{grown_mb:.0f} MB more than before"


@pytest.mark.parametrize("exchange", VENUES)
async def test_no_hostile_frame_or_body_raises_or_changes_anything(
    exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await play(exchange, 4_000, 400, 1, monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("exchange", VENUES)
async def test_a_million_hostile_frames_and_bodies(
    exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = IN_ALL // len(VENUES)
    await play(exchange, share * 9 // 10, share // 10, SEED, monkeypatch)
