"""Activations at their corners, at special values, in place; and the same as PyTorch's over random options."""

import numpy as np
import pytest

import nbdl
from nbdl import ops

try:
    import torch
except ImportError:
    torch = None

SPECIAL = [-np.inf, -1e30, -1000, -100, -20, -7, -3, -1, -0.5, -1e-10, 0, 1e-10, 0.5, 1, 3, 6, 7, 20, 100, 1000, np.inf]

OPTIONS = {
    "relu": lambda draw: {},
    "relu6": lambda draw: {},
    "leaky_relu": lambda draw: {"negative_slope": draw(-1, 2)},
    "hardtanh": lambda draw: {"min_val": draw(-2, 0), "max_val": draw(0, 2)},
    "hardsigmoid": lambda draw: {},
    "hardswish": lambda draw: {},
    "hardshrink": lambda draw: {"lambd": draw(-0.5, 2)},
    "softshrink": lambda draw: {"lambd": draw(0, 2)},
    "threshold": lambda draw: {"threshold": draw(-1, 1), "value": draw(-3, 3)},
    "elu": lambda draw: {"alpha": draw(-1, 2)},
    "celu": lambda draw: {"alpha": draw(0.1, 2)},
    "selu": lambda draw: {},
    "gelu": lambda draw: {"approximate": "tanh" if draw(0, 1) > 0.5 else "none"},
    "silu": lambda draw: {},
    "mish": lambda draw: {},
    "softplus": lambda draw: {"beta": draw(0.2, 3), "threshold": draw(1, 30)},
    "softsign": lambda draw: {},
    "tanhshrink": lambda draw: {},
    "logsigmoid": lambda draw: {},
    "rrelu": lambda draw: {"lower": draw(0, 0.3), "upper": draw(0.3, 1)},
    "glu": lambda draw: {"dim": 0 if draw(0, 1) > 0.5 else -1},
}

FLAT_AT = {"relu": 0.0, "hardtanh": 1.0, "relu6": 6.0, "hardsigmoid": 3.0, "hardshrink": 0.5, "softshrink": -0.5}


@pytest.mark.parametrize("name", FLAT_AT)
def test_an_infinite_gradient_ends_at_a_flat_piece(name):
    x = nbdl.tensor([FLAT_AT[name]]).requires_grad_()
    getattr(ops, name)(x).backward(nbdl.tensor([np.inf]))
    assert x.grad.tolist() == [0.0]


def test_relu_of_integers_and_nan():
    assert ops.relu(nbdl.tensor([-1, 2])).tolist() == [0, 2]
    assert np.isnan(ops.relu(nbdl.tensor([np.nan])).item())
    with pytest.raises(TypeError, match="bool"):
        ops.relu(nbdl.tensor([True]))


IN_PLACE = [
    "relu",
    "relu6",
    "leaky_relu",
    "hardtanh",
    "hardsigmoid",
    "hardswish",
    "elu",
    "celu",
    "selu",
    "silu",
    "mish",
]


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name):
    function = getattr(ops, name)
    values = np.linspace(-4, 4, 9, dtype=np.float32)
    leaf = nbdl.tensor(values).requires_grad_()
    other = nbdl.tensor(values).requires_grad_()
    x = leaf * 2.0
    y = function(x, inplace=True)
    assert y is x
    expected = function(other * 2.0)
    assert np.array_equal(y.detach().numpy(), expected.detach().numpy())
    y.backward(nbdl.ones(9))
    expected.backward(nbdl.ones(9))
    assert np.array_equal(leaf.grad.numpy(), other.grad.numpy())
    with pytest.raises(nbdl.GradientError, match="leaf"):
        function(leaf, inplace=True)
    with nbdl.no_grad():
        function(leaf, inplace=True)
    assert np.array_equal(leaf.detach().numpy(), function(nbdl.tensor(values)).numpy())


def test_in_place_is_noticed_by_backward():
    x = nbdl.tensor([1.0, 2.0]).requires_grad_() * 1.0
    y = x * x
    ops.silu(x, inplace=True)
    with pytest.raises(nbdl.GradientError, match="in place"):
        y.sum().backward()


def test_memory_order_is_kept():
    x = nbdl.zeros(2, 3, 4).permute(0, 2, 1)
    assert ops.gelu(x).stride() == x.stride()


def test_random_slopes():
    nbdl.manual_seed(3)
    x = nbdl.full((10_000,), -1.0).requires_grad_()
    y = ops.rrelu(x, 0.2, 0.6, training=True)
    slopes = -y.detach().numpy()
    assert slopes.min() >= 0.2
    assert slopes.max() <= 0.6
    assert abs(slopes.mean() - 0.4) < 0.01
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), slopes)
    nbdl.manual_seed(3)
    assert np.array_equal(ops.rrelu(x, 0.2, 0.6, training=True).detach().numpy(), -slopes)


@pytest.mark.parity
@pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", OPTIONS)
def test_parity(name, dtype):
    rng = np.random.default_rng(0)
    tolerance = {"rtol": 1e-6, "atol": 1e-12} if dtype == np.float64 else {"rtol": 1e-5, "atol": 1e-6}
    for values in (
        np.array(
            SPECIAL[1:-1] + [0.25, 2.0, -2.0] if name not in ("softsign", "elu", "celu") else SPECIAL[2:-2] + [2.0]
        ),
        rng.standard_normal((4, 6)) * 4,
        np.asfortranarray(rng.standard_normal((2, 4, 6))),
        np.zeros((0, 2)),
    ):
        options = OPTIONS[name](lambda low, high: float(rng.uniform(low, high)))
        values = values.astype(dtype)
        x, other = nbdl.tensor(values).requires_grad_(), torch.tensor(values, requires_grad=True)
        y, expected = getattr(ops, name)(x, **options), getattr(torch.nn.functional, name)(other, **options)
        assert np.allclose(y.detach().numpy(), expected.detach().numpy(), **tolerance)
        cotangent = rng.standard_normal(y.shape).astype(dtype)
        y.backward(nbdl.tensor(cotangent))
        expected.backward(torch.tensor(cotangent))
        assert np.allclose(x.grad.numpy(), other.grad.numpy(), **tolerance)


@pytest.mark.parity
@pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
def test_parity_of_prelu():
    rng = np.random.default_rng(0)
    for shape, weights in (
        ((), ()), ((), (1,)), ((5,), ()), ((3, 4), (4,)), ((3, 4), (1,)), ((2, 3, 4), (3,)), ((130, 3, 4, 2), (3,)),
        ((130, 3, 4), ()), ((300, 7), (7,)), ((0, 3), (3,)), ((2, 3, 0), (3,)),
    ):  # fmt: skip
        given = [rng.standard_normal(shape), rng.standard_normal(weights)]
        mine = [nbdl.tensor(v).requires_grad_() for v in given]
        theirs = [torch.tensor(v, requires_grad=True) for v in given]
        y, expected = ops.prelu(*mine), torch.nn.functional.prelu(*theirs)
        assert np.allclose(y.detach().numpy(), expected.detach().numpy())
        cotangent = np.asarray(rng.standard_normal(shape))
        y.backward(nbdl.tensor(cotangent))
        expected.backward(torch.tensor(cotangent))
        for a, b in zip(mine, theirs, strict=True):
            assert np.allclose(a.grad.numpy(), b.grad.numpy())
