"""The example configuration, and the first configuration of a newcomer made from it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from marketmaker.config.fields import SYMBOL_NAME
from marketmaker.config.load import configuration_from_text
from marketmaker.config.yaml_source import (
    Items,
    Node,
    Scalar,
    Section,
    parse_yaml,
    printable,
)
from marketmaker.errors import ConfigError

FILE_NAME = "config.example.yaml"
ANY_PRICE = (
    "      spacing: geometric       # levels a fixed ratio apart suit any price\n",
    "      interval_pct: 0.001\n",
)


def example_text() -> str:
    """Text of `config.example.yaml`: the copy in the installed package, else the one at the top of the repository."""
    for folder in (resources.files("marketmaker"), Path(__file__).resolve().parents[2]):
        file = folder / FILE_NAME
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise ConfigError(f"{FILE_NAME} is missing from this installation; install marketmaker again")


def first_configuration(symbol: str, path: str) -> str:
    """The example with `symbol` as its only one, talking of itself as `path`.

    Raises ConfigError for a symbol that the paper exchange cannot trade as written.
    """
    if not SYMBOL_NAME.fullmatch(symbol):
        raise ConfigError(
            f"--symbol: {printable(symbol)!r} is not an instrument's name; "
            "write capital letters or digits such as ETHUSDT"
        )
    text = with_only(symbol, example_text())
    if path.isprintable():
        text = text.replace(FILE_NAME, path)
    try:
        configuration_from_text(text, path, {})
    except ConfigError as error:
        _, _, problem = str(error).splitlines()[0].rpartition(f"symbols.{symbol}.")
        raise ConfigError(f"--symbol {symbol}: {problem.partition(': ')[2] or error}") from None
    return text


def with_only(symbol: str, text: str) -> str:
    """The example text with the block of its first symbol, the documented one, telling of `symbol` instead."""
    lines = text.splitlines(keepends=True)
    items = value_at(parse_yaml(text, FILE_NAME), "symbols")
    if not isinstance(items, Items):
        raise ConfigError(f"{FILE_NAME} has no list of symbols; install marketmaker again")
    grids: dict[str, list[str]] = {}
    for item in items.nodes:
        name, grid = value_at(item, "name"), value_at(item, "grid")
        if isinstance(name, Scalar) and isinstance(grid, Section):
            grids[name.text] = lines[grid.line - 1 : grid.entries[-1].line]
    first, start = next(iter(grids)), items.nodes[0].line - 1
    end = next(number for number in range(start, len(lines)) if not lines[number].strip())
    second = items.nodes[1].line - 1 if len(items.nodes) > 1 else end
    block = "".join(lines[start:second])
    block = block.replace("".join(grids[first]), "".join(grids.get(symbol, ANY_PRICE)))
    padded = f"{first}  ".ljust(len(symbol) + 2)
    block = block.replace(padded, symbol.ljust(len(padded)), 1)
    return "".join(lines[:start]) + block + "".join(lines[end:])


def value_at(node: Node, key: str) -> Node | None:
    if isinstance(node, Section):
        return next((entry.node for entry in node.entries if entry.key == key), None)
    return None
