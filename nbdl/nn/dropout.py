"""Dropout as modules: active in training mode, the identity in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.module import Module
from nbdl.runtime.checks import check_number


class _Dropout(Module):
    """What the dropouts share: a probability, and the option to work in place."""

    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = check_number("p", p, 0, 1)
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    r"""Sets elements to 0 at random and scales the others by $1 / (1 - p)$. Shape: [*] to [*].

    Args:
        p: The probability that an element is dropped.
        inplace: Write the result into the input's memory.

    Example:
        >>> layer = nbdl.nn.Dropout(0.2).eval()
        >>> layer(nbdl.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """

    _function = staticmethod(ops.dropout)


class Dropout1d(_Dropout):
    """Drops whole channels. Shape: [N, C, L] or [C, L] to the same.

    Args:
        p: The probability that a channel is dropped.
        inplace: Write the result into the input's memory.
    """

    _function = staticmethod(ops.dropout1d)


class Dropout2d(_Dropout):
    """Drops whole channels. Shape: [N, C, H, W] or [N, C, L] to the same.

    Args:
        p: The probability that a channel is dropped.
        inplace: Write the result into the input's memory.
    """

    _function = staticmethod(ops.dropout2d)


class Dropout3d(_Dropout):
    """Drops whole channels. Shape: [N, C, D, H, W] or [C, D, H, W] to the same.

    Args:
        p: The probability that a channel is dropped.
        inplace: Write the result into the input's memory.
    """

    _function = staticmethod(ops.dropout3d)


class AlphaDropout(_Dropout):
    """Dropout that keeps mean 0 and variance 1, for networks of SELU. Shape: [*] to [*].

    Args:
        p: The probability that an element is dropped.
        inplace: Write the result into the input's memory.
    """

    _function = staticmethod(ops.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """Alpha dropout of whole channels. Shape: [N, C, *] to the same.

    Args:
        p: The probability that a channel is dropped.
        inplace: Write the result into the input's memory.
    """

    _function = staticmethod(ops.feature_alpha_dropout)
