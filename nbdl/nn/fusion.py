"""Neighbours in a Sequential that one operation can do: its kernel never writes the result between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.activation import GELU, LeakyReLU, ReLU, SiLU
from nbdl.nn.convolution import Conv2d
from nbdl.nn.linear import Linear
from nbdl.nn.module import Module


def _linear_relu(linear: Linear, _: ReLU, input: Tensor) -> Tensor:
    return ops.linear_relu(input, linear.weight, linear.bias)


def _linear_leaky_relu(linear: Linear, leaky_relu: LeakyReLU, input: Tensor) -> Tensor:
    if leaky_relu.negative_slope < 0:  # the result would not tell on which side of 0 its input was
        return leaky_relu(linear(input))
    return ops.linear_leaky_relu(input, linear.weight, linear.bias, leaky_relu.negative_slope)


def _linear_gelu(linear: Linear, gelu: GELU, input: Tensor) -> Tensor:
    return ops.linear_gelu(input, linear.weight, linear.bias, gelu.approximate)


def _linear_silu(linear: Linear, _: SiLU, input: Tensor) -> Tensor:
    return ops.linear_silu(input, linear.weight, linear.bias)


def _conv2d_relu(convolution: Conv2d, _: ReLU, input: Tensor) -> Tensor:
    return convolution.convolve(ops.conv2d_relu, input)


FUSED: dict[tuple[type, type], Callable[..., Any]] = {
    (Linear, ReLU): _linear_relu,
    (Linear, LeakyReLU): _linear_leaky_relu,
    (Linear, GELU): _linear_gelu,
    (Linear, SiLU): _linear_silu,
    (Conv2d, ReLU): _conv2d_relu,
}
"""For the exact classes of two modules in a row, the function of both and of the first one's input."""


def fused(first: Module, second: Module | None) -> Callable[..., Any] | None:
    """The function for two modules in a row; None if there is none, or if somebody looks at what lies between."""
    function = FUSED.get((type(first), type(second)))
    if function is None or not _plain(first) or not _plain(second):  # type: ignore[arg-type]
        return None
    return function


def _plain(module: Module) -> bool:
    """Whether the module has neither hooks nor a forward of its own."""
    return not module._hooks and "forward" not in module.__dict__
