"""Text: tokenizers that turn it into whole numbers and back, and corpora to learn from.

A tokenizer has `size`, the number of its ids, `encode` from text to int64 [T], and `decode` back.

    CharacterTokenizer   one id a character that occurs; short and clear, helpless before a new character
    ByteTokenizer        one id a byte of UTF-8: 256 of them for every text there is; a Hangul syllable takes three
    BpeTokenizer         byte pairs merged again and again: frequent words become one id
    JsonTokenizer        that of a published model, from its tokenizer.json
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from nbdl.data.download import cache_folder, download
from nbdl.data.errors import DataArgumentError, DataFileError, EmptyDataError, MissingPackageError, TokenError

LARGEST_TEXT = 2**30
BYTES = 256
SHAKESPEARE_ADDRESS = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


class Tokenizer(Protocol):
    """Anything that turns text into ids and back."""

    @property
    def size(self) -> int:
        """How many ids there are: from 0 to one less than this."""
        ...

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text, int64 [T]."""
        ...

    def decode(self, ids: Any) -> str:
        """The text of ids [T]."""
        ...

    def description(self) -> dict[str, Any]:
        """What `tokenizer_from` makes the same tokenizer of, to be kept beside the weights."""
        ...


# ---------------------------------------------------------------- tokenizers


class CharacterTokenizer:
    """One id a character.

    Args:
        symbols: The characters; their places are their ids.

    Raises:
        EmptyDataError: There is no symbol.
        DataArgumentError: A symbol is no single character, or comes twice.

    Example:
        >>> tokenizer = CharacterTokenizer.of("banana")
        >>> tokenizer.encode("nab")
        array([2, 0, 1])
        >>> tokenizer.decode([1, 0, 2])
        'ban'
    """

    def __init__(self, symbols: Iterable[str]) -> None:
        self.symbols = tuple(symbols)
        if not self.symbols:
            raise EmptyDataError("symbols", "at least one character", "none")
        if any(not isinstance(symbol, str) or len(symbol) != 1 for symbol in self.symbols):
            wrong = next(symbol for symbol in self.symbols if not isinstance(symbol, str) or len(symbol) != 1)
            raise DataArgumentError("symbols", "single characters", repr(wrong))
        if len(set(self.symbols)) < len(self.symbols):
            raise DataArgumentError("symbols", "every character once", "one of them twice")
        points = np.array([ord(symbol) for symbol in self.symbols])
        self._order = np.argsort(points)
        self._points = points[self._order]

    @classmethod
    def of(cls, text: str) -> "CharacterTokenizer":
        """The tokenizer of the characters that occur in a text, in the order of their code points.

        Args:
            text: At least one character.

        Returns:
            The tokenizer.

        Raises:
            EmptyDataError: The text is empty.
        """
        if not text:
            raise EmptyDataError("text", "at least one character", "none")
        return cls(sorted(set(text)))

    @property
    def size(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text, int64 [T].

        Raises:
            TokenError: A character is none of the symbols.
        """
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
        places = np.minimum(np.searchsorted(self._points, points), self.size - 1)
        unknown = np.flatnonzero(self._points[places] != points)
        if unknown.size:
            place = int(unknown[0])
            raise TokenError("text", f"characters among the {self.size} known", f"{text[place]!r} at place {place}")
        return self._order[places].astype(np.int64)

    def decode(self, ids: Any) -> str:
        """The text of ids [T].

        Raises:
            TokenError: An id is out of range.
        """
        return "".join([self.symbols[i] for i in _checked_ids(ids, self.size)])

    def description(self) -> dict[str, Any]:
        return {"kind": "characters", "symbols": "".join(self.symbols)}

    def __repr__(self) -> str:
        return f"CharacterTokenizer({self.size} symbols)"


class ByteTokenizer:
    """One id a byte of UTF-8.

    Example:
        >>> ByteTokenizer().encode("é")
        array([195, 169])
    """

    size = BYTES

    def encode(self, text: str) -> np.ndarray:
        """The bytes of a text, int64 [T].

        Raises:
            TokenError: The text holds half a surrogate pair, which UTF-8 cannot express.
        """
        try:
            return np.frombuffer(text.encode(), np.uint8).astype(np.int64)
        except UnicodeEncodeError as error:
            raise TokenError("text", "characters that UTF-8 can express", f"{text[error.start]!r}") from None

    def decode(self, ids: Any) -> str:
        """The text of bytes [T]; what is no UTF-8 becomes the replacement character.

        Raises:
            TokenError: An id is out of range.
        """
        return bytes(_checked_ids(ids, BYTES)).decode(errors="replace")

    def description(self) -> dict[str, Any]:
        return {"kind": "bytes"}

    def __repr__(self) -> str:
        return "ByteTokenizer()"


@contextmanager
def _named(name: str, expected: str) -> Iterator[None]:
    """Errors of the `tokenizers` package by a name: plain Exceptions, and panics of its Rust code, which are none."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise DataFileError(name, expected, str(error)) from None


class JsonTokenizer:
    """A tokenizer of the `tokenizers` package, from its JSON text: the tokenizer.json of a published model.

    Args:
        model: The JSON text.

    Raises:
        MissingPackageError: `tokenizers` is not installed.
        DataFileError: The text describes no tokenizer.
    """

    def __init__(self, model: str) -> None:
        package = _tokenizers()
        with _named("model", "the JSON text of a tokenizer"):
            self._tokenizer = package.Tokenizer.from_str(model)

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return max(self._tokenizer.get_vocab().values(), default=-1) + 1

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text, int64 [T], with those that the tokenizer puts around it."""
        with _named("text", "one that the tokenizer can encode"):
            return np.array(self._tokenizer.encode(text).ids, dtype=np.int64)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of several texts, int64 [T] each, encoded side by side."""
        with _named("texts", "those that the tokenizer can encode"):
            return [np.array(encoding.ids, dtype=np.int64) for encoding in self._tokenizer.encode_batch(list(texts))]

    def decode(self, ids: Any) -> str:
        """The text of ids [T], without special tokens.

        Raises:
            TokenError: An id is out of range.
        """
        return str(self._tokenizer.decode(_checked_ids(ids, self.size)))

    def id_of(self, token: str) -> int:
        """The id of a token, such as "[MASK]".

        Raises:
            TokenError: There is no such token.
        """
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise TokenError("token", "one of the tokenizer's tokens", repr(token))
        return int(found)

    def description(self) -> dict[str, Any]:
        return {"kind": "json", "model": self.to_json()}

    def to_json(self) -> str:
        """The tokenizer as JSON text."""
        return str(self._tokenizer.to_str())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size} tokens)"


