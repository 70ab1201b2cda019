"""Other settings while it trades: what differs, what of it can change live, which orders that would move, and doing it.

What cannot change is refused by name and stays as it is; the rest changes all the same. Nothing changes while anything
in the file is wrong. The orders of the plan are decided by a copy of the core, so they are the ones that applying it
now would send and cancel at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

import structlog

from marketmaker.adapters.protocol import Adapter
from marketmaker.config import Configuration, check_symbol
from marketmaker.config.schema import GRID, ROOT
from marketmaker.config.sections import Schema, Value
from marketmaker.core.safety import account_problems
from marketmaker.core.settings_change import FIXED, rehearse
from marketmaker.errors import ConfigError, VenueError
from marketmaker.model.action import Action, CancelOrder, PlaceOrder
from marketmaker.model.event import SettingsChanged
from marketmaker.model.instrument import Lots
from marketmaker.model.settings import Settings, SymbolSettings
from marketmaker.model.view import OrderChange, ReloadOutcome, SettingChange
from marketmaker.news import News
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.executor import Executor
from marketmaker.symbol import Symbol

LIVE_SECTIONS = {
    "execution": frozenset(
        {
            "orders_per_s",
            "burst",
            "cancel_reserve",
            "request_timeout",
            "max_retries",
            "retry_delay",
            "rate_limit_delay",
        }
    ),
    "price_monitor": frozenset({"stale_after", "max_jump"}),
}
LIVE_KEYS = frozenset({"reconcile_interval"})
AT_START = "is read when the daemon starts; restart it to change this"
LEVELS = "says where the levels are, and inventory is bound to its level; restart to change this"
WAIT_S = 5.0
POLL_S = 0.01


class Reloader:
    """`load` reads the configuration file again, or raises ConfigError. `adopted` is told the settings that hold now."""

    def __init__(
        self,
        *,
        settings: Settings,
        symbols: Sequence[Symbol],
        adapter: Adapter,
        executor: Executor,
        clock: Clock,
        news: News,
        load: Callable[[], Configuration],
        adopted: Callable[[Settings], None],
    ) -> None:
        self.settings = settings
        self._symbols = symbols
        self._adapter = adapter
        self._executor = executor
        self._clock = clock
        self._news = news
        self._load = load
        self._adopted = adopted
        self._one_at_a_time = asyncio.Lock()
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="reload"
        )

    async def reload(self, *, apply: bool) -> ReloadOutcome:
        async with self._one_at_a_time:
            self._log.info(log_events.RELOAD_ASKED, apply=apply)
            outcome = await self._reload(apply=apply)
        write = self._log.info if outcome.done else self._log.error
        write(
            log_events.RELOAD_DONE if outcome.done else log_events.RELOAD_REFUSED,
            text=outcome.text,
            changes=[change.key for change in outcome.changes if not change.refused],
            refused=[change.key for change in outcome.changes if change.refused],
            problems=list(outcome.problems),
        )
        if apply:
            severity = "info" if outcome.done else "error"
            self._news.tell(kind="operator", text=f"reload: {outcome.text}", severity=severity)
        return outcome

    async def _reload(self, *, apply: bool) -> ReloadOutcome:
        try:
            configuration = await asyncio.to_thread(self._load)
        except ConfigError as error:
            return refused(str(error).splitlines())
        new = configuration.settings
        changes = tuple(differences(self.settings, new))
        wanted = {symbol.name: symbol for symbol in new.symbols}
        moving = [
            (symbol, changed_symbol(symbol.settings, wanted[symbol.settings.name]))
            for symbol in self._symbols
            if symbol.settings.name in wanted and not symbol.failed
        ]
        moving = [(symbol, chosen) for symbol, chosen in moving if chosen != symbol.settings]
        problems = [problem for pair in moving for problem in await self._problems(*pair, new)]
        if problems:
            return refused(str(configuration.explain(problems)).splitlines(), changes)
        orders = tuple(
            change
            for symbol, chosen in moving
            for change in order_changes(
                symbol, rehearse(symbol.manager, chosen.grid, self._clock.now_ns())
            )
        )
        live = [change for change in changes if not change.refused]
        not_live = [change.key for change in changes if change.refused]
        done = True
        if apply and live:
            done = await self._apply(new, moving)
        return ReloadOutcome(
            applied=apply,
            done=done,
            text=summary(apply, done, len(live), len(orders), not_live),
            changes=changes,
            orders=orders,
            problems=() if done else ("a symbol has not taken its settings in time",),
        )

    async def _problems(self, symbol: Symbol, chosen: SymbolSettings, new: Settings) -> list[str]:
        """What is wrong with a symbol's new settings on its instrument and its account."""
        anchor = symbol.manager.anchor
        problems = check_symbol(
            chosen,
            symbol.instrument,
            None if anchor is None else symbol.instrument.price(anchor),
        )
        if problems:
            return problems
        try:
            account = await self._adapter.fetch_account(symbol.instrument)
        except VenueError as error:
            return [f"symbols.{chosen.name}: the account could not be checked: {error}"]
        return [
            f"symbols.{chosen.name}.grid: {problem}"
            for problem in account_problems(account, chosen.grid, new.safety, name=chosen.name)
        ]

    async def _apply(self, new: Settings, moving: list[tuple[Symbol, SymbolSettings]]) -> bool:
        for symbol, chosen in moving:
            symbol.channel.queue.put(
                SettingsChanged(settings=chosen.grid, ts_ns=self._clock.now_ns())
            )
            symbol.settings = chosen
        now = self.settings
        monitor = replace(new.price_monitor, send_interval_ms=now.price_monitor.send_interval_ms)
        chosen_by_name = {symbol.settings.name: symbol.settings for symbol in self._symbols}
        self.settings = replace(
            now,
            execution=new.execution,
            price_monitor=monitor,
            reconcile_interval_s=new.reconcile_interval_s,
            symbols=tuple(chosen_by_name.get(each.name, each) for each in now.symbols),
        )
        if new.execution != now.execution:
            self._executor.adopt(new.execution)
        for symbol in self._symbols:
            if monitor != now.price_monitor:
                symbol.monitor.adopt(monitor)
            symbol.reconciler.interval_s = new.reconcile_interval_s
        self._adopted(self.settings)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_S
        while any(symbol.manager.settings != chosen.grid for symbol, chosen in moving):
            if loop.time() > deadline:
                return False
            await asyncio.sleep(POLL_S)
        return True


