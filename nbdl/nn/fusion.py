"""Neighbours in a Sequential that one operation can do: its kernel never writes the result between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.activation import GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Tanh
from nbdl.nn.convolution import Conv2d
from nbdl.nn.linear import Linear
from nbdl.nn.module import Module
from nbdl.ops.matmul.perceptron import chained
from nbdl.ops.matmul.programs import PLAIN, Activation
from nbdl.profiling import seams
from nbdl.runtime import jit


def _linear_relu(linear: Linear, _: ReLU, input: Tensor) -> Tensor:
    return ops.linear_relu(input, linear.weight, linear.bias)


def _linear_leaky_relu(linear: Linear, leaky_relu: LeakyReLU, input: Tensor) -> Tensor:
    if _of_leaky_relu(leaky_relu) is None:
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


def _always(name: str) -> Callable[[Any], Activation]:
    activation = Activation(name)
    return lambda module: activation


def _of_leaky_relu(module: LeakyReLU) -> Activation | None:
    """None for a slope below 0: the result would not tell on which side of 0 its input was."""
    slope = module.negative_slope
    return Activation("leaky_relu", slope) if type(slope) in (int, float) and 0 <= slope < 1e38 else None


def _of_gelu(module: GELU) -> Activation | None:
    name = {"none": "gelu", "tanh": "gelu_tanh"}.get(module.approximate)
    return Activation(name) if name else None


ACTIVATIONS: dict[type, Callable[[Any], Activation | None]] = {
    ReLU: _always("relu"),
    LeakyReLU: _of_leaky_relu,
    GELU: _of_gelu,
    SiLU: _always("silu"),
    Tanh: _always("tanh"),
    Sigmoid: _always("sigmoid"),
}
"""For the exact class of a module that may follow a linear layer in a row; None where its arguments forbid it."""


def fused_row(modules: Sequence[Module], input: Any) -> tuple[Any, int]:
    """The result of the linear layers and activations that come first, as one operation, and how many modules it took.

    (None, 0) where that are fewer than two layers, or if somebody looks at what lies between.
    """
    if seams.watchers or jit.launch_override is not None:
        return None, 0
    layers: list[Any] = []
    taken = 0
    for module in modules:
        if not _plain(module):
            break
        if type(module) is Linear:
            layers.append((module.weight, module.bias, PLAIN))
        elif type(module) in ACTIVATIONS and layers and layers[-1][2] is PLAIN:
            activation = ACTIVATIONS[type(module)](module)
            if activation is None:
                break
            layers[-1] = *layers[-1][:2], activation
        else:
            break
        taken += 1
    if len(layers) < 2:
        return None, 0
    result = chained(input, layers)
    return result, 0 if result is None else taken


def _plain(module: Module) -> bool:
    """Whether the module has neither hooks nor a forward of its own."""
    return not module._hooks and "forward" not in module.__dict__
