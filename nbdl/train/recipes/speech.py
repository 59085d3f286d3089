"""Recipes of sound: spoken digits."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from nbdl import data, models, nn, optim
from nbdl.runtime.philox import manual_seed
from nbdl.train.loop import Trainer, accuracy
from nbdl.train.recipes.registry import (
    Option,
    Task,
    descent_options,
    describe_descent,
    make_optimizer,
    number,
    recipe,
    text,
    whole,
)

EVALUATION_BATCH, VALIDATION_SHARE = 64, 0.1
DIGITS = 10


def _model(options: dict[str, Any]) -> models.RecurrentClassifier:
    return models.RecurrentClassifier(
        options["bands"], options["hidden"], DIGITS, options["layers"], "gru", options["dropout"]
    )


def _descent(model: nn.Module, dataset: Any, options: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The loader, the optimizer and the schedule of a run."""
    optimizer = make_optimizer(model, options)
    loader = data.BucketLoader(dataset, options["batch_size"], seed=options["seed"])
    schedule = optim.lr_scheduler.OneCycleLR(
        optimizer, optimizer.param_groups[0]["lr"], total_steps=options["epochs"] * len(loader), cycle_momentum=False
    )
    return loader, optimizer, schedule


def _accuracy_on_stranger(speaker: str, options: dict[str, Any], trainer: Trainer) -> float:
    """Trains anew without a speaker's recordings; the share of them that is understood."""
    train, test = data.spoken_digits(options["root"], options["bands"], left_out=speaker)
    manual_seed(options["seed"])
    model = _model(options).to(device=trainer.device)
    loader, optimizer, schedule = _descent(model, train, options)
    stranger = Trainer(
        model,
        loader,
        optimizer,
        trainer.loss,
        metrics={"accuracy": accuracy},
        schedule=schedule,
        schedule_each="batch",
        device=trainer.device,
    )
    stranger.run(options["epochs"])
    return stranger.evaluate(data.DataLoader(test, EVALUATION_BATCH))["accuracy"]


@recipe(
    "gru-speech",
    "a GRU understands spoken digits: 3,000 recordings of six speakers (NBDL_DATA or --root)",
    "test_accuracy",
    (
        Option("root", text, None, "folder that holds the recordings; default: NBDL_DATA", "FOLDER"),
        Option("left_out", text, "each", "also train without a speaker and test on him: a name, each, or none", "NAME"),
        Option("bands", whole(1), 40, "mel bands of the spectrogram", "N"),
        Option("hidden", whole(1), 64, "size of the memory of each direction", "N"),
        Option("layers", whole(1), 1, "recurrent layers", "N"),
        Option("dropout", number(0, 1), 0.3, "share of the last layer's inputs zeroed in training", "P"),
        Option("label_smoothing", number(0, 1), 0.1, "share of the target spread over all classes", "P"),
        *(
            Option("batch_size", whole(1), 32, "recordings a step, of about one length", "N")
            if option.name == "batch_size"
            else option
            for option in descent_options(epochs=15)
        ),
    ),
)
def gru_speech(options: dict[str, Any]) -> Task:
    """Trains on nine tenths of the official training part, watches the rest, and tests once on the official test part.
    Then it starts over without each speaker in turn: how well is a voice understood that was never heard?
    """
    whole_train, test = data.spoken_digits(options["root"], options["bands"])
    speakers = sorted({recording.speaker for recording in data.spoken_digit_recordings(options["root"])})
    chosen = {"each": speakers, "none": []}.get(options["left_out"], [options["left_out"]])
    if unknown := set(chosen) - set(speakers):
        raise data.DataArgumentError("left_out", f"each, none, {', '.join(speakers)}", repr(unknown.pop()))
    rows = data.stratified_split(whole_train.labels, VALIDATION_SHARE, seed=0)
    train, validation = (
        data.SequenceDataset([whole_train.sequences[i] for i in part], whole_train.labels[part]) for part in rows
    )
    model = _model(options)
    loader, optimizer, schedule = _descent(model, train, options)

    def evaluate(trainer: Trainer) -> dict[str, float]:
        result = trainer.evaluate(data.DataLoader(test, EVALUATION_BATCH))
        metrics = {"test_accuracy": result["accuracy"], "test_loss": result["loss"]}
        if chosen:
            trainer.note("once more without each speaker's recordings; the share of them understood:")
        strangers = {}
        for speaker in chosen:
            strangers[speaker] = _accuracy_on_stranger(speaker, options, trainer)
            trainer.note(f"{speaker:<12} {strangers[speaker]:.4f}")
        if strangers:
            metrics["left_out_speaker_accuracy"] = float(np.mean(list(strangers.values())))
        return metrics | {f"accuracy_without_{speaker}": share for speaker, share in strangers.items()}

    steps = int(np.median(train.lengths))
    return Task(
        model=model,
        loss=nn.CrossEntropyLoss(label_smoothing=options["label_smoothing"]),
        optimizer=optimizer,
        schedule=schedule,
        schedule_each="batch",
        loader=loader,
        validation=data.DataLoader(validation, EVALUATION_BATCH),
        metrics={"accuracy": accuracy},
        test=evaluate,
        fingerprint=hashlib.sha256(np.concatenate(whole_train.sequences).tobytes()).hexdigest(),
        summary={
            "data": f"{len(train):,} recordings to train, {len(validation)} to validate, {len(test)} to test; "
            f"{options['bands']} mel bands, {train.lengths.min()} to {train.lengths.max()} frames, mostly {steps}",
            "speakers": ", ".join(speakers),
            "model": repr(model),
            "descent": describe_descent(options, ", rising and falling to 0"),
        },
    )
