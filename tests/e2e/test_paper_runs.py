"""Whole runs of the real command on virtual time: books that agree to the last digit, and journals that repeat."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.daemon import (
    EXAMPLE,
    Ended,
    problems_of_books,
    problems_of_stop,
    run_command,
    run_daemon,
    write_config,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

THREE_SIDES = """
mode: paper
grid: {order_amount: 60}
symbols:
  - name: ETHUSDT
    grid: {side: long, price_interval: 3}
  - name: BTCUSDT
    grid: {side: short, spacing: geometric, interval_pct: 0.001, order_amount: 300}
  - name: XRPUSDT
    grid: {side: neutral, spacing: geometric, interval_pct: 0.0015}
risk: {enabled: false}
"""
XRP = """
mode: paper
symbols:
  - name: XRPUSDT
    grid: {spacing: geometric, interval_pct: 0.0006, order_amount: 60, buy_window: 20, sell_window: 20}
"""
ONE = """
mode: paper
symbols:
  - name: ETHUSDT
    grid: {price_interval: 3, order_amount: 60}
"""
TOO_NARROW = """
mode: paper
symbols:
  - name: ETHUSDT
    grid: {price_interval: 0.5, order_amount: 60}
"""
TWO_HOURS = ("--speed", "max", "--duration", "7200")
XRP_ROWS = 100_000
PEAK_MB_MAX = 60
SEEDS = (1, 2, 3, 4, 5)

Starter = Callable[..., Future[Ended]]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Starts a run in a folder of its own, two at a time; `config` is text or the path of a file."""
    with ThreadPoolExecutor(2) as pool:

        def begin(
            config: str | Path, *options: str, env: dict[str, str] | None = None
        ) -> Future[Ended]:
            folder = tmp_path_factory.mktemp("run")
            path = config if isinstance(config, Path) else write_config(folder, config)
            return pool.submit(run_daemon, folder, path, *options, env=env)

        yield begin


def problems(ended: Ended) -> list[str]:
    return problems_of_books(ended) + problems_of_stop(ended)


def replayed(journal: Path) -> dict[str, object]:
    answer = run_command("replay", str(journal), "--json")
    assert answer.stderr == ""
    result = json.loads(answer.stdout)
    assert isinstance(result, dict)
    assert answer.returncode == (1 if result["differences"] else 0)
    return result


# Recordings


@pytest.mark.parametrize("symbol", ["ETHUSDT", "BTCUSDT"])
def test_a_recorded_stream_gives_the_same_journal_byte_for_byte_and_replays_without_difference(
    start: Starter, data_dir: Path, symbol: str
) -> None:
    feed = data_dir / f"{symbol.lower()}-usdm-ws-20240808.gz"
    if not feed.exists():
        pytest.skip(f"no recording {feed}")
    options = ("--feed", str(feed), "--speed", "max")
    runs = [start(EXAMPLE, *options, env={"PYTHONHASHSEED": seed}).result() for seed in ("1", "2")]
    for ended in runs:
        assert problems(ended) == []
        assert [row["symbol"] for row in ended.symbols] == [symbol]
        assert ended.summary is not None
        assert ended.summary["exit_reason"] == "end of feed"
        assert ended.symbols[0]["fills"] > 0
    assert runs[0].journal.read_bytes() == runs[1].journal.read_bytes()
    assert replayed(runs[0].journal)["differences"] == 0


