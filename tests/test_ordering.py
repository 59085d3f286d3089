"""Medians, orders and searches beyond the properties of their rows."""

import math

import numpy as np
import pytest

import nbdl

NAN = math.nan


@pytest.mark.parametrize(
    ("values", "middle", "gradient"),
    [
        ([1.0, 2.0, 2.0, 2.0], 2.0, [0, 1 / 3, 1 / 3, 1 / 3]),
        ([3.0, 1.0, 2.0], 2.0, [0, 0, 1]),
        ([NAN, 1.0, NAN], NAN, [0.5, 0, 0.5]),
    ],
)
def test_a_median_of_everything_shares_its_gradient(values, middle, gradient):
    x = nbdl.tensor(values, dtype=nbdl.float64, requires_grad=True)
    y = nbdl.median(x)
    y.backward()
    np.testing.assert_equal(y.item(), middle)
    np.testing.assert_allclose(x.grad.numpy(), gradient)


def test_a_median_along_a_dimension_names_one_place():
    x = nbdl.tensor([[1.0, 2.0, 2.0, 2.0], [NAN, 1.0, 5.0, NAN]], requires_grad=True)
    values, indices = nbdl.median(x, 1)
    values.sum().backward()
    np.testing.assert_equal(values.detach().numpy(), [2.0, NAN])
    assert indices[1].item() == 0  # of NaNs the first
    assert x.grad.numpy().sum(1).tolist() == [1.0, 1.0]
    assert np.count_nonzero(x.grad.numpy()) == 2


def test_medians_of_nothing():
    assert math.isnan(nbdl.median(nbdl.zeros(0)).item())
    with pytest.raises(nbdl.ShapeError, match="input"):
        nbdl.median(nbdl.zeros(0, dtype=nbdl.int64))
    assert nbdl.median(nbdl.zeros(0, 3), 1).values.shape == (0,)
    x = nbdl.tensor([NAN, NAN])
    assert math.isnan(nbdl.nanmedian(x).item()) and math.isnan(nbdl.nanquantile(x, 0.5).item())
    assert math.isnan(nbdl.quantile(nbdl.tensor([1.0, NAN]), 0.0).item())


def test_scans_and_sorts_along_any_dimension_of_any_memory():
    base = np.random.default_rng(0).standard_normal((3, 4, 5))
    for axes in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        x = base.transpose(axes)
        for dim in range(3):
            tensor = nbdl.from_numpy(x)
            np.testing.assert_allclose(nbdl.cumsum(tensor, dim).numpy(), np.cumsum(x, dim))
            np.testing.assert_equal(nbdl.sort(tensor, dim).values.numpy(), np.sort(x, dim))
            np.testing.assert_equal(nbdl.topk(tensor, 2, dim).values.numpy(), -np.sort(-x, dim).take([0, 1], dim))


def test_members_are_found_across_dtypes():
    assert nbdl.isin(nbdl.tensor([1.0, 2.5, NAN]), nbdl.tensor([1, 2])).tolist() == [True, False, False]
    assert nbdl.isin(nbdl.tensor([1, 2]), 2, invert=True).tolist() == [True, False]
    assert nbdl.isin(nbdl.tensor([1, 2]), nbdl.zeros(0)).tolist() == [False, False]
