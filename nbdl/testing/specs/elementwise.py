"""Elementwise functions of one tensor, and those with numbers as options."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbdl.ops import elementwise as ops
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

Reference = Callable[..., Any]

WORD = Refusal(lambda: {"input": "three"}, ArgumentTypeError, "input")
FLOATS = np.array([0.5, 2.0])
BOOLS = np.array([True, False])

# ---------------------------------------------------------------- references that NumPy does not have


def _elementwise(function: Callable[[float], float]) -> Reference:
    def reference(input: Any) -> Any:
        return np.array([function(float(x)) for x in input.ravel()]).reshape(input.shape)

    return reference


def _erfinv(x: float) -> float:
    return statistics.NormalDist().inv_cdf((x + 1) / 2) / math.sqrt(2)


def sigmoid_reference(input):
    """The logistic function."""
    return 1 / (1 + np.exp(-input))


def logit_reference(input, eps=None):
    """The inverse of the logistic function."""
    x = input if eps is None else np.clip(input, eps, 1 - eps)
    return np.log(x / (1 - x))


# ---------------------------------------------------------------- rows


def _unary(
    name: str,
    reference: Reference,
    low: float = -3.0,
    high: float = 3.0,
    avoid: Sequence[float] = (),
    float64: float = 1e-12,
    float32: float = 1e-5,
    gradient: bool = True,
    refusals: tuple[Refusal, ...] = (),
) -> OpSpec:
    return OpSpec(
        function=getattr(ops, name),
        reference=lambda input: reference(input),
        inputs=lambda draw: {"input": draw.array(draw.shape(max_size=4), low, high, avoid=avoid)},
        differentiable=("input",) if gradient else (),
        tolerance={"float64": float64, "float32": float32},
        refusals=(WORD, *refusals),
        benchmark=lambda rng: {"input": rng.uniform(low, high, 1 << 20)},
    )


def _of_integers(name: str, reference: Reference, kinds: Sequence[str] = ("int64", "uint8", "int32")) -> OpSpec:
    def inputs(draw: Draw) -> dict[str, Any]:
        values = draw.integers(draw.shape(max_size=4), -9, 9)
        dtype = draw.choice(kinds)
        return {"input": np.asarray(abs(values) if dtype == "uint8" else values).astype(dtype)}

    return OpSpec(
        function=getattr(ops, name),
        reference=lambda input: reference(input),
        inputs=inputs,
        variant="integers",
    )


def _blocks(name: str, reference: Reference) -> OpSpec:
    """More elements than a CUDA block has threads."""
    return OpSpec(
        function=getattr(ops, name),
        reference=lambda input: reference(input),
        inputs=lambda draw: {"input": draw.array((3, draw.integer(50, 99)), 0.1, 3.0)},
        differentiable=("input",),
        variant="blocks",
    )


INTEGERS = tuple(float(i) for i in range(-3, 4))
NO_BOOL = Refusal(lambda: {"input": BOOLS}, DTypeError, "input")
NO_FLOAT = Refusal(lambda: {"input": FLOATS}, DTypeError, "input")

ONE_OPERAND = [
    _unary("neg", np.negative, refusals=(NO_BOOL,)),
    _unary("positive", np.positive, refusals=(NO_BOOL,)),
    _unary("abs", np.abs, avoid=(0.0,), refusals=(NO_BOOL,)),
    _unary("sign", np.sign, avoid=(0.0,)),
    _unary("reciprocal", np.reciprocal, 0.2, 3),
    _unary("square", np.square),
    _unary("sqrt", np.sqrt, 0.1, 4),
    _unary("rsqrt", lambda x: 1 / np.sqrt(x), 0.2, 4),
    _unary("exp", np.exp),
    _unary("exp2", np.exp2),
    _unary("expm1", np.expm1),
    _unary("log", np.log, 0.1, 5),
    _unary("log2", np.log2, 0.1, 5),
    _unary("log10", np.log10, 0.1, 5),
    _unary("log1p", np.log1p, -0.8, 5),
    _unary("sigmoid", sigmoid_reference, -8, 8),
    _unary("erf", _elementwise(math.erf)),
    _unary("erfc", _elementwise(math.erfc)),
    _unary("erfinv", _elementwise(_erfinv), -0.95, 0.95, float64=1e-11),
    _unary("sin", np.sin, -9, 9),
    _unary("cos", np.cos, -9, 9),
    _unary("tan", np.tan, -1.3, 1.3),
    _unary("asin", np.arcsin, -0.9, 0.9),
    _unary("acos", np.arccos, -0.9, 0.9),
    _unary("atan", np.arctan),
    _unary("sinh", np.sinh),
    _unary("cosh", np.cosh),
    _unary("tanh", np.tanh),
    _unary("asinh", np.arcsinh),
    _unary("acosh", np.arccosh, 1.1, 4),
    _unary("atanh", np.arctanh, -0.9, 0.9),
    _unary("sinc", np.sinc, -3, 3),
    _unary("deg2rad", np.deg2rad, -400, 400),
    _unary("rad2deg", np.rad2deg, -7, 7),
    _unary("floor", np.floor, avoid=INTEGERS, refusals=(NO_BOOL,)),
    _unary("ceil", np.ceil, avoid=INTEGERS, refusals=(NO_BOOL,)),
    _unary("trunc", np.trunc, avoid=INTEGERS, refusals=(NO_BOOL,)),
    _unary("frac", lambda x: x - np.trunc(x), avoid=INTEGERS, refusals=(NO_BOOL,)),
    _unary("clone", np.copy),
    _unary("contiguous", np.copy),
    _of_integers("neg", np.negative),
    _of_integers("abs", np.abs),
    _of_integers("sign", np.sign),
    _of_integers("square", np.square),
    _of_integers("floor", np.copy),
    _of_integers("bitwise_not", np.invert, ("int64", "uint8", "bool")),
    _of_integers("logical_not", np.logical_not, ("int64", "uint8", "bool")),
    _blocks("log", np.log),
    _blocks("sqrt", np.sqrt),
]

# ---------------------------------------------------------------- classes of numbers


def _with_special(draw: Draw) -> Any:
    """Numbers, infinities, NaN and -0.0."""
    values = np.array(draw.array(draw.shape(max_size=4)))
    kinds = draw.rng.integers(0, 7, values.shape)
    values = np.where(kinds == 6, -0.0, values)
    values = np.where(kinds == 0, np.nan, np.where(kinds == 1, np.inf, np.where(kinds == 2, -np.inf, values)))
    return draw.lay_out(values)


def _class(name: str, reference: Reference) -> OpSpec:
    return OpSpec(
        function=getattr(ops, name),
        reference=lambda input: reference(input),
        inputs=lambda draw: {"input": _with_special(draw)},
        refusals=(WORD,),
    )


CLASSES = [
    _class("isnan", np.isnan),
    _class("isinf", np.isinf),
    _class("isfinite", np.isfinite),
    _class("isposinf", np.isposinf),
    _class("isneginf", np.isneginf),
    _class("signbit", np.signbit),
    _class("logical_not", np.logical_not),
]

# ---------------------------------------------------------------- options


def _round_inputs(draw: Draw) -> dict[str, Any]:
    decimals = draw.integer(-1, 2)
    whole = draw.array(draw.shape(max_size=4), -40, 40)
    scale = 10.0**decimals
    return {"input": np.asarray((np.floor(whole * scale) + draw.number(0.1, 0.4)) / scale), "decimals": decimals}


def _clamp_inputs(draw: Draw) -> dict[str, Any]:
    low, high = sorted((draw.number(-1, 1), draw.number(-1, 1)))
    bounds = draw.choice(({"min": low}, {"max": high}, {"min": low, "max": high}, {"min": high, "max": low}))
    return {"input": draw.array(draw.shape(max_size=4), avoid=(low, high)), **bounds}


def clamp_reference(input, min=None, max=None):
    """The upper bound last: it wins where the bounds cross."""
    y = input if min is None else np.maximum(input, min)
    return y if max is None else np.minimum(y, max)


def _clamp_tensors(draw: Draw) -> dict[str, Any]:
    shape = draw.shape(max_size=4)
    bounds = {
        "min": draw.array(draw.broadcastable(shape), -1.5, 1, ties=True) + 0.125,
        "max": draw.array(draw.broadcastable(shape), -1, 1.5, ties=True) - 0.125,
    }
    kept = draw.choice((("min", "max"), ("min",), ("max",)))
    return {"input": draw.array(shape, ties=True), **{name: bounds[name] for name in kept}}


def _nan_to_num_inputs(draw: Draw) -> dict[str, Any]:
    options = draw.choice(({}, {"nan": 2.0}, {"posinf": 5.0, "neginf": -3.0}, {"nan": None}))
    return {"input": _with_special(draw), **options}


def _nan_to_num_reference(input, nan=0.0, posinf=1.0, neginf=-1.0):
    return np.nan_to_num(input, nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf)


OPTIONS = [
    OpSpec(
        ops.round,
        lambda input, decimals: np.round(input, decimals),
        _round_inputs,
        ("input",),
        refusals=(
            Refusal(lambda: {"input": FLOATS, "decimals": 0.5}, ArgumentTypeError, "decimals"),
            Refusal(lambda: {"input": np.arange(3), "decimals": 2}, ArgumentError, "decimals"),
            NO_BOOL,
        ),
    ),
    OpSpec(
        ops.round,
        lambda input: np.round(input),
        lambda draw: {"input": draw.array(draw.shape(max_size=4), -4, 4, ties=True)},
        variant="halves",
    ),
    OpSpec(
        ops.logit,
        logit_reference,
        lambda draw: {"input": draw.array(draw.shape(max_size=4), 0.05, 0.95)},
        ("input",),
        refusals=(Refusal(lambda: {"input": FLOATS, "eps": 0.6}, ArgumentError, "eps"), WORD),
    ),
    OpSpec(
        ops.logit,
        logit_reference,
        lambda draw: {"input": draw.array(draw.shape(max_size=4), -0.5, 1.5, avoid=(0.1, 0.9)), "eps": 0.1},
        ("input",),
        variant="eps",
    ),
    *[
        OpSpec(
            function,
            clamp_reference,
            _clamp_inputs,
            ("input",),
            refusals=(Refusal(lambda: {"input": FLOATS}, ArgumentError, "min"),),
            benchmark=lambda rng: {"input": rng.standard_normal(1 << 20), "min": -1.0, "max": 1.0},
        )
        for function in (ops.clamp, ops.clip)
    ],
    *[
        OpSpec(
            function,
            clamp_reference,
            lambda draw, name=name: {"input": draw.array(draw.shape(max_size=4), avoid=(0.5,)), name: 0.5},
            ("input",),
        )
        for function, name in ((ops.clamp_min, "min"), (ops.clamp_max, "max"))
    ],
    OpSpec(
        ops.clamp,
        clamp_reference,
        _clamp_tensors,
        ("input", "min", "max"),
        variant="tensors",
    ),
    OpSpec(
        ops.nan_to_num,
        _nan_to_num_reference,
        lambda draw: {"posinf": 4.0, "neginf": -4.0, **_nan_to_num_inputs(draw)},
        refusals=(WORD,),
    ),
    OpSpec(
        ops.nan_to_num,
        _nan_to_num_reference,
        lambda draw: {"input": draw.array(draw.shape(max_size=4))},
        ("input",),
        variant="finite",
    ),
]

# ---------------------------------------------------------------- casts

DTYPES = ("int64", "int32", "uint8", "bool", "float64")


def _to_inputs(draw: Draw) -> dict[str, Any]:
    values = draw.array(draw.shape(max_size=4), 0, 9)
    return {"input": np.asarray(values.astype(draw.choice(DTYPES))), "dtype": np.dtype(draw.choice(DTYPES[:4]))}


def _to_reference(input, dtype=None, device=None):
    return input if dtype is None else input.astype(dtype)


CASTS = [
    OpSpec(
        ops.to,
        _to_reference,
        _to_inputs,
        refusals=(
            Refusal(lambda: {"input": FLOATS, "dtype": "float17"}, ArgumentTypeError, "dtype"),
            Refusal(lambda: {"input": FLOATS, "dtype": np.complex128}, DTypeError, "dtype"),
            Refusal(lambda: {"input": FLOATS, "device": "tpu"}, ArgumentError, "device"),
        ),
    ),
    OpSpec(
        ops.to,
        _to_reference,
        lambda draw: {"input": draw.array(draw.shape(max_size=4)), "device": "cpu"},
        ("input",),
        variant="device",
    ),
]

SPECS = [*ONE_OPERAND, *CLASSES, *OPTIONS, *CASTS]
