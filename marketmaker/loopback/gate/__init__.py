"""Gate's protocol over the embedded exchange: `venue` (routes, checks, answers), `tickets` (what an order says), `shapes`
(what is sent)."""

from marketmaker.loopback.gate.venue import GateSettings as GateSettings
from marketmaker.loopback.gate.venue import LoopbackGate as LoopbackGate
from marketmaker.loopback.gate.venue import make as make
