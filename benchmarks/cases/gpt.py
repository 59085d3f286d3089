"""A GPT of 4 layers with 4 heads, 128 wide: a training step on 8 texts of 128 tokens, and writing 100 tokens.

Both libraries run the same architecture. PyTorch's is written as its users write it: fused AdamW, its fused attention,
and for writing a cache of keys and values in buffers of their final size. The likeliest token is taken each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CASES = (
    "training step, batch 8",
    "writing 100 tokens, 1 text",
    "writing 100 tokens, 8 texts",
)

LAYERS, HEADS, WIDTH, CONTEXT, VOCABULARY, PROMPT, WRITTEN = 4, 4, 128, 128, 103, 8, 100


def _texts(case: str) -> int:
    """Texts that are written side by side."""
    return int(case.split(", ")[1].split()[0])


def _windows() -> tuple[np.ndarray, np.ndarray]:
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (8, CONTEXT + 1))
    return tokens[:, :-1].copy(), tokens[:, 1:].copy()


def nbdl_step(case: str) -> Callable[[], Any]:
    import nbdl
    from nbdl import models, ops, optim

    config = models.GPTConfig(vocabulary=VOCABULARY, context=CONTEXT, width=WIDTH, layers=LAYERS, heads=HEADS)
    model = models.GPT(config)
    if case.startswith("writing"):
        prompt = np.zeros((_texts(case), PROMPT), np.int64)
        return lambda: model.generate(prompt, WRITTEN, temperature=0)
    inputs, targets = (nbdl.from_numpy(part) for part in _windows())
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        ops.cross_entropy(model(inputs).reshape(-1, VOCABULARY), targets.reshape(-1)).backward()
        optimizer.step()

    return step


def torch_step(case: str) -> Callable[[], Any]:
    import torch
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.projection = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.expand, self.contract = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x: Any, cache: Any = None, begin: int = 0) -> Any:
            batch, length, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4).unbind(0)
            if cache is not None:
                end = begin + length
                cache[0][:, :, begin:end], cache[1][:, :, begin:end] = k, v
                k, v = cache[0][:, :, :end], cache[1][:, :, :end]
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=length > 1)
            x = x + self.projection(y.transpose(1, 2).reshape(batch, length, WIDTH))
            return x + self.contract(functional.gelu(self.expand(self.norm2(x)), approximate="tanh"))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
            self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
            self.norm = nn.LayerNorm(WIDTH)
            for parameter in self.parameters():
                if parameter.ndim == 2:
                    nn.init.normal_(parameter, 0.0, 0.02)

        def forward(self, ids: Any, caches: Any = None, begin: int = 0) -> Any:
            x = self.tokens(ids) + self.positions.weight[begin : begin + ids.shape[1]]
            for layer, block in enumerate(self.blocks):
                x = block(x, None if caches is None else caches[layer], begin)
            x = self.norm(x if caches is None else x[:, -1])
            return functional.linear(x, self.tokens.weight)

    model = GPT()
    if case.startswith("writing"):
        batch = _texts(case)
        model.eval()

        @torch.no_grad()
        def write() -> Any:
            shape = (batch, HEADS, CONTEXT, WIDTH // HEADS)
            caches = [(torch.empty(shape), torch.empty(shape)) for _ in range(LAYERS)]
            text = torch.zeros((batch, PROMPT), dtype=torch.long)
            unread, begin = text, 0
            for _ in range(WRITTEN):
                token = model(unread, caches, begin).argmax(-1, keepdim=True)
                begin += unread.shape[1]
                unread = token
                text = torch.cat([text, token], 1)
            return text

        return write
    inputs, targets = (torch.from_numpy(part) for part in _windows())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs).view(-1, VOCABULARY), targets.view(-1)).backward()
        optimizer.step()

    return step
