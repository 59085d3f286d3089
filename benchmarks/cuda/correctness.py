"""Every operation on the GPU against float64, and the same under compute-sanitizer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field

import numpy as np

from benchmarks.cuda.budget import Budget
from nbdl.testing import on_gpu
from nbdl.testing.draw import seeded
from nbdl.testing.specs import all_specs


@dataclass
class Verdict:
    """What the property tests found.

    Attributes:
        operations: Rows of the table of operations that were run.
        cases: Drawn inputs, in float32 and float64 each.
        faults: One line for each operation that failed.
        left_out: Operations that there was no time for.
    """

    operations: int = 0
    cases: int = 0
    faults: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def check_operations(examples: int, names: tuple[str, ...], budget: Budget) -> Verdict:
    """Runs the operations of these names, all when there are none, on a few drawn inputs each."""
    verdict = Verdict()
    for spec in all_specs():
        if names and spec.function.__name__ not in names:
            continue
        if budget.is_spent():
            verdict.left_out.append(spec.name)
            continue
        verdict.operations += 1
        for seed in range(examples):
            case = spec.inputs(seeded(seed, layouts=seed % 2 == 1))
            verdict.cases += 1
            try:
                for dtype in (np.float32, np.float64, np.float16):
                    on_gpu.check(spec, case, dtype)
            except Exception as error:  # whatever it is: it is what the report is for
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                verdict.faults.append(f"{spec.name}, input {seed}: {type(error).__name__}: {first}")
                break
    return verdict


SANITIZED = ("linear", "softmax", "layer_norm", "conv2d", "embedding", "cross_entropy", "lstm", "sum", "sort")
"""Operations that run under compute-sanitizer, which takes about a hundred times as long."""


def sanitize(seconds: float) -> str:
    """The verdict of compute-sanitizer, in words."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return "not run: compute-sanitizer is not on PATH (it comes with the CUDA toolkit)"
    lines = []
    for tool in ("memcheck", "racecheck"):
        command = [program, "--tool", tool, "--error-exitcode", "86", sys.executable, "-m", "benchmarks.cuda"]
        command += ["--only", "correctness", "--examples", "1", "--no-sanitizer", "--no-write", *SANITIZED]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds / 2, check=False)
        except subprocess.TimeoutExpired:
            lines.append(f"{tool}: not done after {seconds / 2:.0f} s")
            continue
        summary = [line.strip("= ") for line in done.stdout.splitlines() if "SUMMARY" in line]
        lines.append(f"{tool}: {summary[-1] if summary else f'exit status {done.returncode}'}")
    return "; ".join(lines)
