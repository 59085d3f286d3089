"""Padding, fold and unfold beyond the spec table: memory, modules, examples."""

import doctest
import importlib

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops
from nbdl.runtime import memory
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError

MODES = ("constant", "reflect", "replicate", "circular")


@pytest.mark.parametrize("name", ["ops.padding", "ops.fold", "nn.padding", "nn.fold"])
def test_examples(name):
    found = doctest.testmod(importlib.import_module(f"nbdl.{name}"), extraglobs={"nbdl": nbdl})
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pad", [(1, 1, 1, 1), (-1, 2, 0, -2), (2, -2, -1, -1), (-2, -2, -2, -1)])
def test_every_element_is_written(mode, pad, monkeypatch):
    """Results and gradients do not depend on what memory held before."""
    x = nbdl.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 4, 5))).requires_grad_()
    wanted = ops.pad(x, pad, mode)
    wanted.backward(nbdl.ones_like(wanted))
    gradient = x.grad.numpy().copy()
    monkeypatch.setattr(memory, "empty", _stained)
    x.grad = None
    y = ops.pad(x, pad, mode)
    y.backward(nbdl.ones_like(y))
    assert np.array_equal(y.detach().numpy(), wanted.detach().numpy())
    assert np.array_equal(x.grad.numpy(), gradient)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_patch_is_written(stride, monkeypatch):
    monkeypatch.setattr(memory, "empty", _stained)
    x = nbdl.ones(2, 2, 5, 4).requires_grad_()
    columns = ops.unfold(x, 2, padding=2, stride=stride)
    image = ops.fold(columns, (5, 4), 2, padding=2, stride=stride)
    image.backward(nbdl.ones(2, 2, 5, 4))
    assert np.isfinite(columns.detach().numpy()).all()
    assert np.array_equal(x.grad.numpy(), image.detach().numpy())


def _stained(shape, dtype):
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 99, dtype)


@pytest.mark.parametrize("mode", MODES)
def test_memory_keeps_its_order(mode):
    """Channels-last in, channels-last out; so is the gradient on its way."""
    values = np.random.default_rng(0).standard_normal((2, 4, 5, 3)).astype(np.float32)
    x = nbdl.from_numpy(values.transpose(0, 3, 1, 2))
    y = ops.pad(x, (1, 2, 0, 1), mode)
    assert y.shape == (2, 3, 5, 8)
    assert y._array.transpose(0, 2, 3, 1).flags.c_contiguous
    assert np.array_equal(
        y.numpy(), ops.pad(nbdl.from_numpy(np.ascontiguousarray(x.numpy())), (1, 2, 0, 1), mode).numpy()
    )


def test_no_padding_is_a_copy():
    x = nbdl.ones(2, 3)
    for y in (ops.pad(x, ()), ops.pad(x, (0, 0)), ops.pad(x, (0, 0), "reflect")):
        y.zero_()
    assert x.sum().item() == 6


def test_other_dtypes():
    assert ops.pad(nbdl.tensor([True]), (1, 0)).tolist() == [False, True]
    assert ops.pad(nbdl.tensor([1, 2]), (0, 1), value=-2.7).tolist() == [1, 2, -2]
    assert ops.pad(nbdl.tensor([[1, 2]]), (1, 1), "circular").tolist() == [[2, 1, 2, 1]]
    assert np.isnan(ops.pad(nbdl.ones(1), (1, 0), value=float("nan")).numpy()[0])
    assert ops.pad(nbdl.tensor(3.0), ()).item() == 3


@pytest.mark.parametrize("name", ["ConstantPad", "ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_modules(name, rank):
    value = (2.0,) if name == "ConstantPad" else ()
    layer = getattr(nn, f"{name}{rank}d")(1, *value)
    assert layer.padding == (1,) * 2 * rank
    x = nbdl.ones(2, 2, *(3,) * rank)
    assert layer(x).shape == (2, 2, *(5,) * rank)
    assert layer(x[0]).shape == (2, *(5,) * rank)
    assert not layer.state_dict()
    with pytest.raises(ArgumentError, match="padding"):
        getattr(nn, f"{name}{rank}d")((1, 2, 3), *value)
    with pytest.raises(ArgumentTypeError, match="padding"):
        getattr(nn, f"{name}{rank}d")(1.5, *value)
    if not value and name != "ZeroPad":
        with pytest.raises(ShapeError, match="input"):
            layer(nbdl.ones(1, 1, 1, 3, 3, 3))


def test_zero_padding_is_constant_padding():
    assert issubclass(nn.ZeroPad2d, nn.ConstantPad2d)
    assert repr(nn.ZeroPad2d(1)) == "ZeroPad2d((1, 1, 1, 1))"
    assert repr(nn.ConstantPad1d((1, 2), 3.5)) == "ConstantPad1d(padding=(1, 2), value=3.5)"


def test_fold_of_unfold_counts_the_patches():
    """Each pixel comes back as often as a window saw it: what divides when overlapping patches are averaged."""
    x = nbdl.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 6, 7)))
    options = {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)}
    times = ops.fold(ops.unfold(nbdl.ones_like(x), **options), (6, 7), **options)
    again = ops.fold(ops.unfold(x, **options), (6, 7), **options)
    np.testing.assert_allclose(again.numpy(), (x * times).numpy(), rtol=1e-12)


def test_convolution_is_a_product_with_patches():
    rng = np.random.default_rng(0)
    x, weight = (nbdl.from_numpy(rng.standard_normal(shape)) for shape in ((2, 3, 6, 7), (4, 3, 2, 3)))
    product = weight.reshape(4, -1) @ ops.unfold(x, (2, 3), padding=1)
    np.testing.assert_allclose(product.numpy(), ops.conv2d(x, weight, padding=1).numpy().reshape(2, 4, -1), atol=1e-12)


def test_images_without_pixels():
    columns = nbdl.ones(1, 8, 2).requires_grad_()
    image = ops.fold(columns, (0, 1), 2, padding=1)
    assert image.shape == (1, 2, 0, 1)
    image.sum().backward()
    assert not columns.grad.numpy().any()
