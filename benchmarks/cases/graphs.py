"""Training steps with `nbdl.graph`, beside PyTorch as written (eager), and beside models after torch.compile.

Each case has the work of a topic above. In the GAN's two graphs the generator runs twice a round, because the
discriminator's update lies between them; PyTorch's round runs it once.
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


def _regression(library: Any, functional: Any, optim: Any, fast: Any, **fused: bool) -> Callable[[], Any]:
    nn = library.nn
    model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    update = optim.SGD(model.parameters(), lr=0.1, **fused)
    x, y = library.randn(16, 2), library.randn(16, 1)
    return _step(fast, model, functional.mse_loss, update, x, y)


def _perceptron(library: Any, functional: Any, optim: Any, fast: Any, **fused: bool) -> Callable[[], Any]:
    nn = library.nn
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    update = optim.AdamW(model.parameters(), lr=1e-3, **fused)
    return _step(fast, model, functional.cross_entropy, update, library.randn(BATCH, 784), _classes(library))


def _recurrent(library: Any, functional: Any, optim: Any, fast: Any, **fused: bool) -> Callable[[], Any]:
    nn = library.nn

    class Reader(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(28, 128, batch_first=True), nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    model = Reader()
    update = optim.Adam(model.parameters(), lr=1e-3, **fused)
    return _step(fast, model, functional.cross_entropy, update, library.randn(BATCH, 28, 28), _classes(library))


def _classes(library: Any) -> Any:
    return library.from_numpy(np.random.default_rng(0).integers(0, 10, BATCH))


def _step(fast: Any, model: Any, loss_of: Any, update: Any, x: Any, y: Any) -> Callable[[], Any]:
    run, model = fast(model)

    def passes(x: Any, y: Any) -> Any:
        loss = loss_of(model(x), y)
        loss.backward()
        return loss

    passes = run(passes)

    def step() -> Any:
        update.zero_grad()
        loss = passes(x, y)
        update.step()
        return loss

    return step


def _game(widths: list[int], library: Any, functional: Any, optim: Any, fast: Any, **fused: bool) -> Callable[[], Any]:
    nn, is_nbdl = library.nn, library.__name__ == "nbdl"
    generator = layers(nn, widths, nn.ReLU)
    judge = layers(nn, [*widths[:0:-1], 1], lambda: nn.LeakyReLU(0.2))
    own, its = (optim.Adam(model.parameters(), lr=2e-4, betas=(0.5, 0.999), **fused) for model in (generator, judge))
    (run, generator), (_, judge) = fast(generator), fast(judge)
    loss_of = functional.binary_cross_entropy_with_logits
    ones, zeros, real = library.ones(BATCH, 1), library.zeros(BATCH, 1), library.randn(BATCH, widths[-1])

    def judging(fake: Any) -> None:
        (loss_of(judge(real), ones) + loss_of(judge(fake), zeros)).backward()

    def judging_noise(noise: Any) -> None:
        with library.no_grad():
            fake = generator(noise)
        judging(fake)

    def deceiving(noise: Any) -> None:
        loss_of(judge(generator(noise)), ones).backward()

    judging_noise, deceiving = run(judging_noise), run(deceiving)

    def two_graphs() -> None:
        noise = library.randn(BATCH, widths[0])
        its.zero_grad()
        judging_noise(noise)
        its.step()
        own.zero_grad()
        deceiving(noise)
        own.step()

    def one_round() -> None:
        fake = generator(library.randn(BATCH, widths[0]))
        its.zero_grad()
        judging(fake.detach())
        its.step()
        own.zero_grad()
        loss_of(judge(fake), ones).backward()
        own.step()

    return two_graphs if is_nbdl else one_round


_BUILDERS = dict(
    zip(
        MODELS,
        (
            *(_regression, _perceptron, _recurrent),
            *(functools.partial(_game, widths) for widths in ([2, 128, 128, 2], [32, 256, 256, 64])),
        ),
        strict=True,
    )
)


def nbdl_step(case: str) -> Callable[[], Any]:
    import nbdl
    from nbdl import ops, optim

    return _BUILDERS[case.split("; ")[0]](nbdl, ops, optim, lambda model: (nbdl.graph, model))


def torch_step(case: str) -> Callable[[], Any]:
    import torch
    from torch.nn import functional

    model, rival = case.split("; ")
    compiled = torch.compile if rival == "compiled" else (lambda model: model)
    fast = lambda model: (lambda passes: passes, compiled(model))  # noqa: E731
    return _BUILDERS[model](torch, functional, torch.optim, fast, fused=True)
