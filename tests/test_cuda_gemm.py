"""Products on CUDA, in the interpreter: large tiles, tensor cores, odd sizes, transpositions, any order of warps."""

import numpy as np
import pytest

from nbdl.runtime import arrays, halves
from nbdl.runtime.cuda.tensor import multiply_tf32, to_tf32
from nbdl.runtime.cuda.vectors import load4, load_words, store4, store_words
from nbdl.runtime.gemm import product
from nbdl.runtime.gemm.tiles import SIDE
from nbdl.runtime.jit import cuda, cuda_kernel
from nbdl.testing import simt

pytestmark = pytest.mark.simt

KERNELS = {
    "large": (product.gemm_large_kernel, np.float32, 2e-6),
    "tf32": (product.gemm_tf32_kernel, np.float32, 4e-3),
    "float16": (product.gemm_word_kernels["float16"], np.uint16, 2e-3),
    "bfloat16": (product.gemm_word_kernels["bfloat16"], np.uint16, 1.6e-2),
}

WORDS = {
    "float16": (halves.to_float16.py_func, halves.from_float16.py_func),
    "bfloat16": (halves.to_bfloat16.py_func, halves.from_bfloat16.py_func),
}


def words(values, name):
    return np.array([WORDS[name][0](value) for value in values.ravel()], np.uint16).reshape(values.shape)


def numbers(values, name):
    if values.dtype != np.uint16:
        return values
    return np.array([WORDS[name][1](value) for value in values.ravel()], np.float32).reshape(values.shape)


def run(
    name, m, n, k, a_turned, b_turned, batch=1, bias=False, beta=0.0, floor=-np.inf, offset=0, seed=None, races=True
):
    """The product of drawn matrices by a kernel, and in float64 with the same (rounded) operands."""
    kernel, dtype, _ = KERNELS[name]
    rng = np.random.default_rng(3)
    drawn = [
        rng.standard_normal((batch, rows, columns)).astype(np.float32) for rows, columns in ((m, k), (k, n), (m, n))
    ]
    a, b, c = [words(values, name) if dtype is np.uint16 else values for values in drawn]
    added = rng.standard_normal(n if bias else 0).astype(np.float32)
    wanted = beta * numbers(c, name).astype(np.float64) + numbers(a, name).astype(np.float64) @ numbers(b, name)
    wanted = np.maximum(wanted + (added if bias else 0), floor)
    flat_a, flat_b = (
        np.concatenate([np.zeros(offset, dtype), _turned(x, t).ravel()])[offset:]
        for x, t in ((a, a_turned), (b, b_turned))
    )
    sizes = (
        *(batch, m, n, k, m * k, *((1, m) if a_turned else (k, 1)), k * n, *((1, k) if b_turned else (n, 1))),
        *(n, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0),
    )
    arguments = (
        flat_a,
        flat_b,
        c.ravel(),
        added,
        np.zeros((1, 0), np.float32),
        np.array(sizes),
        np.float32(beta),
        np.float32(floor),
    )
    result = arguments[2]
    simt.launch(kernel.cuda, kernel.blocks(*arguments), kernel.threads, *arguments, races=races, seed=seed)
    return numbers(result, name).reshape(batch, m, n), wanted


def _turned(x, turned):
    return np.ascontiguousarray(x.transpose(0, 2, 1)) if turned else x


CASES = [
    ("large", dict(m=5, n=7, k=9, a_turned=False, b_turned=False)),
    ("large", dict(m=9, n=132, k=17, a_turned=True, b_turned=True, bias=True, beta=0.5, seed=1)),
    ("large", dict(m=12, n=8, k=16, a_turned=False, b_turned=True, batch=2, floor=0.0)),
    ("large", dict(m=12, n=8, k=16, a_turned=True, b_turned=False, offset=1)),
    ("tf32", dict(m=20, n=9, k=17, a_turned=False, b_turned=False, bias=True, seed=2)),
    ("tf32", dict(m=8, n=12, k=20, a_turned=True, b_turned=True)),
    ("float16", dict(m=17, n=11, k=33, a_turned=False, b_turned=True, bias=True, floor=0.0)),
    ("float16", dict(m=16, n=24, k=40, a_turned=True, b_turned=False, seed=3)),
    ("bfloat16", dict(m=70, n=33, k=3, a_turned=False, b_turned=False)),
    ("bfloat16", dict(m=8, n=16, k=64, a_turned=False, b_turned=True, beta=1.0, seed=4)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}-{at}" for at, (name, _) in enumerate(CASES)])
def test_products_in_tiles(name, case):
    got, wanted = run(name, **case)
    tolerance = KERNELS[name][2]
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * np.sqrt(case["k"]))


