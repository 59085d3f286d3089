"""A long text read by several eyes at once: windows for truncated backpropagation through time.

The tokens are cut into B stretches of equal length, and each batch holds the next T tokens of all of them. What a
recurrent network remembers at the end of a window it can go on with in the next, because row b of every batch
continues row b of the one before; only gradients stop at the window's edge.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from nbdl.data.errors import DataArgumentError, EmptyDataError, TokenError
from nbdl.data.order import check_count


class StreamLoader:
    """Iterates over tokens in windows. Every `for` loop over it is one epoch, from the beginning of the stretches.

    A window is (first, inputs, targets): whether it is the first one, where memory begins anew; int64 [B, T] tokens;
    and int64 [B, T], the tokens one place further on.

    Args:
        tokens: Whole numbers [K]; the last K - 1 are predicted from what comes before each. So that the stretches
            have one length, up to B - 1 tokens at the end are left out.
        batch_size: Stretches read side by side, B.
        steps: Tokens of a window, T. The last window may be shorter.

    Raises:
        EmptyDataError: There are too few tokens for B stretches.
        TokenError: The tokens are not whole numbers [K].
        DataArgumentError: batch_size or steps is under 1.

    Example:
        >>> loader = StreamLoader(np.arange(9), batch_size=2, steps=3)
        >>> for first, inputs, targets in loader:
        ...     print(first, inputs.tolist(), targets.tolist())
        True [[0, 1, 2], [4, 5, 6]] [[1, 2, 3], [5, 6, 7]]
        False [[3], [7]] [[4], [8]]
    """

    def __init__(self, tokens: Any, batch_size: int, steps: int) -> None:
        self.tokens = np.asarray(tokens)
        if self.tokens.ndim != 1 or (self.tokens.size and self.tokens.dtype.kind not in "iu"):
            raise TokenError("tokens", "whole numbers [K]", f"{self.tokens.dtype}{list(self.tokens.shape)}")
        self.batch_size = check_count("batch_size", batch_size, 1, "a whole number from 1 up")
        self.steps = check_count("steps", steps, 1, "a whole number from 1 up")
        self.length = (len(self.tokens) - 1) // self.batch_size
        if self.length < 1:
            raise EmptyDataError(
                "tokens",
                f"at least {self.batch_size + 1} tokens for {self.batch_size} stretches",
                str(len(self.tokens)),
            )
        used = self.tokens[: self.batch_size * self.length + 1].astype(np.int64)
        self._inputs = used[:-1].reshape(self.batch_size, self.length)
        self._targets = used[1:].reshape(self.batch_size, self.length)
        self._window = 0  # the next one
        self._continue = False  # the next loop goes on from there instead of from the beginning

    def __len__(self) -> int:
        """Windows an epoch."""
        return -(-self.length // self.steps)

    def __iter__(self) -> Iterator[tuple[bool, np.ndarray, np.ndarray]]:
        if not self._continue:
            self._window = 0
        self._continue = False
        while self._window < len(self):
            begin = self._window * self.steps
            part = slice(begin, begin + self.steps)
            self._window += 1
            yield begin == 0, self._inputs[:, part], self._targets[:, part]

    def state_dict(self) -> dict[str, int]:
        """The place in the stream, and what it depends on."""
        return {
            "window": self._window % len(self),
            "tokens": len(self.tokens),
            "batch_size": self.batch_size,
            "steps": self.steps,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes to a place that `state_dict` named: the next loop begins with that window.

        Raises:
            DataArgumentError: The state is of another stream.
        """
        own = self.state_dict()
        for name in ("tokens", "batch_size", "steps"):
            if state.get(name) != own[name]:
                raise DataArgumentError(name, f"{state.get(name)} as in the saved place", str(own[name]))
        self._window = check_count("window", state["window"], 0, "a whole number from 0 up")
        self._continue = True

    def __repr__(self) -> str:
        return f"StreamLoader({len(self.tokens):,} tokens, {self.batch_size} x {self.steps} a window)"
