r"""Masked tokens: the task that teaches an encoder from text alone, and how well counting does at it.

Some tokens of a text are hidden and have to be told from those around them. BERT's rule for what stands at a chosen
place: in 8 of 10 cases [MASK], in 1 a token drawn at random, in 1 the token itself. So the network cannot rely on a
token that it sees being right, and looks at the others everywhere.

Source: Devlin, Chang, Lee and Toutanova (2019), "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", section 3.1 and appendix A.1.
"""

import math
import numbers
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nbdl.data.dataset import ArrayDataset
from nbdl.data.errors import DataArgumentError, EmptyDataError, TokenError
from nbdl.data.loader import DataLoader
from nbdl.data.ngrams import looked_up
from nbdl.data.order import RandomStream, check_count

MASKED, DRAWN = 0.8, 0.1  # the rest stays as it is


def framed_windows(texts: Sequence[np.ndarray], length: int, first: int, between: int) -> np.ndarray:
    """Texts one after the other, cut into windows of one length.

    Args:
        texts: Tokens [T_n] each.
        length: Tokens of a window, T, at least 2.
        first: The token that each window begins with, such as [CLS].
        between: The token after each text, such as [SEP].

    Returns:
        int64 [W, T]; what is left at the end is left out.

    Raises:
        EmptyDataError: The texts do not fill one window.
        DataArgumentError: length is under 2.

    Example:
        >>> framed_windows([np.array([5, 6, 7]), np.array([8, 9])], length=4, first=0, between=1)
        array([[0, 5, 6, 7],
               [0, 1, 8, 9]])
    """
    check_count("length", length, 2, "a whole number from 2 up")
    joined = np.concatenate([np.append(text, between) for text in texts] or [np.zeros(0)]).astype(np.int64)
    count = len(joined) // (length - 1)
    if count == 0:
        raise EmptyDataError("texts", f"at least {length - 1} tokens", str(len(joined)))
    windows = np.full((count, length), first, np.int64)
    windows[:, 1:] = joined[: count * (length - 1)].reshape(count, length - 1)
    return windows


