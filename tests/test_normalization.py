"""Normalization layers: running moments, memory order, and what becomes of constants and NaN."""

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops
from nbdl.runtime.errors import NbdlError, StateError

RNG = np.random.default_rng(0)


def channels_last(shape):
    x = RNG.standard_normal((shape[0], *shape[2:], shape[1])).astype(np.float32)
    return nbdl.from_numpy(np.moveaxis(x, -1, 1))


def order(tensor):
    return np.argsort(tensor._array.strides).tolist()


# ---------------------------------------------------------------- running moments


def test_no_momentum_means_the_average_of_all_batches():
    layer = nn.BatchNorm1d(3, momentum=None).double()
    batches = [RNG.standard_normal((n, 3)) for n in (5, 7, 4)]
    for batch in batches:
        layer(nbdl.from_numpy(batch))
    assert layer.num_batches_tracked.item() == 3
    np.testing.assert_allclose(layer.running_mean.numpy(), np.mean([b.mean(0) for b in batches], axis=0))
    np.testing.assert_allclose(layer.running_var.numpy(), np.mean([b.var(0, ddof=1) for b in batches], axis=0))


def test_evaluation_uses_the_running_moments_and_leaves_them_alone():
    layer = nn.BatchNorm2d(2).double()
    layer.running_mean.copy_(nbdl.tensor([1.0, -1.0]))
    layer.running_var.copy_(nbdl.tensor([4.0, 0.25]))
    x = RNG.standard_normal((2, 2, 3, 3))
    y = layer.eval()(nbdl.from_numpy(x)).detach().numpy()
    wanted = (x - np.array([1.0, -1.0])[:, None, None]) / np.sqrt(np.array([4.0, 0.25])[:, None, None] + 1e-5)
    np.testing.assert_allclose(y, wanted)
    assert layer.num_batches_tracked.item() == 0
    assert layer.running_mean.tolist() == [1.0, -1.0]


def test_without_running_moments_the_batch_serves_in_evaluation_too():
    layer = nn.BatchNorm1d(2, track_running_stats=False)
    assert layer.running_mean is None
    assert list(layer.state_dict()) == ["weight", "bias"]
    x = nbdl.randn(8, 2)
    np.testing.assert_array_equal(layer.eval()(x).detach().numpy(), layer.train()(x).detach().numpy())


def test_empty_batches_pass_through_and_move_nothing():
    layer = nn.BatchNorm2d(3)
    x = nbdl.zeros(0, 3, 4, 4).requires_grad_()
    y = layer(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == (0, 3, 4, 4)
    assert layer.running_var.tolist() == [1, 1, 1]
    assert layer.weight.grad.tolist() == [0, 0, 0]


def test_state_dicts_may_lack_the_counter_but_nothing_else():
    state = nn.BatchNorm1d(2).state_dict()
    del state["num_batches_tracked"]
    nn.BatchNorm1d(2).load_state_dict(state)
    del state["running_mean"]
    with pytest.raises(StateError, match="running_mean"):
        nn.BatchNorm1d(2).load_state_dict(state)


def test_running_moments_of_any_strides_are_moved():
    x, wide = nbdl.randn(6, 3), nbdl.zeros(6)
    strided = nbdl.from_numpy(wide.numpy()[::2])
    plain, variance = nbdl.zeros(3), nbdl.ones(3)
    ops.batch_norm(x, strided, variance.clone(), training=True)
    ops.batch_norm(x, plain, variance, training=True)
    assert strided.tolist() == plain.tolist() != [0, 0, 0]


# ---------------------------------------------------------------- memory order

LAYERS = [nn.BatchNorm2d(6), nn.BatchNorm2d(6).eval(), nn.GroupNorm(3, 6), nn.InstanceNorm2d(6)]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{type(layer).__name__} {layer.training}")
def test_results_and_gradients_keep_the_order_of_the_input(layer):
    for x in (channels_last((4, 6, 5, 3)), nbdl.randn(4, 6, 5, 3)):
        x.requires_grad_()
        y = layer(x)
        assert order(y) == order(x)
        (dx,) = nbdl.autograd.grad(y.sum(), [x])
        assert order(dx) == order(x)


def test_the_gradient_may_lie_otherwise_than_the_input():
    x, dy = channels_last((4, 6, 5, 3)).double(), RNG.standard_normal((4, 6, 5, 3))
    for layer in (nn.BatchNorm2d(6).double(), nn.GroupNorm(2, 6).double()):
        results = []
        for leaf in (x, nbdl.from_numpy(np.ascontiguousarray(x.numpy()))):
            leaf = leaf.detach().requires_grad_()
            results.append(nbdl.autograd.grad(layer(leaf), [leaf], nbdl.from_numpy(dy))[0].numpy())
        np.testing.assert_allclose(results[0], results[1], rtol=1e-12, atol=1e-14)


# ---------------------------------------------------------------- constants and NaN


@pytest.mark.parametrize(
    "x", [nbdl.full((4, 2, 3, 3), 2.5), channels_last((4, 2, 3, 3)) * 0 + 2.5], ids=["first", "last"]
)
def test_a_constant_channel_becomes_zero(x):
    for layer in (nn.BatchNorm2d(2), nn.InstanceNorm2d(2), nn.GroupNorm(2, 2)):
        leaf = x.detach().requires_grad_()
        y = layer(leaf)
        assert not y.detach().numpy().any()
        y.backward(nbdl.randn(*y.shape))
        assert np.isfinite(leaf.grad.numpy()).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_a_nan_stays_in_its_channel(training, last):
    x = channels_last((4, 3, 2, 2)) if last else nbdl.randn(4, 3, 2, 2)
    x._array[1, 2, 0, 1] = np.nan
    y = nn.BatchNorm2d(3).train(training)(x).detach().numpy()
    assert np.isfinite(y[:, :2]).all()
    assert np.isnan(y[:, 2]).sum() == (16 if training else 1)


def test_a_nan_gradient_stays_in_its_place_in_evaluation():
    for x in (channels_last((4, 3, 2, 2)), nbdl.randn(4, 3, 2, 2)):
        dy = nbdl.ones(4, 3, 2, 2)
        dy._array[1, 2, 0, 1] = np.nan
        x.requires_grad_()
        (dx,) = nbdl.autograd.grad(nn.BatchNorm2d(3).eval()(x), [x], dy)
        assert np.isnan(dx.numpy()).sum() == 1


# ---------------------------------------------------------------- refusals of modules


@pytest.mark.parametrize(
    "call",
    [
        lambda: nn.BatchNorm2d(3)(nbdl.zeros(2, 3, 4)),
        lambda: nn.BatchNorm2d(3)(nbdl.zeros(2, 4, 4, 4)),
        lambda: nn.BatchNorm1d(3)(nbdl.zeros(1, 3)),
        lambda: nn.BatchNorm1d(-1),
        lambda: nn.InstanceNorm2d(3, affine=True)(nbdl.zeros(2, 4, 4, 4)),
        lambda: nn.InstanceNorm1d(3)(nbdl.zeros(3)),
        lambda: nn.GroupNorm(2, 3),
        lambda: nn.GroupNorm(0, 3),
        lambda: nn.LayerNorm(3)(nbdl.zeros(2, 4)),
        lambda: nn.LayerNorm((3, -1)),
        lambda: nn.RMSNorm(2.5),
        lambda: nn.BatchNorm1d(3, eps="small"),
        lambda: nn.BatchNorm1d(3, dtype=np.int64),
    ],
)
def test_refusals(call):
    with pytest.raises(NbdlError):
        call()
