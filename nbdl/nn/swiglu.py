"""SwiGLU: the feed-forward network whose middle is gated."""

from __future__ import annotations

from typing import Any

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.linear import Linear
from nbdl.nn.module import Module
from nbdl.runtime.checks import check_int


class SwiGLU(Module):
    r"""A feed-forward network with a gate: $y = W_d\, (\mathrm{silu}(W_g x) \odot W_u x)$.

    Three matrices instead of two: with two thirds of the hidden features it has as many parameters as the usual one.
    Shape: [*, in_features] to the same.

    Args:
        in_features: Features of input and result.
        hidden_features: Features in the middle.
        bias: Whether the linear maps have biases.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        gate: The map $W_g$.
        up: The map $W_u$.
        down: The map $W_d$.

    Raises:
        ArgumentError: A size is out of range.

    Example:
        >>> nbdl.nn.SwiGLU(8, 16)(nbdl.randn(3, 5, 8)).shape
        (3, 5, 8)

    Source:
        Shazeer (2020), "GLU Variants Improve Transformer", equation 6.
    """

    def __init__(
        self, in_features: int, hidden_features: int, bias: bool = False, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        check_int("in_features", in_features, low=1)
        check_int("hidden_features", hidden_features, low=1)
        self.gate = Linear(in_features, hidden_features, bias, device, dtype)
        self.up = Linear(in_features, hidden_features, bias, device, dtype)
        self.down = Linear(hidden_features, in_features, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """[*, in_features] -> [*, in_features]."""
        return self.down(ops.swiglu(self.gate(input), self.up(input)))
