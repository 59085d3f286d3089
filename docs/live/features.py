"""A convolutional network reads the reader's drawing, and shows what each layer makes of it."""

from __future__ import annotations

import numpy as np

import nbdl
from live.digits import SIDE, taught
from live.figure import Figure
from nbdl import nn, ops
from nbdl.export import trace

CHANNELS = 8, 16


def blank_network() -> nn.Sequential:
    """Two convolutions with pooling, and a linear layer, for drawings of 8 x 8 pixels."""
    first, second = CHANNELS
    return nn.Sequential(
        *(nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(second * (SIDE // 4) ** 2, 10)),
    )


def look(model: nn.Sequential, pixels: nbdl.Tensor, chosen: nbdl.Tensor) -> dict[str, nbdl.Tensor]:
    """What a network makes of pixels [1, 1, 8, 8]: maps, shares, and the slope of one class's score.

    chosen [1, 10] is 1 at that class, and 0 elsewhere.
    """
    image = pixels.detach().requires_grad_()
    first = model[:2](image)
    second = model[3:5](model[2](first))
    scores = model[5:](second)
    scores.backward(chosen)
    assert image.grad is not None
    return {
        "first": first.detach(),
        "second": second.detach(),
        "shares": ops.softmax(scores.detach(), -1),
        "slope": image.grad,
    }


def figure() -> Figure:
    """One program that computes all that is shown."""
    nbdl.manual_seed(0)
    model = taught(blank_network(), (1, SIDE, SIDE), epochs=4).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    pixels = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(1, 1, SIDE, SIDE)
    chosen = np.eye(10, dtype=np.float32)[3:4]
    program = trace(lambda *inputs: look(model, *inputs), pixels, chosen, state=[model], names=["pixels", "chosen"])
    return Figure({"look": program})
