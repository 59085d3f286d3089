"""Reductions beyond the properties of their rows: dtypes, memory layouts, accuracy, special values, PyTorch's ways."""

import itertools
import math

import numpy as np
import pytest

import nbdl
from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.ops.reduction.arrangement import arrange
from nbdl.runtime.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4, 5, 6))
LAYOUTS = {
    "contiguous": X,
    "transposed": X.transpose(1, 0, 3, 2),
    "fortran": np.asfortranarray(X),
    "strided": X[::2, :, ::-1],
    "broadcast": np.broadcast_to(X[:1], X.shape),
}
DIMS = (None, 0, -1, (0, 1), (0, 2), (1, 3), (0, 2, 3), (-1, -3))

# ---------------------------------------------------------------- arrangement


@pytest.mark.parametrize("x", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("dims", [(0,), (3,), (1, 2), (0, 2), (0, 1, 2, 3), ()])
def test_an_arrangement_finds_every_element_again(x, dims):
    lines, arrangement = arrange(x, dims)
    assert lines.flags.c_contiguous
    assert np.array_equal(arrangement.full(lines), x)
    shape = tuple(n for axis, n in enumerate(x.shape) if axis not in dims)
    first = arrangement.reduced(np.ascontiguousarray(lines[:, 0]), keepdim=False)
    assert first.shape == shape
    assert np.array_equal(first, x[tuple(0 if axis in dims else slice(None) for axis in range(4))])
    assert np.array_equal(arrangement.flat(first, keepdim=False), lines[:, 0])


def test_dense_memory_is_not_copied():
    x = np.zeros((2, 3, 4, 5)).transpose(0, 2, 3, 1)
    for dims in ((3,), (1, 2), (0,)):
        assert np.shares_memory(arrange(x, dims)[0], x), dims


# ---------------------------------------------------------------- accuracy


def test_the_error_of_ten_million_numbers_is_bounded():
    x = np.random.default_rng(1).random(10_000_000, dtype=np.float32)
    exact = math.fsum(x.tolist())
    bound = 2058 * np.finfo(np.float32).eps / 2 * exact
    assert abs(ops.sum(Tensor(x)).item() - exact) <= bound
    assert abs(ops.sum(Tensor(x.reshape(-1, 8)), 0).numpy().sum(dtype=np.float64) - exact) <= bound
    assert abs(ops.mean(Tensor(x)).item() - exact / x.size) <= bound / x.size


def test_equal_elements_deviate_by_nothing():
    x = nbdl.full((3, 7), 0.1, requires_grad=True)
    y = ops.std(x, 1)
    y.backward(nbdl.ones(3))
    assert np.array_equal(y.detach().numpy(), np.zeros(3))
    assert np.array_equal(x.grad.numpy(), np.zeros((3, 7)))


def test_variance_of_a_large_mean_keeps_its_digits():
    x = np.array([1e6 + 1, 1e6 + 2, 1e6 + 3], np.float32)
    assert ops.var(Tensor(x)).item() == 1.0


# ---------------------------------------------------------------- dtypes


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int32", "int64"])
def test_integers_add_up_as_int64(dtype):
    x = np.array([[1, 0, 1], [1, 1, 1]]).astype(dtype)
    for function in (ops.sum, ops.prod, ops.nansum):
        assert function(Tensor(x), 1).dtype == np.int64
    assert ops.sum(Tensor(x)).item() == 5
    assert ops.prod(Tensor(x), 1).tolist() == [0, 1]
    for function in (ops.amax, ops.amin):
        assert function(Tensor(x), 1).dtype == x.dtype
    assert ops.max(Tensor(x), 1).values.dtype == x.dtype
    assert ops.all(Tensor(x), 1).dtype == (np.uint8 if dtype == "uint8" else np.bool_)
    with pytest.raises(DTypeError, match="input"):
        ops.mean(Tensor(x))


def test_large_integers_are_added_exactly():
    x = np.array([2**53, 1, 1], np.int64)
    assert ops.sum(Tensor(x)).item() == 2**53 + 2
    assert ops.amax(Tensor(np.array([2**53, 2**53 + 1]))).item() == 2**53 + 1


def test_the_dtype_to_add_in():
    x = Tensor(np.array([1.5, 2.5], np.float32), requires_grad=True)
    for function in (ops.sum, ops.mean, ops.prod, ops.nansum, ops.norm, ops.vector_norm):
        y = function(x, dtype=nbdl.float64)
        assert y.dtype == np.float64
        y.backward()
        assert x.grad.dtype == np.float32
    assert ops.sum(x, dtype=nbdl.int64).item() == 3
    assert ops.mean(Tensor(np.array([1, 2])), dtype=nbdl.float32).item() == 1.5


# ---------------------------------------------------------------- special values


def test_nan_is_not_lost():
    x = Tensor(np.array([[1.0, np.nan, 3.0], [np.nan, 5.0, np.nan]]))
    for function in (ops.amax, ops.amin, ops.sum, ops.prod, ops.logsumexp):
        assert np.isnan(function(x, 1).numpy()).all()
    for function in (ops.max, ops.min):
        assert function(x, 1).indices.tolist() == [1, 0]
    assert ops.argmax(x).item() == 1
    assert ops.nansum(x, 1).tolist() == [4.0, 5.0]
    assert ops.count_nonzero(x).item() == 6
    assert ops.all(x).item() is True


def test_over_no_elements():
    empty = nbdl.zeros(0, 3)
    assert ops.sum(empty, 0).tolist() == [0.0] * 3
    assert ops.prod(empty, 0).tolist() == [1.0] * 3
    assert np.isnan(ops.mean(empty, 0).numpy()).all()
    assert ops.logsumexp(empty, 0).tolist() == [-math.inf] * 3
    assert ops.all(empty, 0).tolist() == [True] * 3
    assert ops.any(empty, 0).tolist() == [False] * 3
    assert ops.amax(empty, 1).shape == (0,)
    for function in (ops.amax, ops.amin, ops.argmax, ops.max):
        with pytest.raises(ShapeError, match="dimension 0"):
            function(empty, 0)
    with pytest.raises(ShapeError):
        ops.max(empty)


@pytest.mark.parametrize("function", [ops.sum, ops.mean, ops.amax, ops.logsumexp, ops.norm])
def test_a_tensor_of_no_dimensions(function):
    x = nbdl.tensor(2.0, requires_grad=True)
    y = function(x)
    assert y.shape == ()
    y.backward()
    assert x.grad.item() == 1.0
    assert ops.max(x, 0).indices.item() == 0
    assert ops.argmax(x, 0).item() == 0


def test_equal_extremes_share_the_gradient():
    x = nbdl.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], requires_grad=True)
    ops.amax(x, 1).backward(nbdl.tensor([6.0, 6.0]))
    assert x.grad.tolist() == [[0.0, 3.0, 3.0], [2.0, 2.0, 2.0]]
    x.grad = None
    ops.max(x, 1).values.backward(nbdl.tensor([6.0, 6.0]))
    assert x.grad.tolist() == [[0.0, 6.0, 0.0], [6.0, 0.0, 0.0]]
    x.grad = None
    ops.max(x).backward()
    assert x.grad.tolist() == [[0.0, 0.5, 0.5], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("x", "gradient"),
    [
        ([2.0, 3.0, 4.0], [12.0, 8.0, 6.0]),
        ([2.0, 0.0, 4.0], [0.0, 8.0, 0.0]),
        ([0.0, 0.0, 4.0], [0.0, 0.0, 0.0]),
    ],
)
def test_products_with_zeros(x, gradient):
    tensor = nbdl.tensor(x, requires_grad=True)
    ops.prod(tensor).backward()
    assert tensor.grad.tolist() == gradient


