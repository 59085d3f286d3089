"""Convolutions in tiles: their errors, the choice of precision, and the same bits on any number of threads."""

import numpy as np
import pytest

import nbdl
from nbdl import ops
from nbdl.ops.convolution.winograd import plan_tiles

CASES = [(4, 16, 13, 18, 16, 1), (3, 32, 16, 16, 48, 0), (5, 16, 9, 11, 32, 2), (12, 64, 16, 16, 64, 1)]
LARGEST_ERROR = {"highest": 1.5e-5, "high": 4e-6, "medium": 4e-5}  # of results and gradients of size 1


@pytest.fixture(autouse=True)
def settings():
    threads = nbdl.get_num_threads()
    yield
    nbdl.set_precision("high")
    nbdl.set_num_threads(threads)


def results(case, dtype):
    """Result and gradients, scaled to size 1."""
    batch, inputs, height, width, outputs, padding = case
    rng = np.random.default_rng(0)
    x, weight, bias = (
        nbdl.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True)
        for shape in ((batch, inputs, height, width), (outputs, inputs, 3, 3), (outputs,))
    )
    y = ops.conv2d(x, weight, bias, padding=padding)
    y.backward(nbdl.tensor(rng.standard_normal(y.shape).astype(dtype)))
    pixels = y.numel() / outputs
    scales = 3 * inputs**0.5, 3 * outputs**0.5, pixels**0.5, pixels**0.5
    arrays = (y.detach(), x.grad, weight.grad, bias.grad)
    return [array.numpy() / scale for array, scale in zip(arrays, scales, strict=True)]


@pytest.mark.parametrize("level", LARGEST_ERROR)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_errors_of_each_precision(case, level):
    nbdl.set_precision(level)
    for ours, exact in zip(results(case, np.float32), results(case, np.float64), strict=True):
        assert np.abs(ours - exact).max() <= LARGEST_ERROR[level]


@pytest.mark.parametrize("level", ["high", "medium"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_threads_do_not_change_a_bit(case, level):
    nbdl.set_precision(level)
    expected = None
    for threads in (1, 2, 4):
        nbdl.set_num_threads(threads)
        found = results(case, np.float32)
        for ours, first in zip(found, expected or found, strict=True):
            np.testing.assert_array_equal(ours, first)
        expected = expected or found


def test_precision_chooses_the_tiles():
    sizes = (4, (16, 16), 16, (16, 16), 16, (1, 1), 4, 1)
    assert plan_tiles(0, *sizes) is None
    assert plan_tiles(2, *sizes) is not None
    assert plan_tiles(2, *sizes[:-2], 8, 1) is None  # float64
    differ = []
    for level in ("highest", "high", "medium"):
        nbdl.set_precision(level)
        assert nbdl.get_precision() == level
        differ.append(results(CASES[0], np.float32)[0])
    assert (differ[0] != differ[1]).any() and (differ[1] != differ[2]).any()
    with pytest.raises(nbdl.ArgumentError, match="level: expected one of 'highest', 'high', 'medium', got 'low'"):
        nbdl.set_precision("low")
