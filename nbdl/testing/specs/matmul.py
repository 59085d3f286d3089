"""Matrix products, linear maps and Einstein's summation."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.ops.matmul.einsum import einsum_reference
from nbdl.ops.matmul.linear import (
    bilinear_reference,
    linear_leaky_relu_reference,
    linear_reference,
    linear_relu_reference,
)
from nbdl.ops.matmul.perceptron import perceptron_reference
from nbdl.ops.matmul.products import dot_reference, matmul_reference, outer_reference
from nbdl.runtime.errors import ArgumentError, DTypeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


def _size(draw: Draw) -> int:
    """Mostly small; now and then zero, or more than a tile of any processor."""
    return draw.choice((3, 1, 2, 5, 4, 0, 17, 37))


def _ones(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def _layers(*shapes: tuple[int, ...], dtype: Any = np.float32) -> list[Tensor]:
    return [Tensor(_ones(*shape, dtype=dtype)) for shape in shapes]


def _any_ranks(draw: Draw) -> dict[str, Any]:
    m, n, k = _size(draw), _size(draw), _size(draw)
    batch = draw.shape(0, 2, 3)
    a, b = draw.choice((((m, k), (k, n)), ((k,), (k,)), ((k,), (k, n)), ((m, k), (k,)), ((m, k), (k, n))))
    if len(a) == 2 and draw.boolean():
        a = (*draw.broadcastable(batch), *a)
    if len(b) == 2 and draw.boolean():
        b = (*draw.broadcastable(batch), *b)
    return {"input": draw.array(a), "other": draw.array(b)}


def _matrices(draw: Draw) -> dict[str, Any]:
    m, n, k = _size(draw), _size(draw), _size(draw)
    return {"input": draw.array((m, k)), "mat2": draw.array((k, n))}


def _batches(draw: Draw) -> dict[str, Any]:
    batch, m, n, k = draw.integer(1, 4), _size(draw), _size(draw), _size(draw)
    return {"input": draw.array((batch, m, k)), "mat2": draw.array((batch, k, n))}


def _matrix_and_vector(draw: Draw) -> dict[str, Any]:
    m, k = _size(draw), _size(draw)
    return {"input": draw.array((m, k)), "vec": draw.array((k,))}


def _vectors(draw: Draw) -> dict[str, Any]:
    k = _size(draw)
    return {"input": draw.array((k,)), "tensor": draw.array((k,))}


def _two_vectors(draw: Draw) -> dict[str, Any]:
    return {"input": draw.array((_size(draw),)), "vec2": draw.array((_size(draw),))}


def linear_case(draw: Draw) -> dict[str, Any]:
    """Any leading dimensions, with a bias or without."""
    outputs, inputs = _size(draw), _size(draw)
    case = {"input": draw.array((*draw.shape(0, 2, 4), inputs)), "weight": draw.array((outputs, inputs))}
    if draw.boolean():
        case["bias"] = draw.array((outputs,))
    return case


ACTIVATIONS = ("none", "relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid")


def _perceptron(draw: Draw) -> dict[str, Any]:
    """One to three layers, any activations, biases for some; now and then a batch that one launch does not take."""
    widths = [_size(draw) for _ in range(draw.integer(2, 4))]
    lead = draw.choice((draw.shape(0, 2, 4), (130,)))
    case = {"input": draw.array((*lead, widths[0]))}
    case["weights"] = [draw.array((outputs, inputs)) for inputs, outputs in pairwise(widths)]
    if draw.boolean():
        case["biases"] = [draw.array((outputs,)) if draw.boolean() else None for outputs in widths[1:]]
    if draw.boolean():
        case["activations"] = [draw.choice(ACTIVATIONS) for _ in widths[1:]]
        case["negative_slope"] = draw.choice((0.0, 0.01, 0.2, 1.0))
    return case


def _bilinear(draw: Draw) -> dict[str, Any]:
    lead, first, second, outputs = draw.shape(0, 2, 4), draw.integer(1, 5), draw.integer(1, 5), draw.integer(1, 4)
    case = {
        "input1": draw.array((*lead, first)),
        "input2": draw.array((*lead, second)),
        "weight": draw.array((outputs, first, second)),
    }
    if draw.boolean():
        case["bias"] = draw.array((outputs,))
    return case


EQUATIONS = (
    "ij,jk->ik", "ij,jk", "ii", "ii->i", "ij->ji", "ij->", "ij->j", "i,j->ij", "i,i->", "i,i->i", "bij,bjk->bik",
    "b i j , b j k -> b i k", "...ij,...jk->...ik", "...ij,...jk", "i...->...", "...,...->...", "bhqd,bhkd->bhqk",
    "ij,jk,kl->il", "bi,oij,bj->bo", "iij->j", "iij,jk->ik", "Ab,bA->A", "ab,bc,cd,de->ae", "a,b,c,d,e,f->",
    "ijij->ij", ",ij->ij",
)  # fmt: skip


def _einsum(draw: Draw) -> dict[str, Any]:
    equation = draw.choice(EQUATIONS)
    size = {letter: draw.integer(1, 4) for letter in sorted(set(equation)) if letter.isalpha()}
    more = draw.shape(0, 2, 3)
    operands = []
    for part in equation.replace(" ", "").split("->")[0].split(","):
        before, dots, after = part.partition("...")
        middle = more[draw.integer(0, len(more)) :] if dots else ()
        operands.append(draw.array((*(size[x] for x in before), *middle, *(size[x] for x in after))))
    return {"equation": equation, "operands": operands}


def einsum(equation: str, operands: list[Any]) -> Any:
    """`ops.einsum` with its operands as one argument."""
    return ops.einsum(equation, *operands)


LINEAR_REFUSALS = (
    Refusal(lambda: {"input": _ones(2, 3), "weight": _ones(4, 2)}, ShapeError, "input"),
    Refusal(lambda: {"input": _ones(2, 3), "weight": _ones(3)}, ShapeError, "weight"),
    Refusal(lambda: {"input": _ones(2, 3), "weight": _ones(4, 3), "bias": _ones(3)}, ShapeError, "bias"),
    Refusal(lambda: {"input": _ones(2, 3), "weight": _ones(4, 3, dtype=np.float64)}, DTypeError, "weight"),
)

SPECS = (
    OpSpec(
        function=ops.matmul,
        reference=matmul_reference,
        inputs=_any_ranks,
        differentiable=("input", "other"),
        tolerance=TOLERANCE,
        refusals=(
            Refusal(lambda: {"input": _ones(2, 3), "other": _ones(2, 3)}, ShapeError, "other"),
            Refusal(lambda: {"input": _ones(), "other": _ones(2)}, ShapeError, "input"),
            Refusal(lambda: {"input": _ones(2, 2, 3), "other": _ones(4, 3, 2)}, ShapeError, "other"),
            Refusal(lambda: {"input": _ones(2, 3), "other": _ones(3, 2, dtype=np.float64)}, DTypeError, "other"),
            Refusal(lambda: {"input": _ones(2, dtype=np.int64), "other": _ones(2)}, DTypeError, "input"),
        ),
        benchmark=lambda rng: {
            "input": rng.standard_normal((512, 512)).astype(np.float32),
            "other": rng.standard_normal((512, 512)).astype(np.float32),
        },
    ),
    OpSpec(
        function=ops.mm,
        reference=lambda input, mat2: matmul_reference(input, mat2),
        inputs=_matrices,
        differentiable=("input", "mat2"),
        tolerance=TOLERANCE,
        refusals=(
            Refusal(lambda: {"input": _ones(2, 3), "mat2": _ones(2, 3)}, ShapeError, "mat2"),
            Refusal(lambda: {"input": _ones(2, 2, 3), "mat2": _ones(3, 3)}, ShapeError, "input"),
            Refusal(lambda: {"input": _ones(2, 3), "mat2": _ones(3)}, ShapeError, "mat2"),
        ),
    ),
    OpSpec(
        function=ops.bmm,
        reference=lambda input, mat2: matmul_reference(input, mat2),
        inputs=_batches,
        differentiable=("input", "mat2"),
        tolerance=TOLERANCE,
        refusals=(
            Refusal(lambda: {"input": _ones(2, 2, 3), "mat2": _ones(1, 3, 3)}, ShapeError, "mat2"),
            Refusal(lambda: {"input": _ones(2, 2, 3), "mat2": _ones(2, 2, 3)}, ShapeError, "mat2"),
            Refusal(lambda: {"input": _ones(2, 3), "mat2": _ones(3, 3)}, ShapeError, "input"),
        ),
    ),
    OpSpec(
        function=ops.mv,
        reference=lambda input, vec: matmul_reference(input, vec),
        inputs=_matrix_and_vector,
        differentiable=("input", "vec"),
        tolerance=TOLERANCE,
        refusals=(Refusal(lambda: {"input": _ones(2, 3), "vec": _ones(2)}, ShapeError, "vec"),),
    ),
    OpSpec(
        function=ops.dot,
        reference=dot_reference,
        inputs=_vectors,
        differentiable=("input", "tensor"),
        tolerance=TOLERANCE,
        refusals=(
            Refusal(lambda: {"input": _ones(2), "tensor": _ones(3)}, ShapeError, "tensor"),
            Refusal(lambda: {"input": _ones(2, 2), "tensor": _ones(2)}, ShapeError, "input"),
        ),
    ),
    OpSpec(
        function=ops.outer,
        reference=outer_reference,
        inputs=_two_vectors,
        differentiable=("input", "vec2"),
        tolerance=TOLERANCE,
        refusals=(Refusal(lambda: {"input": _ones(2, 2), "vec2": _ones(3)}, ShapeError, "input"),),
    ),
    OpSpec(
        function=ops.linear,
        reference=linear_reference,
        inputs=linear_case,
        differentiable=("input", "weight", "bias"),
        tolerance=TOLERANCE,
        refusals=LINEAR_REFUSALS,
        benchmark=lambda rng: {
            "input": rng.standard_normal((64, 784)).astype(np.float32),
            "weight": rng.standard_normal((256, 784)).astype(np.float32),
            "bias": rng.standard_normal(256).astype(np.float32),
        },
    ),
    OpSpec(
        function=ops.linear_relu,
        reference=linear_relu_reference,
        inputs=linear_case,
        differentiable=("input", "weight", "bias"),
        tolerance=TOLERANCE,
        refusals=LINEAR_REFUSALS,
    ),
    OpSpec(
        function=ops.linear_leaky_relu,
        reference=linear_leaky_relu_reference,
        inputs=lambda draw: {**linear_case(draw), "negative_slope": draw.choice((0.0, 0.01, 0.2, 1.0, 1.5))},
        differentiable=("input", "weight", "bias"),
        tolerance=TOLERANCE,
        refusals=(
            *LINEAR_REFUSALS,
            Refusal(
                lambda: {"input": _ones(2, 3), "weight": _ones(4, 3), "negative_slope": -0.1},
                ArgumentError,
                "negative_slope",
            ),
        ),
    ),
    OpSpec(
        function=ops.perceptron,
        reference=perceptron_reference,
        inputs=_perceptron,
        differentiable=("input", "weights", "biases"),
        tolerance={"float64": 1e-12, "float32": 1e-4},
        refusals=(
            Refusal(lambda: {"input": _ones(2, 3), "weights": []}, ArgumentError, "weights"),
            Refusal(lambda: {"input": _ones(2, 3), "weights": _layers((4, 3), (2, 5))}, ShapeError, "weights[1]"),
            Refusal(lambda: {"input": _ones(2, 3), "weights": _layers((4, 3)), "biases": []}, ArgumentError, "biases"),
            Refusal(
                lambda: {"input": _ones(2, 3), "weights": _layers((4, 3)), "biases": _layers((3,))},
                ShapeError,
                "biases[0]",
            ),
            Refusal(
                lambda: {"input": _ones(2, 3), "weights": _layers((4, 3)), "activations": ["swish"]},
                ArgumentError,
                "activations",
            ),
            Refusal(
                lambda: {"input": _ones(2, 3), "weights": _layers((4, 3), dtype=np.float64)}, DTypeError, "weights[0]"
            ),
        ),
    ),
    OpSpec(
        function=ops.bilinear,
        reference=bilinear_reference,
        inputs=_bilinear,
        differentiable=("input1", "input2", "weight", "bias"),
        tolerance={"float64": 1e-12, "float32": 5e-5},
        refusals=(
            Refusal(
                lambda: {"input1": _ones(2, 3), "input2": _ones(1, 3), "weight": _ones(4, 3, 3)}, ShapeError, "input2"
            ),
            Refusal(
                lambda: {"input1": _ones(2, 3), "input2": _ones(2, 3), "weight": _ones(4, 2, 3)}, ShapeError, "input1"
            ),
        ),
    ),
    OpSpec(
        function=einsum,
        reference=lambda equation, operands: einsum_reference(equation, *operands),
        inputs=_einsum,
        differentiable=("operands",),
        tolerance={"float64": 1e-12, "float32": 5e-5},
        refusals=(
            Refusal(lambda: {"equation": "ij,jk", "operands": [_ones(2, 3)]}, ArgumentError, "equation"),
            Refusal(lambda: {"equation": "ij->k", "operands": [_ones(2, 3)]}, ArgumentError, "equation"),
            Refusal(lambda: {"equation": "i.j", "operands": [_ones(2, 3)]}, ArgumentError, "equation"),
            Refusal(lambda: {"equation": "ijk", "operands": [_ones(2, 3)]}, ShapeError, "operands"),
            Refusal(lambda: {"equation": "ii", "operands": [_ones(2, 3)]}, ShapeError, "operands"),
        ),
    ),
)
