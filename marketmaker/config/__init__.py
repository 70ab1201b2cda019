"""The configuration file: YAML in, checked `Settings` out, every mistake with its line.

yaml_source   text → a tree of scalars that know their line
fields        how one value and one section are read; the report of what is wrong
schema        every key there is
secrets       ${NAME} and ${credential:NAME}
rules         what must hold between keys
checks        whether a grid can work on its instrument
load          all of it, in order
advice        what is allowed and still deserves a word
"""

from __future__ import annotations

from marketmaker.config.advice import advice
from marketmaker.config.checks import check_symbol
from marketmaker.config.load import (
    Configuration,
    configuration_from_text,
    load_configuration,
    load_http,
    load_settings,
    paper_instruments,
    settings_from_text,
)

__all__ = [
    "Configuration",
    "advice",
    "check_symbol",
    "configuration_from_text",
    "load_configuration",
    "load_http",
    "load_settings",
    "paper_instruments",
    "settings_from_text",
]
