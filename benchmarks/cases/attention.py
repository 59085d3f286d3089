"""Scaled dot-product attention: forward and backward to query, key and value, or one query over a cache of keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CASES = (
    "8x6x256x64 causal",
    "8x6x256x64 full",
    "1x8x4096x64 causal",
    "1x12x1024x64 one query",
)


def _step(case: str, attention: Any, tensor: Callable[[np.ndarray], Any], no_grad: Any) -> Callable[[], None]:
    sizes, kind = case.split(" ", 1)
    shape = tuple(map(int, sizes.split("x")))
    rng = np.random.default_rng(0)
    query, key, value, dy = (tensor(rng.standard_normal(shape, np.float32)) for _ in range(4))
    if kind == "one query":
        last = query[:, :, -1:]

        def decode() -> None:
            with no_grad():
                attention(last, key, value)

        return decode

    for leaf in (query, key, value):
        leaf.requires_grad_()

    def step() -> None:
        query.grad = key.grad = value.grad = None
        attention(query, key, value, is_causal=kind == "causal").backward(dy)

    return step


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl
    from nbdl import ops

    return _step(case, ops.scaled_dot_product_attention, nbdl.from_numpy, nbdl.no_grad)


def torch_step(case: str) -> Callable[[], None]:
    import torch

    attention = torch.nn.functional.scaled_dot_product_attention
    return _step(case, attention, torch.from_numpy, torch.no_grad)
