"""Recipes of language models: a recurrent network reads a text, and can then be asked to go on with one."""

from __future__ import annotations

import functools
from typing import Any

from nbdl import data, models, nn, optim
from nbdl.train.loop import Trainer
from nbdl.train.recipes.corpus import SAMPLE_LENGTH, SAMPLE_TEMPERATURE, Corpus, corpus_options
from nbdl.train.recipes.registry import (
    Option,
    Task,
    choice,
    descent_options,
    describe_descent,
    make_optimizer,
    number,
    recipe,
    whole,
)
from nbdl.train.stream import StreamTrainer

VALIDATION_STREAMS, EVALUATION_STEPS = 8, 256


def recurrent_model(options: dict[str, Any], vocabulary: int) -> models.RecurrentLanguageModel:
    """The network that the options describe, for so many tokens."""
    return models.RecurrentLanguageModel(
        vocabulary, options["embedding"], options["hidden"], options["layers"], options["cells"], options["dropout"]
    )


@recipe(
    "lstm-text",
    "an LSTM learns to write: the help on Python's language, Shakespeare, or your own text; then `nbdl sample`",
    "test_nats_per_character",
    (
        *corpus_options(),
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
    corpus = Corpus.read(options["data"], options)
    model = recurrent_model(options, corpus.tokenizer.size)
    optimizer = make_optimizer(model, options)
    loader = data.StreamLoader(corpus.train, options["batch_size"], options["steps"])

    def evaluate(trainer: Trainer) -> dict[str, float]:
        """The model on the test part, read in one piece; n-grams that have counted all before it."""
        return corpus.metrics(trainer.evaluate(data.StreamLoader(corpus.test, 1, EVALUATION_STEPS))["loss"])

    def write(trainer: Trainer) -> dict[str, str]:
        prompt = corpus.tokenizer.encode(corpus.prompt)
        ids = list(models.generate(model, prompt, SAMPLE_LENGTH, SAMPLE_TEMPERATURE, seed=options["seed"]))
        return {"sample.txt": corpus.tokenizer.decode(ids) + "\n"}

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
        validation=data.StreamLoader(corpus.validation, VALIDATION_STREAMS, EVALUATION_STEPS),
        test=evaluate,
        pictures=write,
        clip_norm=options["clip_norm"],
        trainer=functools.partial(StreamTrainer, tokenizer=corpus.tokenizer.description()),
        fingerprint=corpus.fingerprint,
        summary={
            "data": corpus.describe(),
            "model": repr(model),
            "descent": describe_descent(options, ", rising and falling to 0"),
            "windows": f"{options['steps']} tokens; memory goes on, gradients stop",
        },
    )
