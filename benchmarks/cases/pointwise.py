"""Pointwise operations, forward and backward, on a million elements and on a small batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

SIZES = {"1M": (1024, 1024), "64k": (256, 256)}
NAMES = ("add", "mul", "relu", "gelu", "tanh", "sigmoid", "exp", "silu")
CASES = tuple(f"{name} {size}" for size in SIZES for name in NAMES)


def _arrays(size: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(SIZES[size]).astype(np.float32) for _ in range(3)]


def _step(function: Callable[..., Any], binary: bool, tensors: list[Any]) -> Callable[[], None]:
    a, b, gradient = tensors

    def step() -> None:
        a.grad = b.grad = None
        (function(a, b) if binary else function(a)).backward(gradient)

    return step


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl
    from nbdl import ops

    name, size = case.split()
    tensors = [nbdl.tensor(array, requires_grad=i < 2) for i, array in enumerate(_arrays(size))]
    return _step(getattr(ops, name), name in ("add", "mul"), tensors)


def torch_step(case: str) -> Callable[[], None]:
    import torch

    name, size = case.split()
    tensors = [torch.tensor(array, requires_grad=i < 2) for i, array in enumerate(_arrays(size))]
    function = getattr(torch, name, None) or getattr(torch.nn.functional, name)
    return _step(function, name in ("add", "mul"), tensors)
