"""Run a command as the terminal's foreground job, so that Ctrl-C reaches it alone and its exit code is make's.

`make` dies of the SIGINT that a terminal sends to the whole group, whatever the command under it answers. Here the
command gets a group of its own; without a terminal it simply takes this process's place.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from types import FrameType

TERMINAL = 0
PASSED_ON = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGHUP: signal.SIGTERM,  # the terminal is gone, so nobody is left to press Ctrl-C
}


def in_foreground() -> bool:
    try:
        return os.tcgetpgrp(TERMINAL) == os.getpgrp()
    except OSError:
        return False


def give_terminal_to(group: int) -> None:
    with suppress(OSError):
        os.tcsetpgrp(TERMINAL, group)


def main(command: list[str]) -> int:
    if not in_foreground():
        os.execvp(command[0], command)
    child = subprocess.Popen(command, process_group=0)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(PASSED_ON[signal.Signals(number)])

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # taking the terminal back from behind is meant
    give_terminal_to(child.pid)
    while True:
        _, status = os.waitpid(child.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        give_terminal_to(os.getpgrp())
        os.killpg(os.getpgrp(), signal.SIGSTOP)
        give_terminal_to(child.pid)
        os.killpg(child.pid, signal.SIGCONT)
    give_terminal_to(os.getpgrp())
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
