"""The configuration: what is read, what is refused, and that every mistake has its line."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.cli import check, exchanges, init
from marketmaker.config import (
    check_symbol,
    configuration_from_text,
    load_configuration,
    load_settings,
    paper_instruments,
    settings_from_text,
)
from marketmaker.config.example import example_text
from marketmaker.config.fields import Number
from marketmaker.config.load import check_instrument
from marketmaker.config.schema import DEFAULT_BOT_TAG, DEFAULT_EXCHANGE, GRID, ROOT
from marketmaker.config.sections import Listed, Nested, Report, Schema, Value
from marketmaker.config.yaml_source import Items, Section, parse_yaml
from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument, Lots
from marketmaker.model.settings import (
    AlertRule,
    Credentials,
    EndpointSettings,
    ExecutionSettings,
    GridSettings,
    GridSide,
    HeartbeatSettings,
    HttpSettings,
    InstrumentSettings,
    KeyVaultSettings,
    PaperSettings,
    PostOnlyPolicy,
    PriceMonitorSettings,
    RiskSettings,
    SafetySettings,
    Settings,
    Spacing,
    SymbolSettings,
)
from marketmaker.venues import CREDENTIAL_NAMES, VENUES, available_venues

ROOT_FOLDER = Path(__file__).resolve().parents[2]
EXAMPLE = str(ROOT_FOLDER / "config.example.yaml")
SECRET = "hunter2-never-shown"

SMALLEST = """\
mode: paper
symbols:
  - name: ETHUSDT
    grid:
      price_interval: 2
      order_amount: 60
