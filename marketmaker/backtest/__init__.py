"""numpy's linear algebra starts a thread a processor as it is loaded, which spins for a while: nothing here calls it."""

from os import environ

environ.setdefault("OPENBLAS_NUM_THREADS", "1")
