"""Bitget's protocol over the embedded exchange: `venue` (routes, checks, sockets), `market` (market data in the words of
both API generations), `classic` and `unified` (one account of either), `side` (what these share), `tickets` (what an
order says)."""

from marketmaker.loopback.bitget.venue import BitgetSettings as BitgetSettings
from marketmaker.loopback.bitget.venue import LoopbackBitget as LoopbackBitget
from marketmaker.loopback.bitget.venue import make as make
