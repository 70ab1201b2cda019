"""What the operator may ask of a running daemon, each answered when its outcome is known.

Every request becomes an event in the queue of each symbol; the core decides. Then the venue is read again, because only
it can say what is open and what is held. A request that cannot be confirmed in time says what is left; it goes on being
carried out all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from marketmaker.adapters.protocol import Adapter
from marketmaker.core import readings
from marketmaker.core.slot import SlotState
from marketmaker.errors import VenueError
from marketmaker.model.event import FlattenRequested, Gate, GateOpened, GateShut
from marketmaker.model.order import OrderReport
from marketmaker.model.view import Outcome, SymbolOutcome
from marketmaker.news import News
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.symbol import Symbol

POLL_S = 0.01
ASK_AGAIN_S = 0.2
PATIENCE_S = 15.0
FLATTEN_PATIENCE_S = 60.0
RESUME_PATIENCE_S = 3.0
BY_OPERATOR = "by the operator"
FLATTENED = "flattened by the operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the venue says of one symbol. `lots` is the position without what belongs to the owner."""

    entries: int
    exits: int
    lots: int
    position: str


class Control:
    """Pause, resume, cancel all, flatten: for the symbols named, or for all."""

    def __init__(
        self, *, symbols: Sequence[Symbol], adapter: Adapter, clock: Clock, news: News
    ) -> None:
        self._symbols = symbols
        self._adapter = adapter
        self._clock = clock
        self._news = news
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="control"
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(symbol.settings.name for symbol in self._symbols)

    async def pause(self, names: Sequence[str]) -> Outcome:
        """No entries; exits go on."""
        return await self._for_each("pause", names, self._pause)

    async def resume(self, names: Sequence[str]) -> Outcome:
        return await self._for_each("resume", names, self._resume)

    async def cancel_all(self, names: Sequence[str]) -> Outcome:
        """No order at all, until resumed."""
        return await self._for_each("cancel-all", names, self._cancel_all)

    async def flatten(self, names: Sequence[str]) -> Outcome:
        """Everything held is given back reduce-only; nothing is opened until resumed."""
        return await self._for_each("flatten", names, self._flatten)

    async def _for_each(
        self,
        action: str,
        names: Sequence[str],
        work: Callable[[Symbol], Awaitable[SymbolOutcome]],
    ) -> Outcome:
        """`names` empty: all symbols."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        chosen = [each for each in self._symbols if not names or each.settings.name in names]
        self._log.warning(log_events.OPERATOR_ASKED, action=action, symbols=list(names))
        self._news.tell(kind="operator", text=f"{action} asked", symbol=" ".join(names))
        outcomes = await asyncio.gather(*(self._guarded(symbol, work) for symbol in chosen))
        done = bool(outcomes) and all(outcome.done for outcome in outcomes)
        told = "; ".join(f"{outcome.symbol}: {outcome.text}" for outcome in outcomes)
        result = Outcome(
            action=action,
            done=done,
            text=told or "the daemon has no symbols yet: it is still starting",
            seconds=round(loop.time() - began_s, 3),
            symbols=tuple(outcomes),
        )
        self._log.warning(log_events.OPERATOR_ANSWERED, action=action, done=done, text=result.text)
        self._news.tell(
            kind="operator",
            text=f"{action} {'done' if done else 'NOT done'}: {result.text}",
            symbol=" ".join(names),
            severity="info" if done else "error",
        )
        return result

    async def _guarded(
        self, symbol: Symbol, work: Callable[[Symbol], Awaitable[SymbolOutcome]]
    ) -> SymbolOutcome:
        if symbol.failed:
            return SymbolOutcome(
                symbol=symbol.settings.name,
                done=False,
                text=f"given up ({symbol.failed}); restart the daemon, or act at the venue",
                entries_open=0,
                exits_open=0,
            )
        outcome = await work(symbol)
        symbol.engine.changed = True
        return outcome

    async def _pause(self, symbol: Symbol) -> SymbolOutcome:
        self._shut(symbol, Gate.PAUSED, BY_OPERATOR)
        deadline = self._deadline(PATIENCE_S)
        await self._until(
            lambda: Gate.PAUSED in symbol.manager.gates and not entries(symbol), deadline
        )
        reading = await self._read(symbol, deadline, lambda found: not found.entries)
        if isinstance(reading, str):
            return unknown(symbol, f"paused, but the venue could not be asked: {reading}")
        done = not reading.entries
        left = "no entry is open" if done else f"{reading.entries} entries still open"
        return outcome_of(symbol, reading, done, f"paused, {left}, {reading.exits} exits rest")

    async def _cancel_all(self, symbol: Symbol) -> SymbolOutcome:
        self._shut(symbol, Gate.HELD, BY_OPERATOR)
        deadline = self._deadline(PATIENCE_S)
        await self._until(
            lambda: Gate.HELD in symbol.manager.gates and not symbol.manager.live, deadline
        )
        reading = await self._read(symbol, deadline, lambda found: not found.entries + found.exits)
        if isinstance(reading, str):
            return unknown(symbol, f"held, but the venue could not be asked: {reading}")
        left = reading.entries + reading.exits
        text = f"{left} orders still open" if left else "no order is open; held until resumed"
        return outcome_of(symbol, reading, not left, text)

    async def _flatten(self, symbol: Symbol) -> SymbolOutcome:
        manager = symbol.manager
        self._shut(symbol, Gate.PAUSED, FLATTENED)
        symbol.channel.queue.put(FlattenRequested(reason=FLATTENED, ts_ns=self._clock.now_ns()))
        deadline = self._deadline(FLATTEN_PATIENCE_S)
        await self._until(
            lambda: bool(manager.ended) and not manager.closing and not manager.live, deadline
        )
        reading = await self._read(
            symbol, deadline, lambda found: not (found.lots or found.entries or found.exits)
        )
        if isinstance(reading, str):
            return unknown(symbol, f"flattening, but the venue could not be asked: {reading}")
        orders = reading.entries + reading.exits
        if not reading.lots and not orders:
            return outcome_of(symbol, reading, True, "flat, no order is open; out until resumed")
        why = manager.standstill() or "the market has not taken it yet"
        left = f"{reading.position} {symbol.instrument.base} and {orders} orders left: {why}"
        return outcome_of(symbol, reading, False, left)

    async def _resume(self, symbol: Symbol) -> SymbolOutcome:
        manager = symbol.manager
        if manager.closing:
            return unknown(symbol, "still closing the position; resume when that is done")
        for gate in (Gate.PAUSED, Gate.HELD):
            symbol.channel.queue.put(GateOpened(gate=gate, ts_ns=self._clock.now_ns()))
        await self._until(
            lambda: not {Gate.PAUSED, Gate.HELD} & manager.gates.keys(),
            self._deadline(PATIENCE_S),
        )
        if {Gate.PAUSED, Gate.HELD} & manager.gates.keys():
            return unknown(symbol, "the engine has not answered")
        if manager.ended:
            return unknown(symbol, f"ended: {manager.ended}; restart with a new grid to go on")
        await self._until(lambda: is_quoting(symbol), self._deadline(RESUME_PATIENCE_S))
        reasons = readings.not_quoting(manager)
        text = f"resumed, {manager.open_orders} orders open"
        if reasons:
            text = f"resumed, not quoting: {'; '.join(reasons)}"
        mine = len(entries(symbol))
        return SymbolOutcome(
            symbol=symbol.settings.name,
            done=True,
            text=text,
            entries_open=mine,
            exits_open=manager.open_orders - mine,
        )

    def _shut(self, symbol: Symbol, gate: Gate, reason: str) -> None:
        symbol.channel.queue.put(GateShut(gate=gate, reason=reason, ts_ns=self._clock.now_ns()))

    def _deadline(self, seconds: float) -> float:
        return asyncio.get_running_loop().time() + seconds

    async def _until(self, condition: Callable[[], bool], deadline: float) -> None:
        loop = asyncio.get_running_loop()
        while not condition() and loop.time() < deadline:  # noqa: ASYNC110  (decided by many events)
            await asyncio.sleep(POLL_S)

    async def _read(
        self, symbol: Symbol, deadline: float, enough: Callable[[Reading], bool]
    ) -> Reading | str:
        """The venue's answer, asked until it is `enough` (two times in a row) or time is up; or why there is none."""
        loop = asyncio.get_running_loop()
        trouble, last, confirmed = "no answer", None, 0
        while True:
            try:
                async with asyncio.timeout_at(max(deadline, loop.time() + ASK_AGAIN_S)):
                    last = await self._ask(symbol)
            except TimeoutError:
                pass
            except VenueError as error:
                trouble = str(error)
            confirmed = confirmed + 1 if last is not None and enough(last) else 0
            if confirmed > 1 or loop.time() >= deadline:
                return trouble if last is None else last
            await asyncio.sleep(POLL_S if confirmed else ASK_AGAIN_S)

    async def _ask(self, symbol: Symbol) -> Reading:
        reports = await self._adapter.fetch_open_orders(symbol.instrument)
        position = await self._adapter.fetch_position(symbol.instrument)
        ours = [report for report in reports if report.client_order_id is not None]
        exits = sum(is_exit(symbol, report) for report in ours)
        return Reading(
            entries=len(ours) - exits,
            exits=exits,
            lots=position.qty_lots - symbol.manager.repair.foreign_lots,
            position=f"{symbol.instrument.base_qty(position.qty_lots):f}",
        )


def entries(symbol: Symbol) -> list[int]:
    """Sequence numbers of the entries that are or may be open."""
    return [
        sequence
        for sequence, slot in symbol.manager.live.items()
        if slot.order is not None and not slot.order.is_exit
    ]


def is_exit(symbol: Symbol, report: OrderReport) -> bool:
    assert report.client_order_id is not None
    slot = symbol.manager.live.get(report.client_order_id.sequence)
    known = slot.order if slot is not None else None
    return report.reduce_only if known is None else known.is_exit


def is_quoting(symbol: Symbol) -> bool:
    return any(slot.state is SlotState.LOCKED for slot in symbol.manager.live.values())


def outcome_of(symbol: Symbol, reading: Reading, done: bool, text: str) -> SymbolOutcome:
    return SymbolOutcome(
        symbol=symbol.settings.name,
        done=done,
        text=text,
        entries_open=reading.entries,
        exits_open=reading.exits,
        position=reading.position,
    )


def unknown(symbol: Symbol, text: str) -> SymbolOutcome:
    mine = len(entries(symbol))
    return SymbolOutcome(
        symbol=symbol.settings.name,
        done=False,
        text=text,
        entries_open=mine,
        exits_open=symbol.manager.open_orders - mine,
    )
