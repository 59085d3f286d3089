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


def _reference_order(x, descending):
    """Equal elements as they stood; a NaN is greater than every number."""
    missing = np.isnan(x)
    known = np.unique(np.where(missing, 0, x), return_inverse=True)[1].reshape(x.shape)
    ranks = np.where(missing, known.max() + 1, known)
    return np.argsort(-ranks if descending else ranks, axis=-1, kind="stable")


def _hard_rows(dtype, size):
    """Rows of ties, of special values, of elements that differ in their last digits alone, beside a great one too."""
    rng = np.random.default_rng(size)
    limits = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    if isinstance(limits, np.iinfo):
        small, whole = rng.integers(0, 5, size), rng.integers(limits.min, limits.max, size, dtype, endpoint=True)
        rows = [small, whole, rng.integers(0, 50, size), rng.integers(0, 50, size)]
        rows[3][0], rows[3][-1] = limits.max, limits.min
        return np.array(rows, dtype)
    special = [NAN, -NAN, math.inf, -math.inf, 0, -0.0, 1, limits.smallest_subnormal, -limits.tiny, limits.max]
    near = 1 + limits.eps * rng.integers(0, 100, size)
    rows = [rng.choice(special, size), rng.standard_normal(size).round(1), near, near, np.full(size, NAN)]
    rows[3] = np.concatenate([[limits.max], near[1:]])
    return np.array(rows, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 13, 64, 129, 1000])
def test_the_order_is_stable(dtype, size):
    x = _hard_rows(dtype, size)
    for rows in (x, np.sort(x, -1)):
        for descending in (False, True):
            order = nbdl.argsort(nbdl.from_numpy(rows), -1, descending, stable=True)
            np.testing.assert_array_equal(order, _reference_order(rows, descending))
            np.testing.assert_array_equal(nbdl.sort(nbdl.from_numpy(rows), -1, descending).indices, order)


def test_members_are_found_across_dtypes():
    assert nbdl.isin(nbdl.tensor([1.0, 2.5, NAN]), nbdl.tensor([1, 2])).tolist() == [True, False, False]
    assert nbdl.isin(nbdl.tensor([1, 2]), 2, invert=True).tolist() == [True, False]
    assert nbdl.isin(nbdl.tensor([1, 2]), nbdl.zeros(0)).tolist() == [False, False]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int16, np.bool_])
@pytest.mark.parametrize("known", [1, 2, 3, 4, 5, 7, 8, 9, 100, 1000])
def test_members_are_found_wherever_they_stand(dtype, known):
    rng = np.random.default_rng(known)
    others = rng.integers(-2 * known, 2 * known, known).astype(dtype)
    elements = np.concatenate([others, rng.integers(-3 * known, 3 * known, 501).astype(dtype)])
    if np.dtype(dtype).kind == "f":
        elements[:3], others[-1] = (NAN, math.inf, -0.0), NAN
    for x in (elements, elements[::-3]):
        found = nbdl.isin(nbdl.from_numpy(x), nbdl.from_numpy(others))
        np.testing.assert_array_equal(found, np.isin(x, others[others == others]))
        np.testing.assert_array_equal(
            nbdl.isin(nbdl.from_numpy(x), nbdl.from_numpy(others), invert=True), ~found.numpy()
        )
