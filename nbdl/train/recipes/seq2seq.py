"""Recipes of sequences that become other sequences: Hangul syllables are taken apart into their jamo."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

from nbdl import data, models, nn, optim
from nbdl.autograd import Tensor
from nbdl.data import jamo
from nbdl.data.order import random_order
from nbdl.runtime.errors import ArgumentError
from nbdl.train.checkpoint import CheckpointFolder
from nbdl.train.errors import CheckpointError
from nbdl.train.loop import Trainer
from nbdl.train.recipes.registry import Option, Task, choice, number, recipe, whole

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.02
EVALUATION_BATCH = 512
WORDS = ("딥러닝", "역전파", "경사하강법", "순환신경망", "세종대왕")
BETAS = (0.9, 0.98)

PADDING = jamo.JamoTokenizer.padding


def mean_over_answers(scores: Tensor, answers: Tensor) -> Tensor:
    """Cross-entropy of the scores [N, T, V] for the answers [N, T], padding left out."""
    return nn.functional.cross_entropy(scores.reshape(-1, scores.shape[-1]), answers.reshape(-1), ignore_index=PADDING)


def exact_match(scores: Tensor, answers: Tensor) -> float:
    """Share of sequences in which every answer gets the highest score, given those before it.

    That is when a greedy decoder, which reads its own answers, writes the sequence without a mistake.
    """
    likeliest = np.asarray(scores.detach().argmax(-1).to("cpu"))
    return share_of_matches(likeliest, np.asarray(answers.to("cpu")))[0]


def share_of_matches(written: np.ndarray, answers: np.ndarray) -> tuple[float, float]:
    """The share of rows, and the share of answers, that are right; padding counts for nothing."""
    counted = answers != PADDING
    right = written == answers
    return float((right | ~counted).all(1).mean()), float(right[counted].mean())


def take_apart(model: models.Seq2SeqTransformer, syllables: str, tokenizer: jamo.JamoTokenizer) -> np.ndarray:
    """What the model writes for each syllable, [N, 4]."""
    sources = jamo.syllables_and_jamo(syllables, tokenizer).arrays[0]
    longest = jamo.LONGEST_DECOMPOSITION + 1
    written = model.write(Tensor(sources).to(model.output.weight.device), tokenizer.begin, tokenizer.end, longest)
    return np.pad(written, ((0, 0), (0, longest - written.shape[1])), constant_values=tokenizer.end)


def jamo_model(options: dict[str, Any], tokenizer: jamo.JamoTokenizer) -> models.Seq2SeqTransformer:
    """The model of a run, untrained, from its options.

    Raises:
        ArgumentError: The heads do not divide the width.
    """
    if options["width"] % options["heads"]:
        raise ArgumentError(f"heads: expected a divisor of width, {options['width']}, got {options['heads']}")
    return models.Seq2SeqTransformer(
        256,
        tokenizer.size,
        options["width"],
        options["heads"],
        options["layers"],
        dropout=options["dropout"],
        max_length=jamo.LONGEST_DECOMPOSITION + 1,
    )


def jamo_of_words(folder: str | Path, text: str) -> str:
    """The words of a text taken apart by the model of a run of `seq2seq-jamo`: a line for each word.

    Raises:
        CheckpointError: There is no checkpoint of such a run in the folder.
        TokenError: A character is no Hangul syllable, or there is none.
    """
    words = unicodedata.normalize("NFC", text).split()
    if not words:
        raise data.TokenError("prompt", "Hangul syllables", repr(text))
    state, _ = CheckpointFolder(folder).load()
    settings = state["settings"]
    if settings.get("recipe") != "seq2seq-jamo":
        raise CheckpointError(f"{folder}: expected a run of 'seq2seq-jamo', got one of {settings.get('recipe')!r}")
    tokenizer = jamo.JamoTokenizer(settings["order"])
    model = jamo_model(settings, tokenizer)
    model.load_state_dict(state["model"])
    return "\n".join(apart(model.eval(), word, tokenizer) for word in words)


def apart(model: models.Seq2SeqTransformer, word: str, tokenizer: jamo.JamoTokenizer) -> str:
    """A word and the jamo that the model writes for its syllables, as a line."""
    return f"{word} -> {' '.join(map(tokenizer.letters, take_apart(model, word, tokenizer)))}"


@recipe(
    "seq2seq-jamo",
    "a Transformer reads the bytes of a Hangul syllable and writes its jamo: 2,234 of 11,172 it has never seen",
    "exact_match",
    (
        Option("epochs", whole(1), 50, "passes over the training data", "N"),
        Option("batch_size", whole(1), 128, "syllables a step", "N"),
        Option("learning_rate", number(0, open_low=True), 0.002, "size of a step at its largest", "RATE"),
        Option("weight_decay", number(0), 0.1, "how fast weights shrink", "X"),
        Option("clip_norm", number(0, open_low=True), 1.0, "largest norm of a gradient", "X"),
        Option("width", whole(1), 64, "size of a token's vector", "N"),
        Option("heads", whole(1), 4, "heads of every attention; must divide the width", "N"),
        Option("layers", whole(1), 2, "layers of the encoder, and of the decoder", "N"),
        Option("dropout", number(0, 1), 0.0, "share of what a layer adds that is zeroed in training", "P"),
        Option(
            "order", choice(*jamo.ORDERS), "division", "of the jamo as they are written: reading or division", "NAME"
        ),
        Option("seed", whole(0), 0, "chooses weights, order and dropout", "N"),
    ),
)
def seq2seq_jamo(options: dict[str, Any]) -> Task:
    """Trains on four fifths of all syllables (of which one in forty is watched), and tests on the rest.

    The source is the syllable as every program stores it: three bytes of UTF-8, such as ED 95 9C for 한. The bytes are
    a number written with digits of 64, and the jamo are its quotients and remainders (`nbdl.data.jamo`), so the answer
    for a new syllable follows from syllables that share a byte with it; nobody tells the model that rule, nor where
    the digits are. An identity for each syllable instead would leave nothing to learn from; its number among the
    syllables in base 28 would give the final consonant away. No two syllables have the same jamo, so an answer copied
    from another syllable is always wrong somewhere.

    The jamo are written in the order in which a division yields them: the final consonant, or that there is none, is
    the remainder by 28; once it is known the vowel, and then the initial consonant, are easy to place. For half of the
    run the remainder is guessed, then the network finds the rule and within a few epochs nothing is wrong any more. In
    the order of reading the initial consonant has to be named before anything is divided. Its 18 borders among the
    syllables are too few to learn exactly: one syllable in a thousand comes out wrong (`--order reading`).

    Source:
        Lee, Sreenivasan, Lee, Lee and Papailiopoulos (2023), "Teaching Arithmetic to Small Transformers", for writing
        the digit first that can be computed first.
    """
    tokenizer = jamo.JamoTokenizer(options["order"])
    known, asked = jamo.split_syllables(TEST_SHARE)
    watched_rows, known_rows = np.split(
        random_order(len(known), seed=1), [round(VALIDATION_SHARE * len(jamo.HANGUL_SYLLABLES))]
    )
    train, validation = (
        jamo.syllables_and_jamo("".join(known[row] for row in sorted(rows)), tokenizer)
        for rows in (known_rows, watched_rows)
    )
    test = jamo.syllables_and_jamo(asked, tokenizer)
    model = jamo_model(options, tokenizer)
    optimizer = optim.AdamW(model.parameters(), options["learning_rate"], BETAS, weight_decay=options["weight_decay"])
    loader = data.DataLoader(train, options["batch_size"], shuffle=True, seed=options["seed"])

    def evaluate(trainer: Trainer) -> dict[str, float]:
        """What the greedy decoder writes for the syllables it has never seen; and two who do not compute."""
        answers = test.arrays[2]
        metrics = dict(
            zip(
                ("exact_match", "jamo_accuracy"),
                share_of_matches(take_apart(model, asked, tokenizer), answers),
                strict=True,
            )
        )
        for name, guess in (("most_common", jamo.most_common_jamo), ("nearest_syllable", jamo.nearest_syllable)):
            rows, single = share_of_matches(guess(train, test), answers)
            metrics |= {f"{name}_exact_match": rows, f"{name}_jamo_accuracy": single}
        return metrics

    def show(trainer: Trainer) -> dict[str, str]:
        """Words that the model takes apart, syllable by syllable, and its mistakes on the test part, if any."""
        lines = [apart(model, word, tokenizer) for word in WORDS]
        written = take_apart(model, asked, tokenizer)
        for syllable, row, answer in zip(asked, written, test.arrays[2], strict=True):
            if tokenizer.decode(row) != syllable:
                lines.append(f"mistake: {syllable} -> {tokenizer.letters(row)}, expected {tokenizer.letters(answer)}")
        return {"sample.txt": "\n".join(lines) + "\n"}

    return Task(
        model=model,
        loss=mean_over_answers,
        optimizer=optimizer,
        schedule=optim.lr_scheduler.OneCycleLR(
            optimizer, options["learning_rate"], total_steps=options["epochs"] * len(loader), cycle_momentum=False
        ),
        schedule_each="batch",
        loader=loader,
        validation=data.DataLoader(validation, EVALUATION_BATCH),
        metrics={"exact_match": exact_match},
        test=evaluate,
        pictures=show,
        clip_norm=options["clip_norm"],
        summary={
            "data": f"{len(train):,} syllables to train, {len(validation)} to validate, {len(test):,} to test; "
            f"three bytes in, {len(tokenizer.jamo)} jamo out",
            "model": repr(model),
            "descent": f"adamw, learning rate {options['learning_rate']:g}, rising and falling to 0, "
            f"batches of {options['batch_size']}, seed {options['seed']}",
        },
    )