class BpeTokenizer(JsonTokenizer):
    """Byte-pair encoding by the `tokenizers` package: begins with bytes and merges the most frequent pair, again and
    again. It can encode every text.

    Args:
        model: The JSON text of a tokenizer of that package.

    Raises:
        MissingPackageError: `tokenizers` is not installed.
        DataFileError: The text describes no tokenizer.

    Source:
        Sennrich, Haddow and Birch (2016), "Neural Machine Translation of Rare Words with Subword Units".
    """

    @classmethod
    def train(cls, text: str, size: int, special: Sequence[str] = ()) -> Self:
        """Learns merges from a text until there are `size` ids.

        Args:
            text: What to learn from.
            size: Number of ids.
            special: Tokens that stand for no text, such as "[MASK]": the first ids. Written out in a text they are
                found there, and take the blanks before them along.

        Returns:
            The tokenizer.

        Raises:
            EmptyDataError: The text is empty.
            DataArgumentError: A size under the number of bytes, 256, and of special tokens together.
        """
        if not text:
            raise EmptyDataError("text", "at least one character", "none")
        fewest = BYTES + len(special)
        if isinstance(size, bool) or not isinstance(size, int) or size < fewest:
            raise DataArgumentError("size", f"a whole number from {fewest} up", repr(size))
        package = _tokenizers()
        tokenizer = package.Tokenizer(package.models.BPE())
        tokenizer.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = package.decoders.ByteLevel()
        trainer = package.trainers.BpeTrainer(
            vocab_size=size,
            initial_alphabet=package.pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=[package.AddedToken(token, lstrip=True, special=True) for token in special],
            show_progress=False,
        )
        tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
        return cls(tokenizer.to_str())

    def description(self) -> dict[str, Any]:
        return {"kind": "bpe", "model": self.to_json()}


