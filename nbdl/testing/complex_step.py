r"""The complex step: derivatives of a definition in NumPy to the last digit.

An analytic function that is real on the real axis has $f(x + ih) = f(x) + ihf'(x) + O(h^2)$, so $\Im f(x + ih)/h$ is
its derivative. Nothing is subtracted, so $h$ may be $10^{-30}$ and no digit is lost: gradients that agree with central
differences to five digits are held to nine.

Source: Squire and Trapp (1998), "Using complex variables to estimate derivatives of real functions".
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from nbdl.testing import properties
from nbdl.testing.gradcheck import GradcheckError
from nbdl.testing.spec import OpSpec

STEP = 1e-30
DIFFERENCE = 1e-3
BOUND = 1e3
"""Allowed error of a slope, in units of the operation's float64 tolerance and of the sum of |gradient| along it."""


class NotAnalyticError(Exception):
    """The definition leaves the complex numbers."""


def check_complex_step(spec: OpSpec, case: Mapping[str, Any], seed: int = 0) -> bool:
    """Holds the slope along one random direction against the complex step of the reference.

    Returns:
        False where the reference is not analytic (or knows no complex numbers): there it says nothing.

    Raises:
        GradcheckError: The gradients and the complex step disagree, and differences of the reference confirm the step.
    """
    rng = np.random.default_rng(seed)
    outputs, gradients = properties.run(spec, case, np.float64)
    cotangents = properties.cotangents(outputs)
    directions: dict[str, np.ndarray] = {}

    def moved(step: complex) -> dict[str, Any]:
        """The case, moved along the direction."""
        arguments = dict(case)
        for name in spec.differentiable:
            value = arguments.get(name)
            members = value if isinstance(value, (list, tuple)) else [value]
            shifted = []
            for position, member in enumerate(members):
                if isinstance(member, np.ndarray) and member.dtype.kind == "f":
                    label = f"{name}[{position}]"
                    if label not in directions:
                        directions[label] = rng.choice([-1.0, 1.0], member.shape)
                    member = member + step * directions[label]
                shifted.append(member)
            if members is value:
                arguments[name] = type(value)(shifted)
            elif name in arguments:
                arguments[name] = shifted[0]
        return arguments

    def loss(step: complex) -> complex:
        wanted = spec.reference(**moved(step)) if spec.reference is not None else ()
        listed = wanted if isinstance(wanted, (tuple, list)) else (wanted,)
        pairs = [(y, v) for y, v in zip(listed, cotangents, strict=True) if v is not None]
        if isinstance(step, complex) and not all(np.iscomplexobj(y) for y, _ in pairs):
            raise NotAnalyticError  # |z| is real
        return complex(sum(np.sum(np.asarray(y) * v) for y, v in pairs))

    def difference(h: float) -> float:
        """The slope by differences, of fourth order."""
        near, far = loss(h).real - loss(-h).real, loss(2 * h).real - loss(-2 * h).real
        return (8 * near - far) / (12 * h)

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            exact = loss(1j * STEP).imag / STEP
    except Exception:  # whatever a definition says to complex numbers
        return False
    claimed = sum(float((gradients[label] * u).sum()) for label, u in directions.items() if label in gradients)
    size = 1 + sum(float(np.abs(gradients[label]).sum()) for label in directions if label in gradients)
    if not np.isfinite(exact) or not np.isfinite(claimed):
        return False
    if abs(exact - claimed) <= BOUND * spec.tolerance["float64"] * size:
        return True
    with np.errstate(all="ignore"):
        judges = difference(DIFFERENCE), difference(DIFFERENCE / 4)
    if not all(abs(exact - judge) <= 0.25 * abs(exact - claimed) for judge in judges):
        return False  # max() and the like are not analytic
    raise GradcheckError(
        f"{spec.name}: the slope along a random direction is {claimed:.15g}, the complex step of the reference gives "
        f"{exact:.15g}"
    )
