"""Elementwise functions of several operands: arithmetic, comparisons, logic, selection, interpolation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops import elementwise as ops
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, NumericalError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

Reference = Callable[..., Any]
Inputs = Callable[[Draw], dict[str, Any]]

FLOATS = np.array([0.5, 2.0])
BOOLS = np.array([True, False])
WHOLE = np.array([3, -2])

SHAPES = Refusal(lambda: {"input": np.zeros((2, 3)), "other": np.zeros(4)}, ShapeError, "other")
WORD = Refusal(lambda: {"input": FLOATS, "other": "two"}, ArgumentTypeError, "other")
TWO_BOOLS = Refusal(lambda: {"input": BOOLS, "other": BOOLS}, DTypeError, "input")
INTEGERS_ONLY = Refusal(lambda: {"input": FLOATS, "other": FLOATS}, DTypeError, "input")
BY_ZERO = Refusal(lambda: {"input": WHOLE, "other": np.array([1, 0])}, NumericalError, "other")

# ---------------------------------------------------------------- operands


def shapes(draw: Draw) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes, one of which broadcasts to the other, or both to a third."""
    full = draw.shape(max_size=4)
    other = draw.choice((full, draw.broadcastable(full)))
    pair = (full, other) if draw.boolean() else (other, full)
    return (draw.broadcastable(full), draw.broadcastable(full)) if draw.integer(0, 4) == 4 else pair


def pairs(low: float = -2.0, high: float = 2.0, numbers: bool = True, **options: Any) -> Inputs:
    """Two tensors, or a tensor and a number on either side."""

    def inputs(draw: Draw) -> dict[str, Any]:
        first, second = shapes(draw)
        operands = {"input": draw.array(first, low, high, **options), "other": draw.array(second, low, high, **options)}
        side = draw.choice((None, None, "other", "input")) if numbers else None
        if side is not None:
            operands[side] = float(np.float32(draw.array((), low, high, **options)))
        return operands

    return inputs


def crosswise(draw: Draw) -> dict[str, Any]:
    """Two tensors of four dimensions, of which no two can be read as one: each is repeated along every other one."""
    full = tuple(draw.integer(2, 3) for _ in range(4))
    even = (1, full[1], 1, full[3])
    odd = (full[0], 1, full[2], 1)
    first, second = draw.choice(((even, odd), (odd, even), (full, even), (odd, full)))
    return {"input": draw.array(first), "other": draw.array(second)}


def whole_pairs(low: int = -6, high: int = 6, nonzero: bool = False, numbers: bool = True) -> Inputs:
    """Two integer tensors, or a tensor and an integer."""

    def inputs(draw: Draw) -> dict[str, Any]:
        first, second = shapes(draw)
        dtype = draw.choice(("int64", "int32"))
        operands = {"input": draw.integers(first, low, high), "other": draw.integers(second, low, high)}
        if nonzero:
            operands["other"] = np.where(operands["other"] == 0, 1, operands["other"])
        operands = {name: np.asarray(values).astype(dtype) for name, values in operands.items()}
        if numbers and draw.integer(0, 3) == 3:
            operands["other"] = draw.integer(max(low, 1), high)
        return operands

    return inputs


def bool_pairs(draw: Draw) -> dict[str, Any]:
    """Two bool tensors."""
    first, second = shapes(draw)
    return {"input": draw.booleans(first), "other": draw.booleans(second)}


# ---------------------------------------------------------------- arithmetic


def _million(rng: np.random.Generator) -> dict[str, Any]:
    return {"input": rng.uniform(0.5, 2, 1 << 20), "other": rng.uniform(0.5, 2, 1 << 20)}


def _million_small_integers(rng: np.random.Generator) -> dict[str, Any]:
    return {"input": rng.integers(0, 32, 1 << 20), "other": rng.integers(0, 32, 1 << 20)}


