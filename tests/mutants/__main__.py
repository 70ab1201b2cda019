"""Try the mutants: `python -m tests.mutants [--seeds 300] [--minutes 3] [--only TEXT] [--skip N]`.

Each patch is applied to a copy of the package and simulated seed by seed until a rule is broken. Prints one line per
mutant and exits 1 when one of them survives.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.mutants.patches import MUTANTS
from tests.mutants.trial import Trial, mutated_package


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="at most, for each; default 300")
    parser.add_argument("--start", type=int, default=0, help="the first; default 0")
    parser.add_argument("--minutes", type=float, default=3.0, help="of each seed; default 3")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="mutants whose name or case has it"
    )
    parser.add_argument("--skip", type=int, default=0, help="so many mutants of the list")
    args = parser.parse_args()
    chosen = [m for m in MUTANTS[args.skip :] if args.only in m.name or args.only == m.case]
    survivors = 0
    with mutated_package() as package:
        for each in chosen:
            began_s = time.perf_counter()
            trial = Trial(package, each)
            found = trial.run(range(args.start, args.start + args.seeds), args.minutes)
            survivors += not found.rule
            took_s = time.perf_counter() - began_s
            print(f"{each.case:>4}  {each.name:<72} {found} ({took_s:.0f} s)", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants found within {args.seeds} seeds")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
