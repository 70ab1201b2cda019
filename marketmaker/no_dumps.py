"""Keeps what is in this process's memory out of core files and out of other processes' hands."""

from __future__ import annotations

import ctypes
import resource
import sys

from marketmaker.errors import ConfigError

PR_SET_DUMPABLE = 4


def forbid_core_dumps(*, undumpable: bool) -> None:
    """The limit of core files becomes 0, here and in every child.

    `undumpable` tells the kernel as well that this process is neither to be dumped nor to be read by a debugger of its
    own user; it is for processes that hold secrets, and has to be said again after each exec. Raises ConfigError where
    a sandbox allows no change and somebody wanted core files.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:
            raise ConfigError(
                f"core dumps cannot be forbidden ({error}); start with `ulimit -c 0`, or LimitCORE=0 in the unit"
            ) from None
    if undumpable and sys.platform == "linux":
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        if prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
