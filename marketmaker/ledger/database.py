"""An engine for a ledger's address, and what goes wrong with it in words that hold no password."""

from __future__ import annotations

import os
import time
from typing import Any
from urllib.parse import quote

from marketmaker.errors import ConfigError, MarketMakerError
from marketmaker.ledger.url import check_url, is_sqlite, secrets_in, shown, sqlite_path

try:
    from sqlalchemy import Engine, create_engine, event
    from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
except ImportError as missing:
    raise ConfigError(
        "a ledger needs SQLAlchemy: pip install 'marketmaker[ledger]', or leave ledger empty"
    ) from missing

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 10_000
BUSY_TIMEOUT_S = 2.0


class LedgerError(MarketMakerError):
    """The ledger could not be read or written; nothing is known to be lost."""


def connect(url: str, *, durable: bool = True, read_only: bool = False) -> Engine:
    """Opens nothing yet. `durable`: what was committed outlives a power cut, not only the process.

    Raises ConfigError for an address that cannot be one.
    """
    check_url(url)
    return sqlite_engine(url, durable, read_only) if is_sqlite(url) else postgres_engine(url)


def sqlite_engine(url: str, durable: bool, read_only: bool) -> Engine:
    path = os.path.abspath(os.path.expanduser(sqlite_path(url)))
    if read_only:
        if not os.path.isfile(path):
            raise ConfigError(f"ledger {shown(url)}: no such file; run with it first")
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Created here so that nobody else can read it: it names every trade.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
    mode = "ro" if read_only else "rw"
    engine = create_engine(
        f"sqlite:///file:{quote(path)}?mode={mode}&uri=true",
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        pool_size=1,
        max_overflow=0,
    )

    def set_up(connection: Any, _: object) -> None:
        if not read_only:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys=ON")

    event.listen(engine, "connect", set_up)
    return engine


BOOK_LOCK = 0x6D6D626B
"""The first key of the advisory locks that books are held by; the second is the book's number."""
HOLD_PATIENCE_S = 15.0
"""A server notices within this time that a process, or its machine, is gone."""
HOLD_AGAIN_S = 0.25


def hold_book(engine: Engine, book_id: int) -> bool:
    """Claims a book for the life of the engine's only connection, and anew for one that takes its place.

    False when somebody else holds it. A file has no such thing: `runtime.instance_lock` sees everybody who could have it.
    """
    if engine.dialect.name != "postgresql":
        return True
    claim = f"SELECT pg_try_advisory_lock({BOOK_LOCK}, {book_id})"

    def claim_again(connection: Any, _: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(claim)
        connection.commit()

    deadline_s = time.monotonic() + HOLD_PATIENCE_S
    while True:
        with engine.connect() as connection:
            if connection.exec_driver_sql(claim).scalar():
                break
        if time.monotonic() > deadline_s:
            return False
        time.sleep(HOLD_AGAIN_S)
    event.listen(engine, "connect", claim_again)
    return True


def is_unreachable(engine: Engine, error: Exception) -> bool:
    """Whether a server is not there now, which may pass, rather than set up wrongly."""
    return (
        engine.dialect.name == "postgresql"
        and isinstance(error, OperationalError)
        and getattr(error.orig, "sqlstate", None) is None
    )


def postgres_engine(url: str) -> Engine:
    scheme, _, rest = url.partition("://")
    assert scheme
    try:
        return create_engine(
            f"postgresql+psycopg://{rest}",
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "tcp_user_timeout": STATEMENT_TIMEOUT_MS,
                "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c tcp_keepalives_idle=5"
                " -c tcp_keepalives_interval=3 -c tcp_keepalives_count=2",
            },
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
        )
    except ModuleNotFoundError as missing:
        raise ConfigError(
            "a ledger in PostgreSQL needs psycopg: pip install 'marketmaker[postgres]'"
        ) from missing
    except SQLAlchemyError as error:
        raise ConfigError(f"ledger {shown(url)}: {said(error, url)}") from None


def said(error: Exception, url: str) -> str:
    """What the database said, in one line, without statement, values or password."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    text = lines[0] if lines else type(cause).__name__
    for secret in sorted(secrets_in(url), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
