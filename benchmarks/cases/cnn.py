"""Training steps of convolutional networks with AdamW. PyTorch runs in its faster memory format, NCHW or channels_last.

cnn: conv 1-32, pool, conv 32-64, pool, fully connected, ReLU between; 64 images of 28 x 28.
resnet18: 32 images of 3 x 32 x 32, with the stem for small images.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

CASES = ("cnn batch 64, 28x28", "resnet18 batch 32, 3x32x32")
MEMORY_FORMATS = ("contiguous_format", "channels_last")
TRIALS = 5


def _batch(case: str) -> tuple[np.ndarray, np.ndarray]:
    shape = (64, 1, 28, 28) if case.startswith("cnn") else (32, 3, 32, 32)
    rng = np.random.default_rng(0)
    return rng.standard_normal(shape).astype(np.float32), rng.integers(0, 10, shape[0])


def _cnn(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 10),
    )


def nbdl_step(case: str) -> Callable[[], float]:
    import nbdl
    from nbdl import models, nn, ops, optim

    x, target = (nbdl.from_numpy(array) for array in _batch(case))
    model = _cnn(nn) if case.startswith("cnn") else models.resnet18(num_classes=10, small_input=True)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> float:
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def torch_step(case: str) -> Callable[[], float]:
    # Tried in processes of their own, so that this one's peak memory is that of the chosen format alone.
    return _torch_step(case, min(MEMORY_FORMATS, key=lambda name: _seconds_elsewhere(case, name)))


def _torch_step(case: str, memory_format: str) -> Callable[[], float]:
    import torch

    layout = getattr(torch, memory_format)
    x, target = (torch.from_numpy(array) for array in _batch(case))
    x = x.to(memory_format=layout)
    model = _cnn(torch.nn) if case.startswith("cnn") else _torch_resnet18(torch.nn)
    model = model.to(memory_format=layout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _seconds_elsewhere(case: str, memory_format: str) -> float:
    """The shortest of a few steps in a fresh process."""
    code = f"from benchmarks.cases import cnn; print(cnn.torch_seconds({case!r}, {memory_format!r}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(run.stdout)


def torch_seconds(case: str, memory_format: str) -> float:
    step = _torch_step(case, memory_format)
    step()
    times = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return min(times)


def _torch_resnet18(nn: Any) -> Any:
    """The same network as `nbdl.models.resnet18(num_classes=10, small_input=True)`, in PyTorch."""

    class Block(nn.Module):
        def __init__(self, channels: int, planes: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, planes, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            shortcut = nn.Sequential(nn.Conv2d(channels, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
            self.downsample = shortcut if stride != 1 or channels != planes else nn.Identity()

        def forward(self, x: Any) -> Any:
            hidden = self.relu(self.bn1(self.conv1(x)))
            return self.relu(self.bn2(self.conv2(hidden)).add_(self.downsample(x)))

    channels, layers = 64, [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    for planes, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(channels, planes, stride), Block(planes, planes, 1)]
        channels = planes
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
