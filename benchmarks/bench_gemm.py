"""How much of the processor's arithmetic a matrix product reaches: its speed against the measured FMA peak.

python -m benchmarks.bench_gemm          float32 and float64, 1024 cubed, one thread

The comparison with PyTorch over twenty shapes is `python -m benchmarks gemm`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

import nbdl
from nbdl.runtime.gemm import gemm
from nbdl.runtime.simd import lanes, vector_unit

CHAINS = 12
"""Independent chains of multiply-adds: more than latency times units on any processor, fewer than registers."""

SIZE = 1024


@intrinsic
def multiply_add_chains(typing_context, steps, factor):
    """`steps` multiply-adds of a vector in each of CHAINS chains, all in registers; returns something of the result."""
    count = lanes(factor)

    def codegen(context, builder, signature, arguments):
        steps, factor = arguments
        vector = ir.VectorType(factor.type, count)
        name = f"llvm.fmuladd.v{count}f{signature.args[1].bitwidth}"
        multiply_add = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        splat = ir.Constant(vector, ir.Undefined)
        for lane in range(count):
            splat = builder.insert_element(splat, factor, ir.Constant(ir.IntType(32), lane))
        sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, [float(i)] * count)) for i in range(CHAINS)]
        with cgutils.for_range(builder, steps):
            for total in sums:
                builder.store(builder.call(multiply_add, [builder.load(total), splat, splat]), total)
        result = builder.load(sums[0])
        for total in sums[1:]:
            result = builder.fadd(result, builder.load(total))
        return builder.extract_element(result, ir.Constant(ir.IntType(32), 0))

    return factor(types.int64, factor), codegen


@njit
def _run_chains(steps: int, factor: Any) -> Any:
    return multiply_add_chains(steps, factor)


def _best(step: Callable[[], Any], repeats: int) -> float:
    """The shortest of several runs, in seconds."""
    shortest = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def peak(dtype: Any) -> float:
    """The processor's multiply-adds on one core, in GFLOP/s."""
    steps = 10_000_000
    flops = 2 * steps * CHAINS * vector_unit().bytes // np.dtype(dtype).itemsize
    return flops / _best(lambda: _run_chains(steps, dtype(0.5)), 8) / 1e9


def product(dtype: Any) -> float:
    """A product of SIZE cubed on one thread, in GFLOP/s."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SIZE, SIZE)).astype(dtype) for _ in range(2))
    c = np.empty((SIZE, SIZE), dtype)
    return 2 * SIZE**3 / _best(lambda: gemm(a, b, c), 30) / 1e9


def main() -> None:
    nbdl.set_num_threads(1)
    print(f"vector unit: {vector_unit().name}, tiles of {vector_unit().rows} rows")
    for dtype in (np.float32, np.float64):
        highest, reached = peak(dtype), product(dtype)
        print(
            f"{np.dtype(dtype)}: peak {highest:.1f} GFLOP/s, {SIZE}^3 {reached:.1f} GFLOP/s, {reached / highest:.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
