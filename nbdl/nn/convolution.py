r"""Convolutions: small kernels, learned once and applied at every place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn import init
from nbdl.nn.module import Module
from nbdl.nn.parameter import Parameter, new_parameter
from nbdl.ops.convolution.geometry import as_padding, as_sizes
from nbdl.runtime.checks import check_choice, check_int
from nbdl.runtime.errors import ArgumentError

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class Convolution(Module):
    """What convolutions and transposed convolutions share: sizes, parameters, initial values, the line of `repr`."""

    weight: Parameter
    bias: Parameter | None
    dimensions: int
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...],
        padding: int | tuple[int, ...] | str,
        dilation: int | tuple[int, ...],
        output_padding: int | tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        rank = self.dimensions
        self.groups = check_int("groups", groups, low=1)
        self.in_channels = _divided("in_channels", in_channels, groups)
        self.out_channels = _divided("out_channels", out_channels, groups)
        self.kernel_size = as_sizes("kernel_size", kernel_size, rank, low=1)
        self.stride = as_sizes("stride", stride, rank, low=1)
        self.dilation = as_sizes("dilation", dilation, rank, low=1)
        self.padding = padding if isinstance(padding, str) else as_sizes("padding", padding, rank, low=0)
        self.output_padding = as_sizes("output_padding", output_padding, rank, low=0)
        self.padding_mode = check_choice("padding_mode", padding_mode, PADDING_MODES)
        edges = as_padding(self.padding, self.kernel_size, self.stride, self.dilation)
        # `ops.pad` counts from the last dimension; the odd zero of 'same' lies behind in both.
        self._pad = tuple(size for pair in reversed(edges) for size in pair)
        channels = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = new_parameter((channels[0], channels[1] // groups, *self.kernel_size), device, dtype)
        self.register_parameter("bias", new_parameter((out_channels,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew."""
        if self.weight.numel():
            init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = self.weight.shape[1] * math.prod(self.kernel_size)
            bound = 1 / math.sqrt(fan_in) if fan_in else 0
            init.uniform_(self.bias, -bound, bound)

    def convolve(self, function: Callable[..., Tensor], input: Tensor) -> Tensor:
        """One of the functions `conv1d`, `conv2d`, ... of the input, padded as the padding mode says."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = ops.pad(input, self._pad, self.padding_mode), 0
        return function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        rank = self.dimensions
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * rank:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * rank:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * rank:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


def _divided(name: str, channels: int, groups: int) -> int:
    """The number of channels, if groups divide it."""
    if check_int(name, channels, low=0) % groups:
        raise ArgumentError(f"{name}: expected a number that groups={groups} divides, got {channels}")
    return channels


class Conv1d(Convolution):
    r"""Slides learned kernels along a sequence: $y_{k i} = b_k + \sum_{c, r} W_{k c r}\, x_{c,\, i s - p + r d}$.

    Weight and bias begin uniformly distributed in $\pm 1 / \sqrt{C / \text{groups} \cdot R}$.

    Args:
        in_channels: C, channels of the input.
        out_channels: K, channels of the output.
        kernel_size: R, taps of a kernel.
        stride: Steps between two places of the kernel.
        padding: Elements added on both sides, 'valid' for none, or 'same' for as many outputs as inputs.
        dilation: Steps between two taps of the kernel.
        groups: Groups of channels that do not see each other; divides both numbers of channels.
        bias: Whether a bias is added.
        padding_mode: What is added: 'zeros', 'reflect', 'replicate' or 'circular'.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight: [out_channels, in_channels / groups, kernel_size].
        bias: [out_channels], or None.

    Raises:
        ArgumentError: A number is out of range, groups do not divide the channels, the padding or its mode is unknown.

    Example:
        >>> layer = nbdl.nn.Conv1d(16, 33, 3, stride=2)
        >>> layer(nbdl.randn(20, 16, 50)).shape
        (20, 33, 24)
    """

    dimensions = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode,
            device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, L] or [C, L] -> [N, K, L'] or [K, L']."""
        return self.convolve(ops.conv1d, input)


class Conv2d(Convolution):
    r"""Slides learned kernels over an image.

    $$y_{k i j} = b_k + \sum_{c, r, t} W_{k c r t}\, x_{c,\; i s - p + r d,\; j s - p + t d}$$

    Weight and bias begin uniformly distributed in $\pm 1 / \sqrt{C / \text{groups} \cdot R S}$. The result lies in
    channels-last memory, which the layers after it read as it is.

    Args:
        in_channels: C, channels of the input.
        out_channels: K, channels of the output.
        kernel_size: R and S, height and width of a kernel; an integer for both.
        stride: Steps between two places of the kernel; an integer, or one for each axis.
        padding: Elements added on both sides of each axis, 'valid' for none, or 'same' for as many outputs as inputs.
        dilation: Steps between two taps of the kernel; an integer, or one for each axis.
        groups: Groups of channels that do not see each other; divides both numbers of channels.
        bias: Whether a bias is added.
        padding_mode: What is added: 'zeros', 'reflect', 'replicate' or 'circular'.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight: [out_channels, in_channels / groups, *kernel_size].
        bias: [out_channels], or None.

    Raises:
        ArgumentError: A number is out of range, groups do not divide the channels, the padding or its mode is unknown.

    Example:
        >>> layer = nbdl.nn.Conv2d(16, 33, (3, 5), stride=(2, 1), padding=(4, 2), dilation=(3, 1))
        >>> layer(nbdl.randn(20, 16, 50, 100)).shape
        (20, 33, 26, 100)
    """

    dimensions = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode,
            device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] or [C, H, W] -> [N, K, H', W'] or [K, H', W']."""
        return self.convolve(ops.conv2d, input)
