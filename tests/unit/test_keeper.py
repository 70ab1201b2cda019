"""The state is kept without holding up the loop, whatever the disk does."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marketmaker import keeper as rooms
from marketmaker.keeper import Keeper
from marketmaker.model.instrument import Ticks
from marketmaker.runtime.state_store import StateStore
from tests.support.toy_venue import grid_settings, make_manager


class SlowStore(StateStore):
    """Answers when it is `released`; raises what `error` holds."""

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory), bot_tag="mm1")
        self.released = threading.Event()
        self.released.set()
        self.error: OSError | None = None
        self.threads: set[int] = set()

    def save(self, instrument: Any, memory: Any) -> None:
        self.threads.add(threading.get_ident())
        assert self.released.wait(30)
        if self.error is not None:
            raise self.error
        super().save(instrument, memory)


class Desk:
    def __init__(self, folder: Path, *, in_thread: bool) -> None:
        self.store = SlowStore(folder)
        folder.mkdir()
        manager = make_manager(grid_settings())
        manager.set_anchor(Ticks(300_000))
        self.symbol: Any = SimpleNamespace(
            instrument=manager.instrument, manager=manager, engine=SimpleNamespace(changed=True)
        )
        self.troubles: list[str] = []
        self.recoveries = 0
        self.keeper = Keeper(
            self.store,
            [self.symbol],
            in_thread=in_thread,
            on_trouble=self.troubles.append,
            on_recovered=self.recovered,
        )

    def recovered(self) -> None:
        self.recoveries += 1

    @property
    def kept(self) -> int | None:
        memory = self.store.load(self.symbol.instrument)
        return None if memory is None else memory.anchor_ticks


async def test_what_changed_is_written_by_another_thread_and_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "state", in_thread=True)
    assert await desk.keeper.save() == ""
    assert desk.kept == 300_000
    assert desk.store.threads == desk.store.threads - {threading.get_ident()} != set()
    desk.store.error = OSError(28, "not to be asked")
    assert await desk.keeper.save() == ""
    desk.symbol.engine.changed = True
    assert "not to be asked" in await desk.keeper.save()
    assert desk.symbol.engine.changed
    assert await desk.keeper.close(5.0) != ""


async def test_a_disk_that_does_not_answer_is_trouble_while_the_loop_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "PATIENCE_S", 0.01)
    monkeypatch.setattr(rooms, "SAVE_INTERVAL_S", 0.005)
    desk = Desk(tmp_path / "state", in_thread=True)
    desk.store.released.clear()
    running = asyncio.create_task(desk.keeper.run())
    async with asyncio.timeout(20):
        while not desk.troubles:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert "no answer within 0.01 s" in desk.troubles[0]
        desk.store.released.set()
        while not desk.recoveries:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert (len(desk.troubles), desk.kept) == (1, 300_000)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await desk.keeper.close(5.0) == ""


async def test_an_end_that_the_disk_does_not_wait_for_says_what_was_not_kept(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path / "state", in_thread=True)
    desk.store.released.clear()
    assert "no answer within 0.02 s" in await desk.keeper.close(0.02)
    desk.store.released.set()


async def test_without_a_thread_it_is_done_at_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "state", in_thread=False)
    assert await desk.keeper.close(1.0) == ""
    assert desk.kept == 300_000
    assert desk.store.threads == {threading.get_ident()}
