"""One optimizer step over the parameters of a small and of a large model, against PyTorch's fused optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

SHAPES = {
    "MLP": [(256, 784), (256,), (10, 256), (10,)],
    "5M": [(512, 512), (512,)] * 19,
}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "AdamW": {"lr": 1e-3},
    "Adam": {"lr": 1e-3},
    "SGD": {"lr": 1e-3, "momentum": 0.9},
}
CASES = tuple(f"{name} {size}" for name in OPTIMIZERS for size in SHAPES)


def _arrays(size: str) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [tuple(rng.standard_normal(shape).astype(np.float32) for _ in range(2)) for shape in SHAPES[size]]


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl
    from nbdl import nn, optim

    name, size = case.split()
    parameters = []
    for value, gradient in _arrays(size):
        parameter = nn.Parameter(nbdl.tensor(value))
        parameter.grad = nbdl.tensor(gradient)
        parameters.append(parameter)
    return getattr(optim, name)(parameters, **OPTIMIZERS[name]).step


def torch_step(case: str) -> Callable[[], None]:
    import torch

    name, size = case.split()
    parameters = []
    for value, gradient in _arrays(size):
        parameter = torch.nn.Parameter(torch.tensor(value))
        parameter.grad = torch.tensor(gradient)
        parameters.append(parameter)
    return getattr(torch.optim, name)(parameters, **OPTIMIZERS[name], fused=True).step
