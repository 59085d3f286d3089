"""Operations in place, as updates and running means written by hand use them, on a million elements and on a few.

Outside the graph, but for `relu_ recorded`: a product, ReLU over its result, and the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

SIZES = {"1M": (1024, 1024), "4k": (64, 64)}

UPDATES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "zero_": lambda x, y, row: x.zero_(),
    "copy_": lambda x, y, row: x.copy_(y),
    "add_": lambda x, y, row: x.add_(y),
    "add_ alpha": lambda x, y, row: x.add_(y, alpha=-1e-3),
    "add_ row": lambda x, y, row: x.add_(row),
    "mul_ number": lambda x, y, row: x.mul_(0.999),
    "lerp_": lambda x, y, row: x.lerp_(y, 0.01),
    "addcmul_": lambda x, y, row: x.addcmul_(y, y),
    "clamp_": lambda x, y, row: x.clamp_(-1.0, 1.0),
    "relu_": lambda x, y, row: x.relu_(),
    "sigmoid_": lambda x, y, row: x.sigmoid_(),
}
CASES = tuple(f"{name} {size}" for size in SIZES for name in (*UPDATES, "relu_ recorded"))


def _step(case: str, library: Any, tensor: Callable[[np.ndarray], Any]) -> Callable[[], None]:
    name, size = case.rsplit(" ", 1)
    rng = np.random.default_rng(0)
    x, y, gradient = (tensor(rng.standard_normal(SIZES[size]).astype(np.float32)) for _ in range(3))
    row = tensor(rng.standard_normal((1, SIZES[size][1])).astype(np.float32))

    def recorded() -> None:
        x.grad = None
        (x * y).relu_().backward(gradient)

    def update() -> None:
        with library.no_grad():
            UPDATES[name](x, y, row)

    if name in UPDATES:
        return update
    x.requires_grad_()
    return recorded


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl

    return _step(case, nbdl, nbdl.tensor)


def torch_step(case: str) -> Callable[[], None]:
    import torch

    return _step(case, torch, torch.tensor)
