"""Dropout: what is dropped and how often, that masks repeat in backward, and the cases without randomness."""

import numpy as np
import pytest

import nbdl
from nbdl import ops
from nbdl.runtime import philox

ELEMENTS = 40_000


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_shares_and_scale(p):
    nbdl.manual_seed(0)
    y = ops.dropout(nbdl.ones(ELEMENTS), p).numpy()
    assert abs((y == 0).mean() - p) < 0.01
    assert np.allclose(y[y != 0], 1 / (1 - p))


def test_alpha_dropout_keeps_mean_and_variance():
    nbdl.manual_seed(0)
    x = nbdl.randn(4 * ELEMENTS)
    y = ops.alpha_dropout(x, 0.3, training=True).numpy()
    assert abs(y.mean()) < 0.02
    assert abs(y.std() - 1) < 0.02


@pytest.mark.parametrize("function", [ops.dropout, ops.alpha_dropout, ops.dropout2d, ops.feature_alpha_dropout])
def test_the_same_mask_forward_and_backward(function):
    nbdl.manual_seed(1)
    x = nbdl.full((6, 7, 3), 3.0).requires_grad_()
    y = function(x, 0.4, training=True)
    y.backward(nbdl.ones(6, 7, 3))
    kept = y.detach().numpy() == y.detach().numpy().max()
    assert np.array_equal(x.grad.numpy() != 0, kept)
    assert len(np.unique(x.grad.numpy())) == 2


@pytest.mark.parametrize(
    ("function", "shape", "rank"),
    [
        (ops.dropout1d, (30, 20, 4), 2),
        (ops.dropout1d, (200, 4), 1),
        (ops.dropout2d, (30, 20, 3, 2), 2),
        (ops.dropout2d, (30, 20, 3), 2),
        (ops.dropout3d, (30, 20, 2, 3, 2), 2),
        (ops.dropout3d, (200, 2, 3, 2), 1),
        (ops.feature_alpha_dropout, (30, 20, 4), 2),
    ],
)
def test_channels_are_dropped_whole(function, shape, rank):
    nbdl.manual_seed(2)
    y = function(nbdl.ones(*shape), 0.5, training=True).numpy().reshape(*shape[:rank], -1)
    assert (y == y[..., :1]).all()
    assert 0.35 < (y[..., 0] == y.max()).mean() < 0.65


@pytest.mark.parametrize("function", [ops.dropout, ops.alpha_dropout])
def test_without_randomness(function):
    x = nbdl.tensor([1.0, -2.0])
    before = philox.default_generator.offset
    assert function(x, 0.5, training=False) is x
    assert function(x, 0.0, training=True) is x
    assert philox.default_generator.offset == before
    assert function(x, 1.0, training=True).tolist() == [0.0, 0.0]
    assert function(nbdl.zeros(0, 3), 0.5, training=True).shape == (0, 3)


def test_seeds_and_layouts():
    nbdl.manual_seed(5)
    first = ops.dropout(nbdl.ones(50, 60), 0.5).numpy()
    assert not np.array_equal(first, ops.dropout(nbdl.ones(50, 60), 0.5).numpy())
    nbdl.manual_seed(5)
    assert np.array_equal(first, ops.dropout(nbdl.ones(60, 50).transpose(0, 1), 0.5).numpy())
    nbdl.manual_seed(5)
    assert np.array_equal(first, ops.dropout(nbdl.ones(50, 60, dtype=nbdl.float64), 0.5).numpy())


def test_in_place():
    x = nbdl.ones(100)
    assert ops.dropout(x, 0.5, inplace=True) is x
    assert set(x.tolist()) == {0.0, 2.0}
    leaf = nbdl.ones(100).requires_grad_()
    with pytest.raises(nbdl.GradientError, match="leaf"):
        ops.dropout(leaf, 0.5, inplace=True)


def test_dropped_nan_stays_nan():
    assert np.isnan(ops.dropout(nbdl.full((20,), np.nan), 0.5).numpy()).all()


def test_ranks_are_checked():
    for function, rank in ((ops.dropout1d, 4), (ops.dropout2d, 1), (ops.dropout3d, 3), (ops.feature_alpha_dropout, 1)):
        with pytest.raises(nbdl.ShapeError, match="input"):
            function(nbdl.ones(*(2,) * rank))
    with pytest.warns(UserWarning, match=r"N, C, H, W"):
        ops.dropout2d(nbdl.ones(2, 2))
