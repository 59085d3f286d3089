"""The memory of a decoder: keys and values of the positions it has read, so that none is computed twice.

Without it, writing token t reads all t tokens before it again: $O(T^2)$ tokens for a text of length T. With it every
token is read once, and asks the kept keys and values for what came before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Tensor, is_grad_enabled
from nbdl.autograd.tensor import wrap
from nbdl.ops.creation import empty
from nbdl.runtime import arrays, looking
from nbdl.runtime.checks import check_int, check_same_dtype, check_shape
from nbdl.runtime.errors import ArgumentError, GradientError


class KVCache:
    """Keys and values of one attention layer, in buffers of their final size.

    Appending copies the new positions to their place and returns views of all that are filled: nothing is moved or
    allocated while a text grows. There is no backward pass through a cache.

    Args:
        batch_size: Texts side by side, B.
        heads: Heads of keys and values, H.
        length: Positions that fit, T.
        features: Features of a head, D.
        device: Where the buffers live.
        dtype: float32 (the default) or float64.

    Attributes:
        keys, values: [B, H, T, D], filled up to `position`.
        position: Positions filled so far.

    Raises:
        ArgumentError: A size is out of range.

    Example:
        >>> cache = nbdl.nn.KVCache(batch_size=1, heads=2, length=16, features=4)
        >>> with nbdl.no_grad():
        ...     keys, values = cache.append(nbdl.ones(1, 2, 3, 4), nbdl.ones(1, 2, 3, 4))
        ...     keys, values = cache.append(nbdl.ones(1, 2, 1, 4), nbdl.ones(1, 2, 1, 4))
        >>> keys.shape, cache
        ((1, 2, 4, 4), KVCache(4 of 16 positions, 2 heads of 4, batch 1))

    Source:
        Pope et al. (2022), "Efficiently Scaling Transformer Inference", section 2.
    """

    def __init__(
        self, batch_size: int, heads: int, length: int, features: int, device: Any = None, dtype: Any = None
    ) -> None:
        shape = (
            check_int("batch_size", batch_size, low=0),
            check_int("heads", heads, low=1),
            check_int("length", length, low=1),
            check_int("features", features, low=1),
        )
        self.keys: Tensor = empty(shape, device=device, dtype=dtype)
        self.values: Tensor = empty(shape, device=device, dtype=dtype)
        self.position = 0

    @property
    def length(self) -> int:
        """Positions that fit."""
        return self.keys.shape[2]

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keeps the keys and values of the next positions.

        Args:
            keys: [B, H, t, D], dtype of the cache.
            values: As keys.

        Returns:
            Keys and values of all positions so far, [B, H, position, D]: views of the buffers.

        Raises:
            GradientError: Gradients are recorded: there is no backward pass through a cache.
            ShapeError, DTypeError: Keys or values are not of the cache's sizes or dtype.
            ArgumentError: The positions do not fit.
        """
        if is_grad_enabled() and (keys.requires_grad or values.requires_grad):
            raise GradientError("append: a cache has no backward pass; use it under nbdl.no_grad()")
        batch, heads, length, features = self.keys.shape
        begin = self.position
        for name, tensor in (("keys", keys), ("values", values)):
            check_same_dtype(name, check_shape(name, tensor, (batch, heads, "t", features)), "the cache", self.keys)
        check_shape("values", values, keys.shape)
        end = begin + keys.shape[2]
        if end > length:
            raise ArgumentError(f"keys: expected at most {length - begin} more positions, got {keys.shape[2]}")
        self.position = end
        return self._kept(self.keys, keys, begin), self._kept(self.values, values, begin)

    def _kept(self, buffer: Tensor, new: Tensor, begin: int) -> Tensor:
        """Copies the new positions into a buffer; a view of all that it holds now."""
        array = buffer._array
        target = array[:, :, begin : self.position]
        if looking.waits(array):
            arrays.copy_into(target, new._array)
        else:  # without a launch
            np.copyto(target, new._array)
        return wrap(array[:, :, : self.position])

    def reset(self) -> None:
        """Forgets everything; the buffers stay."""
        self.position = 0

    def __repr__(self) -> str:
        batch, heads, length, features = self.keys.shape
        return f"KVCache({self.position} of {length} positions, {heads} heads of {features}, batch {batch})"
