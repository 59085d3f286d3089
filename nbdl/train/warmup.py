"""Warm-up: every kernel compiled ahead of time, so that no later run waits for the compiler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nbdl import optim
from nbdl.autograd import Tensor
from nbdl.nn import Parameter
from nbdl.testing import properties
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec
from nbdl.testing.specs import all_specs
from nbdl.train.recipes.registry import OPTIMIZERS

CASES = 8
"""Cases drawn for each operation and dtype: enough to meet its kernels for each of its options."""

DTYPES = (np.float32, np.float64)


def warm_up_steps() -> list[tuple[str, Callable[[], None]]]:
    """What there is to do: a name, and a function that runs (and thereby compiles and caches) it."""
    operations = [(spec.name, partial(_run_operation, spec)) for spec in all_specs()]
    optimizers = [(name, partial(_run_optimizer, make)) for name, (make, _) in OPTIMIZERS.items()]
    return [*operations, *optimizers]


class _Integers:
    """Integers of closed intervals, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.Philox(seed))

    def __call__(self, low: int, high: int) -> int:
        return int(self._generator.integers(low, high + 1))


def _run_operation(spec: OpSpec) -> None:
    """Runs an operation forward and backward on small drawn inputs, the same ones every time."""
    for dtype in DTYPES:
        for seed in range(CASES):
            properties.run(spec, spec.inputs(Draw(_Integers(seed))), dtype)


def _run_optimizer(make: Callable[..., Any]) -> None:
    """One step of an optimizer for each dtype."""
    for dtype in DTYPES:
        parameter = Parameter(Tensor(np.ones(3, dtype)))
        parameter.grad = Tensor(np.ones(3, dtype))
        optim.clip_grad_norm_([parameter], 1.0)
        make([parameter], lr=0.1).step()