def _row(
    name: str,
    reference: Reference,
    inputs: Inputs,
    refusals: tuple[Refusal, ...] = (SHAPES, WORD),
    gradient: bool = True,
    variant: str = "",
    float64: float = 1e-12,
    float32: float = 1e-5,
    benchmark: Callable[[np.random.Generator], dict[str, Any]] = _million,
) -> OpSpec:
    return OpSpec(
        function=getattr(ops, name),
        reference=lambda input, other, **options: reference(input, other, **options),
        inputs=inputs,
        differentiable=("input", "other") if gradient else (),
        tolerance={"float64": float64, "float32": float32},
        refusals=refusals,
        benchmark=benchmark,
        variant=variant,
    )


def _with_alpha(draw: Draw) -> dict[str, Any]:
    return {**pairs(numbers=False)(draw), "alpha": draw.choice((2, -0.5, 1))}


def _quotients(draw: Draw, rounding: bool) -> dict[str, Any]:
    """Operands whose quotient keeps away from 0 and, if it is to be rounded, from integers."""
    first, second = shapes(draw)
    divisor = np.asarray(draw.array(second, 0.5, 2) * np.where(draw.booleans(second), 1, -1))
    if not rounding:
        return {"input": draw.array(first), "other": divisor}
    whole = draw.integers(np.broadcast_shapes(first, second), -4, 4)
    return {"input": np.asarray((whole + draw.array(whole.shape, 0.2, 0.8)) * divisor), "other": divisor}


def _divided(draw: Draw) -> dict[str, Any]:
    mode = draw.choice((None, "trunc", "floor"))
    return {**_quotients(draw, mode is not None), "rounding_mode": mode}


def divide_reference(input, other, rounding_mode=None):
    """The quotient, rounded on request."""
    rounded = {None: np.copy, "trunc": np.trunc, "floor": np.floor}[rounding_mode]
    return rounded(np.true_divide(input, other))


def _whole_divided(draw: Draw) -> dict[str, Any]:
    return {**whole_pairs(nonzero=True)(draw), "rounding_mode": draw.choice(("trunc", "floor"))}


NO_ALPHA = Refusal(lambda: {"input": WHOLE, "other": WHOLE, "alpha": 0.5}, DTypeError, "alpha")
NO_MODE = Refusal(lambda: {"input": FLOATS, "other": FLOATS, "rounding_mode": "up"}, ArgumentError, "rounding_mode")
NO_FLOAT = Refusal(lambda: {"input": WHOLE, "other": WHOLE}, DTypeError, "input")
ROUNDED_BY_ZERO = Refusal(
    lambda: {"input": WHOLE, "other": np.array([1, 0]), "rounding_mode": "floor"}, NumericalError, "other"
)


def _for_rounding(draw: Draw) -> dict[str, Any]:
    return _quotients(draw, rounding=True)


