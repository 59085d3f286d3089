"""Training steps with `nbdl.graph`, beside PyTorch as written (eager), and beside models after torch.compile.

Each case has the work of a topic above, updates by the optimizers included.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cases.gan import layers

MODELS = (
    "perceptron 2-32-32-1, batch 16, SGD",
    "perceptron 784-256-10, batch 64, AdamW",
    "LSTM 28-128, 28 steps, batch 64, Adam",
    "GAN ring 2-128-128-2, batch 64, Adam",
    "GAN digits 32-256-256-64, batch 64, Adam",
)
CASES = tuple(f"{model}; {rival}" for model in MODELS for rival in ("eager", "compiled"))

BATCH = 64


def _regression(library: Any, functional: Any, optim: Any, compiled: Any, **fused: bool) -> Callable[..., Any]:
    model = compiled(layers(library.nn, [2, 32, 32, 1], library.nn.Tanh))
    update = optim.SGD(model.parameters(), lr=0.1, **fused)
    return _step(model, functional.mse_loss, update, library.randn(16, 2), library.randn(16, 1))


def _perceptron(library: Any, functional: Any, optim: Any, compiled: Any, **fused: bool) -> Callable[..., Any]:
    model = compiled(layers(library.nn, [784, 256, 10], library.nn.ReLU))
    update = optim.AdamW(model.parameters(), lr=1e-3, **fused)
    return _step(model, functional.cross_entropy, update, library.randn(BATCH, 784), _classes(library))


def _recurrent(library: Any, functional: Any, optim: Any, compiled: Any, **fused: bool) -> Callable[..., Any]:
    nn = library.nn

    class Reader(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(28, 128, batch_first=True), nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    model = compiled(Reader())
    update = optim.Adam(model.parameters(), lr=1e-3, **fused)
    return _step(model, functional.cross_entropy, update, library.randn(BATCH, 28, 28), _classes(library))


def _classes(library: Any) -> Any:
    return library.from_numpy(np.random.default_rng(0).integers(0, 10, BATCH))


def _step(model: Any, loss_of: Any, update: Any, x: Any, y: Any) -> Callable[..., Any]:
    def step() -> Any:
        update.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        update.step()
        return loss

    return step


def _game(
    widths: list[int], library: Any, functional: Any, optim: Any, compiled: Any, **fused: bool
) -> Callable[..., Any]:
    nn, loss_of = library.nn, functional.binary_cross_entropy_with_logits
    generator = compiled(layers(nn, widths, nn.ReLU))
    judge = compiled(layers(nn, [*widths[:0:-1], 1], lambda: nn.LeakyReLU(0.2)))
    own, its = (optim.Adam(model.parameters(), lr=2e-4, betas=(0.5, 0.999), **fused) for model in (generator, judge))
    ones, zeros, real = library.ones(BATCH, 1), library.zeros(BATCH, 1), library.randn(BATCH, widths[-1])

    def round_of_both() -> None:
        fake = generator(library.randn(BATCH, widths[0]))
        its.zero_grad()
        (loss_of(judge(real), ones) + loss_of(judge(fake.detach()), zeros)).backward()
        its.step()
        own.zero_grad()
        loss_of(judge(fake), ones).backward()
        own.step()

    return round_of_both


_BUILDERS = (
    *(_regression, _perceptron, _recurrent),
    *(functools.partial(_game, widths) for widths in ([2, 128, 128, 2], [32, 256, 256, 64])),
)
_OF = dict(zip(MODELS, _BUILDERS, strict=True))


def nbdl_step(case: str) -> Callable[[], Any]:
    import nbdl
    from nbdl import ops, optim

    return nbdl.graph(_OF[case.split("; ")[0]](nbdl, ops, optim, lambda model: model))


def torch_step(case: str) -> Callable[[], Any]:
    import torch
    from torch.nn import functional

    model, rival = case.split("; ")
    compiled = torch.compile if rival == "compiled" else (lambda model: model)
    return _OF[model](torch, functional, torch.optim, compiled, fused=True)
