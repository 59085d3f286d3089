"""Every operation that PyTorch has under the same name: the rows' own cases, values and gradients beside PyTorch's."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from nbdl.testing import properties
from nbdl.testing.draw import seeded
from nbdl.testing.spec import OpSpec
from nbdl.testing.specs import all_specs

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

pytestmark = pytest.mark.parity

CASES = 12
"""Cases of a row; a function has several rows."""

TOLERANCE = 1e-9
"""Largest difference in float64, relative to the values' size and at least 1."""

SINGLE = {"celu": 1e-6, "hardsigmoid": 1e-6}
"""Functions whose gradients PyTorch computes with constants of float32."""


OTHER_NUMBERS = {
    *("alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"),
    *("gumbel_softmax", "rrelu", "scaled_dot_product_attention:dropout"),
}
"""Random: their numbers are nbdl's own."""

OTHER_CALLS = {
    "batch_norm",
    "instance_norm",
    "embedding",
    "one_hot",
    "bernoulli",
    "ctc_loss",
    "meshgrid",
    "multinomial",
    "normal",
    *("gru:packed", "lstm:packed", "rnn_relu:packed", "rnn_tanh:packed"),
}
"""PyTorch's arguments have other names or meanings in a call by keywords; test_recurrent_layers_beside_torch has those
of packed sequences."""

WRONG_THERE = {"pdist", "scatter_reduce:prod"}
"""PyTorch 2.13 ends with a segmentation fault for no points, and gives unused elements of src gradients."""

BY_PLACE = {"dsplit", "expand", "hsplit", "scatter", "tensor_split", "view", "vsplit"}
"""PyTorch has several signatures, told apart by the types of the arguments in their places."""

ANY_NUMBER = {
    *("atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_tensors", "cartesian_prod"),
    *("chain_matmul", "einsum"),
}
"""Functions that take their tensors as any number of arguments; a row has them as one."""

ALL_IN_ONE = {"tensors", "matrices", "operands"}
"""The names of that one."""

NOT_DIFFERENTIABLE = {
    "binary_cross_entropy": ("weight",),
    "binary_cross_entropy_with_logits": ("weight", "pos_weight"),
    "floor_divide": ("input", "other"),
    "soft_margin_loss": ("target",),
}
"""Gradients that nbdl has and PyTorch has not."""


def find(name: str) -> Any:
    """PyTorch's function of that name, wherever it keeps it."""
    for home in (torch.nn.functional, torch, torch.linalg):
        if hasattr(home, name):
            return getattr(home, name)
    method = getattr(torch.Tensor, name, None)
    return None if method is None else lambda input, *arguments, **options: method(input, *arguments, **options)


SPECS = [
    spec
    for spec in all_specs()
    if find(spec.function.__name__)
    and not {spec.name, spec.function.__name__} & (OTHER_NUMBERS | OTHER_CALLS | WRONG_THERE)
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_values_and_gradients(spec: OpSpec) -> None:
    function = find(spec.function.__name__)
    bound = SINGLE.get(spec.function.__name__, TOLERANCE)
    compared = 0
    for seed in range(CASES):
        case = spec.inputs(seeded(seed))
        if (case.get("scale") or 1) < 0:
            continue  # PyTorch multiplies both sides by the root of an attention's scale: NaN
        try:
            wanted, wanted_gradients = run_torch(function, spec, case)
        except (RuntimeError, TypeError, IndexError, ValueError):
            continue  # PyTorch takes fewer forms of arguments, and not every empty one
        if spec.function.__name__ == "nanmedian" and np.isnan(wanted[0]).any():
            continue  # of NaNs alone any one may be the median, and take the gradient
        compared += 1
        got, gradients = properties.run(spec, case, np.float64)
        assert len(got) == len(wanted)
        for number, (ours, theirs) in enumerate(zip(got, wanted, strict=True)):
            compare(f"{spec.name}, case {seed}, result {number}", ours, theirs, bound)
        for name, theirs in wanted_gradients.items():
            ours = gradients.get(name)
            title = f"{spec.name}, case {seed}, gradient of {name}"
            compare(title, np.zeros_like(theirs) if ours is None else ours, theirs, bound)
    assert compared >= CASES // 4, f"{spec.name}: PyTorch takes {compared} of {CASES} cases"


def run_torch(function: Any, spec: OpSpec, case: Mapping[str, Any]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """What `properties.run` does, with PyTorch."""
    name = spec.function.__name__
    wanted = tuple(n for n in spec.differentiable if n not in NOT_DIFFERENTIABLE.get(name, ()))
    arguments = {
        n: converted(case[n], n in wanted)
        for n in inspect.signature(spec.function).parameters
        if n in case and (case[n] is not None or n == "dim")
    }
    if name in ANY_NUMBER:
        places = [value if n in ALL_IN_ONE else [value] for n, value in arguments.items()]
        outputs = function(*(value for listed in places for value in listed))
    elif name in BY_PLACE:
        outputs = function(*arguments.values())
    else:
        if isinstance(arguments.get("input"), (bool, int, float)):
            arguments["input"] = torch.tensor(arguments["input"], dtype=torch.float64)
        outputs = function(**arguments)
    outputs = [
        y for y in (outputs if isinstance(outputs, (tuple, list)) else (outputs,)) if isinstance(y, torch.Tensor)
    ]
    rng = np.random.default_rng(7)
    pairs = []
    for y in outputs:
        cotangent = torch.from_numpy(np.asarray(rng.standard_normal(tuple(y.shape)))) if y.is_floating_point() else None
        if y.requires_grad:
            pairs.append((y, cotangent.to(y.dtype)))
    if pairs:
        torch.autograd.backward([y for y, _ in pairs], [v for _, v in pairs])
    gradients = {}
    for name in spec.differentiable:
        value = arguments.get(name)
        for position, member in enumerate(value if isinstance(value, (list, tuple)) else [value]):
            if isinstance(member, torch.Tensor) and member.grad is not None:
                gradients[f"{name}[{position}]"] = member.grad.numpy()
    return [y.detach().numpy() for y in outputs], gradients


def converted(value: Any, requires_grad: bool) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value).reshape(value.shape).copy()).requires_grad_(
            requires_grad and value.dtype.kind == "f"
        )
    if isinstance(value, (list, tuple)) and any(isinstance(item, np.ndarray) for item in value):
        return type(value)(converted(item, requires_grad) for item in value)
    if isinstance(value, np.floating):
        return torch.tensor(float(value), dtype=torch.float64)
    if isinstance(value, np.dtype):
        return torch.from_numpy(np.zeros(0, value)).dtype
    return value


def compare(title: str, ours: np.ndarray, theirs: np.ndarray, bound: float) -> None:
    assert ours.shape == theirs.shape, f"{title}: shape {ours.shape}, PyTorch's is {theirs.shape}"
    assert ours.dtype == theirs.dtype, f"{title}: {ours.dtype}, PyTorch's is {theirs.dtype}"
    if theirs.dtype.kind == "f":
        same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        with np.errstate(invalid="ignore"):
            near = np.abs(ours - theirs) <= bound * np.maximum(1, np.abs(theirs))
        assert (same | near).all(), f"{title}: {ours}, PyTorch's is {theirs}"
    else:
        assert np.array_equal(ours, theirs), f"{title}: {ours}, PyTorch's is {theirs}"