ARITHMETIC = [
    _row("add", np.add, pairs()),
    _row("add", lambda a, b, alpha: a + alpha * b, _with_alpha, (NO_ALPHA,), variant="alpha"),
    _row("add", np.add, whole_pairs(), (), gradient=False, variant="integers"),
    _row("sub", np.subtract, pairs(), (SHAPES, WORD, TWO_BOOLS)),
    _row("sub", lambda a, b, alpha: a - alpha * b, _with_alpha, (NO_ALPHA,), variant="alpha"),
    _row("sub", np.subtract, whole_pairs(), (), gradient=False, variant="integers"),
    _row("mul", np.multiply, pairs()),
    _row("mul", np.multiply, crosswise, (), variant="crosswise"),
    _row("mul", np.multiply, whole_pairs(), (), gradient=False, variant="integers"),
    _row("div", divide_reference, _divided, (SHAPES, WORD, NO_MODE)),
    _row("div", divide_reference, pairs(0.5, 2), (), variant="numbers"),
    _row("div", divide_reference, _whole_divided, (ROUNDED_BY_ZERO,), gradient=False, variant="integers"),
    _row("true_divide", np.true_divide, pairs(0.5, 2)),
    _row("floor_divide", np.floor_divide, _for_rounding, (SHAPES, TWO_BOOLS, BY_ZERO)),
    _row("floor_divide", np.floor_divide, whole_pairs(nonzero=True), (), gradient=False, variant="integers"),
    _row("remainder", np.remainder, _for_rounding, (SHAPES, TWO_BOOLS, BY_ZERO)),
    _row("remainder", np.remainder, whole_pairs(nonzero=True), (), gradient=False, variant="integers"),
    _row("fmod", np.fmod, _for_rounding, (SHAPES, TWO_BOOLS, BY_ZERO)),
    _row("fmod", np.fmod, whole_pairs(nonzero=True), (), gradient=False, variant="integers"),
    _row("atan2", np.arctan2, pairs(0.3, 2, numbers=False)),
    _row("hypot", np.hypot, pairs(0.3, 2, numbers=False), (SHAPES, NO_FLOAT)),
    _row("logaddexp", np.logaddexp, pairs(-5, 5, numbers=False), (SHAPES, NO_FLOAT)),
    _row("logaddexp2", np.logaddexp2, pairs(-5, 5, numbers=False), (SHAPES, NO_FLOAT)),
    _row("ldexp", lambda a, b: a * 2.0**b, pairs(numbers=False), (SHAPES, WORD)),
    _row("rsub", lambda a, b, alpha=1: b - alpha * a, _with_alpha, ()),
    _row("copysign", np.copysign, pairs(avoid=(0.0,), numbers=False)),
    _row("xlogy", lambda a, b: a * np.log(b), pairs(0.2, 3)),
]

# ---------------------------------------------------------------- powers


def _powers(draw: Draw) -> dict[str, Any]:
    operands = pairs(0.3, 2)(draw)
    return {"input": operands["input"], "exponent": operands["other"]}


def _short_powers(draw: Draw) -> dict[str, Any]:
    base = draw.array(draw.shape(max_size=4), 0.3, 2)
    return {"input": base, "exponent": draw.choice((2, 3, 0.5, -1, -0.5, 0, 1, 2.5))}


def _whole_powers(draw: Draw) -> dict[str, Any]:
    operands = whole_pairs(0, 4)(draw)
    return {"input": operands["input"], "exponent": operands["other"]}


def _powers_of_tensors(draw: Draw) -> dict[str, Any]:
    operands = pairs(0.3, 2, numbers=False)(draw)
    return {"input": operands["input"], "exponent": operands["other"]}


_WITH_GRADIENTS = {"integers": (), "base": ("input",), "exponent": ("exponent",)}
"""Variant: the operands that have one; else both."""


def _power_row(name: str, inputs: Inputs, refusals: tuple[Refusal, ...], variant: str = "") -> OpSpec:
    return OpSpec(
        getattr(ops, name),
        lambda input, exponent: np.power(input, exponent),
        inputs,
        _WITH_GRADIENTS.get(variant, ("input", "exponent")),
        refusals=refusals,
        benchmark=lambda rng: {"input": rng.uniform(0.5, 2, 1 << 20), "exponent": 2.5},
        variant=variant,
    )


def float_power(input: Any, exponent: Any) -> Any:
    """`ops.float_power`, its float64 results in the dtype of the operands."""
    operand = input if isinstance(input, Tensor) else exponent
    return ops.float_power(input, exponent).to(operand.dtype)


POWERS = [
    OpSpec(
        float_power,
        lambda input, exponent: np.power(input, exponent),
        _powers,
        ("input", "exponent"),
        refusals=(Refusal(lambda: {"input": FLOATS, "exponent": "two"}, ArgumentTypeError, "exponent"),),
    ),
    _power_row(
        "pow",
        _powers,
        (
            Refusal(lambda: {"input": WHOLE, "exponent": -2}, ArgumentError, "exponent"),
            Refusal(lambda: {"input": np.zeros((2, 3)), "exponent": np.zeros(4)}, ShapeError, "other"),
            Refusal(lambda: {"input": FLOATS, "exponent": "two"}, ArgumentTypeError, "exponent"),
        ),
    ),
    _power_row("pow", _short_powers, (), variant="short"),
    _power_row("pow", _whole_powers, (), variant="integers"),
    _power_row("pow", _powers_of_tensors, (), variant="base"),
    _power_row("pow", _powers_of_tensors, (), variant="exponent"),
]