def test_a_recording_of_trades_makes_hundreds_of_fills_and_equal_books(
    start: Starter, data_dir: Path, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    whole = data_dir / "xrpusdt-spot-trades-20260317-20260322.parquet"
    if not whole.exists():
        pytest.skip(f"no recording {whole}")
    part = tmp_path / "part.parquet"
    batch = next(parquet.ParquetFile(whole).iter_batches(batch_size=XRP_ROWS))
    import pyarrow

    parquet.write_table(pyarrow.Table.from_batches([batch]), part)
    ended = start(XRP, "--feed", str(part), "--speed", "max").result()
    assert problems(ended) == []
    assert ended.symbols[0]["fills"] > 300
    assert replayed(ended.journal)["differences"] == 0


# The synthetic market


@pytest.fixture(scope="module")
def three_sides(start: Starter) -> dict[int, Future[Ended]]:
    return {seed: start(THREE_SIDES, "--feed", f"synthetic:{seed}", *TWO_HOURS) for seed in SEEDS}


@pytest.mark.parametrize("seed", SEEDS)
def test_two_hours_on_every_side_end_with_equal_books(
    three_sides: dict[int, Future[Ended]], seed: int
) -> None:
    ended = three_sides[seed].result()
    assert problems(ended) == []
    assert [row["symbol"] for row in ended.symbols] == ["ETHUSDT", "BTCUSDT", "XRPUSDT"]
    assert all(row["buys"] > 10 and row["sells"] > 10 for row in ended.symbols)
    assert ended.summary is not None
    assert ended.summary["exit_reason"] == "duration"


def test_the_same_seed_gives_the_same_journal_and_another_seed_another(start: Starter) -> None:
    options = ("--speed", "max", "--duration", "1200")
    first, again, other = (
        start(
            THREE_SIDES, "--feed", f"synthetic:{seed}", *options, env={"PYTHONHASHSEED": hash_seed}
        )
        for seed, hash_seed in (("1", "1"), ("1", "77"), ("2", "1"))
    )
    assert first.result().journal.read_bytes() == again.result().journal.read_bytes()
    assert first.result().journal.read_bytes() != other.result().journal.read_bytes()


def test_a_journal_replays_without_difference_and_a_changed_action_is_found(
    three_sides: dict[int, Future[Ended]], tmp_path: Path
) -> None:
    journal = three_sides[3].result().journal
    assert replayed(journal)["differences"] == 0
    lines = journal.read_text().splitlines(keepends=True)
    number = max(
        place for place, line in enumerate(lines[: len(lines) // 2]) if '"PlaceOrder"' in line
    )
    assert '"price_ticks":' in lines[number]
    head, tail = lines[number].rsplit('"price_ticks":', 1)
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
    lines[number] = f'{head}"price_ticks":{int(digits) + 1}{tail[len(digits) :]}'
    changed = tmp_path / "changed.jsonl"
    changed.write_text("".join(lines))
    assert replayed(changed)["differences"] == 1
    answer = run_command("replay", str(changed))
    assert answer.returncode == 1
    assert f"first difference at {changed}:{number}" in answer.stdout
    assert "Traceback" not in answer.stderr


def test_a_run_at_twenty_times_real_time_ends_with_equal_books(start: Starter) -> None:
    ended = start(
        THREE_SIDES, "--feed", "synthetic:9", "--speed", "20", "--duration", "60"
    ).result()
    assert problems(ended) == []
    assert ended.summary is not None
    assert ended.summary["exit_reason"] == "duration"
    assert sum(row["orders_placed"] for row in ended.symbols) > 20


def test_one_symbol_stays_small_in_memory(start: Starter) -> None:
    ended = start(ONE, "--speed", "max", "--duration", "7200").result()
    assert problems(ended) == []
    assert ended.summary is not None
    print(
        f"peak {ended.summary['peak_rss_mb']} MiB, first order {ended.summary['first_order_seconds']} s"
    )
    assert 5 < ended.summary["peak_rss_mb"] < PEAK_MB_MAX


# What cannot run


def test_a_configuration_refused_before_the_start_leaves_a_summary(start: Starter) -> None:
    ended = start("mode: paper\nsymbols: []\n").result()
    assert ended.code == 2
    assert ended.summary is not None
    assert ended.summary["exit_code"] == 2
    assert ended.summary["exit_reason"].startswith("refused: ")
    assert ended.summary["symbols"] == []
    assert "Traceback" not in ended.err


def test_a_configuration_refused_at_the_first_price_leaves_a_summary_and_sends_nothing(
    start: Starter,
) -> None:
    ended = start(TOO_NARROW, "--speed", "max").result()
    assert ended.code == 2
    assert ended.summary is not None
    assert "price_interval 0.5 earns nothing" in ended.summary["exit_reason"]
    assert "config.yaml:5" in ended.err
    assert "Traceback" not in ended.err
    _, entries = ended.entries()
    assert not any(entry.actions for entry in entries)


def test_a_recording_that_breaks_off_in_the_middle_ends_with_its_line_and_a_summary(
    start: Starter, tmp_path: Path
) -> None:
    feed = tmp_path / "trades.csv"
    rows = [f"{1_700_000_000_000 + 100 * n},{3000 + n % 7},0.5,{n % 2 == 0}" for n in range(4_000)]
    rows[3_000] = "1700000300000,three thousand,0.5,True"
    feed.write_text("\n".join(["ts_ms,price,qty,buyer_is_maker", *rows]) + "\n")
    config = ONE.replace("price_interval: 3", "price_interval: 3, anchor: 3000")
    ended = start(config, "--feed", str(feed), "--speed", "max").result()
    assert ended.code in {1, 2}
    assert ended.summary is not None
    assert "trades.csv" in ended.summary["exit_reason"]
    assert "three thousand" in ended.summary["exit_reason"]


def test_without_pyarrow_a_parquet_file_is_refused_with_what_to_install(
    start: Starter, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pyarrow'] = None\n")
    feed = tmp_path / "trades.parquet"
    feed.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    ended = start(
        ONE, "--feed", str(feed), "--speed", "max", env={"PYTHONPATH": str(tmp_path)}
    ).result()
    assert ended.code == 2
    assert "marketmaker[parquet]" in ended.err
    assert "Traceback" not in ended.err
    assert ended.summary is not None
    assert ended.summary["exit_code"] == 2
