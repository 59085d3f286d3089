"""Generator and discriminator as multilayer perceptrons, with or without a label to go by."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from nbdl import nn, ops
from nbdl.autograd import Tensor
from nbdl.models.description import count_parameters
from nbdl.runtime.checks import check_int, check_number, check_rank
from nbdl.runtime.errors import ArgumentError, ShapeError

SLOPE = 0.2
"""Of the discriminator's leaky ReLUs."""


def check_labels(classes: int, labels: Tensor | None, batch: int) -> None:
    """Labels come exactly where a network was made for them, one a sample."""
    if (labels is None) != (classes == 0):
        expected = "no labels, the network has no classes" if labels is not None else f"labels of {classes} classes"
        raise ArgumentError(f"labels: expected {expected}, got {'none' if labels is None else 'labels'}")
    if labels is not None and labels.shape != (batch,):
        raise ShapeError(f"labels: expected shape [{batch}], got {list(labels.shape)}")


class _Perceptron(nn.Module):
    """Layers over a vector, and over the vector of a label beside it."""

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        classes: int,
        embedding_dim: int,
        activation: type[nn.Module] | None,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.classes = check_int("classes", classes, 0)
        if classes:
            self.embedding = nn.Embedding(classes, check_int("embedding_dim", embedding_dim, 1))
            inputs += embedding_dim
        widths = [inputs, *(check_int("hidden_features", width, 1) for width in hidden)]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers.append(nn.Linear(fan_in, fan_out, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm1d(fan_out))
            layers.append(nn.LeakyReLU(SLOPE) if activation is None else activation())
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
        self.widths = (*widths, outputs)

    def _run(self, vectors: Tensor, labels: Tensor | None) -> Tensor:
        check_labels(self.classes, labels, vectors.shape[0])
        if labels is not None:
            vectors = ops.cat([vectors, self.embedding(labels)], 1)
        return self.layers(vectors)

    def __repr__(self) -> str:
        classes = f", {self.classes} classes" if self.classes else ""
        return f"{type(self).__name__}({'-'.join(map(str, self.widths))}{classes}, {count_parameters(self)})"


class MLPGenerator(_Perceptron):
    r"""Makes samples of noise: $G(z) = W_L\, \phi(\dots \phi(W_1 [z, e_c] + b_1) \dots) + b_L$ with ReLU as $\phi$.

    Args:
        latent_features: Numbers of noise a sample.
        hidden_features: Width of each hidden layer.
        shape: Shape of a sample; one number for a vector.
        classes: Classes of a conditional generator, which takes a label with the noise; 0 for none.
        embedding_dim: Length of the vector $e_c$ of a class.
        batch_norm: Normalize before each ReLU.
        tanh: End with a hyperbolic tangent, for samples in [-1, 1].

    Raises:
        ArgumentError: A size under 1.

    Example:
        >>> generator = MLPGenerator(latent_features=16, hidden_features=[64], shape=(1, 8, 8), classes=10, tanh=True)
        >>> generator(nbdl.randn(5, 16), nbdl.tensor([0, 1, 2, 3, 4])).shape
        (5, 1, 8, 8)

    Source:
        Goodfellow et al. (2014), "Generative Adversarial Nets"; Mirza and Osindero (2014), "Conditional Generative
        Adversarial Nets".
    """

    def __init__(
        self,
        latent_features: int,
        hidden_features: Sequence[int],
        shape: int | Sequence[int],
        classes: int = 0,
        embedding_dim: int = 16,
        batch_norm: bool = False,
        tanh: bool = False,
    ) -> None:
        self_shape = (shape,) if isinstance(shape, int) else tuple(shape)
        count = 1
        for size in self_shape:
            count *= check_int("shape", size, 1)
        check_int("latent_features", latent_features, 1)
        super().__init__(latent_features, hidden_features, count, classes, embedding_dim, nn.ReLU, batch_norm)
        self.shape, self.latent_features, self.tanh = self_shape, latent_features, tanh

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Noise [N, latent_features] and labels [N] -> samples [N, *shape]."""
        check_rank("noise", noise, 2)
        made = self._run(noise, labels)
        return ops.reshape(ops.tanh(made) if self.tanh else made, (-1, *self.shape))


class MLPDiscriminator(_Perceptron):
    r"""Scores samples: log odds that they are real. Leaky ReLUs, so that a gradient reaches the generator everywhere.

    Args:
        shape: Shape of a sample; one number for a vector.
        hidden_features: Width of each hidden layer.
        classes: Classes of a conditional discriminator, which also asks whether the sample fits its label; 0 for none.
        embedding_dim: Length of the vector of a class.
        spectral_norm: Divide each linear map by its spectral norm.
        dropout: Share of the inputs and hidden units zeroed in training, in [0, 1).

    Raises:
        ArgumentError: A size under 1, or a dropout outside its range.

    Example:
        >>> discriminator = MLPDiscriminator(shape=(1, 8, 8), hidden_features=[64], classes=10)
        >>> discriminator(nbdl.zeros(5, 1, 8, 8), nbdl.tensor([0, 1, 2, 3, 4])).shape
        (5, 1)

    Source:
        Goodfellow et al. (2014), "Generative Adversarial Nets"; Mirza and Osindero (2014), "Conditional Generative
        Adversarial Nets".
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        hidden_features: Sequence[int],
        classes: int = 0,
        embedding_dim: int = 16,
        spectral_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        count = 1
        for size in (shape,) if isinstance(shape, int) else tuple(shape):
            count *= check_int("shape", size, 1)
        check_number("dropout", dropout, 0, 1, open_high=True)
        super().__init__(count, hidden_features, 1, classes, embedding_dim, None)
        if dropout:
            widened: list[nn.Module] = []
            for layer in self.layers:
                widened += [nn.Dropout(dropout), layer] if isinstance(layer, nn.Linear) else [layer]
            self.layers = nn.Sequential(*widened)
        if spectral_norm:
            for layer in self.layers:
                if isinstance(layer, nn.Linear):
                    nn.utils.spectral_norm(layer)

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """Samples [N, *shape] and labels [N] -> scores [N, 1]."""
        return self._run(ops.flatten(samples, 1), labels)
