"""Running a recipe: output folder, settings, seeds, training, the test, and the files that stay."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.philox import manual_seed
from nbdl.serialization import write_durably
from nbdl.train.callbacks import Callback, EarlyStopping
from nbdl.train.checkpoint import CheckpointFolder, save_weights, writable_folder
from nbdl.train.errors import CheckpointError
from nbdl.train.loop import Trainer
from nbdl.train.recipes.registry import Recipe, Task, find_recipe


@dataclass(frozen=True)
class Result:
    """What came out of a run.

    Attributes:
        metrics: The test's numbers; the first is the recipe's metric.
        history: One record an epoch.
        best_epoch: The epoch whose weights were kept: the best on the validation data, or the last.
        seconds: Training time, with that of the parts before a resume.
        folder: Where the files are.
        files: Their names, those for people first.
        task: Model and data, for further use.
    """

    metrics: dict[str, float]
    history: list[dict[str, Any]]
    best_epoch: int
    seconds: float
    folder: Path
    files: tuple[str, ...]
    task: Task


def run_recipe(
    name: str,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    callbacks: Sequence[Callback] = (),
    announce: Callable[[Recipe, Task, Trainer, Path], None] | None = None,
    **options: Any,
) -> Result:
    """Trains and tests a recipe.

    The folder gets metrics.jsonl, curve.svg, the checkpoints, model.safetensors (the trained weights), result.json and
    the drawings of the recipe.

    Args:
        name: Name of the recipe; see `RECIPES`.
        out: Output folder; runs/NAME when None.
        resume: Continue the run in the folder, with its settings.
        device: Where to train: "cpu" or "cuda".
        callbacks: What happens beside training.
        announce: Called with recipe, task, trainer and folder when everything is ready to train.
        options: The recipe's options.

    Returns:
        The metrics of the test, the history, where the files are, and the trained model in `task.model`.

    Raises:
        ArgumentError: An unknown recipe or option, a value outside its range, or a required option left out.
        OutputFolderError: The folder cannot be written to. Said before anything is computed.
        CheckpointError: `resume`, and there is no usable checkpoint, or options differ from those of the run.
        DivergedError, TrainingInterrupted: As for `Trainer.run`.

    Example:
        >>> run_recipe("mlp-digits", out="runs/short", epochs=1).metrics["test_accuracy"] > 0.5
        True
    """
    recipe = find_recipe(name)
    given = {option: recipe.option(option)(value) for option, value in options.items() if value is not None}
    folder = Path("runs", name) if out is None else Path(out)
    saved = CheckpointFolder(folder).load()[0]["settings"] if resume else None
    writable_folder(folder)
    settings = _settings(recipe, given, saved)

    manual_seed(settings["seed"])
    task = recipe.build(settings)
    if saved is not None and saved["fingerprint"] != task.fingerprint:
        raise CheckpointError("data: expected the data of the run to resume, got a file that has changed since")
    task.model.to(device=device)
    stopping = None if task.early_stopping is None else EarlyStopping(patience=task.early_stopping)
    trainer = task.trainer(
        task.model,
        task.loader,
        task.optimizer,
        task.loss,
        validation=task.validation,
        metrics=task.metrics,
        schedule=task.schedule,
        schedule_each=task.schedule_each,
        clip_norm=task.clip_norm,
        callbacks=callbacks if stopping is None else [stopping, *callbacks],
        device=device,
        settings={"recipe": name, "fingerprint": task.fingerprint, **settings},
    )
    trainer.keep_in(folder, title=name, resume=resume)
    if announce is not None:
        announce(recipe, task, trainer, folder)
    trainer.run(settings["epochs"])
    metrics = task.test(trainer)
    save_weights(folder / "model.safetensors", task.model)
    write_durably(
        folder / "result.json", (json.dumps({"settings": trainer.settings, **metrics}, indent=2) + "\n").encode()
    )
    pictures = {} if task.pictures is None else task.pictures(trainer)
    for picture, drawing in pictures.items():
        write_durably(folder / picture, drawing.encode())
    kept = ("metrics.jsonl", "result.json", "model.safetensors", "checkpoint.safetensors")
    files = ("curve.svg", *pictures, *kept)
    best = trainer.epoch if stopping is None else stopping.best_epoch
    return Result(metrics, trainer.history, best, trainer.seconds, folder, files, task)


def _settings(recipe: Recipe, given: dict[str, Any], saved: dict[str, Any] | None) -> dict[str, Any]:
    """All options of a run: those given, else those of the run that is resumed, else the defaults."""
    if saved is not None:
        if saved.get("recipe") != recipe.name:
            raise CheckpointError(
                f"recipe: expected {saved.get('recipe')!r}, that of the run to resume, got {recipe.name!r}"
            )
        for name, value in given.items():
            if value != saved[name]:
                raise CheckpointError(f"{name}: expected {saved[name]!r} as in the run to resume, got {value!r}")
        return {option.name: saved[option.name] for option in recipe.options}
    settings = {option.name: given.get(option.name, option.default) for option in recipe.options}
    for option in recipe.options:
        if option.required and settings[option.name] is None:
            raise ArgumentError(f"{option.name}: expected {option.help}, got nothing")
    return settings
