"""Arguments that are rarely given, at their edges: each does what PyTorch's does, or is refused by name."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nbdl
from nbdl import ops


def doubles(*values: float, requires_grad: bool = False) -> nbdl.Tensor:
    return nbdl.tensor(list(values), dtype=nbdl.float64, requires_grad=requires_grad)


# ---------------------------------------------------------------- reductions


@pytest.mark.parametrize("dim", [(), [], None])
def test_no_dimensions_are_all_dimensions(dim):
    x = nbdl.ones(2, 3)
    assert x.sum(dim).tolist() == 6 and x.mean(dim, keepdim=True).shape == (1, 1)
    assert ops.logsumexp(nbdl.zeros(2, 2), dim=dim).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("dim", [(), []])
def test_truth_over_no_dimensions_is_that_of_each_element(dim):
    x = nbdl.tensor([[0.0, 2.0]])
    assert x.all(dim).tolist() == x.any(dim, keepdim=True).tolist() == [[False, True]]
    assert x.all(None).item() is False


def test_nansum_of_integers_keeps_the_dtype_that_was_asked_for():
    x = nbdl.tensor([[200, 100], [1, 1]])
    assert ops.nansum(x, dim=1, dtype=nbdl.int32).dtype == nbdl.int32
    assert ops.nansum(x, dim=1, dtype=nbdl.bool).tolist() == [True, True]
    assert ops.nansum(x, dtype=nbdl.float32).dtype == nbdl.float32


def test_aminmax_names_its_results():
    both = nbdl.tensor([[3.0, 1.0], [2.0, 5.0]]).aminmax(dim=1)
    assert both.min.tolist() == [1, 2] and both.max.tolist() == [3, 5] and both[1] is both.max


def test_quantile_of_a_number_has_no_second_dimension():
    with pytest.raises(nbdl.IndexRangeError, match="dim"):
        ops.quantile(nbdl.tensor(1.0), 0.5, dim=1)
    assert ops.quantile(nbdl.tensor(1.0), 0.5, dim=-1).item() == 1


# ---------------------------------------------------------------- scatter, index


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int64"])
def test_scattered_integers_may_leave_out_the_elements_themselves(dtype):
    x, src = nbdl.tensor([0, 1, 1]).to(dtype), nbdl.tensor([1, 1, 0]).to(dtype)
    index = nbdl.tensor([0, 0, 2])
    least = ops.scatter_reduce(x, 0, index, src, "amin", include_self=False)
    greatest = ops.scatter_reduce(x, 0, index, src, "amax", include_self=False)
    assert least.dtype == x.dtype and least.long().tolist() == [1, 1, 0] == greatest.long().tolist()


def test_the_mean_of_scattered_integers_is_rounded_down():
    x, src, index = nbdl.tensor([-2, 1, 9]), nbdl.tensor([1, -4, 3]), nbdl.tensor([0, 1, 1])
    assert ops.scatter_reduce(x, 0, index, src, "mean").tolist() == [-1, 0, 9]
    assert ops.scatter_reduce(x, 0, index, src, "mean", include_self=False).tolist() == [1, -1, 9]
    with pytest.raises(nbdl.DTypeError, match="bool"):
        ops.scatter_reduce(x > 0, 0, index, src > 0, "mean")


def test_index_add_takes_no_fraction_of_integers():
    x = nbdl.tensor([1, 2])
    assert ops.index_add(x, 0, nbdl.tensor([1]), nbdl.tensor([5]), alpha=2).tolist() == [1, 12]
    with pytest.raises(nbdl.DTypeError, match="alpha"):
        ops.index_add(x, 0, nbdl.tensor([1]), nbdl.tensor([5]), alpha=2.5)


@pytest.mark.parametrize("value", [None, "a", [None], object()])
def test_what_is_no_number_is_not_assigned(value):
    x = nbdl.zeros(2)
    with pytest.raises(nbdl.ArgumentTypeError, match="value"):
        x[0:1] = value
    assert x.tolist() == [0, 0]


# ---------------------------------------------------------------- elementwise


def test_logarithms_to_base_two_keep_the_precision_of_the_wider_operand():
    a, b = doubles(-1.2647660669653806), nbdl.tensor([2])
    y = ops.logaddexp2(a, b)
    assert y.dtype == nbdl.float64 and y.item() == pytest.approx(2.142794678348949, abs=1e-14)
    assert ops.logaddexp2(nbdl.tensor(0.5, dtype=nbdl.float64), nbdl.tensor([1, 2])).dtype == nbdl.float64


def test_ldexp_promotes_before_it_computes():
    y = ops.ldexp(nbdl.tensor(0.1, dtype=nbdl.float64), nbdl.tensor([-1, 3]))
    assert y.dtype == nbdl.float64 and y.tolist() == [0.05, 0.8]
    assert ops.ldexp(nbdl.tensor([3]), nbdl.tensor([2])).dtype == nbdl.float32


def test_a_threshold_may_put_infinity():
    x = doubles(0.0, 2.0, requires_grad=True)
    y = ops.threshold(x, 1.0, -math.inf)
    y.backward(nbdl.ones(2, dtype=nbdl.float64))
    assert y.tolist() == [-math.inf, 2] and x.grad.tolist() == [0, 1]
    with pytest.raises(nbdl.ArgumentError, match="value"):
        ops.threshold(x, 1.0, math.nan)


@pytest.mark.parametrize("edges", [nbdl.int64, nbdl.int32, nbdl.float32, nbdl.float64])
@pytest.mark.parametrize("values", [nbdl.int64, nbdl.float32, nbdl.float64])
def test_sorted_numbers_are_searched_for_numbers_of_any_dtype(edges, values):
    found = nbdl.searchsorted(nbdl.tensor([1, 2, 4], dtype=edges), nbdl.tensor([2, 3, 5], dtype=values))
    assert found.tolist() == [1, 2, 3]


def test_a_fraction_lies_between_integers():
    edges = nbdl.tensor([1, 2, 3])
    assert nbdl.searchsorted(edges, 2.5).item() == nbdl.bucketize(nbdl.tensor([2.5]), edges).item() == 2


# ---------------------------------------------------------------- tensors


def test_contains_compares_all_elements():
    x = nbdl.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert 3.0 in x and 5 not in x and 2.5 in nbdl.tensor(2.5) and nbdl.tensor([9.0, 4.0]) in x
    with pytest.raises(nbdl.ArgumentTypeError, match="element"):
        "a" in x  # noqa: B015


def test_arrays_on_either_side_of_a_matrix_product():
    x, array = nbdl.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=nbdl.float64), np.eye(2) * 2
    assert (array @ x).tolist() == (x @ array).tolist() == [[2, 4], [6, 8]]
    with pytest.raises(nbdl.ArgumentTypeError, match="other"):
        x @ 2


def test_numpy_by_force():
    x = doubles(1, 2, requires_grad=True)
    with pytest.raises(nbdl.GradientError):
        x.numpy()
    assert x.numpy(force=True).tolist() == [1, 2]


# ---------------------------------------------------------------- gradients


def test_backward_for_chosen_tensors():
    x, w = doubles(1, 2, requires_grad=True), doubles(3, 4, requires_grad=True)
    product = x * w
    loss = (product * product).sum()
    loss.backward(inputs=[w, product], retain_graph=True)
    assert x.grad is None and w.grad.tolist() == [6, 32] and product.grad.tolist() == [6, 16]
    loss.backward(inputs=w)
    assert w.grad.tolist() == [12, 64]
    with pytest.raises(nbdl.ArgumentError, match="inputs"):
        (x * x).sum().backward(inputs=[])
    with pytest.raises(nbdl.GradientError, match="inputs"):
        (x * x).sum().backward(inputs=[x.detach()])


def test_zeros_for_what_was_not_used():
    x, w = doubles(1, 2, requires_grad=True), doubles(3, requires_grad=True)
    of_x, of_w = nbdl.grad((x * x).sum(), [x, w], materialize_grads=True)
    assert of_x.tolist() == [2, 4] and of_w.tolist() == [0] and of_w.dtype == nbdl.float64


def test_a_tensor_without_gradients_keeps_none():
    with pytest.raises(nbdl.GradientError, match="retain_grad"):
        nbdl.ones(2).retain_grad()


def test_a_leaf_of_integers_gets_no_gradient():
    x = nbdl.tensor([1, 2])
    x.requires_grad = True
    with pytest.raises(nbdl.GradientError, match="int64"):
        (x * 2.0).sum().backward()


# ---------------------------------------------------------------- creation


@pytest.mark.parametrize(
    ("value", "dtype"), [(300, "uint8"), (-300, "uint8"), (128, "int8"), (1e10, "int32"), (math.nan, "int64")]
)
def test_numbers_that_do_not_fit_are_refused(value, dtype):
    with pytest.raises(nbdl.ArgumentError, match="data"):
        nbdl.tensor(value, dtype=dtype)
    with pytest.raises(nbdl.ArgumentError, match="data"):
        nbdl.tensor([[0, value]], dtype=dtype)
    with pytest.raises(nbdl.ArgumentError, match="fill_value"):
        nbdl.full((2,), value, dtype=dtype)


def test_negative_numbers_count_from_the_end_of_unsigned_ones():
    assert nbdl.tensor([-1, 255], dtype="uint8").tolist() == [255, 255] == nbdl.full((2,), -1, dtype="uint8").tolist()
    assert nbdl.tensor([2.7, -2.7], dtype="int8").tolist() == [2, -2] and nbdl.full((1,), 2.7, dtype="int8")[0] == 2