def test_the_rule_that_chooses_a_kernel():
    def chosen(m, n, dtype=np.float32, batch=1, rounded=False):
        return product.choose_on_cuda(batch, m, n, np.dtype(dtype), rounded)

    assert chosen(4096, 4096) is product.gemm_large_kernel
    assert chosen(4096, 4096, rounded=True) is product.gemm_tf32_kernel
    assert chosen(4096, 4096, np.float64, rounded=True) is product.gemm_kernel
    assert chosen(100000, SIDE // 2) is product.gemm_kernel
    assert chosen(512, 512) is product.gemm_kernel
    assert chosen(512, 512, batch=8) is product.gemm_large_kernel


# ---------------------------------------------------------------- pieces of 16 bytes, products of a warp


@cuda_kernel
def copied(x, y):
    at = cuda.threadIdx.x * 4
    a, b, c, d = load4(x, at)
    store4(y, at, d, c, b, a)


@cuda_kernel
def copied_words(x, y):
    at = cuda.threadIdx.x * 8
    a, b, c, d = load_words(x, (0, at))
    store_words(y, (1, at), a, b, c, d)


def test_pieces_of_16_bytes():
    x, y = np.arange(16, dtype=np.float32), np.zeros(16, np.float32)
    simt.launch(copied, 1, 4, x, y)
    np.testing.assert_array_equal(y.reshape(4, 4), x.reshape(4, 4)[:, ::-1])
    x, y = np.arange(32, dtype=np.uint16).reshape(2, 16), np.zeros((2, 16), np.uint16)
    simt.launch(copied_words, 1, 2, x, y)
    np.testing.assert_array_equal(y[1], x[0])


def test_a_piece_that_starts_elsewhere_is_an_error():
    x, y = np.zeros(17, np.float32), np.zeros(16, np.float32)
    with pytest.raises(simt.SimtError, match=r"copied, block 0, thread 0: 4 elements of x from \[0\] on"):
        simt.launch(copied, 1, 4, x[1:], y)
    with pytest.raises(simt.BoundsError):
        simt.launch(copied, 1, 5, x, y)
    with pytest.raises(simt.RaceError):
        simt.launch(copied, 2, 4, x, y)


@pytest.mark.parametrize(("size", "offset"), [(1, 0), (8, 0), (519, 0), (518, 1)])
def test_sums_of_arrays(size, offset):
    """Gradients that meet: whole pieces, an end that is none, a view that begins between two."""
    a, b = (np.arange(start, start + size + offset, dtype=np.float32)[offset:] for start in (0, 7))
    total = np.full(size + 1, 9, np.float32)
    blocks = arrays.add.blocks(a, b, total[:-1])
    simt.launch(arrays.add.cuda, blocks, arrays.add.threads, a, b, total[:-1], seed=size)
    np.testing.assert_array_equal(total, [*(a + b), 9])


@cuda_kernel
def warp_product(a, b, c):
    lane = cuda.threadIdx.x
    group, place = lane // 4, lane % 4
    c[group, 2 * place], c[group, 2 * place + 1], c[group + 8, 2 * place], c[group + 8, 2 * place + 1] = (
        multiply_tf32(
            to_tf32(a[group, place]), to_tf32(a[group + 8, place]),
            to_tf32(a[group, place + 4]), to_tf32(a[group + 8, place + 4]),
            to_tf32(b[place, group]), to_tf32(b[place + 4, group]),
            c[group, 2 * place], c[group, 2 * place + 1], c[group + 8, 2 * place], c[group + 8, 2 * place + 1],
        )
    )  # fmt: skip


@cuda_kernel
def product_of_some(a, b, c):
    if cuda.threadIdx.x < 16:
        one = to_tf32(a[0, 0])
        c[0, 0], c[0, 1], c[1, 0], c[1, 1] = multiply_tf32(
            one, one, one, one, one, one, c[0, 0], c[0, 1], c[1, 0], c[1, 1]
        )


def test_products_of_a_warp():
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((16, 8), (8, 8), (16, 8)))
    wanted = a @ b + c
    simt.launch(warp_product, 1, 32, a, b, c)
    np.testing.assert_array_equal(c, wanted)
    with pytest.raises(simt.BarrierError, match=r"multiply_tf32 .* threads 16, 17"):
        simt.launch(product_of_some, 1, 32, a, b, c)


def test_tf32_keeps_ten_bits():
    one, step = np.float32(1), np.float32(2**-10)
    for value, kept in ((one, one), (one + step, one + step), (one + step / 2, one + step), (one + step / 4, one)):
        assert np.uint32(to_tf32(value)).view(np.float32) == kept
    assert np.isnan(np.uint32(to_tf32(np.float32(np.nan))).view(np.float32))


# ---------------------------------------------------------------- numbers of 16 bits


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_words_of_16_bits(name):
    encode, decode = WORDS[name]
    with np.errstate(invalid="ignore"):
        for word in range(0, 1 << 16, 7):
            value = decode(np.uint16(word))
            assert np.isnan(value) or encode(value) == word
    if name == "bfloat16":  # halves go to the even neighbour
        assert [encode(np.float32(1 + at * 2**-8)) for at in (1, 2, 3, 5)] == [0x3F80, 0x3F81, 0x3F82, 0x3F82]
    if name == "float16":
        for value in np.float32([1e-8, 6e-8, 3e-5, 0.1, 65519, 65520, -1e9, 2049, 2051]):
            with np.errstate(over="ignore"):
                assert encode(value) == np.float16(value).view(np.uint16)
    assert np.isnan(decode(encode(np.float32(np.nan))))
