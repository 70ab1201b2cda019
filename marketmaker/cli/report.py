"""`marketmaker report`: what a period of the ledger amounted to."""

from __future__ import annotations

import argparse
import csv
import html
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from marketmaker.cli.table import aligned
from marketmaker.errors import ConfigError
from marketmaker.ledger.lots import METHODS, OPENING
from marketmaker.ledger.report import GROUPS, DisposalRow, QuotingTime, Report, ReportRow

NS_PER_S = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIGURES = (
    "trades",
    "buys",
    "sells",
    "round_trips",
    "volume",
    "grid",
    "inventory",
    "fees",
    "funding",
    "total",
    "maker_share",
    "orders",
    "orders_per_trade",
)
LOTS = (
    "instrument",
    "currency",
    "side",
    "qty",
    "opened",
    "closed",
    "opened_by",
    "closed_by",
    "cost",
    "proceeds",
    "fees",
    "gain",
)
EQUITY = ("book", "first", "last", "change", "residual", "largest_residual", "readings")
QUOTING = ("instrument", "watched_s", "both_sides", "entries_blocked", "why_not_both")
STYLE = (
    "body{font:14px system-ui,sans-serif;margin:2em;color:#1a1a1a;background:#fff}"
    "table{border-collapse:collapse;margin:0 0 2em}caption,h1{text-align:left;font-weight:600}"
    "h1{font-size:1.3em}caption{padding:.5em 0}th,td{padding:.25em .8em;border-bottom:1px solid #ddd;"
    "text-align:right;font-variant-numeric:tabular-nums}th{border-bottom:2px solid #888}"
    ".t{text-align:left}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td{border-color:#444}}"
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "report",
        help="profit and loss, fees, funding and lots of a period",
        description="Report what a period of the ledger amounted to. Times are UTC; money is in quote currency.",
        epilog="example: marketmaker report config.yaml --from 2026-01-01 --to 2026-01-31 --by day",
    )
    parser.add_argument(
        "config", metavar="CONFIG", nargs="?", help="YAML file whose ledger and bot_tag to report"
    )
    parser.add_argument("--ledger", metavar="URL", help="the ledger, instead of the CONFIG's")
    parser.add_argument(
        "--from", dest="begin", metavar="TIME", type=begin_ns, help="2026-01-31 or 2026-01-31T08:00"
    )
    parser.add_argument(
        "--to", dest="end", metavar="TIME", type=end_ns, help="a day counts as a whole"
    )
    parser.add_argument(
        "--by", choices=GROUPS, default="symbol", help="one row each (default: symbol)"
    )
    parser.add_argument(
        "--lots", choices=METHODS, default="", help="list every disposal, for taxes"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON, exact figures as text")
    form.add_argument("--csv", action="store_true", help="print the rows, or with --lots the lots")
    form.add_argument("--html", action="store_true", help="print one page that needs nothing else")
    parser.set_defaults(run=run)


def begin_ns(text: str) -> int:
    return nanoseconds(moment(text))


def end_ns(text: str) -> int:
    """Exclusive: a day without a time ends with the day."""
    when = moment(text)
    return nanoseconds(when if "T" in text or " " in text else when + timedelta(days=1))


def nanoseconds(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1) * 1_000


def moment(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; write 2026-01-31 or 2026-01-31T08:00"
        ) from None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def run(args: argparse.Namespace) -> int:
    """Raises ConfigError or LedgerError."""
    url, bot_tag = chosen_ledger(args.config, args.ledger)
    if args.begin is not None and args.end is not None and args.begin >= args.end:
        raise ConfigError("--from is not before --to; give a period that has a length")
    from marketmaker.ledger.reader import read_ledger
    from marketmaker.ledger.report import make_report

    records = read_ledger(url, bot_tag=bot_tag, until_ns=args.end)
    report = make_report(records, from_ns=args.begin, to_ns=args.end, by=args.by, lots=args.lots)
    show = as_json if args.json else as_csv if args.csv else as_html if args.html else as_text
    sys.stdout.write(show(report))
    return 0


def chosen_ledger(config: str | None, url: str | None) -> tuple[str, str | None]:
    """(address, bot tag); the tag None for every book there."""
    if config is None:
        if not url:
            raise ConfigError("report: name a CONFIG that has a ledger, or give --ledger URL")
        return url, None
    from marketmaker.config import load_settings

    settings = load_settings(config)
    url = url or settings.ledger
    if not url:
        raise ConfigError(f"{config}: ledger is not set, so nothing was kept; or give --ledger URL")
    return url, settings.bot_tag


# --- values as text ---


def plain(value: Decimal) -> str:
    """Exact, without zeros at the end."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def iso(ts_ns: int) -> str:
    """2026-01-31T08:00:00.123456789Z, the fraction as short as it is exact; "" for 0, no time."""
    if not ts_ns:
        return ""
    seconds, ns = divmod(ts_ns, NS_PER_S)
    fraction = f".{ns:09d}".rstrip("0").rstrip(".")
    return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def ratio(part: int, whole: int) -> str:
    return f"{part / whole:.4f}" if whole else ""


def figures_of(row: ReportRow) -> dict[str, Any]:
    found = row.figures
    return {
        "trades": found.trades,
        "buys": found.buys,
        "sells": found.sells,
        "round_trips": found.round_trips,
        "volume": plain(found.volume),
        "grid": plain(found.grid),
        "inventory": plain(found.inventory),
        "fees": plain(found.fees),
        "funding": plain(found.funding),
        "total": plain(found.total),
        "maker_share": ratio(found.maker_trades, found.trades),
        "orders": found.orders,
        "orders_per_trade": ratio(found.orders, found.trades),
    }


def lot_of(row: DisposalRow) -> dict[str, str]:
    lot = row.disposal
    return {
        "instrument": row.instrument,
        "currency": row.currency,
        "side": "long" if lot.side > 0 else "short",
        "qty": plain(lot.qty),
        "opened": iso(lot.ts_opened_ns),
        "closed": iso(lot.ts_closed_ns),
        "opened_by": lot.opened_by,
        "closed_by": lot.closed_by,
        "cost": plain(lot.cost),
        "proceeds": plain(lot.proceeds),
        "fees": plain(lot.fees),
        "gain": plain(lot.gain),
    }


def equity_of(report: Report) -> Iterator[dict[str, Any]]:
    for row in report.equity:
        yield {
            "book": row.book,
            "first": plain(row.first),
            "last": plain(row.last),
            "change": plain(row.last - row.first),
            "residual": plain(row.last_residual),
            "largest_residual": plain(row.largest_residual),
            "readings": row.readings,
        }


def seconds(ns: int) -> float:
    return round(ns / NS_PER_S, 3)


def quoting_of(row: QuotingTime) -> dict[str, Any]:
    reasons = sorted(row.reasons_ns.items(), key=lambda entry: (-entry[1], entry[0]))
    return {
        "instrument": row.instrument,
        "watched_s": seconds(row.watched_ns),
        "both_sides_s": seconds(row.both_ns),
        "entries_blocked_s": seconds(row.entries_blocked_ns),
        "why_not_both_s": {reason: seconds(ns) for reason, ns in reasons},
    }


def quoting_cells(row: QuotingTime) -> list[str]:
    shown = quoting_of(row)
    why = ", ".join(f"{name} {length:g} s" for name, length in shown["why_not_both_s"].items())
    return [
        row.instrument,
        f"{shown['watched_s']:g}",
        ratio(row.both_ns, row.watched_ns),
        ratio(row.entries_blocked_ns, row.watched_ns),
        why,
    ]


# --- the forms of a report ---


def as_json(report: Report) -> str:
    content: dict[str, Any] = {
        "from": iso(report.from_ns),
        "to": iso(report.to_ns),
        "by": report.by,
        "rows": [
            {report.by: row.key, "currency": row.currency, **figures_of(row)} for row in report.rows
        ],
        "totals": [{"currency": row.currency, **figures_of(row)} for row in report.totals],
        "equity": list(equity_of(report)),
        "quoting": [quoting_of(row) for row in report.quoting],
        "remarks": list(report.remarks),
    }
    if report.lots:
        content["lots"] = [lot_of(row) for row in report.lots]
    return json.dumps(content, indent=2) + "\n"


def as_csv(report: Report) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if report.lots:
        writer.writerow(LOTS)
        writer.writerows([lot_of(row)[name] for name in LOTS] for row in report.lots)
    else:
        writer.writerow([report.by, "currency", *FIGURES])
        writer.writerows(figure_cells(row) for row in report.rows)
    return out.getvalue()


def figure_cells(row: ReportRow) -> list[str]:
    figures = figures_of(row)
    return [row.key, row.currency, *(str(figures[name]) for name in FIGURES)]


def tables(report: Report) -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """(caption, heading, rows) of everything there is to show."""
    rows = [figure_cells(row) for row in (*report.rows, *report.totals)]
    yield "Profit and loss", [report.by, "currency", *FIGURES], rows
    if report.equity:
        rows = [[str(row[name]) for name in EQUITY] for row in equity_of(report)]
        yield "Equity", EQUITY, rows
    if report.quoting:
        yield "Quoting", QUOTING, [quoting_cells(row) for row in report.quoting]
    if report.lots:
        rows = [[lot_of(row)[name] for name in LOTS] for row in report.lots]
        yield "Lots", LOTS, rows


def as_text(report: Report) -> str:
    lines = [period(report)]
    for caption, heading, rows in tables(report):
        lines += ["", caption, *aligned([[name.replace("_", " ") for name in heading], *rows])]
    lines += ["", *remark_lines(report)] if report.remarks else []
    return "\n".join(lines) + "\n"


def as_html(report: Report) -> str:
    """Everything inline: the page asks nobody for anything."""
    text: Callable[[str], str] = html.escape
    parts = [
        "<!DOCTYPE html>\n<html lang=en><meta charset=utf-8><title>marketmaker report</title>",
        f"<style>{STYLE}</style>\n<h1>{text(period(report))}</h1>",
    ]
    for caption, heading, rows in tables(report):
        parts.append(f"<table><caption>{text(caption)}</caption>")
        parts.append(html_row("th", [name.replace("_", " ") for name in heading]))
        parts += [html_row("td", row) for row in rows]
        parts.append("</table>")
    parts += [f"<p>{text(line)}</p>" for line in remark_lines(report)]
    return "\n".join([*parts, "</html>\n"])


def html_row(tag: str, cells: Sequence[str]) -> str:
    shown = (
        f"<{tag}{'' if is_number(cell) else ' class=t'}>{html.escape(cell)}</{tag}>"
        for cell in cells
    )
    return f"<tr>{''.join(shown)}</tr>"


def is_number(cell: str) -> bool:
    return cell.lstrip("-").replace(".", "", 1).isdigit()


def period(report: Report) -> str:
    return f"{iso(report.from_ns)} to {iso(report.to_ns)}, by {report.by}"


def remark_lines(report: Report) -> list[str]:
    lines = [f"note: {remark}" for remark in report.remarks]
    if any(row.disposal.opened_by == OPENING for row in report.lots):
        lines.append("note: what a lot marked opening had cost is not in this ledger")
    return lines
