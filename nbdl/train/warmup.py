"""Warm-up: every kernel compiled ahead of time, so that no later run waits for the compiler."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbdl import optim
from nbdl.autograd import Tensor
from nbdl.nn import Parameter
from nbdl.runtime.compilation import on_compile
from nbdl.testing import properties
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec
from nbdl.testing.specs import all_specs
from nbdl.train.recipes.registry import OPTIMIZERS

CASES = 8
"""Cases drawn for each operation and dtype: enough to meet its kernels for each of its options."""

DTYPES = (np.float32, np.float64)


@dataclass(frozen=True)
class Warmed:
    """One operation or optimizer that is in the cache now.

    Attributes:
        name: Row of the spec table, or name of the optimizer.
        compiled: Functions that were not in the cache before.
        failure: What went wrong, or None.
    """

    name: str
    compiled: int
    failure: str | None


def warm_up_names() -> list[str]:
    """Everything there is to warm up: the rows of the spec table and the optimizers."""
    return [*(spec.name for spec in all_specs()), *OPTIMIZERS]


def warm_up(jobs: int = 1) -> Iterator[Warmed]:
    """Runs everything once, forward and backward, and thereby compiles and caches it.

    Args:
        jobs: Processes that compile side by side. They share the cache, which takes care of that.
    """
    if jobs == 1:
        yield from map(_warm_up_one, warm_up_names())
        return
    # Fresh processes: a fork would carry over the thread pool, which does not survive it.
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_leave_signals_to_the_parent)
    try:
        for future in as_completed([pool.submit(_warm_up_one, name) for name in warm_up_names()]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_signals_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _warm_up_one(name: str) -> Warmed:
    compiled: list[str] = []
    failure = None
    with on_compile(compiled.append):
        try:
            if name in OPTIMIZERS:
                _run_optimizer(OPTIMIZERS[name][0])
            else:
                _run_operation(next(spec for spec in all_specs() if spec.name == name))
        except Exception as error:  # the others are worth compiling all the same
            failure = f"{type(error).__name__}: {error}"
    return Warmed(name, len(compiled), failure)


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


class _Integers:
    """Integers of closed intervals, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.Philox(seed))

    def __call__(self, low: int, high: int) -> int:
        return int(self._generator.integers(low, high + 1))
