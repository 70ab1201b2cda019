"""Every wrong configuration ends in one line naming file, line, key and what would pass, and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.e2e


class Wrong(NamedTuple):
    """`line` None: the message names the file alone. `text` bytes are written as they are."""

    name: str
    text: str | bytes
    line: int | None
    key: str
    passes: str


HEAD = "mode: paper\n"
ETH = "symbols:\n  - name: ETHUSDT\n    grid:\n      price_interval: 2\n      order_amount: 60\n"
"""With HEAD before it: name on line 3, interval on line 5, amount on line 6, what is added from line 7."""


def base(*added: str) -> str:
    """A right configuration and, from line 7, these lines."""
    return HEAD + ETH + "".join(f"{line}\n" for line in added)


def grid(*added: str) -> str:
    """A right configuration with these keys, from line 7, in the symbol's grid."""
    return base(*(f"      {line}" for line in added))


def grid_of(*keys: str) -> str:
    """A configuration whose only symbol has this grid, from line 5."""
    return HEAD + "symbols:\n  - name: ETHUSDT\n    grid:\n" + "".join(f"      {k}\n" for k in keys)


def top(key: str) -> str:
    """A right configuration with this line first."""
    return f"{key}\n" + HEAD + ETH


def live(exchange: str, *credentials: str) -> str:
    keys = "".join(f"  {line}\n" for line in credentials)
    return f"mode: live\nexchange: {exchange}\ncredentials:\n{keys}{ETH}"


GRID = "symbols.ETHUSDT.grid"

LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"

