r"""The layers of the Transformer: they attend, and then transform each position.

Each sublayer $f$ (attention, or the feed-forward network of two linear maps) adds to what comes in:

$$x \leftarrow \text{norm}(x + f(x)) \quad\text{or, with norm\_first,}\quad x \leftarrow x + f(\text{norm}(x)).$$

Shapes: N sequences of S positions (source) or T positions (target), E = d_model features. Tensors are [S, N, E], with
batch_first [N, S, E], or [S, E] for one sequence.

Masks: `*_mask` says which position may look at which, [S, S], [T, T] or [T, S], or with a leading dimension N nhead for
masks that differ; `*_key_padding_mask` says which positions nobody may look at, [N, S], or [S] for one sequence. A
boolean mask hides where it is True; a floating-point mask is added to the scores. `is_causal` says that a mask hides
all later positions and nothing else; with None that is found out.

Sources: Vaswani et al. (2017), "Attention Is All You Need"; Xiong et al. (2020), "On Layer Normalization in the
Transformer Architecture", for norm_first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn.activation import GELU, ReLU
from nbdl.nn.attention import MultiheadAttention
from nbdl.nn.dropout import Dropout
from nbdl.nn.fusion import fused
from nbdl.nn.kv_cache import KVCache
from nbdl.nn.linear import Linear
from nbdl.nn.module import Module
from nbdl.nn.normalization import LayerNorm
from nbdl.ops.creation import full
from nbdl.runtime.checks import check_int
from nbdl.runtime.dtypes import BOOL
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError

Activation = str | Callable[[Tensor], Tensor]

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": ops.relu, "gelu": ops.gelu}
_AS_MODULES: dict[Any, Module] = {ops.relu: ReLU(), ops.gelu: GELU()}
"""What stands for a function where pairs of modules are looked up that one operation can do."""

# ---------------------------------------------------------------- masks


def square_subsequent_mask(size: int, device: Any = None, dtype: Any = None) -> Tensor:
    """[size, size]: minus infinity, or True for bool, where a position would look at a later one; else 0."""
    value = True if dtype is not None and np.dtype(dtype) == BOOL else -math.inf
    return ops.triu(full((check_int("sz", size, low=0),) * 2, value, dtype=dtype, device=device), 1)


def hides_what_follows(mask: Tensor | None, is_causal: bool | None) -> bool:
    """What the caller says; when he says nothing, whether the mask is the causal one."""
    if is_causal is not None or mask is None:
        return bool(is_causal)
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1] or not (mask.dtype == BOOL or mask.is_floating_point()):
        return False
    return bool((mask == square_subsequent_mask(mask.shape[0], mask.device, mask.dtype)).all())


# ---------------------------------------------------------------- layers


class _TransformerLayer(Module):
    """What both kinds of layers share: attentions by name, then two linear maps; a norm and a dropout for each."""

    _attentions: ClassVar[tuple[str, ...]]

    self_attn: MultiheadAttention
    linear1: Linear
    dropout: Dropout
    linear2: Linear
    activation: Any

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = ops.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        for name in self._attentions:
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype
            )
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, check_int("dim_feedforward", dim_feedforward, low=0), bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)
        self.norm_first = norm_first
        sublayers = range(1, len(self._attentions) + 2)
        for number in sublayers:
            setattr(self, f"norm{number}", LayerNorm(d_model, layer_norm_eps, True, bias, device, dtype))
        for number in sublayers:
            setattr(self, f"dropout{number}", Dropout(dropout))
        if isinstance(activation, str):
            if activation not in _FUNCTIONS:
                raise ArgumentError(f"activation: expected 'relu', 'gelu' or a function, got {activation!r}")
            activation = _FUNCTIONS[activation]
        elif not callable(activation):
            raise ArgumentTypeError(f"activation: expected a string or a function, got {type(activation).__name__}")
        self.activation = activation

    def _add(self, number: int, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """x and what a sublayer makes of it, with the norm and the dropout of that number."""
        norm, dropout = self.__dict__[f"norm{number}"], self.__dict__[f"dropout{number}"]
        if self.norm_first:
            return x + dropout(sublayer(norm(x)))
        y: Tensor = norm(x + dropout(sublayer(x)))
        return y

    def _attend(
        self,
        attention: MultiheadAttention,
        query: Tensor,
        source: Tensor,
        mask: Tensor | None,
        key_padding_mask: Tensor | None,
        is_causal: bool,
    ) -> Tensor:
        """The source as the positions of `query` see it."""
        return attention(query, source, source, key_padding_mask, False, mask, is_causal=is_causal)[0]

    def _feed_forward(self, x: Tensor) -> Tensor:
        """Two linear maps with the activation between them."""
        following = self.activation if isinstance(self.activation, Module) else _AS_MODULES.get(self.activation)
        both = fused(self.linear1, following)
        wide = self.activation(self.linear1(x)) if both is None else both(self.linear1, following, x)
        return self.linear2(self.dropout(wide))


class TransformerEncoderLayer(_TransformerLayer):
    r"""Every position attends to all of the sequence, then goes through the feed-forward network.

    Args:
        d_model: Features E.
        nhead: Heads of the attention; E must divide by it.
        dim_feedforward: Features between the two linear maps.
        dropout: Probability with which attention weights, features between the maps, and elements of what a sublayer
            adds are dropped in training.
        activation: What stands between the maps: "relu", "gelu", a function or a module.
        layer_norm_eps: Added to the variance in the norms.
        batch_first: Whether the batch is the first dimension of batched inputs.
        norm_first: Whether norms stand before the sublayers.
        bias: Whether linear maps and norms have biases.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        self_attn: The attention.
        linear1, linear2: The feed-forward network.
        norm1, norm2: The norm of each sublayer.

    Raises:
        ArgumentError: A size is out of range, nhead does not divide d_model, dropout is no probability, or the
            activation is another string.

    Example:
        >>> layer = nbdl.nn.TransformerEncoderLayer(d_model=8, nhead=2, batch_first=True)
        >>> layer(nbdl.randn(3, 5, 8)).shape
        (3, 5, 8)
    """

    _attentions = ("self_attn",)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The sequence after the layer, shaped as it came.

        Args:
            src: [S, N, E], [N, S, E] with batch_first, or [S, E].
            src_mask: [S, S] or [N nhead, S, S].
            src_key_padding_mask: [N, S], or [S].
            is_causal: Says that src_mask is the causal mask.

        Raises:
            ShapeError, DTypeError, ArgumentError: As for `MultiheadAttention`.
        """
        x = self._add(1, src, lambda x: self._attend(self.self_attn, x, x, src_mask, src_key_padding_mask, is_causal))
        return self._add(2, x, self._feed_forward)


