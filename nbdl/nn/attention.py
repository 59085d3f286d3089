r"""Attention in several heads: each query takes a weighted mean of the values, weighted by its match with the keys.

$$\text{head}_h = \text{softmax}\Big(\frac{Q_h K_h^\top}{\sqrt{d}} + M\Big) V_h, \qquad
  y = [\text{head}_1; \dots; \text{head}_H]\, W_O^\top + b_O,$$

with $Q_h, K_h, V_h$ the h-th slices, each of $d = E / H$ features, of linear maps of queries, keys and values.

Source: Vaswani et al. (2017), "Attention Is All You Need", section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn import init
from nbdl.nn.linear import Linear
from nbdl.nn.module import Module
from nbdl.nn.parameter import Parameter, new_parameter
from nbdl.ops.creation import zeros
from nbdl.runtime.checks import check_float, check_int, check_number, check_same_dtype
from nbdl.runtime.dtypes import BOOL
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError


class MultiheadAttention(Module):
    r"""Attention in several heads between linear maps of queries, keys and values.

    The weights of the maps begin as Xavier's uniform numbers, biases at 0, the weight of the last map as that of
    `Linear`.

    Args:
        embed_dim: Features of queries and of the result, E.
        num_heads: Heads H; E must divide by it.
        dropout: Probability with which an attention weight is dropped in training.
        bias: Whether the linear maps add a bias.
        add_bias_kv: Add one more key and value, learned, to every sequence.
        add_zero_attn: Add one more key and value of zeros.
        kdim: Features of keys; E when None.
        vdim: Features of values; E when None.
        batch_first: Whether the batch is the first dimension of batched inputs, results too.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        in_proj_weight: [3E, E], the maps of queries, keys and values one below the other; None with kdim or vdim.
        q_proj_weight: [E, E], with kdim or vdim; else None, as the two others.
        k_proj_weight: [E, kdim].
        v_proj_weight: [E, vdim].
        in_proj_bias: [3E], or None.
        out_proj: The last linear map.
        bias_k: [1, 1, E], with add_bias_kv.
        bias_v: [1, 1, E], with add_bias_kv.

    Raises:
        ArgumentError: A size is not positive, num_heads does not divide embed_dim, or dropout is no probability.

    Example:
        >>> attention = nbdl.nn.MultiheadAttention(8, num_heads=2, batch_first=True)
        >>> x = nbdl.randn(3, 5, 8)
        >>> y, weights = attention(x, x, x)
        >>> y.shape, weights.shape
        ((3, 5, 8), (3, 5, 5))

    Source:
        Vaswani et al. (2017), "Attention Is All You Need", section 3.2.2.
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.embed_dim = check_int("embed_dim", embed_dim, low=1)
        self.num_heads = check_int("num_heads", num_heads, low=1)
        if embed_dim % num_heads:
            raise ArgumentError(f"num_heads: expected a divisor of embed_dim, {embed_dim}, got {num_heads}")
        self.head_dim = embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else check_int("kdim", kdim, low=1)
        self.vdim = embed_dim if vdim is None else check_int("vdim", vdim, low=1)
        self.dropout = check_number("dropout", dropout, 0, 1)
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        apart = {"q_proj_weight": embed_dim, "k_proj_weight": self.kdim, "v_proj_weight": self.vdim}
        if self.kdim == embed_dim == self.vdim:
            self.in_proj_weight = new_parameter((3 * embed_dim, embed_dim), device, dtype)
            for name in apart:
                self.register_parameter(name, None)
        else:
            for name, features in apart.items():
                setattr(self, name, new_parameter((embed_dim, features), device, dtype))
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", new_parameter((3 * embed_dim,), device, dtype) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        for name in ("bias_k", "bias_v"):
            extra = new_parameter((1, 1, embed_dim), device, dtype) if add_bias_kv else None
            self.register_parameter(name, extra)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draws the parameters anew, but for the weight of the last map."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Every query's weighted mean of the values.

        A boolean mask says what to leave out: True hides a key. (`ops.scaled_dot_product_attention` reads it the other
        way round.) A floating-point mask is added to the scores. Where all keys are hidden from a query, its mean is 0
        without `need_weights` and NaN with it, as in PyTorch.

        Args:
            query: [L, N, E], with batch_first [N, L, E]; or [L, E] for one sequence.
            key: [S, N, kdim], [N, S, kdim] or [S, kdim].
            value: [S, N, vdim], [N, S, vdim] or [S, vdim].
            key_padding_mask: [N, S], or [S] for one sequence: keys to leave out, bool, float32 or the dtype of query.
            need_weights: Whether the weights are returned too. Without them the memory needed is linear in L and S.
            attn_mask: [L, S] or [N H, L, S], bool, float32 or the dtype of query.
            average_attn_weights: Whether the weights returned are the mean over the heads.
            is_causal: Says that attn_mask hides from each query the keys after it, so that it need not be read.

        Returns:
            The result, shaped as query; and the weights, None without need_weights: [N, L, S], or [N, H, L, S] when not
            averaged, without N for one sequence. S counts the keys that were added.

        Raises:
            ShapeError: Query, key, value and masks do not fit together, or not to the module.
            DTypeError: A dtype is not that of the weights, or a mask is neither boolean nor of the query's dtype.
            ArgumentError: is_causal without attn_mask.
        """
        self._check_inputs(query, key, value)
        batch_dim = 0 if self.batch_first else 1
        alone = query.ndim == 2
        if alone:
            key_is_query, value_is_key = key is query, value is key
            query = ops.unsqueeze(query, batch_dim)
            key = query if key_is_query else ops.unsqueeze(key, batch_dim)
            value = key if value_is_key else ops.unsqueeze(value, batch_dim)
        batch, targets, sources = query.shape[batch_dim], query.shape[1 - batch_dim], key.shape[1 - batch_dim]
        self._check_masks(attn_mask, key_padding_mask, batch, targets, sources, alone)
        if is_causal and attn_mask is None:
            raise ArgumentError("attn_mask: expected the causal mask with is_causal=True, got None")
        only_causal = is_causal and key_padding_mask is None and not need_weights
        mask = None if only_causal else self._one_mask(attn_mask, key_padding_mask, query, batch, sources)

        q, k, v = self._project(query, key, value)
        k, v, mask = self._with_added_keys(k, v, mask)
        weights = None
        if need_weights:
            y, weights = self._with_weights(q, k, v, mask)
        else:
            if mask is not None and mask.dtype == BOOL:
                mask = ops.logical_not(mask)
            y = ops.scaled_dot_product_attention(
                q, k, v, mask, self.dropout if self.training else 0.0, is_causal=only_causal
            )
        y = self.joined(y)
        if weights is not None and average_attn_weights:
            weights = ops.mean(weights, 1)
        if alone:
            return ops.squeeze(y, batch_dim), None if weights is None else ops.squeeze(weights, 0)
        return y, weights

    # ---------------------------------------------------------------- queries, keys and values

    def _check_inputs(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        weight: Any = self.q_proj_weight if self.in_proj_weight is None else self.in_proj_weight
        sizes = (("query", query, self.embed_dim), ("key", key, self.kdim), ("value", value, self.vdim))
        for name, tensor, features in sizes:
            check_same_dtype(name, check_float(name, tensor), "the weights", weight)
            rank = tensor.ndim
            if rank not in (2, 3) or rank != query.ndim:
                expected = "2 or 3 dimensions" if tensor is query else f"{query.ndim} dimensions, as query"
                raise ShapeError(f"{name}: expected {expected}, got shape {list(tensor.shape)}")
            if tensor.shape[-1] != features:
                raise ShapeError(f"{name}: expected {features} features, got shape {list(tensor.shape)}")
        if value.shape[:-1] != key.shape[:-1]:
            expected = f"{list(key.shape[:-1])}, as key, before the features"
            raise ShapeError(f"value: expected {expected}, got shape {list(value.shape)}")
        if query.ndim == 3:
            batch = 0 if self.batch_first else 1
            if key.shape[batch] != query.shape[batch]:
                raise ShapeError(f"key: expected batch size {query.shape[batch]}, as query, got {key.shape[batch]}")

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """Queries, keys and values of all heads, each [N, H, *, d]: views of one product where they can be."""
        counts = (1, 1, 1)
        if self.in_proj_weight is not None and key is value:
            counts = (3,) if query is key else (1, 2)  # type: ignore[assignment]
        inputs = (query, key, value)[: len(counts)]
        maps = zip(inputs, self._maps(counts), counts, strict=True)
        return [part for x, matrix_and_bias, count in maps for part in self._heads(x, *matrix_and_bias, count)]

    def _maps(self, counts: Sequence[int]) -> list[tuple[Any, Any]]:
        """Weights and biases of the maps, the packed ones cut into parts for so many results each."""
        sizes = [count * self.embed_dim for count in counts]
        weights: Any = self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        if self.in_proj_weight is not None:
            weights = (self.in_proj_weight,) if len(sizes) == 1 else ops.split(self.in_proj_weight, sizes)
        bias: Any = self.in_proj_bias
        biases = (bias,) * len(sizes) if bias is None or len(sizes) == 1 else ops.split(bias, sizes)
        return list(zip(weights, biases, strict=True))

    def _heads(self, x: Tensor, weight: Tensor, bias: Tensor | None, count: int) -> list[Tensor]:
        """`count` results of one map of x, as all heads see them: [N, H, *, d] each."""
        first, second, _ = x.shape
        order = (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3)
        y = ops.reshape(ops.linear(x, weight, bias), (first, second, count, self.num_heads, self.head_dim))
        return [ops.permute(part, order) for part in ops.unbind(y, 2)]

    def heads_of_query(self, query: Tensor) -> Tensor:
        """What all heads ask: [N, L, E] with batch_first, else [L, N, E], to [N, H, L, d]."""
        return self._heads(query, *self._maps(self._apart())[0], 1)[0]

    def heads_of_source(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of all heads, for a source that is asked more than once: [N, H, S, d] each."""
        counts = self._apart()[1:]
        maps = zip(self._maps(self._apart())[1:], counts, strict=True)
        keys, values = (
            part for matrix_and_bias, count in maps for part in self._heads(source, *matrix_and_bias, count)
        )
        return keys, values

    def _apart(self) -> tuple[int, ...]:
        """How the maps are cut where queries come alone."""
        return (1, 1, 1) if self.in_proj_weight is None else (1, 2)

    def joined(self, heads: Tensor) -> Tensor:
        """The last map of what all heads have found: [N, H, L, d] to [N, L, E] with batch_first, else [L, N, E]."""
        y = ops.permute(heads, (0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3))
        return self.out_proj(ops.reshape(y, (*y.shape[:2], self.embed_dim)))

    def _with_added_keys(self, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys and values [N, H, S, d] with the learned ones and those of zeros, which no mask hides, at the end."""
        added = 0
        shape = (k.shape[0], self.num_heads, 1, self.head_dim)
        if self.bias_k is not None and self.bias_v is not None:
            own = (1, self.num_heads, 1, self.head_dim)
            k = ops.cat([k, ops.expand(ops.reshape(self.bias_k, own), shape)], 2)
            v = ops.cat([v, ops.expand(ops.reshape(self.bias_v, own), shape)], 2)
            added += 1
        if self.add_zero_attn:
            nothing = zeros(shape, dtype=k.dtype, device=k.device)
            k, v = ops.cat([k, nothing], 2), ops.cat([v, nothing], 2)
            added += 1
        if added and mask is not None:
            shown = zeros((*mask.shape[:-1], added), dtype=mask.dtype, device=mask.device)
            mask = ops.cat([mask, shown], -1)
        return k, v, mask

    def _with_weights(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The heads' results [N, H, L, d] and their weights [N, H, L, S], which go through memory."""
        scores = ops.matmul(q * math.sqrt(1 / self.head_dim), ops.transpose(k, 2, 3))
        if mask is not None:
            scores = scores + _as_scores(mask, q.dtype)
        weights = ops.dropout(ops.softmax(scores, -1), self.dropout, self.training)
        return ops.matmul(weights, v), weights

    # ---------------------------------------------------------------- masks

    def _check_masks(
        self,
        attn_mask: Tensor | None,
        key_padding_mask: Tensor | None,
        batch: int,
        targets: int,
        sources: int,
        alone: bool,
    ) -> None:
        shapes: Any = {
            "key_padding_mask": [(sources,) if alone else (batch, sources)],
            "attn_mask": [(targets, sources), (batch * self.num_heads, targets, sources)],
        }
        for name, mask in (("key_padding_mask", key_padding_mask), ("attn_mask", attn_mask)):
            if mask is None:
                continue
            if not isinstance(mask, Tensor):
                raise ArgumentTypeError(f"{name}: expected a Tensor or None, got {type(mask).__name__}")
            if mask.dtype != BOOL and not mask.is_floating_point():
                raise DTypeError(f"{name}: expected a boolean or floating-point mask, got {mask.dtype}")
            if mask.shape not in shapes[name]:
                expected = " or ".join(str(list(shape)) for shape in shapes[name])
                raise ShapeError(f"{name}: expected shape {expected}, got {list(mask.shape)}")

    def _one_mask(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor, batch: int, sources: int
    ) -> Tensor | None:
        """Both masks in one that broadcasts to [N, H, L, S]: boolean, True to hide, or of the query's dtype."""
        mask = attn_mask
        if mask is not None:
            targets = mask.shape[-2]
            lead = (1, 1) if mask.ndim == 2 else (batch, self.num_heads)
            mask = ops.reshape(mask, (*lead, targets, sources))
        if key_padding_mask is not None:
            padding = ops.reshape(key_padding_mask, (batch, 1, 1, sources))
            if mask is None:
                mask = padding
            elif mask.dtype == padding.dtype == BOOL:
                mask = ops.logical_or(mask, padding)
            else:
                mask = _as_scores(mask, query.dtype) + _as_scores(padding, query.dtype)
        if mask is not None and mask.dtype not in (BOOL, query.dtype):
            if mask.dtype == np.float32:
                return mask.to(query.dtype)
            name = "key_padding_mask" if attn_mask is None else "attn_mask"
            raise DTypeError(f"{name}: expected bool or {query.dtype}, the dtype of query, got {mask.dtype}")
        return mask


def _as_scores(mask: Tensor, dtype: Any) -> Tensor:
    """What is to be added to scores: minus infinity where a boolean mask hides, a floating-point mask itself."""
    if mask.dtype != BOOL:
        return mask
    return ops.masked_fill(zeros(mask.shape, dtype=dtype, device=mask.device), mask, -math.inf)
