"""Where a ledger is: `sqlite:///PATH` or `postgresql://USER@HOST/DATABASE`.

An address may hold a password, and errors and logs may show an address: `shown` is how.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from marketmaker.errors import ConfigError

SQLITE = "sqlite:///"
POSTGRES = ("postgresql", "postgresql+psycopg", "postgres")
FORMS = "write sqlite:///PATH or postgresql://USER@HOST/DATABASE"
SECRET_OPTIONS = ("password", "sslpassword")
MASK = "***"


def check_url(url: str) -> None:
    """Raises ConfigError, never quoting the address."""
    if url.startswith(SQLITE):
        if not sqlite_path(url):
            raise ConfigError(f"a ledger in SQLite needs a file; {FORMS}")
        if "?" in url or "#" in url:
            raise ConfigError(f"the path of a ledger holds a ? or a #; {FORMS}")
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in POSTGRES and bool(parts.path.strip("/")) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"is not the address of a ledger; {FORMS}")


def is_sqlite(url: str) -> bool:
    return url.startswith(SQLITE)


def sqlite_path(url: str) -> str:
    return url.removeprefix(SQLITE)


def shown(url: str) -> str:
    """The address without its password."""
    if is_sqlite(url):
        return url
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        where = f"[{host}]" if ":" in host else host
        where += f":{parts.port}" if parts.port else ""
    except ValueError:
        return MASK
    if parts.username is not None:
        mask = f":{MASK}" if parts.password is not None else ""
        where = f"{parts.username}{mask}@{where}"
    options = [
        (name, MASK if name in SECRET_OPTIONS else value) for name, value in parse_qsl(parts.query)
    ]
    query = f"?{urlencode(options, safe='*/')}" if options else ""
    return f"{parts.scheme}://{where}{parts.path}{query}"


def secrets_in(url: str) -> Iterator[str]:
    """The password as it stands in the address and as it is meant, and the address that holds it."""
    if not url or is_sqlite(url):
        return
    try:
        parts = urlsplit(url)
    except ValueError:
        yield url
        return
    found = [parts.password] if parts.password else []
    found += [value for name, value in parse_qsl(parts.query) if name in SECRET_OPTIONS]
    for secret in found:
        yield secret
        yield unquote(secret)
    if found:
        yield url
