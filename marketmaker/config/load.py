"""A configuration file to `Settings`, or to one ConfigError with a line for each thing wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from marketmaker.config.alerts import build_alerts
from marketmaker.config.checks import check_symbol
from marketmaker.config.fields import Refused
from marketmaker.config.http import build_http
from marketmaker.config.rules import (
    check_exchange,
    check_execution,
    check_grid,
    check_paper,
    check_positions,
    check_risk,
    grid_key,
)
from marketmaker.config.schema import DEFAULT_BOT_TAG, DEFAULT_EXCHANGE, ROOT
from marketmaker.config.secrets import expand_secret, open_configured_vault
from marketmaker.config.sections import Report, read_section
from marketmaker.config.yaml_source import MAX_BYTES, decode, parse_yaml, shown_name
from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument
from marketmaker.model.settings import (
    Credentials,
    EndpointSettings,
    ExecutionSettings,
    GridSettings,
    HttpSettings,
    InstrumentSettings,
    KeyVaultSettings,
    PaperSettings,
    PriceMonitorSettings,
    RiskSettings,
    SafetySettings,
    Settings,
    SymbolSettings,
)
from marketmaker.sim.instruments import paper_instrument
from marketmaker.venues import CREDENTIAL_NAMES, IDENTIFIERS

SECTIONS = frozenset(
    {
        "alerts",
        "credentials",
        "endpoints",
        "execution",
        "grid",
        "http",
        "key_vault",
        "paper",
        "price_monitor",
        "risk",
        "safety",
        "symbols",
    }
)
CREDENTIALS_HELD = ("api_key", "api_secret", "passphrase")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Checked settings, and where in the file each of them stands.

    `secrets`: every secret that was read on the way, for whoever has to keep them out of what is written.
    """

    settings: Settings
    name: str
    lines: Mapping[str, int]
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def locate(self, key: str) -> str:
        """`FILE:LINE` of a key path such as `symbols.ETHUSDT.grid.order_amount`.

        A grid key that the symbol does not set itself is found in the shared `grid`; one that is written nowhere,
        at the nearest section above it.
        """
        report = self.report()
        return f"{shown_name(self.name)}:{report.line_of(written_key(report, key))}"

    def explain(self, problems: Sequence[str]) -> ConfigError:
        """The error that says these problems (`KEY: text`, see `check_symbol`), each with its file and line."""
        report = self.report()
        for problem in problems:
            refuse_problem(report, problem)
        return report.error()

    def report(self) -> Report:
        return Report(name=self.name, lines=dict(self.lines))


def load_settings(path: str) -> Settings:
    """Raises ConfigError, one line per problem: `FILE:LINE: KEY: what is wrong; what would pass`."""
    return load_configuration(path).settings


def load_configuration(path: str) -> Configuration:
    """As `load_settings`, keeping the lines."""
    return configuration_from_text(decode(read_file(path), path), path)


def settings_from_text(text: str, name: str, environ: Mapping[str, str] | None = None) -> Settings:
    """`name` stands for the file in messages; `environ` for `os.environ`."""
    return configuration_from_text(text, name, environ).settings


def configuration_from_text(
    text: str, name: str, environ: Mapping[str, str] | None = None
) -> Configuration:
    tree = parse_yaml(text, name)
    report = Report(name=name)
    values = read_section(tree, ROOT, report, ROOT, at="", secret=False)
    secrets: set[str] = set()
    settings = build_settings(values, report, os.environ if environ is None else environ, secrets)
    if report.problems:
        raise report.error()
    return Configuration(
        settings=settings, name=name, lines=report.lines, secrets=frozenset(secrets)
    )


def load_http(path: str, environ: Mapping[str, str] | None = None) -> HttpSettings:
    """The `http` section alone: what else the file asks for (keys, variables) need not be at hand. Raises ConfigError."""
    tree = parse_yaml(decode(read_file(path), path), path)
    report = Report(name=path)
    values = read_section(tree, ROOT, report, ROOT, at="", secret=False)
    report.problems = [each for each in report.problems if each[1].startswith("http")]
    http = build_http(values.get("http", {}), report, os.environ if environ is None else environ)
    if report.problems:
        raise report.error()
    return http


