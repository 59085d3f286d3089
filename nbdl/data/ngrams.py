r"""n-grams: how well counting alone predicts the next token. The baseline of every language model.

A bigram model looks at one token, a trigram model at two. Rare contexts say little, so what was counted after a
context $h$ is mixed with what the context without its first token, $h'$, predicts:

$$p(t \mid h) = \frac{c(h t) + u(h)\, p(t \mid h')}{c(h) + u(h)}$$

with $c$ the counts and $u(h)$ the number of different tokens seen after $h$: the more kinds of continuation a context
had, the likelier is another new one. At the bottom every token is as likely as every other.

Source: Witten and Bell (1991), "The Zero-Frequency Problem", method C, in the form of Chen and Goodman (1998), section
2.5.
"""

import math
from typing import Any

import numpy as np

from nbdl.data.errors import DataArgumentError, EmptyDataError, TokenError
from nbdl.data.order import check_count

NAMES = {1: "unigram", 2: "bigram", 3: "trigram"}


def ngram_name(order: int) -> str:
    """What a model of that order is called.

    Args:
        order: Tokens of an n-gram.

    Returns:
        "unigram", "bigram", "trigram", then "4gram" and so on.
    """
    return NAMES.get(order, f"{order}gram")


class NgramModel:
    """Predicts tokens from the order - 1 before them, by counts.

    Args:
        tokens: Training tokens, whole numbers [K].
        order: Tokens of an n-gram; 2 for a bigram model.
        size: Number of possible tokens.

    Raises:
        EmptyDataError: There are fewer tokens than an n-gram has.
        TokenError: A token is out of range.
        DataArgumentError: An order or a size under 1, or so large that contexts cannot be numbered.

    Example:
        >>> model = NgramModel([0, 1, 0, 1, 0, 2], order=2, size=3)
        >>> round(model.loss([0, 1, 0, 1]), 3)
        0.568
    """

    def __init__(self, tokens: Any, order: int, size: int) -> None:
        self.order = check_count("order", order, 1, "a whole number from 1 up")
        self.size = check_count("size", size, 1, "a whole number from 1 up")
        bits = math.log2(max(self.size, 2))
        if self.order * bits >= 63:  # codes of contexts are int64
            raise DataArgumentError("order", f"at most {math.ceil(63 / bits) - 1} for {size} tokens", str(order))
        self._tokens = _checked_tokens(tokens, self.size)
        if len(self._tokens) < self.order:
            raise EmptyDataError("tokens", f"at least {self.order}", str(len(self._tokens)))
        self._counts = [self._count(length) for length in range(self.order)]

    def _count(self, length: int) -> tuple[np.ndarray, ...]:
        """For contexts of that length: their codes, counts and kinds of continuation; n-grams' codes and counts."""
        contexts = _codes(self._tokens, length, self.size)
        grams, gram_counts = np.unique(contexts * self.size + self._tokens[length:], return_counts=True)
        known, counts = np.unique(contexts, return_counts=True)
        kinds = np.bincount(np.searchsorted(known, grams // self.size), minlength=len(known))
        return known, counts, kinds, grams, gram_counts

    def probabilities(self, tokens: Any) -> np.ndarray:
        """How likely each token was, given those before it in the training tokens and in this text, which continues
        them.

        Args:
            tokens: Whole numbers [K], in [0, size).

        Returns:
            float64 [K].

        Raises:
            TokenError: A token is out of range.
        """
        text = _checked_tokens(tokens, self.size)
        memory = self._tokens[len(self._tokens) - self.order + 1 :]
        joined = np.concatenate([memory, text])
        p = np.full(len(text), 1 / self.size)
        for length, (known, counts, kinds, grams, gram_counts) in enumerate(self._counts):
            contexts = _codes(joined[self.order - 1 - length :], length, self.size)
            seen = looked_up(contexts, known, counts)
            new = looked_up(contexts, known, kinds)
            together = looked_up(contexts * self.size + text, grams, gram_counts)
            p = np.where(seen > 0, (together + new * p) / np.maximum(seen + new, 1), p)
        return p

    def loss(self, tokens: Any) -> float:
        """The mean of $-\\log p$ over the tokens of a text.

        Args:
            tokens: Whole numbers [K], in [0, size), K at least 1.

        Returns:
            The mean, in nats a token.

        Raises:
            EmptyDataError: There is no token.
            TokenError: A token is out of range.
        """
        p = self.probabilities(tokens)
        if len(p) == 0:
            raise EmptyDataError("tokens", "at least one", "none")
        return float(-np.log(p).mean())

    def __repr__(self) -> str:
        return f"NgramModel({ngram_name(self.order)} of {self.size} tokens, {len(self._counts[-1][3]):,} counted)"


def _codes(tokens: np.ndarray, length: int, size: int) -> np.ndarray:
    """For each token after the first `length`, the number of the context of that length before it."""
    codes = np.zeros(len(tokens) - length, np.int64)
    for place in range(length):
        codes = codes * size + tokens[place : len(tokens) - length + place]
    return codes


def looked_up(codes: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value of each code, 0 for those that are not known."""
    if len(known) == 0:
        return np.zeros(len(codes), values.dtype)
    places = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    return np.where(known[places] == codes, values[places], 0)


def _checked_tokens(tokens: Any, size: int) -> np.ndarray:
    numbers = np.asarray(tokens)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise TokenError("tokens", "whole numbers [K]", f"{numbers.dtype}{list(numbers.shape)}")
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < size):
        wrong = numbers[(numbers < 0) | (numbers >= size)][0]
        raise TokenError("tokens", f"whole numbers from 0 to {size - 1}", str(wrong))
    return numbers.astype(np.int64)
