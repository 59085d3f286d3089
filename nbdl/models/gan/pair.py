"""The two players as one model, and the average of the generator that is used in the end."""

from __future__ import annotations

from typing import Any

from nbdl import nn, ops, optim
from nbdl.autograd import Tensor, no_grad
from nbdl.ops import creation
from nbdl.runtime.checks import check_int, check_number


class GAN(nn.Module):
    r"""A generator, a discriminator, and the exponential moving average of the generator's weights.

    Args:
        generator: Called with noise [N, latent_features], and labels [N] where it has classes; it tells
            `latent_features` and `classes`.
        discriminator: Called with samples, and labels where it has classes.
        decay: $\beta$ of the average: $\bar\theta \leftarrow \beta \bar\theta + (1 - \beta) \theta$.

    Attributes:
        averaged: The generator with averaged weights, which `sample` uses.
        latent_features: Numbers of noise a sample.
        classes: Classes of the labels; 0 where there are none.

    Raises:
        ArgumentError: The decay is outside [0, 1].

    Example:
        >>> from nbdl.models import MLPDiscriminator, MLPGenerator
        >>> gan = GAN(MLPGenerator(2, [8], 2), MLPDiscriminator(2, [8]))
        >>> gan.sample(5).shape
        (5, 2)

    Source:
        Goodfellow et al. (2014), "Generative Adversarial Nets"; Yazıcı et al. (2019), "The unusual effectiveness of
        averaging in GAN training".
    """

    def __init__(self, generator: Any, discriminator: nn.Module, decay: float = 0.999) -> None:
        super().__init__()
        check_number("decay", decay, 0, 1)
        self.generator, self.discriminator = generator, discriminator
        self.latent_features, self.classes = int(generator.latent_features), int(generator.classes)
        self.averaged = nn.AveragedModel(generator, multi_avg_fn=optim.get_ema_multi_avg_fn(decay))
        self.averaged.requires_grad_(False)
        self.decay = decay

    def noise(self, count: int) -> Tensor:
        """Standard normal noise [count, latent_features] from the generator of `nbdl.manual_seed`."""
        drawn = creation.randn(check_int("count", count, 0), self.latent_features)
        device = next(self.generator.parameters()).device
        return drawn if device == "cpu" else drawn.to(device)

    def make(self, count: int, labels: Tensor | None = None) -> Tensor:
        """Samples [count, ...] of the generator in training, as part of the graph."""
        noise = self.noise(count)
        return self.generator(noise) if labels is None else self.generator(noise, labels)

    def judge(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """The discriminator's scores."""
        return self.discriminator(samples) if labels is None else self.discriminator(samples, labels)

    def sample(self, count: int, labels: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """Samples of the averaged generator in evaluation mode.

        Args:
            count: How many.
            labels: [count], for a conditional generator; every class in turn when None.
            noise: [count, latent_features]; drawn when None.

        Returns:
            [count, ...].
        """
        if labels is None and self.classes:
            labels = ops.remainder(creation.arange(check_int("count", count, 0)), self.classes)
        noise = self.noise(count) if noise is None else noise
        was_training = self.averaged.training
        self.averaged.eval()
        try:
            with no_grad():
                made: Tensor = self.averaged(noise) if labels is None else self.averaged(noise, labels)
        finally:
            self.averaged.train(was_training)
        return made

    def __repr__(self) -> str:
        return f"GAN({self.generator!r}, {self.discriminator!r}, average {self.decay:g})"
