"""Training steps of one recurrent layer, the gradient of its result given: forward, and backward to all weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CASES = (
    "LSTM 28-128, 28 steps, batch 64",
    "GRU 28-128, 28 steps, batch 64",
    "RNN 28-128, 28 steps, batch 64",
    "LSTM 128-256, 64 steps, batch 32",
)


def _sizes(case: str) -> tuple[str, int, int, int, int]:
    """Kind, features, hidden features, steps, batch."""
    kind, sizes, *rest = case.replace(",", "").split()
    features, hidden = sizes.split("-")
    return kind, int(features), int(hidden), int(rest[0]), int(rest[3])


def _step(case: str, nn: Any, tensor: Callable[[np.ndarray], Any]) -> Callable[[], None]:
    kind, features, hidden, steps, batch = _sizes(case)
    rng = np.random.default_rng(0)
    x = tensor(rng.standard_normal((steps, batch, features), np.float32))
    dy = tensor(rng.standard_normal((steps, batch, hidden), np.float32))
    layer = getattr(nn, kind)(features, hidden)

    def step() -> None:
        layer.zero_grad()
        y, _ = layer(x)
        y.backward(dy)

    return step


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl
    from nbdl import nn

    return _step(case, nn, nbdl.from_numpy)


def torch_step(case: str) -> Callable[[], None]:
    import torch

    return _step(case, torch.nn, torch.from_numpy)
