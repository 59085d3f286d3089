"""The multilayer perceptron: linear layers with a nonlinearity between them."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from nbdl import nn
from nbdl.runtime.checks import check_choice, check_int, check_number

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class MLP(nn.Sequential):
    r"""A multilayer perceptron.

    $h_0 = x, \quad h_l = \phi(h_{l-1} W_l^\top + b_l), \quad y = h_{L-1} W_L^\top + b_L$

    with dropout after each activation. It is a `Sequential`, so `model[0].weight` is $W_1$ and the state dict is that
    of the same layers in PyTorch.

    Args:
        in_features: Numbers a sample.
        hidden_features: Width of each hidden layer; none makes a linear model.
        out_features: Outputs a sample: classes, or values to regress.
        activation: "relu", "tanh", "sigmoid", "gelu" or "silu".
        dropout: Probability of zeroing each hidden unit in training, in [0, 1).

    Raises:
        ArgumentError: A width under 1, an unknown activation, or a dropout outside its range.

    Example:
        >>> MLP(64, [32], 10)
        MLP(64-32-10, relu, 2,410 parameters)
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: Sequence[int],
        out_features: int,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        widths = [
            check_int("in_features", in_features, 1),
            *(check_int("hidden_features", width, 1) for width in hidden_features),
            check_int("out_features", out_features, 1),
        ]
        check_choice("activation", activation, ACTIVATIONS)
        check_number("dropout", dropout, 0, 1, open_high=True)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths[:-1]):
            layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        super().__init__(*layers, nn.Linear(widths[-2], widths[-1]))
        self.widths, self.activation, self.dropout = tuple(widths), activation, dropout

    def __repr__(self) -> str:
        count = sum(parameter.numel() for parameter in self.parameters())
        dropout = f", dropout {self.dropout:g}" if self.dropout else ""
        return f"MLP({'-'.join(map(str, self.widths))}, {self.activation}{dropout}, {count:,} parameters)"