def paper_instruments(settings: Settings) -> dict[str, Instrument]:
    """What the embedded exchange makes of each configured symbol, by name."""
    return {
        symbol.name: paper_instrument(symbol.name, symbol.instrument, settings.paper)
        for symbol in settings.symbols
    }


def read_file(path: str) -> bytes:
    where = shown_name(path)
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        problem = "no such file; write one with `marketmaker init`, or check the path"
    except IsADirectoryError:
        problem = "is a directory; give the path of a YAML file in it"
    except PermissionError:
        problem = "may not be read by this user; change its owner or mode (chmod u+r)"
    except NotADirectoryError:
        problem = "a part of this path is a file, not a directory; check the path"
    except ValueError:
        problem = "is not a path; give the path of a YAML file"
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "input/output error"
        problem = f"cannot be read ({reason}); give the path of a YAML file"
    raise ConfigError(f"{where}: {problem}")


def build_settings(
    values: dict[str, Any], report: Report, environ: Mapping[str, str], secrets: set[str]
) -> Settings:
    """Settings from what was read; where something is wrong they are only good for finding what else is.

    Every secret that was read is added to `secrets`.
    """
    mode: str | None = values.get("mode")
    exchange: str = values.get("exchange", DEFAULT_EXCHANGE)
    paper = PaperSettings(**values.get("paper", {}))
    safety = SafetySettings(**values.get("safety", {}))
    risk = RiskSettings(**values.get("risk", {}))
    execution = ExecutionSettings(**values.get("execution", {}))
    key_vault = KeyVaultSettings(**values.get("key_vault", {}))
    credentials = dict(expanded_secrets(values.get("credentials", {}), report, environ))
    account: str = values.get("account", "")
    if account:
        credentials = from_vault(
            account,
            exchange=exchange,
            key_vault=key_vault,
            written=credentials,
            report=report,
            environ=environ,
            secrets=secrets,
        )
        if not credentials:
            report.doubtful.update(("credentials", *CREDENTIAL_NAMES))
    secrets.update(value for name, value in credentials.items() if name not in IDENTIFIERS)
    alerts = build_alerts(values.get("alerts", {}), report, environ, secrets)
    http = build_http(values.get("http", {}), report, environ)
    secrets.update({http.token} - {""})

    if report.trusts(("exchange",)):
        check_exchange(exchange, mode, credentials, report)
    check_risk(risk, report)
    check_execution(execution, report)
    if mode == "paper":
        check_paper(paper, safety, report)
    symbols = tuple(build_symbols(values, report))
    for symbol in symbols:
        check_grid(symbol.grid, symbol.name, report)
        if mode == "paper":
            check_positions(symbol.grid, symbol.name, paper, safety, report)
    if not report.problems:
        for symbol in symbols:
            check_instrument(symbol, paper, report, live=mode == "live")

    top = {name: value for name, value in values.items() if name not in SECTIONS}
    return Settings(
        **{"mode": "", "bot_tag": DEFAULT_BOT_TAG, **top, "exchange": exchange},
        symbols=symbols,
        endpoints=EndpointSettings(**values.get("endpoints", {})),
        credentials=Credentials(
            **{name: credentials[name] for name in CREDENTIALS_HELD if name in credentials}
        ),
        key_vault=key_vault,
        alerts=alerts,
        paper=paper,
        execution=execution,
        price_monitor=PriceMonitorSettings(**values.get("price_monitor", {})),
        risk=risk,
        safety=safety,
        http=http,
    )