WRONG = [
    # keys
    Wrong("unknown key", top("colour: red"), 1, "colour", "config.example.yaml lists every key"),
    Wrong("misspelt key", top("shutdown_timeuot: 5"), 1, "shutdown_timeuot", "shutdown_timeout?"),
    Wrong("misspelt in grid", grid("post_onyl: strict"), 7, f"{GRID}.post_onyl", "post_only?"),
    Wrong(
        "misspelt required key",
        grid_of("price_interval: 2", "order_ammount: 60"),
        6,
        "order_ammount",
        "did you mean order_amount?",
    ),
    Wrong("misspelt interval", grid_of("price_intervall: 2", "order_amount: 60"), 5, "price_intervall", "price_interval?"),
    Wrong("misspelt section", base("riks:", "  min_hold: 5"), 7, "riks", "risk?"),
    Wrong("old name", grid("order_cleanup_threshold: 50"), 7, "order_cleanup_threshold", "called max_open_orders here"),
    Wrong("misplaced key", top("stale_after: 3"), 1, "stale_after", "belongs under price_monitor"),
    Wrong("duplicate key", grid("order_amount: 70"), 7, f"{GRID}.order_amount", "keep one of the two"),
    Wrong("no mode", ETH, 1, "mode", "write mode: paper or mode: live"),
    Wrong("key without value", grid("buy_window:"), 7, f"{GRID}.buy_window", "from 1 to 10000"),
    Wrong("key in brackets", "[a]: 1\n", 1, "a key may not be a list or a section", "plain word"),
    # types
    Wrong("text for a number", grid("anchor: high"), 7, f"{GRID}.anchor", "write a number above 0"),
    Wrong("quoted number", grid('anchor: "2400"'), 7, f"{GRID}.anchor", "without quotes"),
    Wrong("true for a number", grid("buy_window: true"), 7, f"{GRID}.buy_window", "a whole number from 1"),
    Wrong("list for a number", grid("anchor: [1]"), 7, f"{GRID}.anchor", "write a number above 0"),
    Wrong("section for a number", grid("anchor: {low: 1}"), 7, f"{GRID}.anchor", "write a number above 0"),
    Wrong("date for a number", grid("anchor: 2024-08-08"), 7, f"{GRID}.anchor", "write a number above 0"),
    Wrong("clock for a number", top("cleanup_interval: 1:30"), 1, "cleanup_interval", "a number of seconds from 1"),
    Wrong("octal", grid("buy_window: 010"), 7, f"{GRID}.buy_window", "without leading zero"),
    Wrong("underscores", grid("buy_window: 1_0"), 7, f"{GRID}.buy_window", "a whole number from 1"),
    Wrong("unit on a number", top("reconcile_interval: 60s"), 1, "reconcile_interval", "a number of seconds from 1"),
    Wrong("fraction for a count", grid("buy_window: 2.5"), 7, f"{GRID}.buy_window", "a whole number from 1 to 10000"),
    Wrong("yes for a boolean", base("risk:", "  enabled: yes"), 8, "risk.enabled", "write true or false"),
    Wrong("number for a boolean", base("safety:", "  allow_withdrawal_keys: 1"), 8, "allow_withdrawal_keys", "true or false"),
    Wrong("number for a choice", top("log_level: 3"), 1, "log_level", "debug, info, warning, error, critical"),
    Wrong("boolean for a path", top("journal: no"), 1, "journal", "write a path"),
    Wrong("variable for a path", top("journal: ${HOME}/j"), 1, "journal: ${...} works only under credentials and for addresses", "write a path"),
    Wrong("value for a section", base("risk: off"), 7, "risk", "write its keys below it"),
    Wrong("list for a section", base("paper: [1]"), 7, "paper", "write its keys below it"),
    Wrong("value for a list", base("risk:", "  monitor_symbols: BTCUSDT"), 8, "risk.monitor_symbols", "[BTCUSDT, ETHUSDT]"),
    Wrong("null for a number", grid("buy_window: null"), 7, f"{GRID}.buy_window", "remove the key"),
    # numbers
    Wrong("negative", grid("max_position: -1"), 7, f"{GRID}.max_position", "a number above 0"),
    Wrong("negative duration", top("cleanup_interval: -5"), 1, "cleanup_interval", "a number of seconds from 1"),
    Wrong("zero interval", grid_of("price_interval: 0", "order_amount: 60"), 5, f"{GRID}.price_interval", "above 0"),
    Wrong("NaN", grid("anchor: .nan"), 7, f"{GRID}.anchor: .nan is not a finite number", "write a number above 0"),
    Wrong("bare NaN", grid("anchor: NaN"), 7, f"{GRID}.anchor: NaN is not a finite number", "write a number above 0"),
    Wrong("infinity", grid("anchor: .inf"), 7, f"{GRID}.anchor: .inf is not a finite number", "write a number above 0"),
    Wrong("1e400", grid("anchor: 1e400"), 7, f"{GRID}.anchor", "at most 10^12"),
    Wrong("1e-400", grid("anchor: 1e-400"), 7, f"{GRID}.anchor", "with fewer"),
    Wrong("1e999999", grid("anchor: 1e999999"), 7, f"{GRID}.anchor", "at most 10^12"),
    Wrong("huge integer", grid("buy_window: " + "9" * 5000), 7, f"{GRID}.buy_window", "from 1 to 10000"),
    Wrong("window 0", grid("buy_window: 0"), 7, f"{GRID}.buy_window", "a whole number from 1 to 10000"),
    Wrong("window beyond", grid("sell_window: 10001"), 7, f"{GRID}.sell_window", "from 1 to 10000"),
    Wrong("place_distance beyond", grid("place_distance: 0.6"), 7, f"{GRID}.place_distance", "from 0 to 0.5"),
    Wrong("shutdown too long", top("shutdown_timeout: 601"), 1, "shutdown_timeout", "seconds from 1 to 600"),
    Wrong("odd candle length", base("risk:", "  interval: 90"), 8, "risk.interval", "one of 60, 180, 300"),
    Wrong("percent for a fraction", grid_of("spacing: geometric", "interval_pct: 1", "order_amount: 60"), 6, f"{GRID}.interval_pct", "below 1"),
    # words
    Wrong("bad mode", "mode: test\n" + ETH, 1, "mode", "one of paper, live"),
    Wrong("bad side", grid("side: up"), 7, f"{GRID}.side", "one of long, short, neutral"),
    Wrong("bad post_only", grid("post_only: on"), 7, f"{GRID}.post_only", "one of degrade, strict, off"),
    Wrong("bad bot_tag", top("bot_tag: MyBot"), 1, "bot_tag", "1 to 3 lower-case letters or digits"),
    Wrong("bad symbol name", HEAD + ETH.replace("ETHUSDT", "eth usdt"), 3, "symbols.1.name", "such as ETHUSDT"),
    Wrong("bad seed", base("paper:", "  feed: synthetic:x"), 8, "paper.feed", "synthetic:SEED"),
    Wrong("absent recording", base("paper:", "  feed: nowhere/x.gz"), 8, "paper.feed", "the path of a recording"),
    # symbols
    Wrong("no symbols", HEAD, 1, "symbols", "list at least one symbol"),
    Wrong("empty symbols", HEAD + "symbols: []\n", 2, "symbols", "list at least one symbol"),
    Wrong("symbol as a word", HEAD + "symbols:\n  - ETHUSDT\n", 3, "symbols.1", "- name: ETHUSDT"),
    Wrong("symbol without name", HEAD + "symbols:\n  - grid: {price_interval: 2, order_amount: 60}\n", 3, "symbols.1.name", "such as name: ETHUSDT"),
    Wrong("duplicate symbol", base("  - name: ETHUSDT"), 7, "symbols.ETHUSDT.name", "keep one entry"),
    Wrong("unknown to the table", HEAD + ETH.replace("ETHUSDT", "ETHUSDX"), 3, "symbols.ETHUSDX", "did you mean ETHUSDT"),
    Wrong("no order_amount", grid_of("price_interval: 2"), 4, f"{GRID}.order_amount", "such as order_amount: 60"),
    # between keys
    Wrong("both intervals", grid("interval_pct: 0.001"), 5, f"{GRID}.price_interval", "keep one and set the other to null"),
    Wrong("no interval", grid_of("order_amount: 60"), 4, f"{GRID}.price_interval", "such as price_interval: 2"),
    Wrong("interval of the other spacing", grid("spacing: geometric"), 5, f"{GRID}.price_interval", "set spacing: arithmetic"),
    Wrong("bounds reversed", grid("price_bounds: [3000, 2000]"), 7, f"{GRID}.price_bounds", "write [2000, 3000]"),
    Wrong("bounds of one", grid("price_bounds: [3000]"), 7, f"{GRID}.price_bounds", "[LOW, HIGH], two prices"),
    Wrong("buys fill the cap", grid("buy_window: 100"), 7, f"{GRID}.buy_window", "set it below max_open_orders"),
    Wrong("batch above the cap", grid("max_open_orders: 20", "cleanup_batch_size: 21"), 8, f"{GRID}.cleanup_batch_size", "20 or less"),
    Wrong("amount under min_order_value", grid("min_order_value: 61"), 6, f"{GRID}.order_amount", "set 61 or more"),
    Wrong("stop above take profit", grid("stop_loss: 3000", "take_profit: 2500"), 7, f"{GRID}.stop_loss", "below 2500"),
    Wrong("stop inside the bounds", grid("price_bounds: [2000, 3000]", "stop_loss: 2100"), 8, f"{GRID}.stop_loss", "2000 or less"),
    Wrong("short stop below profit", grid("side: short", "stop_loss: 2000", "take_profit: 2500"), 9, f"{GRID}.take_profit", "below 2000"),
    Wrong("threshold too high", base("risk:", "  monitor_symbols: [BTCUSDT]", "  recovery_threshold: 2"), 9, "risk.recovery_threshold", "recovery_threshold: 1 or less"),
    Wrong("threshold too high by default", base("risk:", "  monitor_symbols: [BTCUSDT]"), 8, "risk.monitor_symbols", "recovery_threshold: 1 or less"),
    Wrong("a burst of nothing", base("execution:", "  burst: 1"), 8, "execution.burst", "raise burst"),
    Wrong("leverage above the limit", base("paper:", "  leverage: 11"), 8, "paper.leverage", "leverage: 10 or less"),
    Wrong("too few positions", grid_of("price_interval: 2", "order_amount: 501"), 6, f"{GRID}.order_amount", "order_amount: 500 or less"),
    Wrong("levels explode", grid_of("spacing: geometric", "interval_pct: 0.9", "order_amount: 60", "buy_window: 50"), 6, f"{GRID}.interval_pct", "windows of 32 or less"),
    # on the instrument
    Wrong("interval under a tick", grid_of("price_interval: 0.001", "order_amount: 60"), 5, f"{GRID}.price_interval", "set 0.01 or more"),
    Wrong("ratio under a tick", grid_of("spacing: geometric", "interval_pct: 0.001", "order_amount: 60", "price_bounds: [1, 5]"), 6, f"{GRID}.interval_pct", "set 0.01 or more"),
    Wrong("amount under the minimum notional", grid_of("price_interval: 2", "order_amount: 19"), 6, f"{GRID}.order_amount", "set 20 or more"),
    Wrong("amount floors to no lot", grid_of("price_interval: 100", "order_amount: 60", "anchor: 100000"), 6, f"{GRID}.order_amount", "set 100 or more"),
    Wrong("amount floors under the minimum", grid_of("price_interval: 30", "order_amount: 25", "anchor: 20000"), 6, f"{GRID}.order_amount", "or more"),
    Wrong("anchor 0", grid("anchor: 0"), 7, f"{GRID}.anchor", "a number above 0"),
    Wrong("anchor under a tick", grid("anchor: 0.001"), 7, f"{GRID}.anchor", "an anchor of many ticks"),
    Wrong("interval as large as the anchor", grid("anchor: 2"), 5, f"{GRID}.price_interval", "a small part of the price"),
    Wrong("unprofitable interval", grid_of("price_interval: 0.5", "order_amount: 60", "anchor: 2500"), 5, f"{GRID}.price_interval", "set 1.01 or more"),
    Wrong("unprofitable ratio", grid_of("spacing: geometric", "interval_pct: 0.0004", "order_amount: 60"), 6, f"{GRID}.interval_pct", "set 0.000401 or more"),
    # exchange and credentials
    Wrong("unknown exchange", top("exchange: binanse"), 1, "exchange", "did you mean binance?"),
    Wrong("exchange without adapter", top("exchange: kraken"), 1, "exchange", "available: paper"),
    Wrong("live on paper", "mode: live\n" + ETH, 1, "mode", "write mode: paper"),
    Wrong("missing passphrase", live("okx", "api_key: k", "api_secret: s"), 3, "credentials.passphrase", "write passphrase: ${OKX_PASSPHRASE}"),
    Wrong("no credentials", "mode: live\nexchange: bybit\n" + ETH, 2, "credentials.api_key", "api_key, api_secret"),
    Wrong("variable not set", live("okx", "api_key: ${MM_NOT_SET}", "api_secret: s", "passphrase: p"), 4, "credentials.api_key: environment variable MM_NOT_SET is not set", "set it"),
    Wrong("half a variable", live("okx", "api_key: x${A}", "api_secret: s", "passphrase: p"), 4, "credentials.api_key", "nothing beside it"),
    Wrong("systemd credential elsewhere", live("okx", "api_key: ${credential:k}", "api_secret: s", "passphrase: p"), 4, "credentials.api_key", "LoadCredential=k:PATH"),
    Wrong("credential not used there", live("bybit", "api_key: k", "api_secret: s", "passphrase: p"), 6, "credentials.passphrase", "it needs api_key, api_secret"),
    # the file itself
    Wrong("bad indentation", "mode: paper\nrisk:\n  min_hold: 5\n interval: 60\n", 4, "not valid YAML", "align keys of one section"),
    Wrong("tabs", "mode: paper\nrisk:\n\tmin_hold: 5\n", 3, "not valid YAML", "indent with spaces"),
    Wrong("open bracket", "mode: paper\nsymbols: [\n", 3, "not valid YAML", "close it"),
    Wrong("open quote", "mode: 'paper\n" + ETH, 7, "not valid YAML", "close the quote"),
    Wrong("two documents", HEAD + "---\n" + ETH, 2, "a second document", "one document per file"),
    Wrong("empty file", "", 1, "the file is empty", "marketmaker init"),
    Wrong("only comments", "# mode: paper\n\n# end\n", 1, "the file is empty", "marketmaker init"),
    Wrong("a list at the top", "- mode: paper\n", 1, "the file holds a list", "`key: value` lines"),
    Wrong("plain text", "hello\n", 1, "the file holds plain text", "`key: value` lines"),
    Wrong("not UTF-8", HEAD.encode() + b"bot_tag: \xff\xfe\n", 2, "not UTF-8", "save the file as UTF-8"),
    Wrong("control character", HEAD + "bot_tag: a\x07\n", 2, "control character", "remove it"),
    Wrong("alias", "mode: &m paper\nexchange: *m\n", 1, "YAML aliases are not supported", "write the value out"),
    Wrong("billion laughs", LAUGHS, 1, "YAML aliases are not supported", "write the value out"),
    Wrong("python object", "mode: !!python/name:os.system\n", 1, "YAML tags are not supported", "'quotes'"),
    Wrong("too deep", "mode: " + "[" * 2000 + "\n", 1, "nested deeper", "the example needs 4"),
    Wrong("too large", HEAD + "# " + "x" * (1 << 20) + "\n", None, "larger than 1 MiB", "a YAML configuration file"),
]  # fmt: skip


