"""Normalizations in training, forward and backward. PyTorch runs in its faster memory format, NCHW or channels_last.

nbdl gets images in NCHW memory, as a user's own tensor has it, or channels-last, as its convolutions leave it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

CASES = (
    "batch_norm 64x64x32x32 NCHW",
    "batch_norm 64x64x32x32 channels-last",
    "batch_norm 32x128x16x16 NCHW",
    "batch_norm 32x128x16x16 channels-last",
    "group_norm 32x128x16x16 NCHW",
    "group_norm 32x128x16x16 channels-last",
    "layer_norm 4096x768",
    "rms_norm 4096x768",
)

GROUPS = 32


def _arrays(case: str) -> tuple[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """The function, and x, dy, weight and bias."""
    name, sizes, *_ = case.split()
    shape = tuple(map(int, sizes.split("x")))
    rng = np.random.default_rng(0)
    images = [rng.standard_normal(shape, np.float32) for _ in range(2)]
    if case.endswith("channels-last"):
        images = [np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) for x in images]
    parameters = [rng.standard_normal(shape[1], np.float32) for _ in range(2)]
    return name, (images[0], images[1], parameters[0], parameters[1])


def _step(library: Any, functions: Any, name: str, zeros: Any, x: Any, dy: Any, weight: Any, bias: Any) -> Any:
    """One step of any library: the gradients of x, weight and bias."""
    for leaf in (x, weight, bias):
        leaf.requires_grad_()
    features = tuple(weight.shape)
    running = (zeros(features), zeros(features))

    def step() -> None:
        leaves = [x, weight, bias]
        if name == "batch_norm":
            y = functions.batch_norm(x, *running, weight, bias, True)
        elif name == "group_norm":
            y = functions.group_norm(x, GROUPS, weight, bias)
        elif name == "layer_norm":
            y = functions.layer_norm(x, features, weight, bias)
        else:
            y = functions.rms_norm(x, features, weight)
            leaves.pop()
        library.grad(y, leaves, dy)

    return step


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl
    from nbdl import autograd, ops

    name, arrays = _arrays(case)
    return _step(autograd, ops, name, nbdl.zeros, *map(nbdl.from_numpy, arrays))


def torch_step(case: str) -> Callable[[], None]:
    import torch

    name, arrays = _arrays(case)

    def step_of(memory_format: Any) -> Callable[[], None]:
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        if tensors[0].ndim == 4:
            tensors[:2] = [x.contiguous(memory_format=memory_format) for x in tensors[:2]]
        return _step(torch.autograd, torch.nn.functional, name, torch.zeros, *tensors)

    return min((step_of(torch.contiguous_format), step_of(torch.channels_last)), key=_seconds)


def _seconds(step: Callable[[], None]) -> float:
    """The shortest of a few runs."""
    runs = []
    for _ in range(40):
        start = time.perf_counter()
        step()
        runs.append(time.perf_counter() - start)
    return min(runs)
