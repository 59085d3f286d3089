"""`python -m tests.reliability [AREA ...] [--share 0.01]`: the proofs in full, their figures in docs/reliability/."""

from __future__ import annotations

import argparse
import sys
import time

from tests.reliability.areas import AREAS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"some of {', '.join(AREAS)}; all when none is named")
    parser.add_argument("--share", type=float, default=1.0, help="share of the trials; under 1 nothing is stored")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.areas if name not in AREAS]
    if unknown:
        parser.error(f"no such area: {', '.join(unknown)}")
    broken = []
    for name in chosen.areas or AREAS:
        area, start = AREAS[name], time.perf_counter()
        print(f"==== {name}: {area.bar}", flush=True)
        try:
            figures = area.prove(chosen.share)
        except AssertionError as error:
            broken.append(name)
            print(f"BROKEN: {error}", flush=True)
            continue
        seconds = time.perf_counter() - start
        for what, count in figures.items():
            print(f"{what:<60} {count:>12,}" if isinstance(count, int) else f"{what:<60} {count:>12}", flush=True)
        print(f"({seconds:.0f} s)", flush=True)
        if chosen.share >= 1:
            area.store(figures, seconds)
    if broken:
        print(f"\nbroken: {', '.join(broken)}")
    return len(broken) > 0


if __name__ == "__main__":
    sys.exit(main())
