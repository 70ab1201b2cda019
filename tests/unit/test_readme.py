"""The two README files say the same, and what they say is true of the repository."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from marketmaker.config.load import load_settings, settings_from_text
from marketmaker.config.schema import ROOT as CONFIG_KEYS
from marketmaker.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
BOTH = pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["English", "Chinese"])

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)]+)\)")


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of the fenced blocks, in order."""
    return FENCE.findall(text)


def prose(text: str) -> str:
    return FENCE.sub("", text)


def headings(text: str) -> list[int]:
    """Depth of each heading, in order."""
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(text), re.MULTILINE)]


def tables(text: str) -> list[tuple[int, int]]:
    """(rows, columns) of each table, in order, heading row included."""
    found = re.findall(r"(?:^\|.*\|\n)+", prose(text), re.MULTILINE)
    return [
        (len(table.splitlines()), len(re.findall(r"(?<!\\)\|", table.splitlines()[0])) - 1)
        for table in found
    ]


def table(text: str, first_cell: str) -> list[list[str]]:
    """The rows of the table that has `first_cell` in its first row, without heading."""
    lines = prose(text).splitlines()
    start = next(number for number, line in enumerate(lines) if first_cell in line)
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def list_items(text: str) -> int:
    return len(re.findall(r"^(?:- |\d\. )", prose(text), re.MULTILINE))


def test_both_have_the_same_headings() -> None:
    assert headings(CHINESE) == headings(ENGLISH)


def test_both_have_the_same_code_blocks() -> None:
    assert blocks(CHINESE) == blocks(ENGLISH)


def test_both_have_tables_of_the_same_shape() -> None:
    assert tables(CHINESE) == tables(ENGLISH)


def test_both_have_as_many_list_items() -> None:
    assert list_items(CHINESE) == list_items(ENGLISH)


def test_both_name_the_same_commands_keys_and_files() -> None:
    assert Counter(INLINE.findall(prose(CHINESE))) == Counter(INLINE.findall(prose(ENGLISH)))


@BOTH
def test_every_link_leads_somewhere(text: str) -> None:
    targets = LINK.findall(text)
    missing = [name for name in targets if "://" not in name and not (ROOT / name).exists()]
    assert targets and not missing


@BOTH
def test_every_make_target_exists(text: str) -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b(?=\s+#|`|\n)", text))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"run", "test"} <= named <= targets


@BOTH
def test_every_section_of_the_configuration_exists(text: str) -> None:
    rows = table(text, "| `mode`")
    named = {key for row in rows for key in INLINE.findall(row[0])}
    assert "credentials" in named and named <= set(CONFIG_KEYS)


def test_the_small_configuration_is_accepted(tmp_path: Path) -> None:
    content = next(content for language, content in blocks(ENGLISH) if "mode:" in content)
    file = tmp_path / "config.yaml"
    file.write_text(content)
    settings = load_settings(str(file))
    assert [symbol.name for symbol in settings.symbols] == ["ETHUSDT"]


@BOTH
def test_every_dependency_is_explained(text: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    offered = [name for name in extras if name != "dev"]
    wanted = [*project["dependencies"], *(each for name in offered for each in extras[name])]
    names = {re.split(r"[^a-z-]", requirement)[0] for requirement in wanted}
    explained = [INLINE.findall(row[0])[0] for row in table(text, "| `pyyaml`")]
    assert len(explained) == len(set(explained))
    assert set(explained) == names


def test_the_alerts_and_the_account_it_shows_are_accepted(tmp_path: Path) -> None:
    """Whatever is named there exists here: a file for each credential, a vault with the account."""
    shown = [content for language, content in blocks(ENGLISH) if language == "yaml"]
    small = next(content for content in shown if "mode:" in content)
    alerts = next(content for content in shown if content.startswith("alerts:"))
    for name in re.findall(r"\$\{credential:([a-z_]+)\}", alerts):
        address = "https://example.org/x" if "heartbeat" in name else "tgram://1:token/2"
        (tmp_path / name).write_text(address)
    settings = settings_from_text(
        small + alerts, "README.md", {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    )
    assert [channel.name for channel in settings.alerts.channels] == ["phone", "mail"]
    account = next(content for content in shown if content.startswith("exchange:"))
    with pytest.raises(ConfigError) as caught:
        settings_from_text(account + small.replace("paper", "live"), "README.md", {})
    assert "key_vault.unlock: file vault.key: cannot be read" in str(caught.value)
