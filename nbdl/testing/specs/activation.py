"""Activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbdl.ops.activation import gated, random_slopes, rectifiers, smooth
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal, reseeded

Options = Callable[[Draw], dict[str, Any]]

SIGNED = np.array([-1.0, 2.0])
WHOLE = np.array([-1, 2])


def _row(
    module: Any,
    name: str,
    options: Options = lambda draw: {},
    kinks: Callable[[dict[str, Any]], Sequence[float]] = lambda options: (),
    refusals: tuple[Refusal, ...] = (),
    span: float = 4.0,
    integers: bool = False,
    float32: float = 1e-5,
) -> OpSpec:
    """A row of an activation that works element by element: `options` draws its numbers, `kinks` finds its corners."""

    def inputs(draw: Draw) -> dict[str, Any]:
        chosen = options(draw)
        return {"input": draw.array(draw.shape(max_size=4), -span, span, avoid=kinks(chosen)), **chosen}

    floats_only = Refusal(lambda: {"input": WHOLE, **options(_first())}, DTypeError, "input")
    return OpSpec(
        function=getattr(module, name),
        reference=getattr(module, f"{name}_reference"),
        inputs=inputs,
        differentiable=("input",),
        tolerance={"float64": 1e-12, "float32": float32},
        refusals=refusals if integers else (floats_only, *refusals),
        benchmark=lambda rng: {"input": rng.standard_normal(1 << 20), **options(_first())},
    )


def _first() -> Draw:
    """A Draw that takes the middle of every range."""
    return Draw(lambda low, high: low, layouts=False)


def _negative_slope(draw: Draw) -> dict[str, Any]:
    return {"negative_slope": draw.number(-0.5, 1.5)}


def _limit(draw: Draw) -> dict[str, Any]:
    return {"lambd": draw.number(0.1, 1.5)}


def _interval(draw: Draw) -> dict[str, Any]:
    return {"min_val": draw.number(-2, -0.2), "max_val": draw.number(0.2, 2)}


def _threshold(draw: Draw) -> dict[str, Any]:
    return {"threshold": draw.number(-1, 1), "value": draw.number(-3, 3)}


def _alpha(draw: Draw) -> dict[str, Any]:
    return {"alpha": draw.number(0.2, 2)}


def _bend(draw: Draw) -> dict[str, Any]:
    return {"beta": draw.number(0.5, 3), "threshold": draw.number(13, 30)}


def _corner_at_zero(options: dict[str, Any]) -> Sequence[float]:
    return (0.0,)


def _corners_at_limit(options: dict[str, Any]) -> Sequence[float]:
    return (-options["lambd"], options["lambd"])


POINTWISE = [
    _row(rectifiers, "relu", kinks=_corner_at_zero, integers=True),
    _row(rectifiers, "relu6", kinks=lambda options: (0.0, 6.0), span=8.0),
    _row(rectifiers, "leaky_relu", _negative_slope, _corner_at_zero),
    _row(
        rectifiers,
        "hardtanh",
        _interval,
        lambda options: (options["min_val"], options["max_val"]),
        (Refusal(lambda: {"input": SIGNED, "min_val": 1.0, "max_val": -1.0}, ArgumentError, "min_val"),),
    ),
    _row(rectifiers, "hardsigmoid", kinks=lambda options: (-3.0, 3.0)),
    _row(rectifiers, "hardswish", kinks=lambda options: (-3.0, 3.0)),
    _row(rectifiers, "hardshrink", _limit, _corners_at_limit),
    _row(
        rectifiers,
        "softshrink",
        _limit,
        _corners_at_limit,
        (Refusal(lambda: {"input": SIGNED, "lambd": -0.5}, ArgumentError, "lambd"),),
    ),
    _row(
        rectifiers,
        "threshold",
        _threshold,
        lambda options: (options["threshold"],),
        (
            Refusal(lambda: {"input": SIGNED, "threshold": "a", "value": 0.0}, ArgumentTypeError, "threshold"),
            Refusal(lambda: {"input": SIGNED, "threshold": 0.0, "value": np.nan}, ArgumentError, "value"),
        ),
    ),
    _row(smooth, "elu", _alpha, _corner_at_zero),
    _row(
        smooth,
        "celu",
        _alpha,
        _corner_at_zero,
        (Refusal(lambda: {"input": SIGNED, "alpha": 0.0}, ArgumentError, "alpha"),),
    ),
    _row(smooth, "selu", kinks=_corner_at_zero),
    _row(
        smooth,
        "gelu",
        lambda draw: {"approximate": draw.choice(("none", "tanh"))},
        refusals=(Refusal(lambda: {"input": SIGNED, "approximate": "sin"}, ArgumentError, "approximate"),),
    ),
    _row(smooth, "silu"),
    _row(smooth, "mish"),
    _row(
        smooth,
        "softplus",
        _bend,
        refusals=(Refusal(lambda: {"input": SIGNED, "beta": 0.0}, ArgumentError, "beta"),),
    ),
    _row(smooth, "softsign", kinks=_corner_at_zero),
    _row(smooth, "tanhshrink"),
    _row(smooth, "logsigmoid"),
]

# ---------------------------------------------------------------- random slopes


def _rrelu_inputs(draw: Draw) -> dict[str, Any]:
    lower = draw.number(0.05, 0.5)
    return {
        "input": draw.array(draw.shape(max_size=4), avoid=(0.0,)),
        "lower": lower,
        "upper": lower + draw.number(0, 0.5),
        "training": draw.boolean(),
    }


# ---------------------------------------------------------------- GLU and PReLU


def _glu_inputs(draw: Draw) -> dict[str, Any]:
    shape = list(draw.shape(min_rank=1, max_size=3))
    dim = draw.dim(len(shape))
    shape[dim] *= 2
    return {"input": draw.array(tuple(shape)), "dim": dim}


def _long_glu_inputs(draw: Draw) -> dict[str, Any]:
    return {"input": draw.array((draw.integer(1, 2), 2 * draw.integer(120, 300))), "dim": 1}


def _prelu_inputs(draw: Draw) -> dict[str, Any]:
    shape = draw.shape(max_size=4)
    channels = shape[1] if len(shape) > 1 and shape[1] and draw.boolean() else 1
    weight_shape = () if channels == 1 and draw.boolean() else (channels,)
    return {"input": draw.array(shape, avoid=(0.0,)), "weight": draw.array(weight_shape, 0.1, 0.9)}


def _many_samples(draw: Draw) -> dict[str, Any]:
    shape = (draw.integer(gated.ROWS - 1, gated.ROWS + 2), draw.integer(1, 3), draw.integer(1, 2))
    return {"input": draw.array(shape, avoid=(0.0,)), "weight": draw.array((shape[1],), 0.1, 0.9)}


def _many_elements(draw: Draw) -> dict[str, Any]:
    return {"input": draw.array((draw.integer(120, 300),), avoid=(0.0,))}


SPECS = [
    *POINTWISE,
    OpSpec(
        function=rectifiers.relu,
        reference=rectifiers.relu_reference,
        inputs=_many_elements,
        differentiable=("input",),
        variant="many elements",
    ),
    OpSpec(
        function=reseeded(random_slopes.rrelu),
        reference=reseeded(random_slopes.rrelu_reference),
        inputs=_rrelu_inputs,
        differentiable=("input",),
        refusals=(
            Refusal(lambda: {"input": WHOLE}, DTypeError, "input"),
            Refusal(lambda: {"input": SIGNED, "lower": 0.5, "upper": 0.25}, ArgumentError, "lower"),
        ),
        benchmark=lambda rng: {"input": rng.standard_normal(1 << 20), "training": True},
    ),
    OpSpec(
        function=reseeded(random_slopes.rrelu),
        reference=reseeded(random_slopes.rrelu_reference),
        inputs=lambda draw: {**_many_elements(draw), "training": True},
        differentiable=("input",),
        variant="many elements",
    ),
    OpSpec(
        function=gated.glu,
        reference=gated.glu_reference,
        inputs=_glu_inputs,
        differentiable=("input",),
        refusals=(
            Refusal(lambda: {"input": WHOLE}, DTypeError, "input"),
            Refusal(lambda: {"input": np.zeros(3)}, ShapeError, "input"),
            Refusal(lambda: {"input": np.zeros(())}, ShapeError, "input"),
            Refusal(lambda: {"input": np.zeros((2, 2)), "dim": 2}, IndexRangeError, "dim"),
        ),
        benchmark=lambda rng: {"input": rng.standard_normal((1024, 2048))},
    ),
    OpSpec(
        function=gated.glu,
        reference=gated.glu_reference,
        inputs=_long_glu_inputs,
        differentiable=("input",),
        variant="long rows",
    ),
    OpSpec(
        function=gated.prelu,
        reference=gated.prelu_reference,
        inputs=_prelu_inputs,
        differentiable=("input", "weight"),
        refusals=(
            Refusal(lambda: {"input": WHOLE, "weight": np.ones(1)}, DTypeError, "input"),
            Refusal(lambda: {"input": SIGNED, "weight": np.ones(1, np.float32)}, DTypeError, "weight"),
            Refusal(lambda: {"input": np.zeros((2, 3)), "weight": np.ones(2)}, ShapeError, "weight"),
            Refusal(lambda: {"input": np.zeros((2, 3)), "weight": np.ones((3, 1))}, ShapeError, "weight"),
        ),
        benchmark=lambda rng: {"input": rng.standard_normal((32, 64, 32, 32)), "weight": rng.uniform(0, 1, 64)},
    ),
    OpSpec(
        function=gated.prelu,
        reference=gated.prelu_reference,
        inputs=_many_samples,
        differentiable=("input", "weight"),
        variant="many samples",
    ),
]
