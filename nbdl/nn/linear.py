r"""Linear maps: $y = x W^\top + b$ and its bilinear relative."""

from __future__ import annotations

import math
from typing import Any

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn import init
from nbdl.nn.module import Module
from nbdl.nn.parameter import Parameter, new_parameter
from nbdl.runtime.checks import check_int


class Identity(Module):
    """Gives back its input. Any arguments are accepted and ignored, so that it can stand for any module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The input itself."""
        return input


class Linear(Module):
    r"""Maps the last dimension linearly: $y = x W^\top + b$.

    Weight and bias begin uniformly distributed in $(-1/\sqrt{I}, 1/\sqrt{I})$ with $I$ = in_features.

    Args:
        in_features: Size of the last dimension of the input.
        out_features: Size of the last dimension of the output.
        bias: Whether a bias is added.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight: [out_features, in_features].
        bias: [out_features], or None.

    Raises:
        ArgumentError: A size is negative.

    Example:
        >>> layer = nbdl.nn.Linear(20, 30)
        >>> layer(nbdl.randn(128, 20)).shape
        (128, 30)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = check_int("in_features", in_features, low=0)
        self.out_features = check_int("out_features", out_features, low=0)
        self.weight = new_parameter((out_features, in_features), device, dtype)
        self.register_parameter("bias", new_parameter((out_features,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """[*, in_features] -> [*, out_features]."""
        return ops.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    r"""Joins two inputs: $y_o = x_1^\top W_o\, x_2 + b_o$ along their last dimensions.

    Weight and bias begin uniformly distributed in $(-1/\sqrt{I_1}, 1/\sqrt{I_1})$ with $I_1$ = in1_features.

    Args:
        in1_features: Size of the last dimension of the first input.
        in2_features: Size of the last dimension of the second input.
        out_features: Size of the last dimension of the output.
        bias: Whether a bias is added.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight: [out_features, in1_features, in2_features].
        bias: [out_features], or None.

    Raises:
        ArgumentError: in1_features is not positive, or another size is negative.

    Example:
        >>> layer = nbdl.nn.Bilinear(20, 30, 40)
        >>> layer(nbdl.randn(128, 20), nbdl.randn(128, 30)).shape
        (128, 40)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in1_features = check_int("in1_features", in1_features, low=1)
        self.in2_features = check_int("in2_features", in2_features, low=0)
        self.out_features = check_int("out_features", out_features, low=0)
        self.weight = new_parameter((out_features, in1_features, in2_features), device, dtype)
        self.register_parameter("bias", new_parameter((out_features,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """[*, in1_features], [*, in2_features] -> [*, out_features]."""
        return ops.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
