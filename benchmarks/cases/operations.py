"""Every operation whose row of the spec table has typical arguments, beside PyTorch's function of the same name.

In float32, forward and, where there are gradients, backward. A topic apart: `make bench-operations`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.testing.spec import OpSpec
from nbdl.testing.specs import all_specs

WITHOUT = {"gru", "lstm", "rnn_relu", "rnn_tanh", "floor_divide"}
"""Functions that take other arguments in PyTorch (the topic `recurrent` compares them), or have no gradient there."""


def __getattr__(name: str) -> Any:
    if name != "CASES":
        raise AttributeError(name)
    return tuple(case for case in _specs() if case not in WITHOUT and _torch_function(case) is not None)


def _specs() -> dict[str, OpSpec]:
    """The first row of each operation that can be timed."""
    specs: dict[str, OpSpec] = {}
    for spec in all_specs():
        if spec.benchmark is not None:
            specs.setdefault(spec.operation, spec)
    return specs


def _torch_function(name: str) -> Callable[..., Any] | None:
    import torch

    return getattr(torch.nn.functional, name, None) or getattr(torch, name, None)


def _arguments(case: str, tensor: Callable[..., Any]) -> tuple[dict[str, Any], list[Any]]:
    """The arguments, with `tensor(array, differentiable)` for arrays, and those that have gradients."""
    spec = _specs()[case]
    assert spec.benchmark is not None
    leaves = []

    def convert(value: Any, differentiable: bool) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(convert(item, differentiable) for item in value)
        if not isinstance(value, np.ndarray):
            return value
        if value.dtype.kind == "f":
            value = value.astype(np.float32)
        made = tensor(value, differentiable and value.dtype.kind == "f")
        if differentiable:
            leaves.append(made)
        return made

    drawn = spec.benchmark(np.random.default_rng(0))
    return {name: convert(value, name in spec.differentiable) for name, value in drawn.items()}, leaves


def _step(
    function: Callable[..., Any], arguments: dict[str, Any], leaves: list[Any], ones: Callable[[Any], Any]
) -> Callable[[], None]:
    def first(result: Any) -> Any:
        return result[0] if isinstance(result, tuple) else result

    if not leaves:
        return lambda: function(**arguments)
    gradient = ones(first(function(**arguments)).detach())

    def step() -> None:
        for leaf in leaves:
            leaf.grad = None
        first(function(**arguments)).backward(gradient)

    return step


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl

    arguments, leaves = _arguments(case, lambda array, grad: nbdl.Tensor(array, requires_grad=grad))
    return _step(_specs()[case].function, arguments, leaves, nbdl.ones_like)


def torch_step(case: str) -> Callable[[], None]:
    import torch

    function = _torch_function(case)
    assert function is not None
    arguments, leaves = _arguments(case, lambda array, grad: torch.tensor(array, requires_grad=grad))
    return _step(function, arguments, leaves, torch.ones_like)
