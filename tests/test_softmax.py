"""Softmax beyond the properties of its rows: special values, old arguments, draws, PyTorch."""

import numpy as np
import pytest

import nbdl
from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.runtime.errors import ArgumentError, DTypeError

RNG = np.random.default_rng(0)


def test_a_row_of_minus_infinity_is_nan():
    x = Tensor(np.array([[-np.inf, -np.inf], [-np.inf, 0.0], [np.inf, 0.0]]))
    y = ops.softmax(x, 1).numpy()
    assert np.isnan(y[0]).all()
    assert y[1].tolist() == [0.0, 1.0]
    assert np.isnan(y[2, 0])
    assert ops.log_softmax(x, 1).numpy()[1].tolist() == [-np.inf, 0.0]


def test_log_softmax_of_large_scores_keeps_its_digits():
    x = np.array([[-739.0, -750.0], [5000.0, 4990.0]], np.float32)
    wanted = -np.log1p(np.exp([-11.0, -10.0]))
    for y in (ops.log_softmax(Tensor(x), 1).numpy(), ops.log_softmax(Tensor(x.T), 0).numpy().T):
        np.testing.assert_allclose(y[:, 0], wanted, rtol=1e-2)  # 1 + e^-11 rounds


@pytest.mark.parametrize(("shape", "dim"), [((3,), 0), ((2, 3), 1), ((2, 3, 4), 0), ((2, 3, 2, 2), 1)])
def test_no_dimension_means_the_old_choice(shape, dim):
    x = Tensor(RNG.standard_normal(shape))
    assert np.array_equal(ops.softmax(x).numpy(), ops.softmax(x, dim).numpy())


def test_the_dtype_to_compute_in():
    x = Tensor(np.zeros((2, 3), np.float32), requires_grad=True)
    for function in (ops.softmax, ops.log_softmax, ops.softmin):
        y = function(x, 1, dtype=nbdl.float64)
        assert y.dtype == np.float64
        y.sum().backward()
        assert x.grad.dtype == np.float32
    assert ops.softmax(Tensor(np.zeros((2, 3), np.int64)), 1, dtype=nbdl.float32).dtype == np.float32
    with pytest.raises(DTypeError, match="input"):
        ops.softmax(Tensor(np.zeros((2, 3), np.int64)), 1)


def test_methods():
    x = Tensor(RNG.standard_normal((2, 3)))
    assert np.array_equal(x.softmax(-1).numpy(), ops.softmax(x, -1).numpy())
    assert np.array_equal(x.log_softmax(0).numpy(), ops.log_softmax(x, 0).numpy())


def test_gumbel_draws_follow_the_probabilities():
    nbdl.manual_seed(0)
    logits = nbdl.tensor(np.log([0.1, 0.2, 0.7]).astype(np.float32)).expand(20_000, 3)
    counts = ops.gumbel_softmax(logits, hard=True).numpy().mean(axis=0)
    np.testing.assert_allclose(counts, [0.1, 0.2, 0.7], atol=0.015)
    soft = ops.gumbel_softmax(logits, tau=0.5).numpy()
    np.testing.assert_allclose(soft.sum(axis=1), 1.0, rtol=1e-5)
    assert np.isfinite(soft).all()


def test_a_hard_draw_has_the_gradient_of_the_soft_one():
    gradients = []
    for hard in (False, True):
        nbdl.manual_seed(3)
        logits = nbdl.zeros(4, 3, requires_grad=True)
        y = ops.gumbel_softmax(logits, hard=hard)
        (y * nbdl.arange(3.0)).sum().backward()
        gradients.append(logits.grad.numpy())
    assert set(np.unique(y.detach().numpy())) == {0.0, 1.0}
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-6)
    with pytest.raises(ArgumentError, match="tau"):
        ops.gumbel_softmax(nbdl.zeros(3), tau=-1.0)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_as_in_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")
    x = RNG.standard_normal((3, 4, 5, 70))
    layouts = (x, x.transpose(1, 0, 3, 2), np.asfortranarray(x), x[::2, :, ::-1], np.broadcast_to(x[:1], x.shape))
    for values in (*layouts, np.zeros((0, 3)), np.zeros((3, 0)), np.array(2.0)):
        for dim in range(-max(values.ndim, 1), max(values.ndim, 1)):
            a = Tensor(values, requires_grad=True)
            b = torch.from_numpy(np.array(values)).requires_grad_()
            y, wanted = getattr(ops, name)(a, dim), getattr(torch.nn.functional, name)(b, dim)
            np.testing.assert_allclose(y.detach().numpy(), wanted.detach().numpy(), rtol=1e-12, atol=1e-14)
            cotangent = np.asarray(RNG.standard_normal(y.shape))
            y.backward(Tensor(cotangent))
            wanted.backward(torch.from_numpy(cotangent))
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-13)
