"""DCGAN: transposed convolutions that let noise grow into an image, and convolutions that judge it."""

from __future__ import annotations

from nbdl import nn, ops
from nbdl.autograd import Tensor
from nbdl.models.description import count_parameters
from nbdl.models.gan.perceptron import SLOPE, check_labels
from nbdl.nn import init
from nbdl.runtime.checks import check_int, check_number, check_rank
from nbdl.runtime.errors import ArgumentError

SMALLEST = 4  # side of the image that the first layer makes


def doublings(size: int) -> int:
    """How often an image of 4 x 4 must be doubled."""
    check_int("size", size, 2 * SMALLEST)
    if size & (size - 1):
        raise ArgumentError(f"size: expected a power of two from {2 * SMALLEST} up, got {size}")
    return size.bit_length() - SMALLEST.bit_length()


def _draw_weights(module: nn.Module) -> None:
    """Convolutions of mean 0 and standard deviation 0.02, scales of the normalization around 1."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d) and module.weight is not None and module.bias is not None:
        init.normal_(module.weight, 1.0, 0.02)
        init.zeros_(module.bias)


class DCGANGenerator(nn.Module):
    r"""Noise as an image of $1 \times 1$ with many channels, doubled by transposed convolutions to the image wanted.

    The first layer makes $4 \times 4$; each further one doubles height and width and halves the channels. Batch
    normalization and ReLU after all but the last, which ends in a hyperbolic tangent.

    Args:
        latent_features: Numbers of noise a sample.
        channels: Channels of the image.
        features: Channels before the last layer; every layer before has twice as many.
        size: Height and width of the image, a power of two from 8 up.
        classes: Classes of a conditional generator, which takes a label with the noise; 0 for none.
        embedding_dim: Length of the vector of a class, which stands beside the noise.

    Raises:
        ArgumentError: A number under 1, or a size that is no power of two.

    Example:
        >>> generator = DCGANGenerator(latent_features=100, channels=3, features=8, size=32)
        >>> generator(nbdl.randn(2, 100)).shape
        (2, 3, 32, 32)

    Source:
        Radford, Metz and Chintala (2016), "Unsupervised Representation Learning with Deep Convolutional Generative
        Adversarial Networks", section 3 and figure 1.
    """

    def __init__(
        self,
        latent_features: int = 100,
        channels: int = 3,
        features: int = 64,
        size: int = 64,
        classes: int = 0,
        embedding_dim: int = 16,
    ) -> None:
        super().__init__()
        self.latent_features = check_int("latent_features", latent_features, 1)
        self.channels, self.size = check_int("channels", channels, 1), size
        self.features, self.classes = check_int("features", features, 1), check_int("classes", classes, 0)
        steps = doublings(size)
        inputs = latent_features
        if classes:
            self.embedding = nn.Embedding(classes, check_int("embedding_dim", embedding_dim, 1))
            inputs += embedding_dim
        width = features << (steps - 1)
        layers: list[nn.Module] = [nn.ConvTranspose2d(inputs, width, SMALLEST, 1, 0, bias=False)]
        for _ in range(steps - 1):
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
            layers.append(nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False))
            width //= 2
        layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False)]
        self.main = nn.Sequential(*layers, nn.Tanh())
        self.apply(_draw_weights)

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Noise [N, latent_features] and labels [N] -> images [N, channels, size, size] in [-1, 1]."""
        check_rank("noise", noise, 2)
        check_labels(self.classes, labels, noise.shape[0])
        if labels is not None:
            noise = ops.cat([noise, self.embedding(labels)], 1)
        return self.main(ops.reshape(noise, (*noise.shape, 1, 1)))

    def __repr__(self) -> str:
        classes = f", {self.classes} classes" if self.classes else ""
        shape = f"{self.channels} x {self.size} x {self.size}"
        return f"DCGANGenerator({self.latent_features} -> {shape}{classes}, {count_parameters(self)})"


class DCGANDiscriminator(nn.Module):
    r"""The generator turned around: convolutions of stride 2 halve the image to $4 \times 4$, and one more scores it.

    Leaky ReLUs, and batch normalization between the first convolution and the last. With spectral normalization the
    convolutions are divided by their spectral norms in place of it.

    Args:
        channels: Channels of the image.
        features: Channels after the first convolution; every further one doubles them.
        size: Height and width of the image, a power of two from 8 up.
        classes: Classes of a conditional discriminator: the label is one more channel of the image, drawn by an
            embedding; 0 for none.
        spectral_norm: Normalize weights by their spectral norm, not activations by their batch.
        dropout: Share of the channels zeroed in training after each leaky ReLU, in [0, 1).

    Raises:
        ArgumentError: A number under 1, a size that is no power of two, or a dropout outside its range.

    Example:
        >>> discriminator = DCGANDiscriminator(channels=3, features=8, size=32)
        >>> discriminator(nbdl.zeros(2, 3, 32, 32)).shape
        (2, 1)

    Source:
        Radford, Metz and Chintala (2016), "Unsupervised Representation Learning with Deep Convolutional Generative
        Adversarial Networks", section 3; Miyato et al. (2018), "Spectral Normalization for Generative Adversarial
        Networks".
    """

    def __init__(
        self,
        channels: int = 3,
        features: int = 64,
        size: int = 64,
        classes: int = 0,
        spectral_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.channels, self.size = check_int("channels", channels, 1), size
        self.features, self.classes = check_int("features", features, 1), check_int("classes", classes, 0)
        self.spectral_norm = spectral_norm
        check_number("dropout", dropout, 0, 1, open_high=True)
        steps = doublings(size)
        if classes:
            self.embedding = nn.Embedding(classes, size * size)
        layers: list[nn.Module] = []
        before, width = channels + bool(classes), features
        for step in range(steps):
            layers.append(nn.Conv2d(before, width, 4, 2, 1, bias=spectral_norm))
            if step and not spectral_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.LeakyReLU(SLOPE))
            if dropout:
                layers.append(nn.Dropout2d(dropout))
            before, width = width, 2 * width
        self.main = nn.Sequential(*layers, nn.Conv2d(before, 1, SMALLEST, 1, 0, bias=spectral_norm))
        self.apply(_draw_weights)
        if spectral_norm:
            for layer in self.main:
                if isinstance(layer, nn.Conv2d):
                    nn.utils.spectral_norm(layer)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [N, channels, size, size] and labels [N] -> scores [N, 1]."""
        check_rank("images", images, 4)
        check_labels(self.classes, labels, images.shape[0])
        if labels is not None:
            drawn = ops.reshape(self.embedding(labels), (-1, 1, self.size, self.size))
            images = ops.cat([images, drawn], 1)
        return ops.flatten(self.main(images), 1)

    def __repr__(self) -> str:
        classes = f", {self.classes} classes" if self.classes else ""
        norm = ", spectral norm" if self.spectral_norm else ""
        shape = f"{self.channels} x {self.size} x {self.size}"
        return f"DCGANDiscriminator({shape}{classes}{norm}, {count_parameters(self)})"
