"""VGG: nothing but 3 x 3 convolutions and pooling, in blocks that halve the image and widen the channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbdl import nn, ops
from nbdl.autograd import Tensor
from nbdl.models.description import count_parameters
from nbdl.nn import init
from nbdl.runtime.checks import check_int, check_number
from nbdl.runtime.errors import ArgumentError

POOL = "M"
CONFIGURATIONS: dict[str, tuple[int | str, ...]] = {
    "A": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "B": (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "D": (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
    "E": (64, 64, "M", 128, 128, "M", *(256,) * 4, "M", *(512,) * 4, "M", *(512,) * 4, "M"),
}
"""The networks of the paper's table 1: output channels of each convolution, and "M" for a 2 x 2 maximum pooling."""


class VGG(nn.Module):
    r"""A VGG network: convolutions $3 \times 3$ with ReLU, halved by maximum pooling, then fully connected layers.

    Two $3 \times 3$ convolutions see as much of the image as one of $5 \times 5$, with 18 weights in place of 25 and a
    nonlinearity between them. State dicts are torchvision's.

    Args:
        configuration: "A", "B", "D" or "E" of the paper, or a sequence of your own: output channels of each
            convolution, and "M" where the image is halved.
        num_classes: Outputs a sample.
        batch_norm: Normalize between convolution and ReLU.
        dropout: Probability of zeroing each unit between the last layers, in [0, 1).
        in_channels: Channels of the images.
        small_input: For small images: each channel is averaged over the image, and one linear layer follows, in place
            of the three wide layers that hold 90 % of the weights.

    Raises:
        ArgumentError: An unknown configuration, a size under 1, or a dropout outside its range.

    Example:
        >>> VGG([32, "M", 64, "M"], batch_norm=True, in_channels=1, small_input=True, num_classes=10)
        VGG(32-M-64-M, batch norm, 10 classes, 19,658 parameters)

    Source:
        Simonyan and Zisserman (2015), "Very Deep Convolutional Networks for Large-Scale Image Recognition".
    """

    def __init__(
        self,
        configuration: str | Sequence[int | str] = "A",
        num_classes: int = 1000,
        batch_norm: bool = False,
        dropout: float = 0.5,
        in_channels: int = 3,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        check_int("num_classes", num_classes, 1)
        check_number("dropout", dropout, 0, 1, open_high=True)
        channels = check_int("in_channels", in_channels, 1)
        layers: list[nn.Module] = []
        self.configuration = _checked(configuration)
        for step in self.configuration:
            if step == POOL:
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers.append(nn.Conv2d(channels, int(step), 3, padding=1))
                layers += [nn.BatchNorm2d(int(step)), nn.ReLU()] if batch_norm else [nn.ReLU()]
                channels = int(step)
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1 if small_input else 7)
        if small_input:
            self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))
        else:
            self.classifier = nn.Sequential(
                nn.Linear(channels * 49, 4096),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(4096, 4096),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(4096, num_classes),
            )
        self.num_classes, self.batch_norm = num_classes, batch_norm
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew: convolutions by Kaiming's scheme, linear layers of standard deviation 0.01."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                init.normal_(module.weight, 0, 0.01)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                init.zeros_(module.bias)

    def forward(self, input: Tensor) -> Tensor:
        """[N, in_channels, H, W] -> scores [N, num_classes]."""
        return self.classifier(ops.flatten(self.avgpool(self.features(input)), 1))

    def __repr__(self) -> str:
        layers = "-".join(map(str, self.configuration)) + (", batch norm" if self.batch_norm else "")
        return f"VGG({layers}, {self.num_classes} classes, {count_parameters(self)})"


def _checked(configuration: str | Sequence[int | str]) -> tuple[int | str, ...]:
    """The steps of a configuration, with at least one convolution before the first pooling."""
    if isinstance(configuration, str):
        if configuration not in CONFIGURATIONS:
            expected = f"one of {', '.join(CONFIGURATIONS)}, or a sequence"
            raise ArgumentError(f"configuration: expected {expected}, got {configuration!r}")
        return CONFIGURATIONS[configuration]
    steps = tuple(step if step == POOL else check_int("configuration", step, 1) for step in configuration)
    if not steps or steps[0] == POOL:
        raise ArgumentError(f"configuration: expected a convolution first, got {list(steps)}")
    return steps


def vgg11(**options: Any) -> VGG:
    """VGG with 11 layers that have weights, configuration A; options as for `VGG`."""
    return VGG("A", **options)


def vgg11_bn(**options: Any) -> VGG:
    """VGG with 11 layers and batch normalization; options as for `VGG`."""
    return VGG("A", batch_norm=True, **options)


def vgg16(**options: Any) -> VGG:
    """VGG with 16 layers that have weights, configuration D; options as for `VGG`."""
    return VGG("D", **options)


def vgg16_bn(**options: Any) -> VGG:
    """VGG with 16 layers and batch normalization; options as for `VGG`."""
    return VGG("D", batch_norm=True, **options)
