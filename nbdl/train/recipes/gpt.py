"""The recipe of a GPT: a Transformer reads a text, and can then be asked to go on with one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdl import data, models, nn, optim
from nbdl.train.callbacks import Callback
from nbdl.train.loop import Trainer
from nbdl.train.recipes.corpus import SAMPLE_LENGTH, SAMPLE_TEMPERATURE, Corpus, corpus_options
from nbdl.train.recipes.registry import (
    Option,
    Task,
    choice,
    descent_options,
    describe_descent,
    number,
    recipe,
    whole,
)
from nbdl.train.windows import WindowTrainer

WINDOWS_A_PASS = 4
"""An epoch shows each token in so many windows, at another place in each."""

JUDGED_SHARE, JUDGED_BATCH = 4, 16
"""In evaluation the last quarter of a window counts, so that there is something to look back on."""

WARM_UP = 100
"""Steps in which the learning rate rises."""

ADAM_BETAS = (0.9, 0.99)


def gpt_model(options: dict[str, Any], vocabulary: int) -> models.GPT:
    """The network that the options describe, for so many tokens."""
    sizes: dict[str, Any] = {name: options[name] for name in ("context", "width", "layers", "heads", "dropout")}
    make = models.GPTConfig.modern if options["architecture"] == "modern" else models.GPTConfig
    return models.GPT(make(vocabulary=vocabulary, **sizes))


def decayed_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of parameters: matrices decay, biases and the scales of norms do not."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


class Milestones(Callback):
    """Says when the validation loss first falls under that of each n-gram model on the same text.

    Args:
        losses: Of the models by their names, in nats a token.
    """

    def __init__(self, losses: dict[str, float]) -> None:
        self.losses = losses
        self.passed: list[str] = []

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        for name, loss in sorted(self.losses.items(), key=lambda entry: -entry[1]):
            if record["validation_loss"] < loss and name not in self.passed:
                self.passed.append(name)
                trainer.note(f"under the {name} ({loss:.3f} nats a token) after {trainer.seconds:.0f} s")

    def state_dict(self) -> dict[str, Any]:
        return {"passed": self.passed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.passed = list(state["passed"])


@recipe(
    "gpt-text",
    "a GPT learns to write: the help on Python's language, Shakespeare, or your own text; then `nbdl sample`",
    "test_nats_per_character",
    (
        *corpus_options(),
        Option("architecture", choice("gpt2", "modern"), "modern", "gpt2, or modern: rotary, RMS norm, SwiGLU", "NAME"),
        Option("layers", whole(1), 4, "blocks, one on top of the other", "N"),
        Option("heads", whole(1), 4, "attention heads; they divide the width", "N"),
        Option("width", whole(1), 128, "features of a token", "N"),
        Option("context", whole(1), 128, "tokens it can look back on", "N"),
        Option("dropout", number(0, 1), 0.1, "share of embeddings and of what layers add zeroed in training", "P"),
        Option("weight_decay", number(0), 0.1, "pull of the matrices towards 0", "X"),
        Option("clip_norm", number(0, open_low=True), 1.0, "largest norm of a gradient", "X"),
        *descent_options(epochs=2, batch=16, optimizer=None, rate=0.003),
    ),
)
def gpt_text(options: dict[str, Any]) -> Task:
    """Trains on the first 85 % of a text, watches the next 5 %, and tests once on the last 10 %."""
    corpus = Corpus.read(options["data"], options)
    model = gpt_model(options, corpus.tokenizer.size)
    context = options["context"]
    windows = data.TokenWindows(corpus.train, context, max(context // WINDOWS_A_PASS, 1))
    loader = data.DataLoader(windows, options["batch_size"], shuffle=True, seed=options["seed"])
    optimizer = optim.AdamW(
        decayed_groups(model, options["weight_decay"]), lr=options["learning_rate"], betas=ADAM_BETAS
    )
    steps = options["epochs"] * len(loader)
    warm_up = min(WARM_UP, max(steps // 10, 1))

    def rate(step: int) -> float:
        """Share of the learning rate: a straight rise, then half a cosine down to 0."""
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1)))

    def judged(tokens: Any, before: Any) -> data.DataLoader:
        """The windows that judge a part of the text, which goes on from what is before."""
        seen = before[-context:]
        joined = np.concatenate([seen, tokens])
        windows = data.judging_windows(joined, len(seen), context, max(context // JUDGED_SHARE, 1))
        return data.DataLoader(windows, JUDGED_BATCH)

    def evaluate(trainer: Trainer) -> dict[str, float]:
        """The model on the test part; n-grams that have counted all before it."""
        return corpus.metrics(trainer.evaluate(judged(corpus.test, corpus.validation))["loss"])

    def write(trainer: Trainer) -> dict[str, str]:
        prompt = corpus.tokenizer.encode(corpus.prompt)[-context:]
        tokens = model.stream(prompt, SAMPLE_LENGTH, models.Sampling(SAMPLE_TEMPERATURE), seed=options["seed"])
        return {"sample.txt": corpus.tokenizer.decode([int(token[0]) for token in tokens]) + "\n"}

    def trainer(*arguments: Any, callbacks: Sequence[Callback], **others: Any) -> WindowTrainer:
        milestones = Milestones(corpus.counted_losses(corpus.validation, corpus.train))
        callbacks = [milestones, *callbacks]
        return WindowTrainer(*arguments, callbacks=callbacks, tokenizer=corpus.tokenizer.description(), **others)

    return Task(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        schedule=optim.lr_scheduler.LambdaLR(optimizer, rate),
        schedule_each="batch",
        loader=loader,
        validation=judged(corpus.validation, corpus.train),
        test=evaluate,
        pictures=write,
        clip_norm=options["clip_norm"],
        trainer=trainer,
        fingerprint=corpus.fingerprint,
        summary={
            "data": corpus.describe(),
            "model": repr(model),
            "descent": describe_descent(options | {"optimizer": "adamw"}, ", falling to 0"),
            "windows": f"{context} tokens, {WINDOWS_A_PASS} times a token each epoch",
        },
    )
