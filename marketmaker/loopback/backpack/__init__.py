"""Backpack's protocol over the embedded exchange: `venue` (routes, checks, answers), `tickets` (what an order says),
`shapes` (what is sent)."""

from marketmaker.loopback.backpack.venue import BackpackSettings as BackpackSettings
from marketmaker.loopback.backpack.venue import LoopbackBackpack as LoopbackBackpack
from marketmaker.loopback.backpack.venue import make as make
