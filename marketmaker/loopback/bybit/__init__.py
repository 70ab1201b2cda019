"""Bybit's protocol over the embedded exchange: `venue` (routes, checks, answers), `tickets` (what an order says),
`shapes` (what is sent)."""

from marketmaker.loopback.bybit.venue import BybitSettings as BybitSettings
from marketmaker.loopback.bybit.venue import LoopbackBybit as LoopbackBybit
from marketmaker.loopback.bybit.venue import make as make
