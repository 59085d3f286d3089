"""Every CUDA kernel compiles for three generations of GPUs, without spills and without float64 in float32 kernels."""

import importlib.util
import inspect
import math

import numpy as np
import pytest

from nbdl.runtime import jit, vecmath
from nbdl.runtime.cuda import compiler
from nbdl.runtime.cuda.primitives import block_max, block_min, block_sum
from nbdl.runtime.jit import BLOCK, cuda, cuda_kernel, scalar
from nbdl.runtime.vecmath import exp
from nbdl.testing import ptx
from tests import cuda_table

pytestmark = pytest.mark.ptx

MISSING = [
    name for name in ("numba_cuda", "cuda.bindings", "nvidia") if importlib.util.find_spec(name.split(".")[0]) is None
]


@pytest.fixture(autouse=True, scope="module")
def compilers():
    """Nothing is skipped in silence: without the compilers every test here fails and says what to install."""
    assert not MISSING, f"CUDA kernels were NOT compiled: {MISSING} missing; run `make ptx` or pip install --group ptx"


FLOAT64_ON_PURPOSE = {
    "scale": "the factor of a clipped gradient comes from a norm in float64, once a thread",
}
"""Kernels of float32 arrays that may calculate in float64, and why."""

# ---------------------------------------------------------------- the library's kernels


@pytest.fixture(scope="module")
def in_use():
    return ptx.kernels_in_use(cuda_table.run_everything)


@pytest.fixture(scope="module")
def reports(in_use):
    return ptx.compile_kernels(in_use, processes=cuda_table.PROCESSES)


def test_every_kernel_is_seen(in_use):
    seen = {kernel for kernel, _ in in_use}
    library = [kernel for kernel in jit.KERNELS if kernel.cpu.py_func.__module__.startswith("nbdl.")]
    unseen = sorted(kernel.name for kernel in library if kernel not in seen)
    assert len(library) > 100
    assert not unseen, f"no spec row launches these kernels: {unseen}"


def faults_of(use, report):
    """What is wrong with a compiled kernel, whatever it was before."""
    name = cuda_table.key(use)
    if isinstance(report, str):
        return [f"{name}: does not compile: {report[-600:]}"]
    where = f"compute capability {report.capability[0]}.{report.capability[1]}"
    faults = []
    if report.spilled_bytes:
        faults.append(f"{name}: {report.spilled_bytes} bytes spilled, {report.registers} registers ({where})")
    if report.stack_bytes or report.instructions["local"]:
        faults.append(f"{name}: {report.stack_bytes} bytes of local memory, which is slow ({where})")
    if use[0].name not in FLOAT64_ON_PURPOSE:
        if report.leaks:
            faults.append(f"{name}: float64 in a float32 kernel: {sorted(set(report.leaks))} ({where})")
        if report.instructions["float64"] and "float64" not in name:
            faults.append(f"{name}: {report.instructions['float64']} float64 instructions ({where})")
    return faults


def test_every_kernel_compiles_without_spills_and_leaks(in_use, reports):
    faults = [fault for use, each in zip(in_use, reports, strict=True) for one in each for fault in faults_of(use, one)]
    assert not faults, f"{len(in_use)} kernels:\n" + "\n".join(faults)
    short = [
        cuda_table.key(use)
        for use, each in zip(in_use, reports, strict=True)
        if len(each) != sum(c >= compiler.least_capability(use[0].cuda) for c in ptx.CAPABILITIES)
    ]
    assert not short


def test_no_kernel_became_worse(in_use, reports):
    """Against the table that is kept: registers, shared memory, instructions, loads and stores of 16 bytes."""
    worse = cuda_table.regressions(cuda_table.read(), cuda_table.rows(in_use, reports))
    assert not worse, "renew the table with `make ptx-table` if this is meant:\n" + "\n".join(worse)


def test_the_table_names_what_became_worse():
    row = ((32,), (0,), (100,), (4,), (2,), (0,), (0,), (1,))
    before = {"a": row, "gone": row}

    def after(**changes):
        now = [column * 3 for column in row]
        for column, value in changes.items():
            now[cuda_table.COLUMNS.index(column)] = (*now[cuda_table.COLUMNS.index(column)][:2], value)
        return cuda_table.regressions(before, {"a": tuple(now), "gone": row})

    assert after() == []
    assert after(registers=36, instructions=124) == []
    assert after(registers=37) == ["a: registers 32 -> 37 (compute capability 9.0)"]
    assert after(shared=4) == ["a: shared 0 -> 4 (compute capability 9.0)"]
    assert after(instructions=126) == ["a: instructions 100 -> 126 (compute capability 9.0)"]
    assert after(load16=0) == ["a: load16 4 -> 0 (compute capability 9.0)"]
    assert after(barrier=2) == ["a: barrier 1 -> 2 (compute capability 9.0)"]
    assert len(cuda_table.regressions(before, {"a": row, "new": row})) == 2


# ---------------------------------------------------------------- the check itself


@cuda_kernel
def _good(x, y):
    row = cuda.blockIdx.x
    value = x[row, cuda.threadIdx.x]
    largest, smallest = block_max(value), block_min(value)
    y[row, cuda.threadIdx.x] = exp(value - largest) / block_sum(exp(smallest))


@scalar
def _leaky_scalar(x):
    return 0.3 * x  # a power of two would be narrowed


@cuda_kernel
def _leak_in_scalar(x, y):
    y[0, 0] = _leaky_scalar(x[0, 0])


@cuda_kernel
def _leak_by_integer(x, y):
    y[0, 0] = x[0, 0] / x.shape[1]


@cuda_kernel
def _leak_in_maximum(x, y):
    y[0, 0] = max(x[0, 0], 0.0)


@cuda_kernel
def _spilling(x, y):
    values = cuda.local.array(400, np.float32)
    for i in range(400):
        values[i] = x[0, i]
    for i in range(400):
        for j in range(400):
            values[i] += values[(i * j) % 400] * math.sqrt(values[j])
    for i in range(400):
        y[0, i] = values[i]


@cuda_kernel
def _not_compilable(x, y):
    y[0, 0] = x[0, 0].no_such_attribute


def compiled(kernel, dtype=np.float32):
    x = np.zeros((2, BLOCK), dtype)
    return ptx.compile_kernel(kernel, compiler.argument_types((x, x)), (8, 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reductions_and_mathematics_compile(dtype):
    report = compiled(_good, dtype)
    assert 10 < report.registers < 100
    assert report.shared_bytes >= 4 * np.dtype(dtype).itemsize
    assert report.spilled_bytes == 0
    assert bool(report.float64_instructions) == (dtype is np.float64)
    assert report.leaks == ()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_mathematics_compiles_to_straight_lines(dtype):
    x = np.zeros(4, dtype)
    for function in vecmath.FUNCTIONS:
        if len(inspect.signature(function).parameters) > 1:
            continue

        @cuda_kernel
        def apply(x, y):
            y[cuda.threadIdx.x] = function(x[cuda.threadIdx.x])  # noqa: B023

        text = compiler.compile_to_ptx(apply.py_func, compiler.argument_types((x, x)), (8, 0))
        assert "call" not in text, function.__name__
        assert dtype is np.float64 or ".f64" not in text, function.__name__


@pytest.mark.parametrize("kernel", [_leak_in_scalar, _leak_by_integer, _leak_in_maximum])
def test_a_float64_leak_is_found(kernel):
    assert compiled(kernel).leaks
    assert compiled(kernel, np.float64).leaks == ()


def test_slow_memory_is_counted():
    report = compiled(_spilling)
    assert report.stack_bytes >= 1600
    assert report.instructions["local"] > 0


def test_instructions_of_the_machine_code_are_counted():
    x = np.zeros((2, BLOCK), np.float32)
    use = (_good, compiler.argument_types((x, x)))
    (together,) = ptx.compile_kernels([use])
    assert [report.capability for report in together] == list(ptx.CAPABILITIES)
    for report in together:
        alone = ptx.compile_kernel(*use, report.capability)
        assert alone.instructions == report.instructions
        assert 100 < report.instructions["total"] < 1000
        assert report.instructions["barrier"] == 6
        assert report.instructions["float64"] == report.instructions["local"] == 0
    assert compiled(_good, np.float64).instructions["float64"] > 10


def test_a_kernel_that_does_not_compile_raises():
    with pytest.raises(Exception, match="no_such_attribute"):
        compiled(_not_compilable)
