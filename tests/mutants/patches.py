"""Mistakes that a daemon like this one makes, each as a small patch; the simulation has to find every one of them.

A patch names what it breaks, which case of the fault list it stands for (F1 to F22, see below), the files and the
text that is replaced. `python -m tests.mutants` tries them all; a patch that survives is a rule that is missing.

    F1   no answer to a placement            F9   an empty or failed reading         F16  a request that hangs
    F2   updates twice, late, out of order   F10  position closed by hand            F17  rate limit, ban, maintenance
    F3   part filled, then cancelled         F11  foreign orders, a second bot       F19  newest price wins
    F4   a fill between cancel and answer    F12  a cancel refused or unanswered     F21  disk slow or full
    F5   order stream silent or down         F14  stop loss while something is shut  F22  clock off
    F6   price stream silent or down         F15  rounding, minimums
    F7   stop while placing                  F8   kill, restart

F13 (risk gate), F18 (a closing leg that fails) and F20 (web access) are not in the simulated house; tests of their own
stand for them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """`old` stands in `file` (below `marketmaker/`) exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """`quick`: found within a few seeds, so that `make test` tries it."""

    name: str
    case: str
    edits: tuple[Edit, ...]
    quick: bool = False


def mutant(name: str, case: str, *edits: tuple[str, str, str], quick: bool = False) -> Mutant:
    return Mutant(
        name=name,
        case=case,
        edits=tuple(Edit(file=file, old=old, new=new) for file, old, new in edits),
        quick=quick,
    )


NEWS, REPAIR, MANAGER = "core/order_news.py", "core/repair.py", "core/position_manager.py"
EXECUTOR, RECONCILER = "runtime/executor.py", "runtime/reconciler.py"