def tokenizer_from(description: dict[str, Any]) -> Tokenizer:
    """The tokenizer that `description()` described.

    Args:
        description: What a tokenizer's `description()` gave, for example read back by `nbdl.load`.

    Returns:
        A tokenizer with the same ids.

    Raises:
        DataFileError: The description is of none.
    """
    kind = description.get("kind") if isinstance(description, dict) else None
    if kind == "characters" and isinstance(description.get("symbols"), str):
        return CharacterTokenizer(description["symbols"])
    if kind == "bytes":
        return ByteTokenizer()
    if kind == "bpe" and isinstance(description.get("model"), str):
        return BpeTokenizer(description["model"])
    if kind == "json" and isinstance(description.get("model"), str):
        return JsonTokenizer(description["model"])
    raise DataFileError("tokenizer", "the description of characters, bytes, bpe or json", json.dumps(kind))


def _tokenizers() -> Any:
    if find_spec("tokenizers") is None:
        raise MissingPackageError("tokenizer", "tokenizers (pip install 'nbdl[text]')", "no such package")
    return import_module("tokenizers")


def _checked_ids(ids: Any, size: int) -> list[int]:
    numbers = np.asarray(ids)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise TokenError("ids", "whole numbers [T]", f"{numbers.dtype}{list(numbers.shape)}")
    outside = numbers[(numbers < 0) | (numbers >= size)]
    if outside.size:
        raise TokenError("ids", f"whole numbers from 0 to {size - 1}", str(outside[0]))
    return [int(number) for number in numbers]


# ---------------------------------------------------------------- corpora


def python_topics() -> str:
    """The help on Python's language topics, from its standard library.

    Returns:
        The text: 465,048 characters in Python 3.11, others in other versions.
    """
    topics = import_module("pydoc_data.topics").topics
    return "\n".join(topics.values())


def tiny_shakespeare(root: str | Path | None = None) -> str:
    """Plays of Shakespeare: 1,115,394 characters.

    The file comes from `root`, or from the folder that the environment variable NBDL_DATA names; without either it is
    downloaded once into the user's cache folder and checked by SHA-256.

    Args:
        root: A folder that holds input.txt, directly or in tinyshakespeare/.

    Returns:
        The text.

    Raises:
        DataFileError: The file is not in the folder or cannot be read.
        ChecksumError, DownloadError: As for `nbdl.data.download`.

    Source:
        Karpathy (2015), "The Unreasonable Effectiveness of Recurrent Neural Networks".
    """
    named = root or os.environ.get("NBDL_DATA")
    if named:
        for path in (Path(named, "tinyshakespeare", "input.txt"), Path(named, "input.txt")):
            if path.is_file():
                return read_text(path)
        raise DataFileError(str(named), "tinyshakespeare/input.txt in it", "no such file")
    path = cache_folder() / "tinyshakespeare" / "input.txt"
    return read_text(download(SHAKESPEARE_ADDRESS, path, SHAKESPEARE_SHA256, 2_000_000))


def read_text(path: str | Path, largest: int = LARGEST_TEXT) -> str:
    """The text of a UTF-8 file.

    Args:
        path: The file.
        largest: Bytes that it may have. Default: 1 GiB.

    Returns:
        The text, its lines ended by a line feed whatever the file ends them by.

    Raises:
        DataFileError: The file is missing, unreadable, larger than `largest` bytes, or no UTF-8.
        EmptyDataError: It is empty.
    """
    try:
        size = Path(path).stat().st_size
        if size > largest:
            raise DataFileError(str(path), f"at most {largest:,} bytes", f"{size:,}")
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataFileError(str(path), "a text file", (error.strerror or str(error)).lower()) from None
    except UnicodeDecodeError as error:
        raise DataFileError(
            str(path), "UTF-8 text", f"byte {error.object[error.start]:#04x} at {error.start}"
        ) from None
    if not text.strip():
        raise EmptyDataError(str(path), "a text", "nothing but white space" if text else "an empty file")
    return text.replace("\r\n", "\n")


def corpus(name: str, root: str | Path | None = None) -> str:
    """A text by name.

    Args:
        name: "topics" (Python's help), "shakespeare", or the path of a UTF-8 file.
        root: A folder that holds Shakespeare; see `tiny_shakespeare`.

    Returns:
        The text.

    Raises:
        DataFileError, EmptyDataError: As for `read_text` and `tiny_shakespeare`.

    Example:
        >>> corpus("topics")[:25]
        'The "assert" statement\\n**'
    """
    if name == "topics":
        return python_topics()
    return tiny_shakespeare(root) if name == "shakespeare" else read_text(name)
