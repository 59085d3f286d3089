r"""The decoder: tokens in, scores of the next token out.

A token's vector runs through the blocks; each block adds to it what attention finds among the tokens before, and what
a feed-forward layer makes of that:

$$x = E_{t} + P, \qquad x \leftarrow x + \mathrm{attention}(\mathrm{norm}(x)), \qquad
  x \leftarrow x + \mathrm{feed\ forward}(\mathrm{norm}(x)), \qquad z = \mathrm{norm}(x)\, E^\top$$

Sources: Radford et al. (2019), "Language Models are Unsupervised Multitask Learners", section 2.3; Touvron et al.
(2023), "LLaMA: Open and Efficient Foundation Language Models", section 2.2; Ainslie et al. (2023), "GQA: Training
Generalized Multi-Query Transformer Models from Multi-Head Checkpoints".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nbdl import nn, ops
from nbdl.autograd import Tensor
from nbdl.models.description import count_parameters
from nbdl.models.gpt import generation
from nbdl.models.gpt.config import GPTConfig
from nbdl.models.sampling import Decoder, Sampling, Stop
from nbdl.runtime.checks import check_integer, check_rank
from nbdl.runtime.errors import ArgumentTypeError, ShapeError

INITIAL_DEVIATION = 0.02


def _norm(config: GPTConfig, device: Any, dtype: Any) -> nn.Module:
    make: Any = nn.LayerNorm if config.norm == "layer_norm" else nn.RMSNorm
    return make(config.width, eps=config.eps, device=device, dtype=dtype)


def _added_and_normed(change: Tensor, x: Tensor, norm: Any) -> tuple[Tensor, Tensor]:
    """x + change and its norm, in one pass."""
    row = norm.normalized_shape
    if isinstance(norm, nn.LayerNorm):
        return ops.residual_layer_norm(change, x, row, norm.weight, norm.bias, norm.eps)
    return ops.residual_rms_norm(change, x, row, norm.weight, norm.eps)


class CausalSelfAttention(nn.Module):
    """Each token asks those before it, and itself, and adds up what they answer.

    One matrix makes queries, keys and values of all heads: H + 2 G heads of D features, of which attention gets views.
    """

    def __init__(self, config: GPTConfig, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.config = config
        width = (config.heads + 2 * config.groups) * config.head_width
        self.qkv = nn.Linear(config.width, width, bias=config.bias, device=device, dtype=dtype)
        self.projection = nn.Linear(config.width, config.width, bias=config.bias, device=device, dtype=dtype)

    def forward(self, x: Tensor, begin: int = 0, cache: nn.KVCache | None = None) -> Tensor:
        """[B, T, C] -> [B, T, C]; with a cache, T further tokens of the texts that it remembers."""
        config = self.config
        batch, length, _ = x.shape
        q, k, v = self.heads(x)
        if config.positions == "rotary":
            q = ops.rotary_embedding(q, begin, base=config.rotary_base)
            k = ops.rotary_embedding(k, begin, base=config.rotary_base)
        causal = True
        mask = None
        if cache is not None:
            before = cache.position
            k, v = cache.append(k, v)
            if before:
                causal = False
                if length > 1:
                    mask = Tensor(np.tri(length, before + length, before, dtype=bool))
        y = ops.scaled_dot_product_attention(
            q,
            k,
            v,
            mask,
            dropout_p=config.attention_dropout if self.training else 0.0,
            is_causal=causal,
            enable_gqa=config.groups != config.heads,
        )
        return self.projection(y.transpose(1, 2).reshape(batch, length, config.width))

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [B, H, T, D], keys and values [B, G, T, D]: views of one product."""
        config = self.config
        batch, length, _ = x.shape
        parts = self.qkv(x).split(
            [heads * config.head_width for heads in (config.heads, config.groups, config.groups)], 2
        )
        q, k, v = (part.view(batch, length, -1, config.head_width).transpose(1, 2) for part in parts)
        return q, k, v


