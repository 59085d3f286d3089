"""Three small losses of two parameters, on which the reader lets optimizers race."""

from __future__ import annotations

from typing import Any

import numpy as np

import nbdl
from live.figure import Figure
from nbdl import ops
from nbdl.export import trace
from nbdl.optim.adam import adam_step
from nbdl.optim.sgd import sgd_step
from nbdl.runtime import philox

SAMPLES = 32
POINTS = 48
"""Points whose losses one run works out: a row of the picture."""

_TABLES = ["float32[:]", "int64[:, :]", "int64[:, :]", "float64[:, :]"]
KERNELS: dict[str, Any] = {
    "sgd": (sgd_step, [*_TABLES, "float64", "bool"]),
    "adam": (adam_step, [*_TABLES, "bool"]),
    "permutation": (philox._permutation, ["int64[:]", *["uint32"] * 4]),
}
"""The update rules, for parameters of any number and size, and the order in which samples make batches."""


def samples(name: str) -> tuple[nbdl.Tensor, nbdl.Tensor]:
    """The data of a loss: features [SAMPLES, 2], x and a one, and what is to be predicted [SAMPLES]."""
    rng = np.random.default_rng(7)
    x, noise = rng.uniform(-1, 1, SAMPLES), rng.standard_normal(SAMPLES)
    if name == "line":
        x += 0.75  # not centred: slope and intercept pull at each other, and the bowl becomes a valley
        y = 1.2 * x - 0.8 + 0.5 * noise
    elif name == "chain":
        x *= 1.6
        y = 1.5 * np.tanh(1.4 * x) + 0.3 * noise
    else:
        x *= 2.5
        y = np.sin(1.5 * x + 0.5) + 0.2 * noise
    features = np.stack([x, np.ones(SAMPLES)], 1)
    return nbdl.tensor(features.astype(np.float32)), nbdl.tensor(y.astype(np.float32))


def line(points: nbdl.Tensor, features: nbdl.Tensor) -> nbdl.Tensor:
    """y = a x + b for each point (a, b): [P, 2] and [N, 2] -> [P, N]."""
    return ops.linear(points, features)


def chain(points: nbdl.Tensor, features: nbdl.Tensor) -> nbdl.Tensor:
    """y = b tanh(a x): two layers of one neuron."""
    return points[:, 1:] * ops.linear(points[:, :1], features[:, :1]).tanh()


def wave(points: nbdl.Tensor, features: nbdl.Tensor) -> nbdl.Tensor:
    """y = sin(a x + b)."""
    return ops.linear(points, features).sin()


SURFACES = {"line": line, "chain": chain, "wave": wave}


def look(name: str, points: nbdl.Tensor, weights: nbdl.Tensor) -> dict[str, nbdl.Tensor]:
    """The loss at points [P, 2], and its gradient there.

    Weights [1, N] say how much each sample counts: 1 / B for those of a batch, 0 for the others.
    """
    features, y = samples(name)
    points = points.detach().requires_grad_()
    errors = SURFACES[name](points, features) - y
    losses = ops.linear(errors * errors, weights)
    losses.sum().backward()
    assert points.grad is not None
    return {"loss": losses.detach(), "gradient": points.grad}


def figure() -> Figure:
    """A program for each loss."""
    points = np.linspace(-2, 2, 2 * POINTS, dtype=np.float32).reshape(POINTS, 2)
    weights = np.linspace(0, 1, SAMPLES, dtype=np.float32)[None]

    def program(name: str) -> Any:
        return trace(lambda p, w: look(name, p, w), points, weights, names=["points", "weights"])

    return Figure({name: program(name) for name in SURFACES})
