"""Convolutions on CUDA in tiles, in the interpreter: odd sizes, phases, groups, chunks, any order of warps."""

import contextlib

import numpy as np
import pytest

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.ops.convolution import correlation, products, tiles, weight_gradient
from nbdl.testing import simt, simulated

pytestmark = pytest.mark.simt

PLAIN = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}

CASES = {
    "first layer": ((1, 3, 7, 6), (10, 3, 3, 3), {"padding": 1}),
    "more tiles than one": ((1, 2, 13, 11), (66, 2, 1, 2), {}),
    "many taps": ((1, 1, 14, 13), (9, 1, 12, 11), {}),
    "stride and dilation": ((1, 5, 10, 12), (9, 5, 3, 2), {"stride": (2, 3), "dilation": (2, 1), "padding": (1, 0)}),
    "stride over taps": ((1, 6, 9, 9), (11, 6, 1, 2), {"stride": 3, "padding": 1}),
    "groups": ((1, 8, 5, 6), (18, 4, 2, 2), {"groups": 2, "padding": 1, "stride": (1, 2)}),
    "whole pieces": ((1, 8, 5, 4), (12, 8, 2, 2), {"padding": 1}),
}


def results(x, weight, bias, options, relu=False):
    """The result of a convolution and its gradients, for a fixed cotangent."""
    # the gradient of an input that meets a large kernel takes long, and shows nothing new
    inputs = [Tensor(array, requires_grad=array is not x or weight.size < 1000) for array in (x, weight, bias)]
    y = (ops.conv2d_relu if relu else ops.conv2d)(*inputs, **{**PLAIN, **options})
    y.backward(Tensor(np.random.default_rng(5).standard_normal(y.shape).astype(y.dtype)))
    return [y._array, *(tensor.grad._array for tensor in inputs if tensor.requires_grad)]


def drawn(x_shape, weight_shape, rounded, dtype=None):
    """Arrays of one dtype, that hold numbers of another."""
    rng = np.random.default_rng(2)
    return [
        rng.standard_normal(shape).astype(rounded).astype(dtype or rounded)
        for shape in (x_shape, weight_shape, weight_shape[:1])
    ]


@contextlib.contextmanager
def interpreted(**options):
    """The interpreter's arrays are NumPy's; they are given what a GPU's are, and gradients more than one chunk."""
    plan = products.plan_weight_gradient
    with pytest.MonkeyPatch.context() as patch, simt.target(**options):
        patch.setattr(products, "plan_tiles", lambda *_, **__: None)
        patch.setattr(products, "choose_kernel", lambda *_: correlation.correlate_tiles)
        patch.setattr(products, "plan_weight_gradient", lambda *sizes: weight_gradient.more_chunks(plan(*sizes)))
        patch.setattr(tiles, "LEAST_PLACES", 10)
        yield


@pytest.mark.parametrize("name", CASES)
def test_convolutions_in_tiles(name):
    x_shape, weight_shape, options = CASES[name]
    number = list(CASES).index(name)
    relu = number % 2 == 0
    dtype, tolerance = (np.float64, 1e-12) if name == "groups" else (np.float32, 3e-6)
    wanted = results(*drawn(x_shape, weight_shape, dtype, np.float64), options, relu)
    seen = []
    with interpreted(seed=number, observe=lambda kernel, arguments: seen.append((kernel, arguments))):
        got = results(*drawn(x_shape, weight_shape, dtype), options, relu)
    for result, reference in zip(got, wanted, strict=True):
        np.testing.assert_allclose(result, reference, rtol=tolerance, atol=tolerance * np.abs(reference).max())
    kernels = [kernel for kernel, _ in seen]
    assert kernels.count(correlation.correlate_tiles) == len(got) - 2 and correlation.correlate not in kernels
    (partial,) = [arguments[2] for kernel, arguments in seen if kernel is weight_gradient.weight_gradient_kernel]
    assert partial.size > np.prod(weight_shape) or name in ("many taps", "stride over taps", "stride and dilation")


def test_a_result_does_not_depend_on_the_order_of_warps():
    runs = []
    for seed in (None, 7):
        with interpreted(seed=seed, races=False):
            runs.append(results(*drawn((1, 4, 4, 4), (12, 4, 2, 2), np.float32), {}))
    for first, second in zip(*runs, strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_rule_that_gives_a_convolution_to_tiles():
    def chosen(places, outputs, x=None):
        sizes, phases = np.zeros(20, np.int64), np.zeros((2, 19), np.int64)
        sizes[correlation.BATCH], sizes[correlation.OUTPUTS] = 1, outputs
        phases[1, correlation.COUNT], phases[1, correlation.COLUMNS + correlation.COUNT] = 1, places
        return correlation.choose_kernel(x, sizes, phases)

    assert chosen(9, 9) is correlation.correlate_tiles
    assert chosen(8, 512) is chosen(10**6, 8) is correlation.correlate
    assert chosen(1000, 1000, np.zeros(1)) is correlation.correlate
    assert tiles.chunks_of(5, 10**6) == 53 and tiles.chunks_of(500, 10**6) == 1 and tiles.chunks_of(5, 1000) == 3


def test_on_the_device():
    """Through the runtime of a GPU: tiles where they are full, a thread a result elsewhere, no minimal filtering."""
    x, weight, bias = drawn((1, 4, 4, 4), (12, 4, 3, 3), np.float32)
    narrow = drawn((1, 2, 4, 4), (3, 2, 2, 2), np.float32)
    wanted = results(x, weight, bias, {"padding": 1}), results(*narrow, {})
    with simulated.gpu() as machine:
        got = [
            [value.cpu().numpy() for value in on_device(arrays, options)]
            for arrays, options in (((x, weight, bias), {"padding": 1}), (narrow, {}))
        ]
    assert machine.launches.count("correlate_tiles_cuda") == 1 and machine.launches.count("correlate_cuda") == 3
    assert machine.launches.count("weight_gradient_cuda") == 2
    for ours, theirs in zip(got, wanted, strict=True):
        for result, reference in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(result, reference, rtol=2e-5, atol=2e-5)


def on_device(arrays, options):
    inputs = [Tensor(array).to("cuda").requires_grad_() for array in arrays]
    y = ops.conv2d(*inputs, **{**PLAIN, **options})
    cotangent = np.random.default_rng(5).standard_normal(y.shape).astype(np.float32)
    y.backward(Tensor(cotangent).to("cuda"))
    return [y.detach(), *(tensor.grad for tensor in inputs)]
