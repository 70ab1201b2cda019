"""Reads a running daemon into one frozen `DaemonView`, and answers whether it is healthy.

Health is about quoting, not about being alive: a symbol is unhealthy while it should quote and cannot (no trusted
price, no order stream, no snapshot, a full disk, given up). Kept out on purpose (paused, a risk gate, a limit, a trigger
price that is not reached, a grid that ended) is healthy, and said.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal

from marketmaker import __version__
from marketmaker.core import readings
from marketmaker.core.lattice import describe_lattice
from marketmaker.core.risk import GateStatus
from marketmaker.core.slot import SlotState
from marketmaker.model.account import AccountState
from marketmaker.model.equity import EquityReading
from marketmaker.model.event import Gate
from marketmaker.model.instrument import Lots, Quanta, Ticks
from marketmaker.model.latency import Latency
from marketmaker.model.settings import Settings
from marketmaker.model.status import GridTotals, SlotStatus
from marketmaker.model.view import (
    BudgetView,
    CountersView,
    DaemonView,
    EquityView,
    MarketView,
    PnlView,
    RiskView,
    SlotView,
    StreamsView,
    SymbolView,
)
from marketmaker.news import News, Tally
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.executor import Executor
from marketmaker.symbol import Symbol, is_paused, is_settled

NS = 1_000_000_000
NS_PER_MS = 1_000_000
NO_ORDER_WANTED = "no level may be quoted at this price"
KINDS = (
    ("order stream is not live", "order_stream"),
    ("waiting for a snapshot", "snapshot"),
    ("waiting for the first price", "price"),
    ("waiting for trigger_price", "trigger"),
    ("insufficient margin", "margin"),
    ("position and slots differ", "reconcile"),
    ("stopping", "stopping"),
    *((f"{gate.value}: ", gate.value) for gate in Gate),
)
"""How a reason in words begins, and the word a metric counts it under."""


class Overview:
    """`risk` gives the candle gate's status and the account limit that is reached, None while there is no monitor."""

    def __init__(
        self,
        *,
        settings: Settings,
        venue: str,
        clock: Clock,
        symbols: Sequence[Symbol],
        executor: Executor,
        news: News,
        latency: Callable[[], Latency],
        risk: Callable[[], tuple[GateStatus, str] | None],
        stopping: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self.opening: AccountState | None = None
        self.reading: EquityReading | None = None
        self._venue = venue
        self._clock = clock
        self._symbols = symbols
        self._executor = executor
        self._news = news
        self._latency = latency
        self._risk = risk
        self._stopping = stopping
        self._started_ns = clock.now_ns()
        self._looked_ns = self._started_ns
        self._quoting_s: defaultdict[str, float] = defaultdict(float)
        self._silent_s: defaultdict[tuple[str, str], float] = defaultdict(float)

    def hear_equity(self, reading: EquityReading) -> None:
        self.reading = reading

    def look(self) -> DaemonView:
        """Everything now. Time since the last look is counted as quoting, or under why not."""
        now_ns = self._clock.now_ns()
        elapsed_s = max(now_ns - self._looked_ns, 0) / NS
        self._looked_ns = now_ns
        symbols = tuple(self._symbol(symbol, now_ns, elapsed_s) for symbol in self._symbols)
        phase = "stopping" if self._stopping() else "running" if symbols else "starting"
        health = [
            f"{row.symbol}: {reason}"
            for row in symbols
            if not row.healthy
            for reason in row.reasons or (row.state,)
        ]
        if phase != "running":
            health.append(phase)
        return DaemonView(
            version=__version__,
            mode=self.settings.mode,
            venue=self._venue,
            bot_tag=self.settings.bot_tag,
            pid=os.getpid(),
            time_ms=now_ns // NS_PER_MS,
            started_ms=self._started_ns // NS_PER_MS,
            phase=phase,
            quoting=any(row.state == "quoting" for row in symbols),
            ready=phase == "running" and all(row.ready for row in symbols),
            healthy=not health,
            health=tuple(health),
            reasons=tuple(
                f"{row.symbol}: {reason}"
                for row in symbols
                for reason in row.reasons
                if row.state != "quoting"
            ),
            symbols=symbols,
            budget=self._budget(),
            risk=self._risk_view(),
            latency=self._latency(),
            news_id=self._news.last_id,
            equity=self._equity(symbols, now_ns),
        )

    def _symbol(self, symbol: Symbol, now_ns: int, elapsed_s: float) -> SymbolView:
        instrument, manager = symbol.instrument, symbol.manager
        name = symbol.settings.name
        totals = readings.totals(manager)
        price = symbol.monitor.last_price_ticks
        state, reasons = standing(symbol, totals)
        if state == "quoting":
            self._quoting_s[name] += elapsed_s
        else:
            self._silent_s[name, kind_of(reasons[0])] += elapsed_s
        orders = [slot.order for slot in manager.live.values() if slot.order is not None]
        lots, cost = totals.inventory_lots, totals.inventory_cost
        average = instrument.money(cost) / instrument.base_qty(lots) if lots else None
        value = instrument.notional(price, lots) if price is not None else Decimal(0)
        return SymbolView(
            symbol=name,
            base=instrument.base,
            quote=instrument.quote,
            side=symbol.settings.grid.side.value,
            interval=describe_lattice(symbol.manager.settings),
            tick=f"{instrument.tick_size:f}",
            state=state,
            reasons=reasons,
            healthy=state not in {"waiting", "failed"} or reasons == (NO_ORDER_WANTED,),
            ready=is_settled(symbol),
            closing=manager.closing,
            bids=sum(order.side > 0 for order in orders),
            asks=sum(order.side < 0 for order in orders),
            held_slots=totals.held_slots,
            position=text(instrument.base_qty(lots)),
            position_value=money(value),
            quoting_s=round(self._quoting_s[name], 3),
            not_quoting_s=tuple(
                (kind, round(seconds, 3))
                for (whose, kind), seconds in self._silent_s.items()
                if whose == name
            ),
            pnl=pnl(symbol, totals, price),
            counters=counters(symbol, totals, self._news.tallies[name]),
            streams=streams(symbol, self._news.tallies[name], now_ns),
            slots=tuple(slot_view(symbol, row, now_ns) for row in readings.slot_statuses(manager)),
            price=None if price is None else text(instrument.price(price)),
            average_price=None if average is None else f"{average:.8g}",
        )

    def _budget(self) -> BudgetView:
        executor = self._executor
        return BudgetView(
            left=executor.budget_left,
            burst=executor.burst,
            waiting=executor.waiting,
            paused_s=round(executor.paused_s, 3),
            sent_places=executor.placed,
            sent_cancels=executor.cancelled,
            retries=executor.retries,
            unknown=executor.unknown,
            refusals=tuple((reason.value, count) for reason, count in executor.refusals.items()),
        )

    def _risk_view(self) -> RiskView:
        found = self._risk()
        settings = self.settings.risk
        if found is None or not settings.enabled:
            limit = "" if found is None else found[1]
            return RiskView(
                state="off",
                since_ms=0,
                recovered=0,
                needed=0,
                volume_multiplier=settings.volume_multiplier,
                limit=limit,
                markets=(),
            )
        gate, limit = found
        return RiskView(
            state="shut" if gate.shut else "open",
            since_ms=gate.since_ns // NS_PER_MS,
            recovered=gate.recovered,
            needed=gate.needed,
            volume_multiplier=settings.volume_multiplier,
            limit=limit,
            markets=tuple(
                MarketView(
                    symbol=market.symbol,
                    no_data=market.no_data,
                    close=market.close,
                    deviation=market.close / market.mean_close - 1 if market.mean_close else 0.0,
                    volume_ratio=market.ratio,
                    panics=market.panics,
                    recovered=market.recovered,
                )
                for market in gate.symbols
            ),
        )

    def _equity(self, symbols: Sequence[SymbolView], now_ns: int) -> EquityView | None:
        if self.opening is None:
            return None
        gained = sum((Decimal(row.pnl.total) for row in symbols), Decimal(0))
        reading = self.reading
        view = EquityView(
            opening=money(self.opening.equity), now=money(self.opening.equity + gained)
        )
        if reading is None:
            return view
        return EquityView(
            opening=view.opening,
            now=view.now,
            venue=money(reading.equity),
            available=money(reading.available),
            residual=money(reading.residual),
            age_s=round((now_ns - reading.ts_ns) / NS, 3),
        )


def standing(symbol: Symbol, totals: GridTotals) -> tuple[str, tuple[str, ...]]:
    """(state, reasons) as `SymbolView` has them."""
    manager = symbol.manager
    if symbol.failed:
        return "failed", (symbol.failed,)
    reasons = totals.not_quoting
    if not reasons:
        if any(slot.state is SlotState.LOCKED for slot in manager.live.values()):
            return "quoting", ()
        return "waiting", (NO_ORDER_WANTED,)
    if manager.ended and manager.ended_for_good:
        return "ended", reasons
    if is_paused(symbol) or manager.limits.waiting:
        return "paused", reasons
    return "waiting", reasons


def kind_of(reason: str) -> str:
    """One of a few words for a reason, so that a metric has few labels."""
    return next((kind for start, kind in KINDS if reason.startswith(start)), "other")


def pnl(symbol: Symbol, totals: GridTotals, price: Ticks | None) -> PnlView:
    instrument = symbol.instrument
    grid = instrument.money(totals.realised)
    inventory = Decimal(0)
    if price is not None:
        start_lots = Lots(symbol.start.qty_lots - symbol.manager.repair.foreign_lots)
        brought = instrument.base_qty(start_lots) * symbol.start.mark_price
        held_cost = instrument.money(Quanta(totals.inventory_cost - totals.adopted_cost))
        inventory = instrument.notional(price, totals.inventory_lots) - held_cost - brought
    return PnlView(
        grid=money(grid),
        inventory=money(inventory),
        fees=money(totals.fees),
        funding=money(totals.funding),
        total=money(grid + inventory - totals.fees + totals.funding),
    )


def counters(symbol: Symbol, totals: GridTotals, tally: Tally) -> CountersView:
    return CountersView(
        ticks=symbol.monitor.ticks,
        orders_placed=totals.orders_placed,
        orders_cancelled=totals.orders_cancelled,
        orders_rejected=totals.orders_rejected,
        orders_filled=tally.filled,
        fills=totals.fills,
        buys=totals.buys,
        sells=totals.sells,
        maker_fills=totals.maker_fills,
    )


def streams(symbol: Symbol, tally: Tally, now_ns: int) -> StreamsView:
    monitor, reconciler, queue = symbol.monitor, symbol.reconciler, symbol.channel.queue
    return StreamsView(
        price_age_s=age_s(monitor.fresh_ns, now_ns),
        stale_after_s=monitor.stale_after_s,
        price_trouble=monitor.why_shut,
        price_disconnects=monitor.disconnects,
        order_stream_up=symbol.order_feed.up is True,
        order_disconnects=tally.stream_losses,
        snapshot_age_s=age_s(reconciler.last_taken_ns, now_ns),
        snapshots_taken=reconciler.taken,
        snapshots_failed=reconciler.failures,
        position_differences=tally.differences,
        queue_depth=len(queue),
        queue_depth_max=queue.depth_max,
        queue_overflows=queue.overflows,
    )


def slot_view(symbol: Symbol, row: SlotStatus, now_ns: int) -> SlotView:
    instrument = symbol.instrument
    price, held = text(instrument.price(row.price_ticks)), text(instrument.base_qty(row.held_lots))
    if row.side is None or row.order_price_ticks is None:
        return SlotView(slot=row.slot, price=price, state=row.state, held=held, why=row.why)
    return SlotView(
        slot=row.slot,
        price=price,
        state=row.state,
        held=held,
        why="",
        side=row.side.name.lower(),
        order_price=text(instrument.price(row.order_price_ticks)),
        order_qty=text(instrument.base_qty(row.order_leaves_lots)),
        filled_qty=text(instrument.base_qty(row.order_filled_lots)),
        age_s=age_s(row.order_sent_ns, now_ns),
    )


def age_s(since_ns: int, now_ns: int) -> float | None:
    return round(max(now_ns - since_ns, 0) / NS, 3) if since_ns else None


def text(value: Decimal) -> str:
    return f"{value:f}"


def money(value: Decimal) -> str:
    """To the 10^-8, without trailing zeros."""
    rounded = f"{value:.8f}".rstrip("0").rstrip(".")
    return "0" if rounded in {"", "-0"} else rounded
