"""Since then: three habits of newer networks, each measured where it should matter on data that everybody has."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import nbdl
from nbdl import nn, ops

from .diffusion import SPREAD, STEPS, quality, sample, train_denoiser
from .experiment import Outcome, Run, experiment, watched
from .training import CLASSES, draw_split, learn, measure

WIDTH, DEPTH = 64, 12

# ---------------------------------------------------------------- normalization


class DynamicTanh(nn.Module):
    """An S-shaped curve of learned steepness instead of a norm: no statistics at all (Zhu et al., 2025)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.steepness = nn.Parameter(nbdl.full((1,), 0.5))
        self.weight = nn.Parameter(nbdl.ones(features))
        self.bias = nn.Parameter(nbdl.zeros(features))

    def forward(self, input: nbdl.Tensor) -> nbdl.Tensor:
        """The same shape, each number on its own."""
        return ops.tanh(input * self.steepness) * self.weight + self.bias


class Block(nn.Module):
    """One step of a residual network: x + share * f(norm(x))."""

    def __init__(self, norm: nn.Module, inner: nn.Module, share: float) -> None:
        super().__init__()
        self.norm, self.inner = norm, inner
        self.share = nn.Parameter(nbdl.full((1,), share))

    def forward(self, input: nbdl.Tensor) -> nbdl.Tensor:
        """The same shape."""
        return input + self.inner(self.norm(input)) * self.share


def _two_layers() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))


def residual_network(
    norm: Callable[[int], nn.Module],
    share: float = 1.0,
    inner: Callable[[], nn.Module] = _two_layers,
    depth: int = DEPTH,
) -> nn.Module:
    """Blocks in a row between a linear layer from the pixels and one to the classes."""
    blocks = [Block(norm(WIDTH), inner(), share) for _ in range(depth)]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), *blocks, norm(WIDTH), nn.Linear(WIDTH, CLASSES))


def _nothing(features: int) -> nn.Module:
    return nn.Identity()


NORMS: dict[str, tuple[Callable[[int], nn.Module], float]] = {
    "none": (_nothing, 1.0),
    "layer norm": (nn.LayerNorm, 1.0),
    "RMS norm": (nn.RMSNorm, 1.0),
    "none, blocks start at 0": (_nothing, 0.0),
    "dynamic tanh": (DynamicTanh, 1.0),
}
"""What stands before each block, and the share with which a block enters at first."""


@experiment("since-norms", seeds=5)
def norms(run: Run) -> Outcome:
    """A residual network of 24 layers with and without norms, at a small and at a large learning rate."""
    examples, steps, rates = 600, 57, (1e-3, 1e-2)
    values: dict[str, Any] = {f"{rate:g}": {} for rate in rates}
    for rate in run.cases(rates):
        for name, (norm, share) in run.cases(list(NORMS.items())):
            rows = []
            for seed in watched(run.seeds, f"{name}, rate {rate:g}"):
                split = draw_split(seed, examples)
                model = learn(
                    lambda norm=norm, share=share: residual_network(norm, share),
                    *(split.train,),
                    **{"seed": seed, "steps": run.steps(steps), "rate": rate},
                ).model
                rows.append(measure(model, split.test)[0])
            values[f"{rate:g}"][name] = rows
    return {"layers": 2 * DEPTH, "width": WIDTH, "steps": steps, "examples": examples, "rates": rates}, values


# ---------------------------------------------------------------- gates


HIDDEN = 192
GATED_HIDDEN = 128  # three matrices instead of two: two thirds of the width, the same number of weights

UNITS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": lambda: nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH)),
    "GELU": lambda: nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH)),
    "SwiGLU": lambda: nn.SwiGLU(WIDTH, GATED_HIDDEN, bias=True),
}


@experiment("since-gates", seeds=5)
def gates(run: Run) -> Outcome:
    """Six blocks with ReLU, GELU or gated units, the same number of weights: training and test loss."""
    examples, steps = 600, 200
    values: dict[str, Any] = {}
    for name, unit in UNITS.items():
        values[name] = {"train_loss": [], "test_loss": [], "test_error": []}
        for seed in watched(run.seeds, name):
            split = draw_split(seed, examples)
            model = learn(
                lambda unit=unit: residual_network(nn.RMSNorm, 1 / math.sqrt(2), unit, depth=6),
                *(split.train,),
                **{"seed": seed, "steps": run.steps(steps), "rate": 1e-3, "falling": True},
            ).model
            error, loss = measure(model, split.test)
            values[name]["train_loss"].append(measure(model, split.train)[1])
            values[name]["test_loss"].append(loss)
            values[name]["test_error"].append(error)
    return {"examples": examples, "steps": steps, "blocks": 6, "width": WIDTH, "hidden": HIDDEN}, values


# ---------------------------------------------------------------- diffusion


@experiment("since-diffusion", seeds=5)
def diffusion(run: Run) -> Outcome:
    """A diffusion model of eight Gaussians: points near a mode, modes found, and how even the modes are."""
    steps, count = 1200, 2000
    values: dict[str, Any] = {"near": [], "modes": [], "rarest_share": []}
    for seed in watched(run.seeds, "diffusion"):
        model = train_denoiser(seed, run.steps(steps))
        near, counts = quality(sample(model, count, seed + 1)[-1])
        values["near"].append(near)
        values["modes"].append(sum(c > 0 for c in counts))
        values["rarest_share"].append(min(counts) / max(1, sum(counts)))
    return {"steps": steps, "points": count, "noise_steps": STEPS, "spread": SPREAD}, values
