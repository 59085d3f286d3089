"""Plants bugs in kernels, one at a time, and sees whether the tests catch them.

    python -m tests.mutation                    every mutant of mutants.py
    python -m tests.mutation --only softmax     those whose file, kind or tests contain the word
    python -m tests.mutation --jobs 2           two at a time
    python -m tests.mutation --json FILE        keep the outcomes in a file, and go on where an earlier run stopped

Each mutant is planted in a copy of the package; the tests named beside it, a part of `make test`, then run against the
copy. A mutant is caught when they fail, crash or hang. First the same tests run without a bug, and must pass. The copy
is made once, so the working tree may be edited meanwhile; kernels without a bug come from a copy of the cache.

Ends with exit code 0 when at least 95 % are caught.
"""

from __future__ import annotations

import argparse
import collections
import compileall
import datetime
import difflib
import hashlib
import json
import os
import py_compile
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nbdl.runtime.cache import cache_folder
from tests.mutation.mutant import KINDS, Mutant
from tests.mutation.mutants import MUTANTS
from tests.reliability.area import machine

ROOT = Path(__file__).parents[2]
WANTED = 0.95
SECONDS = 300
"""A mutant whose tests take longer hangs."""

PASSED, FAILED = 0, 1
NOT_A_KERNEL_BUG = re.compile(r"TypingError|LoweringError|UnsupportedError|SyntaxError|NameError|ImportError")


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant."""

    caught: bool
    by: str
    seconds: float


# ---------------------------------------------------------------- copies


def copy_tree(folder: Path) -> Path:
    """A copy of package and tests, compiled so that a changed file is noticed by its contents."""
    for name in ("nbdl", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in ("nbdl", "tests"):
        compileall.compile_dir(folder / name, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    return folder


def copy_cache(folder: Path) -> Path:
    """A copy of the cache of compiled kernels, by hard links where it can be: mutants must not fill the user's own."""
    folder.mkdir(mode=0o700)
    for file in cache_folder().glob("*.kernel"):
        try:
            os.link(file, folder / file.name)
        except OSError:
            shutil.copy(file, folder)
    return folder


# ---------------------------------------------------------------- tests


def run_tests(
    package: Path, cache: Path, file: str, expression: str, seconds: float | None = None
) -> tuple[int | None, str]:
    """pytest's exit code, None if it hung, and its output."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=short", "-p", "no:cacheprovider", file]
    process = subprocess.Popen(
        command + (["-k", expression] if expression else []),
        cwd=package,
        env={
            **os.environ,
            "PYTHONPATH": str(package),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NBDL_CACHE_DIR": str(cache),
            "NBDL_HYPOTHESIS_PROFILE": "mutants",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]


def split(tests: str) -> tuple[str, str]:
    """A mutant's tests as file and expression."""
    file, _, expression = tests.partition(" -k ")
    return file, expression


def check_without_bugs(package: Path, cache: Path, chosen: list[Mutant]) -> None:
    """All chosen tests at once, file by file; they must pass, or a mutant's failure would mean nothing."""
    expressions = collections.defaultdict(set)
    for mutant in chosen:
        file, expression = split(mutant.tests)
        expressions[file].add(expression)
    for file, wanted in sorted(expressions.items()):
        start = time.perf_counter()
        every = "" if "" in wanted else " or ".join(f"({expression})" for expression in sorted(wanted))
        code, output = run_tests(package, cache, file, every)
        if code != PASSED:
            raise SystemExit(f"{file}: fails without a bug\n{output[-3000:]}")
        print(f"without a bug {file} passes ({time.perf_counter() - start:.0f} s)", flush=True)


def try_mutant(package: Path, cache: Path, mutant: Mutant) -> Outcome:
    """Plants the bug in a copy, runs its tests, and takes the bug out again."""
    path = package / mutant.file
    source = path.read_text()
    start = time.perf_counter()
    path.write_text(mutant.planted(source))
    try:
        code, output = run_tests(package, cache, *split(mutant.tests), seconds=SECONDS)
    finally:
        path.write_text(source)
    seconds = time.perf_counter() - start
    if code is None:
        return Outcome(True, "it hung", seconds)
    if code < 0:
        return Outcome(True, f"it crashed ({signal.Signals(-code).name})", seconds)
    if code == PASSED:
        return Outcome(False, "", seconds)
    failed = re.search(r"^FAILED \S*::(.*?)(?: - |$)", output, re.MULTILINE)
    if code != FAILED or failed is None:
        raise SystemExit(f"{mutant}\npytest ends with exit code {code} and no failed test\n{output[-3000:]}")
    broken = NOT_A_KERNEL_BUG.search(output)
    if broken:
        raise SystemExit(f"{mutant}\nis no kernel bug but a {broken.group()}\n{output[-3000:]}")
    return Outcome(True, failed.group(1), seconds)


# ---------------------------------------------------------------- report


def change(mutant: Mutant) -> list[str]:
    """The lines that differ."""
    old, new = ([line.strip() for line in text.strip().split("\n")] for text in (mutant.old, mutant.new))
    return [line for line in difflib.ndiff(old, new) if line[0] in "-+"]


def print_outcome(number: int, count: int, mutant: Mutant, kernel: str, outcome: Outcome) -> None:
    verdict = "caught" if outcome.caught else "SURVIVED"
    print(f"{number:3}/{count} {verdict:8} {mutant.kind:15} {mutant.family}: {kernel}  ({outcome.seconds:.0f} s)")
    for line in [*change(mutant), f"= {outcome.by or 'passed: ' + mutant.tests}"]:
        print(" " * 16, line, flush=True)