def check(path: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in {"CREDENTIALS_DIRECTORY", "MM_NOT_SET"}
    }
    return subprocess.run(
        [sys.executable, "-m", "marketmaker", "check", path],
        cwd=cwd,
        env={**environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The single line on stderr of a command that refused its input."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("marketmaker: ")
    return lines[0].removeprefix("marketmaker: ")


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_a_wrong_configuration_ends_in_one_line_that_says_where_and_what_would_pass(
    wrong: Wrong, tmp_path: Path
) -> None:
    data = wrong.text if isinstance(wrong.text, bytes) else wrong.text.encode()
    (tmp_path / "mm.yaml").write_bytes(data)
    line = one_line(check("mm.yaml", tmp_path))
    place = "mm.yaml: " if wrong.line is None else f"mm.yaml:{wrong.line}: "
    assert line.startswith(place)
    said = line.removeprefix(place)
    problem, _, advice = said.partition("; ")
    assert wrong.key in problem
    assert wrong.passes in advice
    assert len(line) < 400


def test_there_are_more_than_forty_wrong_configurations_each_named_once() -> None:
    names = [wrong.name for wrong in WRONG]
    assert len(names) == len(set(names)) > 40


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mm.yaml").mkdir()
    assert one_line(check("mm.yaml", tmp_path)).startswith("mm.yaml: is a directory; ")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert one_line(check("mm.yaml", tmp_path)).startswith("mm.yaml: no such file; ")


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    line = one_line(check("file/mm.yaml", tmp_path))
    assert line.startswith("file/mm.yaml: a part of this path is a file, not a directory; ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mm.yaml").write_text(base())
    (tmp_path / "mm.yaml").chmod(0)
    line = one_line(check("mm.yaml", tmp_path))
    assert line.startswith("mm.yaml: may not be read by this user; ")


def test_a_file_name_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    assert one_line(check("a\nb.yaml", tmp_path)).startswith("a\\nb.yaml: no such file; ")


def test_the_configuration_every_wrong_one_was_made_from_passes(tmp_path: Path) -> None:
    (tmp_path / "mm.yaml").write_text(base())
    done = check("mm.yaml", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
