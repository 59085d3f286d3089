"""Pooling as modules: windows of lines and images, each reduced to one number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.module import Module

Sizes = int | Sequence[int]
"""One number for all dimensions, or one for each."""


class _MaxPool(Module):
    """What max pooling of lines and of images share."""

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of each window. Shape: [N, C, L] or [C, L] to [N, C, OL] or [C, OL].

    Args:
        kernel_size: Elements of a window.
        stride: Step from window to window; the kernel size when None.
        padding: Places around the input that a window may cover; at most half the kernel size.
        dilation: Step from element to element of a window.
        return_indices: Also return where the largest elements stand, for MaxUnpool1d.
        ceil_mode: Also take a last window that is not whole.
    """

    def forward(self, input: Tensor) -> Any:
        return ops.max_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class MaxPool2d(_MaxPool):
    """The largest element of each window. Shape: [N, C, H, W] or [C, H, W] to [N, C, OH, OW] or [C, OH, OW].

    Args:
        kernel_size: Rows and columns of a window; one number for both or a pair.
        stride: Step from window to window; the kernel size when None.
        padding: Places around the image that a window may cover; at most half the kernel size.
        dilation: Step from element to element of a window.
        return_indices: Also return where the largest elements stand, for MaxUnpool2d.
        ceil_mode: Also take last windows that are not whole.

    Example:
        >>> nbdl.nn.MaxPool2d(2)(nbdl.zeros(1, 3, 8, 8)).shape
        (1, 3, 4, 4)
    """

    def forward(self, input: Tensor) -> Any:
        return ops.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class _MaxUnpool(Module):
    """What max unpooling of lines and of images share."""

    dimensions: int

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        self.kernel_size = _each(kernel_size, self.dimensions)
        self.stride = self.kernel_size if stride is None else _each(stride, self.dimensions)
        self.padding = _each(padding, self.dimensions)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Largest elements back at their places. Shape: [N, C, L] or [C, L] to [N, C, OL] or [C, OL].

    Args:
        kernel_size: That of the MaxPool1d which is undone.
        stride: Its stride.
        padding: Its padding.
    """

    dimensions = 1

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return ops.max_unpool1d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool2d(_MaxUnpool):
    """Largest elements back at their places. Shape: [N, C, H, W] or [C, H, W] to [N, C, OH, OW] or [C, OH, OW].

    Args:
        kernel_size: That of the MaxPool2d which is undone.
        stride: Its stride.
        padding: Its padding.
    """

    dimensions = 2

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return ops.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class AvgPool1d(Module):
    """The mean of each window. Shape: [N, C, L] or [C, L] to [N, C, OL] or [C, OL].

    Args:
        kernel_size: Elements of a window.
        stride: Step from window to window; the kernel size when None.
        padding: Zeros around the input; at most half the kernel size.
        ceil_mode: Also take a last window that is not whole.
        count_include_pad: Divide by the number of elements with those of the padding.
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = _each(kernel_size, 1)
        self.stride = self.kernel_size if stride is None else _each(stride, 1)
        self.padding = _each(padding, 1)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return ops.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Module):
    """The mean of each window. Shape: [N, C, H, W] or [C, H, W] to [N, C, OH, OW] or [C, OH, OW].

    Args:
        kernel_size: Rows and columns of a window; one number for both or a pair.
        stride: Step from window to window; the kernel size when None.
        padding: Zeros around the image; at most half the kernel size.
        ceil_mode: Also take last windows that are not whole.
        count_include_pad: Divide by the number of elements with those of the padding.
        divisor_override: Divide every sum by this number instead.
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return ops.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _LPPool(Module):
    """What power-average pooling of lines and of images share."""

    def __init__(
        self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The p-norm of each window. Shape: [N, C, L] or [C, L] to [N, C, OL] or [C, OL].

    Args:
        norm_type: The power p, not 0.
        kernel_size: Elements of a window.
        stride: Step from window to window; the kernel size when None.
        ceil_mode: Also take a last window that is not whole.
    """

    def forward(self, input: Tensor) -> Tensor:
        return ops.lp_pool1d(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool2d(_LPPool):
    """The p-norm of each window. Shape: [N, C, H, W] or [C, H, W] to [N, C, OH, OW] or [C, OH, OW].

    Args:
        norm_type: The power p, not 0.
        kernel_size: Rows and columns of a window; one number for both or a pair.
        stride: Step from window to window; the kernel size when None.
        ceil_mode: Also take last windows that are not whole.
    """

    def forward(self, input: Tensor) -> Tensor:
        return ops.lp_pool2d(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class _AdaptiveAvgPool(Module):
    """What the adaptive means of lines and of images share."""

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The means of windows that cover the line. Shape: [N, C, L] or [C, L] to [N, C, O] or [C, O].

    Args:
        output_size: The number of windows, O; None for L.
    """

    def forward(self, input: Tensor) -> Tensor:
        return ops.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The means of windows that cover the image. Shape: [N, C, H, W] or [C, H, W] to [N, C, OH, OW] or [C, OH, OW].

    Args:
        output_size: OH and OW, one number for both or a pair; None stands for the size of the input.

    Example:
        >>> nbdl.nn.AdaptiveAvgPool2d((1, 1))(nbdl.zeros(2, 5, 7, 9)).shape
        (2, 5, 1, 1)
    """

    def forward(self, input: Tensor) -> Tensor:
        return ops.adaptive_avg_pool2d(input, self.output_size)


class _AdaptiveMaxPool(Module):
    """What the adaptive maxima of lines and of images share."""

    def __init__(self, output_size: int | Sequence[int | None] | None, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest elements of windows that cover the line. Shape: [N, C, L] or [C, L] to [N, C, O] or [C, O].

    Args:
        output_size: The number of windows, O; None for L.
        return_indices: Also return where the largest elements stand.
    """

    def forward(self, input: Tensor) -> Any:
        return ops.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest elements of windows that cover the image.

    Shape: [N, C, H, W] or [C, H, W] to [N, C, OH, OW] or [C, OH, OW].

    Args:
        output_size: OH and OW, one number for both or a pair; None stands for the size of the input.
        return_indices: Also return where the largest elements stand.
    """

    def forward(self, input: Tensor) -> Any:
        return ops.adaptive_max_pool2d(input, self.output_size, self.return_indices)


def _each(value: Sizes, dimensions: int) -> tuple[int, ...]:
    """One number for each dimension, as PyTorch keeps them in these modules."""
    return tuple(value) if isinstance(value, Sequence) else (value,) * dimensions
