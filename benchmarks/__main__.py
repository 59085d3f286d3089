"""Runs the comparisons: nbdl and PyTorch in separate processes, a block of steps each in turn, medians and ratios.

python -m benchmarks --write               every topic at 1 and 2 threads, into benchmarks/RESULTS.md and README.md
python -m benchmarks mlp gemm --threads 1  some topics, printed only
python -m benchmarks operations --write    every operation that PyTorch has too, into benchmarks/OPERATIONS.md
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cases

BLOCKS = 9
BLOCK_SECONDS = 0.15
SHORTEST_BLOCK = 20
"""Steps, however long one takes."""

LONG_BLOCK_SECONDS = 2.0
FEW_BLOCKS = 3
"""Blocks of a case whose blocks are longer than that."""

APART = "operations"
"""The topic that runs, and is written, by itself."""


@dataclass
class Row:
    """One case at one number of threads; times in microseconds, memory in MiB."""

    topic: str
    case: str
    threads: int
    nbdl: float
    torch: float
    ratio: float
    low: float
    high: float
    nbdl_peak: float
    torch_peak: float


class Worker:
    """A library's process for one case, which gets ready while others do."""

    def __init__(self, library: str, topic: str, case: str, threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "NBDL_NUM_THREADS": str(threads)}
        self.peak = 0.0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", library, topic, case, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._name = f"{library} {topic} {case}"

    def wait(self) -> None:
        if self._read() != "ready\n":
            raise SystemExit(f"{self._name}: the worker did not start")

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def block(self, steps: int) -> float:
        """The median seconds of a step over a block."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        answer = json.loads(self._read())
        self.peak = answer["peak_mib"]
        return statistics.median(answer["seconds"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(topic: str, case: str, threads: int, blocks: int = BLOCKS) -> Row:
    """Runs both libraries in turn; the ratio is the median over neighbouring blocks."""
    ours, theirs = Worker("nbdl", topic, case, threads), Worker("torch", topic, case, threads)
    ours.wait()
    theirs.wait()
    estimate = max(ours.block(3), theirs.block(3))
    steps = max(SHORTEST_BLOCK, min(2000, int(BLOCK_SECONDS / estimate)))
    if steps * estimate > LONG_BLOCK_SECONDS:
        blocks = min(blocks, FEW_BLOCKS)
    pairs = []
    for _ in range(blocks):
        pairs.append((ours.block(steps), theirs.block(steps)))
        time.sleep(0.01)  # lets the threads of the last block go to sleep
    ours.close()
    theirs.close()
    ratios = sorted(b / a for a, b in pairs)
    return Row(
        topic,
        case,
        threads,
        statistics.median(a for a, _ in pairs) * 1e6,
        statistics.median(b for _, b in pairs) * 1e6,
        statistics.median(ratios),
        ratios[0],
        ratios[-1],
        ours.peak,
        theirs.peak,
    )


def main() -> None:
    topics = sorted(module.name for module in pkgutil.iter_modules(cases.__path__))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("topics", nargs="*", help=f"any of: {', '.join(topics)}; all when none is named")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--case", default="", help="only cases whose name contains this")
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"write benchmarks/RESULTS.md, of named topics their sections, and the table of README.md; {APART} alone "
        "goes to OPERATIONS.md",
    )
    options = parser.parse_args()
    apart = options.topics == [APART]
    if options.write and APART in options.topics and not apart:
        parser.error(f"--write: {APART} has a file of its own, and goes without other topics")
    if options.write and (options.case or (options.threads != [1, 2] and not apart)):
        parser.error("--write takes whole topics: no --case, and threads 1 and 2")
    for topic in options.topics:
        if topic not in topics:
            parser.error(f"unknown topic {topic!r}; known: {', '.join(topics)}")

    rows: list[Row] = []
    for topic in options.topics or [topic for topic in topics if topic != APART]:
        for threads in options.threads:
            chosen = [
                case for case in importlib.import_module(f"benchmarks.cases.{topic}").CASES if options.case in case
            ]
            mine = []
            for case in chosen:
                row = compare(topic, case, threads, options.blocks)
                mine.append(row)
                print(
                    f"{topic:10} {case:34} {threads} threads   nbdl {row.nbdl:9.1f} us   torch {row.torch:9.1f} us   "
                    f"ratio {row.ratio:5.2f}  ({row.low:.2f} to {row.high:.2f})",
                    flush=True,
                )
            if len(mine) > 1:
                mean = statistics.geometric_mean(row.ratio for row in mine)
                print(f"{topic:10} geometric mean, {threads} threads: {mean:.3f}")
            rows += mine
    if options.write:
        from benchmarks.report import write_results, write_summary
        from benchmarks.start import measure

        results = Path(__file__).with_name("OPERATIONS.md" if apart else "RESULTS.md")
        start = measure() if not options.topics else [] if apart else None
        write_results(results, rows, start)
        if not apart:
            write_summary(Path(__file__).parents[1] / "README.md", results)


if __name__ == "__main__":
    main()
