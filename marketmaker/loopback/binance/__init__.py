"""Binance's protocol over the embedded exchange: `venue` (routes, checks, answers), `tickets` (what an order says),
`shapes` (what is sent)."""

from marketmaker.loopback.binance.venue import BinanceSettings as BinanceSettings
from marketmaker.loopback.binance.venue import LoopbackBinance as LoopbackBinance
from marketmaker.loopback.binance.venue import make as make
