"""Training of a generator against a discriminator: two losses, two optimizers, one loop.

A batch of real samples is one step of the discriminator, on real and on generated samples in separate batches, so that
batch normalization never mixes them; the generator gets its gradient through the discriminator. A checkpoint holds both
networks, both optimizers and the average of the generator's weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.models.gan import GAN, Game
from nbdl.ops import creation
from nbdl.runtime.philox import Generator
from nbdl.train.film import Film, Frame
from nbdl.train.loop import Trainer

NOISE_SEED = 7
"""Of the noise that the same samples are made of in every epoch, so that they can be seen to change."""


class Players:
    """Two of a kind, one for each player: two optimizers, or two schedules.

    Args:
        generator: That of the generator.
        discriminator: That of the discriminator.
    """

    def __init__(self, generator: Any, discriminator: Any) -> None:
        self.generator, self.discriminator = generator, discriminator

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both optimizers, the discriminator's first."""
        return [*self.discriminator.param_groups, *self.generator.param_groups]

    def step(self) -> None:
        """A step of both."""
        self.discriminator.step()
        self.generator.step()

    def state_dict(self) -> dict[str, Any]:
        """What is needed to continue with both."""
        return {"generator": self.generator.state_dict(), "discriminator": self.discriminator.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where the state was taken."""
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])


class AdversarialTrainer(Trainer):
    """A trainer for a `nbdl.models.GAN`, on batches (samples) or (samples, labels).

    Args:
        arguments: As for `Trainer`: the GAN, the loader, the `Players` that hold both optimizers, and a loss, which is
            the game's and is not looked at.
        game: What the players want.
        discriminator_steps: Steps of the discriminator before each turn of the generator.
        generator_steps: Steps of the generator in a turn.
        frame: Draws samples [N, ...] of the averaged generator; the drawings of the epochs become a strip and an
            animation in the run's folder.
        measure: Numbers for the epoch's record.
        shown: How many samples are drawn.
        options: As for `Trainer`.

    Attributes:
        film: The drawings of the epochs, once the run is kept in a folder.
        fixed_noise: [shown, latent_features], what the drawn samples are made of.
    """

    model: GAN

    def __init__(
        self,
        *arguments: Any,
        game: Game,
        discriminator_steps: int = 1,
        generator_steps: int = 1,
        frame: Callable[[np.ndarray], Frame],
        measure: Callable[[GAN], dict[str, float]] | None = None,
        shown: int = 64,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.game, self.measure, self.frame = game, measure, frame
        self.discriminator_steps, self.generator_steps = discriminator_steps, generator_steps
        self.fixed_noise = creation.randn(shown, self.model.latent_features, generator=Generator(NOISE_SEED))
        self.film: Film | None = None
        self._generator_sum, self._generator_count = 0.0, 0

    def train_batch(self, batch: Any) -> tuple[float, int]:
        """A step of the discriminator, and the generator's turn when it has come."""
        samples, *rest = self.tensors(batch)
        labels = rest[0] if rest and self.model.classes else None
        fake = self.model.make(len(samples), labels)
        value = self._discriminator_step(samples, fake.detach(), labels)
        if (self.step + 1) % self.discriminator_steps == 0:
            for turn in range(self.generator_steps):
                self._generator_step(fake if turn == 0 else self.model.make(len(samples), labels), labels)
        return value, len(samples)

    def _discriminator_step(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> float:
        """Teaches the discriminator to tell them apart. Nothing goes back to the generator."""
        loss = self.game.discriminator_loss(self.model.judge(real, labels), self.model.judge(fake, labels))
        value = self._finite(loss)
        self.optimizer.discriminator.zero_grad()
        loss.backward()
        self.optimizer.discriminator.step()
        self.game.constrain(self.model.discriminator.parameters())
        return value

    def _generator_step(self, fake: Tensor, labels: Tensor | None) -> None:
        """Teaches the generator what the discriminator takes for real, and lets the average follow."""
        loss = self.game.generator_loss(self.model.judge(fake, labels))
        self._generator_sum += self._finite(loss)
        self._generator_count += 1
        self.optimizer.generator.zero_grad()
        loss.backward()
        self.optimizer.generator.step()
        self.model.averaged.update_parameters(self.model.generator)

    def _finite(self, loss: Tensor) -> float:
        value = float(loss.item())
        if not math.isfinite(value):
            raise self._diverged(f"loss: expected a finite number, got {value}")
        return value

    def details(self) -> dict[str, float]:
        """The generator's mean loss of the epoch, and what the recipe measures."""
        record = {"generator_loss": self._generator_sum / max(self._generator_count, 1)}
        self._generator_sum, self._generator_count = 0.0, 0
        return record if self.measure is None else record | self.measure(self.model)

    def drawn(self) -> Frame:
        """The samples of the fixed noise as they are now."""
        noise = self.fixed_noise if self.device == "cpu" else self.fixed_noise.to(self.device)
        return self.frame(self.model.sample(len(noise), noise=noise).numpy())

    def keep_in(self, folder: str | Path, title: str = "learning curve", resume: bool = False) -> None:
        """As for `Trainer`; the folder also gets the samples of every epoch."""
        self.film = Film(folder, title, self.drawn)
        self.callbacks.append(self.film)
        super().keep_in(folder, title, resume)

    def state_dict(self) -> dict[str, Any]:
        """As for `Trainer`, with the generator's losses of the epoch so far."""
        return super().state_dict() | {"generator_running": [self._generator_sum, self._generator_count]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As for `Trainer`, with the generator's losses of the epoch so far."""
        super().load_state_dict(state)
        self._generator_sum, self._generator_count = state["generator_running"]
