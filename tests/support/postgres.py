"""A PostgreSQL server of a test's own, from the binaries of the system, reached through a socket in its folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEBIAN = Path("/usr/lib/postgresql")
USER = "postgres"


def postgres_binaries() -> Path | None:
    """The folder that holds `initdb` and `postgres`, the newest version first."""
    found = sorted(DEBIAN.glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    folders = [*found, *([Path(on_path).resolve().parent] if on_path else [])]
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


def why_no_postgres() -> str:
    """Why no server can be started here, "" when one can."""
    if postgres_binaries() is None:
        return "no PostgreSQL server is installed (on Debian: apt install postgresql)"
    if os.geteuid() == 0 and not has_user(USER):
        return f"PostgreSQL does not run as root and there is no user {USER}"
    return ""


def has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@contextmanager
def running_postgres() -> Iterator[str]:
    """The address of an empty database `ledger`."""
    binaries = postgres_binaries()
    assert binaries is not None
    # A socket's path has room for about 100 characters, less than pytest's folders may need.
    folder = Path(tempfile.mkdtemp(prefix="mmpg"))
    as_user = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
    if as_user:
        shutil.chown(folder, USER, USER)

    def run(*command: str) -> None:
        subprocess.run(
            [str(binaries / command[0]), *command[1:]],
            check=True,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            **as_user,
        )

    data = str(folder / "data")
    try:
        run("initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        log = str(folder / "log")
        run("pg_ctl", "-D", data, "-l", log, "-w", "-t", "60", "-o", options, "start")
        try:
            run("createdb", "-h", str(folder), "-U", USER, "ledger")
            yield f"postgresql://{USER}@/ledger?host={folder}"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
