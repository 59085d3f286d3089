"""Hangul syllables and the jamo they are made of: 11,172 exact answers, nothing to download.

Unicode gives every syllable one code point, in dictionary order: first by the initial consonant (19 of them), then by
the vowel (21), then by the final consonant (27, or none). So the syllable with initial i, vowel v and final f is

    code point = 0xAC00 + (21 i + v) 28 + f,

and to name its jamo is to divide with remainders. `unicodedata.normalize("NFD", ...)` knows how.
"""

import unicodedata
from typing import Any

import numpy as np

from nbdl.data.dataset import ArrayDataset
from nbdl.data.errors import DataArgumentError, EmptyDataError, TokenError
from nbdl.data.order import check_seed, random_order

FIRST_SYLLABLE, LAST_SYLLABLE = "가", "힣"
HANGUL_SYLLABLES = "".join(map(chr, range(ord(FIRST_SYLLABLE), ord(LAST_SYLLABLE) + 1)))
"""All 11,172 syllables in the order of their code points."""

ORDERS = ("reading", "division")
BYTES_OF_A_SYLLABLE, LONGEST_DECOMPOSITION = 3, 3


class JamoTokenizer:
    """One id for each jamo, from 4 on; before them padding (0), begin (1) and end (2) of a sequence, and "none" (3).

    The jamo are those of Unicode's decomposition (NFD), which has an initial and a final form of a consonant.

    Args:
        order: "reading": the jamo of a syllable from the first to the last. "division": in the order in which dividing
            its number yields them, the remainder first: the final consonant, or none, then the vowel, then the initial.

    Raises:
        DataArgumentError: The order is another.

    Example:
        >>> tokenizer = JamoTokenizer()
        >>> tokenizer.encode("한글")
        array([22, 23, 47,  4, 41, 51])
        >>> tokenizer.decode(tokenizer.encode("한글"))
        '한글'
        >>> JamoTokenizer("division").encode("하")
        array([ 3, 23, 22])
    """

    padding, begin, end, none = 0, 1, 2, 3

    def __init__(self, order: str = "reading") -> None:
        if order not in ORDERS:
            raise DataArgumentError("order", f"one of {', '.join(ORDERS)}", repr(order))
        self.order = order
        self.jamo = tuple(sorted(set(unicodedata.normalize("NFD", HANGUL_SYLLABLES))))
        self._ids = {jamo: number for number, jamo in enumerate(self.jamo, self.none + 1)}

    @property
    def size(self) -> int:
        return self.none + 1 + len(self.jamo)

    def encode(self, text: str) -> np.ndarray:
        """The jamo of Hangul syllables, int64 [T].

        Raises:
            TokenError: A character is no Hangul syllable.
        """
        ids: list[int] = []
        for syllable in unicodedata.normalize("NFC", text):
            if not FIRST_SYLLABLE <= syllable <= LAST_SYLLABLE:
                raise TokenError("text", f"Hangul syllables, {FIRST_SYLLABLE} to {LAST_SYLLABLE}", repr(syllable))
            parts = [self._ids[jamo] for jamo in unicodedata.normalize("NFD", syllable)]
            if self.order == "division":
                parts = [*parts, self.none][2::-1]
            ids += parts
        return np.array(ids, dtype=np.int64)

    def decode(self, ids: Any) -> str:
        """The syllables that the jamo of ids [T] make up, until the first end.

        Raises:
            TokenError: An id is out of range.
        """
        parts: list[str] = []
        for number in np.asarray(ids).tolist():
            if number == self.end:
                break
            if not 0 <= number < self.size:
                raise TokenError("ids", f"ids from 0 to {self.size - 1}", str(number))
            if number >= self.none:
                parts.append("" if number == self.none else self.jamo[number - self.none - 1])
        if self.order == "division":
            parts = [jamo for first in range(0, len(parts), 3) for jamo in parts[first : first + 3][::-1]]
        return unicodedata.normalize("NFC", "".join(parts))

    def letters(self, ids: Any) -> str:
        """The jamo of ids [T] until the first end as letters that stand by themselves, for people.

        Raises:
            TokenError: An id is out of range.

        Example:
            >>> tokenizer = JamoTokenizer()
            >>> tokenizer.letters(tokenizer.encode("한글"))
            'ㅎㅏㄴㄱㅡㄹ'
        """
        # "HANGUL CHOSEONG HIEUH" joins its neighbours to a syllable, "HANGUL LETTER HIEUH" does not.
        names = (unicodedata.name(jamo).split(" ", 2)[2] for jamo in unicodedata.normalize("NFD", self.decode(ids)))
        return "".join(unicodedata.lookup(f"HANGUL LETTER {name}") for name in names)

    def __repr__(self) -> str:
        return f"JamoTokenizer({len(self.jamo)} jamo)"


