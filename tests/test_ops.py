"""Every row of the spec table has every property: Hypothesis draws the cases."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdl import ops
from nbdl.testing import properties, simt
from nbdl.testing.draw import Draw, seeded
from nbdl.testing.runner import check_operation, share_cases
from nbdl.testing.spec import to_tensors
from nbdl.testing.specs import all_specs

SPECS = all_specs()
SHARES = share_cases(SPECS, max(1000, settings.default.max_examples))
DIFFERENTIABLE = [spec for spec in SPECS if spec.differentiable]

rows = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
TIMED = [spec for spec in SPECS if spec.benchmark is not None and not spec.variant]

differentiable_rows = pytest.mark.parametrize("spec", DIFFERENTIABLE, ids=lambda spec: spec.name)


def draw_case(data, spec, layouts=True):
    return spec.inputs(Draw(lambda low, high: data.draw(st.integers(low, high)), layouts))


@rows
@given(data=st.data())
def test_forward_float64(spec, data):
    properties.check_forward(spec, draw_case(data, spec), np.float64)


@rows
def test_forward_float32(spec):
    for seed in range(1, settings.default.max_examples):
        properties.check_forward(spec, spec.inputs(seeded(seed)), np.float32)


half_rows = [spec for spec in SPECS if spec.operation not in properties.WITHOUT_FLOAT16]


@pytest.mark.parametrize("spec", half_rows, ids=lambda spec: spec.name)
def test_float16(spec):
    """Results and gradients of tensors of 16 bits, within that dtype's tolerance."""
    case = spec.inputs(seeded(0))
    properties.check_forward(spec, case, np.float16)
    if spec.differentiable:
        properties.check_narrow_gradients(spec, case, np.float16)


@rows
def test_gradients(spec):
    """A thousand cases an operation, of which a tenth in float32 too: what `nbdl gradcheck` runs."""
    result = check_operation(spec, SHARES[spec.name])
    assert result.failure is None, f"{result.failure}\n\n{result.reproducer}"
    assert result.cases == SHARES[spec.name] and bool(result.elements) == bool(spec.differentiable)


@pytest.mark.parametrize("spec", TIMED, ids=lambda spec: spec.name)
def test_arguments_for_timing_are_accepted(spec):
    """`make bench-operations` runs with them."""
    spec.function(**to_tensors(spec.benchmark(np.random.default_rng(0)), np.float32, spec.differentiable))


@differentiable_rows
def test_gradients_float32(spec):
    for seed in range(1, settings.default.max_examples):
        properties.check_narrow_gradients(spec, spec.inputs(seeded(seed)), np.float32)


@rows
@given(data=st.data())
def test_layouts(spec, data):
    properties.check_layouts(spec, draw_case(data, spec))


@rows
@given(data=st.data())
def test_threads(spec, data):
    properties.check_threads(spec, draw_case(data, spec))


@rows
@settings(max_examples=max(5, settings.default.max_examples // 5))
@given(data=st.data())
def test_cuda_twins(spec, data):
    """In the interpreter, warps and lanes in random order, races and bounds watched."""
    case = draw_case(data, spec)
    order = data.draw(st.integers(0, 1000))
    properties.check_twin(spec, case, lambda: simt.target(seed=order))


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [(spec, refusal) for spec in SPECS for refusal in spec.refusals],
    ids=lambda value: getattr(value, "name", None) or value.error.__name__,
)
def test_refusals(spec, refusal):
    properties.check_refusal(spec, refusal)


def test_every_public_function_has_a_row():
    # by name: a function of any number of tensors has a row through a wrapper that takes them as one argument
    described = {spec.name.split(":")[0] for spec in SPECS}
    public = [value.__name__ for name, value in vars(ops).items() if inspect.isfunction(value) and name[0] != "_"]
    forgotten = sorted(set(public) - described - {"check_tensor", "broadcast_shapes"})  # of shapes, not of tensors
    assert not forgotten, f"functions of nbdl.ops without a row in nbdl/testing/specs: {forgotten}"
