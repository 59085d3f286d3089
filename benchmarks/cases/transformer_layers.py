"""Training steps of stacks of the Transformer's layers, the gradient of their result given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CASES = (
    "encoder, 4 layers of 128, 4 heads, causal, 8x128",
    "encoder, 2 layers of 256, 8 heads, padded, 16x64",
    "decoder, 2 layers of 128, 4 heads, causal, 8x128",
)


def _step(case: str, nn: Any, tensor: Callable[[np.ndarray], Any]) -> Callable[[], None]:
    kind, depth, heads, mask, size = case.split(", ")
    layers, width = int(depth.split()[0]), int(depth.split()[-1])
    batch, length = map(int, size.split("x"))
    rng = np.random.default_rng(0)
    x, memory, dy = (tensor(rng.standard_normal((batch, length, width), np.float32)) for _ in range(3))
    options = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
    sizes = width, int(heads.split()[0]), 4 * width
    hidden = tensor(np.arange(length) >= rng.integers(length // 2, length + 1, batch)[:, None])
    causal = nn.Transformer.generate_square_subsequent_mask(length)
    if kind == "encoder":
        stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(*sizes, **options), layers, None, False)
        masks = {"mask": causal, "is_causal": True} if mask == "causal" else {"src_key_padding_mask": hidden}
        inputs: tuple[Any, ...] = (x,)
    else:
        stack = nn.TransformerDecoder(nn.TransformerDecoderLayer(*sizes, **options), layers)
        masks, inputs = {"tgt_mask": causal, "tgt_is_causal": True}, (x, memory)

    def step() -> None:
        stack.zero_grad()
        stack(*inputs, **masks).backward(dy)

    return step


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl
    from nbdl import nn

    return _step(case, nn, nbdl.from_numpy)


def torch_step(case: str) -> Callable[[], None]:
    import torch

    return _step(case, torch.nn, torch.from_numpy)
