"""A copy of the package with one mistake in it, and a process that simulates it until a rule is broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.patches import Edit, Mutant

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "marketmaker"
DRIVER = """
import json, sys
from marketmaker import simulation
first, last, minutes = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
assert simulation.__file__.startswith(sys.argv[4]), simulation.__file__
for seed in range(first, last):
    found = simulation.simulate(simulation.Task(seed=seed, minutes=minutes)).violation
    if found is not None:
        print(json.dumps({"rule": found.rule, "what": found.what, "seed": seed}))
        break
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`rule`: which was broken, "" for none; `seeds`: how many it took."""

    rule: str
    what: str
    seeds: int

    def __str__(self) -> str:
        return f"{self.rule:<12} after {self.seeds} seeds" if self.rule else "SURVIVES"


class Trial:
    """One mutant in `package`, a directory that holds a copy of `marketmaker`."""

    def __init__(self, package: Path, mutant: Mutant) -> None:
        self._package = package
        self._mutant = mutant

    def run(self, seeds: range, minutes: float) -> Found:
        """A seed that breaks a rule without the mistake, too, shows nothing and does not count.

        Raises RuntimeError when the mutant cannot even be simulated: such a patch shows nothing, either.
        """
        left = seeds
        while left:
            with self._mistaken():
                found = self._simulate(left, minutes)
            if found is None:
                break
            seed = int(found["seed"])
            if not self._mutant.edits or self._simulate(range(seed, seed + 1), minutes) is None:
                return Found(rule=found["rule"], what=found["what"], seeds=seed - seeds.start + 1)
            left = range(seed + 1, seeds.stop)
        return Found(rule="", what="", seeds=len(seeds))

    @contextmanager
    def _mistaken(self) -> Iterator[None]:
        files = [self._package / "marketmaker" / edit.file for edit in self._mutant.edits]
        untouched = {file: file.read_text(encoding="utf-8") for file in files}
        try:
            for edit in self._mutant.edits:
                apply(self._package, edit)
            yield
        finally:
            for file, text in untouched.items():
                rewrite(file, text)

    def _simulate(self, seeds: range, minutes: float) -> dict[str, str] | None:
        """What the first seed that breaks a rule says, None when none does."""
        arguments = [str(seeds.start), str(seeds.stop), str(minutes), str(self._package)]
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, *arguments],
            cwd=self._package,
            env={**os.environ, "PYTHONPATH": str(self._package), "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self._mutant.name}: {done.stderr[-2000:]}")
        found: dict[str, str] | None = json.loads(done.stdout) if done.stdout.strip() else None
        return found


def apply(package: Path, edit: Edit) -> None:
    """Raises ValueError when the text is not there exactly once: the patch is out of date."""
    path = package / "marketmaker" / edit.file
    text = path.read_text(encoding="utf-8")
    if text.count(edit.old) != 1:
        raise ValueError(f"{edit.file} has {text.count(edit.old)} times: {edit.old!r}")
    rewrite(path, text.replace(edit.old, edit.new))


def rewrite(path: Path, text: str) -> None:
    """With a date later than before by more than Python's cache of compiled files can tell apart."""
    changed_s = path.stat().st_mtime + 2
    path.write_text(text, encoding="utf-8")
    os.utime(path, (changed_s, changed_s))


@contextmanager
def mutated_package() -> Iterator[Path]:
    """A directory with a copy of the package's source; what was compiled from it stays behind."""
    with tempfile.TemporaryDirectory(prefix="marketmaker-mutants-") as directory:
        package = Path(directory)
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
        shutil.copytree(PACKAGE, package / "marketmaker", ignore=ignored)
        yield package
