"""What our requests and ccxt's have in common at each venue, and every difference with its reason: data.

A new venue adds its module and its line in `AGREEMENTS`.
"""

from __future__ import annotations

from tests.support.agreement import Agreement
from tests.support.agreements import backpack, binance, bitget, bybit, gate, okx

AGREEMENTS: dict[str, Agreement] = {
    "binance": binance.AGREEMENT,
    "okx": okx.AGREEMENT,
    "bybit": bybit.AGREEMENT,
    "bitget": bitget.BITGET,
    "bitget-classic": bitget.BITGET_CLASSIC,
    "gate": gate.AGREEMENT,
    "backpack": backpack.AGREEMENT,
}
