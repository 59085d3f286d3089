"""Interpolation as modules: images and lines of another size."""

from __future__ import annotations

from collections.abc import Sequence

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.module import Module


class Upsample(Module):
    """Images, or lines, of another size. Shape: [N, C, L] or [N, C, H, W] to [N, C, OL] or [N, C, OH, OW].

    Args:
        size: The new size: one number for all dimensions or one for each.
        scale_factor: The new size divided by the old one; either this or `size`.
        mode: 'nearest', 'nearest-exact', 'linear', 'bilinear', 'bicubic' or 'area'.
        align_corners: Whether the centres of the corner pixels stay in place. For linear, bilinear and bicubic.
        recompute_scale_factor: Compute positions with the ratio of the whole sizes.

    Example:
        >>> nbdl.nn.Upsample(scale_factor=2)(nbdl.zeros(1, 3, 4, 4)).shape
        (1, 3, 8, 8)
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        self.scale_factor: float | tuple[float, ...] | None
        if isinstance(scale_factor, Sequence):
            self.scale_factor = tuple([float(factor) for factor in scale_factor])
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return ops.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor!r}, mode={self.mode!r}"
        return f"size={self.size!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images of another size, each pixel the nearest one. Shape: [N, C, H, W] to [N, C, OH, OW].

    Args:
        size: The new size: one number for both dimensions or a pair.
        scale_factor: The new size divided by the old one; either this or `size`.
    """

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Images of another size, each pixel a mean of four, corners aligned. Shape: [N, C, H, W] to [N, C, OH, OW].

    Args:
        size: The new size: one number for both dimensions or a pair.
        scale_factor: The new size divided by the old one; either this or `size`.
    """

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
