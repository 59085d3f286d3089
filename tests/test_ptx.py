"""Every CUDA kernel compiles for three generations of GPUs, without spills and without float64 in float32 kernels."""

import importlib.util
import inspect
import math

import numpy as np
import pytest

from nbdl import nn, ops, optim
from nbdl.autograd import Tensor
from nbdl.runtime import arrays, jit, philox, vecmath
from nbdl.runtime.cuda import compiler
from nbdl.runtime.cuda.primitives import block_max, block_min, block_sum
from nbdl.runtime.jit import BLOCK, cuda, cuda_kernel, scalar
from nbdl.runtime.vecmath import exp
from nbdl.testing import properties, ptx
from nbdl.testing.draw import seeded
from nbdl.testing.specs import all_specs

pytestmark = pytest.mark.ptx

MISSING = [
    name for name in ("numba_cuda", "cuda.bindings", "nvidia") if importlib.util.find_spec(name.split(".")[0]) is None
]

capabilities = pytest.mark.parametrize("capability", ptx.CAPABILITIES, ids=lambda c: f"sm_{c[0]}{c[1]}")


@pytest.fixture(autouse=True, scope="module")
def compilers():
    """Nothing is skipped in silence: without the compilers every test here fails and says what to install."""
    assert not MISSING, f"CUDA kernels were NOT compiled: {MISSING} missing; run `make ptx` or pip install --group ptx"


FLOAT64_ON_PURPOSE = {
    "scale": "the factor of a clipped gradient comes from a norm in float64, once a thread",
}
"""Kernels of float32 arrays that may calculate in float64, and why."""

# ---------------------------------------------------------------- the library's kernels


def run_everything():
    """Launches every kernel of the library on small float32 arrays."""
    for spec in all_specs():
        for seed in range(3):
            properties.run(spec, spec.inputs(seeded(seed, layouts=False)), np.float32)
    for name in ("SGD", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW", "NAdam"):
        parameter = Tensor(np.ones(10, np.float32), requires_grad=True)
        parameter.grad = Tensor(np.ones(10, np.float32))
        getattr(optim, name)([parameter], lr=0.1).step()
        optim.clip_grad_norm_([parameter], 0.5)
        optim.clip_grad_value_([parameter], 0.1)
    optim.average_([Tensor(np.zeros(3, np.float32))], [Tensor(np.ones(3, np.float32))], 0.5)
    table, ids = Tensor(np.ones((5, 3), np.float32)), Tensor(np.array([1, 1, 4]))
    ops.embedding(ids, table, max_norm=0.5)
    ops.embedding(ids, table.requires_grad_(), scale_grad_by_freq=True).sum().backward()
    nn.init.orthogonal_(Tensor(np.empty((3, 4), np.float32)))
    nn.init.trunc_normal_(Tensor(np.empty(5, np.float32)))
    nn.init.trunc_normal_(Tensor(np.empty(5, np.float64)))
    generator = philox.Generator()
    y = np.empty(8, np.float32)
    philox.uniform(y, generator=generator)
    philox.uniform(y.astype(np.float64), generator=generator)
    philox.normal(y, generator=generator)
    philox.normal(y.astype(np.float64), generator=generator)
    philox.bernoulli(y, 0.5, generator=generator)
    philox.randint(np.empty(8, np.int64), 0, 5, generator=generator)
    philox.permutation(8, generator)
    arrays.add_arrays(y, y)
    arrays.full((8,), 1.0, np.float32)
    arrays.sum_rows(y.reshape(2, 4))


@pytest.fixture(scope="module")
def in_use():
    return ptx.kernels_in_use(run_everything)


def test_every_kernel_is_seen(in_use):
    seen = {kernel for kernel, _ in in_use}
    library = [kernel for kernel in jit.KERNELS if kernel.cpu.py_func.__module__.startswith("nbdl.")]
    unseen = sorted(kernel.name for kernel in library if kernel not in seen)
    assert len(library) > 100
    assert not unseen, f"no spec row launches these kernels: {unseen}"


@capabilities
def test_every_kernel_compiles_without_spills_and_leaks(in_use, capability):
    faults = []
    for kernel, types in in_use:
        try:
            report = ptx.compile_kernel(kernel, types, capability)
        except Exception as error:
            faults.append(f"{kernel.name}{types}: does not compile: {str(error).strip()[-600:]}")
            continue
        if report.spilled_bytes:
            faults.append(f"{kernel.name}: {report.spilled_bytes} bytes spilled, {report.registers} registers")
        if report.leaks and kernel.name not in FLOAT64_ON_PURPOSE:
            faults.append(f"{kernel.name}{types}: float64 in a float32 kernel: {sorted(set(report.leaks))}")
    assert not faults, f"{len(faults)} of {len(in_use)} kernels:\n" + "\n".join(faults)


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
    assert compiled(_spilling).stack_bytes >= 1600


def test_a_kernel_that_does_not_compile_raises():
    with pytest.raises(Exception, match="no_such_attribute"):
        compiled(_not_compilable)
