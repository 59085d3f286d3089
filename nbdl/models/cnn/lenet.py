"""LeNet-5: the network that read the amounts on bank cheques."""

from __future__ import annotations

from nbdl import nn, ops
from nbdl.autograd import Tensor
from nbdl.models.description import count_parameters
from nbdl.runtime.checks import check_choice, check_int

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
SIDES = {28: 2, 32: 0}
"""Sides of the images that it takes, with the zeros it adds on each side: its first layer wants 32 pixels."""


class LeNet5(nn.Module):
    """LeNet-5: two convolutions with subsampling between them, then three layers that are fully connected.

    conv 5 x 5 to 6 channels, pool, conv 5 x 5 to 16, pool, 400-120-84-classes. The paper's subsampling is an average
    with a gain and a bias of its own; as in every later version it is a plain average here, all of the second
    convolution's inputs are connected, and the last layer is linear.

    Args:
        num_classes: Outputs a sample.
        in_channels: Channels of the images.
        side: Height and width of the images: 28, which are padded with zeros, or 32.
        activation: "tanh", as in the paper, or "relu".

    Raises:
        ArgumentError: A size is under 1, the side is neither 28 nor 32, or the activation is unknown.

    Example:
        >>> LeNet5()
        LeNet5(28 x 28 x 1, tanh, 10 classes, 61,706 parameters)

    Source:
        LeCun, Bottou, Bengio and Haffner (1998), "Gradient-Based Learning Applied to Document Recognition", figure 2.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, side: int = 28, activation: str = "tanh") -> None:
        super().__init__()
        check_int("num_classes", num_classes, 1)
        check_int("in_channels", in_channels, 1)
        check_choice("side", side, SIDES)
        check_choice("activation", activation, ACTIVATIONS)
        self.num_classes, self.in_channels, self.side, self.activation = num_classes, in_channels, side, activation
        nonlinearity = ACTIVATIONS[activation]
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=SIDES[side]),
            nonlinearity(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nonlinearity(),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(400, 120), nonlinearity(), nn.Linear(120, 84), nonlinearity(), nn.Linear(84, num_classes)
        )

    def forward(self, input: Tensor) -> Tensor:
        """[N, in_channels, side, side] -> scores [N, num_classes]."""
        return self.classifier(ops.flatten(self.features(input), 1))

    def __repr__(self) -> str:
        image = f"{self.side} x {self.side} x {self.in_channels}"
        return f"LeNet5({image}, {self.activation}, {self.num_classes} classes, {count_parameters(self)})"
