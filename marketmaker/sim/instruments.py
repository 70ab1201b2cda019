"""What the embedded exchange lists: a few well-known contracts, and whatever the configuration describes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from difflib import get_close_matches

from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument, Lots
from marketmaker.model.settings import InstrumentSettings, PaperSettings

VENUE = "paper"
MAKER_FEE = Decimal("0.0002")
TAKER_FEE = Decimal("0.0005")
MIN_NOTIONAL = Decimal(5)
QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "USD", "EUR", "BTC", "ETH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    tick_size: Decimal
    lot_size: Decimal
    min_notional: Decimal = MIN_NOTIONAL


def listing(tick_size: str, lot_size: str, min_notional: int = 5) -> Listing:
    return Listing(
        tick_size=Decimal(tick_size),
        lot_size=Decimal(lot_size),
        min_notional=Decimal(min_notional),
    )


LISTINGS: dict[str, Listing] = {
    "BTCUSDT": listing("0.1", "0.001", 100),
    "ETHUSDT": listing("0.01", "0.001", 20),
    "SOLUSDT": listing("0.01", "0.01"),
    "XRPUSDT": listing("0.0001", "0.1"),
    "DOGEUSDT": listing("0.00001", "1"),
    "APEUSDT": listing("0.0001", "1"),
    "FILUSDT": listing("0.001", "0.1"),
}
"""Steps and minimum notionals of Binance USD-M perpetuals."""


def paper_instrument(
    name: str, overrides: InstrumentSettings, settings: PaperSettings
) -> Instrument:
    """The instrument called `name`, with the configuration's own figures before the built-in ones.

    Raises: ConfigError for a name the table does not hold when tick or lot size is missing.
    """
    known = LISTINGS.get(name)
    tick_size = overrides.tick_size or (known.tick_size if known else None)
    lot_size = overrides.lot_size or (known.lot_size if known else None)
    if tick_size is None or lot_size is None:
        raise ConfigError(unknown_instrument(name, tuple(LISTINGS)))
    base, quote = split_name(name)
    min_notional = overrides.min_notional
    if min_notional is None:
        min_notional = known.min_notional if known else MIN_NOTIONAL
    return Instrument(
        venue=VENUE,
        name=name,
        base=base,
        quote=quote,
        tick_size=tick_size,
        lot_size=lot_size,
        min_qty=_whole_lots(overrides.min_qty, lot_size),
        min_notional=min_notional,
        maker_fee=_first(overrides.maker_fee, settings.maker_fee, MAKER_FEE),
        taker_fee=_first(overrides.taker_fee, settings.taker_fee, TAKER_FEE),
    )


def unknown_instrument(name: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(name.upper(), known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it knows {', '.join(known)}"
    return (
        f"the paper exchange does not list {name}: {hint}"
        " For another symbol set instrument.tick_size and instrument.lot_size"
    )


def split_name(name: str) -> tuple[str, str]:
    """Base and quote currency; a name that ends in no known quote is all base, quoted in USDT."""
    for quote in QUOTES:
        if name.endswith(quote) and len(name) > len(quote):
            return name[: -len(quote)], quote
    return name, "USDT"


def _whole_lots(min_qty: Decimal | None, lot_size: Decimal) -> Lots:
    if min_qty is None:
        return Lots(1)
    return Lots(max(1, int((min_qty / lot_size).to_integral_value(ROUND_CEILING))))


def _first(*figures: Decimal | None) -> Decimal:
    return next(figure for figure in figures if figure is not None)
