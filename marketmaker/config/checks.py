"""Whether a symbol's grid can work on its instrument: ticks, lots, minimums and fees.

The same lattice and sizing as the daemon's are asked, so that what passes here is what will be placed.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_CEILING, Decimal, localcontext

from marketmaker.config.fields import plain
from marketmaker.core.lattice import Lattice, build_lattice
from marketmaker.core.sizing import build_sizing
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.settings import GridSettings, GridSide, SymbolSettings


def check_symbol(
    symbol: SymbolSettings, instrument: Instrument, price: Decimal | None
) -> list[str]:
    """What would keep this grid from working, as `KEY: what is wrong; what would pass`, [] when nothing.

    Args:
        price: quote per base unit around which levels will be quoted; None skips what depends on it.
    """
    with localcontext() as context:
        context.prec = 60
        key = f"symbols.{symbol.name}.grid"
        return [
            f"{key}.{name}: {problem}" for name, problem in problems(symbol.grid, instrument, price)
        ]


def problems(
    grid: GridSettings, instrument: Instrument, price: Decimal | None
) -> Iterator[tuple[str, str]]:
    if price is not None and price < instrument.tick_size:
        yield (
            "anchor",
            f"the price {plain(price)} is under one tick of {instrument.name}, "
            f"{plain(instrument.tick_size)}; set an anchor of many ticks",
        )
        return
    found = list(interval_problems(grid, instrument, price))
    yield from found
    if price is None or found:
        yield from amount_problem(grid, instrument)
        return
    yield from order_problem(grid, instrument, price)


def interval_problems(
    grid: GridSettings, instrument: Instrument, price: Decimal | None
) -> Iterator[tuple[str, str]]:
    """An interval under one tick, as large as the price, or too small to earn its fees."""
    if grid.price_interval is not None:
        problem = arithmetic_problem(grid.price_interval, instrument, price)
        if problem:
            yield "price_interval", problem
    elif grid.interval_pct is not None:
        problem = geometric_problem(grid.interval_pct, grid, instrument, price)
        if problem:
            yield "interval_pct", problem


def arithmetic_problem(
    interval: Decimal, instrument: Instrument, price: Decimal | None
) -> str | None:
    tick, fee = instrument.tick_size, instrument.maker_fee
    if interval < tick:
        return (
            f"price_interval {plain(interval)} is under one tick of {instrument.name}, {plain(tick)}; "
            f"set {plain(tick)} or more"
        )
    if price is None:
        return None
    if interval >= price:
        return (
            f"price_interval {plain(interval)} is not below the price {plain(price)}, so no level lies below it; "
            "set a small part of the price"
        )
    steps = interval // tick
    narrowest = steps * tick
    if narrowest - fee * (2 * price + narrowest) > 0:
        return None
    least = (2 * fee * price / (1 - fee) // tick + 1) * tick
    return (
        f"price_interval {plain(interval)} earns nothing at {plain(price)}: both maker fees of {plain(fee)} "
        f"take {plain(rounded(fee * (2 * price + interval)))} a round trip; set {plain(least)} or more"
    )


def geometric_problem(
    ratio: Decimal, grid: GridSettings, instrument: Instrument, price: Decimal | None
) -> str | None:
    tick, fee = instrument.tick_size, instrument.maker_fee
    if ratio - fee * (2 + ratio) <= 0:
        millionth = Decimal("0.000001")
        least = (2 * fee / (1 - fee) // millionth + 1) * millionth
        return (
            f"interval_pct {plain(ratio)} earns nothing: both maker fees of {plain(fee)} take more of a round trip; "
            f"set {plain(least)} or more"
        )
    lowest = grid.price_bounds[0] if grid.price_bounds else price
    if lowest is None or lowest * ratio >= tick:
        return None
    least = (tick / lowest).quantize(Decimal("1e-6"), ROUND_CEILING)
    return (
        f"interval_pct {plain(ratio)} is {plain(rounded(lowest * ratio))} at {plain(lowest)}, "
        f"under one tick of {instrument.name}, {plain(tick)}; set {plain(least)} or more"
    )


def amount_problem(grid: GridSettings, instrument: Instrument) -> Iterator[tuple[str, str]]:
    """What can be said of an order's size without a price."""
    if grid.order_amount < instrument.min_notional:
        yield (
            "order_amount",
            f"order_amount {plain(grid.order_amount)} is under the minimum notional of {instrument.name}, "
            f"{plain(instrument.min_notional)} {instrument.quote}; "
            f"set {plain(instrument.min_notional)} or more",
        )


def order_problem(
    grid: GridSettings, instrument: Instrument, price: Decimal
) -> Iterator[tuple[str, str]]:
    """An order that some level of the first window could not place, with the amount that suits them all."""
    sizing = build_sizing(grid, instrument)
    least_amount = Decimal(0)
    failing: Ticks | None = None
    for level in window_levels(grid, instrument, price):
        needed = Lots(sizing.least_entry_lots(level))
        least_amount = max(least_amount, instrument.notional(level, needed))
        if failing is None and sizing.entry_lots(level) < needed:
            failing = level
    if failing is None:
        return
    lots = sizing.entry_lots(failing)
    at = plain(instrument.price(failing))
    amount = f"order_amount {plain(grid.order_amount)}"
    advice = f"set {plain(rounded(least_amount))} or more"
    if lots == 0:
        one = instrument.notional(failing, Lots(1))
        yield (
            "order_amount",
            f"{amount} is less than one lot of {instrument.name} at {at} "
            f"({plain(instrument.base_per_lot)} {instrument.base} = {plain(rounded(one))} "
            f"{instrument.quote}); {advice}",
        )
    elif lots < instrument.min_qty:
        yield (
            "order_amount",
            f"{amount} buys {plain(instrument.base_qty(lots))} {instrument.base} at {at}, under the minimum quantity "
            f"{plain(instrument.base_qty(instrument.min_qty))}; {advice}",
        )
    else:
        worth = instrument.notional(failing, lots)
        minimum = max(grid.min_order_value, instrument.min_notional)
        source = "min_order_value" if minimum > instrument.min_notional else "the minimum notional"
        yield (
            "order_amount",
            f"{amount} becomes an order of {plain(rounded(worth))} {instrument.quote} at {at}, "
            f"under {source} {plain(minimum)}; {advice}",
        )


def window_levels(grid: GridSettings, instrument: Instrument, price: Decimal) -> Iterator[Ticks]:
    """Levels that opening orders may take around `price`, nearest first on each side; never 0 or less."""
    near = instrument.floor_ticks(price)
    anchor = instrument.floor_ticks(grid.anchor) if grid.anchor is not None else near
    lattice: Lattice = build_lattice(Ticks(max(anchor, 1)), grid, instrument)
    here = lattice.at_or_below(near)
    if grid.side is not GridSide.SHORT:
        for number in range(here, max(here - grid.buy_window, lattice.lowest - 1), -1):
            yield lattice.level(number)
    if grid.side is not GridSide.LONG:
        first = max(here + 1, lattice.lowest)
        for number in range(first, first + grid.buy_window):
            yield lattice.level(number)


def rounded(money: Decimal) -> Decimal:
    """Upwards: to cents from 1 on, else to three significant digits."""
    if money >= 1 or money == 0:
        return money.quantize(Decimal("0.01"), ROUND_CEILING)
    return money.quantize(Decimal(1).scaleb(money.adjusted() - 2), ROUND_CEILING)
