r"""The roofline: what a machine can do at most, and how near to it each operation comes.

An operation that reads and writes B bytes for its F floating-point operations has the intensity $I = F / B$. In a
second the machine does at most P operations and moves at most W bytes, so the rate is at most $\min(P, I\,W)$: a slope
for what waits for memory, a flat roof for what computes. Both are measured, by a product of matrices and by a copy.

Source: Williams, Waterman and Patterson (2009), "Roofline: An Insightful Visual Performance Model".
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from nbdl.profiling.drawing import draw_roofline
from nbdl.profiling.profiler import profile
from nbdl.profiling.recorder import OPERATION
from nbdl.runtime import arrays, memory, philox
from nbdl.runtime.checks import check_int
from nbdl.runtime.gemm import gemm


@dataclass(frozen=True)
class Roofline:
    """The limits of a machine, with the number of threads in use when they were measured.

    Attributes:
        peak: Floating-point operations a second in a product of float32 matrices.
        bandwidth: Bytes a second, read and written, of a copy that no cache holds.
    """

    peak: float
    bandwidth: float

    @property
    def ridge(self) -> float:
        """Operations a byte from which on it is the arithmetic that limits."""
        return self.peak / self.bandwidth

    def attainable(self, intensity: float) -> float:
        """The most operations a second at so many operations a byte."""
        return self.peak if intensity >= self.ridge else intensity * self.bandwidth

    def place(self, measured: profile) -> list[tuple[str, str, float, float]]:
        """Name, phase, operations a byte and operations a second of the operations of a profile that compute.

        What a cache still holds is not fetched from memory, so a small operation can lie above the slope.
        """
        return [
            (row["name"], row["phase"], row["flops"] / row["bytes"], row["flops"] / row["seconds"])
            for row in measured.rows(OPERATION)
            if row["flops"] and row["bytes"] and row["seconds"]
        ]

    def draw(self, measured: profile, title: str = "roofline") -> str:
        """The limits and the operations of a profile, as the text of an SVG file."""
        return draw_roofline(self.peak, self.bandwidth, self.place(measured), title)


def measure_roofline(side: int = 512, megabytes: int = 64, repeats: int = 20) -> Roofline:
    """Measures the limits of this machine with nbdl's own kernels, the best of several runs.

    Args:
        side: Of the matrices that are multiplied.
        megabytes: Of the array that is copied; several times the last cache.
        repeats: Runs of each.

    Raises:
        ArgumentError: A number is out of range.

    Example:
        >>> machine = nbdl.profiling.measure_roofline(side=64, megabytes=1, repeats=1)
        >>> machine.attainable(machine.ridge) == machine.peak
        True
    """
    check_int("side", side, low=1)
    check_int("megabytes", megabytes, low=1)
    check_int("repeats", repeats, low=1)
    a, b, c = (memory.empty((side, side), np.float32) for _ in range(3))
    for matrix in (a, b):
        philox.uniform(matrix, -1.0, 1.0, philox.Generator())
    source, target = (memory.empty((megabytes << 18,), np.float32) for _ in range(2))
    philox.uniform(source, 0.0, 1.0, philox.Generator())
    product = _fastest(lambda: gemm(a, b, c), repeats)
    copy = _fastest(lambda: arrays.copy_into(target, source), repeats)
    return Roofline(2 * side**3 / product, 2 * source.nbytes / copy)


def _fastest(run: Any, repeats: int) -> float:
    run()
    best = float("inf")
    for _ in range(repeats):
        start = perf_counter()
        run()
        best = min(best, perf_counter() - start)
    return best