def expanded_secrets(
    raw: dict[str, str], report: Report, environ: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    for name, text in raw.items():
        try:
            yield name, expand_secret(text, environ)
        except Refused as refused:
            report.refuse(f"credentials.{name}", str(refused))


def from_vault(
    account: str,
    *,
    exchange: str,
    key_vault: KeyVaultSettings,
    written: dict[str, str],
    report: Report,
    environ: Mapping[str, str],
    secrets: set[str],
) -> dict[str, str]:
    """The credentials stored under this name. {} with a problem in the report when they cannot be had."""
    if written:
        report.refuse(
            "account", "names an account in the vault, and credentials are set too; keep one"
        )
        return {}
    for key, value, example in (
        ("path", key_vault.path, "path: keys.vault"),
        ("unlock", key_vault.unlock, "unlock: ${file:vault.key}"),
    ):
        if not value and report.trusts(("key_vault", key)):
            report.refuse(f"key_vault.{key}", f"missing; account needs it, such as {example}")
    if not report.trusts(("key_vault", "path", "unlock")):
        return {}
    key = "key_vault.unlock"
    try:
        unlock = expand_secret(key_vault.unlock, environ)
        secrets.add(unlock)
        key = "key_vault.path"
        vault = open_configured_vault(key_vault.path, unlock, environ)
        key = "account"
        return dict(vault.find(exchange, account).credentials)
    except (Refused, ConfigError) as problem:
        report.refuse(key, str(problem))
        return {}


def build_symbols(values: dict[str, Any], report: Report) -> Iterator[SymbolSettings]:
    """The listed symbols, each with its grid laid over the shared one."""
    shared = values.get("grid", {})
    seen: set[str] = set()
    for number, symbol in enumerate(values.get("symbols", ()), start=1):
        name = symbol.get("name", str(number))
        if name in seen:
            key = f"symbols.{name}"
            report.refuse(
                f"{key}.name",
                f"{name} is listed twice; keep one entry and put all its keys there",
            )
            continue
        seen.add(name)
        grid = merged_grid(shared, symbol.get("grid", {}))
        if "order_amount" not in grid:
            if report.trusts(("order_amount", "grid", "symbols")):
                key = grid_key(report, name, "order_amount")
                report.refuse(
                    key,
                    "missing; set the quote amount of one order, such as order_amount: 60",
                )
            grid["order_amount"] = Decimal(1)
        yield SymbolSettings(
            name=name,
            grid=GridSettings(**grid),
            instrument=InstrumentSettings(**symbol.get("instrument", {})),
        )


def merged_grid(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The symbol's keys before the shared ones. An interval of its own replaces a shared one of either kind."""
    merged = {**shared, **own}
    for mine, other in (
        ("price_interval", "interval_pct"),
        ("interval_pct", "price_interval"),
    ):
        if own.get(mine) is not None and other not in own:
            merged[other] = None
    return merged


def check_instrument(
    symbol: SymbolSettings, paper: PaperSettings, report: Report, *, live: bool
) -> None:
    """What the paper exchange's own table says of the symbol; at the anchor where one is set."""
    if live:
        if symbol.instrument != InstrumentSettings():
            report.refuse(
                f"symbols.{symbol.name}.instrument",
                "only the paper exchange takes it, a venue states its own; remove it in mode: live",
            )
        return
    try:
        instrument = paper_instrument(symbol.name, symbol.instrument, paper)
    except ConfigError as error:
        key = report.written(f"symbols.{symbol.name}.instrument", f"symbols.{symbol.name}.name")
        problem, _, advice = str(error).partition(": ")
        report.refuse(key, f"{problem}; {advice or 'change it'}")
        return
    for problem in check_symbol(symbol, instrument, symbol.grid.anchor):
        refuse_problem(report, problem)


def written_key(report: Report, key: str) -> str:
    """Where a symbol's grid key is really written: in the symbol, or in the shared grid."""
    place, _, name = key.rpartition(".")
    if key not in report.lines and place.startswith("symbols.") and place.endswith(".grid"):
        return report.written(key, f"grid.{name}")
    return key


def refuse_problem(report: Report, problem: str) -> None:
    key, _, text = problem.partition(": ")
    report.refuse(written_key(report, key), text)
