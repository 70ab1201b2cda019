"""The configuration with a trial's parameters in it: one that `run` and `check` take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from marketmaker.config.yaml_source import Entry, Items, Node, Scalar, Section, parse_yaml
from marketmaker.sweep.space import INTERVALS, Params


def configuration_with(
    text: str, name: str, *, symbol: str, params: Params, remarks: Sequence[str]
) -> str:
    """`text` of the file `name` with `params` in the symbol's own grid, as YAML; comments are not kept.

    `remarks`: lines of comment for the top.
    """
    tree = parse_yaml(text, name)
    changed = Section(
        line=tree.line,
        entries=tuple(
            Entry(key=entry.key, line=entry.line, node=with_symbol(entry.node, symbol, params))
            if entry.key == "symbols"
            else entry
            for entry in tree.entries
        ),
    )
    head = "".join(f"# {line}\n" for line in remarks)
    return head + "".join(f"{line}\n" for line in lines_of(changed, ""))


def with_symbol(node: Node, symbol: str, params: Params) -> Node:
    assert isinstance(node, Items)
    return Items(
        line=node.line,
        nodes=tuple(
            with_grid(child, params)
            if isinstance(child, Section) and named(child) == symbol
            else child
            for child in node.nodes
        ),
    )


def named(section: Section) -> str:
    node = next((entry.node for entry in section.entries if entry.key == "name"), None)
    return node.text if isinstance(node, Scalar) else ""


def with_grid(section: Section, params: Params) -> Section:
    grid = next((entry.node for entry in section.entries if entry.key == "grid"), None)
    dropped = {*params, *(INTERVALS[key] for key in INTERVALS if key in params)}
    kept = tuple(
        entry
        for entry in (grid.entries if isinstance(grid, Section) else ())
        if entry.key not in dropped
    )
    added = tuple(
        Entry(key=key, line=0, node=Scalar(text=value, plain=True, line=0))
        for key, value in params.items()
    )
    rest = tuple(entry for entry in section.entries if entry.key != "grid")
    mine = Entry(key="grid", line=0, node=Section(entries=kept + added, line=0))
    return Section(entries=(*rest, mine), line=section.line)


def lines_of(section: Section, indent: str) -> Iterator[str]:
    for entry in section.entries:
        node = entry.node
        if isinstance(node, Section) and node.entries:
            yield f"{indent}{entry.key}:"
            yield from lines_of(node, indent + "  ")
        elif isinstance(node, Items) and any(isinstance(child, Section) for child in node.nodes):
            yield f"{indent}{entry.key}:"
            for child in node.nodes:
                yield from item_lines(child, indent + "  ")
        else:
            yield f"{indent}{entry.key}: {inline(node)}".rstrip()


def item_lines(node: Node, indent: str) -> Iterator[str]:
    if not isinstance(node, Section):
        yield f"{indent}- {inline(node)}"
        return
    first, *rest = lines_of(node, indent + "  ")
    yield f"{indent}- {first.lstrip()}"
    yield from rest


def inline(node: Node) -> str:
    match node:
        case Scalar(plain=True):
            return node.text
        case Scalar():
            return json.dumps(node.text, ensure_ascii=False)
        case Items():
            return f"[{', '.join(inline(child) for child in node.nodes)}]"
        case Section():
            return (
                "{" + ", ".join(f"{each.key}: {inline(each.node)}" for each in node.entries) + "}"
            )