"""


def load(text: str, **environ: str) -> Settings:
    return settings_from_text(text, "mm.yaml", environ)


def refused(text: str, **environ: str) -> list[str]:
    """The lines of the refusal."""
    with pytest.raises(ConfigError) as caught:
        load(text, **environ)
    return str(caught.value).splitlines()


def only_grid(*lines: str) -> str:
    keys = "".join(f"      {line}\n" for line in lines)
    return f"mode: paper\nsymbols:\n  - name: ETHUSDT\n    grid:\n{keys}"


# --- what is read


def test_the_smallest_configuration_takes_every_default_of_the_model() -> None:
    assert load(SMALLEST) == Settings(
        mode="paper",
        exchange="paper",
        bot_tag="mm1",
        symbols=(
            SymbolSettings(
                name="ETHUSDT",
                grid=GridSettings(price_interval=Decimal(2), order_amount=Decimal(60)),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0.1", "0.1"),
        ("2.5", "2.5"),
        ("+2", "2"),
        ("1e1", "10"),
        ("12e-1", "1.2"),
        ("3.", "3"),
        (".5", "0.5"),
        ("0.100000000000000005", "0.100000000000000005"),
    ],
)
def test_numbers_are_read_exactly_as_written(written: str, read: str) -> None:
    settings = load(only_grid(f"price_interval: {written}", "order_amount: 60"))
    assert settings.symbols[0].grid.price_interval == Decimal(read)


def test_every_kind_of_key_reaches_its_setting() -> None:
    settings = load(
        "mode: paper\n"
        "bot_tag: a7\n"
        "grid:\n"
        "  side: neutral\n"
        "  spacing: geometric\n"
        "  interval_pct: 0.002\n"
        "  order_amount: 100\n"
        "  margin_lock: 30\n"
        "  post_only: off\n"
        "  price_bounds: [1000, 4000.5]\n"
        "symbols:\n"
        "  - name: ETHUSDT\n"
        "    instrument: {min_notional: 7, maker_fee: -0.0001}\n"
        "price_monitor: {price_send_interval: 50, stale_after: 2}\n"
        "risk: {enabled: false, monitor_symbols: [BTCUSDT, ETH-USDT], interval: 300, min_hold: 60}\n"
        "safety: {max_clock_offset: 0.5, allow_withdrawal_keys: true}\n"
        "paper: {feed: 'synthetic:7', funding_interval: 3600, fill: cross}\n"
        "execution: {request_timeout: 3, cancel_reserve: 0}\n"
        "reconcile_interval: 30\n"
        "cleanup_interval: 5\n"
        "shutdown_timeout: 600\n"
        "journal: /tmp/j\n"
        "state_dir: null\n"
        "log_level: debug\n"
    )
    assert settings == Settings(
        mode="paper",
        exchange="paper",
        bot_tag="a7",
        symbols=(
            SymbolSettings(
                name="ETHUSDT",
                grid=GridSettings(
                    side=GridSide.NEUTRAL,
                    spacing=Spacing.GEOMETRIC,
                    interval_pct=Decimal("0.002"),
                    order_amount=Decimal(100),
                    margin_lock_s=30.0,
                    post_only=PostOnlyPolicy.OFF,
                    price_bounds=(Decimal(1000), Decimal("4000.5")),
                ),
                instrument=InstrumentSettings(
                    min_notional=Decimal(7), maker_fee=Decimal("-0.0001")
                ),
            ),
        ),
        price_monitor=PriceMonitorSettings(send_interval_ms=50, stale_after_s=2.0),
        risk=RiskSettings(
            enabled=False,
            monitor_symbols=("BTCUSDT", "ETH-USDT"),
            interval_s=300,
            min_hold_s=60.0,
        ),
        safety=SafetySettings(max_clock_offset_s=0.5, allow_withdrawal_keys=True),
        paper=PaperSettings(feed="synthetic:7", funding_interval_s=3600.0, fill="cross"),
        execution=ExecutionSettings(request_timeout_s=3.0, cancel_reserve=0.0),
        reconcile_interval_s=30.0,
        cleanup_interval_s=5.0,
        shutdown_timeout_s=600.0,
        journal="/tmp/j",
        log_level="debug",
    )


def test_a_key_whose_lines_are_all_commented_out_is_an_empty_section() -> None:
    assert load("risk:\n  # min_hold: 5\n" + SMALLEST) == load(SMALLEST)


def test_a_symbol_grid_comes_before_the_shared_one_and_null_takes_a_limit_away() -> None:
    shared = "grid: {stop_loss: 1000, buy_window: 3, price_interval: 5, order_amount: 50}\n"
    one, two = load(
        "mode: paper\n" + shared + "symbols:\n"
        "  - name: ETHUSDT\n"
        "  - name: XRPUSDT\n"
        "    grid: {stop_loss: null, buy_window: 4, price_interval: 0.01}\n"
    ).symbols
    assert (one.grid.stop_loss, one.grid.buy_window) == (Decimal(1000), 3)
    assert (two.grid.stop_loss, two.grid.buy_window) == (None, 4)
    assert (one.grid.price_interval, two.grid.price_interval) == (Decimal(5), Decimal("0.01"))


def test_an_interval_of_the_symbol_replaces_a_shared_one_of_the_other_kind() -> None:
    (symbol,) = load(
        "mode: paper\ngrid: {price_interval: 5, order_amount: 50}\n"
        "symbols:\n  - name: XRPUSDT\n    grid: {spacing: geometric, interval_pct: 0.002}\n"
    ).symbols
    assert (symbol.grid.price_interval, symbol.grid.interval_pct) == (None, Decimal("0.002"))


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "mm.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + SMALLEST.encode())
    assert load_settings(str(file)) == load(SMALLEST)


# --- mistakes


def test_each_mistake_has_its_own_line_in_order_of_the_file() -> None:
    assert refused(
        "mode: paper\nlog_level: loud\nsymbols:\n  - name: ETHUSDT\n    grid:\n"
        "      price_interval: -2\n      order_amount: x\n      side: up\n"
    ) == [
        "mm.yaml:2: log_level: loud is not known here; write one of debug, info, warning, error, critical",
        "mm.yaml:6: symbols.ETHUSDT.grid.price_interval: -2 is out of range; write a number above 0",
        "mm.yaml:7: symbols.ETHUSDT.grid.order_amount: x is not a number; write a number above 0",
        "mm.yaml:8: symbols.ETHUSDT.grid.side: up is not known here; write one of long, short, neutral",
    ]


@pytest.mark.parametrize(
    "text",
    [
        only_grid("price_interval: x", "interval_pct: 0.1", "order_amount: 60"),
        only_grid("price_interval: 2", "order_amount: 60", "buy_window: 200", "max_open_orders: x"),
        only_grid("price_interval: 2", "order_amount: 60", "stop_loss: 9", "take_profit: -1"),
        only_grid("price_interval: 2", "order_amuont: 60"),
        "mode: paper\ngrid: {order_amount: x, price_interval: 2}\n"
        "symbols: [{name: ETHUSDT}, {name: BTCUSDT}]\n",
        "mode: paper\ngrid: {price_interval: 0.0001, order_amount: 4}\nsymbols: [{name: ETHUSDT}]\n",
        "mode: paper\norder_amount: 60\ngrid: {price_interval: 2}\nsymbols: [{name: ETHUSDT}]\n",
        only_grid(
            "price_interval: 2",
            "order_amount: 60",
            "buy_window: 150",
            "order_cleanup_threshold: 200",
        ),
        "exchange: kraken\nmode: lvie\n" + SMALLEST.partition("\n")[2].replace("ETH", "eth"),
    ],
)
def test_nothing_is_said_of_what_only_follows_from_another_mistake(text: str) -> None:
    keys = [line.split(": ")[1] for line in refused(text)]
    assert len(keys) == len(set(keys))
    assert len(keys) == (3 if text.startswith("exchange") else 1)


def test_a_mistake_in_the_shared_grid_is_told_once_for_all_symbols() -> None:
    lines = refused(
        "mode: paper\ngrid: {price_interval: 2, order_amount: 60, buy_window: 100}\n"
        "symbols: [{name: ETHUSDT}, {name: SOLUSDT}]\n"
    )
    assert len(lines) == 1
    assert lines[0].startswith("mm.yaml:2: grid.buy_window: ")


RIGHT = ("price_interval: 2", "order_amount: 60")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (only_grid(*RIGHT, "price_bounds: [2000, 2000]"), 7, "low and high are both 2000"),
        (
            only_grid(*RIGHT, "stop_loss: 2000", "take_profit: 2000"),
            7,
            "stop_loss 2000 is not below",
        ),
        (only_grid(*RIGHT, "stop_loss: 2", "trigger_price: 2"), 7, "stop_loss 2 is not below"),
        (
            only_grid(*RIGHT, "trigger_price: 3", "take_profit: 2"),
            7,
            "trigger_price 3 is not below",
        ),
        (
            only_grid(*RIGHT, "side: short", "take_profit: 3", "trigger_price: 2"),
            8,
            "take_profit 3 is not below trigger_price 2",
        ),
        (
            only_grid(*RIGHT, "side: short", "trigger_price: 3", "stop_loss: 2"),
            8,
            "trigger_price 3 is not below stop_loss 2",
        ),
        (
            only_grid(*RIGHT, "price_bounds: [20, 30]", "take_profit: 29"),
            8,
            "take_profit 29 is below the high end",
        ),
        (
            only_grid(*RIGHT, "side: short", "price_bounds: [20, 30]", "stop_loss: 29"),
            9,
            "stop_loss 29 is below the high end",
        ),
        (SMALLEST + "risk: {monitor_symbols: []}\n", 7, "is empty; list at least one symbol"),
        (SMALLEST + "risk: {monitor_symbols: [AB, AB]}\n", 7, "AB is listed twice"),
        (
            SMALLEST + "paper: {maintenance_margin: 0.2}\n",
            7,
            "maintenance_margin 0.2 at leverage 5 liquidates every position at once",
        ),
        (SMALLEST + 'journal: "a\\nb"\n', 7, "holds a control character"),
        (
            SMALLEST + "exchange: okx\ncredentials: {api_key: a, api_secret: b}\n",
            8,
            "exchange 'okx' needs api_key, api_secret, passphrase",
        ),
        (
            "grid: {order_amount: 4}\n" + only_grid("price_interval: 2", "min_order_value: 6"),
            1,
            "6",
        ),
        (
            "mode: live\n" + only_grid(*RIGHT).partition("\n")[2],
            1,
            "trades in mode: paper only; write mode: paper",
        ),
    ],
)
def test_a_mistake_between_keys_is_told_at_the_key_to_blame(
    text: str, line: int, says: str
) -> None:
    (message,) = refused(text)
    assert message.startswith(f"mm.yaml:{line}: ")
    assert says in message


@pytest.mark.parametrize(
    "text",
    [
        only_grid("price_interval: 2", "order_amount: 500"),
        only_grid(*RIGHT, "buy_window: 99"),
        only_grid(*RIGHT, "stop_loss: 1000", "take_profit: 9000", "price_bounds: [1000, 9000]"),
        only_grid(*RIGHT, "side: neutral", "stop_loss: 9000", "take_profit: 1000"),
        only_grid(*RIGHT, "max_open_orders: 11"),
        only_grid("spacing: geometric", "interval_pct: 0.9", "order_amount: 60", "buy_window: 32"),
        SMALLEST + "risk: {monitor_symbols: [BTCUSDT], recovery_threshold: 1}\n",
        SMALLEST + "risk: {enabled: false, monitor_symbols: []}\n",
        SMALLEST + "execution: {burst: 1, cancel_reserve: 0}\n",
        SMALLEST + "paper: {leverage: 10}\n",
        SMALLEST + "credentials: {api_key: a}\n",
    ],
)
def test_what_just_holds_is_taken(text: str) -> None:
    assert load(text).mode == "paper"


def test_an_instrument_of_ones_own_is_for_paper_only() -> None:
    """No venue is available in mode: live yet, so that is told first; the rule is asked by itself."""
    settings = load(SMALLEST + "    instrument: {tick_size: 1}\n")
    report = Report(name="mm.yaml", lines={"symbols.ETHUSDT.instrument": 7})
    check_instrument(settings.symbols[0], settings.paper, report, live=True)
    assert str(report.error()).startswith("mm.yaml:7: symbols.ETHUSDT.instrument: only the paper")


def test_the_twenty_first_mistake_is_only_counted() -> None:
    lines = refused("mode: paper\n" + "".join(f"zz{n}: 1\n" for n in range(25)))
    assert len(lines) == 21
    assert lines[-1] == "mm.yaml: and 6 more problems; fix these first"


def test_a_message_quotes_no_more_than_forty_characters_and_no_control_character() -> None:
    (line,) = refused(SMALLEST + '      anchor: "' + "x" * 99 + '\\n\\e[31m"\n')
    assert "x" * 41 not in line
    (line,) = refused(SMALLEST + '      side: "\\e[31m\\n"\n')
    assert "\\x1b[31m\\n" in line


PLAIN = "null true off -1 0 1 1e30 1e-30 .nan 1:30 0x10 x '5' [] {} ${A} 2024-01-01 *a @ ` ~ long paper ETHUSDT"
ODD = [
    "",
    "[1, 2]",
    "{a: 1}",
    "!x y",
    '"\\0"',
    "[[[]]]",
    "[ETHUSDT]",
    "\t",
    "1e999999",
    "-1e999999",
]
VALUES = st.sampled_from([*PLAIN.split(), *ODD, "1e-999999", "9" * 5000])
KEYS = st.sampled_from([*ROOT, *GRID, *CREDENTIAL_NAMES, "name", "instrument", "unknown", "", "?"])


@given(st.lists(st.tuples(st.integers(0, 5), KEYS, VALUES), max_size=8))
def test_whatever_is_written_is_either_settings_or_lines_of_refusal(
    written: list[tuple[int, str, str]],
) -> None:
    text = SMALLEST + "".join(f"{'  ' * indent}{key}: {value}\n" for indent, key, value in written)
    try:
        assert isinstance(load(text), Settings)
    except ConfigError as error:
        assert all(re.match(r"mm\.yaml:\d+: .", line) for line in str(error).splitlines())


@given(st.text(alphabet="ab:-#[]{},'\"&*!|>%@`?~ \n\t\x00\u2028${}0.1", max_size=60))
def test_any_text_at_all_is_answered_without_a_traceback(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert all(line.startswith("mm.yaml:") for line in str(caught.value).split("\n"))


def number_fields(schema: Schema) -> list[tuple[str, Number]]:
    found = []
    for key, described in schema.items():
        if isinstance(described, Value) and isinstance(described.read, Number):
            found.append((key, described.read))
        elif isinstance(described, Nested | Listed):
            found += number_fields(described.fields)
    return found


@pytest.mark.parametrize(("key", "number"), number_fields(ROOT))
def test_the_bounds_of_every_number_hold_where_they_are_stated(key: str, number: Number) -> None:
    step = Decimal(1) if number.whole else Decimal("1e-9")
    if number.at_least is not None:
        assert number.holds(Decimal(number.at_least))
        assert not number.holds(Decimal(number.at_least) - step)
    else:
        assert number.above is not None, f"{key} has no lower bound"
        assert not number.holds(Decimal(number.above))
        assert number.holds(Decimal(number.above) + step)
    if number.below is not None:
        assert not number.holds(Decimal(number.below))
    else:
        assert number.at_most is not None
        assert number.holds(Decimal(number.at_most))
        assert not number.holds(Decimal(number.at_most) + step)


# --- secrets


def credentials(*lines: str) -> str:
    return SMALLEST + "credentials:\n" + "".join(f"  {line}\n" for line in lines)


def test_secrets_come_from_the_environment_and_from_systemd(tmp_path: Path) -> None:
    (tmp_path / "mm.secret").write_text(SECRET + "\n")
    settings = load(
        credentials("api_key: ${KEY}", "api_secret: ${credential:mm.secret}", "passphrase: 007"),
        KEY="k-1",
        CREDENTIALS_DIRECTORY=str(tmp_path),
    )
    assert settings.credentials == Credentials(api_key="k-1", api_secret=SECRET, passphrase="007")
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("api_key: ${NOT_THERE}", "environment variable NOT_THERE is not set"),
        ("api_key: ${EMPTY}", "environment variable EMPTY is empty"),
        ("api_key: ${BROKEN}", "environment variable BROKEN has spaces"),
        ("api_key: ${credential:../up}", "is not understood"),
        ("api_key: ${credential:absent}", "credential absent cannot be read (No such file"),
        ("api_key: ${credential:bytes}", "credential bytes is not text"),
        ("api_key: ${credential:folder}", "credential folder cannot be read (Is a directory)"),
        ("api_key: ''", "is empty"),
        ("api_key: [a]", "is not a single value"),
    ],
)
def test_a_secret_that_cannot_be_had_is_named_with_its_line(
    line: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "folder").mkdir()
    environ = {"EMPTY": "", "BROKEN": f"{SECRET}\n", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    (message,) = refused(credentials(line), **environ)
    assert message.startswith("mm.yaml:8: credentials.api_key: ")
    assert says in message
    assert SECRET not in message


@pytest.mark.parametrize(
    "lines",
    [
        (f"api_key: x${{{SECRET}",),
        (f"api_key: [{SECRET}]",),
        (f"api_key: {{{SECRET}: 1}}",),
        (f"{SECRET}: x",),
        (f"{SECRET}: x", f"{SECRET}: y"),
        (f"api_key: {SECRET}", f"api_key: {SECRET}2"),
        (f"- {SECRET}",),
        (f"api_key: *{SECRET}",),
        (f"api_key: &{SECRET} x",),
        (f"api_key: !{SECRET} x",),
        (f"api_key: !{SECRET}!x y",),
        (f"api_key: @{SECRET}",),
        (f"api_key: 'a\n{SECRET}",),
        (f"api_key: {SECRET}: x",),
        (f'api_key: "\\q{SECRET}"',),
        (f"api_key: {SECRET}\n api_secret: x",),
        (f"api_key{SECRET}",),
        (f"api_key: {SECRET}\x01",),
        (f'api_key: "{SECRET}\\x01"',),
        (f"api_key: {SECRET}", "exchange: x"),
    ],
)
def test_no_message_ever_holds_a_secret(lines: tuple[str, ...]) -> None:
    assert not [line for line in refused(credentials(*lines)) if SECRET in line]
    scalar = SMALLEST + f"credentials: {SECRET}\n"
    assert not [line for line in refused(scalar) if SECRET in line]


def test_the_secret_of_a_refused_venue_is_not_told() -> None:
    text = credentials(f"api_key: {SECRET}", f"api_secret: {SECRET}")
    (line,) = refused(text.replace("mode: paper", "mode: live\nexchange: okx"))
    assert "credentials.passphrase: missing; " in line
    assert SECRET not in line


@pytest.mark.parametrize("venue", [venue for venue in VENUES.values() if not venue.available])
def test_a_venue_asks_for_its_credentials_first_and_then_says_it_has_no_adapter(
    venue: Any,
) -> None:
    head = f"mode: live\nexchange: {venue.id}\n"
    body = SMALLEST.partition("\n")[2]
    keys = [f"  {name}: x\n" for name in venue.credentials]
    (line,) = refused(head + "credentials:\n" + "".join(keys[:-1]) + body)
    assert f"credentials.{venue.credentials[-1]}: missing; " in line
    (line,) = refused(head + "credentials:\n" + "".join(keys) + body)
    assert line == (
        f"mm.yaml:2: exchange: exchange '{venue.id}' has no adapter in this version;"
        f" available: {available_venues()}"
    )


# --- on the instrument

ETH = Instrument(
    venue="paper",
    name="ETHUSDT",
    base="ETH",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.001"),
    min_qty=Lots(1),
    min_notional=Decimal(20),
    maker_fee=Decimal("0.0002"),
    taker_fee=Decimal("0.0005"),
)


def symbol(**grid: Any) -> SymbolSettings:
    return SymbolSettings(
        name="ETHUSDT",
        grid=GridSettings(**{"price_interval": Decimal(2), "order_amount": Decimal(60), **grid}),
    )


def geometric(**grid: Any) -> SymbolSettings:
    return symbol(
        spacing=Spacing.GEOMETRIC,
        **{"price_interval": None, "interval_pct": Decimal("0.001"), **grid},
    )


def advised(problem: str) -> Decimal:
    """The figure a problem says would pass."""
    found = re.search(r"; set ([0-9.]+) or more$", problem)
    assert found is not None, problem
    return Decimal(found[1])


def test_a_grid_that_works_has_no_problem_with_or_without_a_price() -> None:
    assert check_symbol(symbol(), ETH, None) == []
    assert check_symbol(symbol(), ETH, Decimal(2500)) == []
    assert check_symbol(geometric(), ETH, Decimal(2500)) == []


def test_without_a_price_only_what_needs_none_is_checked() -> None:
    few = symbol(price_interval=Decimal("0.001"), order_amount=Decimal(19))
    assert [problem.split(": ")[0] for problem in check_symbol(few, ETH, None)] == [
        "symbols.ETHUSDT.grid.price_interval",
        "symbols.ETHUSDT.grid.order_amount",
    ]
    assert check_symbol(symbol(price_interval=Decimal("0.01")), ETH, None) == []


@given(
    price=st.decimals("0.02", "90000", places=2),
    amount=st.decimals("0.01", "80", places=2),
    minimum=st.decimals("0", "30", places=1),
    least_lots=st.integers(1, 50),
    side=st.sampled_from(GridSide),
    window=st.integers(1, 30),
)
def test_the_smallest_amount_named_works_and_a_little_less_does_not(
    price: Decimal, amount: Decimal, minimum: Decimal, least_lots: int, side: GridSide, window: int
) -> None:
    instrument = dataclasses.replace(
        ETH, min_notional=minimum, min_qty=Lots(least_lots), maker_fee=Decimal(0)
    )
    grid = {"side": side, "buy_window": window, "price_interval": Decimal("0.01")}
    problems = check_symbol(symbol(order_amount=amount, **grid), instrument, price)
    if not problems:
        return
    (problem,) = problems
    enough = advised(problem)
    assert enough > amount
    assert check_symbol(symbol(order_amount=enough, **grid), instrument, price) == []
    less = enough - (Decimal("0.01") if enough > 1 else enough / 50)
    assert check_symbol(symbol(order_amount=less, **grid), instrument, price) != []


@given(
    price=st.decimals("1", "90000", places=2),
    interval=st.decimals("0.01", "40", places=3),
    fee=st.decimals("0", "0.002", places=4),
)
def test_the_smallest_interval_named_earns_and_one_tick_less_does_not(
    price: Decimal, interval: Decimal, fee: Decimal
) -> None:
    instrument = dataclasses.replace(ETH, maker_fee=fee)
    rich = {"order_amount": Decimal(100_000)}
    if interval >= price:
        return
    problems = check_symbol(symbol(price_interval=interval, **rich), instrument, price)
    steps = interval // ETH.tick_size * ETH.tick_size
    assert bool(problems) == (steps - fee * (2 * price + steps) <= 0)
    if not problems:
        return
    enough = advised(problems[0])
    again = symbol(price_interval=enough, **rich)
    assert check_symbol(again, instrument, price) == []
    less = symbol(price_interval=enough - ETH.tick_size, **rich)
    assert check_symbol(less, instrument, price) != []


def test_an_interval_that_breaks_even_or_loses_once_snapped_to_the_tick_is_refused() -> None:
    """At 2499.5 both fees take exactly 1; at 2500 an interval of 1.005 is sometimes just 1 tick-wise."""
    for price, interval in (("2499.5", "1"), ("2500", "1.005")):
        (problem,) = check_symbol(symbol(price_interval=Decimal(interval)), ETH, Decimal(price))
        assert advised(problem) == Decimal("1.01")


def test_a_rebate_lets_any_interval_earn() -> None:
    rebate = dataclasses.replace(ETH, maker_fee=Decimal("-0.0001"))
    assert check_symbol(symbol(price_interval=Decimal("0.01")), rebate, Decimal(2500)) == []


def test_a_ratio_must_be_a_tick_at_the_low_bound_or_at_the_price() -> None:
    low = {"price_bounds": (Decimal(5), Decimal(50))}
    (problem,) = check_symbol(geometric(**low), ETH, None)
    assert advised(problem) == Decimal("0.002")
    assert check_symbol(geometric(interval_pct=Decimal("0.002"), **low), ETH, None) == []
    (problem,) = check_symbol(geometric(), ETH, Decimal(5))
    assert advised(problem) == Decimal("0.002")


def test_levels_at_nought_and_below_are_not_asked_to_take_an_order() -> None:
    wide = symbol(price_interval=Decimal(100), buy_window=90)
    assert check_symbol(wide, ETH, Decimal(250)) == []


def test_an_amount_must_suit_the_levels_on_the_side_where_the_grid_opens() -> None:
    """24.5 USDT is two lots worth 24 at 12000 but one worth 12.3 at 12300; 25 is worth 19.94 at 9970."""
    for amount, price, works in (("24.5", 12000, GridSide.LONG), ("25", 10000, GridSide.SHORT)):
        grid = {"order_amount": Decimal(amount), "price_interval": Decimal(30)}
        for side in GridSide:
            problems = check_symbol(symbol(side=side, **grid), ETH, Decimal(price))
            assert [f"order_amount {amount} " in problem for problem in problems] == (
                [] if side is works else [True]
            )


# --- where things stand

TWO = """\
mode: paper
grid:
  order_amount: 60
  price_interval: 2
