"""Transposed convolution beyond the spec table: the transpose of convolution, sizes that may be asked for, modules."""

import doctest
import importlib

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError


@pytest.mark.parametrize("name", ["ops.convolution.transposed", "nn.transposed_convolution"])
def test_examples(name):
    found = doctest.testmod(importlib.import_module(f"nbdl.{name}"), extraglobs={"nbdl": nbdl})
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": 1}, {"dilation": 2}, {"stride": 3, "padding": 2}])
def test_it_is_the_transpose_of_convolution(options):
    """<conv(x), y> = <x, conv_transpose(y)> for all x and y."""
    rng = np.random.default_rng(0)
    x, weight = (nbdl.from_numpy(rng.standard_normal(shape)) for shape in ((2, 3, 8, 8), (4, 3, 3, 3)))
    forth = ops.conv2d(x, weight, **options)
    y = nbdl.from_numpy(rng.standard_normal(forth.shape))
    step, edge, spread = (options.get(name, d) for name, d in (("stride", 1), ("padding", 0), ("dilation", 1)))
    more = (8 + 2 * edge - spread * 2 - 1) % step
    back = ops.conv_transpose2d(y, weight, output_padding=more, **options)
    assert back.shape == x.shape
    np.testing.assert_allclose((forth * y).sum().item(), (x * back).sum().item(), rtol=1e-12)


def test_sizes_that_can_be_asked_for():
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    x = nbdl.ones(1, 2, 4, 5)
    assert layer(x).shape == (1, 3, 7, 9)
    assert layer(x, output_size=(8, 10)).shape == (1, 3, 8, 10)
    assert layer(x, output_size=[1, 3, 7, 10]).shape == (1, 3, 7, 10)
    assert layer(x[0], output_size=(3, 8, 9)).shape == (3, 8, 9)
    for size in ((9, 10), (6, 9), (8,), (3, 8, 10)):
        with pytest.raises(ArgumentError, match="output_size"):
            layer(x, output_size=size)
    with pytest.raises(ArgumentTypeError, match="output_size"):
        layer(x, output_size=8)
    with pytest.raises(ShapeError, match="input"):
        layer(nbdl.ones(4, 5), output_size=(8, 10))


def test_module():
    layer = nn.ConvTranspose2d(4, 6, (3, 2), 2, 1, (1, 0), groups=2, bias=False, dilation=2)
    assert repr(layer) == (
        "ConvTranspose2d(4, 6, kernel_size=(3, 2), stride=(2, 2), padding=(1, 1), dilation=(2, 2), "
        "output_padding=(1, 0), groups=2, bias=False)"
    )
    assert layer.weight.shape == (4, 3, 3, 2)
    assert layer.bias is None
    bound = 1 / np.sqrt(3 * 3 * 2)
    assert np.abs(layer.weight.detach().numpy()).max() <= bound
    assert nn.ConvTranspose1d(2, 3, 4, device=None, dtype=nbdl.float64).weight.dtype == nbdl.float64


def test_module_refuses():
    with pytest.raises(ArgumentError, match="padding_mode"):
        nn.ConvTranspose2d(2, 2, 3, padding_mode="reflect")
    with pytest.raises(ArgumentTypeError, match="padding"):
        nn.ConvTranspose2d(2, 2, 3, padding="same")
    with pytest.raises(ArgumentError, match="in_channels"):
        nn.ConvTranspose2d(3, 4, 3, groups=2)
    with pytest.raises(ArgumentError, match="out_channels"):
        nn.ConvTranspose2d(4, 3, 3, groups=2)


def test_empty_batch_has_gradients():
    layer = nn.ConvTranspose1d(2, 3, 4)
    y = layer(nbdl.ones(0, 2, 5))
    assert y.shape == (0, 3, 8)
    y.sum().backward()
    assert not layer.weight.grad.numpy().any()
    assert not layer.bias.grad.numpy().any()
