"""When the program breaks: what is said and what is kept.

What an uncaught exception says on standard error is masked like a log line. With a `state_dir`, a report of it is kept
there, the newest `MAX_REPORTS`: the traceback and the last log lines. Core files there are none (`no_dumps`).
"""

from __future__ import annotations

import logging
import os
import platform
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from marketmaker import __version__, logs

MAX_REPORTS = 10
PREFIX = "crash-"

_folder = ""


def keep_reports_in(folder: str) -> None:
    """ "": nowhere."""
    global _folder  # noqa: PLW0603  (hooks of the interpreter have no other way to know)
    _folder = folder


def mask_uncaught() -> None:
    """From here on nothing that is not caught prints a secret: not in this thread, another, or a destructor, and no warning."""
    logging.captureWarnings(True)
    sys.excepthook = tell
    threading.excepthook = tell_of_thread
    sys.unraisablehook = tell_unraisable


def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = logs.masked("".join(traceback.format_exception(kind, error, trace)))
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()
    keep(text, "uncaught")


def tell_of_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and failed.exc_type is not SystemExit:
        tell(failed.exc_type, failed.exc_value, failed.exc_traceback)


def tell_unraisable(failed: Any) -> None:
    """Python's own names the object, whose `repr` may hold anything."""
    if failed.exc_value is not None:
        tell(failed.exc_type, failed.exc_value, failed.exc_traceback)


def report(error: BaseException, where: str) -> None:
    """Keeps what is known of an exception that ends a service."""
    text = logs.masked("".join(traceback.format_exception(error)))
    keep(text, where)


def keep(trace: str, where: str) -> None:
    """Nothing is raised: the disk may be what broke."""
    if not _folder:
        return
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    lines = [
        f"marketmaker {__version__} broke at {stamp} in {where}",
        f"python {platform.python_version()} on {platform.platform()}, pid {os.getpid()}",
        "",
        trace,
        "the last log lines:",
        *logs.recent_lines(),
    ]
    with suppress(OSError):
        path = Path(_folder) / f"{PREFIX}{stamp}-{os.getpid()}-{time.perf_counter_ns()}.txt"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("\n".join(lines) + "\n")
        for old in sorted(Path(_folder).glob(f"{PREFIX}*.txt"))[:-MAX_REPORTS]:
            old.unlink()
