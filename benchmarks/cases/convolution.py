"""Convolutions, forward and backward, on images in channels-last memory; PyTorch in its faster memory format.

The gradients of weight, bias and images; of 1 channel, images are the data, so they have no gradient.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class _Layer(NamedTuple):
    """A convolution of square images."""

    batch: int
    inputs: int
    size: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1


LAYERS = {
    "3x3 64-64, 32x64x32x32": _Layer(32, 64, 32, 64),
    "3x3 64-64 stride 2, 32x64x32x32": _Layer(32, 64, 32, 64, stride=2),
    "1x1 64-128, 32x64x32x32": _Layer(32, 64, 32, 128, kernel=1),
    "3x3 16-16, 32x16x32x32": _Layer(32, 16, 32, 16),
    "3x3 depthwise 64, 32x64x32x32": _Layer(32, 64, 32, 64, groups=64),
    "3x3 1-32, 64x1x28x28": _Layer(64, 1, 28, 32),
    "3x3 32-64, 64x32x14x14": _Layer(64, 32, 14, 64),
}

CASES = tuple(LAYERS)


def _arrays(layer: _Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((layer.batch, layer.size, layer.size, layer.inputs)).astype(np.float32)
    weight = rng.standard_normal((layer.outputs, layer.inputs // layer.groups, layer.kernel, layer.kernel))
    return images.transpose(0, 3, 1, 2), weight.astype(np.float32), np.zeros(layer.outputs, np.float32)


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl
    from nbdl import autograd, ops

    layer = LAYERS[case]
    x, weight, bias = (nbdl.from_numpy(array) for array in _arrays(layer))
    wanted = [weight.requires_grad_(), bias.requires_grad_()]
    if layer.inputs > 1:
        wanted.append(x.requires_grad_())

    def convolve() -> Any:
        return ops.conv2d(x, weight, bias, layer.stride, layer.kernel // 2, 1, layer.groups)

    cotangent = convolve().detach()  # of the memory order that a next layer would give

    def step() -> None:
        autograd.grad(convolve(), wanted, cotangent)

    return step


def torch_step(case: str) -> Callable[[], None]:
    import torch

    layer = LAYERS[case]

    def step_of(memory_format: Any) -> Callable[[], None]:
        x, weight, bias = (torch.from_numpy(array) for array in _arrays(layer))
        x, weight = (tensor.contiguous(memory_format=memory_format) for tensor in (x, weight))
        wanted = [weight.requires_grad_(), bias.requires_grad_()]
        if layer.inputs > 1:
            wanted.append(x.requires_grad_())

        def convolve() -> Any:
            return torch.nn.functional.conv2d(x, weight, bias, layer.stride, layer.kernel // 2, 1, layer.groups)

        cotangent = convolve().detach()

        def step() -> None:
            torch.autograd.grad(convolve(), wanted, cotangent)

        return step

    return min((step_of(torch.contiguous_format), step_of(torch.channels_last)), key=_seconds)


def _seconds(step: Callable[[], None]) -> float:
    """The shortest of a few runs."""
    runs = []
    for _ in range(10):
        start = time.perf_counter()
        step()
        runs.append(time.perf_counter() - start)
    return min(runs)
