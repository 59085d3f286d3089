"""Language models out of the folders of their runs, for going on with a text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbdl import data, models
from nbdl.train.checkpoint import CheckpointFolder
from nbdl.train.errors import CheckpointError
from nbdl.train.recipes.gpt import gpt_model
from nbdl.train.recipes.text import recurrent_model

MODELS: dict[str, Any] = {"lstm-text": recurrent_model, "gpt-text": gpt_model}
"""What makes the model of a recipe, from its options and the number of tokens."""


def recipe_of_run(folder: str | Path, advised: str = "gpt-text") -> str | None:
    """The recipe of the run in a folder.

    Args:
        folder: The folder.
        advised: The recipe to train where there is no run.

    Raises:
        CheckpointError: There is no run, or its checkpoints cannot be read.
    """
    checkpoints = CheckpointFolder(folder)
    if not checkpoints.exists():
        got = "a folder without a checkpoint" if Path(folder).is_dir() else "no such folder"
        raise CheckpointError(f"{folder}: expected the folder of a run, got {got}; `nbdl train {advised}` makes one")
    name: str | None = checkpoints.load()[0]["settings"].get("recipe")
    return name


def load_language_model(folder: str | Path) -> tuple[Any, data.Tokenizer]:
    """The model of a run of `lstm-text` or `gpt-text`, finished or not, and its tokenizer.

    Raises:
        CheckpointError: There is no checkpoint in the folder, or it is of another recipe.
    """
    state, _ = CheckpointFolder(folder).load()
    settings = state["settings"]
    name = settings.get("recipe")
    if name not in MODELS or "tokenizer" not in state:
        raise CheckpointError(f"{folder}: expected a run of {' or '.join(map(repr, MODELS))}, got one of {name!r}")
    tokenizer = data.tokenizer_from(state["tokenizer"])
    model = MODELS[name](settings, tokenizer.size)
    model.load_state_dict(state["model"])
    return model.eval(), tokenizer


def continuation(
    model: Any,
    tokenizer: data.Tokenizer,
    prompt: str,
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: str | None = None,
    seed: int = 0,
) -> Iterator[str]:
    """Goes on with a text, piece by piece.

    Args:
        model, tokenizer: As `load_language_model` gives them.
        prompt: The text so far, not empty. A GPT looks back on as much of it as its context holds.
        length: Tokens to write.
        temperature, top_k, top_p: As for `nbdl.models.GPT.generate`.
        stop: Ends the text where this was written; None writes all.
        seed: Chooses the text.

    Yields:
        What was written since the last piece. A character of several tokens comes when it is complete.

    Raises:
        TokenError: The tokenizer does not know a character of the prompt.
        ArgumentError: A number is out of range, or the prompt is empty.
    """
    ids = tokenizer.encode(prompt)
    tokens: Iterator[int]
    if isinstance(model, models.GPT):
        tokens = (
            int(token[0])
            for token in model.stream(
                ids[-model.config.context :], length, models.Sampling(temperature, top_k, top_p), seed=seed
            )
        )
    else:
        tokens = models.generate(model, ids, length, temperature, top_k, seed, top_p)
    written: list[int] = []
    shown = 0
    for token in tokens:
        written.append(token)
        text = tokenizer.decode(written)
        if text.endswith("\ufffd"):  # a character whose other bytes are still to come
            continue
        end = text.find(stop, max(shown - len(stop), 0)) if stop else -1
        if end >= 0:
            text = text[: end + len(stop or "")]
        yield text[shown:]
        if end >= 0:
            return
        shown = len(text)
