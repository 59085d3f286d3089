"""Operations that do the work of two: linear maps with an activation, sums with a norm, gates; and rotary positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl import ops
from nbdl.ops.activation.swiglu import swiglu_reference
from nbdl.ops.matmul.linear import linear_gelu_reference, linear_silu_reference
from nbdl.ops.normalization.residual import residual_layer_norm_reference, residual_rms_norm_reference
from nbdl.ops.rotary import rotary_embedding_reference
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal
from nbdl.testing.specs import matmul, normalization

PRODUCT_TOLERANCE = {"float64": 1e-12, "float32": 3e-5}

# ---------------------------------------------------------------- linear maps with an activation


def _linear(draw: Draw) -> dict[str, Any]:
    return matmul.linear_case(draw)


def _linear_gelu(draw: Draw) -> dict[str, Any]:
    return {**matmul.linear_case(draw), "approximate": draw.choice(("none", "tanh"))}


def _wide_linear(draw: Draw) -> dict[str, Any]:
    """More outputs than a CUDA block computes; few rows, so that the product is computed transposed; or one row."""
    rows, inputs = draw.choice(((3, 5), (1, 4), (70, 2))), 2
    outputs = draw.integer(65, 90)
    return {
        "input": draw.array((rows[0], inputs)),
        "weight": draw.array((outputs, inputs)),
        "bias": draw.array((outputs,)),
    }


# ---------------------------------------------------------------- rotary positions


def _positions(draw: Draw, shape: tuple[int, ...]) -> Any:
    kind = draw.choice(("none", "offset", "line", "batch"))
    if kind == "offset":
        return draw.integer(-3, 70000)
    if kind == "line":
        return draw.integers(shape[-2:-1], -9, 3000)
    if kind == "batch" and len(shape) > 2:
        return draw.integers((shape[0], shape[-2]), 0, 3000)
    return None


def _rotary(draw: Draw) -> dict[str, Any]:
    shape = (*draw.shape(1, 3, 4), 2 * draw.integer(1, 4))
    x = draw.array(shape)
    if x.ndim == 4 and draw.boolean():  # [B, T, H, D] seen as [B, H, T, D]
        x = np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    return {
        "x": x,
        "positions": _positions(draw, shape),
        "base": draw.choice((10000.0, 7.0)),
        "interleaved": draw.boolean(),
    }


def _wide_rotary(draw: Draw) -> dict[str, Any]:
    """More pairs than a CUDA block has threads."""
    return {"x": draw.array((1, 2, 2 * draw.integer(129, 140))), "positions": 5, "interleaved": draw.boolean()}


def _turned(**changed: Any) -> dict[str, Any]:
    return {"x": np.ones((2, 3, 4)), **changed}


ROTARY_REFUSALS = (
    Refusal(lambda: _turned(x=np.ones((3, 4), np.int64)), DTypeError, "x"),
    Refusal(lambda: _turned(x=np.ones(4)), ShapeError, "x"),
    Refusal(lambda: _turned(x=np.ones((2, 3))), ShapeError, "x"),
    Refusal(lambda: _turned(positions=np.ones(3)), DTypeError, "positions"),
    Refusal(lambda: _turned(positions=np.ones(2, np.int64)), ShapeError, "positions"),
    Refusal(lambda: _turned(positions=np.ones((3, 3), np.int64)), ShapeError, "positions"),
    Refusal(lambda: _turned(positions=np.full(3, 1 << 22)), IndexRangeError, "positions"),
    Refusal(lambda: _turned(positions=(1 << 22) - 2), IndexRangeError, "positions"),
    Refusal(lambda: _turned(positions=1.5), ArgumentTypeError, "positions"),
    Refusal(lambda: _turned(base=0.0), ArgumentError, "base"),
)

# ---------------------------------------------------------------- gates


def _gated(draw: Draw) -> dict[str, Any]:
    shape = draw.shape(max_size=4)
    return {"gate": draw.array(shape, -4.0, 4.0), "up": draw.array(shape)}


def _many_gated(draw: Draw) -> dict[str, Any]:
    """More elements than a CUDA block has threads."""
    shape = (3, draw.integer(50, 60))
    return {"gate": draw.array(shape, -30.0, 30.0), "up": draw.array(shape)}


SWIGLU_REFUSALS = (
    Refusal(lambda: {"gate": np.ones(3, np.int64), "up": np.ones(3, np.int64)}, DTypeError, "gate"),
    Refusal(lambda: {"gate": np.ones(3), "up": np.ones((1, 3))}, ShapeError, "up"),
    Refusal(lambda: {"gate": np.ones(3), "up": np.ones(3, np.float32)}, DTypeError, "up"),
)

# ---------------------------------------------------------------- sums with a norm


def _two(draw: Draw, case: dict[str, Any]) -> dict[str, Any]:
    """A normalization's input as the sum of two tensors."""
    total = np.asarray(case.pop("input"))
    x = draw.array(total.shape)
    return {"x": x, "residual": draw.lay_out(total - x, allow_broadcast=False), **case}


