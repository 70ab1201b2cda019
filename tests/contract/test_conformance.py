"""Every card on every venue, and the published matrix that is made of it.

`--write-conformance` writes the matrix anew (marketmaker/conformance/<id>.json), which `marketmaker exchanges --json`
prints; without it the test at the end holds what was seen against what is published.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketmaker.sim.loop import VirtualTimeLoop
from tests.contract import data, execution  # noqa: F401  (their cards)
from tests.contract.bench import Bench
from tests.contract.cards import CARDS, Card
from tests.contract.makers import MAKERS, VARIANTS, Maker, open_bench
from tests.support.paper import START_NS

PUBLISHED = Path(__file__).resolve().parents[2] / "marketmaker" / "conformance"
SEEN: dict[str, dict[str, str]] = {}


class Table:
    """One venue's shared bench, on one loop for as long as its cards are played."""

    def __init__(self, maker: Maker) -> None:
        self.maker = maker
        self.runner: asyncio.Runner | None = None
        self.opened: Any = None
        self.bench: Bench | None = None

    def play(self, card: Card) -> None:
        if not self.maker.loopback:
            with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(START_NS)) as runner:
                runner.run(self._alone(card))
            return
        if self.runner is None:
            self.runner = asyncio.Runner()
        if card.own is not None:
            self.runner.run(self._alone(card))
        else:
            self.runner.run(self._shared(card))

    async def _alone(self, card: Card) -> None:
        async with open_bench(self.maker, **(card.own or {})) as bench:
            await card.play(bench)

    async def _shared(self, card: Card) -> None:
        if self.bench is None:
            self.opened = open_bench(self.maker)
            self.bench = await self.opened.__aenter__()
        try:
            await self.bench.reset()
            await card.play(self.bench)
        except pytest.skip.Exception:
            raise
        except BaseException:
            await self._leave()
            raise

    async def _leave(self) -> None:
        opened, self.opened, self.bench = self.opened, None, None
        await opened.__aexit__(None, None, None)

    def close(self) -> None:
        if self.runner is not None:
            if self.bench is not None:
                self.runner.run(self._leave())
            self.runner.close()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.long if maker.long else ())
        for name, maker in {**MAKERS, **VARIANTS}.items()
    ],
)
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    made = Table(VARIANTS.get(request.param) or MAKERS[request.param])
    yield made
    made.close()


@pytest.mark.parametrize("title", CARDS)
def test_card(table: Table, title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = table.maker
    seen = SEEN.setdefault(maker.title or maker.exchange, {})
    for constant in maker.pages:
        module, _, name = constant.rpartition(".")
        monkeypatch.setattr(importlib.import_module(module), name, 7)
    try:
        if title in maker.lacks:
            pytest.skip(maker.lacks[title])
        table.play(CARDS[title])
    except pytest.skip.Exception as skipped:
        seen[title] = f"skipped: {skipped.msg}"
        raise
    except BaseException:
        seen[title] = "failed"
        raise
    seen[title] = "passed"


def test_there_are_enough_cards() -> None:
    kinds = [card.kind for card in CARDS.values()]
    assert kinds.count("execution") >= 40
    assert kinds.count("data") >= 20


@pytest.mark.parametrize("exchange", MAKERS)
def test_the_published_matrix_is_what_the_cards_say(
    exchange: str, pytestconfig: pytest.Config
) -> None:
    seen = SEEN.get(exchange, {})
    path = PUBLISHED / f"{exchange.replace(':', '.')}.json"
    if pytestconfig.getoption("--write-conformance", default=False) and seen:
        write(path, exchange, seen)
    if set(seen) != set(CARDS):
        pytest.skip("not every card was played")
    assert json.loads(path.read_text()) == matrix(exchange, seen), (
        "make it anew with --write-conformance"
    )


def matrix(exchange: str, seen: dict[str, str]) -> dict[str, Any]:
    rows = {
        kind: {title: seen[title] for title, card in CARDS.items() if card.kind == kind}
        for kind in ("execution", "data")
    }
    return {"exchange": exchange, **rows}


def write(path: Path, exchange: str, seen: dict[str, str]) -> None:
    """Cards that were not played keep what was said of them before."""
    before = json.loads(path.read_text()) if path.exists() else {}
    known = {**before.get("execution", {}), **before.get("data", {}), **seen}
    said = {title: known.get(title, "not played") for title in CARDS}
    path.write_text(json.dumps(matrix(exchange, said), indent=1) + "\n")
