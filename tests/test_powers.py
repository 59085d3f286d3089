"""Powers: accuracy over the whole range, special values, gradients, equal bits everywhere."""

import numpy as np
import pytest
from numba import njit

import nbdl
from nbdl.runtime.jit import FASTMATH
from nbdl.runtime.powers import power

DTYPES = [np.float32, np.float64]
LARGEST_ERROR = 0.85
"""Units in the last place; measured: 0.77, at a subnormal result."""


@njit(fastmath=FASTMATH, error_model="numpy")
def apply(a, b, y):
    for i in range(a.size):
        y[i] = power(a[i], b[i])


def evaluate(a, b):
    y = np.empty_like(a)
    apply(a, b, y)
    return y


def drawn(kind, dtype):
    """Bases, and exponents that bring the power anywhere in the range of the format, and a little beyond."""
    rng, size = np.random.default_rng(0), 100_000
    limits = np.finfo(dtype)
    if kind == "integers":
        return rng.integers(1, 20, size).astype(dtype), rng.integers(-6, 7, size).astype(dtype)
    a = {
        "near one": lambda: 1 + rng.uniform(-1e-3, 1e-3, size),
        "one octave": lambda: rng.uniform(0.6, 1.5, size),
        "every size": lambda: np.exp2(rng.uniform(limits.minexp, limits.maxexp, size)),
        "subnormal": lambda: rng.uniform(1, 4000, size) * limits.smallest_subnormal,
    }[kind]().astype(dtype)
    a = a[a != 1]
    reach = 1.05 * -float(np.log2(limits.smallest_subnormal))
    return a, (rng.uniform(-reach, reach, a.size) / np.log2(a.astype(np.float64))).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["integers", "near one", "one octave", "every size", "subnormal"])
def test_accuracy(kind, dtype):
    a, b = drawn(kind, dtype)
    y = evaluate(a, b)
    with np.errstate(all="ignore"):
        exact = np.power(a.astype(np.longdouble), b.astype(np.longdouble))
        rounded = exact.astype(dtype)
        error = (np.abs(y - exact) / np.spacing(rounded))[np.isfinite(rounded)]
    np.testing.assert_array_equal(np.isinf(y), np.isinf(rounded))
    assert error.max() <= LARGEST_ERROR
    if kind == "integers":
        np.testing.assert_array_equal(y[b >= 0], rounded[b >= 0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values(dtype):
    limits = np.finfo(dtype)
    whole = [1, 2, 3, 7, 33, 0.5 / limits.eps + 0.5, 1 / limits.eps + 1, 2 / limits.eps - 1, 2 / limits.eps + 2]
    sizes = [
        0, 0.5, 1.5, 1e-30, 1e30, *whole, limits.smallest_subnormal, limits.tiny, limits.max, 1 + limits.eps,
        1 - limits.epsneg, np.inf,
    ]  # fmt: skip
    values = np.array([*sizes, *(-np.array(sizes)), np.nan], dtype)
    a, b = (x.ravel() for x in np.meshgrid(values, values))
    y = evaluate(a, b)
    with np.errstate(all="ignore"):
        expected = np.power(a, b)
    special = ~np.isfinite(expected) | (expected == 0) | (np.abs(a) == 1) | (b == 0)
    np.testing.assert_array_equal(y[special], expected[special])
    np.testing.assert_allclose(y, expected, 3 * limits.eps, 2 * limits.smallest_subnormal)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(y[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients(dtype):
    """Of both operands by one kernel, of one alone by another: the same bits, and those of the definition."""
    rng = np.random.default_rng(1)
    a, b, dy = rng.uniform(0.01, 8, 5000), rng.uniform(-6, 6, 5000), rng.standard_normal(5000)
    a, b, dy = (x.astype(dtype) for x in (a, b, dy))
    grads = []
    for wants in ((True, True), (True, False), (False, True)):
        tensors = [nbdl.tensor(x, requires_grad=wanted) for x, wanted in zip((a, b), wants, strict=True)]
        nbdl.pow(*tensors).backward(nbdl.tensor(dy))
        grads.append([tensor.grad for tensor in tensors])
    np.testing.assert_array_equal(grads[0][0], grads[1][0])
    np.testing.assert_array_equal(grads[0][1], grads[2][1])
    a, b, dy = (x.astype(np.longdouble) for x in (a, b, dy))
    np.testing.assert_allclose(grads[0][0], dy * b * a ** (b - 1), 16 * np.finfo(dtype).eps)
    np.testing.assert_allclose(grads[0][1], dy * a**b * np.log(a), 8 * np.finfo(dtype).eps)


def test_gradients_of_repeated_operands():
    a, b = nbdl.rand(3, 1) + 0.5, nbdl.randn(1, 4)
    whole = [x.expand(3, 4).clone().requires_grad_() for x in (a, b)]
    (whole[0] ** whole[1]).sum().backward()
    a, b = a.requires_grad_(), b.requires_grad_()
    (a**b).sum().backward()
    np.testing.assert_allclose(a.grad, whole[0].grad.sum(1, keepdim=True), 1e-6)
    np.testing.assert_allclose(b.grad, whole[1].grad.sum(0, keepdim=True), 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_depend_on_the_elements_alone(dtype):
    rng = np.random.default_rng(2)
    a, b = rng.uniform(0.01, 9, 200_003).astype(dtype), rng.uniform(-9, 9, 200_003).astype(dtype)
    expected = evaluate(a, b)
    alone = np.array([evaluate(a[i : i + 1], b[i : i + 1])[0] for i in range(50)])
    np.testing.assert_array_equal(alone, expected[:50])
    threads = nbdl.get_num_threads()
    try:
        for count in (1, 2, 3):
            nbdl.set_num_threads(count)
            x = nbdl.tensor(a)
            np.testing.assert_array_equal(x ** nbdl.tensor(b), expected)
            np.testing.assert_array_equal(x.pow_(nbdl.tensor(b)), expected)
    finally:
        nbdl.set_num_threads(threads)
