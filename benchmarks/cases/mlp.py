"""A training step of a multi-layer perceptron 784-256-10: forward, backward, AdamW; batch 64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CASES = ("784-256-10 batch 64 AdamW",)


def _batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((64, 784)).astype(np.float32), rng.integers(0, 10, 64)


def nbdl_step(case: str) -> Callable[[], float]:
    import nbdl
    from nbdl import nn, ops, optim

    x, target = (nbdl.from_numpy(array) for array in _batch())
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> float:
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def torch_step(case: str) -> Callable[[], float]:
    import torch
    from torch import nn

    x, target = (torch.from_numpy(array) for array in _batch())
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
