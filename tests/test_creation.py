"""Tensors from data, of one value, along a line, and random ones."""

import math

import numpy as np
import pytest

import nbdl

# ---------------------------------------------------------------- from data


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (2.5, "float32", ()),
        ([1, 2], "int64", (2,)),
        ([1, 2.5], "float32", (2,)),
        ([[True], [False]], "bool", (2, 1)),
        ([], "float32", (0,)),
        ([[], []], "float32", (2, 0)),
        (np.ones(2), "float64", (2,)),
        (np.float64(1), "float64", ()),
        (np.arange(3, dtype=np.uint8), "uint8", (3,)),
        (((1, 2), (3, 4)), "int64", (2, 2)),
    ],
)
def test_tensor_infers_dtype_and_shape(data, dtype, shape):
    tensor = nbdl.tensor(data)
    assert tensor.dtype == np.dtype(dtype) and tensor.shape == shape


def test_tensor_of_tensors_and_dtypes():
    assert nbdl.tensor([nbdl.tensor(1.0), 2.0]).tolist() == [1, 2]
    assert nbdl.tensor([1.9, -1.9], dtype=nbdl.int64).tolist() == [1, -1]
    assert nbdl.tensor([0, 2], dtype="bool").tolist() == [False, True]
    assert nbdl.tensor(1.0, requires_grad=True).requires_grad
    assert nbdl.tensor(1e300).item() == math.inf and nbdl.tensor([1], dtype=float).dtype == nbdl.float64


def test_tensor_copies_and_as_tensor_shares():
    array = np.zeros(2, np.float32)
    copied, shared, same = nbdl.tensor(array), nbdl.as_tensor(array), nbdl.from_numpy(array)
    array[0] = 5
    assert copied.tolist() == [0, 0] and shared.tolist() == same.tolist() == [5, 0]
    assert nbdl.as_tensor(shared) is shared and nbdl.as_tensor(array, dtype="float64").dtype == nbdl.float64
    locked = np.zeros(2, np.float32)
    locked.flags.writeable = False
    nbdl.from_numpy(locked).add_(1)
    assert locked.tolist() == [0, 0]
    exchanged = nbdl.from_dlpack(np.ones(3))
    assert exchanged.tolist() == [1, 1, 1] and np.from_dlpack(exchanged).tolist() == [1, 1, 1]
    assert nbdl.tensor(np.ones(2, ">f8")).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([[1], [1, 2]], nbdl.ShapeError),
        ("a", nbdl.DTypeError),
        ([None], nbdl.DTypeError),
        ([2**70], nbdl.DTypeError),
        (1j, nbdl.DTypeError),
        (np.zeros(2, np.complex64), nbdl.DTypeError),
        (np.zeros(2, np.longdouble), nbdl.DTypeError),
    ],
)
def test_tensor_refuses(data, error):
    with pytest.raises(error, match="data"):
        nbdl.tensor(data)


def test_from_numpy_refuses_lists():
    with pytest.raises(nbdl.ArgumentTypeError, match="ndarray"):
        nbdl.from_numpy([1])


# ---------------------------------------------------------------- of one value


def test_shapes_are_given_in_three_ways():
    for tensor in (nbdl.zeros(2, 3), nbdl.zeros((2, 3)), nbdl.zeros(size=(2, 3)), nbdl.zeros([2, 3])):
        assert tensor.shape == (2, 3) and not tensor.numpy().any()
    assert nbdl.zeros(()).shape == () == nbdl.zeros(size=()).shape and nbdl.ones(0, 3).shape == (0, 3)
    with pytest.raises(nbdl.ShapeError, match="size"):
        nbdl.zeros(-1)
    with pytest.raises(nbdl.ArgumentTypeError, match="size"):
        nbdl.ones(2.5)
    with pytest.raises(TypeError):
        nbdl.ones(2, colour="red")


def test_values_and_dtypes():
    assert nbdl.full((2,), 3).dtype == nbdl.int64 and nbdl.full((2,), True).dtype == nbdl.bool
    assert nbdl.full((2,), 2.5).tolist() == [2.5, 2.5] and nbdl.ones(2, dtype=nbdl.int32).dtype == nbdl.int32
    assert nbdl.empty(2, 3, dtype=nbdl.float64).dtype == nbdl.float64 and nbdl.ones(1, requires_grad=True).is_leaf
    assert np.array_equal(nbdl.eye(2, 3).numpy(), np.eye(2, 3)) and nbdl.eye(0).shape == (0, 0)
    with pytest.raises(nbdl.DTypeError, match="requires_grad"):
        nbdl.ones(2, dtype="int64", requires_grad=True)
    with pytest.raises(nbdl.ArgumentTypeError, match="fill_value"):
        nbdl.full((2,), "x")


def test_like_and_new():
    x = nbdl.ones(2, 3, dtype="float64")
    for like in (nbdl.zeros_like(x), nbdl.ones_like(x), nbdl.empty_like(x), nbdl.rand_like(x), nbdl.randn_like(x)):
        assert like.shape == x.shape and like.dtype == x.dtype
    assert nbdl.full_like(x, 4).tolist() == [[4.0] * 3] * 2 and nbdl.zeros_like(x, dtype="int64").dtype == nbdl.int64
    assert x.new_zeros(2).dtype == x.new_full((1,), 2).dtype == x.new_tensor([1]).dtype == nbdl.float64
    assert x.new_ones((2, 1)).tolist() == [[1], [1]] and x.new_empty(3).shape == (3,)


# ---------------------------------------------------------------- along a line


