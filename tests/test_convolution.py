"""Convolution beyond the spec table: every path at real sizes, batches of nothing, threads, modules."""

import doctest
import importlib
import math

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops
from nbdl.ops.convolution.direct import conv2d_reference
from nbdl.ops.convolution.plan import merged
from nbdl.runtime.errors import ArgumentError, ShapeError


@pytest.mark.parametrize("name", ["ops.convolution.direct", "nn.convolution"])
def test_examples(name):
    found = doctest.testmod(importlib.import_module(f"nbdl.{name}"), extraglobs={"nbdl": nbdl})
    assert found.attempted
    assert not found.failed


SIZES = {
    "rows of several tiles": ((2, 20, 9, 37), (40, 20, 3, 3), {"padding": 1}),
    "strided": ((2, 20, 19, 18), (33, 20, 3, 3), {"padding": 1, "stride": 2}),
    "blocks of rows": ((1, 40, 70, 40), (8, 40, 3, 3), {"padding": 1}),
    "one channel": ((3, 1, 28, 28), (32, 1, 3, 3), {"padding": 1}),
    "three channels": ((2, 3, 13, 12), (40, 3, 3, 3), {"padding": 1}),
    "many small images": ((40, 24, 3, 3), (33, 24, 3, 3), {"padding": 1}),
    "single pixels": ((40, 24, 1, 1), (33, 24, 3, 3), {"padding": 1}),
    "pointwise": ((3, 30, 14, 14), (40, 30, 1, 1), {}),
    "depthwise": ((2, 70, 11, 12), (70, 1, 5, 5), {"padding": 2, "groups": 70}),
    "groups": ((2, 24, 9, 9), (32, 6, 3, 3), {"padding": 1, "groups": 4}),
}


@pytest.fixture(params=SIZES, scope="module")
def case(request):
    shape, weight, options = SIZES[request.param]
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal(shape), rng.standard_normal(weight), rng.standard_normal(weight[0])
    return *(array.astype(np.float32) for array in arrays), options


def gradients(x, weight, bias, options):
    inputs = [nbdl.from_numpy(array).requires_grad_() for array in (x, weight, bias)]
    y = ops.conv2d(*inputs, **options)
    cotangent = np.random.default_rng(1).standard_normal(y.shape).astype(x.dtype)
    return y.detach().numpy(), *(g.numpy() for g in nbdl.autograd.grad(y, inputs, nbdl.from_numpy(cotangent)))


def test_values(case):
    *arrays, options = case
    reference = conv2d_reference(*arrays, **options)
    y = ops.conv2d(*map(nbdl.from_numpy, arrays), **options).numpy()
    np.testing.assert_allclose(y, reference, rtol=1e-4, atol=1e-4 * np.abs(reference).max())


def test_gradients_are_adjoint(case):
    """In float64, <dy, conv(v)> = <dx, v> for the part of the derivative that is linear in each argument."""
    x, weight, bias, options = (a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in case)
    y, dx, dweight, dbias = gradients(x, weight, bias, options)
    cotangent = np.random.default_rng(1).standard_normal(y.shape)
    rng = np.random.default_rng(2)
    for which, gradient in enumerate((dx, dweight, dbias)):
        step = [np.zeros_like(array) for array in (x, weight, bias)]
        step[which] = rng.standard_normal(gradient.shape)
        arguments = [s if which == i else a for i, (s, a) in enumerate(zip(step, (x, weight, bias), strict=True))]
        arguments[2] = step[2]  # y is linear in x and in the weight without the bias
        moved = ops.conv2d(*map(nbdl.from_numpy, arguments), **options).numpy()
        if which == 2:
            moved = np.broadcast_to(step[2][:, None, None], y.shape)
        np.testing.assert_allclose((cotangent * moved).sum(), (gradient * step[which]).sum(), rtol=1e-9)


def test_threads_change_nothing(case):
    kept, runs = nbdl.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            nbdl.set_num_threads(threads)
            runs.append([array.tobytes() for array in gradients(*case)])
    finally:
        nbdl.set_num_threads(kept)
    assert runs[0] == runs[1] == runs[2]


def test_an_empty_batch():
    for shape in ((0, 3, 8, 8), (0, 3, 1, 1)):
        layer = nn.Conv2d(3, 4, 3, padding=1)
        x = nbdl.zeros(*shape).requires_grad_()
        y = layer(x)
        assert y.shape == (0, 4, *shape[2:])
        y.sum().backward()
        assert x.grad.shape == shape
        assert not layer.weight.grad.numpy().any()
        assert not layer.bias.grad.numpy().any()


def test_results_are_channels_last_and_read_as_they_lie():
    y = ops.conv2d(nbdl.ones(2, 3, 5, 6), nbdl.ones(4, 3, 3, 3))
    assert y._array.transpose(0, 2, 3, 1).flags.c_contiguous


def test_pointwise_rows_are_merged():
    shape, none = ((14, 14), (14, 14)), (0, 0)
    assert merged(*shape, (1, 1), (1, 1), none) == ((1, 196), (1, 196))
    assert merged((32, 32), (32, 32), (1, 1), (1, 1), none) == ((4, 256), (4, 256))
    assert merged((2, 1009), (2, 1009), (1, 1), (1, 1), none) == ((2, 1009), (2, 1009))
    assert merged(*shape, (3, 3), (1, 1), (1, 1)) == shape
    assert merged((14, 14), (7, 7), (1, 1), (2, 2), none) == ((14, 14), (7, 7))


# ---------------------------------------------------------------- modules


def test_repr():
    assert repr(nn.Conv2d(16, 33, (3, 5), (2, 1), (4, 2), (3, 1))) == (
        "Conv2d(16, 33, kernel_size=(3, 5), stride=(2, 1), padding=(4, 2), dilation=(3, 1))"
    )
    assert repr(nn.Conv1d(4, 6, 3, padding="same", groups=2, bias=False, padding_mode="circular")) == (
        "Conv1d(4, 6, kernel_size=(3,), stride=(1,), padding=same, groups=2, bias=False, padding_mode=circular)"
    )


def test_initial_values():
    layer = nn.Conv2d(8, 400, (3, 5), groups=2)
    assert layer.weight.shape == (400, 4, 3, 5)
    bound = 1 / math.sqrt(4 * 15)
    for values in (layer.weight.detach().numpy(), layer.bias.detach().numpy()):
        assert bound * 0.95 < np.abs(values).max() <= bound
        assert abs(values.mean()) < 0.1 * bound
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert list(nn.Conv1d(1, 1, 1, bias=False).state_dict()) == ["weight"]


@pytest.mark.parametrize(
    ("changes", "mentions"),
    [
        ({"groups": 3}, "in_channels"),
        ({"out_channels": 5, "groups": 2}, "out_channels"),
        ({"groups": 0}, "groups"),
        ({"padding": "full"}, "padding"),
        ({"padding": "same", "stride": 2}, "padding"),
        ({"padding_mode": "mirror"}, "padding_mode"),
        ({"stride": 0}, "stride"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size"),
        ({"dilation": -1}, "dilation"),
    ],
)
def test_a_module_refuses_bad_numbers(changes, mentions):
    with pytest.raises(ArgumentError, match=mentions):
        nn.Conv2d(**{"in_channels": 4, "out_channels": 4, "kernel_size": 3, **changes})


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_a_module_refuses_bad_images(mode):
    layer = nn.Conv2d(4, 4, 3, padding=1, padding_mode=mode)
    for shape in ((1, 3, 8, 8), (8, 8), (1, 1, 4, 8, 8)):
        with pytest.raises(ShapeError, match="input"):
            layer(nbdl.zeros(*shape))
