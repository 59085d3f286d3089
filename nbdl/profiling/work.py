r"""How many floating-point operations an operation is, counted from its shapes.

Counted is the definition, not what a kernel makes of it: a convolution in tiles that save multiplications counts like
any other. An addition, a multiplication, a division, a comparison and a function of one number (exp, tanh, erf, a whole
activation) count one each; a product of matrices [M, K] and [K, N] counts $2MKN$. What is done once a row and not once
an element (the root in a norm) is left out, and so is what only moves numbers.

The way back of a product of two operands is one product of the same size for each operand that wants a gradient. For
everything else it is taken to cost what the way forward costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nbdl.autograd import Op, Tensor


class Sized(NamedTuple):
    """What is remembered of an array: no reference that would keep it alive."""

    shape: tuple[int, ...]
    nbytes: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Work(NamedTuple):
    """Floating-point operations.

    Attributes:
        products: In products of matrices, and convolutions.
        others: Elsewhere.
    """

    products: int = 0
    others: int = 0

    @property
    def total(self) -> int:
        return self.products + self.others


def describe(value: Any) -> Any:
    """The shape and bytes of a tensor or an array; everything else as it is."""
    if isinstance(value, Tensor):
        value = value._array
    return Sized(value.shape, value.nbytes) if hasattr(value, "nbytes") and hasattr(value, "shape") else value


Rule = Callable[..., Work]
"""From the outputs and the inputs of an operation, described, to its work."""


# ---------------------------------------------------------------- products


def _product(y: Any, a: Any, b: Any) -> Work:
    return Work(2 * y[0].size * a.shape[-1])


def _linear(y: Any, x: Any, weight: Any, bias: Any, curve: Any) -> Work:
    return Work(2 * y[0].size * weight.shape[1], y[0].size * ((bias is not None) + bool(curve)))


def _perceptron(y: Any, shape: Any, *operands: Any) -> Work:
    """The linear maps and their activations."""
    products = others = 0
    for outputs, inputs, has_bias, activation in zip(
        shape.widths[1:], shape.widths, shape.biases, shape.activations, strict=False
    ):
        products += 2 * shape.rows * outputs * inputs
        others += shape.rows * outputs * (has_bias + (activation.name != "none"))
    return Work(products, others)


def _convolution(y: Any, x: Any, weight: Any, bias: Any, *options: Any) -> Work:
    relu = options[-1]
    return Work(2 * y[0].size * math.prod(weight.shape[1:]), y[0].size * ((bias is not None) + bool(relu)))


def _transposed_convolution(y: Any, x: Any, weight: Any, bias: Any, *_: Any) -> Work:
    return Work(2 * x.size * math.prod(weight.shape[1:]), y[0].size * (bias is not None))


# ---------------------------------------------------------------- recurrent layers


def _rnn(y: Any, x: Any, h0: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, *_: Any) -> Work:
    """One gate: the sum of two products, two biases, one function."""
    cells = x.shape[0] * h0.shape[1]
    return Work(2 * x.shape[0] * (weight_ih.size + weight_hh.size), cells * (2 + 2 * (bias_ih is not None)))


def _gru(y: Any, x: Any, h0: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, *_: Any) -> Work:
    """Three gates: sums, r times the state's part, three functions, the mixture (1 - z) n + z h."""
    cells = x.shape[0] * h0.shape[1]
    return Work(2 * x.shape[0] * (weight_ih.size + weight_hh.size), cells * (3 + 1 + 3 + 4 + 6 * (bias_ih is not None)))


def _lstm(
    y: Any,
    x: Any,
    h0: Any,
    c0: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any,
    bias_hh: Any,
    weight_hr: Any,
    *_: Any,
) -> Work:
    """Four gates: sums, four functions, f c + i g, o tanh(c)."""
    weights = weight_ih.size + weight_hh.size + (0 if weight_hr is None else weight_hr.size)
    cells = x.shape[0] * c0.shape[1]
    return Work(2 * x.shape[0] * weights, cells * (4 + 4 + 3 + 2 + 8 * (bias_ih is not None)))


# ---------------------------------------------------------------- attention


def _attention(y: Any, query: Any, key: Any, value: Any, mask: Any, dropout: float, causal: bool, *_: Any) -> Work:
    """Scores, their scale and mask, a softmax over each row, and the mixture of the values."""
    (*_, length, features), places, mixed = query.shape, key.shape[-2], value.shape[-1]
    rows = query.size // max(features, 1)
    pairs = rows * places
    if causal:  # position i sees the first i + 1
        seen = min(length, places)
        pairs = rows // max(length, 1) * (seen * (seen + 1) // 2 + (length - seen) * places)
    return Work(2 * pairs * (features + mixed), pairs * (1 + (mask is not None) + _SOFTMAX + (dropout > 0)))


