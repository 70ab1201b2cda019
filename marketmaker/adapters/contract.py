"""What one instrument needs at the wire."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from marketmaker.adapters.parsing import Steps
from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument


class Contract:
    """An instrument with its name and its steps as the venue writes them.

    `symbol`: the venue's name, where it is not ours (`ETH-USDT-SWAP` for ETHUSDT).
    `qty_step` is one lot in the venue's own unit of quantity: where that is base currency (None) it is the lot size;
    where orders are counted in contracts of `face` base each it is the least number of contracts, and the instrument's
    lot size is `qty_step * face`. `parts`: what the venue's builders keep of it, so as not to write it again.
    """

    __slots__ = ("instrument", "parts", "price", "qty", "symbol")

    def __init__(
        self, instrument: Instrument, qty_step: Decimal | None = None, symbol: str = ""
    ) -> None:
        self.instrument = instrument
        self.symbol = symbol or instrument.name
        self.price = Steps(instrument.tick_size)
        self.qty = Steps(instrument.lot_size if qty_step is None else qty_step)
        self.parts: dict[Any, Any] = {}


def not_tradable(venue: str, name: str, known: Iterable[str], standing: str = "") -> ConfigError:
    """`known`: the names that could be meant; `standing`: what the venue says of one that it lists."""
    near = ", ".join(get_close_matches(name.upper(), list(known), n=3, cutoff=0.5))
    return ConfigError(
        f"{venue} has no tradable perpetual {name!r}"
        + (f" ({standing})" if standing else "")
        + (f"; near it: {near}" if near else "")
    )
