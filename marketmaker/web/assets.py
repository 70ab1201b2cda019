"""The page's own files, and those of Swagger UI from its installed package. Only what is listed is served."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
STATIC, DOCS = "/static/", "/docs/"
SWAGGER_FILES = frozenset({"swagger-ui.css", "swagger-ui-bundle.js"})


@cache
def page(name: str) -> bytes:
    return (resources.files("marketmaker.web") / "page" / name).read_bytes()


@cache
def page_names() -> frozenset[str]:
    return frozenset(
        entry.name for entry in (resources.files("marketmaker.web") / "page").iterdir()
    )


@cache
def swagger_file(name: str) -> bytes:
    import swagger_ui_bundle

    return (Path(swagger_ui_bundle.swagger_ui_path) / name).read_bytes()


def find(path: str) -> tuple[bytes, str] | None:
    """(content, type) of a file, None when there is none of that name."""
    for prefix, names, read in (
        (STATIC, page_names(), page),
        (DOCS, SWAGGER_FILES, swagger_file),
    ):
        name = path.removeprefix(prefix)
        suffix = Path(name).suffix
        if path.startswith(prefix) and name in names and suffix in TYPES:
            return read(name), TYPES[suffix]
    if path == "/favicon.ico":
        return page("icon.svg"), TYPES[".svg"]
    return None
