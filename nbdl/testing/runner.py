"""Gradient checks of many operations: what `nbdl gradcheck` runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st

from nbdl.testing import properties
from nbdl.testing.draw import Draw, replayed
from nbdl.testing.gradcheck import GradcheckReport
from nbdl.testing.spec import OpSpec
from nbdl.testing.specs import find_specs


@dataclass(frozen=True)
class OpResult:
    """What the checks of one operation found.

    Attributes:
        name: The operation's row.
        cases: Cases drawn.
        elements: Gradient elements compared with central differences (0 for an operation without gradients).
        kinks: Elements skipped because the function has a kink there.
        largest_error: Largest error relative to the tolerance; below 1 passes.
        seconds: Time taken.
        failure: The message of the smallest failing case, with its reproducer; None when all passed.
    """

    name: str
    cases: int
    elements: int
    kinks: int
    largest_error: float
    seconds: float
    failure: str | None


def check_operations(specs: Iterable[OpSpec], examples: int = 100, seed: int = 0) -> Iterator[OpResult]:
    """Checks forward values and gradients of each row on `examples` drawn cases, yielding a result as each is done."""
    for spec in specs:
        yield check_operation(spec, examples, seed)


def check_operation(spec: OpSpec, examples: int = 100, seed: int = 0) -> OpResult:
    """Draws cases of one operation and holds values against the reference, gradients against central differences."""
    start = time.perf_counter()
    total = GradcheckReport()
    cases = 0
    drawn: list[int] = []

    @hypothesis_seed(seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        nonlocal cases, drawn
        draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
        drawn = draw.drawn
        case = spec.inputs(draw)
        cases += 1
        properties.check_forward(spec, case, np.float64)
        if spec.differentiable:
            total.merge(properties.check_gradients(spec, case))

    failure = None
    try:
        check()
    except Exception as error:
        failure = f"{error}\n    reproduce: nbdl.testing.replay({spec.name!r}, {drawn})"
    return OpResult(
        spec.name, cases, total.elements, total.kinks, total.largest_error, time.perf_counter() - start, failure
    )


def replay(name: str, drawn: list[int]) -> GradcheckReport:
    """Runs the case of a failure message again, outside Hypothesis."""
    (spec,) = (row for row in find_specs([name]) if row.name == name)
    case = spec.inputs(replayed(drawn))
    properties.check_forward(spec, case, np.float64)
    return properties.check_gradients(spec, case) if spec.differentiable else GradcheckReport()
