"""Pooling layers, forward and backward, on images in channels-last memory; PyTorch in its faster memory format."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

CASES = (
    "max 2 64x32x28x28",
    "max 2 32x64x32x32",
    "max 3 stride 2 padding 1 32x64x32x32",
    "avg 2 32x64x32x32",
    "global avg 32x512x7x7",
)


def _layer(case: str) -> tuple[np.ndarray, str, tuple[int, ...]]:
    """The images, the function and its numbers."""
    *words, shape = case.split()
    n, c, h, w = map(int, shape.split("x"))
    images = np.random.default_rng(0).standard_normal((n, h, w, c)).astype(np.float32).transpose(0, 3, 1, 2)
    if words[0] == "global":
        return images, "adaptive_avg_pool2d", (1,)
    return images, f"{words[0]}_pool2d", tuple(int(word) for word in words if word.isdigit())


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl
    from nbdl import autograd, ops

    images, name, numbers = _layer(case)
    pool: Any = getattr(ops, name)
    x = nbdl.from_numpy(images).requires_grad_()
    cotangent = pool(x, *numbers).detach()  # of the memory order that a next layer would give

    def step() -> None:
        autograd.grad(pool(x, *numbers), x, cotangent)

    return step


def torch_step(case: str) -> Callable[[], None]:
    import torch

    images, name, numbers = _layer(case)
    pool: Any = getattr(torch.nn.functional, name)

    def step_of(memory_format: Any) -> Callable[[], None]:
        x = torch.from_numpy(images).contiguous(memory_format=memory_format).requires_grad_()
        cotangent = pool(x, *numbers).detach()

        def step() -> None:
            torch.autograd.grad(pool(x, *numbers), x, cotangent)

        return step

    return min((step_of(torch.contiguous_format), step_of(torch.channels_last)), key=_seconds)


def _seconds(step: Callable[[], None]) -> float:
    """The shortest of a few runs."""
    runs = []
    for _ in range(10):
        start = time.perf_counter()
        step()
        runs.append(time.perf_counter() - start)
    return min(runs)
