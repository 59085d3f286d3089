"""Windows of a text, for models that look back on a fixed number of tokens."""

from typing import Any

import numpy as np

from nbdl.data.dataset import ArrayDataset, Dataset
from nbdl.data.errors import DataArgumentError, EmptyDataError, TokenError
from nbdl.data.order import check_count

IGNORED = -100
"""Stands for a target that does not count."""


def _checked(tokens: Any, length: int) -> np.ndarray:
    numbers = np.asarray(tokens)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise TokenError("tokens", "whole numbers [K]", f"{numbers.dtype}{list(numbers.shape)}")
    check_count("length", length, 1, "a whole number from 1 up")
    return numbers.astype(np.int64)


class TokenWindows(Dataset):
    """Windows to learn from: sample i is T tokens from place i * stride on, and the T tokens one place further on.

    With a stride under T each token is learned from in several windows, at another place in each.

    Args:
        tokens: Whole numbers [K].
        length: Tokens of a window, T.
        stride: Tokens from the beginning of a window to that of the next.

    Raises:
        EmptyDataError: There are fewer than T + 1 tokens.
        TokenError: The tokens are not whole numbers [K].
        DataArgumentError: length or stride is under 1.

    Example:
        >>> windows = TokenWindows(np.arange(6), length=3, stride=2)
        >>> [(inputs.tolist(), targets.tolist()) for inputs, targets in windows]
        [([0, 1, 2], [1, 2, 3]), ([2, 3, 4], [3, 4, 5])]
    """

    def __init__(self, tokens: Any, length: int, stride: int) -> None:
        self.tokens = _checked(tokens, length)
        self.length = length
        self.stride = check_count("stride", stride, 1, "a whole number from 1 up")
        if len(self.tokens) <= length:
            raise EmptyDataError("tokens", f"at least {length + 1} tokens for a window", str(len(self.tokens)))

    def __len__(self) -> int:
        return (len(self.tokens) - 1 - self.length) // self.stride + 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"index: expected one in [0, {len(self) - 1}], got {index}")
        begin = index * self.stride
        return self.tokens[begin : begin + self.length], self.tokens[begin + 1 : begin + self.length + 1]

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The batch of the given windows: inputs and targets, int64 [N, T]."""
        places = np.asarray(indices)[:, None] * self.stride + np.arange(self.length)
        return self.tokens[places], self.tokens[places + 1]

    def __repr__(self) -> str:
        return f"TokenWindows({len(self)} windows of {self.length} tokens, every {self.stride})"


def judging_windows(tokens: Any, first: int, length: int, stride: int) -> ArrayDataset:
    """Windows to judge a model by: each token from place `first` on counts once, predicted from as much as there is.

    At least T - stride + 1 tokens are seen before each one that counts, where the text has so many.

    Args:
        tokens: Whole numbers [K]; those before `first` are there to be looked back on.
        first: Place of the first token to predict, from 1 up.
        length: Tokens of a window, T.
        stride: Tokens that count in a window, at most T.

    Returns:
        A data set of (inputs, targets), int64 [N, T] each; targets that do not count are -100.

    Raises:
        EmptyDataError: There is no token to predict.
        TokenError: The tokens are not whole numbers [K].
        DataArgumentError: A number is out of range.

    Example:
        >>> windows = judging_windows(np.arange(7), first=3, length=3, stride=2)
        >>> [(inputs.tolist(), targets.tolist()) for inputs, targets in windows]
        [([1, 2, 3], [-100, 3, 4]), ([3, 4, 5], [-100, 5, 6])]
    """
    numbers = _checked(tokens, length)
    check_count("first", first, 1, "a whole number from 1 up")
    if check_count("stride", stride, 1, "a whole number from 1 up") > length:
        raise DataArgumentError("stride", f"at most length, {length}", str(stride))
    if len(numbers) <= first:
        raise EmptyDataError("tokens", f"more than {first} tokens", str(len(numbers)))
    length = min(length, len(numbers) - 1)
    counted = np.arange(first, len(numbers), stride)[:, None]  # the first that counts in each window
    until = np.minimum(counted + stride, len(numbers))
    places = np.maximum(until - 1 - length, 0) + np.arange(length)
    targets = np.where((places + 1 >= counted) & (places + 1 < until), numbers[places + 1], IGNORED)
    return ArrayDataset(numbers[places], targets)