# ---------------------------------------------------------------- comparisons

RELATIONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def _near(draw: Draw) -> dict[str, Any]:
    first, second = shapes(draw)
    a, b = draw.array(first, -1, 1, ties=True), draw.array(second, -1, 1, ties=True)
    return {
        "input": a,
        "other": np.asarray(b + 0.0625 * draw.booleans(second)),
        "rtol": 0.125,
        "atol": draw.choice((0.0, 0.125)),
    }


def _tolerances(draw: Draw) -> dict[str, Any]:
    operands = _near(draw)
    full = np.broadcast_shapes(operands["input"].shape, operands["other"].shape)
    return {**operands, "other": np.broadcast_to(operands["other"], full).copy()}


NEGATIVE = Refusal(lambda: {"input": FLOATS, "other": FLOATS, "rtol": -1.0}, ArgumentError, "rtol")
MIXED = Refusal(lambda: {"input": FLOATS, "other": WHOLE}, DTypeError, "other")

COMPARISONS = [
    *[_row(name, relation, pairs(ties=True), gradient=False) for name, relation in RELATIONS.items()],
    *[
        _row(name, relation, whole_pairs(), (), gradient=False, variant="integers")
        for name, relation in RELATIONS.items()
    ],
    _row("isclose", np.isclose, _near, (SHAPES, NEGATIVE, MIXED), gradient=False),
    _row("allclose", np.allclose, _tolerances, (SHAPES, NEGATIVE, MIXED), gradient=False),
    _row("equal", np.array_equal, pairs(ties=True, numbers=False), (WORD,), gradient=False),
]

# ---------------------------------------------------------------- logic

