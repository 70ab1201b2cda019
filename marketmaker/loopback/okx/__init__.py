"""OKX's protocol over the embedded exchange: `venue` (routes, checks, answers), `tickets` (what an order says), `shapes`
(what is sent)."""

from marketmaker.loopback.okx.venue import LoopbackOkx as LoopbackOkx
from marketmaker.loopback.okx.venue import OkxSettings as OkxSettings
from marketmaker.loopback.okx.venue import make as make
