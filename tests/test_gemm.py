"""The matrix product under everything: every stride, size, epilogue and vector unit, any number of threads."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdl.runtime import arrays, threads
from nbdl.runtime.gemm import gemm
from nbdl.runtime.gemm.plan import plan_blocks
from nbdl.runtime.gemm.vector import GRAIN
from nbdl.runtime.simd import AVX2, AVX512, PORTABLE, vector_unit
from nbdl.testing import simt

FLOATS = (np.float32, np.float64)
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-13}


def laid_out(values, layout):
    """The values in one of the memory layouts that a matrix can have."""
    if layout == "transposed":
        return np.ascontiguousarray(values.swapaxes(-1, -2)).swapaxes(-1, -2)
    if layout == "rows apart":
        wide = np.full((*values.shape[:-1], values.shape[-1] + 3), np.nan, values.dtype)
        wide[..., : values.shape[-1]] = values
        return wide[..., : values.shape[-1]]
    if layout == "strided":
        wide = np.full((*values.shape[:-2], 2 * values.shape[-2], 3 * values.shape[-1]), np.nan, values.dtype)
        wide[..., ::2, ::3] = values
        return wide[..., ::2, ::3]
    if layout == "reversed":
        return np.ascontiguousarray(values[..., ::-1, ::-1])[..., ::-1, ::-1]
    if layout == "one row":
        row = np.ascontiguousarray(values[..., :1, :])
        return arrays.strided(row, values.shape, (*row.strides[:-2], 0, row.strides[-1]))
    if layout == "one matrix":
        matrix = np.ascontiguousarray(values[:1])
        return arrays.strided(matrix, values.shape, (0, *matrix.strides[1:]))
    return np.ascontiguousarray(values)


LAYOUTS = ("contiguous", "transposed", "rows apart", "strided", "reversed", "one row", "one matrix")
SIZES = st.one_of(st.integers(0, 3), st.integers(1, 40), st.sampled_from([64, 100, 257]))


@given(
    sizes=st.tuples(st.integers(1, 3), SIZES, SIZES, SIZES),
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
    dtype=st.sampled_from(FLOATS),
    with_bias=st.booleans(),
    beta=st.sampled_from([0.0, 1.0, -0.5]),
    floor=st.sampled_from([-np.inf, 0.0]),
    seed=st.integers(0, 99),
)
def test_agrees_with_the_definition(sizes, layouts, dtype, with_bias, beta, floor, seed):
    batch, m, n, k = sizes
    rng = np.random.default_rng(seed)
    a = laid_out(rng.uniform(-1, 1, (batch, m, k)).astype(dtype), layouts[0])
    b = laid_out(rng.uniform(-1, 1, (batch, k, n)).astype(dtype), layouts[1])
    bias = rng.uniform(-1, 1, n).astype(dtype) if with_bias else None
    old = rng.uniform(-1, 1, (batch, m, n)).astype(dtype)
    c = old.copy() if beta else np.full_like(old, np.nan)
    gemm(a, b, c, bias, beta, floor)
    expected = np.matmul(a.astype(np.float64), b.astype(np.float64)) + beta * old + (0 if bias is None else bias)
    np.testing.assert_allclose(c, np.maximum(expected, floor), rtol=0, atol=TOLERANCE[dtype] * (k + 1) ** 0.5)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (1, 1000, 700),
        (900, 1, 800),
        (150, 40, 1500),
        (1100, 600, 1030),
        (33, 513, 1024),
        (2, 2048, 1024),
        (64, 300, 1500),
        (70, 1000, 33),
    ],
)
@pytest.mark.parametrize("kind", ["NN", "NT", "TN", "TT"])
def test_large_products_are_blocked_and_packed_right(m, n, k, kind, dtype):
    rng = np.random.default_rng(0)
    a = laid_out(rng.uniform(-1, 1, (m, k)).astype(dtype), "transposed" if kind[0] == "T" else "contiguous")
    b = laid_out(rng.uniform(-1, 1, (k, n)).astype(dtype), "transposed" if kind[1] == "T" else "contiguous")
    bias = rng.uniform(-1, 1, n).astype(dtype)
    c = np.full((m, n), np.nan, dtype)
    gemm(a, b, c, bias)
    expected = a.astype(np.float64) @ b.astype(np.float64) + bias
    np.testing.assert_allclose(c, expected, rtol=0, atol=TOLERANCE[dtype] * k**0.5)


@pytest.mark.parametrize(
    "sizes", [(1, 900, 2000), (1, 3333, 1000), (700, 1, 3000), (64, 784, 256), (500, 300, 1200), (3, 70, 9000)]
)
def test_bits_do_not_depend_on_the_number_of_threads(sizes):
    m, n, k = sizes
    rng = np.random.default_rng(1)
    before = threads.get_num_threads()
    try:
        for turned in (False, True):
            a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
            if turned:
                a, b = laid_out(a, "transposed"), laid_out(b, "transposed")
            results = []
            for count in (1, 2, 3, 4, 7):
                threads.set_num_threads(count)
                results.append(np.empty((m, n), np.float32))
                gemm(a, b, results[-1], np.ones(n, np.float32))
            assert all(np.array_equal(results[0], result) for result in results)
    finally:
        threads.set_num_threads(before)


@pytest.mark.parametrize(("m", "n"), [(1, 5), (5, 1), (5, 7), (20, 40)])
def test_infinity_and_nan_spread_as_in_the_definition(m, n):
    for position, value in ((0, np.inf), (2, np.nan)):
        a, b = np.ones((m, 4), np.float32), np.zeros((4, n), np.float32)
        a[0, position] = value
        c = np.zeros((m, n), np.float32)
        gemm(a, b, c, floor=0.0)
        assert np.isnan(c[0]).all()  # infinity times zero too
        assert (c[1:] == 0).all()


def test_the_result_of_beta_zero_ignores_what_was_there():
    for m, n in ((1, 9), (9, 1), (9, 9), (30, 33)):
        c = np.full((m, n), np.nan, np.float32)
        gemm(np.ones((m, 0), np.float32), np.ones((0, n), np.float32), c, np.full(n, 2, np.float32))
        assert (c == 2).all()


def test_blocks_of_a_row_are_multiples_of_a_grain():
    for count in (1, 2, 3, 5):
        assert plan_blocks(1, 1, 5000, 4000, 4000, 1, 5000, 1, 1, 4, count).block_columns % GRAIN == 0


def test_the_cuda_twin_agrees():
    rng = np.random.default_rng(2)
    with simt.target():
        for m, n, k in ((3, 5, 7), (65, 2, 17), (1, 70, 3), (4, 1, 20), (2, 3, 0)):
            for layout in ("contiguous", "transposed"):
                a = laid_out(rng.uniform(-1, 1, (2, m, k)).astype(np.float32), layout)
                b = laid_out(rng.uniform(-1, 1, (2, k, n)).astype(np.float32), layout)
                bias = rng.uniform(-1, 1, n).astype(np.float32)
                c = np.ones((2, m, n), np.float32)
                gemm(a, b, c, bias, 0.5, 0.0)
                expected = np.maximum(np.matmul(a, b) + bias + np.float32(0.5), 0)
                np.testing.assert_allclose(c, expected, atol=1e-5)


_ON_ANOTHER_CPU = """
import numpy as np
from nbdl.runtime.gemm import gemm
from nbdl.runtime.gemm.vector import GRAIN
from nbdl.runtime.simd import vector_unit
rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    for m, n, k in ((1, 30, 40), (40, 1, 30), (7, 5, 9), (50, 70, 30), (130, 33, 300)):
        for turn in (False, True):
            a, b = rng.uniform(-1, 1, (m, k)).astype(dtype), rng.uniform(-1, 1, (k, n)).astype(dtype)
            if turn:
                a, b = np.asfortranarray(a), np.asfortranarray(b)
            c = np.empty((m, n), dtype)
            gemm(a, b, c, np.ones(n, dtype), 0.0, 0.0)
            assert np.abs(c - np.maximum(a @ b + 1, 0)).max() < (1e-4 if dtype is np.float32 else 1e-12)
print(vector_unit().name)
"""


@pytest.mark.parametrize(("cpu", "unit"), [("haswell", AVX2), ("generic", PORTABLE), ("x86-64-v4", AVX512)])
def test_named_cpus_get_their_own_tiles(cpu, unit):
    if vector_unit() is not AVX512:
        pytest.skip("needs a processor that runs the code of all three")
    environment = {**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ""}
    done = subprocess.run([sys.executable, "-c", _ON_ANOTHER_CPU], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == unit.name


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [15, 16, 17, 31, 32, 33, 47, 63])
def test_nothing_is_written_beyond_the_last_row(n, dtype):
    m, k = 40, 37
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (m, k)).astype(dtype), rng.uniform(-1, 1, (n, k)).astype(dtype)
    guarded = np.full(m * n + 64, 7, dtype)
    c = guarded[: m * n].reshape(m, n)
    gemm(a, b.T, c)  # depth is no multiple of a vector: the rest of B's columns is packed one by one
    np.testing.assert_allclose(c, a.astype(np.float64) @ b.T.astype(np.float64), rtol=0, atol=TOLERANCE[dtype] * 7)
    assert (guarded[m * n :] == 7).all()