LOGICAL = {"logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}
BITWISE = {"bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor}
SHIFTS = {"bitwise_left_shift": np.left_shift, "bitwise_right_shift": np.right_shift}

LOGIC = [
    *[_row(name, function, bool_pairs, gradient=False) for name, function in LOGICAL.items()],
    *[
        _row(name, function, pairs(ties=True, numbers=False), (), gradient=False, variant="floats")
        for name, function in LOGICAL.items()
    ],
    *[
        _row(name, f, whole_pairs(), (INTEGERS_ONLY,), gradient=False, benchmark=_million_small_integers)
        for name, f in BITWISE.items()
    ],
    *[_row(name, f, bool_pairs, (), gradient=False, variant="bools") for name, f in BITWISE.items()],
    *[
        _row(name, f, whole_pairs(0, 9), (INTEGERS_ONLY,), gradient=False, benchmark=_million_small_integers)
        for name, f in SHIFTS.items()
    ],
]

# ---------------------------------------------------------------- selection


def _conditional(draw: Draw) -> dict[str, Any]:
    full = draw.shape(max_size=4)
    operands = pairs()(draw) if draw.integer(0, 3) == 3 else {name: draw.array(full) for name in ("input", "other")}
    sizes = np.broadcast_shapes(*[np.shape(value) for value in operands.values()])
    return {"condition": draw.booleans(draw.choice((sizes, draw.broadcastable(sizes)))), **operands}


def _masked(draw: Draw) -> dict[str, Any]:
    first, second = shapes(draw)
    value = draw.choice((draw.number(-2, 2), draw.array(()), 3))
    return {"input": draw.array(first), "mask": draw.booleans(second), "value": value}


def _steps(draw: Draw) -> dict[str, Any]:
    first, second = shapes(draw)
    return {"input": draw.array(first, ties=True), "values": draw.array(second)}


MASK = Refusal(lambda: {"input": FLOATS, "mask": WHOLE, "value": 0.0}, DTypeError, "mask")
FILLING = Refusal(lambda: {"input": FLOATS, "mask": BOOLS, "value": FLOATS}, ShapeError, "value")

SELECTION = [
    OpSpec(
        ops.where,
        lambda condition, input, other: np.where(condition, input, other),
        _conditional,
        ("input", "other"),
        refusals=(
            Refusal(lambda: {"condition": WHOLE, "input": FLOATS, "other": FLOATS}, DTypeError, "condition"),
            Refusal(lambda: {"condition": BOOLS, "input": FLOATS}, ArgumentTypeError, "other"),
            Refusal(lambda: {"condition": BOOLS, "input": np.zeros(3), "other": 0.0}, ShapeError, "other"),
        ),
    ),
    OpSpec(
        ops.where,
        lambda condition: np.nonzero(np.atleast_1d(condition)),
        lambda draw: {"condition": draw.choice((draw.booleans(draw.shape()), draw.array(draw.shape(), ties=True)))},
        variant="indices",
    ),
    OpSpec(
        ops.masked_fill,
        lambda input, mask, value: np.where(mask, value, input),
        _masked,
        ("input", "value"),
        refusals=(MASK, FILLING),
    ),
    _row("maximum", np.maximum, pairs(numbers=False)),
    _row("minimum", np.minimum, pairs(numbers=False)),
    _row("fmax", np.fmax, pairs(numbers=False)),
    _row("fmin", np.fmin, pairs(numbers=False)),
    _row("maximum", np.maximum, pairs(numbers=False, ties=True), (), variant="ties"),
    _row("minimum", np.minimum, whole_pairs(numbers=False), (), gradient=False, variant="integers"),
    OpSpec(
        ops.heaviside,
        lambda input, values: np.heaviside(input, values),
        _steps,
        refusals=(Refusal(lambda: {"input": FLOATS, "values": WHOLE}, DTypeError, "values"),),
    ),
]

# ---------------------------------------------------------------- three operands


def _three(draw: Draw, *names: str) -> dict[str, Any]:
    full = draw.shape(max_size=4)
    return {name: draw.array(draw.choice((full, draw.broadcastable(full))), 0.3, 2) for name in names}


def _interpolated(draw: Draw) -> dict[str, Any]:
    operands = _three(draw, "input", "end", "weight")
    return {**operands, "weight": draw.choice((operands["weight"], 0.25, 0.75))}


def _added(draw: Draw) -> dict[str, Any]:
    return {**_three(draw, "input", "tensor1", "tensor2"), "value": draw.choice((1, 0.5, -2))}


def _operands(**changed: Any) -> dict[str, Any]:
    return {"input": FLOATS, "tensor1": FLOATS, "tensor2": FLOATS, **changed}


THREE_OPERANDS = [
    OpSpec(
        ops.lerp,
        lambda input, end, weight: input + weight * (end - input),
        _interpolated,
        ("input", "end", "weight"),
        refusals=(
            Refusal(lambda: {"input": WHOLE, "end": WHOLE, "weight": 0.5}, DTypeError, "input"),
            Refusal(lambda: {"input": FLOATS, "end": WHOLE, "weight": 0.5}, DTypeError, "end"),
        ),
    ),
    OpSpec(
        ops.addcmul,
        lambda input, tensor1, tensor2, value: input + value * tensor1 * tensor2,
        _added,
        ("input", "tensor1", "tensor2"),
        refusals=(
            Refusal(lambda: _operands(tensor1=2.0), ArgumentTypeError, "tensor1"),
            Refusal(lambda: _operands(input=WHOLE, tensor1=WHOLE, tensor2=WHOLE, value=0.5), DTypeError, "value"),
        ),
    ),
    OpSpec(
        ops.addcdiv,
        lambda input, tensor1, tensor2, value: input + value * tensor1 / tensor2,
        _added,
        ("input", "tensor1", "tensor2"),
        refusals=(Refusal(lambda: _operands(input=WHOLE, tensor1=WHOLE, tensor2=WHOLE), DTypeError, "input"),),
    ),
]

SPECS = [*ARITHMETIC, *POWERS, *COMPARISONS, *LOGIC, *SELECTION, *THREE_OPERANDS]