class FeedForward(nn.Module):
    """Widens a token's vector, bends it, and narrows it again: GELU, or SwiGLU with a second matrix for the gate."""

    def __init__(self, config: GPTConfig, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        wide = config.hidden_width
        self.gate = (
            nn.Linear(config.width, wide, bias=config.bias, device=device, dtype=dtype)
            if config.feed_forward == "swiglu"
            else None
        )
        self.expand = nn.Linear(config.width, wide, bias=config.bias, device=device, dtype=dtype)
        self.contract = nn.Linear(wide, config.width, bias=config.bias, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[*, C] -> [*, C]."""
        if self.gate is not None:
            return self.contract(ops.swiglu(self.gate(x), self.expand(x)))
        return self.contract(ops.linear_gelu(x, self.expand.weight, self.expand.bias, approximate="tanh"))


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm, each added to what comes in."""

    def __init__(self, config: GPTConfig, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.attention_norm = _norm(config, device, dtype)
        self.attention = CausalSelfAttention(config, device, dtype)
        self.feed_forward_norm = _norm(config, device, dtype)
        self.feed_forward = FeedForward(config, device, dtype)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, begin: int = 0, cache: nn.KVCache | None = None) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        found = self.dropout(self.attention(self.attention_norm(x), begin, cache))
        x, normed = _added_and_normed(found, x, self.feed_forward_norm)
        return x + self.dropout(self.feed_forward(normed))


class GPT(nn.Module):
    r"""Predicts the next token of a text from all before it.

    Weights begin as in GPT-2: normal with deviation 0.02, biases 0, and the two matrices of a block that write to the
    sum with deviation $0.02 / \sqrt{2L}$, so that the sum does not grow with the number of layers L.

    Args:
        config: Sizes and choices.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        config: As given.
        token_embedding: A vector for each token; scores the next one too where `tied`.
        position_embedding: A vector for each place, or None.
        blocks: The layers.
        norm: After the last of them.
        head: Scores the next token, or None where tied.

    Example:
        >>> model = GPT(GPTConfig.preset("tiny", vocabulary=10))
        >>> model(nbdl.tensor([[1, 2, 3]])).shape
        (1, 3, 10)
        >>> model
        GPT(10 tokens, context 128, 4 layers of 4 heads, 128 wide, 811,008 parameters)
        >>> model.generate([[1, 2, 3]], max_new_tokens=2, temperature=0).shape
        (1, 5)

    Source:
        Radford et al. (2019), "Language Models are Unsupervised Multitask Learners".
    """

    def __init__(self, config: GPTConfig, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        if not isinstance(config, GPTConfig):
            raise ArgumentTypeError(f"config: expected a GPTConfig, got {type(config).__name__}")
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary, config.width, device=device, dtype=dtype)
        self.position_embedding = (
            nn.Embedding(config.context, config.width, device=device, dtype=dtype)
            if config.positions == "learned"
            else None
        )
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, device, dtype) for _ in range(config.layers))
        self.norm = _norm(config, device, dtype)
        self.head = (
            None if config.tied else nn.Linear(config.width, config.vocabulary, bias=False, device=device, dtype=dtype)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew."""
        to_sum = INITIAL_DEVIATION / math.sqrt(2 * self.config.layers)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 1:
                nn.init.ones_(parameter)  # the scale of a norm
            else:
                writes = name.endswith(("projection.weight", "contract.weight"))
                nn.init.normal_(parameter, 0.0, to_sum if writes else INITIAL_DEVIATION)

    def forward(self, tokens: Tensor, caches: Sequence[nn.KVCache] | None = None) -> Tensor:
        """Scores of the next token after each of the tokens.

        Args:
            tokens: [B, T], whole numbers.
            caches: What the layers remember of the tokens before these, from `new_caches`; it grows by these.

        Returns:
            [B, T, V], the logits.

        Raises:
            ShapeError: The tokens have other than two dimensions, or more places than the context.
            DTypeError: They are no whole numbers.
            IndexRangeError: One of them is not in the vocabulary.
        """
        return self.scores(self.features(tokens, caches))

    def features(self, tokens: Tensor, caches: Sequence[nn.KVCache] | None = None) -> Tensor:
        """What the blocks make of the tokens: [B, T] -> [B, T, C], normed. Args, Raises: as `forward`."""
        check_integer("tokens", check_rank("tokens", tokens, 2))
        begin = caches[0].position if caches else 0
        end = begin + tokens.shape[1]
        if end > self.config.context:
            raise ShapeError(f"tokens: expected at most {self.config.context} places, the context, got {end}")
        x = self.token_embedding(tokens)
        if self.position_embedding is not None:
            x = x + self.position_embedding.weight[begin:end]
        x = self.dropout(x)
        for layer, block in enumerate(self.blocks):
            x = block(x, begin, caches[layer] if caches else None)
        return self.norm(x)

    def scores(self, features: Tensor) -> Tensor:
        """[*, C] -> [*, V]: how well each token would follow."""
        weight = self.token_embedding.weight if self.head is None else self.head.weight
        return ops.linear(features, weight)

    def new_caches(self, batch_size: int = 1, length: int | None = None) -> list[nn.KVCache]:
        """An empty cache for each layer.

        Args:
            batch_size: Texts side by side.
            length: Positions that fit; the context when None.
        """
        config, weight = self.config, self.token_embedding.weight
        length = config.context if length is None else length
        return [
            nn.KVCache(batch_size, config.groups, length, config.head_width, weight.device, weight.dtype)
            for _ in range(config.layers)
        ]

    def generate(
        self,
        prompt: Any,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        stop: Any = None,
        seed: int = 0,
        use_cache: bool = True,
        tokenizer: Decoder | None = None,
        slide: bool = False,
    ) -> Tensor:
        r"""Goes on with texts: draws a token from the model's probabilities, reads it, draws the next.

        Args:
            prompt: The tokens so far, whole numbers [T] or [B, T], T at least 1.
            max_new_tokens: Tokens to draw, N.
            temperature: Under 1 prefers what is likely, 0 always takes the likeliest.
            top_k: Draw among so many of the likeliest tokens; among all when None.
            top_p: Draw among the fewest likeliest tokens whose chances reach this together; among all when None.
            stop: Ends a text: a token id or, with a tokenizer, a string, or several of them. What ends it is kept.
            seed: Chooses the draws.
            use_cache: Keep keys and values of what was read; without, all is read anew for every token.
            tokenizer: Finds strings among the tokens.
            slide: When the context is full, forget the older half and go on.

        Returns:
            [B, T + N], or less when all texts ended earlier. A text that ends before others repeats its last token.

        Raises:
            ArgumentError: The prompt is empty or longer than the context, the text would outgrow the context and
                `slide` is not set, or a number is out of range.
            ShapeError, DTypeError, IndexRangeError: The prompt is not made of tokens in texts of one length.
        """
        sampling, ending = Sampling(temperature, top_k, top_p), Stop(stop, tokenizer)
        text = generation.generate(self, prompt, max_new_tokens, sampling, ending, seed, use_cache, slide)
        return Tensor(text).to(self.token_embedding.weight.device)

    def stream(
        self, prompt: Any, max_new_tokens: int, sampling: Sampling | None = None, *, seed: int = 0, slide: bool = True
    ) -> Iterator[np.ndarray]:
        """As `generate`, and yields each new token, int64 [B], as soon as it is chosen.

        Args:
            prompt: The tokens so far, whole numbers [T] or [B, T], T at least 1.
            max_new_tokens: Tokens to draw, N.
            sampling: How tokens are chosen; by the model's probabilities when None.
            seed: Chooses the draws.
            slide: When the context is full, forget the older half and go on.

        Raises:
            ArgumentError, ShapeError, DTypeError, IndexRangeError: As for `generate`.

        Example:
            >>> model = GPT(GPTConfig.preset("tiny", vocabulary=10))
            >>> len(list(model.stream([1, 2, 3], 5)))
            5
        """
        text = generation.checked_prompt(self, prompt)
        return generation.stream(self, text, max_new_tokens, sampling or Sampling(), seed, True, slide)

    def __repr__(self) -> str:
        config = self.config
        heads = f"{config.heads} heads" + ("" if config.groups == config.heads else f" in {config.groups} groups")
        kind = ""
        if config.positions == "rotary" or config.norm == "rms_norm" or config.feed_forward == "swiglu":
            kind = f", {config.positions} positions, {config.norm}, {config.feed_forward}"
        return (
            f"GPT({config.vocabulary:,} tokens, context {config.context}, {config.layers} layers of {heads}, "
            f"{config.width} wide{kind}, {count_parameters(self)})"
        )