def syllables_and_jamo(syllables: str, tokenizer: JamoTokenizer) -> ArrayDataset:
    """Syllables as the bytes of UTF-8, and their jamo as a decoder learns them.

    Args:
        syllables: Hangul syllables, N of them.
        tokenizer: Gives the ids of the jamo, in its order.

    Returns:
        Three int64 arrays: the bytes [N, 3]; what the decoder has seen before each of its answers, [N, 4], the
        beginning and then the jamo; and the answers, [N, 4], the jamo and then the end. Padding fills up what is
        shorter.

    Raises:
        EmptyDataError: There is no syllable.
        TokenError: A character is no Hangul syllable.

    Example:
        >>> sources, seen, answers = syllables_and_jamo("한하", JamoTokenizer()).arrays
        >>> sources
        array([[237, 149, 156],
               [237, 149, 152]])
        >>> answers
        array([[22, 23, 47,  2],
               [22, 23,  2,  0]])
    """
    if not syllables:
        raise EmptyDataError("syllables", "at least one syllable", "none")
    whole = np.full((len(syllables), LONGEST_DECOMPOSITION + 2), tokenizer.padding, np.int64)
    for row, syllable in zip(whole, syllables, strict=True):
        ids = tokenizer.encode(syllable)
        row[0], row[1 : 1 + len(ids)], row[1 + len(ids)] = tokenizer.begin, ids, tokenizer.end
    sources = np.frombuffer(syllables.encode(), np.uint8).reshape(-1, BYTES_OF_A_SYLLABLE).astype(np.int64)
    return ArrayDataset(sources, whole[:, :-1].copy(), whole[:, 1:].copy())


def split_syllables(test_share: float = 0.2, seed: int = 0) -> tuple[str, str]:
    """All Hangul syllables in two parts, at random but always the same.

    Args:
        test_share: Share of the second part, between 0 and 1.
        seed: Chooses the parts.

    Returns:
        The syllables to learn from and those to be tested on, in the order of their code points.

    Raises:
        DataArgumentError: The share lies outside (0, 1), or the seed is no whole number from 0 up.

    Example:
        >>> train, test = split_syllables()
        >>> len(train), len(test), test[:5]
        (8938, 2234, '가갂갉갋갑')
    """
    if isinstance(test_share, bool) or not 0 < test_share < 1:
        raise DataArgumentError("test_share", "a number between 0 and 1", repr(test_share))
    count = round(test_share * len(HANGUL_SYLLABLES))
    is_test = np.zeros(len(HANGUL_SYLLABLES), bool)
    is_test[random_order(len(HANGUL_SYLLABLES), check_seed(seed))[:count]] = True
    parts = [
        "".join(s for s, chosen in zip(HANGUL_SYLLABLES, is_test, strict=True) if chosen == wanted)
        for wanted in (False, True)
    ]
    return parts[0], parts[1]


def most_common_jamo(train: ArrayDataset, test: ArrayDataset) -> np.ndarray:
    """The answers of somebody who always names the jamo, or the end, that is the most common at its place.

    Args:
        train: What was learned from, as `syllables_and_jamo` makes it.
        test: What is asked for, N samples of the same kind.

    Returns:
        The answers, int64 [N, 4].
    """
    answers = train.arrays[2]
    likeliest = [np.bincount(column).argmax() for column in answers.T]
    return np.broadcast_to(likeliest, test.arrays[2].shape)


def nearest_syllable(train: ArrayDataset, test: ArrayDataset) -> np.ndarray:
    """The answers for the syllable of the training part with the nearest code point; of two, the lower.

    Args:
        train: What was learned from, as `syllables_and_jamo` makes it, at least 2 samples.
        test: What is asked for, N samples of the same kind.

    Returns:
        The answers, int64 [N, 4].
    """
    known, asked = (_code_points(part.arrays[0]) for part in (train, test))
    order = np.argsort(known)
    after = np.searchsorted(known[order], asked).clip(1, len(known) - 1)
    below, above = order[after - 1], order[after]
    nearest = np.where(asked - known[below] <= known[above] - asked, below, above)
    return train.arrays[2][nearest]


def _code_points(sources: np.ndarray) -> np.ndarray:
    """[N, 3] bytes of UTF-8 to [N] code points."""
    return ((sources[:, 0] & 0x0F) << 12) | ((sources[:, 1] & 0x3F) << 6) | (sources[:, 2] & 0x3F)
