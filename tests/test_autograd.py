"""The engine: order, accumulation, freeing, hooks, modes, in-place changes."""

import gc
import threading
import weakref

import numpy as np
import pytest

import nbdl
from nbdl.autograd import Context, Op, Tensor
from nbdl.runtime.errors import ArgumentTypeError, DTypeError, GradientError, ShapeError
from nbdl.testing.gradcheck import GradcheckError, gradcheck


def leaf(*values: float) -> Tensor:
    return nbdl.tensor(list(values), dtype=nbdl.float64, requires_grad=True)


def gradients_of(loss: Tensor, *leaves: Tensor) -> list[np.ndarray]:
    loss.backward()
    return [x.grad.numpy() for x in leaves]


# ---------------------------------------------------------------- the walk


def test_chain_rule_over_shared_subexpressions():
    x = leaf(2.0)
    y = x * x
    z = y * x + y
    (gradient,) = gradients_of(z.sum(), x)
    np.testing.assert_allclose(gradient, [3 * 4 + 2 * 2])


def test_diamond_runs_each_node_once():
    calls = []

    class Doubling(Op):
        @staticmethod
        def forward(ctx: Context, x):
            y = ctx.empty_like(x)
            y[...] = 2 * x
            return y

        @staticmethod
        def backward(ctx: Context, dy):
            calls.append(1)
            dx = ctx.empty_like(dy)
            dx[...] = 2 * dy
            return dx

    x = leaf(1.0, 2.0)
    y = Doubling.apply(x)
    (gradient,) = gradients_of((y * y + y + y).sum(), x)
    assert len(calls) == 1
    np.testing.assert_allclose(gradient, 8 * np.array([1.0, 2.0]) + 4)


def test_a_graph_of_100_000_operations():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.backward(nbdl.ones(1, dtype=nbdl.float64))
    assert x.grad.item() == 1.0
    del y
    gc.collect()


def test_backward_frees_the_graph_and_says_so():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(GradientError, match="retain_graph"):
        y.backward()


def test_retain_graph_accumulates():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), [4.0, 8.0])


def test_gradients_accumulate_over_calls_and_reset_with_none():
    x = leaf(3.0)
    for _ in range(3):
        (x * 2.0).sum().backward()
    assert x.grad.item() == 6.0
    x.grad = None
    (x * 2.0).sum().backward()
    assert x.grad.item() == 2.0


def test_two_leaves_never_share_a_gradient():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    seed = nbdl.ones(2, dtype=nbdl.float64)
    (a + b).backward(seed)
    with nbdl.no_grad():
        a.grad.mul_(10.0)
    np.testing.assert_array_equal(b.grad.numpy(), [1.0, 1.0])
    np.testing.assert_array_equal(seed.numpy(), [1.0, 1.0])


def test_graph_is_collected_without_the_cycle_collector():
    gc.disable()
    try:
        x = leaf(1.0)
        y = (x * x).exp()
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------- grad()


def test_grad_returns_and_leaves_grad_alone():
    x = leaf(2.0)
    y = x * x
    dy, dx = nbdl.grad((y * y).sum(), [y, x])
    np.testing.assert_allclose(dy.numpy(), [8.0])
    np.testing.assert_allclose(dx.numpy(), [32.0])
    assert x.grad is None


def test_grad_of_an_unused_input():
    x, unused = leaf(2.0), leaf(1.0)
    with pytest.raises(GradientError, match="allow_unused"):
        nbdl.grad((x * x).sum(), [x, unused])
    found = nbdl.grad((x * x).sum(), [x, unused], allow_unused=True)
    assert found[1] is None


def test_second_derivatives_are_refused():
    x = leaf(2.0)
    with pytest.raises(GradientError, match="create_graph"):
        nbdl.grad((x * x).sum(), x, create_graph=True)
    with pytest.raises(GradientError, match="create_graph"):
        (x * x).sum().backward(create_graph=True)


# ---------------------------------------------------------------- what backward refuses


def test_backward_without_a_graph():
    with pytest.raises(GradientError, match="does not require gradients"):
        nbdl.ones(1).backward()


def test_backward_of_many_elements_needs_a_gradient():
    with pytest.raises(GradientError, match="one element"):
        (leaf(1.0, 2.0) * 2.0).backward()


@pytest.mark.parametrize(
    ("gradient", "error"),
    [
        (np.ones(3), ArgumentTypeError),
        (nbdl.ones(3, dtype=nbdl.float64), ShapeError),
        (nbdl.ones(2, dtype=nbdl.float32), DTypeError),
    ],
)
def test_backward_checks_the_gradient(gradient, error):
    with pytest.raises(error, match="gradient"):
        (leaf(1.0, 2.0) * 2.0).backward(gradient)


def test_only_floating_point_requires_gradients():
    with pytest.raises(DTypeError, match="floating"):
        nbdl.tensor([1, 2], requires_grad=True)


# ---------------------------------------------------------------- modes


