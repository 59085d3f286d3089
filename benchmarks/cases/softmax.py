"""Softmax cross-entropy, forward and backward, on logits [N, C]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CASES = ("64x10", "8192x50", "1024x1000", "512x10000")


def _arrays(case: str) -> tuple[np.ndarray, np.ndarray]:
    n, c = map(int, case.split("x"))
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, c)).astype(np.float32), rng.integers(0, c, n)


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl
    from nbdl import ops

    logits, target = _arrays(case)
    x, y = nbdl.tensor(logits, requires_grad=True), nbdl.from_numpy(target)

    def step() -> None:
        x.grad = None
        ops.cross_entropy(x, y).backward()

    return step


def torch_step(case: str) -> Callable[[], None]:
    import torch

    logits, target = _arrays(case)
    x, y = torch.tensor(logits, requires_grad=True), torch.from_numpy(target)

    def step() -> None:
        x.grad = None
        torch.nn.functional.cross_entropy(x, y).backward()

    return step
