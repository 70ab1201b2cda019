"""A grid market maker for perpetual futures that keeps its owner's books straight overnight."""

from os import environ

__version__ = "0.1.0"

if environ.get("MARKETMAKER_COMPILED", "0") not in {"", "0"}:
    from marketmaker.compiled import use_what_was_asked_for

    use_what_was_asked_for()
