"""The gates of an LSTM, character by character, while it reads the reader's text."""

from __future__ import annotations

import itertools

import numpy as np

import nbdl
from live.figure import Figure
from nbdl import data, models, nn, ops, optim
from nbdl.autograd import Context
from nbdl.export import trace
from nbdl.ops.recurrent.lstm import LSTMOp
from nbdl.ops.recurrent.schedule import uniform_schedule

LENGTH = 64
EMBEDDING, HIDDEN = 16, 64
EPOCHS, RATE = 3, 6e-3


def blank_reader(vocabulary: int) -> models.RecurrentLanguageModel:
    """A small LSTM that has read nothing yet."""
    return models.RecurrentLanguageModel(vocabulary, EMBEDDING, HIDDEN)


def reader() -> tuple[models.RecurrentLanguageModel, data.CharacterTokenizer, np.ndarray]:
    """One that has read a part of Python's documentation for a few seconds; and the tokens of the rest."""
    nbdl.manual_seed(0)
    text = data.corpus("topics")
    tokenizer = data.CharacterTokenizer.of(text)
    ids = tokenizer.encode(text)
    split = len(ids) * 9 // 10
    model = blank_reader(tokenizer.size)
    optimizer = optim.AdamW(model.parameters(), lr=RATE)
    loader = data.StreamLoader(ids[:split], 16, LENGTH)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(loader))
    state = None
    for first, inputs, targets in itertools.chain.from_iterable([loader] * EPOCHS):
        state = None if first else tuple(item.detach() for item in state)
        scores, state = model(nbdl.tensor(inputs), state)
        loss = ops.cross_entropy(scores.reshape(-1, tokenizer.size), nbdl.tensor(targets.reshape(-1)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval(), tokenizer, ids[split:]


def read(model: models.RecurrentLanguageModel, tokens: nbdl.Tensor) -> dict[str, nbdl.Tensor]:
    """What goes on in the cells at each of the tokens [T].

    Returns:
        gates [T, 4H], the rows of i, f, g, o as the kernel leaves them; cells [T, H] before each step, last [1, H]
        after the final one; shares [T, V] of the next character.
    """
    with nbdl.no_grad():
        vectors = model.embedding(tokens)
        zeros = nbdl.zeros(1, HIDDEN)
        context = Context(LSTMOp)
        weights = [parameter._array for parameter in model.cells.parameters()]
        plan = uniform_schedule(tokens.shape[0], 1, False)
        results, _, last = LSTMOp.forward(
            context, vectors._array, zeros._array, nbdl.zeros(1, HIDDEN)._array, *weights, None, plan
        )
        _, _, _, gates, _, cells, _ = context.saved
        shares = ops.softmax(model.output(nbdl.autograd.wrap(results)), -1)
    shown = {"gates": gates, "cells": cells, "last": last}
    return {**{name: nbdl.autograd.wrap(array) for name, array in shown.items()}, "shares": shares}


def by_memory(model: models.RecurrentLanguageModel, tokens: np.ndarray) -> list[int]:
    """Every other cell, in the order of how much of its content it keeps from one character to the next."""
    forget = read(model, nbdl.tensor(tokens))["gates"].numpy()[:, HIDDEN : 2 * HIDDEN]
    return np.argsort(-forget.mean(axis=0))[::2].tolist()


def figure() -> Figure:
    """One program that reads a text of at most 64 characters; what follows the text cannot change what it was."""
    model, tokenizer, rest = reader()
    program = trace(lambda tokens: read(model, tokens), rest[:LENGTH], state=[model], names=["tokens"])
    characters = [tokenizer.decode([k]) for k in range(tokenizer.size)]
    notes = {"characters": characters, "order": by_memory(model, rest[:2000]), "hidden": HIDDEN}
    return Figure({"read": program}, notes)