def test_the_second_tensor_of_max_and_min():
    a, b = nbdl.tensor([1.0, 4.0]), nbdl.tensor([3.0, 2.0])
    assert ops.max(a, b).tolist() == ops.max(a, other=b).tolist() == a.max(b).tolist() == [3.0, 4.0]
    assert ops.min(a, b).tolist() == [1.0, 2.0]


def test_arguments_are_named_in_errors():
    x = nbdl.zeros(2, 3)
    with pytest.raises(IndexRangeError, match=r"dim: expected a dimension in \[-2, 1\], got 5"):
        x.sum(5)
    with pytest.raises(ArgumentError, match="dim: expected each dimension once"):
        x.amax((0, -2))


# ---------------------------------------------------------------- PyTorch


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")


def same(torch, ours, theirs, x):
    """Results and gradients agree with PyTorch's."""
    a = Tensor(x, requires_grad=x.dtype.kind == "f")
    b = torch.from_numpy(np.ascontiguousarray(x)).requires_grad_(x.dtype.kind == "f")
    y, wanted = ours(a), theirs(b)
    assert y.shape == tuple(wanted.shape)
    assert str(y.dtype) == str(wanted.dtype).removeprefix("torch.")
    np.testing.assert_allclose(y.detach().numpy(), wanted.detach().numpy(), rtol=1e-10, atol=1e-12)
    if wanted.requires_grad:
        cotangent = np.asarray(np.random.default_rng(2).standard_normal(y.shape))
        y.backward(Tensor(cotangent))
        wanted.backward(torch.from_numpy(cotangent))
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parity
@pytest.mark.parametrize("x", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("name", ["sum", "mean", "nansum", "amax", "amin", "logsumexp", "all", "any"])
def test_reductions_as_in_pytorch(torch, name, x):
    for dim, keepdim in itertools.product(DIMS, (False, True)):
        every = tuple(range(x.ndim)) if dim is None else dim
        same(
            torch,
            lambda a, dim=dim, keepdim=keepdim: getattr(ops, name)(a, dim, keepdim),
            lambda b, every=every, keepdim=keepdim: getattr(torch, name)(b, every, keepdim),
            x,
        )


@pytest.mark.parity
@pytest.mark.parametrize("x", LAYOUTS.values(), ids=LAYOUTS)
def test_moments_as_in_pytorch(torch, x):
    for dim, correction, name in itertools.product(DIMS, (0, 1, 2.5), ("var", "std")):
        if x is LAYOUTS["broadcast"] and name == "std":
            continue  # equal elements: the root has no derivative
        same(
            torch,
            lambda a, dim=dim, c=correction, name=name: getattr(ops, name)(a, dim, correction=c),
            lambda b, dim=dim, c=correction, name=name: getattr(torch, name)(b, dim, correction=c),
            x,
        )
    same(torch, lambda a: ops.var(a, False), lambda b: torch.var(b, False), x)
    same(torch, lambda a: ops.var_mean(a, 1)[1], lambda b: torch.var_mean(b, 1)[1], x)


@pytest.mark.parity
@pytest.mark.parametrize("order", [2, 1, 3, 1.5, 0.5, -1, math.inf, -math.inf])
def test_norms_as_in_pytorch(torch, order):
    for x, dim, keepdim in itertools.product(LAYOUTS.values(), DIMS, (False, True)):
        same(
            torch,
            lambda a, dim=dim, keepdim=keepdim: ops.norm(a, order, dim, keepdim),
            lambda b, dim=dim, keepdim=keepdim: torch.linalg.vector_norm(b, order, dim, keepdim),
            x,
        )


@pytest.mark.parity
@pytest.mark.parametrize("dtype", ["float64", "int32", "bool"])
def test_extremes_as_in_pytorch(torch, dtype):
    for x in LAYOUTS.values():
        ties = (np.round(x) > 0 if dtype == "bool" else np.round(x)).astype(dtype)
        for name, dim, keepdim in itertools.product(("max", "min"), range(-4, 4), (False, True)):
            for part in ("values", "indices"):
                same(
                    torch,
                    lambda a, n=name, d=dim, k=keepdim, p=part: getattr(getattr(ops, n)(a, d, k), p),
                    lambda b, n=name, d=dim, k=keepdim, p=part: getattr(getattr(torch, n)(b, d, k), p),
                    ties,
                )
        same(torch, ops.max, torch.max, ties)
        if dtype != "bool":
            same(torch, ops.argmin, torch.argmin, ties)
