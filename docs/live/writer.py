"""A GPT that goes on with the reader's text."""

from __future__ import annotations

from pydoc_data.topics import topics

import numpy as np

import nbdl
from live.figure import Figure
from live.kept import trained
from nbdl import data, explain, models, nn, ops, optim
from nbdl.export import trace

CONTEXT, STEPS = 64, 1000


def blank_writer(vocabulary: int) -> models.GPT:
    """A GPT of two layers that has read nothing yet."""
    sizes = {"vocabulary": vocabulary, "context": CONTEXT, "width": 64, "layers": 2, "heads": 4}
    return models.GPT(models.GPTConfig.modern(**sizes, key_value_heads=2))


def writer() -> tuple[models.GPT, data.CharacterTokenizer]:
    """One that has read Python's documentation."""
    text = "".join(topics.values())
    tokenizer = data.CharacterTokenizer.of(text)

    def read(model: models.GPT) -> None:
        optimizer = optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.99))
        schedule = optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS, cycle_momentum=False)
        windows = data.TokenWindows(tokenizer.encode(text), CONTEXT, stride=16)
        loader = data.DataLoader(windows, batch_size=16, shuffle=True)
        for _, (inputs, targets) in zip(range(STEPS), loader, strict=False):
            scores = model(nbdl.tensor(inputs)).reshape(-1, tokenizer.size)
            loss = ops.cross_entropy(scores, nbdl.tensor(targets.reshape(-1)))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()

    nbdl.manual_seed(0)
    return trained(blank_writer(tokenizer.size), read, text), tokenizer


def predict(model: models.GPT, tokens: nbdl.Tensor) -> dict[str, nbdl.Tensor]:
    """Scores of the next character at every place of a text, and for each layer how much each place took of each."""
    scores: list[nbdl.Tensor] = []
    maps = explain.attention_maps(lambda tokens: scores.append(model(tokens)), tokens)
    return {"output": scores[0][0], **{f"attention{layer}": weights for layer, weights in enumerate(maps)}}


def figure() -> Figure:
    """One program that reads a text."""
    model, tokenizer = writer()
    program = trace(
        lambda tokens: predict(model, tokens),
        np.arange(CONTEXT)[None] % tokenizer.size,
        state=[model],
        names=["tokens"],
    )
    return Figure({"predict": program}, {"characters": [tokenizer.decode([k]) for k in range(tokenizer.size)]})