MUTANTS = (
    # --- F1 ---
    mutant(
        "a slot is freed when its placement gets no answer",
        "F1",
        (
            NEWS,
            """        order.unanswered_ns = order.ts_changed_ns = self.grid.now_ns
        self.grid.query(order, f"no answer to the placement: {event.message}")
""",
            """        slot.hear(Heard.REJECTED)
        self.grid.end_order(slot, order, EndReason.VENUE, event.message)
""",
        ),
        quick=True,
    ),
    mutant(
        "a placement without an answer is sent again",
        "F1",
        (
            "runtime/retry.py",
            "isinstance(error, NotSent | RateLimited | Overloaded | ClockSkew)",
            "isinstance(error, NotSent | RateLimited | Overloaded | ClockSkew | errors.OutcomeUnknown)",
        ),
        quick=True,
    ),
    mutant(
        "an order that cannot be found once was never placed",
        "F1",
        (NEWS, "NOT_FOUND_TIMES: Final = 2", "NOT_FOUND_TIMES: Final = 1"),
    ),
    mutant(
        "a request under way is taken for lost before the venue would refuse it",
        "F1",
        (NEWS, "if too_old and order.missing >=", "if order.missing >="),
    ),
    # --- F2 ---
    mutant(
        "a trade told twice is booked twice",
        "F2",
        (
            "core/books.py",
            "fresh = fill if fill is not None and fill.trade_id not in order.trade_ids else None",
            "fresh = fill",
        ),
        (MANAGER, "if fill is None or fill.trade_id in self.recent_trades:", "if fill is None:"),
        quick=True,
    ),
    mutant(
        "what an order has filled is forgotten when it ends, and booked anew when it is told again",
        "F2",
        (
            MANAGER,
            "        self.room_made = True\n\n    def wait(",
            """        order.booked_lots = order.trade_lots = 0
        order.trade_ids = frozenset()
        self.room_made = True

    def wait(""",
        ),
    ),
    mutant(
        "news of the previous order is taken for news of the present one",
        "F2",
        (
            NEWS,
            """        slot = self.grid.live.get(name.sequence)
        order = None if slot is None else slot.order
        if slot is None or order is None or not same_order(order.client_order_id, name):
""",
            """        slot = self.grid.slots.get(name.slot)
        order = None if slot is None else slot.order
        if slot is None or order is None or order.side is not name.side:
""",
        ),
    ),
    mutant(
        "a late acceptance brings an ended order back",
        "F2",
        (
            NEWS,
            "if known.recovered and report.status is OrderStatus.OPEN:",
            "if report.status is OrderStatus.OPEN:",
        ),
    ),
    # --- F3, F4 ---
    mutant(
        "what a cancelled order had filled is not looked at",
        "F3",
        (
            NEWS,
            """        if report.fill is not None or filled > order.booked_lots:
""",
            """        if report.status is not OrderStatus.CANCELLED and filled > order.booked_lots:
""",
        ),
    ),
    mutant(
        "a fill told after the order's end is dropped",
        "F4",
        (NEWS, "        self.grid.book(slot, order, cumulative, report)\n", ""),
    ),
    mutant(
        "a cancel that finds no order means that it was cancelled",
        "F4",
        (
            NEWS,
            '            self.grid.query(order, "cancel found no order")\n',
            """            slot.hear(Heard.CANCELLED)
            self.grid.end_order(slot, order, EndReason.REQUESTED)
""",
        ),
    ),
    # --- F5, F6 ---
    mutant(
        "quoting goes on while the order stream is down",
        "F5",
        (
            MANAGER,
            "        self.stream_up = False\n        for slot in self.live",
            "        for slot in self.live",
        ),
    ),
    mutant(
        "quoting goes on after a reconnect without looking at what was missed",
        "F5",
        (MANAGER, "        self.snapshot_after_ns = event.ts_ns\n", ""),
    ),
    mutant(
        "an old price is as good as a new one",
        "F6",
        (
            "runtime/price_monitor.py",
            "        if not self._up or age_ns <= self._stale_after_ns:\n            return\n",
            "        if self._up or age_ns >= 0:\n            return\n",
        ),
    ),
    mutant(
        "entries go on while the price stream is down",
        "F6",
        (
            "runtime/price_monitor.py",
            '        self._fear(Trouble.DOWN, f"price stream is down: {reason}")\n',
            "",
        ),
    ),
    # --- F7 ---
    mutant(
        "orders are cancelled first and the price loop is stopped afterwards",
        "F7",
        (
            "shutdown.py",
            """        for symbol in trading:
            symbol.channel.queue.put(StopRequested(""",
            """        await asyncio.gather(
            *(self.cancel_at_venue(symbol, core_deadline) for symbol in self._symbols)
        )
        for symbol in trading:
            symbol.channel.queue.put(StopRequested(""",
        ),
        quick=True,
    ),
    mutant(
        "the stop does not ask the venue what is left",
        "F7",
        (
            "shutdown.py",
            "            *(self.cancel_at_venue(symbol, venue_deadline) for symbol in self._symbols)\n",
            '            *(asyncio.sleep(0, "") for _ in self._symbols)\n',
        ),
        (
            MANAGER,
            """        self.stopping = event.reason or "stop requested"
        self.mark_all()
""",
            """        self.stopping = event.reason or "stop requested"
""",
        ),
    ),
    # --- F8 ---
    mutant(
        "ids start over after a restart without memory",
        "F8",
        (
            "app.py",
            "first_sequence=first_sequence(clock.now_ns() // 1_000_000, form)",
            "first_sequence=1",
        ),
        quick=True,
    ),
    mutant(
        "the levels are counted anew after a restart",
        "F8",
        (
            "core/readings.py",
            """    if grid.settings.anchor is None:
        grid.set_anchor(memory.anchor_ticks)
""",
            "",
        ),
    ),
    mutant(
        "orders that an earlier process left are not looked at",
        "F8",
        (
            REPAIR,
            "            self.news.take_in(report, name)\n            return\n        if order.ts_ended_ns",
            "            return\n        if order.ts_ended_ns",
        ),
        quick=True,
    ),
    mutant(
        "trades made while we were away are not booked",
        "F8",
        (
            REPAIR,
            "            memory is not None\n            and fill.ts_venue_ns",
            "            memory is not None\n            and not memory.anchor_ticks\n            and fill.ts_venue_ns",
        ),
    ),
    mutant(
        "a restart does not know what was booked on open orders",
        "F8",
        (
            "core/readings.py",
            "    for booked in memory.booked_orders:\n        grid.repair.remember(booked)\n",
            "",
        ),
    ),
    mutant(
        "inventory carried to another slot is not written down",
        "F8",
        (
            MANAGER,
            "                self.books.carry(slot, target)\n                self.rearranged = True\n                self.held_changed(slot)\n                self.held_changed(target)\n",
            "                self.books.carry(slot, target)\n                self.held_changed(slot)\n                self.held_changed(target)\n",
        ),
    ),
    mutant(
        "what changed without a trade is not written down",
        "F8",
        (
            "runtime/engine.py",
            "        if isinstance(event, SnapshotTaken) or self.manager.rearranged:\n",
            "        if isinstance(event, SnapshotTaken):\n",
        ),
    ),
    # --- F9 ---
    mutant(
        "an empty first reading is believed",
        "F9",
        (
            RECONCILER,
            "        while denied:\n",
            "        while denied and not denied:\n",
        ),
    ),
    mutant(
        "an order that is not listed is gone",
        "F9",
        (
            REPAIR,
            "if slot.state is LOCKED and order.gone_ns and ts_asked_ns > order.gone_ns:",
            "if slot.state is LOCKED:",
        ),
    ),
    mutant(
        "the slots follow a single reading of the position",
        "F9",
        (
            REPAIR,
            """        if self.difference != difference or self.grid.price is None:
            self.difference = difference
            self.sightings, self.sighted_fill_ns = 1, self.grid.last_fill_ns
            self.sighted_ns = snapshot.ts_asked_ns
            self.look_again()
            return
        if snapshot.ts_asked_ns - self.sighted_ns < SECOND_LOOK_NS:
            self.look_again()
            return
        self.sightings += 1
        self.sighted_ns = snapshot.ts_asked_ns
        if self.sighted_fill_ns != self.grid.last_fill_ns and self.sightings < SURE_SIGHTINGS:
            self.look_again()
            return
""",
            """        if self.grid.price is None:
            self.look_again()
            return
""",
        ),
    ),
    mutant(
        "a position that cannot be read is none",
        "F9",
        (
            RECONCILER,
            "        position = await self._adapter.fetch_position(instrument)\n",
            """        try:
            position = await self._adapter.fetch_position(instrument)
        except VenueError:
            from decimal import Decimal
            from marketmaker.model.account import Position
            zero = Decimal(0)
            position = Position(qty_lots=0, entry_price=zero, mark_price=zero)
""",
        ),
    ),
    # --- F10 ---
    mutant(
        "a position closed by hand is never noticed",
        "F10",
        (
            REPAIR,
            "        if difference == 0:\n            self.difference = None\n",
            "        if True:\n            self.difference = None\n",
        ),
    ),
    mutant(
        "a refused order is tried again at once",
        "F10",
        (
            NEWS,
            "self.grid.wait(slot, delay_s, message or end.value)",
            "self.grid.wait(slot, 0.0, message or end.value)",
        ),
        (
            NEWS,
            'self.grid.wait(slot, max(self.grid.settings.retry_delay_s, delay_s), "reduce-only refused")',
            'self.grid.wait(slot, 0.0, "reduce-only refused")',
        ),
    ),
    # --- F11 ---
    mutant(
        "the stop cancels orders of others",
        "F11",
        (
            "symbol.py",
            """        OrderRef(client_order_id=report.client_order_id, venue_order_id=report.venue_order_id)
        for report in listed
        if report.client_order_id is not None
""",
            """        OrderRef(
            client_order_id=report.client_order_id or ClientOrderId(0, Side.BUY, 0),
            venue_order_id=report.venue_order_id,
        )
        for report in listed
""",
        ),
        (
            "symbol.py",
            "from marketmaker.model.order import OrderRef",
            "from marketmaker.model.order import ClientOrderId, OrderRef",
        ),
        quick=True,
    ),
    mutant(
        "orders of a second bot are taken for ours",
        "F11",
        (
            "model/client_order_id.py",
            "if len(wire) != self.length or not wire.startswith(self.prefix):",
            "if len(wire) != self.length:",
        ),
    ),
    # --- F12 ---
    mutant(
        "a cancel without an answer counts as done",
        "F12",
        (
            NEWS,
            """        _, order = self.find(event.client_order_id)
        if order is not None:
            self.grid.query(order, f"no answer to the cancel: {event.message}")
""",
            """        slot, order = self.find(event.client_order_id)
        if order is not None and slot is not None:
            slot.hear(Heard.CANCELLED)
            self.grid.end_order(slot, order, EndReason.REQUESTED)
""",
        ),
    ),
    mutant(
        "a cancel is asked for once",
        "F12",
        (
            MANAGER,
            '        elif kind == "recancel":\n            slot.order.cancel_asked_ns = 0\n',
            '        elif kind == "recancel":\n',
        ),
        (
            REPAIR,
            "            order.cancel_asked_ns = 0\n            self.grid.mark((slot.index,))\n",
            "            self.grid.mark((slot.index,))\n",
        ),
    ),
    # --- F14, F15 ---
    mutant(
        "the grid enters again after its stop loss",
        "F14",
        (
            MANAGER,
            "        if self.ended:\n            return self.ended\n        if self.gates:",
            "        if self.gates:",
        ),
    ),
    mutant(
        "the stop loss waits while something else keeps entries out",
        "F14",
        (
            MANAGER,
            "        if self.standstill():\n            return\n        assert self.price is not None\n        self.pay_debts()\n        slots = [",
            "        if self.standstill() or self.gates or not self.closing or self.ended:\n            return\n        assert self.price is not None\n        self.pay_debts()\n        slots = [",
        ),
    ),
    mutant(
        "quantities are rounded up",
        "F15",
        ("core/sizing.py", "lots = self.amount // price", "lots = self.amount // price + 1"),
    ),
    mutant(
        "a remainder too small to be sold is forgotten",
        "F15",
        (
            MANAGER,
            "            and not slot.held_lots\n            and not slot.cost\n",
            "",
        ),
    ),
    # --- F16, F17, F19 ---
    mutant(
        "a placement that hangs is waited for",
        "F16",
        (
            EXECUTOR,
            "self._later(self._settings.request_timeout_s, self._expire)",
            "self._later(1e6, self._expire)",
        ),
    ),
    mutant(
        "orders leave while the venue has asked for a pause",
        "F17",
        (
            "runtime/rate_limit.py",
            "        if now_ns < self._paused_until_ns:\n            return 0\n",
            "",
        ),
    ),
    mutant(
        "cancels are sent past the budget",
        "F17",
        (
            "runtime/rate_limit.py",
            "        self._level -= n * TOKEN\n",
            "        self._level -= 0 if cancel else n * TOKEN\n",
        ),
    ),
    mutant(
        "the oldest waiting price wins",
        "F19",
        (
            "runtime/event_queue.py",
            "        self._price = price_ticks\n        self._price_venue_ns",
            "        self._price = self._price or price_ticks\n        self._price_venue_ns",
        ),
    ),
    # --- F21, F22 ---
    mutant(
        "entries go on while the disk is full",
        "F21",
        (
            MANAGER,
            "        self.gates[event.gate] = event.reason\n",
            "        if event.gate is not Gate.DISK:\n            self.gates[event.gate] = event.reason\n",
        ),
    ),
    mutant(
        "what is remembered is not written",
        "F21",
        (
            "keeper.py",
            "readings.memory(symbol.manager) if symbol.engine.changed else None",
            "readings.memory(symbol.manager) if symbol.engine.changed is None else None",
        ),
    ),
    mutant(
        "a clock that is wrong is no reason not to begin",
        "F22",
        (
            "core/safety.py",
            "    if abs(offset_s) > Decimal(str(safety.max_clock_offset_s)):\n",
            "    if abs(offset_s) > 1_000:\n",
        ),
    ),
    # --- rules of the grid ---
    mutant(
        "exits are not reduce-only",
        "T-5",
        (MANAGER, "reduce_only=is_exit and self.reduces(slot.sign)", "reduce_only=False"),
    ),
    mutant(
        "inventory is offered at the price it was bought at",
        "grid",
        (
            MANAGER,
            "price=ladder.price_of(slot.rung + 1),\n            lots=self.sizing.exit_lots",
            "price=ladder.price_of(slot.rung),\n            lots=self.sizing.exit_lots",
        ),
    ),
    mutant(
        "every refusal counts as a post-only rejection",
        "O-29",
        (
            NEWS,
            "        if end is EndReason.POST_ONLY:\n            slot.post_only_rejects += 1\n",
            "        slot.post_only_rejects += 1\n        if end is EndReason.POST_ONLY:\n",
        ),
    ),
    mutant(
        "a fill does not end a row of post-only rejections",
        "grid",
        (MANAGER, "            slot.post_only_rejects = slot.refusals = 0\n", ""),
    ),
    mutant(
        "entries go on without margin",
        "O-30",
        (
            NEWS,
            "            self.grid.margin_locked_until_ns = self.grid.now_ns + int(\n",
            "            self.grid.margin_locked_until_ns = 0 * int(\n",
        ),
    ),
    mutant(
        "open entries do not count as exposure",
        "Q-13",
        (
            MANAGER,
            "if held + self.entry_leaves[slot.sign] + lots > self.max_exposure:",
            "if held + lots > self.max_exposure:",
        ),
    ),
    mutant(
        "the cap on open orders is not kept",
        "grid",
        (
            MANAGER,
            "        if len(self.live) >= self.cap:\n            return NO_ROOM\n",
            "",
        ),
        (
            MANAGER,
            'return NO_ROOM if len(self.live) >= self.cap else ""',
            'return ""',
        ),
    ),
)
