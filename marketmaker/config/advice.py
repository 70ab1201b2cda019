"""What is allowed and still deserves a word before it trades."""

from __future__ import annotations

from collections.abc import Iterator

from marketmaker.config.load import Configuration
from marketmaker.model.settings import ExecutionSettings, Settings


def advice(configuration: Configuration) -> Iterator[str]:
    """One line each, with where it stands in the file."""
    settings = configuration.settings
    execution = settings.execution
    orders = most_orders(settings)
    takes_s = cancelling_s(orders, execution)
    if takes_s > settings.shutdown_timeout_s:
        yield (
            f"{configuration.locate('execution.orders_per_s')}: warning: up to {orders} orders may rest, and cancelling"
            f" them takes {takes_s:.0f} s at {execution.orders_per_s:g} orders/s after a burst of {execution.burst}, longer"
            f" than shutdown_timeout {settings.shutdown_timeout_s:g}: a stop may have to leave orders at the exchange;"
            " raise orders_per_s or shutdown_timeout, or quote fewer levels"
        )


def most_orders(settings: Settings) -> int:
    """How many orders of all symbols the grids may have at once."""
    return sum(
        min(symbol.grid.buy_window + symbol.grid.sell_window, symbol.grid.max_open_orders)
        for symbol in settings.symbols
    )


def cancelling_s(orders: int, execution: ExecutionSettings) -> float:
    """With a full burst, each cancel one order message."""
    return max(0, orders - execution.burst) / execution.orders_per_s
