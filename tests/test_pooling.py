"""Pooling, interpolation and shuffles: what the spec rows do not draw."""

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops
from nbdl.autograd import grad
from nbdl.ops.pooling.adaptive import adaptive_reference
from nbdl.ops.pooling.windows import adaptive_windows, sliding_reference, sliding_windows
from nbdl.testing import simt


def channels_last(*shape):
    rng = np.random.default_rng(0)
    n, c, h, w = shape
    return nbdl.from_numpy(rng.standard_normal((n, h, w, c)).astype(np.float32).transpose(0, 3, 1, 2))


def lies_channels_last(x):
    return x.numpy().transpose(0, 2, 3, 1).flags.c_contiguous


# ---------------------------------------------------------------- windows


def members(table):
    """The elements of each range."""
    return [list(range(first, last + 1, step)) for first, last, step in table.tolist()]


def test_windows_and_the_inputs_that_they_hold():
    rng = np.random.default_rng(0)
    tried = 0
    while tried < 500:
        size, kernel, stride, padding, dilation = (int(rng.integers(1, most)) for most in (12, 5, 5, 4, 5))
        padding = min(padding - 1, kernel // 2)
        ceil_mode = bool(rng.integers(2))
        try:
            windows = sliding_windows(size, kernel, stride, padding, dilation, ceil_mode)
        except nbdl.runtime.errors.ShapeError:
            continue
        (wanted,) = sliding_reference((size,), kernel, stride, padding, dilation, ceil_mode)
        assert members(windows.inputs) == wanted
        assert windows.counts.tolist() == [len(window) for window in wanted]
        assert members(windows.outputs) == [[o for o, window in enumerate(wanted) if i in window] for i in range(size)]
        tried += 1


def test_adaptive_windows_and_the_inputs_that_they_hold():
    for size in range(1, 12):
        for count in range(14):
            windows = adaptive_windows(size, count)
            (wanted,) = adaptive_reference((size,), count)
            assert members(windows.inputs) == wanted
            assert members(windows.outputs) == [
                [o for o, window in enumerate(wanted) if i in window] for i in range(size)
            ]


def test_long_windows_cost_no_memory():
    x = nbdl.ones(1, 1, 200_000).requires_grad_()
    y = ops.avg_pool1d(x, 5_000, stride=50)
    y.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), 1)
    assert x.grad[0, 0, 100_000].item() == pytest.approx(100 / 5_000)


# ---------------------------------------------------------------- max


@pytest.mark.parametrize("target", ["cpu", "interpreter"])
def test_a_window_without_elements(target):
    """PyTorch gives an index outside the image, and the gradient of the window to some other element."""

    def step():
        x = nbdl.ones(1, 1, 1, 3).requires_grad_()
        y, index = ops.max_pool2d(x, (2, 1), padding=(1, 0), dilation=(2, 1), return_indices=True)
        y.backward(nbdl.ones(*y.shape))
        return y, index, x.grad

    if target == "cpu":
        y, index, gradient = step()
    else:
        with simt.target():
            y, index, gradient = step()
    assert y.tolist() == [[[[-np.inf] * 3]]]
    assert index.tolist() == [[[[-1] * 3]]]
    assert gradient.tolist() == [[[[0.0] * 3]]]


@pytest.mark.parametrize("options", [{}, {"padding": 1, "stride": 1}])
def test_a_channel_of_minus_infinity_has_its_first_index(options):
    y, index = ops.max_pool2d(nbdl.full((1, 1, 4, 4), -np.inf), 2, return_indices=True, **options)
    assert np.isneginf(y.numpy()).all()
    assert index[0, 0, 0, 0].item() == 0
    assert index[0, 0, -1, -1].item() == (15 if options else 10)


def test_pairs_agree_with_general_windows():
    """The kernels of 2 x 2 windows, and those of any windows, which return_indices asks for."""
    x = channels_last(3, 20, 7, 9)
    x.numpy()[np.random.default_rng(1).random(x.shape) < 0.1] = np.nan
    x.requires_grad_()
    quick, (general, _) = ops.max_pool2d(x, 2), ops.max_pool2d(x, 2, return_indices=True)
    np.testing.assert_array_equal(quick.detach().numpy(), general.detach().numpy())
    cotangent = nbdl.randn(*quick.shape)
    np.testing.assert_array_equal(grad(quick, x, cotangent)[0].numpy(), grad(general, x, cotangent)[0].numpy())


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2, 1),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(3),
        nn.Upsample(scale_factor=2, mode="bilinear"),
    ],
    ids=repr,
)
def test_channels_last_memory_stays(layer):
    x = channels_last(2, 5, 6, 8).requires_grad_()
    y = layer(x)
    assert lies_channels_last(y.detach())
    (gradient,) = grad(y, x, nbdl.randn(*y.shape))
    assert lies_channels_last(gradient)


def test_sizes_for_all_and_for_none():
    x = nbdl.randn(2, 3, 5, 4)
    assert ops.adaptive_avg_pool2d(x, None).shape == (2, 3, 5, 4)
    np.testing.assert_array_equal(ops.adaptive_max_pool2d(x, (None, None)).numpy(), x.numpy())
    assert ops.adaptive_avg_pool2d(x, (0, 2)).shape == (2, 3, 0, 2)
    assert ops.max_pool2d(x, [2, 2], []).shape == (2, 3, 2, 2)


# ---------------------------------------------------------------- the other families


@pytest.mark.parametrize("function", [ops.pixel_shuffle, ops.pixel_unshuffle, ops.channel_shuffle])
def test_shuffles_of_nothing_and_of_integers(function):
    assert function(nbdl.zeros(0, 4, 2, 2), 2).shape[0] == 0
    x = nbdl.arange(16).reshape(1, 4, 2, 2)
    assert sorted(function(x, 2).flatten().tolist()) == list(range(16))


def test_unshuffling_undoes_shuffling():
    x = nbdl.randn(2, 12, 3, 5)
    np.testing.assert_array_equal(ops.pixel_unshuffle(ops.pixel_shuffle(x, 2), 2).numpy(), x.numpy())


def test_interpolation_keeps_a_constant():
    x = nbdl.ones(1, 2, 5, 7, dtype=nbdl.float64)
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "lanczos", "area"):
        antialias = mode == "lanczos"
        y = ops.interpolate(x, size=(3, 11), mode=mode, antialias=antialias)
        np.testing.assert_allclose(y.numpy(), 1, rtol=1e-12)


def test_float32_interpolation_is_near_float64():
    x = nbdl.randn(2, 3, 17, 23, dtype=nbdl.float64)
    for mode in ("bilinear", "bicubic"):
        wide = ops.interpolate(x, size=(40, 31), mode=mode).numpy()
        np.testing.assert_allclose(ops.interpolate(x.float(), size=(40, 31), mode=mode).numpy(), wide, atol=2e-6)
