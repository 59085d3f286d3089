"""Recipes of language models: a recurrent network reads a text, and can then be asked to go on with one."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from nbdl import data, models, nn, optim
from nbdl.train.checkpoint import CheckpointFolder
from nbdl.train.errors import CheckpointError
from nbdl.train.loop import Trainer
from nbdl.train.recipes.registry import (
    Option,
    Task,
    choice,
    descent_options,
    describe_descent,
    make_optimizer,
    number,
    recipe,
    text,
    whole,
)
from nbdl.train.stream import StreamTrainer

BASELINES = (5, 3, 2)  # orders of n-grams
VALIDATION_STREAMS, EVALUATION_STEPS = 8, 256
PROMPT_LENGTH, SAMPLE_LENGTH, SAMPLE_TEMPERATURE = 100, 1000, 0.7


def _tokenizer(options: dict[str, Any], corpus: str) -> data.Tokenizer:
    if options["tokens"] == "bytes":
        return data.ByteTokenizer()
    if options["tokens"] == "bpe":  # learned from the first 85 %, as the network
        return data.BpeTokenizer.train(corpus[: len(corpus) * 17 // 20], options["vocabulary"])
    return data.CharacterTokenizer.of(corpus)


def _language_model(options: dict[str, Any], vocabulary: int) -> models.RecurrentLanguageModel:
    return models.RecurrentLanguageModel(
        vocabulary, options["embedding"], options["hidden"], options["layers"], options["cells"], options["dropout"]
    )


def load_language_model(folder: str | Path) -> tuple[models.RecurrentLanguageModel, data.Tokenizer]:
    """The model of a run of `lstm-text`, finished or not, and its tokenizer.

    Raises:
        CheckpointError: There is no checkpoint in the folder, or it is of another recipe.
    """
    state, _ = CheckpointFolder(folder).load()
    settings = state["settings"]
    if settings.get("recipe") != "lstm-text" or "tokenizer" not in state:
        raise CheckpointError(f"{folder}: expected a run of 'lstm-text', got one of {settings.get('recipe')!r}")
    tokenizer = data.tokenizer_from(state["tokenizer"])
    model = _language_model(settings, tokenizer.size)
    model.load_state_dict(state["model"])
    return model.eval(), tokenizer


@recipe(
    "lstm-text",
    "an LSTM learns to write: the help on Python's language, Shakespeare, or your own text; then `nbdl sample`",
    "test_nats_per_character",
    (
        Option("text", text, "topics", "topics (Python's help), shakespeare, or a UTF-8 file", "NAME|FILE"),
        Option("root", text, None, "folder that holds Shakespeare; default: NBDL_DATA, else a download", "FOLDER"),
        Option("tokens", choice("characters", "bytes", "bpe"), "characters", "what is read: characters, bytes or bpe"),
        Option("vocabulary", whole(256), 2048, "tokens that bpe learns", "N"),
        Option("cells", choice("lstm", "gru", "rnn"), "lstm", "lstm, gru or rnn", "NAME"),
        Option("hidden", whole(1), 256, "size of the memory", "N"),
        Option("layers", whole(1), 1, "recurrent layers", "N"),
        Option("embedding", whole(1), 64, "size of a token's vector", "N"),
        Option("dropout", number(0, 1), 0.1, "share of the memory's outputs zeroed in training", "P"),
        Option("steps", whole(1), 64, "tokens after which gradients stop", "N"),
        Option("clip_norm", number(0, open_low=True), 1.0, "largest norm of a gradient", "X"),
        *(
            Option("batch_size", whole(1), 32, "places of the text read side by side", "N")
            if option.name == "batch_size"
            else option
            for option in descent_options(epochs=8, rate=0.005)
        ),
    ),
)
def lstm_text(options: dict[str, Any]) -> Task:
    """Trains on the first 85 % of a text, watches the next 5 %, and tests once on the last 10 %."""
    corpus = data.corpus(options["text"], options["root"])
    tokenizer = _tokenizer(options, corpus)
    test_from = len(corpus) * 9 // 10
    validation_from = test_from - len(corpus) // 20
    train = tokenizer.encode(corpus[:validation_from])
    validation, test = tokenizer.encode(corpus[validation_from:test_from]), tokenizer.encode(corpus[test_from:])
    model = _language_model(options, tokenizer.size)
    optimizer = make_optimizer(model, options)
    loader = data.StreamLoader(train, options["batch_size"], options["steps"])
    tokens_per_character = len(test) / (len(corpus) - test_from)

    def evaluate(trainer: Trainer) -> dict[str, float]:
        """The model on the test part, read in one piece; n-grams that have counted all before it."""
        loss = trainer.evaluate(data.StreamLoader(test, 1, EVALUATION_STEPS))["loss"]
        before = tokenizer.encode(corpus[:test_from])
        counted = {
            f"{data.ngram_name(order)}_nats_per_character": data.NgramModel(before, order, tokenizer.size).loss(test)
            for order in BASELINES
            if tokenizer.size**order < 2**63
        }
        losses = {"test_nats_per_character": loss, **counted}
        return {name: value * tokens_per_character for name, value in losses.items()}

    def write(trainer: Trainer) -> dict[str, str]:
        prompt = tokenizer.encode(corpus[test_from - PROMPT_LENGTH : test_from])
        ids = list(models.generate(model, prompt, SAMPLE_LENGTH, SAMPLE_TEMPERATURE, seed=options["seed"]))
        return {"sample.txt": tokenizer.decode(ids) + "\n"}

    places = f"{len(train):,} {options['tokens']} to train, {len(validation):,} to validate, {len(test):,} to test"
    return Task(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        schedule=optim.lr_scheduler.OneCycleLR(
            optimizer,
            optimizer.param_groups[0]["lr"],
            total_steps=options["epochs"] * len(loader),
            cycle_momentum=False,
        ),
        schedule_each="batch",
        loader=loader,
        validation=data.StreamLoader(validation, VALIDATION_STREAMS, EVALUATION_STEPS),
        test=evaluate,
        pictures=write,
        clip_norm=options["clip_norm"],
        trainer=functools.partial(StreamTrainer, tokenizer=tokenizer.description()),
        fingerprint=hashlib.sha256(corpus.encode()).hexdigest(),
        summary={
            "data": f"{options['text']}: {places}; {tokenizer.size:,} different ones",
            "model": repr(model),
            "descent": describe_descent(options, ", rising and falling to 0"),
            "windows": f"{options['steps']} tokens; memory goes on, gradients stop",
        },
    )
