"""Plants bugs in kernels, one at a time, and sees whether the tests catch them.

    python -m tests.mutation                 every mutant of mutants.py
    python -m tests.mutation --only softmax  those whose file or tests contain the word

Each mutant is planted in a copy of the package; the tests named beside it, a part of `make test`, then run against the
copy. A mutant is caught when they fail. First the same tests run without a bug, and must pass.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutation.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
WANTED = 0.95
SECONDS = 300


def run_tests(package_root: Path, tests: str) -> bool:
    """Whether the tests pass against the package in that folder."""
    file, _, expression = tests.partition(" -k ")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", file]
    if expression:
        command += ["-k", expression]
    result = subprocess.run(
        command,
        cwd=package_root,
        env={**os.environ, "PYTHONPATH": str(package_root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if result.returncode not in (0, 1):
        raise SystemExit(
            f"pytest {tests}: exit code {result.returncode}\n{result.stdout[-2000:]}{result.stderr[-2000:]}"
        )
    return result.returncode == 0


def plant(mutant: Mutant, package_root: Path) -> None:
    """Writes the bug into the copy; the original text must stand in the file exactly `mutant.count` times."""
    path = package_root / mutant.file
    source = (ROOT / mutant.file).read_text()
    found = source.count(mutant.old)
    if found != 1:
        raise SystemExit(f"{mutant.file}: {mutant.old!r} stands there {found} times, expected once: update mutants.py")
    path.write_text(source.replace(mutant.old, mutant.new))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only mutants whose file, kind or tests contain this")
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if options.only in f"{m.file} {m.kind} {m.tests}"]
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("nbdl", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        for tests in sorted({m.tests for m in chosen}):
            if not run_tests(copy, tests):
                raise SystemExit(f"{tests}: fails without a bug")
        for number, mutant in enumerate(chosen, 1):
            start = time.perf_counter()
            plant(mutant, copy)
            caught = not run_tests(copy, mutant.tests)
            shutil.copy(ROOT / mutant.file, copy / mutant.file)
            if not caught:
                survivors.append(mutant)
            verdict = "caught  " if caught else "SURVIVED"
            change = f"{mutant.old.strip()!r} -> {mutant.new.strip()!r}"
            seconds = time.perf_counter() - start
            print(
                f"{number:3}/{len(chosen)} {verdict} {mutant.kind:16} {mutant.file}: {change} ({seconds:.0f} s)",
                flush=True,
            )
    caught_share = 1 - len(survivors) / max(len(chosen), 1)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} planted bugs caught ({caught_share:.0%})")
    for mutant in survivors:
        print(f"survivor: {mutant}")
    return 0 if chosen and caught_share >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
