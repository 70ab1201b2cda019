"""How a process beside the trading one leaves it the processor.

A process in a session of its own is, on most Linux machines, first weighed as a session against others and only then by
its nice value within (sched(7), "The autogroup feature"): nice alone would leave half of a busy processor to it. So the
session is made to give way as well, less so: to other programs of a busy machine it must not lose for seconds what it has
to tell.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")
SESSION_NICE = 5
"""A third of the weight of a session that does not give way."""


def give_way(nice: int) -> None:
    """Call it once, as the leader of a session; what a system does not offer is left out. Takes no privilege."""
    with suppress(OSError):
        os.nice(nice)
        if hasattr(os, "SCHED_BATCH"):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if os.getsid(0) == os.getpid():
        with suppress(OSError):
            AUTOGROUP.write_text(str(SESSION_NICE))
