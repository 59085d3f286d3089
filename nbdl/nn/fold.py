"""Unfold and fold as modules: images to columns of patches, and back."""

from __future__ import annotations

from typing import Any

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.module import Module


class Unfold(Module):
    """Takes the patches that a sliding window sees, each as a column.

    Shape: [N, C, H, W] to [N, C * height * width, L], L the number of places; N may be missing.

    Args:
        kernel_size: Size of the window, an integer or (height, width).
        dilation: Distance of the window's taps, an integer or one for each axis.
        padding: Zeros around the image, likewise.
        stride: Distance of two places of the window, likewise.

    Example:
        >>> nbdl.nn.Unfold(3, padding=1)(nbdl.ones(2, 4, 8, 8)).shape
        (2, 36, 64)
    """

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return ops.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """Adds up columns to images: each number goes to the pixel that `Unfold` takes it from.

    Shape: [N, C * height * width, L] to [N, C, H, W], L the number of places; N may be missing.

    Args:
        output_size: Size of the images, an integer or (H, W).
        kernel_size: Size of the window, an integer or (height, width).
        dilation: Distance of the window's taps, an integer or one for each axis.
        padding: Zeros around the image, likewise.
        stride: Distance of two places of the window, likewise.

    Example:
        >>> nbdl.nn.Fold((8, 8), 2, stride=2)(nbdl.ones(2, 16, 16)).shape
        (2, 4, 8, 8)
    """

    def __init__(
        self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return ops.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )
