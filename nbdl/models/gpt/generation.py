"""Going on with a text: read the prompt, choose a token, read it, choose the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdl.autograd import Tensor, no_grad
from nbdl.models.gpt.decoding import TokenDecoder
from nbdl.models.sampling import Sampling, Stop
from nbdl.runtime.checks import check_ids, check_int
from nbdl.runtime.dtypes import FLOAT16
from nbdl.runtime.errors import ArgumentError, DTypeError, ShapeError
from nbdl.runtime.philox import Generator

if TYPE_CHECKING:
    from nbdl.models.gpt.model import GPT


def checked_prompt(model: GPT, prompt: Any) -> np.ndarray:
    """The prompt as int64 [B, T].

    Raises:
        ShapeError: It has other than one or two dimensions, or its texts are not of one length.
        DTypeError: It holds other than whole numbers.
        ArgumentError: It is empty, or longer than the context.
        IndexRangeError: A token is not in the vocabulary.
    """
    given = prompt.detach().to("cpu").numpy() if isinstance(prompt, Tensor) else prompt
    try:
        tokens = np.asarray(given)
    except ValueError:
        raise ShapeError("prompt: expected texts of one length, got several lengths") from None
    if tokens.size == 0:
        raise ArgumentError(f"prompt: expected at least one token, got shape {list(tokens.shape)}")
    if tokens.ndim not in (1, 2):
        raise ShapeError(f"prompt: expected tokens [T] or [B, T], got shape {list(tokens.shape)}")
    if tokens.dtype.kind not in "iu":
        raise DTypeError(f"prompt: expected whole numbers, got {tokens.dtype}")
    tokens = tokens.astype(np.int64).reshape(-1, tokens.shape[-1])
    if tokens.shape[1] > model.config.context:
        raise ArgumentError(
            f"prompt: expected at most {model.config.context} tokens, the context, got {tokens.shape[1]}"
        )
    check_ids("prompt", tokens, model.config.vocabulary)
    return tokens


def stream(
    model: GPT,
    prompt: np.ndarray,
    max_new_tokens: int,
    sampling: Sampling,
    seed: int,
    use_cache: bool,
    slide: bool,
) -> Iterator[np.ndarray]:
    """Yields the next token of each text, int64 [B], again and again; `GPT.generate` says what the arguments are.

    Raises:
        ArgumentError: A number is out of range, or the text outgrows the context and `slide` is not set.
    """
    check_int("max_new_tokens", max_new_tokens, 0)
    context = model.config.context
    if not slide and prompt.shape[1] + max_new_tokens > context:
        raise ArgumentError(
            f"max_new_tokens: expected at most {context - prompt.shape[1]}, what the context of {context} has left, "
            f"got {max_new_tokens}; slide=True forgets the oldest"
        )
    return _stream(model, prompt, max_new_tokens, sampling, Generator(seed), use_cache)


def _stream(
    model: GPT, text: np.ndarray, count: int, sampling: Sampling, generator: Generator, use_cache: bool
) -> Iterator[np.ndarray]:
    context = model.config.context
    device = model.token_embedding.weight.device
    was_training = model.training
    model.eval()
    caches = model.new_caches(len(text), min(context, text.shape[1] + count)) if use_cache and count else None
    decoder = TokenDecoder(model, caches) if caches and model.token_embedding.weight.dtype != FLOAT16 else None
    if decoder is not None and not decoder.pays():
        decoder = None
    unread = text
    try:
        for _ in range(count):
            if text.shape[1] > context:  # the older half is forgotten, the rest read anew from place 0
                text = unread = text[:, -((context + 1) // 2) :]
                for cache in caches or ():
                    cache.reset()
            with no_grad():
                if decoder is not None and unread.shape[1] == 1:
                    last = decoder.features(Tensor(unread[:, 0]).to(device))
                else:
                    last = model.features(Tensor(unread if caches else text).to(device), caches)[:, -1]
                tokens = sampling.choose(model.scores(last), generator)
            yield tokens
            unread = tokens[:, None]
            text = np.concatenate([text, unread], axis=1)
    finally:
        model.train(was_training)


def generate(
    model: GPT,
    prompt: Any,
    max_new_tokens: int,
    sampling: Sampling,
    stop: Stop,
    seed: int,
    use_cache: bool,
    slide: bool,
) -> np.ndarray:
    """Prompt and new tokens, int64 [B, T + N]; `GPT.generate` says what the arguments are."""
    text = checked_prompt(model, prompt)
    columns: list[np.ndarray] = []
    finished = np.zeros(len(text), bool)
    for tokens in stream(model, text, max_new_tokens, sampling, seed, use_cache, slide):
        columns.append(np.where(finished, columns[-1], tokens) if columns and stop else tokens)
        if stop:
            new = np.stack(columns, axis=1)
            finished |= np.array([done or stop.ends(row.tolist()) for row, done in zip(new, finished, strict=True)])
            if finished.all():
                break
    return np.concatenate([text, *(column[:, None] for column in columns)], axis=1)
