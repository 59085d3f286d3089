"""What the spec rows of reductions leave out: finite differences say nothing about the gradient of equal extremes."""

import numpy as np
import pytest

from nbdl import ops
from nbdl.autograd import Tensor

TIES = [[2.0, 5.0, 5.0, 1.0], [5.0, 1.0, 1.0, 2.0]]


def gradient_of(function, **options):
    x = Tensor(np.array(TIES), requires_grad=True)
    y = function(x, **options)
    (y[0] if isinstance(y, tuple) else y).sum().backward()
    return x.grad.numpy()


@pytest.mark.parametrize("function", [ops.amax, ops.max])
def test_equal_maxima_of_everything_share_the_gradient(function):
    np.testing.assert_allclose(gradient_of(function), np.equal(TIES, 5) / 3, rtol=1e-15)


@pytest.mark.parametrize("function", [ops.amin, ops.min])
def test_equal_minima_of_everything_share_the_gradient(function):
    np.testing.assert_allclose(gradient_of(function), np.equal(TIES, 1) / 3, rtol=1e-15)


def test_equal_extremes_along_a_dimension_share_the_gradient():
    np.testing.assert_array_equal(gradient_of(ops.amax, dim=1), [[0, 0.5, 0.5, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(gradient_of(ops.amin, dim=1), [[0, 0, 0, 1], [0, 0.5, 0.5, 0]])


def test_the_first_of_equal_extremes_gets_the_gradient_where_indices_are_returned():
    np.testing.assert_array_equal(gradient_of(ops.max, dim=1), [[0, 1, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(gradient_of(ops.min, dim=1), [[0, 0, 0, 1], [0, 1, 0, 0]])