def changed_symbol(now: SymbolSettings, new: SymbolSettings) -> SymbolSettings:
    """The new settings, but for what numbers the levels."""
    fixed: dict[str, Any] = {name: getattr(now.grid, name) for name in FIXED}
    return replace(now, grid=replace(new.grid, **fixed))


def differences(old: Settings, new: Settings) -> Iterator[SettingChange]:
    """Key by key, as the configuration file calls them."""
    for key, described in ROOT.items():
        if isinstance(described, Value):
            yield from change(
                key,
                getattr(old, described.attribute),
                getattr(new, described.attribute),
                "" if key in LIVE_KEYS else AT_START,
                secret=key == "ledger",
            )
        elif key == "symbols":
            yield from symbol_differences(old, new)
        elif key != "grid":
            yield from section_differences(key, getattr(old, key), getattr(new, key))


def section_differences(section: str, old: Any, new: Any) -> Iterator[SettingChange]:
    described = ROOT[section]
    assert not isinstance(described, Value)
    secret = bool(getattr(described, "secret", False))
    live = LIVE_SECTIONS.get(section, frozenset())
    schema: Schema = described.fields
    if not all(isinstance(entry, Value) for entry in schema.values()):
        yield from change(section, old, new, AT_START, secret=True)
        return
    for key, entry in schema.items():
        assert isinstance(entry, Value)
        yield from change(
            f"{section}.{key}",
            getattr(old, entry.attribute, None),
            getattr(new, entry.attribute, None),
            "" if key in live else AT_START,
            secret=secret,
        )


def symbol_differences(old: Settings, new: Settings) -> Iterator[SettingChange]:
    before = {symbol.name: symbol for symbol in old.symbols}
    after = {symbol.name: symbol for symbol in new.symbols}
    for name, was in before.items():
        key = f"symbols.{name}"
        now = after.get(name)
        if now is None:
            yield SettingChange(key=key, old="traded", new="not listed", refused=AT_START)
            continue
        for grid_key, entry in GRID.items():
            assert isinstance(entry, Value)
            yield from change(
                f"{key}.grid.{grid_key}",
                getattr(was.grid, entry.attribute),
                getattr(now.grid, entry.attribute),
                LEVELS if entry.attribute in FIXED else "",
            )
        yield from change(f"{key}.instrument", was.instrument, now.instrument, AT_START)
    for name in after.keys() - before.keys():
        yield SettingChange(key=f"symbols.{name}", old="not listed", new="traded", refused=AT_START)


def change(
    key: str, old: Any, new: Any, refused_for: str, *, secret: bool = False
) -> Iterator[SettingChange]:
    if old == new:
        return
    texts = ("***", "***") if secret else (shown(old), shown(new))
    yield SettingChange(key=key, old=texts[0], new=texts[1], refused=refused_for)


def shown(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case Decimal():
            return f"{value:f}"
        case Enum():
            return str(value.value)
        case tuple() | list():
            return f"[{', '.join(map(shown, value))}]"
        case _ if is_dataclass(value):
            named = ((field.name, getattr(value, field.name)) for field in fields(value))
            return ", ".join(f"{name} {shown(item)}" for name, item in named if item is not None)
        case _:
            return str(value)


def order_changes(symbol: Symbol, actions: Sequence[Action]) -> Iterator[OrderChange]:
    instrument, live = symbol.instrument, symbol.manager.live
    for action in actions:
        match action:
            case PlaceOrder(order=order, reason=reason):
                yield OrderChange(
                    symbol=symbol.settings.name,
                    what="place",
                    side=order.side.name.lower(),
                    price=f"{instrument.price(order.price_ticks):f}",
                    qty=f"{instrument.base_qty(order.qty_lots):f}",
                    reason=reason,
                )
            case CancelOrder(order=reference, reason=reason):
                slot = live[reference.client_order_id.sequence]
                assert slot.order is not None
                yield OrderChange(
                    symbol=symbol.settings.name,
                    what="cancel",
                    side=slot.order.side.name.lower(),
                    price=f"{instrument.price(slot.order.price_ticks):f}",
                    qty=f"{instrument.base_qty(Lots(slot.order.leaves_lots)):f}",
                    reason=reason,
                )
            case _:
                pass


def refused(problems: Sequence[str], changes: tuple[SettingChange, ...] = ()) -> ReloadOutcome:
    return ReloadOutcome(
        applied=False,
        done=False,
        text=f"nothing was changed: {problems[0]}",
        changes=changes,
        orders=(),
        problems=tuple(problems),
    )


def summary(apply: bool, done: bool, live: int, orders: int, not_live: Sequence[str]) -> str:
    if not live and not not_live:
        return "nothing differs from the file"
    did = "changed" if apply else "would change"
    text = f"{live} settings {did}, {orders} orders move at once"
    if not_live:
        text += f"; not while trading: {', '.join(not_live)}"
    return text if done else f"{text}; not confirmed in time"
