"""What a process costs before it is any use: import, first training step cold and warm, peak memory.

python -m benchmarks.start            prints a table of nbdl beside PyTorch
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass

REPEATS = 7

_IMPORT = "import time; t = time.perf_counter(); import {library}; print(time.perf_counter() - t)"

_STEP = """
import time
t = time.perf_counter()
import json, resource
from benchmarks.cases import mlp
step = mlp.{library}_step(mlp.CASES[0])
step()
first = time.perf_counter() - t
for _ in range({steps}):
    step()
print(json.dumps([first, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


@dataclass(frozen=True)
class StartRow:
    """Seconds (or MiB) of both libraries; `torch` is None where there is no counterpart."""

    what: str
    unit: str
    nbdl: float
    torch: float | None


def _run(code: str, **environment: str) -> str:
    """What the code prints in a process of its own, which may keep bytecode as that of an installed package is kept."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    result = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    return result.stdout


def _import_seconds(library: str) -> float:
    return statistics.median(float(_run(_IMPORT.format(library=library))) for _ in range(REPEATS))


def _step_figures(library: str, **environment: str) -> tuple[float, float]:
    """Median seconds from the start of the import to the end of the first step, and MiB at the end of 200 steps."""
    runs = [json.loads(_run(_STEP.format(library=library, steps=200), **environment)) for _ in range(REPEATS)]
    return statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)


def measure() -> list[StartRow]:
    """Every row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        cold = json.loads(_run(_STEP.format(library="nbdl", steps=0), NBDL_CACHE_DIR=folder))[0]
    ours, our_peak = _step_figures("nbdl")
    theirs, their_peak = _step_figures("torch")
    return [
        StartRow("import", "s", _import_seconds("nbdl"), _import_seconds("torch")),
        StartRow("import + first training step, warm cache", "s", ours, theirs),
        StartRow("import + first training step, empty cache", "s", cold, None),
        StartRow("peak memory of 200 MLP steps", "MiB", our_peak, their_peak),
    ]


def main() -> None:
    for row in measure():
        torch = "" if row.torch is None else f"torch {row.torch:8.3f} {row.unit}   ratio {row.torch / row.nbdl:5.2f}"
        print(f"{row.what:44} nbdl {row.nbdl:8.3f} {row.unit}   {torch}")


if __name__ == "__main__":
    main()
