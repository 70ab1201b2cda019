"""The backtest benchmark's job in hftbacktest and as a bare numba loop, each alone in a process of its own.

    python benchmarks/peers.py hftbacktest|numba --data FILE [--spacing N] [--window N] [--times N] [--repeats N]

Prints one line of JSON. Both need the extra `bench`. The rules are those of `tests/backtest/test_oracle.py` under `touch`.

hftbacktest replays a book, so it gets one: a trade at p by a seller means a bid at p and an offer one tick above, by a
buyer the mirror image, with next to nothing standing there, so that no queue keeps a fill back. Its strategy is called
at every event and acts where the level below the price has changed or something was traded.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

TICK, LOT, AMOUNT, FEE = 0.0001, 0.1, 50.0, 0.0002
SHOWN = 0.1
"""Quantity at the derived best bid and offer."""
LONG_S = 10.0
"""Runs that take longer are made once: in them a disturbance is a small share."""
ENOUGH_S = 1.0
"""Runs that take less together are repeated."""


def read_trades(path: Path, times: int) -> tuple[Any, Any, Any, Any]:
    """(time in ms, price in ticks, quantity, whether the seller was the taker), the stretch `times` times over."""
    from pyarrow import parquet

    table = parquet.read_table(path)
    ts_ms = table["ts_ms"].to_numpy()
    ticks = np.rint(table["price"].to_numpy() / TICK).astype(np.int32)
    qty = table["qty"].to_numpy()
    sold = table["buyer_is_maker"].to_numpy(zero_copy_only=False)
    if times > 1:
        span = ts_ms[-1] - ts_ms[0] + 1_000
        ts_ms = np.concatenate([ts_ms + span * number for number in range(times)])
        ticks, qty, sold = (np.tile(column, times) for column in (ticks, qty, sold))
    return ts_ms, ticks, qty, sold


def ladder_of(ticks: Any, spacing: int, window: int) -> tuple[int, int]:
    """(the lowest level number that can matter, how many there are)."""
    anchor = int(ticks[0])
    lowest = (int(ticks.min()) - anchor) // spacing - window - 4
    return lowest, (int(ticks.max()) - anchor) // spacing + 5 - lowest


def numba_loop(args: argparse.Namespace) -> dict[str, Any]:
    """The job as a state machine over levels: a trade costs what it crosses. No orders, no journal, no books."""
    from numba import njit

    @njit
    def walk(ticks, spacing, window, held, lowest):  # type: ignore[no-untyped-def]
        anchor = last = ticks[0]
        top = -1
        buys = sells = 0
        cash = fees = lots_held = 0.0
        lots = np.zeros(held.size)
        for price in ticks:
            if price == last:
                continue
            if price < last:
                for level in range(
                    top, max(-((anchor - price) // spacing), top - window + 1) - 1, -1
                ):
                    slot = level - lowest
                    if not held[slot]:
                        quote = (anchor + level * spacing) * TICK
                        lots[slot] = np.floor(AMOUNT / quote / LOT + 1e-9) * LOT
                        held[slot] = True
                        cash -= lots[slot] * quote
                        fees += lots[slot] * quote * FEE
                        lots_held += lots[slot]
                        buys += 1
            else:
                for level in range(top, (price - anchor) // spacing):
                    slot = level - lowest
                    if held[slot]:
                        quote = (anchor + (level + 1) * spacing) * TICK
                        held[slot] = False
                        cash += lots[slot] * quote
                        fees += lots[slot] * quote * FEE
                        lots_held -= lots[slot]
                        sells += 1
            last = price
            top = (price - anchor - 1) // spacing
        return buys, sells, cash + lots_held * last * TICK - fees

    _, ticks, _, _ = read_trades(args.data, args.times)
    lowest, levels = ladder_of(ticks, args.spacing, args.window)
    walk(ticks[:1_000], args.spacing, args.window, np.zeros(levels, np.bool_), lowest)
    spent: list[tuple[float, float]] = []
    while unfinished([cpu_s for _, cpu_s in spent], args.repeats):
        held = np.zeros(levels, np.bool_)
        began = time.perf_counter(), time.process_time()
        buys, sells, pnl = walk(ticks, args.spacing, args.window, held, lowest)
        spent.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    return row(args, len(ticks), min(spent), buys, sells, pnl)


def hftbacktest(args: argparse.Namespace) -> dict[str, Any]:
    import hftbacktest as hft
    from numba import njit

    both = hft.EXCH_EVENT | hft.LOCAL_EVENT
    trade, depth = hft.TRADE_EVENT | both, hft.DEPTH_EVENT | both
    of_buyer, of_seller = hft.BUY_EVENT, hft.SELL_EVENT
    filled_status, gtx, limit = hft.FILLED, hft.GTX, hft.LIMIT
    base = 1 << 20

    @njit
    def as_book(ts_ms, ticks, qty, sold, out):  # type: ignore[no-untyped-def]
        count, bid, ask = 0, -1, -1

        def add(count, kind, at, price, quantity):  # type: ignore[no-untyped-def]
            out[count]["ev"] = kind
            out[count]["exch_ts"] = out[count]["local_ts"] = at
            out[count]["px"] = price * TICK
            out[count]["qty"] = quantity
            return count + 1

        for place in range(ticks.size):
            at, price = ts_ms[place] * 1_000_000, ticks[place]
            side = of_seller if sold[place] else of_buyer
            count = add(count, trade | side, at, price, qty[place])
            new_bid = price if sold[place] else price - 1
            new_ask = new_bid + 1
            if new_bid == bid:
                continue
            if bid >= 0:
                count = add(count, depth | of_buyer, at, bid, 0.0)
                count = add(count, depth | of_seller, at, ask, 0.0)
            count = add(count, depth | of_buyer, at, new_bid, SHOWN)
            count = add(count, depth | of_seller, at, new_ask, SHOWN)
            bid, ask = new_bid, new_ask
        return count

    @njit
    def offer(engine, level, anchor, spacing, state, lowest, waiting, asked):  # type: ignore[no-untyped-def]
        quantity = np.floor(AMOUNT / ((anchor + level * spacing) * TICK) / LOT + 1e-9) * LOT
        price = (anchor + (level + 1) * spacing) * TICK
        name = level + 3 * base
        if engine.submit_sell_order(0, name, price, quantity, gtx, limit, False) == 0:
            state[level - lowest] = 2
            waiting[asked] = name
            return asked + 1
        state[level - lowest] = 3
        return asked

    @njit
    def run(engine, anchor, spacing, window, state, lowest, counts):  # type: ignore[no-untyped-def]
        """`state` of a level: 0 free, 1 its buy rests, 2 its sell rests, 3 a sell is to be sent."""
        waiting = np.empty(1 << 20, np.uint64)
        asked = 0
        seen, last_top, bottom, again = 0, -(1 << 40), lowest, False
        while True:
            woken_by = engine.wait_next_feed(True, 1_000_000_000_000_000)
            if woken_by not in (2, 3):
                break
            price = engine.depth(0).best_ask_tick
            if price > 1 << 40:
                continue
            top = (price - anchor - 1) // spacing
            traded = engine.state_values(0).num_trades
            if woken_by != 2 and traded == seen and top == last_top and not again:
                continue
            orders = engine.orders(0)
            retry, again, refused = again, False, False
            still = 0
            for place in range(asked):
                order = orders.get(waiting[place])
                if order is None:
                    continue
                if order.status == 0:
                    waiting[still] = waiting[place]
                    still += 1
                elif order.status == 2:
                    level = np.int64(waiting[place]) - base
                    if level >= base:
                        state[level - 2 * base - lowest] = 3
                        refused = True
                    elif state[level - lowest] == 1:
                        state[level - lowest] = 0
                        again = True
            asked = still
            if traded != seen:
                every = orders.values()
                while every.has_next():
                    order = every.get()
                    if order.status != filled_status:
                        continue
                    level = np.int64(order.order_id) - base
                    if level >= base:
                        if state[level - 2 * base - lowest] == 2:
                            state[level - 2 * base - lowest] = 0
                            counts[1] += 1
                    elif state[level - lowest] == 1:
                        state[level - lowest] = 3
                        counts[0] += 1
            if traded != seen or refused or retry or top != last_top:
                engine.clear_inactive_orders(0)
            if traded != seen or refused or retry:
                for slot in range(state.size):
                    if state[slot] == 3:
                        asked = offer(
                            engine, slot + lowest, anchor, spacing, state, lowest, waiting, asked
                        )
                        again |= state[slot] == 3
            if traded != seen or top != last_top or retry or again:
                low = top - window + 1
                for level in range(max(bottom, lowest), min(low, lowest + state.size)):
                    if state[level - lowest] == 1:
                        engine.cancel(0, level + base, False)
                        state[level - lowest] = 0
                for level in range(low, top + 1):
                    if state[level - lowest] == 0:
                        quote = (anchor + level * spacing) * TICK
                        quantity = np.floor(AMOUNT / quote / LOT + 1e-9) * LOT
                        name = level + base
                        if engine.submit_buy_order(0, name, quote, quantity, gtx, limit, False):
                            again = True
                        else:
                            state[level - lowest] = 1
                            waiting[asked] = name
                            asked += 1
                bottom = low
            seen, last_top = traded, top
        return True

    ts_ms, ticks, qty, sold = read_trades(args.data, args.times)
    book = np.zeros(len(ticks) * 5, hft.event_dtype)
    book = book[: as_book(ts_ms, ticks, qty, sold, book)].copy()
    lowest, levels = ladder_of(ticks, args.spacing, args.window)

    def engine_over(events: Any) -> Any:
        asset = (
            hft.BacktestAsset()
            .data(events)
            .linear_asset(1.0)
            .constant_order_latency(0, 0)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(FEE, 0.0005)
            .tick_size(TICK)
            .lot_size(LOT)
            .roi_lb(0.1)
            .roi_ub(3.0)
            .last_trades_capacity(0)
        )
        return hft.ROIVectorMarketDepthBacktest([asset])

    anchor, shape = int(ticks[0]), (args.spacing, args.window)
    head = book[:2_000].copy()
    run(engine_over(head), anchor, *shape, np.zeros(levels, np.int8), lowest, np.zeros(2, np.int64))
    spent: list[tuple[float, float]] = []
    while unfinished([cpu_s for _, cpu_s in spent], args.repeats):
        engine, counts = engine_over(book), np.zeros(2, np.int64)
        began = time.perf_counter(), time.process_time()
        run(engine, anchor, *shape, np.zeros(levels, np.int8), lowest, counts)
        spent.append((time.perf_counter() - began[0], time.process_time() - began[1]))
        values = engine.state_values(0)
        pnl = values.balance + values.position * float(ticks[-1]) * TICK - values.fee
        engine.close()
    return row(args, len(ticks), min(spent), int(counts[0]), int(counts[1]), pnl)


def unfinished(cpu_s: list[float], repeats: int) -> bool:
    """`cpu_s`: what each run so far took. The same for every engine, ours included."""
    if cpu_s and cpu_s[0] > LONG_S:
        return False
    return len(cpu_s) < repeats or sum(cpu_s) < ENOUGH_S


def row(
    args: argparse.Namespace,
    rows: int,
    spent: tuple[float, float],
    buys: int,
    sells: int,
    pnl: float,
) -> dict[str, Any]:
    wall_s, cpu_s = spent
    return {
        "engine": args.engine,
        "spacing": args.spacing,
        "window": args.window,
        "times": args.times,
        "rows": rows,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "fills": buys + sells,
        "pnl": round(pnl, 4),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


ENGINES = {"hftbacktest": hftbacktest, "numba": numba_loop}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--spacing", type=int, default=10)
    parser.add_argument("--window", type=int, default=10)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    try:
        print(json.dumps(ENGINES[args.engine](args)), flush=True)
    except ModuleNotFoundError as error:
        print(
            f"{args.engine}: needs {error.name}: pip install 'marketmaker[bench]'", file=sys.stderr
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
