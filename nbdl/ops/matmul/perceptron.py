r"""Linear maps in a row, each with its activation, as one operation: what a Sequential makes of a small perceptron.

$$h_0 = x, \qquad y_l = h_{l-1} W_l^\top + b_l, \qquad h_l = f_l(y_l)$$

Backward, from the last layer $l = L$ to the first, with $dh_L$ given:

$$dy_l = dh_l \odot f_l'(y_l), \quad db_l = \sum_{\text{rows}} dy_l, \quad dW_l = dy_l^\top h_{l-1}, \quad
dh_{l-1} = dy_l W_l$$

The numbers are those of `linear_relu` and its relatives, bit by bit. What is saved is Python's time, which for small
layers is more than the processor's: all kernels of a pass are steps of one launch, a program (`programs`).

Letters: N rows (all leading dimensions), L layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.activation.rectifiers import leaky_relu_reference
from nbdl.ops.activation.smooth import gelu_reference, silu_reference
from nbdl.ops.elementwise.exponential import sigmoid
from nbdl.ops.elementwise.operands import typed_number
from nbdl.ops.elementwise.trigonometric import tanh
from nbdl.ops.matmul.linear import (
    ROWS,
    linear,
    linear_gelu,
    linear_leaky_relu,
    linear_reference,
    linear_relu,
    linear_silu,
)
from nbdl.ops.matmul.programs import NO_ARRAY, Activation, run, shape_of
from nbdl.runtime import arrays, memory, threads
from nbdl.runtime.checks import check_choice, check_float, check_number, check_same_dtype, check_shape
from nbdl.runtime.dtypes import mixing
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError

# ---------------------------------------------------------------- reference


def perceptron_reference(input, weights, biases=None, activations=None, negative_slope=0.01):
    """The definition, in float64: input [*, I], for each layer weight [O, I] and bias [O] -> [*, O of the last]."""
    functions = {
        "none": lambda y: y,
        "relu": lambda y: np.maximum(y, 0),
        "leaky_relu": lambda y: leaky_relu_reference(y, negative_slope),
        "gelu": gelu_reference,
        "gelu_tanh": lambda y: gelu_reference(y, "tanh"),
        "silu": silu_reference,
        "tanh": np.tanh,
        "sigmoid": lambda y: 1 / (1 + np.exp(-y)),
    }
    names = activations or ["relu"] * (len(weights) - 1) + ["none"]
    for weight, bias, name in zip(weights, biases or [None] * len(weights), names, strict=True):
        input = functions[name](linear_reference(input, weight, bias))
    return input


# ---------------------------------------------------------------- autograd


class PerceptronOp(Op):
    """Linear maps and activations in a row. Saves x, the weights and the results of the layers.

    Its inputs are the shape, weight and bias of each layer, the last first, and x: where a weight serves in several
    layers, its gradients are added in the order in which layers apart would add them.
    """

    @staticmethod
    def forward(ctx: Context, shape, *operands):
        is_recorded = any(ctx.needs_input_grad)
        program = shape.forward(ctx.needs_input_grad[1:])
        x, last = operands[-1], shape.activations[-1]
        size = (*x.shape[:-1], shape.widths[-1])
        keeps_slope = is_recorded and last.curve is not None
        result = memory.empty((2, *size) if keeps_slope else size, shape.dtype)
        kept = memory.empty((program.room,), shape.dtype)
        nothing = NO_ARRAY[shape.dtype]
        parameters = [nothing if array is None else array for array in operands[:-1]]
        run(program, [nothing, nothing, nothing, x, result, kept, nothing, nothing, *parameters])
        y = result[0] if keeps_slope else result
        if is_recorded:
            ctx.shape = shape
            # The backward of a ReLU reads its result, which must not change; what lies in the tuple is nobody else's.
            watched = None if last.curve is not None or last.name == "none" else y
            ctx.save(*operands[:-1:2], x, watched, (nothing if last.name == "none" else result, kept))
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        *weights, x, _, (result, kept) = ctx.saved
        shape, wants = ctx.shape, ctx.needs_input_grad[1:]
        program = shape.backward(wants)
        nothing, dtype = NO_ARRAY[shape.dtype], shape.dtype
        dx = memory.empty(x.shape, dtype) if wants[-1] else None
        parameters: list[Any] = []
        gradients: list[Any] = []
        for weight, wants_weight, wants_bias in zip(weights, wants[::2], wants[1::2], strict=False):
            parameters += weight, nothing
            gradients.append(memory.empty(weight.shape, dtype) if wants_weight else None)
            gradients.append(memory.empty(weight.shape[:1], dtype) if wants_bias else None)
        made = [nothing if array is None else array for array in (dx, *gradients)]
        room, dy = memory.empty((program.room,), dtype), arrays.contiguous(dy)
        run(program, [nothing, nothing, room, x, result, kept, dy, made[0], *parameters, *made[1:]])
        return None, *gradients, dx


# ---------------------------------------------------------------- public


def perceptron(
    input: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None] | None = None,
    activations: Sequence[str] | None = None,
    negative_slope: float = 0.01,
) -> Tensor:
    r"""Linear maps in a row, each followed by its activation: $h_l = f_l(h_{l-1} W_l^\top + b_l)$ from $h_0 = x$.

    For a batch of up to 128 rows on a CPU a whole pass is one launch; a Sequential of `Linear` layers and activations
    uses it by itself.

    Args:
        input: [*, I], float32 or float64.
        weights: For each layer [O, I], I being the O of the one before; dtype of the input.
        biases: For each layer [O] or None; None for no biases at all.
        activations: For each layer "relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid" or "none";
            ReLU after all layers but the last when None.
        negative_slope: That of "leaky_relu", at least 0.

    Returns:
        [*, O of the last layer], dtype of the input.

    Raises:
        ShapeError: The input has no dimension, or the sizes of two layers do not agree.
        DTypeError: The input is not floating point, or a dtype differs.
        ArgumentError: There is no layer, the lists differ in length, an activation is unknown, or negative_slope is
            negative or not finite.

    Gradient:
        For input, weights and biases: $dY_l = dH_l \odot f_l'(Y_l)$, $dW_l = dY_l^\top H_{l-1}$, $db_l = \sum dY_l$,
        $dH_{l-1} = dY_l W_l$.

    Example:
        >>> weights = [nbdl.tensor([[1.0, 1.0], [1.0, -1.0]]), nbdl.tensor([[2.0, 5.0]])]
        >>> nbdl.ops.perceptron(nbdl.tensor([1.0, 2.0]), weights)
        tensor([6.])

    Source:
        Rumelhart, Hinton and Williams (1986), "Learning representations by back-propagating errors".
    """
    layers = _check_layers(input, weights, biases, activations, negative_slope)
    result = chained(input, layers)
    if result is None:
        result = input
        for weight, bias, activation in layers:
            result = _APART[activation.name](result, weight, bias, activation.number)
    return result


_APART: dict[str, Callable[..., Tensor]] = {
    "none": lambda x, weight, bias, _: linear(x, weight, bias),
    "relu": lambda x, weight, bias, _: linear_relu(x, weight, bias),
    "leaky_relu": linear_leaky_relu,
    "gelu": lambda x, weight, bias, _: linear_gelu(x, weight, bias),
    "gelu_tanh": lambda x, weight, bias, _: linear_gelu(x, weight, bias, "tanh"),
    "silu": lambda x, weight, bias, _: linear_silu(x, weight, bias),
    "tanh": lambda x, weight, bias, _: tanh(linear(x, weight, bias)),
    "sigmoid": lambda x, weight, bias, _: sigmoid(linear(x, weight, bias)),
}

Layer = tuple[Tensor, "Tensor | None", Activation]


def _check_layers(input: Tensor, weights: Any, biases: Any, activations: Any, negative_slope: float) -> list[Layer]:
    check_float("input", input)
    if not input.ndim:
        raise ShapeError("input: expected at least 1 dimension, got a tensor of none")
    count = len(_check_list("weights", weights))
    biases = [None] * count if biases is None else _check_list("biases", biases, count)
    names = ["relu"] * (count - 1) + ["none"] if activations is None else _check_list("activations", activations, count)
    slope = typed_number("negative_slope", check_number("negative_slope", negative_slope, 0), input.dtype)

    def check_parameter(name: str, tensor: Any, shape: tuple[Any, ...]) -> None:
        if not isinstance(tensor, Tensor):
            raise ArgumentTypeError(f"{name}: expected a Tensor, got {type(tensor).__name__}")
        check_same_dtype(name, check_shape(name, tensor, shape), "input", input)

    layers = []
    features = input.shape[-1]
    for number, (weight, bias, name) in enumerate(zip(weights, biases, names, strict=True)):
        check_parameter(f"weights[{number}]", weight, (None, features))
        features = weight.shape[0]
        if bias is not None:
            check_parameter(f"biases[{number}]", bias, (features,))
        check_choice(f"activations[{number}]", name, _APART)
        layers.append((weight, bias, Activation(name, slope if name == "leaky_relu" else 0.0)))
    return layers


def _check_list(name: str, values: Any, count: int | None = None) -> Sequence[Any]:
    if not isinstance(values, (list, tuple)):
        raise ArgumentTypeError(
            f"{name}: expected a list or tuple, one entry for each layer, got {type(values).__name__}"
        )
    if not values or len(values) != (count or len(values)):
        raise ArgumentError(f"{name}: expected {count or 'at least 1'}, one for each layer, got {len(values)}")
    return values


# ---------------------------------------------------------------- whether it can be one operation


def chained(input: Tensor, layers: Sequence[Layer]) -> Tensor | None:
    """The result as one operation; None where the layers have to be called one by one.

    That is where there is little to save, over ROWS rows, and for all that the programs leave out: arrays with gaps,
    empty ones, a GPU, mixed precision, and shapes and dtypes that do not fit, of which a layer says what is wrong.
    """
    if mixing.allowed or not isinstance(input, Tensor):
        return None
    x = input._array
    if x.dtype not in NO_ARRAY or not x.ndim or not _fits(x, x.dtype):
        return None
    rows = math.prod(x.shape[:-1])
    if rows > ROWS:
        return None
    widths, biases, activations = [x.shape[-1]], [], []
    operands: list[Any] = [input]
    for weight, bias, activation in layers:
        array = weight._array
        if array.ndim != 2 or array.shape[1] != widths[-1] or not _fits(array, x.dtype):
            return None
        outputs = array.shape[0]
        if bias is not None and (bias._array.shape != (outputs,) or not _fits(bias._array, x.dtype)):
            return None
        widths.append(outputs)
        biases.append(bias is not None)
        activations.append(activation)
        operands += bias, weight
    shape = shape_of(rows, tuple(widths), tuple(biases), tuple(activations), x.dtype, threads.get_num_threads())
    return PerceptronOp.apply(shape, *reversed(operands))


def _fits(array: Any, dtype: np.dtype) -> bool:
    return type(array) is np.ndarray and array.dtype == dtype and array.flags.c_contiguous and array.size > 0
