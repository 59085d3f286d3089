"""The parts of a Transformer besides attention, forward and backward, as a small model and a usual one have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Part(NamedTuple):
    """What goes in, shapes of tensors with gradients; the shape of the result; ids below a limit, if it looks up."""

    inputs: tuple[tuple[int, ...], ...]
    result: tuple[int, ...]
    ids: int = 0


PARTS = {
    "layer_norm 1024x128": Part(((1024, 128), (128,), (128,)), (1024, 128)),
    "layer_norm 2048x768": Part(((2048, 768), (768,), (768,)), (2048, 768)),
    "gelu 1024x512": Part(((1024, 512),), (1024, 512)),
    "gelu 2048x3072": Part(((2048, 3072),), (2048, 3072)),
    "softmax 12288x256": Part(((12288, 256),), (12288, 256)),
    "embedding 50257x128": Part(((50257, 128),), (1024, 128), 50257),
    "embedding 103x128": Part(((103, 128),), (1024, 128), 103),
    "residual_layer_norm 1024x128": Part(((1024, 128), (1024, 128), (128,), (128,)), (1024, 128)),
    "residual_rms_norm 1024x128": Part(((1024, 128), (1024, 128), (128,)), (1024, 128)),
    "swiglu 1024x512": Part(((1024, 512), (1024, 512)), (1024, 512)),
    "rotary_embedding 8x4x128x32": Part(((8, 4, 128, 32),), (8, 4, 128, 32)),
    "linear_gelu 1024x128x512": Part(((1024, 128), (512, 128), (512,)), (1024, 512)),
    "linear_gelu 2048x768x3072": Part(((2048, 768), (3072, 768), (3072,)), (2048, 3072)),
}
CASES = tuple(PARTS)


def _step(case: str, tensor: Callable[..., Any], functions: dict[str, Callable[..., Any]]) -> Callable[[], None]:
    part, function = PARTS[case], functions[case.split()[0]]
    rng = np.random.default_rng(0)
    ids = tensor(rng.integers(0, part.ids, part.result[0]), False) if part.ids else None
    inputs = [tensor(rng.standard_normal(shape).astype(np.float32), True) for shape in part.inputs]
    gradient = tensor(rng.standard_normal(part.result).astype(np.float32), False)

    def step() -> None:
        for x in inputs:
            x.grad = None
        results = function(*inputs) if ids is None else function(ids, *inputs)
        if isinstance(results, tuple):
            total, y = results
            (total + y).backward(gradient)
        else:
            results.backward(gradient)

    return step


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl
    from nbdl import ops

    functions: dict[str, Callable[..., Any]] = {
        "layer_norm": lambda x, *parameters: ops.layer_norm(x, x.shape[-1:], *parameters),
        "gelu": ops.gelu,
        "softmax": lambda x: ops.softmax(x, -1),
        "embedding": ops.embedding,
        "residual_layer_norm": lambda x, h, *parameters: ops.residual_layer_norm(x, h, x.shape[-1:], *parameters),
        "residual_rms_norm": lambda x, h, *parameters: ops.residual_rms_norm(x, h, x.shape[-1:], *parameters),
        "swiglu": ops.swiglu,
        "rotary_embedding": ops.rotary_embedding,
        "linear_gelu": ops.linear_gelu,
    }
    return _step(case, lambda x, grad: nbdl.tensor(x, requires_grad=grad), functions)


def torch_step(case: str) -> Callable[[], None]:
    import torch
    from torch.nn import functional

    rates = 10000.0 ** (-torch.arange(16) / 16)
    angles = torch.arange(128)[:, None] * torch.cat((rates, rates))
    cosine, sine = angles.cos(), angles.sin()

    def with_norm(norm: Callable[..., Any]) -> Callable[..., Any]:
        def both(x: Any, h: Any, *parameters: Any) -> tuple[Any, Any]:
            total = x + h
            return total, norm(total, x.shape[-1:], *parameters)

        return both

    functions: dict[str, Callable[..., Any]] = {
        "layer_norm": lambda x, *parameters: functional.layer_norm(x, x.shape[-1:], *parameters),
        "gelu": functional.gelu,
        "softmax": lambda x: functional.softmax(x, -1),
        "embedding": functional.embedding,
        "residual_layer_norm": with_norm(functional.layer_norm),
        "residual_rms_norm": with_norm(functional.rms_norm),
        "swiglu": lambda gate, up: functional.silu(gate) * up,
        "rotary_embedding": lambda x: x * cosine + torch.cat((-x[..., 16:], x[..., :16]), -1) * sine,
        "linear_gelu": lambda *inputs: functional.gelu(functional.linear(*inputs)),
    }
    return _step(case, lambda x, grad: torch.tensor(x, requires_grad=grad), functions)
