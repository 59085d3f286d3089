"""Changes in place of tensors and views while operations are recorded: gradients are those of what is there."""

from __future__ import annotations

import numpy as np
import pytest

import nbdl


def leaf(*values: float) -> nbdl.Tensor:
    return nbdl.tensor(list(values), dtype=nbdl.float64, requires_grad=True)


def test_a_view_follows_the_tensor_that_it_shows():
    x = leaf(1, 2)
    y = x * 2
    column = y.view(2, 1)
    y.mul_(3)
    (column * nbdl.tensor([[1.0], [10.0]], dtype=nbdl.float64)).sum().backward()
    assert x.grad.tolist() == [6, 60]


def test_a_view_of_an_element_that_was_replaced_is_a_constant():
    x = leaf(1, 2)
    y = x * 2
    first, second = y[0], y[1]
    y[0] = 5.0
    (first * 2 + second).backward()
    assert x.grad.tolist() == [0, 2]


def test_the_gradient_of_a_view_itself_starts_from_what_it_shows_now():
    x = leaf(1, 2)
    y = x * 2
    second = y[1]
    y.mul_(4)
    second.backward()
    assert x.grad.tolist() == [0, 8]


def test_views_of_views_follow():
    x = leaf(1, 2, 3, 4)
    y = x * 2
    rows = y.view(2, 2)
    last = rows[1]
    y.mul_(3)
    last[1:].mul_(10)
    assert y.tolist() == [6, 12, 18, 240]
    (rows.sum() + last.sum()).backward()
    assert x.grad.tolist() == [6, 6, 12, 120]


def test_parts_of_a_split_follow():
    x = leaf(1, 2)
    y = x * 2
    first, second = y.unbind()
    y.mul_(3)
    (first + 2 * second).backward()
    assert x.grad.tolist() == [6, 12]


def test_a_change_through_a_view_reaches_the_tensor():
    x = leaf(1, 2, 3)
    y = x * 2
    y[1:].mul_(3)
    y[0] += x[2]
    y.sum().backward()
    assert y.tolist() == [5, 12, 18]
    assert x.grad.tolist() == [2, 6, 7]


def test_a_change_through_strided_and_transposed_views():
    x = leaf(1, 2, 3, 4, 5, 6)
    y = (x * 1).view(2, 3)
    y[:, ::2].mul_(2)
    y.t()[1].exp_()
    y.sum().backward()
    expected = [2, np.exp(2), 2, 2, np.exp(5), 2]
    np.testing.assert_allclose(x.grad.numpy(), expected)


def test_assignment_through_a_view():
    x, value = leaf(1, 2, 3, 4), leaf(7)
    y = x * x
    y.view(2, 2)[1, 0] = value[0] * 2
    y.sum().backward()
    assert y.tolist() == [1, 4, 14, 16]
    assert x.grad.tolist() == [2, 4, 0, 8] and value.grad.tolist() == [2]


def test_results_collected_row_by_row():
    x = leaf(1, 2)
    rows = nbdl.zeros(3, 2, dtype=nbdl.float64)
    rows[0] = x
    for number in range(1, 3):
        rows[number] = rows[number - 1] * 3
    rows.sum().backward()
    assert x.grad.tolist() == [13, 13]


def test_memory_of_an_array_can_be_assigned_to():
    x = leaf(1, 2)
    array = np.zeros(3)
    y = nbdl.from_numpy(array)
    y[1:] = x
    (y * y).sum().backward()
    assert x.grad.tolist() == [2, 4] and array.tolist() == [0, 1, 2]


def test_a_view_made_before_there_were_gradients_is_refused():
    x = leaf(1, 2)
    y = nbdl.zeros(2, dtype=nbdl.float64)
    part = y[1:]
    y[1] = x[0]
    with pytest.raises(nbdl.GradientError, match="take the view again"):
        part * 2
    assert part.detach().tolist() == [1]
    assert (y[1:] * 2).tolist() == [2]


def test_changes_that_are_not_recorded_leave_views_in_their_place():
    x = leaf(1, 2)
    part = x[:1]
    with nbdl.no_grad():
        x.mul_(5)
    (part * part).backward()
    assert x.grad.tolist() == [10, 0]


def test_a_detached_tensor_is_changed_outside_the_graph():
    x = leaf(1, 2)
    y = x * 2
    other = y.detach()
    other.mul_(x.detach())
    other *= leaf(1, 1)
    y.sum().backward()
    assert y.tolist() == [2, 8] and x.grad.tolist() == [2, 2]


def test_a_view_of_a_leaf_is_refused():
    x = leaf(1, 2)
    with pytest.raises(nbdl.GradientError, match="leaf"):
        x[:1].add_(1)


def test_a_tensor_that_became_another_view_is_refused():
    x = leaf(1, 2)
    y = x * 2
    part = y[:1]
    y.unsqueeze_(0)
    with pytest.raises(nbdl.GradientError, match="view"):
        y.mul_(2)
    (part.sum() + y.sum()).backward()
    assert x.grad.tolist() == [4, 2]


def test_a_factor_is_kept_for_the_gradient_of_the_other_alone():
    x = leaf(1, 2)
    y = x * 2
    product = y * 3 + y * nbdl.tensor([1.0, 2.0], dtype=nbdl.float64)
    y.add_(1)
    (product.sum() + y.sum()).backward()
    assert x.grad.tolist() == [10, 12]
    assert [saved is None for saved in (x * 2).grad_fn.saved] == [True, False]
