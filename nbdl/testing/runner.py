"""Gradient checks of many cases: what `nbdl gradcheck`, the pytest fixture and the tests of nbdl itself run.

Cases are drawn by a counter-based generator from (seed, operation), so each can be repeated, and a thousand cost a
second. Each case is held against the reference in float64, and all gradients together against central differences along
a random direction. Every tenth case is looked at closely: each element by itself, backward twice, float32 against
float64, and, where the reference is analytic, a complex step.
"""

from __future__ import annotations

import multiprocessing
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbdl.runtime import threads
from nbdl.testing import properties
from nbdl.testing.complex_step import check_complex_step
from nbdl.testing.draw import replayed, seeded, shrunk
from nbdl.testing.gradcheck import GradcheckError, GradcheckReport
from nbdl.testing.spec import OpSpec
from nbdl.testing.subjects import load_subject

CLOSELY = 10
"""Every so many cases one is looked at closely."""

_NOT_ANALYTIC = 3
"""Complex steps that may say nothing before a row counts as not analytic."""


@dataclass(frozen=True)
class OpResult:
    """What the checks of one operation found.

    Attributes:
        name: The row.
        operation: The operation, which may have several rows.
        cases: Cases drawn.
        elements: Gradient elements and directions compared with central differences (0 for an operation without
            gradients).
        kinks: Elements skipped because the function has a kink there.
        largest_error: Largest error relative to the tolerance; below 1 passes.
        complex_steps: Cases compared with a complex step of the reference as well.
        float32: Cases whose results and gradients in float32 were held against float64.
        seconds: Time taken.
        failure: The message of the smallest failing case; None when all passed.
        reproducer: A test to copy that runs exactly this case, and lets Hypothesis look for others.
    """

    name: str
    operation: str
    cases: int
    elements: int
    kinks: int
    largest_error: float
    complex_steps: int
    float32: int
    seconds: float
    failure: str | None = None
    reproducer: str | None = None