def print_summary(outcomes: dict[Mutant, Outcome]) -> None:
    """Caught of planted, for each family and kind."""
    kinds = [kind for kind in KINDS if any(mutant.kind == kind for mutant in outcomes)]
    families = sorted({mutant.family for mutant in outcomes})
    width = max(map(len, families), default=0)
    print("\n" + " " * width + "".join(f"  {kind}" for kind in kinds) + "  all")

    def share(chosen: list[Outcome]) -> str:
        return f"{sum(outcome.caught for outcome in chosen)}/{len(chosen)}" if chosen else "."

    def row(title: str, family: str | None) -> None:
        own = [(mutant, outcome) for mutant, outcome in outcomes.items() if family in (None, mutant.family)]
        cells = [share([outcome for mutant, outcome in own if mutant.kind == kind]) for kind in kinds]
        line = "".join(f"  {cell:>{len(kind)}}" for cell, kind in zip(cells, kinds, strict=True))
        print(f"{title:{width}}{line}  {share([outcome for _, outcome in own]):>3}")

    for family in families:
        row(family, family)
    row("all", None)


# ---------------------------------------------------------------- outcomes that stay


def key(mutant: Mutant) -> str:
    """What tells an outcome's mutant again: change and tests, not its place in the list."""
    text = "\0".join((mutant.file, mutant.old, mutant.new, mutant.tests))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_outcomes(file: Path | None) -> dict[str, Outcome]:
    """The outcomes of an earlier run, by key."""
    if file is None or not file.exists():
        return {}
    return {name: Outcome(*values) for name, values in json.loads(file.read_text())["outcomes"].items()}


def store(file: Path, outcomes: dict[Mutant, Outcome], kernels: dict[Mutant, str]) -> None:
    """Counts, survivors with their reasons, and the outcome of each mutant."""
    caught = sum(outcome.caught for outcome in outcomes.values())
    families: dict[str, list[int]] = {}
    for mutant, outcome in outcomes.items():
        row = families.setdefault(mutant.family, [0, 0])
        row[0] += outcome.caught
        row[1] += 1
    document = {
        "name": "mutation",
        "bar": "at least 300 planted bugs in all kernel families, at least 95 % caught",
        "figures": {
            "bugs in the list": len(MUTANTS),
            "planted and tested": len(outcomes),
            "caught": caught,
            "survivors": len(outcomes) - caught,
        },
        "seconds": round(sum(outcome.seconds for outcome in outcomes.values())),
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "passed": len(outcomes) >= 300 and caught >= WANTED * len(outcomes),
        "families": dict(sorted(families.items())),
        "survivors": [
            {
                "file": mutant.file,
                "kernel": kernels[mutant],
                "kind": mutant.kind,
                "change": change(mutant),
                "reason": mutant.reason,
            }
            for mutant, outcome in outcomes.items()
            if not outcome.caught
        ],
        "outcomes": {key(m): [o.caught, o.by, round(o.seconds, 1)] for m, o in outcomes.items()},
    }
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> int:
    assert __doc__
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only mutants whose file, kind or tests contain this")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep outcomes here, and go on from those in it")
    options = parser.parse_args()
    known = load_outcomes(options.json)
    outcomes = {mutant: known[key(mutant)] for mutant in MUTANTS if key(mutant) in known}
    every = {mutant: mutant.kernel((ROOT / mutant.file).read_text()) for mutant in outcomes}
    chosen = [
        mutant
        for mutant in MUTANTS
        if mutant not in outcomes and options.only in f"{mutant.file} {mutant.kind} {mutant.tests}"
    ]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = copy_cache(folder / "cache")
        first = copy_tree(folder / "0")
        sources = {mutant: (first / mutant.file).read_text() for mutant in chosen}
        for mutant, source in sources.items():
            mutant.planted(source)  # raises now rather than in the middle if its text is gone
        kernels = {**every, **{mutant: mutant.kernel(source) for mutant, source in sources.items()}}
        check_without_bugs(first, cache, chosen)
        idle: queue.SimpleQueue[Path] = queue.SimpleQueue()
        idle.put(first)
        for number in range(1, options.jobs):
            idle.put(shutil.copytree(first, folder / str(number)))

        def attempt(mutant: Mutant) -> Outcome:
            package = idle.get()
            try:
                return try_mutant(package, cache, mutant)
            finally:
                idle.put(package)

        with ThreadPoolExecutor(options.jobs) as pool:
            for number, (mutant, outcome) in enumerate(zip(chosen, pool.map(attempt, chosen), strict=True), 1):
                outcomes[mutant] = outcome
                print_outcome(number, len(chosen), mutant, kernels[mutant], outcome)
                if options.json:
                    store(options.json, outcomes, kernels)
    caught = sum(outcome.caught for outcome in outcomes.values())
    print_summary(outcomes)
    for mutant, outcome in outcomes.items():
        if not outcome.caught:
            print("\n  ".join([f"\nsurvivor: {mutant.file}: {kernels[mutant]}", *change(mutant), mutant.tests]))
    share = caught / max(len(outcomes), 1)
    minutes = (time.perf_counter() - start) / 60
    print(f"\n{caught} of {len(outcomes)} planted bugs caught ({share:.1%}), {minutes:.1f} minutes")
    return 0 if outcomes and share >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