# ---------------------------------------------------------------- normalization and softmax

_SOFTMAX = 5
"""The largest, the difference to it, its exponential, the sum, the quotient."""

_NORM = 5
"""The sum, the difference to the mean, its square, their sum, the factor."""


def _layer_norm(y: Any, x: Any, weight: Any, bias: Any, *_: Any) -> Work:
    return Work(0, x.size * (_NORM + (weight is not None) + (bias is not None)))


def _rms_norm(y: Any, x: Any, weight: Any, *_: Any) -> Work:
    return Work(0, x.size * (3 + (weight is not None)))


def _residual_layer_norm(y: Any, x: Any, residual: Any, *parameters: Any) -> Work:
    return Work(0, x.size + _layer_norm(y, x, *parameters).others)


def _residual_rms_norm(y: Any, x: Any, residual: Any, *parameters: Any) -> Work:
    return Work(0, x.size + _rms_norm(y, x, *parameters).others)


def _group_norm(y: Any, x: Any, mean: Any, variance: Any, weight: Any, bias: Any, *_: Any) -> Work:
    return Work(0, x.size * (_NORM + (weight is not None) + (bias is not None)))


def _batch_norm(y: Any, x: Any, mean: Any, variance: Any, weight: Any, bias: Any, training: bool, *_: Any) -> Work:
    """With running statistics, only the difference and the factor."""
    return Work(0, x.size * ((_NORM if training else 2) + (weight is not None) + (bias is not None)))


def _local_response_norm(y: Any, x: Any, size: int, *_: Any) -> Work:
    """Squares, the mean of `size` of them, plus k, the power, the quotient."""
    return Work(0, x.size * (size + 4))


# ---------------------------------------------------------------- windows


