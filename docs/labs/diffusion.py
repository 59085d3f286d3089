"""Diffusion in one page: noise added step by step, a network that learns to tell it, and the way back.

The equations are those of Ho, Jain and Abbeel (2020), "Denoising Diffusion Probabilistic Models", algorithms 1 and 2.
"""

from __future__ import annotations

import numpy as np

import nbdl
from nbdl import nn, ops, optim

STEPS = 40  # from data to noise
BETA = np.linspace(1e-3, 0.2, STEPS)  # variance that each step adds
LEFT = np.cumprod(1 - BETA)  # share of the data's variance that is left after it
SPREAD = 0.15  # standard deviation of each of the eight Gaussians
_ANGLES = np.arange(8) * np.pi / 4
MODES = 2 * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def ring(count: int, random: np.random.Generator) -> np.ndarray:
    """The data: points [count, 2] around eight places on a circle."""
    return MODES[random.integers(0, 8, count)] + SPREAD * random.standard_normal((count, 2))


def noisy(points: np.ndarray, step: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """What is left of the points after `step` steps, all of them at once."""
    left = LEFT[step][:, None]
    return np.sqrt(left) * points + np.sqrt(1 - left) * noise


class Denoiser(nn.Module):
    """A small MLP: from noisy points [N, 2] and the step of each [N] to the noise in them [N, 2].

    Points and step enter as sines and cosines too, because a network learns what changes quickly only slowly.
    """

    def __init__(self, hidden: int = 96) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(22, hidden), nn.SiLU()),
            *(nn.Linear(hidden, hidden), nn.SiLU()),
            *(nn.Linear(hidden, hidden), nn.SiLU()),
            nn.Linear(hidden, 2),
        )

    def forward(self, points: np.ndarray, step: np.ndarray) -> nbdl.Tensor:
        """The noise that the points seem to hold."""
        waves = [points * (np.pi / 4 * 2**i) for i in range(3)]
        waves += [step[:, None] / STEPS * (np.pi / 2 * 2**i) for i in range(4)]
        parts = [points, *map(np.sin, waves), *map(np.cos, waves)]
        return self.layers(nbdl.tensor(np.concatenate(parts, axis=1).astype(np.float32)))


def train_denoiser(seed: int, steps: int = 1200, batch: int = 256) -> Denoiser:
    """Algorithm 1: noise drawn, added, and told back; the loss is the mean square of what is missed."""
    nbdl.manual_seed(seed)
    random = np.random.default_rng(seed)
    model = Denoiser()
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        step, noise = random.integers(0, STEPS, batch), random.standard_normal((batch, 2))
        guess = model(noisy(ring(batch, random), step, noise), step)
        loss = ops.mse_loss(guess, nbdl.tensor(noise.astype(np.float32)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


def sample(model: Denoiser, count: int, seed: int) -> list[np.ndarray]:
    """Algorithm 2: from pure noise back to data, the points [count, 2] after each step."""
    random = np.random.default_rng(seed)
    points = random.standard_normal((count, 2))
    path = [points]
    for step in reversed(range(STEPS)):
        with nbdl.no_grad():
            noise = np.asarray(model(points, np.full(count, step)))
        points = (points - BETA[step] / np.sqrt(1 - LEFT[step]) * noise) / np.sqrt(1 - BETA[step])
        if step:
            points = points + np.sqrt(BETA[step]) * random.standard_normal(points.shape)
        path.append(points)
    return path


def quality(points: np.ndarray) -> tuple[float, list[int]]:
    """The share of points within three standard deviations of a mode, and how many each mode got of these."""
    distance = np.sqrt(((points[:, None] - MODES) ** 2).sum(axis=2))
    near = distance.min(axis=1) < 3 * SPREAD
    return float(near.mean()), np.bincount(distance.argmin(axis=1)[near], minlength=len(MODES)).tolist()