@pytest.mark.parametrize("bounds", [(5,), (2, 7), (1, 7, 2), (0, 1, 0.1), (-1, 1, 0.3), (10, 0, -3), (0, 0), (2.5,)])
def test_arange(bounds):
    tensor, expected = nbdl.arange(*bounds), np.arange(*bounds)
    assert np.allclose(tensor.numpy(), expected, atol=1e-6) and tensor.shape == expected.shape
    assert tensor.dtype == (nbdl.int64 if all(isinstance(b, int) for b in bounds) else nbdl.float32)


@pytest.mark.parametrize("bounds", [(0, 1, 7), (-3, 8, 100), (5, 2, 4), (1, 1, 3), (0, 10, 0), (2, 3, 1)])
def test_linspace(bounds):
    for dtype in ("float32", "float64"):
        line = nbdl.linspace(*bounds, dtype=dtype).numpy()
        assert np.allclose(line, np.linspace(*bounds), atol=1e-6) and line.shape == (bounds[2],)
        assert bounds[2] < 2 or (line[0] == bounds[0] and line[-1] == bounds[1])
    assert np.allclose(nbdl.logspace(*bounds, base=2).numpy(), np.logspace(*bounds, base=2), rtol=1e-5)


def test_lines_refuse():
    for bad in ((0, 5, 0), (0, 5, -1), (0, math.inf)):
        with pytest.raises(nbdl.ArgumentError):
            nbdl.arange(*bad)
    with pytest.raises(nbdl.ArgumentError, match="steps"):
        nbdl.linspace(0, 1, -1)


# ---------------------------------------------------------------- random numbers


def test_a_seed_repeats_and_a_state_goes_on():
    nbdl.manual_seed(7)
    first = [nbdl.rand(5), nbdl.randn(5), nbdl.randint(9, (5,)), nbdl.randperm(5)]
    state = nbdl.get_rng_state()
    later = nbdl.rand(3)
    nbdl.manual_seed(7)
    again = [nbdl.rand(5), nbdl.randn(5), nbdl.randint(9, (5,)), nbdl.randperm(5)]
    assert all(nbdl.equal(a, b) for a, b in zip(first, again, strict=True)) and nbdl.initial_seed() == 7
    nbdl.set_rng_state(state)
    assert nbdl.equal(later, nbdl.rand(3)) and not nbdl.equal(later, nbdl.rand(3))
    own = nbdl.Generator().manual_seed(7)
    assert nbdl.equal(nbdl.rand(5, generator=own), first[0])
    with pytest.raises(nbdl.ArgumentError, match="new_state"):
        nbdl.set_rng_state(nbdl.zeros(3))


def test_distributions():
    nbdl.manual_seed(0)
    n = 100_000
    u, z, k = nbdl.rand(n).numpy(), nbdl.randn(n).numpy(), nbdl.randint(-2, 3, (n,)).numpy()
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.005
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01
    assert np.allclose(np.bincount(k + 2) / n, 0.2, atol=0.01)
    means = nbdl.normal(nbdl.full((n,), 3.0), 0.5).numpy()
    assert abs(means.mean() - 3) < 0.01 and abs(means.std() - 0.5) < 0.01
    assert nbdl.normal(1.0, 2.0, (2, 3)).shape == (2, 3)
    assert abs(nbdl.bernoulli(nbdl.full((n,), 0.3)).numpy().mean() - 0.3) < 0.01
    assert nbdl.bernoulli(nbdl.tensor([0.0, 1.0])).tolist() == [0, 1]
    x = nbdl.empty(n)
    assert abs(x.uniform_(-1, 3).numpy().mean() - 1) < 0.02 and abs(x.normal_(2, 3).numpy().std() - 3) < 0.03
    assert abs(x.exponential_(2).numpy().mean() - 0.5) < 0.01 and abs(x.bernoulli_(0.25).numpy().mean() - 0.25) < 0.01
    assert nbdl.empty(9, dtype="int64").random_(5).numpy().max() < 2**63 and sorted(nbdl.randperm(4).tolist())[3] == 3


def test_multinomial():
    nbdl.manual_seed(1)
    weights = nbdl.tensor([[1.0, 2.0, 0.0, 5.0], [1.0, 0.0, 0.0, 0.0]])
    drawn = weights.multinomial(20_000, replacement=True).numpy()
    assert np.allclose(np.bincount(drawn[0], minlength=4) / 20_000, [1 / 8, 1 / 4, 0, 5 / 8], atol=0.02)
    assert not drawn[1].any()
    firsts = np.array([nbdl.multinomial(weights[0], 3).numpy() for _ in range(500)])
    assert all(sorted(row) == [0, 1, 3] for row in firsts) and 0.5 < (firsts[:, 0] == 3).mean() < 0.75
    for bad, samples in (([1.0, -1.0], 1), ([0.0, 0.0], 1), ([math.nan], 1), ([1.0, 0.0], 2)):
        with pytest.raises(nbdl.ArgumentError, match="input"):
            nbdl.multinomial(nbdl.tensor(bad), samples)
    with pytest.raises(nbdl.ShapeError, match="input"):
        nbdl.multinomial(nbdl.ones(1, 1, 1), 1)


def test_random_refusals():
    for call, name in (
        (lambda: nbdl.randint(3, 3, (2,)), "high"),
        (lambda: nbdl.bernoulli(nbdl.tensor([1.5])), "input"),
        (lambda: nbdl.normal(0.0, -1.0, (2,)), "std"),
        (lambda: nbdl.normal(nbdl.zeros(2), nbdl.tensor([1.0, -1.0])), "std"),
        (lambda: nbdl.manual_seed(-1), "seed"),
    ):
        with pytest.raises(nbdl.ArgumentError, match=name):
            call()
    with pytest.raises(nbdl.DTypeError, match="dtype"):
        nbdl.rand(2, dtype="int64")
    with pytest.raises(nbdl.GradientError, match="leaf"):
        nbdl.zeros(2, requires_grad=True).uniform_()
