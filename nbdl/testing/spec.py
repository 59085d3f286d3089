"""The row that describes an operation to every check: property tests, gradient checks, benchmarks, docs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.runtime import philox
from nbdl.runtime.dtypes import as_dtype
from nbdl.runtime.errors import NbdlError
from nbdl.testing.draw import Draw


@dataclass(frozen=True)
class Refusal:
    """Arguments that an operation must refuse before a kernel runs.

    Attributes:
        arguments: Makes the keyword arguments; NumPy arrays become tensors.
        error: The exception to expect.
        mentions: What the message must contain: the argument's name, as a rule.
    """

    arguments: Callable[[], dict[str, Any]]
    error: type[NbdlError]
    mentions: str


HALF = 2e-3
"""Four roundings to float16: an operation rounds its result, a function made of some rounds in between."""


@dataclass(frozen=True)
class OpSpec:
    """One operation.

    Attributes:
        function: The public function.
        reference: The definition in float64 NumPy, called with the same keyword arguments; returns an array or tuple.
            None where there is none: a function of another project.
        inputs: Draws the keyword arguments of one case; arrays are NumPy arrays, floating-point ones float64.
        differentiable: Names of the arguments with gradients.
        tolerance: Relative and absolute bound of |result - reference| for each dtype; without one for float16, which
            stores what float32 computed, it is HALF.
        refusals: Bad arguments and the errors they must raise.
        benchmark: Keyword arguments of a typical size, made by a seeded generator; None to leave it out.
        variant: Distinguishes several rows of one function.
        described: How the arguments of another project's function were described, for its reproducer.
    """

    function: Callable[..., Any]
    reference: Callable[..., Any] | None
    inputs: Callable[[Draw], dict[str, Any]]
    differentiable: tuple[str, ...] = ()
    tolerance: Mapping[str, float] = field(default_factory=lambda: {"float64": 1e-12, "float32": 1e-5})
    refusals: tuple[Refusal, ...] = ()
    benchmark: Callable[[np.random.Generator], dict[str, Any]] | None = None
    variant: str = ""
    described: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tolerance", {**self.tolerance, "float16": self.tolerance.get("float16", HALF)})

    @property
    def operation(self) -> str:
        """The function's name."""
        return self.function.__name__

    @property
    def name(self) -> str:
        """The function's name, with the variant behind a colon."""
        return self.operation + (f":{self.variant}" if self.variant else "")

    def __repr__(self) -> str:
        return f"OpSpec({self.name})"


def reseeded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the default random numbers begun anew before each call: equal arguments, equal results."""

    @functools.wraps(function)
    def repeatable(*arguments: Any, **options: Any) -> Any:
        philox.manual_seed(0)
        return function(*arguments, **options)

    return repeatable


def to_tensors(arguments: Mapping[str, Any], dtype: Any = np.float64, grad: tuple[str, ...] = ()) -> dict[str, Any]:
    """The arguments with their arrays, also inside lists and tuples, as tensors; floating-point ones in `dtype`."""
    dtype = as_dtype(dtype)
    return {name: _to_tensor(value, dtype, name in grad) for name, value in arguments.items()}


def _to_tensor(value: Any, dtype: Any, requires_grad: bool) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and value.dtype != dtype:
            value = keep_layout(value, value.astype(dtype))
        return Tensor(value, requires_grad=requires_grad and value.dtype.kind == "f")
    if isinstance(value, (list, tuple)) and any(isinstance(item, np.ndarray) for item in value):
        return type(value)(_to_tensor(item, dtype, requires_grad) for item in value)
    return value


def keep_layout(model: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values in memory laid out like the model: the same axis order and the same zero or negative strides."""
    if model.size == 0 or model.ndim == 0:
        return np.array(values)
    order = sorted(range(model.ndim), key=lambda axis: -abs(model.strides[axis]))
    steps = [model.strides[axis] // model.itemsize for axis in range(model.ndim)]
    gap = 2 if model.ndim and min((abs(s) for s in steps if s), default=1) > 1 else 1
    buffer = np.zeros([values.shape[axis] * (gap if axis == order[-1] else 1) for axis in order], values.dtype)
    if model.ndim:
        buffer = buffer[..., ::gap]
    view = buffer.transpose(np.argsort(order)) if model.ndim else buffer
    flips = tuple(slice(None, None, -1) if step < 0 else slice(None) for step in steps)
    view = view[flips]
    view[...] = values
    if 0 in steps:
        view = np.lib.stride_tricks.as_strided(
            view, view.shape, [0 if step == 0 else stride for step, stride in zip(steps, view.strides, strict=True)]
        )
    return view