@dataclass
class TransformerDecoderLayerState:
    """What a decoder layer keeps while a target grows.

    Attributes:
        cache: Keys and values of the target so far.
        keys: [N, H, S, d] of the memory.
        values: [N, H, S, d] of the memory.
        shown: Which positions of the memory may be seen, bool [N, 1, 1, S]; None for all.
    """

    cache: KVCache
    keys: Tensor
    values: Tensor
    shown: Tensor | None


class TransformerDecoderLayer(_TransformerLayer):
    r"""Every position attends to the target, then to the encoder's result, then goes through the feed-forward network.

    Args:
        d_model: Features E.
        nhead: Heads of both attentions; E must divide by it.
        dim_feedforward: Features between the two linear maps.
        dropout: As for `TransformerEncoderLayer`.
        activation: As for `TransformerEncoderLayer`.
        layer_norm_eps: Added to the variance in the norms.
        batch_first: Whether the batch is the first dimension of batched inputs.
        norm_first: Whether norms stand before the sublayers.
        bias: Whether linear maps and norms have biases.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        self_attn: The attention to the target.
        multihead_attn: The attention to the memory.
        linear1, linear2: The feed-forward network.
        norm1, norm2, norm3: The norm of each sublayer.

    Raises:
        ArgumentError: As for `TransformerEncoderLayer`.

    Example:
        >>> layer = nbdl.nn.TransformerDecoderLayer(d_model=8, nhead=2, batch_first=True)
        >>> layer(nbdl.randn(3, 4, 8), nbdl.randn(3, 5, 8)).shape
        (3, 4, 8)
    """

    _attentions = ("self_attn", "multihead_attn")

    multihead_attn: MultiheadAttention

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The target after the layer, shaped as it came.

        Args:
            tgt: [T, N, E], [N, T, E] with batch_first, or [T, E].
            memory: [S, N, E], [N, S, E] or [S, E]: the encoder's result.
            tgt_mask: [T, T] or [N nhead, T, T].
            memory_mask: [T, S] or [N nhead, T, S].
            tgt_key_padding_mask: [N, T], or [T].
            memory_key_padding_mask: [N, S], or [S].
            tgt_is_causal: Says that tgt_mask is the causal mask.
            memory_is_causal: Says that memory_mask is the causal mask.

        Raises:
            ShapeError, DTypeError, ArgumentError: As for `MultiheadAttention`.
        """

        def look_back(x: Tensor) -> Tensor:
            return self._attend(self.self_attn, x, x, tgt_mask, tgt_key_padding_mask, tgt_is_causal)

        def look_over(x: Tensor) -> Tensor:
            masks = memory_mask, memory_key_padding_mask
            return self._attend(self.multihead_attn, x, memory, *masks, memory_is_causal)

        return self._add(3, self._add(2, self._add(1, tgt, look_back), look_over), self._feed_forward)

    # ---------------------------------------------------------------- one position after the other

    def start(
        self, memory: Tensor, length: int, memory_key_padding_mask: Tensor | None = None
    ) -> TransformerDecoderLayerState:
        """What the layer keeps while a target grows: the memory's keys and values, and room for the target's.

        Args:
            memory: [S, N, E], or [N, S, E] with batch_first.
            length: Positions the target may grow to.
            memory_key_padding_mask: bool [N, S], True to hide.
        """
        keys, values = self.multihead_attn.heads_of_source(memory)
        batch, heads, sources, features = keys.shape
        shown = None
        if memory_key_padding_mask is not None:
            shown = ops.reshape(ops.logical_not(memory_key_padding_mask), (batch, 1, 1, sources))
        cache = KVCache(batch, heads, length, features, keys.device, keys.dtype)
        return TransformerDecoderLayerState(cache, keys, values, shown)

    def step(self, tgt: Tensor, state: TransformerDecoderLayerState) -> Tensor:
        """The next position of the target after the layer: what `forward` with the causal mask says of it.

        Args:
            tgt: [1, N, E], or [N, 1, E] with batch_first.
            state: From `start`; it remembers the position. Without gradients only: call it under `nbdl.no_grad()`.

        Returns:
            The shape of tgt.
        """

        def look_back(x: Tensor) -> Tensor:
            own = self.self_attn
            keys, values = state.cache.append(*own.heads_of_source(x))
            return own.joined(ops.scaled_dot_product_attention(own.heads_of_query(x), keys, values))

        def look_over(x: Tensor) -> Tensor:
            query = self.multihead_attn.heads_of_query(x)
            y = ops.scaled_dot_product_attention(query, state.keys, state.values, state.shown)
            return self.multihead_attn.joined(y)

        return self._add(3, self._add(2, self._add(1, tgt, look_back), look_over), self._feed_forward)
