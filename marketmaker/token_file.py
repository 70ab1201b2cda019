"""Where the token of this start is kept, so that the same user's command line finds it: one private file per port.

The folder is systemd's RuntimeDirectory, else the user's XDG_RUNTIME_DIR, else a folder of this user's own beside the
other temporary files. A folder or file that somebody else owns is neither written nor believed.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from marketmaker.errors import ConfigError

LONGEST = 4096


def folder() -> Path:
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        given = os.environ.get(name, "").split(":")[0]
        if given and os.path.isdir(given):
            return Path(given) / "marketmaker"
    return Path(tempfile.gettempdir()) / f"marketmaker-{os.getuid()}"


def token_path(port: int) -> Path:
    return folder() / f"http-{port}.token"


def write_token(port: int, token: str) -> None:
    """Raises ConfigError where it cannot be kept safely."""
    path = token_path(port)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not is_private(path.parent):
            raise ConfigError(
                f"{path.parent}: belongs to somebody else, or others may write there; set http.token"
            )
        with suppress(FileNotFoundError):
            path.unlink()
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(number, "w", encoding="ascii") as file:
            file.write(token)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}); set http.token") from None


def read_token(port: int) -> str:
    """ "" where there is none that can be believed."""
    path = token_path(port)
    try:
        if not is_private(path.parent):
            return ""
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(number, encoding="ascii") as file:
            return file.read(LONGEST).strip()
    except (OSError, UnicodeDecodeError):
        return ""


def remove_token(port: int, token: str) -> None:
    """Only the one that was written: a successor may have written its own."""
    if read_token(port) == token:
        with suppress(OSError):
            token_path(port).unlink()


def is_private(directory: Path) -> bool:
    found = directory.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
