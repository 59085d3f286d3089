"""A round of a GAN of two perceptrons, batch 64: a step of the discriminator, then one of the generator, both by Adam.

As users of either library write it: noise, generated samples, the discriminator on real and on detached samples, then
on the same samples again for the generator.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

CASES = (
    "ring 2-128-128-2, batch 64",
    "digits 32-256-256-64, batch 64",
    "images 64-256-512-784, batch 64",
)

BATCH = 64


def _widths(case: str) -> list[int]:
    """Of the generator; the discriminator has the hidden layers in reverse."""
    return [int(width) for width in case.split(",")[0].split()[1].split("-")]


def layers(nn: Any, widths: list[int], activation: Callable[[], Any]) -> Any:
    """A perceptron of these widths."""
    hidden = []
    for fan_in, fan_out in pairwise(widths[:-1]):
        hidden += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*hidden, nn.Linear(widths[-2], widths[-1]))


def _round(case: str, library: Any, real: Any, loss: Any, adam: Callable[[Any], Any]) -> Callable[[], None]:
    nn, widths = library.nn, _widths(case)
    generator = layers(nn, widths, nn.ReLU)
    discriminator = layers(nn, [*widths[:0:-1], 1], lambda: nn.LeakyReLU(0.2))
    generator_adam, discriminator_adam = adam(generator.parameters()), adam(discriminator.parameters())
    ones, zeros = library.ones(BATCH, 1), library.zeros(BATCH, 1)

    def round_of_both() -> None:
        fake = generator(library.randn(BATCH, widths[0]))
        discriminator_adam.zero_grad()
        (loss(discriminator(real), ones) + loss(discriminator(fake.detach()), zeros)).backward()
        discriminator_adam.step()
        generator_adam.zero_grad()
        loss(discriminator(fake), ones).backward()
        generator_adam.step()

    return round_of_both


def _real(case: str) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((BATCH, _widths(case)[-1]), np.float32)


def nbdl_step(case: str) -> Callable[[], None]:
    import nbdl
    from nbdl import ops, optim

    def adam(parameters: Any) -> Any:
        return optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999))

    return _round(case, nbdl, nbdl.from_numpy(_real(case)), ops.binary_cross_entropy_with_logits, adam)


def torch_step(case: str) -> Callable[[], None]:
    import torch
    from torch.nn import functional

    def adam(parameters: Any) -> Any:
        return torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999), fused=True)

    return _round(case, torch, torch.from_numpy(_real(case)), functional.binary_cross_entropy_with_logits, adam)