def mask_tokens(
    windows: np.ndarray,
    share: float,
    stream: RandomStream,
    mask: int,
    size: int,
    special: int,
    always: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hides tokens of windows, so many of each.

    Args:
        windows: int64 [W, T].
        share: How many of the tokens to choose, in (0, 1).
        stream: Chooses them.
        mask: The id of [MASK].
        size: Number of ids.
        special: Ids under this one are special, and neither hidden nor drawn.
        always: Put [MASK] at all chosen places, as one who asks does; otherwise follow BERT's rule.

    Returns:
        The windows with what stands there instead, int64 [W, T]; the chosen places, counted row by row in ascending
        order, int64 [K]; and the tokens that stood there, int64 [K]. Windows that have fewer ordinary tokens than are
        to be chosen give all of these.

    Raises:
        DataArgumentError: share is out of range.
    """
    _check_share(share)
    count, length = windows.shape
    draws = stream.uniform(0.0, 1.0, windows.size).reshape(windows.shape)
    draws[windows < special] = 2.0  # comes last
    wanted = max(1, round(share * (length - 1)))
    chosen = np.sort(np.argpartition(draws, wanted - 1, axis=1)[:, :wanted], axis=1)
    places = (chosen + np.arange(count)[:, None] * length).reshape(-1)
    places = places[windows.reshape(-1)[places] >= special]
    shown = windows.copy()
    flat = shown.reshape(-1)
    targets = flat[places]
    fate = stream.uniform(0.0, 1.0, len(places))
    drawn = stream.integers(special, size - 1, len(places))
    if always:
        flat[places] = mask
    else:
        flat[places] = np.where(fate < MASKED, mask, np.where(fate < MASKED + DRAWN, drawn, targets))
    return shown, places, targets


def _check_share(share: Any) -> None:
    if isinstance(share, bool) or not isinstance(share, numbers.Real) or not 0 < float(share) < 1:
        raise DataArgumentError("share", "a number between 0 and 1", repr(share))


class MaskingLoader:
    """Batches of windows with hidden tokens: (tokens [N, T], places [K], targets [K]), others every epoch.

    Args:
        windows: int64 [W, T].
        batch_size: Windows a batch.
        share: How many of the tokens to hide.
        mask: The id of [MASK].
        size: Number of ids.
        special: Ids under this one are special.
        seed: Chooses the order, and what is hidden.
        always: As for `mask_tokens`; the same tokens every epoch, and no shuffling: for a test.

    Raises:
        EmptyDataError: There is no window.
        DataArgumentError: A number is out of range.
    """

    def __init__(
        self,
        windows: np.ndarray,
        batch_size: int,
        share: float,
        mask: int,
        size: int,
        special: int,
        seed: int = 0,
        always: bool = False,
    ) -> None:
        if np.ndim(windows) != 2:
            raise DataArgumentError("windows", "an array of two dimensions", f"{np.ndim(windows)} of them")
        for name, value in (("mask", mask), ("size", size), ("special", special)):
            check_count(name, value, 0, "a whole number from 0 up")
        _check_share(share)
        self._order = DataLoader(ArrayDataset(windows), batch_size, shuffle=not always, seed=seed)
        self.share, self.mask, self.size, self.special, self.always = share, mask, size, special, always

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._order)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for (windows,) in self._order:
            place = self._order.state_dict()  # after this batch; one place is as good as another
            epoch = 0 if self.always else int(place["epoch"])
            stream = RandomStream(self._order.seed, 2**32 + epoch, int(place["batch"]))
            yield mask_tokens(windows, self.share, stream, self.mask, self.size, self.special, self.always)

    def state_dict(self) -> dict[str, int | bool]:
        """The place in the order."""
        return self._order.state_dict()

    def load_state_dict(self, state: dict[str, int | bool]) -> None:
        """Goes to a place that `state_dict` named.

        Raises:
            DataArgumentError: The state is of another order.
        """
        self._order.load_state_dict(state)

    def __repr__(self) -> str:
        return f"MaskingLoader({self._order!r}, {self.share:g} hidden)"


class ClozeModel:
    r"""Tells hidden tokens by counts of what stood between their neighbours: n-grams for both sides.

    It counts tokens, tokens after one neighbour, tokens between two, and so on to `reach` on both sides. What was
    counted in a context $h$ is mixed with what the next smaller one, $h'$, says, as in `NgramModel`:

    $$p(t \mid h) = \frac{c(h, t) + u(h)\, p(t \mid h')}{c(h) + u(h)}$$

    A context with a hidden token in it, or beyond the window's edge, or never seen, is passed over.

    Args:
        windows: Windows to count in, int64 [W, T].
        size: Number of possible tokens.
        reach: Neighbours on each side; 0 counts tokens alone.

    Raises:
        TokenError: A token is out of range.
        DataArgumentError: reach is under 0, or so large that contexts cannot be numbered.

    Example:
        >>> windows = np.array([[0, 1, 2, 0, 1, 2, 0, 1, 2]])
        >>> model = ClozeModel(windows, size=4, reach=1)
        >>> model.probabilities(np.array([[0, 3, 2]]), np.array([1]), np.array([1]), mask=3).round(2)
        array([0.96])
    """

    def __init__(self, windows: np.ndarray, size: int, reach: int) -> None:
        self.size = check_count("size", size, 1, "a whole number from 1 up")
        self.reach = check_count("reach", reach, 0, "a whole number from 0 up")
        if (2 * self.reach + 1) * math.log2(max(self.size, 2)) >= 63:  # codes of contexts are int64
            raise DataArgumentError("reach", f"contexts of under 2**63 kinds of {size} tokens", str(reach))
        if windows.size and not (windows.min() >= 0 and windows.max() < size):
            raise TokenError("windows", f"whole numbers from 0 to {size - 1}", "others")
        self._contexts = [()] + [
            tuple(range(-left, 0)) + tuple(range(1, right + 1))
            for distance in range(1, reach + 1)
            for left, right in ((distance, distance - 1), (distance, distance))
        ]
        self._counts = [self._count(windows, context) for context in self._contexts]

    def _count(self, windows: np.ndarray, context: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        """The contexts' codes, counts and kinds of tokens in them; and codes and counts with the token."""
        reach = max((abs(offset) for offset in context), default=0)
        length = windows.shape[1]
        codes = np.zeros((len(windows), max(length - 2 * reach, 0)), np.int64)
        for offset in context:
            codes = codes * self.size + windows[:, reach + offset : length - reach + offset]
        together = codes * self.size + windows[:, reach : length - reach]
        grams, gram_counts = np.unique(together, return_counts=True)
        known, counts = np.unique(codes, return_counts=True)
        kinds = np.bincount(np.searchsorted(known, grams // self.size), minlength=len(known))
        return known, counts, kinds, grams, gram_counts

    def probabilities(self, shown: np.ndarray, places: np.ndarray, targets: np.ndarray, mask: int) -> np.ndarray:
        """How likely the hidden tokens were, float64 [K].

        Args:
            shown: The windows as they are shown, [W, T].
            places: Hidden places, counted row by row, [K].
            targets: The tokens that stood there, [K].
            mask: The id of [MASK].
        """
        rows, columns = np.divmod(places, shown.shape[1])
        p = np.full(len(places), 1 / self.size)
        for context, (known, counts, kinds, grams, gram_counts) in zip(self._contexts, self._counts, strict=True):
            codes = np.zeros(len(places), np.int64)
            usable = np.ones(len(places), bool)
            for offset in context:
                beside = columns + offset
                inside = (beside >= 0) & (beside < shown.shape[1])
                token = shown[rows, np.where(inside, beside, 0)]
                usable &= inside & (token != mask)
                codes = codes * self.size + token
            seen = looked_up(codes, known, counts)
            new = looked_up(codes, known, kinds)
            together = looked_up(codes * self.size + targets, grams, gram_counts)
            p = np.where(usable & (seen > 0), (together + new * p) / np.maximum(seen + new, 1), p)
        return p

    def __repr__(self) -> str:
        return f"ClozeModel({self.reach} tokens on each side, {self.size} tokens)"
