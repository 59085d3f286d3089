"""Padding as modules: a constant, a mirror image, the edge or the other side around images, lines and volumes."""

from __future__ import annotations

from collections.abc import Sequence

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.module import Module
from nbdl.runtime.checks import check_int, check_rank
from nbdl.runtime.errors import ArgumentError


class _Pad(Module):
    """What the paddings share: the numbers, from the last dimension on, and the mode."""

    mode: str
    dimensions: int
    padding: tuple[int, ...]

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        count = 2 * self.dimensions
        if not isinstance(padding, Sequence):
            padding = (padding,) * count
        if len(padding) != count:
            raise ArgumentError(f"padding: expected an integer or {count} of them, got {tuple(padding)}")
        self.padding = tuple([check_int("padding", p) for p in padding])

    def forward(self, input: Tensor) -> Tensor:
        check_rank("input", input, self.dimensions + 1, self.dimensions + 2)
        return ops.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """Padding by one value. As in PyTorch, any input with enough dimensions will do."""

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return ops.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    """Padding by zeros."""

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ReflectionPad(_Pad):
    """Padding by a mirror image."""

    mode = "reflect"


class _ReplicationPad(_Pad):
    """Padding by copies of the edge."""

    mode = "replicate"


class _CircularPad(_Pad):
    """Padding by the other side."""

    mode = "circular"


class ConstantPad1d(_ConstantPad):
    """Surrounds lines with one value.

    Shape: [N, C, L] or [C, L] to [N, C, left + L + right].

    Args:
        padding: One integer for all sides, or (left, right); negative ones cut off.
        value: The value.

    Example:
        >>> nbdl.nn.ConstantPad1d((1, 2), 9.0)(nbdl.tensor([[1.0, 2.0]]))
        tensor([[9., 1., 2., 9., 9.]])
    """

    dimensions = 1


class ConstantPad2d(_ConstantPad):
    """Surrounds images with one value.

    Shape: [N, C, H, W] or [C, H, W] to [N, C, top + H + bottom, left + W + right].

    Args:
        padding: One integer for all sides, or (left, right, top, bottom); negative ones cut off.
        value: The value.
    """

    dimensions = 2


class ConstantPad3d(_ConstantPad):
    """Surrounds volumes with one value.

    Shape: [N, C, D, H, W] or [C, D, H, W] to [N, C, front + D + back, top + H + bottom, left + W + right].

    Args:
        padding: One integer for all sides, or (left, right, top, bottom, front, back);
            negative ones cut off.
        value: The value.
    """

    dimensions = 3


class ZeroPad1d(_ZeroPad, ConstantPad1d):
    """Surrounds lines with zeros.

    Shape: [N, C, L] or [C, L] to [N, C, left + L + right].

    Args:
        padding: One integer for all sides, or (left, right); negative ones cut off.

    Example:
        >>> nbdl.nn.ZeroPad1d(1)(nbdl.tensor([[1.0, 2.0]]))
        tensor([[0., 1., 2., 0.]])
    """

    dimensions = 1


class ZeroPad2d(_ZeroPad, ConstantPad2d):
    """Surrounds images with zeros.

    Shape: [N, C, H, W] or [C, H, W] to [N, C, top + H + bottom, left + W + right].

    Args:
        padding: One integer for all sides, or (left, right, top, bottom); negative ones cut off.

    Example:
        >>> nbdl.nn.ZeroPad2d((1, 1, 0, 2))(nbdl.ones(8, 3, 5, 5)).shape
        (8, 3, 7, 7)
    """

    dimensions = 2


class ZeroPad3d(_ZeroPad, ConstantPad3d):
    """Surrounds volumes with zeros.

    Shape: [N, C, D, H, W] or [C, D, H, W] to [N, C, front + D + back, top + H + bottom, left + W + right].

    Args:
        padding: One integer for all sides, or (left, right, top, bottom, front, back);
            negative ones cut off.
    """

    dimensions = 3


class ReflectionPad1d(_ReflectionPad):
    """Surrounds lines with their mirror image; the edge itself is not repeated.

    Shape: [N, C, L] or [C, L] to [N, C, left + L + right].

    Args:
        padding: One integer for all sides, or (left, right); each less than the size of its dimension.

    Example:
        >>> nbdl.nn.ReflectionPad1d(2)(nbdl.tensor([[1.0, 2.0, 3.0]]))
        tensor([[3., 2., 1., 2., 3., 2., 1.]])
    """

    dimensions = 1


class ReflectionPad2d(_ReflectionPad):
    """Surrounds images with their mirror image; the edge itself is not repeated.

    Shape: [N, C, H, W] or [C, H, W] to [N, C, top + H + bottom, left + W + right].

    Args:
        padding: One integer for all sides, or (left, right, top, bottom); each less than the size of its dimension.
    """

    dimensions = 2


class ReflectionPad3d(_ReflectionPad):
    """Surrounds volumes with their mirror image; the edge itself is not repeated.

    Shape: [N, C, D, H, W] or [C, D, H, W] to [N, C, front + D + back, top + H + bottom, left + W + right].

    Args:
        padding: One integer for all sides, or (left, right, top, bottom, front, back);
            each less than the size of its dimension.
    """

    dimensions = 3


class ReplicationPad1d(_ReplicationPad):
    """Surrounds lines with copies of their edge.

    Shape: [N, C, L] or [C, L] to [N, C, left + L + right].

    Args:
        padding: One integer for all sides, or (left, right); negative ones cut off.

    Example:
        >>> nbdl.nn.ReplicationPad1d((2, 0))(nbdl.tensor([[1.0, 2.0, 3.0]]))
        tensor([[1., 1., 1., 2., 3.]])
    """

    dimensions = 1


class ReplicationPad2d(_ReplicationPad):
    """Surrounds images with copies of their edge.

    Shape: [N, C, H, W] or [C, H, W] to [N, C, top + H + bottom, left + W + right].

    Args:
        padding: One integer for all sides, or (left, right, top, bottom); negative ones cut off.
    """

    dimensions = 2


class ReplicationPad3d(_ReplicationPad):
    """Surrounds volumes with copies of their edge.

    Shape: [N, C, D, H, W] or [C, D, H, W] to [N, C, front + D + back, top + H + bottom, left + W + right].

    Args:
        padding: One integer for all sides, or (left, right, top, bottom, front, back);
            negative ones cut off.
    """

    dimensions = 3


class CircularPad1d(_CircularPad):
    """Surrounds lines with their own other side, as if they closed to a ring.

    Shape: [N, C, L] or [C, L] to [N, C, left + L + right].

    Args:
        padding: One integer for all sides, or (left, right); each at most the size of its dimension.

    Example:
        >>> nbdl.nn.CircularPad1d((2, 1))(nbdl.tensor([[1.0, 2.0, 3.0]]))
        tensor([[2., 3., 1., 2., 3., 1.]])
    """

    dimensions = 1


class CircularPad2d(_CircularPad):
    """Surrounds images with their own other side, as if they closed to a ring.

    Shape: [N, C, H, W] or [C, H, W] to [N, C, top + H + bottom, left + W + right].

    Args:
        padding: One integer for all sides, or (left, right, top, bottom); each at most the size of its dimension.
    """

    dimensions = 2


class CircularPad3d(_CircularPad):
    """Surrounds volumes with their own other side, as if they closed to a ring.

    Shape: [N, C, D, H, W] or [C, D, H, W] to [N, C, front + D + back, top + H + bottom, left + W + right].

    Args:
        padding: One integer for all sides, or (left, right, top, bottom, front, back);
            each at most the size of its dimension.
    """

    dimensions = 3
