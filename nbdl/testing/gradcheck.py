r"""Gradient checks: what backward says, held against central differences of the forward pass in float64.

For a random cotangent $v$ and $L = \sum_i v_i y_i$, each element of each gradient must satisfy

$$\left| \frac{\partial L}{\partial x_j} - \frac{L(x + h e_j) - L(x - h e_j)}{2h} \right|
  \le a + r \left| \frac{\partial L}{\partial x_j} \right|.$$

A plain sum instead of $v$ would hide wrong gradients of softmax and of normalization: they vanish on it. Where the
slopes left and right of $x_j$ differ, the function has a kink there; such elements are skipped and counted.
Inputs of more than 64 elements are checked along random directions. For many cases in little time, all inputs are moved
together along one random direction of ±1 first, and only what disagrees there is looked at element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbdl.autograd import Tensor, backward, no_grad
from nbdl.runtime.errors import ArgumentError, DTypeError, NbdlError

MOST_ELEMENTS = 64
DIRECTIONS = 8
STEP = 1e-5
_SIGNS = np.array([-1.0, 1.0])
KINK = 1e-4
"""Difference of the slopes left and right of a point, relative to their size, from which it counts as a kink."""


class GradcheckError(NbdlError, AssertionError):
    """A gradient disagrees with the numeric one. The message names operation, argument, index and both values."""


@dataclass
class GradcheckReport:
    """What a check looked at.

    Attributes:
        elements: Elements (or directions) compared.
        kinks: Elements skipped because the function has a kink there.
        largest_error: Largest |analytic - numeric| / (atol + rtol * |analytic|); below 1 passes.
        complex_steps: Directions compared with a complex step of the reference as well.
        float32: Results and gradients in float32 that were held against float64.
    """

    elements: int = 0
    kinks: int = 0
    largest_error: float = 0.0
    complex_steps: int = 0
    float32: int = 0
    where: str = field(default="", repr=False)

    def merge(self, other: GradcheckReport) -> None:
        self.elements += other.elements
        self.kinks += other.kinks
        self.complex_steps += other.complex_steps
        self.float32 += other.float32
        if other.largest_error > self.largest_error:
            self.largest_error, self.where = other.largest_error, other.where


def gradcheck(
    function: Callable[..., Any],
    inputs: Sequence[Any] | Mapping[str, Any],
    *,
    differentiable: Sequence[str] | None = None,
    parameters: Sequence[Tensor] = (),
    atol: float = 1e-6,
    rtol: float = 1e-5,
    seed: int = 0,
    name: str | None = None,
    directions: int | None = None,
) -> GradcheckReport:
    """Checks the gradients of a function of tensors against central differences.

    Args:
        function: Takes the inputs and returns a tensor or a tuple of tensors; the same for the same inputs.
        inputs: Positional or keyword arguments. Tensors that require gradients are checked, and must be float64.
        differentiable: Names of the keyword arguments to check, instead of those that require gradients.
        parameters: Further leaves the function depends on (a module's parameters), checked as well.
        atol: Absolute tolerance.
        rtol: Tolerance relative to the gradient.
        seed: Seed of the cotangent and of the directions.
        name: What to call the function in messages.
        directions: Move all inputs together along so many random directions, and look at single elements only where one
            of them disagrees. None looks at every element, and runs backward twice.

    Returns:
        What was compared, with the largest error.

    Raises:
        GradcheckError: A gradient is wrong, differs between two runs, or an input was modified.
        DTypeError: A tensor to check is not float64.
        ArgumentError: There is nothing to check.
    """
    title = name or str(getattr(function, "__name__", type(function).__name__))
    arguments = dict(inputs) if isinstance(inputs, Mapping) else {str(i): value for i, value in enumerate(inputs)}
    call = _caller(function, arguments, isinstance(inputs, Mapping))
    leaves = _leaves(arguments, differentiable)
    leaves.update({f"parameter {i}": p for i, p in enumerate(parameters)})
    if not leaves:
        raise ArgumentError("inputs: expected at least one tensor that requires gradients")
    for label, leaf in leaves.items():
        if leaf.dtype != np.float64:
            raise DTypeError(f"{label}: gradient checks need float64, got {leaf.dtype}")

    rng = np.random.default_rng(seed)
    before = {label: leaf._array.copy() for label, leaf in leaves.items()}
    outputs = call()
    cotangents = [rng.standard_normal(y.shape) for y in outputs]
    first = _gradients(outputs if directions else call(), cotangents, leaves, title)
    second = first if directions else _gradients(call(), cotangents, leaves, title)
    for label, leaf in leaves.items():
        if not np.array_equal(first[label], second[label], equal_nan=True):
            raise GradcheckError(f"{title}: the gradient of {label} differs between two runs on the same inputs")
        if not np.array_equal(before[label], leaf._array, equal_nan=True):
            raise GradcheckError(f"{title}: the input {label} was modified")

    report = GradcheckReport()
    loss = _Loss(call, list(leaves.values()), cotangents)
    if directions and _agrees(loss, list(first.values()), directions, rng, atol, rtol, report):
        return report
    for place, (label, leaf) in enumerate(leaves.items()):
        report.merge(_compare(title, label, leaf._array, first[label], loss.of(place), rng, atol, rtol))
    return report


def _caller(function: Callable[..., Any], arguments: dict[str, Any], by_name: bool) -> Callable[[], tuple[Tensor, ...]]:
    def call() -> tuple[Tensor, ...]:
        result = function(**arguments) if by_name else function(*arguments.values())
        listed = result if isinstance(result, (tuple, list)) else (result,)
        return tuple(y for y in listed if isinstance(y, Tensor) and y.dtype.kind == "f")

    return call


def _leaves(arguments: dict[str, Any], differentiable: Sequence[str] | None) -> dict[str, Tensor]:
    leaves: dict[str, Tensor] = {}
    for label, value in arguments.items():
        if differentiable is not None and label not in differentiable:
            continue
        members = value if isinstance(value, (list, tuple)) else [value]
        for position, member in enumerate(members):
            if isinstance(member, Tensor) and member.dtype.kind == "f":
                if differentiable is not None:
                    member.requires_grad_()
                if member.requires_grad:
                    leaves[label if member is value else f"{label}[{position}]"] = member
    return leaves


def _gradients(
    outputs: tuple[Tensor, ...], cotangents: list[np.ndarray], leaves: dict[str, Tensor], title: str
) -> dict[str, np.ndarray]:
    for leaf in leaves.values():
        leaf.grad = None
    kept = [v.copy() for v in cotangents]
    pairs = [(y, Tensor(v)) for y, v in zip(outputs, cotangents, strict=True) if y.requires_grad]
    if pairs:
        backward([y for y, _ in pairs], [v for _, v in pairs])
    for v, copy in zip(cotangents, kept, strict=True):
        if not np.array_equal(v, copy):
            raise GradcheckError(f"{title}: backward modified the incoming gradient")
    found = {}
    for label, leaf in leaves.items():
        found[label] = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad._array.copy()
        leaf.grad = None
    return found


class _Loss:
    """L as a function of the leaves' values."""

    def __init__(
        self, call: Callable[[], tuple[Tensor, ...]], leaves: list[Tensor], cotangents: list[np.ndarray]
    ) -> None:
        self._call, self._leaves, self._cotangents = call, leaves, cotangents

    def at(self, values: Sequence[np.ndarray]) -> float:
        """L where all leaves have these values."""
        kept = [leaf._array for leaf in self._leaves]
        for leaf, array in zip(self._leaves, values, strict=True):
            leaf._array = np.asarray(array)  # sums of 0-dimensional arrays are no arrays
        try:
            with no_grad():
                outputs = [y._array for y in self._call()]  # taken here: a function may return the leaf itself
        finally:
            for leaf, array in zip(self._leaves, kept, strict=True):
                leaf._array = array
        return float(sum((y * v).sum() for y, v in zip(outputs, self._cotangents, strict=True)))

    def values(self) -> list[np.ndarray]:
        """The leaves' values, contiguous."""
        # NumPy gives a 0-dimensional array a dimension
        return [np.ascontiguousarray(leaf._array).reshape(leaf.shape) for leaf in self._leaves]

    def of(self, place: int) -> Callable[[np.ndarray], float]:
        """L as a function of one leaf alone."""
        arrays = [leaf._array for leaf in self._leaves]
        return lambda values: self.at([*arrays[:place], values, *arrays[place + 1 :]])


def _agrees(
    loss: _Loss,
    gradients: list[np.ndarray],
    directions: int,
    rng: np.random.Generator,
    atol: float,
    rtol: float,
    report: GradcheckReport,
) -> bool:
    """Whether the slopes along random directions of all leaves together are what the gradients say, without a kink."""
    points = loss.values()
    if not any(point.size for point in points):
        return True
    middle = loss.at(points)
    scales = [max(1.0, float(np.abs(point).max(initial=0.0))) for point in points]
    largest = 0.0
    for _ in range(directions):
        signs = [scale * rng.choice(_SIGNS, point.shape) for scale, point in zip(scales, points, strict=True)]
        steps = [STEP * sign for sign in signs]
        above = loss.at([point + step for point, step in zip(points, steps, strict=True)])
        below = loss.at([point - step for point, step in zip(points, steps, strict=True)])
        numeric = (above - below) / (2 * STEP)
        bend = abs(above - middle - (middle - below)) / STEP
        claimed = float(sum((gradient * sign).sum() for gradient, sign in zip(gradients, signs, strict=True)))
        error = abs(claimed - numeric) / (atol + rtol * abs(claimed))
        if not (bend <= KINK * (1 + abs(numeric)) and error < 1):  # also when one is NaN
            return False
        largest = max(largest, error)
    report.elements += directions
    if largest > report.largest_error:
        report.largest_error, report.where = largest, "all together"
    return True


def _compare(
    title: str,
    label: str,
    x: np.ndarray,
    analytic: np.ndarray,
    loss: Callable[[np.ndarray], float],
    rng: np.random.Generator,
    atol: float,
    rtol: float,
) -> GradcheckReport:
    report = GradcheckReport()
    if x.size == 0:
        return report
    base = np.ascontiguousarray(x).reshape(x.shape)  # NumPy gives a 0-dimensional array a dimension
    middle = loss(base)
    for place, direction in _directions(base, rng):
        h = STEP * max(1.0, float(np.abs(base[direction != 0]).max()))
        above, below = loss(base + h * direction), loss(base - h * direction)
        numeric = (above - below) / (2 * h)
        right, left = (above - middle) / h, (middle - below) / h
        if abs(right - left) > KINK * (1 + abs(numeric)):
            report.kinks += 1
            continue
        report.elements += 1
        claimed = float(np.sum(analytic * direction))
        bound = atol + rtol * abs(claimed)
        error = abs(claimed - numeric) / bound
        if error >= 1 and min(abs(claimed - right), abs(claimed - left)) < bound < abs(right - left):
            report.elements -= 1  # a slight kink on one side, among many outputs; the other side's slope agrees
            report.kinks += 1
            continue
        if not error < 1:
            # Where the function bends strongly, the formula's own error may be that large: a fourth-order one has less.
            half = (loss(base + h / 2 * direction) - loss(base - h / 2 * direction)) / h
            numeric = (4 * half - numeric) / 3
            error = abs(claimed - numeric) / bound
        if not error < 1:  # also when it is NaN
            raise GradcheckError(
                f"{title}: the gradient of {label} {place} is {claimed:.9g}, "
                f"central differences give {numeric:.9g} (input shape {list(x.shape)}, value there "
                f"{float(np.sum(base * direction)):.6g})"
            )
        if error > report.largest_error:
            report.largest_error, report.where = error, f"{label} {place}"
    return report


def _directions(x: np.ndarray, rng: np.random.Generator) -> Any:
    """Unit vectors for every element of a small array, a few random directions for a large one."""
    if x.size <= MOST_ELEMENTS:
        for flat in range(x.size):
            direction = np.zeros(x.size)
            direction[flat] = 1.0
            index = tuple(int(i) for i in np.unravel_index(flat, x.shape))
            yield f"at {list(index)}", direction.reshape(x.shape)
    else:
        for number in range(DIRECTIONS):
            direction = rng.standard_normal(x.shape)
            yield f"along random direction {number}", direction / np.linalg.norm(direction)
