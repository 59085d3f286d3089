r"""Transposed convolutions: each pixel lays a learned kernel down, and the image grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.convolution import Convolution
from nbdl.runtime.checks import check_choice, check_int
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError


class _TransposedConvolution(Convolution):
    """What transposed convolutions share: the padding must be zeros, and a size of the result may be asked for."""

    transposed = True
    padding: tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        output_padding: int | tuple[int, ...] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, ...] = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_choice("padding_mode", padding_mode, ("zeros",))
        if isinstance(padding, str):
            raise ArgumentTypeError(f"padding: expected integers, got {padding!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def _output_padding(self, input: Tensor, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """The output padding that leads to a size: [N, K, *size], [K, *size] without a batch, or the size alone."""
        if output_size is None:
            return self.output_padding
        rank = self.dimensions
        if input.ndim not in (rank + 1, rank + 2):
            raise ShapeError(f"input: expected {rank + 1} or {rank + 2} dimensions, got shape {list(input.shape)}")
        if not isinstance(output_size, Sequence):
            raise ArgumentTypeError(f"output_size: expected a tuple of integers, got {type(output_size).__name__}")
        if len(output_size) not in (rank, input.ndim):
            raise ArgumentError(
                f"output_size: expected {rank} or {input.ndim} integers for input {list(input.shape)}, "
                f"got {tuple(output_size)}"
            )
        least = [
            (n - 1) * step - 2 * edge + spread * (taps - 1) + 1
            for n, step, edge, spread, taps in zip(
                input.shape[-rank:], self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        ]
        most = [size + step - 1 for size, step in zip(least, self.stride, strict=True)]
        wanted = [check_int("output_size", size) for size in output_size[-rank:]]
        if not all(low <= size <= high for low, size, high in zip(least, wanted, most, strict=True)):
            raise ArgumentError(
                f"output_size: expected sizes from {least} to {most} for input {list(input.shape)}, got {wanted}"
            )
        return tuple(size - low for size, low in zip(wanted, least, strict=True))


class ConvTranspose1d(_TransposedConvolution):
    r"""Lays learned kernels down for each element of a sequence, and adds up.

    $y_{k h} = b_k + \sum_{c, i, r} W_{c k r}\, x_{c i}$ over all $i s - p + r d = h$. Weight and bias begin uniformly
    distributed in $\pm 1 / \sqrt{K / \text{groups} \cdot R}$.

    Args:
        in_channels: C, channels of the input.
        out_channels: K, channels of the output.
        kernel_size: R, taps of a kernel.
        stride: Steps between two copies of a kernel.
        padding: Elements cut off on both sides of the output.
        output_padding: Elements more at its end; less than the stride or the dilation.
        groups: Groups of channels that do not see each other; divides both numbers of channels.
        bias: Whether a bias is added.
        dilation: Steps between two taps of a kernel.
        padding_mode: 'zeros', nothing else.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight: [in_channels, out_channels / groups, kernel_size].
        bias: [out_channels], or None.

    Raises:
        ArgumentError: A number is out of range, or groups do not divide the channels.

    Example:
        >>> layer = nbdl.nn.ConvTranspose1d(16, 33, 3, stride=2)
        >>> layer(nbdl.randn(20, 16, 50)).shape
        (20, 33, 101)
    """

    dimensions = 1

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """[N, C, L] or [C, L] -> [N, K, L'] or [K, L']; output_size chooses among the L' that the stride allows."""
        more = self._output_padding(input, output_size)
        return ops.conv_transpose1d(
            input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation
        )


class ConvTranspose2d(_TransposedConvolution):
    r"""Lays learned kernels down for each pixel of an image, and adds up.

    $y_{k h w} = b_k + \sum_{c, i, j, r, t} W_{c k r t}\, x_{c i j}$ over all $i s - p + r d = h$ and
    $j s - p + t d = w$. Weight and bias begin uniformly distributed in $\pm 1 / \sqrt{K / \text{groups} \cdot R S}$.

    Args:
        in_channels: C, channels of the input.
        out_channels: K, channels of the output.
        kernel_size: R and S, height and width of a kernel; an integer for both.
        stride: Steps between two copies of a kernel; an integer, or one for each axis.
        padding: Rows and columns cut off on both sides of the output; an integer, or one for each axis.
        output_padding: Rows and columns more at its end; less than the stride or the dilation of the axis.
        groups: Groups of channels that do not see each other; divides both numbers of channels.
        bias: Whether a bias is added.
        dilation: Steps between two taps of a kernel; an integer, or one for each axis.
        padding_mode: 'zeros', nothing else.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight: [in_channels, out_channels / groups, *kernel_size].
        bias: [out_channels], or None.

    Raises:
        ArgumentError: A number is out of range, or groups do not divide the channels.

    Example:
        >>> down = nbdl.nn.Conv2d(16, 16, 3, stride=2, padding=1)
        >>> up = nbdl.nn.ConvTranspose2d(16, 16, 3, stride=2, padding=1)
        >>> x = nbdl.randn(1, 16, 12, 12)
        >>> up(down(x), output_size=x.shape).shape
        (1, 16, 12, 12)
    """

    dimensions = 2

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """[N, C, H, W] or [C, H, W] -> [N, K, H', W'] or [K, H', W']; output_size chooses among the possible sizes."""
        more = self._output_padding(input, output_size)
        return ops.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation
        )