def share_cases(specs: Iterable[OpSpec], cases: int) -> dict[str, int]:
    """Cases of each row, so that every operation has at least `cases`: its rows share them."""
    listed = list(specs)
    rows = Counter(spec.operation for spec in listed)
    return {spec.name: -(-cases // rows[spec.operation]) for spec in listed}


def check_operations(specs: Iterable[OpSpec], examples: int = 100, seed: int = 0) -> Iterator[OpResult]:
    """Checks each operation on `examples` drawn cases, which its rows share, yielding a result as each row is done."""
    listed = list(specs)
    shares = share_cases(listed, examples)
    for spec in listed:
        yield check_operation(spec, shares[spec.name], seed)


def check_by_name(
    names: list[str], inputs: Mapping[str, str] | None = None, examples: int = 100, seed: int = 0, jobs: int = 1
) -> Iterator[OpResult]:
    """`check_operations` in several processes; names as `find_subjects` takes them."""
    specs = find_subjects(names, inputs)
    if jobs <= 1:
        yield from check_operations(specs, examples, seed)
        return
    shares = share_cases(specs, examples)
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread) as pool:
        tasks = [pool.submit(_check_named, spec.name, inputs, shares[spec.name], seed) for spec in specs]
        try:
            for task in tasks:
                yield task.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    threads.set_num_threads(1)  # the processes share the processors


def _check_named(name: str, inputs: Mapping[str, str] | None, examples: int, seed: int) -> OpResult:
    return check_operation(_named(name, inputs), examples, seed)


def check_operation(spec: OpSpec, examples: int = 100, seed: int = 0) -> OpResult:
    """Draws cases of one row and holds values against the reference, gradients against central differences."""
    start = time.perf_counter()
    total = GradcheckReport()
    failure = reproducer = None
    cases, silent = 0, 0
    draw = seeded(seed, stream=zlib.crc32(spec.name.encode()))
    with np.errstate(all="ignore"):
        for number in range(examples):
            draw.begin()
            cases += 1
            try:
                closely = number % CLOSELY == 0
                analytic = bool(total.complex_steps) or silent < _NOT_ANALYTIC
                report = check_case(spec, spec.inputs(draw), closely, analytic)
            except Exception as error:
                failure, reproducer = _smallest(spec, draw.drawn, error)
                break
            silent += closely and not report.complex_steps
            total.merge(report)
    return OpResult(
        spec.name,
        spec.operation,
        cases,
        total.elements,
        total.kinks,
        total.largest_error,
        total.complex_steps,
        total.float32,
        time.perf_counter() - start,
        failure,
        reproducer,
    )


def check_case(spec: OpSpec, case: Mapping[str, Any], closely: bool = True, analytic: bool = True) -> GradcheckReport:
    """All checks of one case."""
    properties.check_forward(spec, case, np.float64)
    report = GradcheckReport()
    if spec.differentiable:
        report = properties.check_gradients(spec, case, directions=None if closely else 1)
    if closely:
        properties.check_forward(spec, case, np.float32)
        report.float32 = 1
        if spec.differentiable:
            properties.check_narrow_gradients(spec, case, np.float32)
            report.complex_steps = int(analytic and spec.reference is not None and check_complex_step(spec, case))
    return report


def replay(subject: Any, drawn: Iterable[int], inputs: Mapping[str, str] | None = None) -> GradcheckReport:
    """Runs one case again, all of its checks.

    Args:
        subject: The name of a row, `module:function`, `file.py:function`, or the function itself.
        drawn: The integers that the case was drawn from, as a failure lists them; any list makes a case.
        inputs: Descriptions of the arguments, where the function has none of its own.
    """
    spec = _named(subject, inputs) if isinstance(subject, str) else load_subject(subject, inputs)
    with np.errstate(all="ignore"):
        return check_case(spec, spec.inputs(replayed(list(drawn))))


def check_function(
    function: Any,
    inputs: Mapping[str, str] | None = None,
    cases: int = 100,
    seed: int = 0,
    reference: Any = None,
) -> OpResult:
    """Draws cases of a function of one's own and checks its gradients, as `nbdl gradcheck` does.

    Args:
        function: A function of tensors, or a module; `module:name` or `file.py:name` names one.
        inputs: What each argument is, `{"x": "N D", "weight": "D K"}` (see `nbdl.testing.subjects`). None reads the
            type hints, or the function's attribute `spec`.
        cases: How many.
        seed: Chooses them.
        reference: The definition in NumPy, called with the same arguments; optional.

    Returns:
        What was compared.

    Raises:
        GradcheckError: A check fails. The message ends with a test that repeats the case.

    Example:
        >>> def scaled_tanh(x, scale):
        ...     return nbdl.tanh(x) * scale
        >>> nbdl.testing.check_function(scaled_tanh, {"x": "N D", "scale": "D"}, cases=20).cases
        20
    """
    result = check_operation(load_subject(function, inputs, reference), cases, seed)
    if result.failure is not None:
        raise GradcheckError(f"{result.failure}\n\n{result.reproducer}")
    return result


def _named(name: str, inputs: Mapping[str, str] | None) -> OpSpec:
    from nbdl.testing.specs import all_specs  # not needed where a function is given itself

    return next((row for row in all_specs() if row.name == name), None) or load_subject(name, inputs)


def find_subjects(names: list[str], inputs: Mapping[str, str] | None = None) -> list[OpSpec]:
    """The rows of operations of nbdl and of `module:function` names; all rows of nbdl for an empty list.

    Raises:
        KeyError: A name without a colon is no operation.
        ArgumentError: A name with one leads nowhere.
    """
    from nbdl.testing.specs import all_specs, find_specs

    rows = {spec.name for spec in all_specs()}
    own = [name for name in names if name in rows or ":" not in name]
    found = find_specs(own) if own or not names else ()
    return [*found, *(load_subject(name, inputs) for name in names if name not in own)]


# ---------------------------------------------------------------- failures


def _smallest(spec: OpSpec, drawn: list[int], error: Exception) -> tuple[str, str]:
    """Message and reproducer of the smallest case that fails as this one does."""
    found = error

    def fails(candidate: list[int]) -> bool:
        nonlocal found
        try:
            check_case(spec, spec.inputs(replayed(candidate)))
        except type(error) as same:
            found = same
            return True
        except Exception:
            return False
        return False

    small = shrunk(drawn, fails) if fails(list(drawn)) else list(drawn)
    message = str(found) if isinstance(found, AssertionError) else f"{type(found).__name__}: {found}"
    return message, reproducer_of(spec, small)


def reproducer_of(spec: OpSpec, drawn: list[int]) -> str:
    """A test to copy: this case, and what Hypothesis finds beside it."""
    words = "".join(letter if letter.isalnum() else "_" for letter in spec.name.rpartition("/")[2]).strip("_")
    name = f"{spec.name!r}, drawn" + (f", inputs={spec.described!r}" if spec.described else "")
    return (
        "from hypothesis import example, given, settings, strategies as st\n"
        "from nbdl.testing import replay\n\n\n"
        f"@example({drawn})\n"
        "@settings(deadline=None)\n"
        "@given(st.lists(st.integers(0, 2**32 - 1), max_size=40))\n"
        f"def test_{words}(drawn):\n"
        f"    replay({name})\n"
    )