def _residual_rows(draw: Draw) -> dict[str, Any]:
    return _two(draw, normalization.rows(draw))


def _residual_rows_without_bias(draw: Draw) -> dict[str, Any]:
    return _two(draw, normalization.rows_without_bias(draw))


def _residual_long_rows(draw: Draw) -> dict[str, Any]:
    return _two(draw, normalization.long_rows(draw))


def _summed(**changed: Any) -> dict[str, Any]:
    return {"x": np.ones((2, 3)), "residual": np.ones((2, 3)), "normalized_shape": (3,), **changed}


RESIDUAL_REFUSALS = (
    Refusal(lambda: _summed(x=np.ones((2, 3), np.int64)), DTypeError, "x"),
    Refusal(lambda: _summed(residual=np.ones((2, 3), np.float32)), DTypeError, "residual"),
    Refusal(lambda: _summed(residual=np.ones(3)), ShapeError, "residual"),
    Refusal(lambda: _summed(normalized_shape=(2,)), ShapeError, "x"),
    Refusal(lambda: _summed(normalized_shape=()), ArgumentError, "normalized_shape"),
    Refusal(lambda: _summed(weight=np.ones(2)), ShapeError, "weight"),
    Refusal(lambda: _summed(eps="small"), ArgumentTypeError, "eps"),
)

# ---------------------------------------------------------------- rows

PARAMETERS = ("input", "weight", "bias")


def _feed_forward(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "input": rng.standard_normal((1024, 128)),
        "weight": rng.standard_normal((512, 128)),
        "bias": rng.standard_normal(512),
    }


SPECS = (
    OpSpec(
        ops.linear_gelu,
        linear_gelu_reference,
        _linear_gelu,
        PARAMETERS,
        PRODUCT_TOLERANCE,
        (
            *matmul.LINEAR_REFUSALS,
            Refusal(
                lambda: {"input": np.ones((2, 3)), "weight": np.ones((4, 3)), "approximate": "erf"},
                ArgumentError,
                "approximate",
            ),
        ),
        _feed_forward,
    ),
    OpSpec(
        ops.linear_gelu,
        linear_gelu_reference,
        _wide_linear,
        PARAMETERS,
        PRODUCT_TOLERANCE,
        variant="wide",
    ),
    OpSpec(
        ops.linear_silu,
        linear_silu_reference,
        _linear,
        PARAMETERS,
        PRODUCT_TOLERANCE,
        matmul.LINEAR_REFUSALS,
    ),
    OpSpec(
        ops.rotary_embedding,
        rotary_embedding_reference,
        _rotary,
        ("x",),
        {"float64": 1e-9, "float32": 1e-5},  # at position 70,000 the reference's own angles have lost 11 digits
        ROTARY_REFUSALS,
        lambda rng: {"x": rng.standard_normal((8, 4, 128, 32))},
        "reference/ops/rotary",
    ),
    OpSpec(
        ops.rotary_embedding,
        rotary_embedding_reference,
        _wide_rotary,
        ("x",),
        variant="wide",
    ),
    OpSpec(
        ops.swiglu,
        swiglu_reference,
        _gated,
        ("gate", "up"),
        refusals=SWIGLU_REFUSALS,
        benchmark=lambda rng: {"gate": rng.standard_normal((1024, 512)), "up": rng.standard_normal((1024, 512))},
    ),
    OpSpec(
        ops.swiglu,
        swiglu_reference,
        _many_gated,
        ("gate", "up"),
        tolerance={"float64": 1e-12, "float32": 3e-5},
        variant="many elements",
    ),
    normalization.spec(
        ops.residual_layer_norm,
        residual_layer_norm_reference,
        _residual_rows,
        ("x", "residual", "weight", "bias"),
        refusals=RESIDUAL_REFUSALS,
        benchmark=lambda rng: {
            "x": rng.standard_normal((1024, 128)),
            "residual": rng.standard_normal((1024, 128)),
            "normalized_shape": (128,),
        },
    ),
    normalization.spec(
        ops.residual_layer_norm,
        residual_layer_norm_reference,
        _residual_long_rows,
        ("x", "residual", "weight"),
        variant="long rows",
    ),
    normalization.spec(
        ops.residual_rms_norm,
        residual_rms_norm_reference,
        _residual_rows_without_bias,
        ("x", "residual", "weight"),
        refusals=RESIDUAL_REFUSALS,
    ),
    normalization.spec(
        ops.residual_rms_norm,
        residual_rms_norm_reference,
        _residual_long_rows,
        ("x", "residual", "weight"),
        variant="long rows",
    ),
)
