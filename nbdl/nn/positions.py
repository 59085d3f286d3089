r"""Positions: what tells a Transformer where in a sequence a vector stands.

Attention by itself sees a set. Sinusoidal and learned positions add a vector to each place; rotary positions turn
queries and keys, so that their product depends on the distance of two places. All count from `start`, the number of
places that came before, such as those in a `KVCache`.

$$p_{t, 2i} = \sin(t\, b^{-2i/E}), \qquad p_{t, 2i+1} = \cos(t\, b^{-2i/E}).$$

Sources: Vaswani et al. (2017), "Attention Is All You Need", section 3.5; Gehring et al. (2017), "Convolutional Sequence
to Sequence Learning", for learned positions; Su et al. (2021), "RoFormer".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn import init
from nbdl.nn.module import Module
from nbdl.nn.parameter import Parameter, new_parameter
from nbdl.ops.creation import arange
from nbdl.runtime.checks import check_int, check_number
from nbdl.runtime.errors import ArgumentError, ShapeError


class _Positions(Module):
    """What positions share: a size, a largest number of places, and the check that a sequence stays within it."""

    def __init__(self, embedding_dim: int, max_length: int) -> None:
        super().__init__()
        self.embedding_dim = check_int("embedding_dim", embedding_dim, low=1)
        self.max_length = check_int("max_length", max_length, low=1)

    def _end(self, x: Tensor, start: int) -> int:
        """One more than the last position of x [*, T, E] that begins at `start`."""
        check_int("start", start, low=0)
        if x.ndim < 2 or x.shape[-1] != self.embedding_dim:
            raise ShapeError(f"x: expected shape [*, T, {self.embedding_dim}], got {list(x.shape)}")
        end: int = start + x.shape[-2]
        if end > self.max_length:
            expected = (
                f"at most {max(self.max_length - start, 0)} positions from {start} (max_length {self.max_length})"
            )
            raise ShapeError(f"x: expected {expected}, got {x.shape[-2]}")
        return end

    def extra_repr(self) -> str:
        return f"{self.embedding_dim}, max_length={self.max_length}"


class SinusoidalPositions(_Positions):
    r"""Adds sines and cosines of each place, from a wavelength of $2 \pi$ up to $2 \pi b$. Nothing is learned.

    Shape: [*, T, E] to the same.

    Args:
        embedding_dim: Features E.
        max_length: Largest number of places.
        base: The number b.
        device: Where the table lives.
        dtype: float32 (the default) or float64.

    Attributes:
        table: [max_length, E], not part of the state dict.

    Raises:
        ArgumentError: A size or the base is out of range.

    Example:
        >>> positions = nbdl.nn.SinusoidalPositions(4, max_length=10)
        >>> positions(nbdl.zeros(1, 2, 4))
        tensor([[[0.0000, 1.0000, 0.0000, 1.0000],
                 [0.8415, 0.5403, 0.0100, 0.9999]]])

    Source:
        Vaswani et al. (2017), "Attention Is All You Need", section 3.5.
    """

    table: Tensor

    def __init__(
        self,
        embedding_dim: int,
        max_length: int = 5000,
        base: float = 10000.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(embedding_dim, max_length)
        self.base = check_number("base", base, 0, open_low=True)
        places = arange(max_length, dtype=np.float64)
        rates = ops.exp(arange(0, embedding_dim, 2, dtype=np.float64) * (-math.log(base) / embedding_dim))
        angles = ops.outer(places, rates)
        pairs = ops.stack([ops.sin(angles), ops.cos(angles)], 2)  # an odd size leaves out the last cosine
        table = ops.reshape(pairs, (max_length, -1))[:, :embedding_dim].to(np.float32 if dtype is None else dtype)
        self.register_buffer("table", ops.clone(table if device is None else table.to(device)), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """x [*, T, E] with the vectors of the places start, start + 1, ... added.

        Raises:
            ShapeError: There are more places than max_length, or x has other features.
        """
        return x + self.table[start : self._end(x, start)]


class LearnedPositions(_Positions):
    """Adds a learned vector to each place. Shape: [*, T, E] to the same.

    The vectors begin normally distributed with mean 0 and deviation `std`.

    Args:
        embedding_dim: Features E.
        max_length: Largest number of places.
        std: Deviation of the vectors at the beginning.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight: [max_length, E].

    Raises:
        ArgumentError: A size or the deviation is out of range.

    Example:
        >>> nbdl.nn.LearnedPositions(8, max_length=16)(nbdl.zeros(2, 5, 8)).shape
        (2, 5, 8)
    """

    weight: Parameter

    def __init__(
        self, embedding_dim: int, max_length: int, std: float = 0.02, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(embedding_dim, max_length)
        self.std = check_number("std", std, 0)
        self.weight = new_parameter((max_length, embedding_dim), device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the vectors anew."""
        init.normal_(self.weight, std=self.std)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """x [*, T, E] with the vectors of the places start, start + 1, ... added.

        Raises:
            ShapeError: There are more places than max_length, or x has other features.
        """
        return x + self.weight[start : self._end(x, start)]


class RotaryPositions(_Positions):
    r"""Turns pairs of features of queries or keys by angles that grow with the place: $(2i, 2i+1)$ by $t\, b^{-2i/E}$.

    The product of a query at place s and a key at place t then depends on both through s - t alone. Shape: [*, T, E] to
    the same.

    Args:
        embedding_dim: Features E of a head, an even number.
        max_length: Largest number of places.
        base: The number b.
        interleaved: Pairs are features 2i and 2i + 1, as in RoFormer; else i and i + E / 2, as in Llama.

    Raises:
        ArgumentError: A size or the base is out of range, or embedding_dim is odd.

    Example:
        >>> rotate = nbdl.nn.RotaryPositions(2, max_length=16)
        >>> rotate(nbdl.tensor([[1.0, 0.0], [1.0, 0.0]]))
        tensor([[1.0000, 0.0000],
                [0.5403, 0.8415]])

    Source:
        Su et al. (2021), "RoFormer: Enhanced Transformer with Rotary Position Embedding".
    """

    def __init__(
        self, embedding_dim: int, max_length: int = 5000, base: float = 10000.0, interleaved: bool = False
    ) -> None:
        super().__init__(embedding_dim, max_length)
        if embedding_dim % 2:
            raise ArgumentError(f"embedding_dim: expected an even number, got {embedding_dim}")
        self.base = check_number("base", base, 0, open_low=True)
        self.interleaved = interleaved

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Queries or keys x [*, T, E] of the places start, start + 1, ..., turned.

        Raises:
            ShapeError: There are more places than max_length, or x has other features.
        """
        self._end(x, start)
        return ops.rotary_embedding(x, start, base=self.base, interleaved=self.interleaved)
