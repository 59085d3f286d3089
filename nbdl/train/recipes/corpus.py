"""What recipes of language models share: a text cut into parts, its tokens, and what counting alone makes of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbdl import data
from nbdl.train.recipes.registry import Option, choice, text, whole

BASELINES = (5, 3, 2)  # orders of n-grams
PROMPT_LENGTH, SAMPLE_LENGTH, SAMPLE_TEMPERATURE = 100, 1000, 0.7


def corpus_options() -> tuple[Option, ...]:
    """The options that say which text is read, and as what tokens."""
    return (
        Option("data", text, "topics", "topics (Python's help), shakespeare, or a UTF-8 file", "NAME|FILE"),
        Option("root", text, None, "folder that holds Shakespeare; default: NBDL_DATA, else a download", "FOLDER"),
        Option(
            "tokens",
            choice("characters", "bytes", "bpe"),
            "characters",
            "what is read: characters, bytes or bpe",
            "NAME",
        ),
        Option("vocabulary", whole(256), 2048, "tokens that bpe learns", "N"),
    )


@dataclass
class Corpus:
    """A text: its first 85 % to learn from, the next 5 % to watch, the last 10 % for one test.

    Attributes:
        name: As given.
        tokenizer: Makes tokens of characters.
        train, validation, test: The tokens of each part.
        fingerprint: Digest of the text.
        tokens_per_character: Of the test part.
        prompt: What comes before the test part, to go on with.
    """

    name: str
    tokenizer: data.Tokenizer
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    fingerprint: str
    tokens_per_character: float
    prompt: str

    @classmethod
    def read(cls, name: str, options: dict[str, Any]) -> Corpus:
        """The text of that name, read as the options say."""
        whole_text = data.corpus(name, options["root"])
        test_from = len(whole_text) * 9 // 10
        validation_from = test_from - len(whole_text) // 20
        parts = whole_text[:validation_from], whole_text[validation_from:test_from], whole_text[test_from:]
        tokenizer: data.Tokenizer
        if options["tokens"] == "bytes":
            tokenizer = data.ByteTokenizer()
        elif options["tokens"] == "bpe":  # learned from what the network learns from
            tokenizer = data.BpeTokenizer.train(parts[0], options["vocabulary"])
        else:
            tokenizer = data.CharacterTokenizer.of(whole_text)
        train, validation, test = (tokenizer.encode(part) for part in parts)
        return cls(
            name,
            tokenizer,
            train,
            validation,
            test,
            hashlib.sha256(whole_text.encode()).hexdigest(),
            len(test) / max(len(parts[2]), 1),
            whole_text[max(test_from - PROMPT_LENGTH, 0) : test_from],
        )

    def counted_losses(self, tokens: np.ndarray, before: np.ndarray) -> dict[str, float]:
        """What n-grams that have counted all before some tokens lose on these, in nats a token, by their names."""
        return {
            data.ngram_name(order): data.NgramModel(before, order, self.tokenizer.size).loss(tokens)
            for order in BASELINES
            if self.tokenizer.size**order < 2**63
        }

    def metrics(self, loss: float) -> dict[str, float]:
        """The test's numbers, in nats a character: a model's, whose loss is in nats a token, and the n-grams'."""
        before = np.concatenate([self.train, self.validation])
        losses = {"test": loss, **self.counted_losses(self.test, before)}
        return {f"{name}_nats_per_character": value * self.tokens_per_character for name, value in losses.items()}

    def describe(self) -> str:
        """The sizes of the parts."""
        parts = (("train", self.train), ("validate", self.validation), ("test", self.test))
        places = ", ".join(f"{len(tokens):,} to {purpose}" for purpose, tokens in parts)
        return f"{self.name}: {places}; {self.tokenizer.size:,} different tokens"