def _covered(rows: Any, columns: Any) -> int:
    """Inputs in all windows of an image, counted once a window."""
    along = [int(np.maximum((w.inputs[:, 1] - w.inputs[:, 0]) // w.inputs[:, 2] + 1, 0).sum()) for w in (rows, columns)]
    return along[0] * along[1]


def _images(y: Any, rows: Any, columns: Any) -> int:
    return y[0].size // max(len(rows.counts) * len(columns.counts), 1)


def _max_pool(y: Any, x: Any, rows: Any, columns: Any, *_: Any) -> Work:
    """One comparison less than a window has inputs."""
    return Work(0, _images(y, rows, columns) * _covered(rows, columns) - y[0].size)


def _average_pool(y: Any, x: Any, rows: Any, columns: Any, *_: Any) -> Work:
    """The sum, and the division."""
    return Work(0, _images(y, rows, columns) * _covered(rows, columns))


def _resample(y: Any, x: Any, rows: Any, columns: Any) -> Work:
    """A weighted sum; where every weight is one, a copy."""
    along = [len(matrix.input_ends) - 1 for matrix in (rows, columns)]
    terms = math.prod(int(matrix.input_ends[-1] - matrix.input_ends[0]) for matrix in (rows, columns))
    places = math.prod(along)
    return Work(0, 0 if terms == places else y[0].size // max(places, 1) * (2 * terms - places))


# ---------------------------------------------------------------- the rest


def _each_output(factor: int) -> Rule:
    return lambda y, *_: Work(0, factor * y[0].size)


def _each_input(factor: int) -> Rule:
    return lambda y, *inputs: Work(0, factor * inputs[0].size)


def _distances(y: Any, x1: Any, x2: Any, *_: Any) -> Work:
    """Of each element of each pair of vectors the difference, its power, and the sum."""
    return Work(0, 3 * y[0].size * x1.shape[-1])


def _reduced(y: Any, x: Any, *_: Any) -> Work:
    """A sum or a search: one operation less than there are elements."""
    return Work(0, max(x.size - y[0].size, 0))


def _nothing(*_: Any) -> Work:
    return Work()


RULES: dict[str, Rule] = {
    "LinearOp": _linear,
    "LinearLeakyReluOp": _linear,
    "LinearCurveOp": _linear,
    "PerceptronOp": _perceptron,
    "MatmulOp": _product,
    "ScaledDotProductAttentionOp": _attention,
    "ConvolutionOp": _convolution,
    "ConvTransposeOp": _transposed_convolution,
    "RNNOp": _rnn,
    "GRUOp": _gru,
    "LSTMOp": _lstm,
    "LayerNormOp": _layer_norm,
    "RMSNormOp": _rms_norm,
    "ResidualLayerNormOp": _residual_layer_norm,
    "ResidualRMSNormOp": _residual_rms_norm,
    "GroupNormOp": _group_norm,
    "BatchNormOp": _batch_norm,
    "LocalResponseNormOp": _local_response_norm,
    "SoftmaxOp": _each_output(_SOFTMAX),
    "LogSoftmaxOp": _each_output(_SOFTMAX),
    "CrossEntropyOp": _each_input(_SOFTMAX),
    "SoftCrossEntropyOp": _each_input(_SOFTMAX + 2),
    "NllLossOp": lambda y, x, *_: Work(0, x.shape[0] if x.shape else 0),
    "MaxPoolOp": _max_pool,
    "MaxPool2x2Op": _each_output(3),
    "AvgPoolOp": _average_pool,
    "ResampleOp": _resample,
    "EmbeddingBagOp": lambda y, weight, scale, ids, *_: Work(0, ids.size * weight.shape[1] * (1 + (scale is not None))),
    "FoldOp": _each_input(1),
    "DropoutOp": _each_output(1),
    "GluOp": _each_output(2),
    "SwigluOp": _each_output(2),
    "AddScaledOp": _each_output(2),
    "LerpOp": _each_output(3),
    "AddProductOp": _each_output(3),
    "AddQuotientOp": _each_output(3),
    "CosineSimilarityOp": _each_input(6),
    "CdistOp": _distances,
    "MeanOp": _each_input(1),
    "VarOp": _each_input(4),
    "NormOp": _each_input(2),
    "LogSumExpOp": _each_input(4),
    "LogCumsumExpOp": _each_input(4),
    "CtcLossOp": _each_input(4),
}
"""By the name of the operation."""

FAMILIES: dict[str, Rule] = {
    "nbdl.ops.elementwise.casting": _nothing,
    "nbdl.ops.elementwise.selection": _nothing,
    "nbdl.ops.elementwise": _each_output(1),
    "nbdl.ops.activation": _each_output(1),
    "nbdl.ops.reduction": _reduced,
    "nbdl.ops.scan": _each_input(1),
    "nbdl.ops.loss": _each_input(3),
    "nbdl.ops.rotary": _each_output(3),
}
"""By the file or folder, for operations without a rule of their own. What stands in none of them only moves numbers."""

_found: dict[type, Rule] = {}


def rule_of(op: type[Op]) -> Rule:
    """The rule that counts an operation."""
    rule = _found.get(op)
    if rule is None:
        rule = RULES.get(op.__name__)
        if rule is None:
            fitting = [name for name in FAMILIES if f"{op.__module__}.".startswith(f"{name}.")]
            rule = FAMILIES[max(fitting, key=len)] if fitting else _nothing
        _found[op] = rule
    return rule


def forward_work(op: type[Op], inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> Work:
    """The work of an operation on inputs that `describe` described."""
    return rule_of(op)(outputs, *inputs)


OPERANDS = {
    "LinearOp": (0, 1),
    "LinearLeakyReluOp": (0, 1),
    "LinearCurveOp": (0, 1),
    "MatmulOp": (0, 1),
    "ConvolutionOp": (0, 1),
    "ConvTransposeOp": (0, 1),
}
"""Which inputs of a product are its operands."""

RECURRENT = ("RNNOp", "GRUOp", "LSTMOp")


def backward_work(op: type[Op], inputs: tuple[Any, ...], forward: Work, needs: tuple[bool, ...]) -> Work:
    """The work of the way back, for the inputs whose gradients are wanted."""
    products = 2 * forward.products
    if op.__name__ in OPERANDS:
        products = forward.products * sum(needs[place] for place in OPERANDS[op.__name__])
    elif op.__name__ in RECURRENT and not needs[0]:
        weight_ih = inputs[3 if op.__name__ == "LSTMOp" else 2]
        products -= 2 * inputs[0].shape[0] * weight_ih.size
    elif op.__name__ == "PerceptronOp":
        products = _perceptron_backward(inputs[0], needs[1:])
    return Work(products, forward.others)


def _perceptron_backward(shape: Any, needs: tuple[bool, ...]) -> int:
    """Products for the weights whose gradients are wanted, and for what lies below a layer if any of that is."""
    products = 0
    for place, (outputs, inputs) in enumerate(zip(shape.widths[:0:-1], shape.widths[-2::-1], strict=True)):
        products += 2 * shape.rows * outputs * inputs * (needs[2 * place] + any(needs[2 * place + 2 :]))
    return products
