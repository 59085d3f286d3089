"""Padding, fold, unfold and transposed convolution, forward and backward; PyTorch in its faster memory format."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class _Call(NamedTuple):
    """A function of both libraries, the shapes of its tensors, the first of them images, and its other arguments."""

    function: str
    shapes: tuple[tuple[int, ...], ...]
    options: dict[str, Any]


CALLS = {
    "pad by zeros, 32x64x32x32": _Call("pad", ((32, 64, 32, 32),), {"pad": (1, 1, 1, 1)}),
    "pad by reflection, 32x64x32x32": _Call("pad", ((32, 64, 32, 32),), {"pad": (1, 1, 1, 1), "mode": "reflect"}),
    "pad circularly, 32x64x32x32": _Call("pad", ((32, 64, 32, 32),), {"pad": (1, 1, 1, 1), "mode": "circular"}),
    "unfold 3x3, 16x32x32x32": _Call("unfold", ((16, 32, 32, 32),), {"kernel_size": 3, "padding": 1}),
    "fold 3x3, 16x32x32x32": _Call(
        "fold", ((16, 288, 1024),), {"output_size": (32, 32), "kernel_size": 3, "padding": 1}
    ),
    "transposed 4x4 64-32 stride 2, 32x64x16x16": _Call(
        "conv_transpose2d", ((32, 64, 16, 16), (64, 32, 4, 4), (32,)), {"stride": 2, "padding": 1}
    ),
    "transposed 2x2 64-32 stride 2, 32x64x16x16": _Call(
        "conv_transpose2d", ((32, 64, 16, 16), (64, 32, 2, 2), (32,)), {"stride": 2}
    ),
}

CASES = tuple(CALLS)


def _arrays(call: _Call, channels_last: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in call.shapes]
    if channels_last and arrays[0].ndim == 4:
        arrays[0] = np.ascontiguousarray(arrays[0].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return arrays


def _takes_channels_last(call: _Call) -> bool:
    """Whether neighbours would hand over channels-last memory: columns of patches are channels first."""
    return call.function not in ("fold", "unfold")


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl
    from nbdl import autograd, ops

    call = CALLS[case]
    function = getattr(ops, call.function)
    tensors = [nbdl.from_numpy(array).requires_grad_() for array in _arrays(call, _takes_channels_last(call))]
    cotangent = function(*tensors, **call.options).detach()  # of the memory order that a next layer would give

    def step() -> None:
        autograd.grad(function(*tensors, **call.options), tensors, cotangent)

    return step


def torch_step(case: str) -> Callable[[], None]:
    import torch

    call = CALLS[case]
    function = getattr(torch.nn.functional, call.function)

    def step_of(channels_last: bool) -> Callable[[], None]:
        tensors = [torch.from_numpy(array).requires_grad_() for array in _arrays(call, channels_last)]
        cotangent = function(*tensors, **call.options).detach()

        def step() -> None:
            torch.autograd.grad(function(*tensors, **call.options), tensors, cotangent)

        return step

    return min((step_of(False), step_of(True)), key=_seconds)


def _seconds(step: Callable[[], None]) -> float:
    """The shortest of a few runs."""
    runs = []
    for _ in range(10):
        start = time.perf_counter()
        step()
        runs.append(time.perf_counter() - start)
    return min(runs)