def test_no_grad_as_context_and_decorator():
    x = leaf(1.0)
    with nbdl.no_grad():
        assert not (x * 2.0).requires_grad
        with nbdl.enable_grad():
            assert (x * 2.0).requires_grad
    assert (x * 2.0).requires_grad

    @nbdl.no_grad()
    def with_parentheses():
        return x * 2.0

    @nbdl.no_grad
    def without():
        return x * 2.0

    assert not with_parentheses().requires_grad
    assert not without().requires_grad


def test_no_grad_ends_after_an_exception():
    with pytest.raises(KeyError), nbdl.no_grad():
        raise KeyError
    assert nbdl.is_grad_enabled()


def test_grad_mode_belongs_to_the_thread():
    seen = []
    with nbdl.no_grad():
        other = threading.Thread(target=lambda: seen.append(nbdl.is_grad_enabled()))
        other.start()
        other.join()
    assert seen == [True]


# ---------------------------------------------------------------- hooks


def test_hooks_see_and_replace_gradients():
    x = leaf(1.0, 2.0)
    y = x * 3.0
    seen = []
    y.register_hook(lambda gradient: seen.append(gradient.numpy().copy()))
    x.register_hook(lambda gradient: gradient * 10.0)
    (y * 2.0).sum().backward()
    np.testing.assert_array_equal(seen[0], [2.0, 2.0])
    np.testing.assert_array_equal(x.grad.numpy(), [60.0, 60.0])


def test_a_removed_hook_is_not_called():
    x = leaf(1.0)
    handle = x.register_hook(lambda gradient: gradient * 10.0)
    handle.remove()
    (x * 2.0).sum().backward()
    assert x.grad.item() == 2.0


def test_retain_grad_keeps_a_middle_gradient():
    x = leaf(1.0, 2.0)
    y = x * 3.0
    y.retain_grad()
    (y * y).sum().backward()
    np.testing.assert_array_equal(y.grad.numpy(), [6.0, 12.0])


# ---------------------------------------------------------------- in-place changes


def test_changing_a_saved_tensor_is_found():
    x = leaf(1.0, 2.0)
    y = x.exp()  # saves its result
    z = y.sum()
    with nbdl.no_grad():
        y.mul_(2.0)
    with pytest.raises(GradientError, match="changed in place"):
        z.backward()


def test_changing_a_saved_tensor_through_a_view_is_found():
    x = leaf(1.0, 2.0)
    w = nbdl.tensor([3.0, 4.0], dtype=nbdl.float64)
    y = (x * w).sum()
    w[0] = 100.0
    with pytest.raises(GradientError, match="changed in place"):
        y.backward()


def test_changing_a_tensor_that_nobody_saved_is_allowed():
    x = leaf(1.0, 2.0)
    w = nbdl.tensor([3.0, 4.0], dtype=nbdl.float64)
    y = (x + w).sum()
    w[0] = 100.0
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1.0, 1.0])


def test_in_place_on_a_leaf_that_requires_gradients_is_refused():
    x = leaf(1.0)
    with pytest.raises(GradientError):
        x.add_(1.0)
    with nbdl.no_grad():
        x.add_(1.0)
    assert x.item() == 2.0


def test_in_place_on_a_middle_tensor_takes_part_in_the_graph():
    x = leaf(1.0, 2.0)
    y = x * 3.0
    y.mul_(2.0)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [6.0, 6.0])


# ---------------------------------------------------------------- conversion


def test_numpy_shares_memory_and_refuses_gradients():
    x = nbdl.zeros(3)
    x.numpy()[1] = 5.0
    assert x[1].item() == 5.0
    with pytest.raises(GradientError, match="detach"):
        leaf(1.0).numpy()


def test_detach_shares_memory_and_leaves_the_graph():
    x = leaf(1.0, 2.0)
    y = x.detach()
    assert not y.requires_grad
    assert y.data_ptr() == x.data_ptr()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0, 2.0], "tensor([1., 2.])"),
        ([[-1.2247449, 0.0, 1.2247449]], "tensor([[-1.2247,  0.0000,  1.2247]])"),
        ([1, 2], "tensor([1, 2])"),
        (2.5, "tensor(2.5000)"),
        ([True, False], "tensor([ True, False])"),
        ([float("nan"), 1.5], "tensor([   nan, 1.5000])"),
    ],
)
def test_repr_reads_like_pytorch(values, text):
    assert repr(nbdl.tensor(values)) == text


def test_truth_of_several_elements_is_refused():
    with pytest.raises(ShapeError, match="ambiguous"):
        bool(nbdl.ones(2))


def test_a_slight_kink_within_a_step_is_skipped_and_a_slight_error_is_not():
    x = nbdl.tensor([1.0], dtype=nbdl.float64, requires_grad=True)
    bent = lambda x: x + 2e-4 * nbdl.relu(x - (1 + 5e-6))  # noqa: E731
    report = gradcheck(bent, [x])
    assert report.kinks == 1 and report.elements == 0

    class Wrong(Op):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, dy):
            return dy * (1 + 5e-5)

    with pytest.raises(GradcheckError, match="central differences give"):
        gradcheck(Wrong.apply, [x])
