r"""Choosing the next token from a language model's scores.

Temperature divides the scores, $p_i \propto e^{z_i / \tau}$: under 1 it prefers what is likely, and 0 takes the
likeliest. Of the rest, top-k keeps the k likeliest, and top-p the fewest whose chances reach p together.

Sources: Fan, Lewis and Dauphin (2018), "Hierarchical Neural Story Generation" (top-k); Holtzman et al. (2020), "The
Curious Case of Neural Text Degeneration" (top-p).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.ops.creation import multinomial
from nbdl.runtime.checks import check_int, check_number
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError
from nbdl.runtime.philox import Generator


class Decoder(Protocol):
    """Anything that turns ids into text: a tokenizer of `nbdl.data`."""

    def decode(self, ids: Any) -> str: ...


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: Under 1 prefers what is likely, 0 always takes the likeliest.
        top_k: Choose among so many of the likeliest, and what is as likely as the last of them; all when None.
        top_p: Choose among the fewest likeliest whose chances reach this together; all when None or 1.

    Raises:
        ArgumentError: A number out of range.
        ArgumentTypeError: One is no number.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, 0)
        if self.top_k is not None:
            check_int("top_k", self.top_k, 1)
        if self.top_p is not None:
            check_number("top_p", self.top_p, 0, 1, open_low=True)

    def choose(self, scores: Tensor, generator: Generator) -> np.ndarray:
        """A token for each row of scores [B, V]: int64 [B]."""
        if self.temperature == 0:
            return np.asarray(scores._array.argmax(1) if scores.is_cpu else scores.argmax(1).to("cpu"))
        chances = ops.softmax(self.filtered(scores), -1)
        return np.asarray(multinomial(chances, 1, generator=generator).to("cpu"))[:, 0]

    def filtered(self, scores: Tensor) -> Tensor:
        """The scores [B, V] over the temperature, those left out replaced by minus infinity."""
        if self.temperature != 1:
            scores = scores / self.temperature
        if self.top_k is not None and self.top_k < scores.shape[1]:
            least = ops.topk(scores, self.top_k, -1).values[:, -1:]
            scores = ops.masked_fill(scores, scores < least, -math.inf)
        if self.top_p is not None and self.top_p < 1:
            ordered, places = ops.sort(scores, -1)
            unlikely = ops.cumsum(ops.softmax(ordered, -1), -1) <= 1 - self.top_p
            unlikely[:, -1] = False
            scores = ops.masked_fill(scores, ops.scatter(unlikely, 1, places, unlikely), -math.inf)
        return scores


class Stop:
    """Tells when a text is finished: at a token, or when its new part contains a string.

    Args:
        stop: Token ids, or strings where there is a tokenizer, one or several.
        tokenizer: Turns tokens into text.

    Raises:
        ArgumentError: A string without a tokenizer, or an empty one.
        ArgumentTypeError: Something else.
    """

    def __init__(self, stop: Any = None, tokenizer: Decoder | None = None) -> None:
        several = isinstance(stop, (list, tuple, set, frozenset, np.ndarray))
        listed = tuple(stop) if several else () if stop is None else (stop,)
        self.tokens: set[int] = set()
        self.strings: list[str] = []
        self.tokenizer = tokenizer
        for entry in listed:
            if isinstance(entry, str):
                if not entry:
                    raise ArgumentError("stop: expected token ids or strings that are not empty, got ''")
                self.strings.append(entry)
            elif isinstance(entry, (int, np.integer)) and not isinstance(entry, bool):
                self.tokens.add(int(entry))
            else:
                raise ArgumentTypeError(f"stop: expected token ids or strings, got {type(entry).__name__}")
        if self.strings and tokenizer is None:
            raise ArgumentError("tokenizer: expected one, to look for strings, got None")
        self._longest = max((len(string.encode()) for string in self.strings), default=0)  # a token is a byte or more

    def __bool__(self) -> bool:
        return bool(self.tokens or self.strings)

    def ends(self, new: Sequence[int]) -> bool:
        """Whether the last of the new tokens finishes the text."""
        if new[-1] in self.tokens:
            return True
        if not self.strings or self.tokenizer is None:
            return False
        text = self.tokenizer.decode(np.asarray(new[-self._longest :], np.int64))
        return any(string in text for string in self.strings)
