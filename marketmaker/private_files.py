"""Files that hold secrets: read only when nobody else can read them, written so that nobody else ever could.

A file is refused when its group or everybody may read or write it, when it belongs to another user than this one or
root, or when it is not a plain file. It is looked at after it was opened, so that what is checked is what is read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator

from marketmaker.errors import ConfigError

MAX_BYTES = 1 << 20
OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_private(path: str) -> bytes:
    """The whole file. Raises ConfigError, one line without any of the content."""
    try:
        # A pipe or a device must not be waited for: it is refused below.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({said(error)}); check the path") from None
    with open(fd, "rb") as file:
        problem = exposed(os.fstat(fd))
        if problem:
            raise ConfigError(f"{path}: {problem}")
        try:
            content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({said(error)})") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: is longer than {MAX_BYTES} bytes, which no secret is")
    return content


def exposed(status: os.stat_result) -> str:
    """Why a file with this status must not hold a secret, and what to do; "" when it may."""
    if not stat.S_ISREG(status.st_mode):
        return "is not a plain file; give the path of one"
    if status.st_uid not in {os.geteuid(), 0}:
        return f"belongs to user {status.st_uid}, who could change it; chown it to the user that runs this"
    mode = stat.S_IMODE(status.st_mode)
    if mode & OPEN_TO_OTHERS:
        return f"is open to others (mode {mode:04o}); chmod 600 it, and change the secret if it was seen"
    return ""


def write_private(path: str, content: bytes, *, replace: bool) -> None:
    """The file as a whole, mode 0600: written beside, made durable, renamed; or not at all.

    Raises ConfigError, also when the file is there already and may not be replaced.
    """
    folder = os.path.dirname(path) or "."
    beside = f"{path}.new"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.replace(beside, path)
            else:
                os.link(beside, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)
        sync_directory(folder)
    except FileExistsError:
        raise ConfigError(f"{path}: is already there; it is not overwritten") from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: cannot be written ({said(error)}); name a file in a directory you may write to"
        ) from None


@contextlib.contextmanager
def alone(path: str) -> Iterator[None]:
    """Only one process at a time is inside for this path. Raises ConfigError when another one is."""
    try:
        fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}.lock: cannot be written ({said(error)})") from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{path}: is being changed by another process; try again") from None
        yield
    finally:
        os.close(fd)


def sync_directory(folder: str) -> None:
    """Makes a rename in it durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def said(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return "is not a path"
