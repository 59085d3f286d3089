"""Modules that change shapes, for use in `Sequential`."""

from __future__ import annotations

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.module import Module


class Flatten(Module):
    """Joins dimensions `start_dim` to `end_dim` into one.

    Args:
        start_dim: The first dimension to join; 1 keeps a batch apart.
        end_dim: The last.

    Example:
        >>> nbdl.nn.Flatten()(nbdl.zeros(32, 1, 5, 5)).shape
        (32, 25)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return ops.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits one dimension into several.

    Args:
        dim: The dimension to split.
        unflattened_size: Sizes of the new dimensions; one may be -1.

    Example:
        >>> nbdl.nn.Unflatten(1, (2, 5))(nbdl.zeros(3, 10)).shape
        (3, 2, 5)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        return ops.unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