symbols:
  - name: ETHUSDT
  - name: BTCUSDT
    grid:
      order_amount: 200
"""


def test_a_key_is_located_where_it_is_written() -> None:
    configuration = configuration_from_text(TWO, "mm.yaml", {})
    assert configuration.locate("symbols.BTCUSDT.grid.order_amount") == "mm.yaml:9"
    assert configuration.locate("symbols.ETHUSDT.grid.order_amount") == "mm.yaml:3"
    assert configuration.locate("symbols.BTCUSDT.grid.buy_window") == "mm.yaml:8"
    assert configuration.locate("symbols.ETHUSDT.grid.buy_window") == "mm.yaml:6"
    assert configuration.locate("safety.max_leverage") == "mm.yaml:1"


def test_problems_found_later_are_told_with_their_line() -> None:
    configuration = configuration_from_text(TWO, "mm.yaml", {})
    bitcoin = configuration.settings.symbols[1]
    instrument = paper_instruments(configuration.settings)["BTCUSDT"]
    problems = check_symbol(bitcoin, instrument, Decimal(60_000))
    (line,) = str(configuration.explain(problems)).splitlines()
    assert line.startswith(
        "mm.yaml:4: grid.price_interval: price_interval 2 earns nothing at 60000"
    )
    assert line.endswith("; set 24.1 or more")


# --- the example

DEFAULTS: dict[str, Any] = {
    "": Settings(mode="", exchange=DEFAULT_EXCHANGE, bot_tag=DEFAULT_BOT_TAG, symbols=()),
    "grid": GridSettings(order_amount=Decimal(1)),
    "symbols.grid": GridSettings(order_amount=Decimal(1)),
    "symbols.instrument": InstrumentSettings(),
    "credentials": Credentials(),
    "key_vault": KeyVaultSettings(),
    "alerts.rules": AlertRule(),
    "alerts.heartbeat": HeartbeatSettings(),
    "paper": PaperSettings(),
    "endpoints": EndpointSettings(),
    "execution": ExecutionSettings(),
    "price_monitor": PriceMonitorSettings(),
    "risk": RiskSettings(),
    "safety": SafetySettings(),
    "http": HttpSettings(),
}
COMMENT = re.compile(r" # (?P<unit>[^;]+); (?P<default>default [^;]+|required[^;]*|no default); .+")


def example_keys(
    section: Section, schema: Schema, at: str = ""
) -> list[tuple[str, str, Value, int]]:
    """(section, key, description, line) of every key in the example, checking that none is left out."""
    assert [key for key in schema if key not in {entry.key for entry in section.entries}] == []
    found = []
    for entry in section.entries:
        described = schema[entry.key]
        inside = f"{at}.{entry.key}" if at else entry.key
        if isinstance(described, Value):
            found.append((at, entry.key, described, entry.line))
        elif inside != "symbols.grid":
            node = entry.node.nodes[0] if isinstance(entry.node, Items) else entry.node
            assert isinstance(node, Section), inside
            found += example_keys(node, described.fields, inside)
    return found


def uncommented(text: str) -> str:
    return re.sub(r"(?m)^  # (?=(- |  )?[a-z_]+: )", "  ", text)


def test_the_example_states_every_key_with_its_unit_its_default_and_a_reason() -> None:
    lines = example_text().splitlines()
    tree = parse_yaml(uncommented(example_text()), "config.example.yaml")
    keys = example_keys(tree, ROOT)
    assert len(keys) > 80
    for section, key, described, line in keys:
        found = COMMENT.search(lines[line - 1])
        assert found is not None, lines[line - 1]
        stated = found["default"].removeprefix("default ")
        if stated.startswith(("required", "no default")):
            assert section in {"credentials", "alerts.channels"} or key in {
                "mode",
                "name",
                "order_amount",
            }
            continue
        entry = parse_yaml(f"{key}: {stated}", "stated").entries[0]
        null = getattr(entry.node, "is_null", False)
        value = described.null if null and described.nullable else described.read(entry.node)
        assert value == getattr(DEFAULTS[section], described.attribute), lines[line - 1]


def test_the_example_sets_nothing_but_defaults_outside_its_symbols() -> None:
    settings = load_settings(EXAMPLE)
    assert settings.symbols[0].name == "ETHUSDT"
    bare = load(SMALLEST)
    assert dataclasses.replace(settings, symbols=()) == dataclasses.replace(bare, symbols=())


@pytest.mark.parametrize(
    ("name", "prices"),
    [("ETHUSDT", (2200, 2400, 3000, 4500)), ("BTCUSDT", (50_000, 60_000, 70_000, 95_000))],
)
def test_the_example_earns_its_fees_at_ordinary_prices(name: str, prices: tuple[int, ...]) -> None:
    settings = load_settings(EXAMPLE)
    (found,) = [symbol for symbol in settings.symbols if symbol.name == name]
    for price in prices:
        assert check_symbol(found, paper_instruments(settings)[name], Decimal(price)) == []


# --- commands


def command(module: Any, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    module.add_parser(parser.add_subparsers())
    args = parser.parse_args([module.__name__.rpartition(".")[2], *arguments])
    return int(args.run(args))


def test_check_shows_what_was_understood_with_secrets_masked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mm.yaml"
    file.write_text(credentials(f"api_key: {SECRET}"))
    assert command(check, str(file)) == 0
    shown = capsys.readouterr().out
    assert "api_key=***" in shown
    assert re.search(r"ETHUSDT +long +2 +60 +10/10 +100 +first price +degrade +none", shown)
    assert re.search(r"ETHUSDT +0.01 +0.001 +0.001 +20 +0.0002 +0.0005", shown)
    assert command(check, str(file), "--json") == 0
    told = capsys.readouterr().out
    assert SECRET not in shown + told
    answer = json.loads(told)
    assert answer["ok"] is True
    assert answer["settings"]["credentials"]["api_key"] == "***"
    assert answer["settings"]["symbols"][0]["grid"]["order_amount"] == "60"
    assert answer["settings"]["symbols"][0]["grid"]["side"] == "long"


def test_check_raises_the_refusal() -> None:
    with pytest.raises(ConfigError, match="no such file"):
        command(check, "/nowhere/mm.yaml")


@pytest.mark.parametrize("name", ["ETHUSDT", "BTCUSDT", "SOLUSDT", "xrpusdt", "DOGEUSDT"])
def test_init_writes_a_commented_configuration_that_passes_check(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    assert command(init, str(file), "--symbol", name) == 0
    text = file.read_text()
    settings = load_configuration(str(file)).settings
    assert [symbol.name for symbol in settings.symbols] == [name.upper()]
    assert text.count("#") > 80
    assert f"marketmaker run {file}" in capsys.readouterr().out
    assert "config.example.yaml" not in text
    tree = parse_yaml(uncommented(text), "written")
    assert example_keys(tree, ROOT)


def test_init_takes_what_the_example_says_of_a_symbol_it_knows(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    command(init, str(file), "--symbol", "BTCUSDT")
    (example,) = [s for s in load_settings(EXAMPLE).symbols if s.name == "BTCUSDT"]
    assert load_settings(str(file)).symbols == (example,)


def test_init_does_not_overwrite_unless_forced(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("mine")
    with pytest.raises(ConfigError, match=r"already there; .* --force"):
        command(init, str(file))
    assert file.read_text() == "mine"
    assert command(init, str(file), "--force") == 0
    assert load_settings(str(file)).mode == "paper"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("x.yaml", "--symbol", "a b"), "is not an instrument's name; "),
        (("x.yaml", "--symbol", "NOPEUSDT"), "--symbol NOPEUSDT: the paper exchange does not list"),
        (("absent/x.yaml",), "No such file or directory"),
        (("folder",), "is not a file"),
        (("folder", "--force"), "Is a directory"),
    ],
)
def test_init_that_cannot_write_says_why_and_leaves_nothing(
    arguments: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError) as caught:
        command(init, *arguments)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.rglob("*")] == ["folder"]


def test_exchanges_lists_every_venue_and_what_it_needs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(exchanges) == 0
    table = capsys.readouterr().out
    assert re.search(
        r"(?m)^paper +Embedded paper exchange +yes +\d+ of \d+ execution, \d+ of \d+ data +none$",
        table,
    )
    assert re.search(r"(?m)^okx +OKX +.*api_key, api_secret, passphrase$", table)
    assert command(exchanges, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [venue["id"] for venue in told] == list(VENUES)
    assert [venue["id"] for venue in told if venue["available"]][:2] == ["paper", "binance"]
