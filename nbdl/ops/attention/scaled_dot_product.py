r"""Scaled dot-product attention: each query's mean of the values, weighted by how well their keys fit it.

With queries $q_i$ of E features, keys $k_j$, values $v_j$, a factor $\alpha$ (as a rule $1 / \sqrt E$) and a mask
$b_{ij}$ that is added to the scores, minus infinity where query $i$ must not look at key $j$:

$$
s_{ij} = \alpha\, q_i \cdot k_j + b_{ij}, \qquad p_{ij} = \frac{e^{s_{ij}}}{\sum_l e^{s_{il}}}, \qquad
y_i = \sum_j p_{ij}\, v_j.
$$

The scores of all queries and keys would take memory that grows with the square of the length. They are computed a
block at a time instead and never stored: a running maximum and a running sum suffice for the softmax (forward.py), and
the backward pass computes them again (backward.py). A causal mask leaves out the blocks above the diagonal. Dropout
multiplies $p_{ij}$ with $m_{ij} / (1 - p)$ as in ops/dropout.py; toss number $i \lceil S / 4 \rceil 4 + j$ of a stream
decides, $i$ counted through all problems. A query that may look at no key gives zero, and zero gradients.

Letters: P problems (heads of all samples), L queries, S keys, E features of queries and keys, D columns of values.

Sources: Vaswani et al. (2017), "Attention Is All You Need"; Rabe and Staats (2021), "Self-attention Does Not Need
O(n^2) Memory"; Dao et al. (2022), "FlashAttention"; Ainslie et al. (2023), "GQA", for grouped queries.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.attention.backward import attention_backward
from nbdl.ops.attention.forward import attention
from nbdl.ops.attention.plan import Form, Plan, Slot, backward_plan, forward_plan, shared_step
from nbdl.ops.shape import expand, repeat_interleave
from nbdl.runtime import arrays, memory, philox, threads
from nbdl.runtime.checks import check_float, check_number, check_same_dtype
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError

# ---------------------------------------------------------------- reference


def scaled_dot_product_attention_reference(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    """The definition, in float64."""
    if enable_gqa:
        key, value = (np.repeat(x, query.shape[-3] // x.shape[-3], axis=-3) for x in (key, value))
    alpha = 1 / math.sqrt(query.shape[-1] or 1) if scale is None else scale
    scores = alpha * (query @ np.swapaxes(key, -1, -2))
    if is_causal:
        attn_mask = np.tri(*scores.shape[-2:], dtype=bool)
    if attn_mask is not None:
        scores = scores + (np.where(attn_mask, 0, -np.inf) if attn_mask.dtype == bool else attn_mask)
    highest = np.max(scores, axis=-1, keepdims=True, initial=-np.inf)
    p = np.exp(scores - np.where(np.isneginf(highest), 0, highest))
    total = np.sum(p, axis=-1, keepdims=True)
    p = p / np.where(total == 0, 1, total)
    if dropout_p:
        tosses = np.empty((*p.shape[:-1], -(-p.shape[-1] // 4) * 4))
        philox.bernoulli(tosses, dropout_p)
        p = p * (1 - tosses[..., : p.shape[-1]]) * (1 / (1 - dropout_p) if dropout_p < 1 else 0)
    return p @ value


# ---------------------------------------------------------------- autograd


class ScaledDotProductAttentionOp(Op):
    """y of q [*, L, E], k [*, S, E], v [*, S, D]: saves them, the mask, y and the logarithms of the sums.

    The leading dimensions are equal, but that the last of them, heads, may be a multiple of that of k and v.
    """

    @staticmethod
    def forward(ctx: Context, q, k, v, mask, dropout_p, is_causal, scale):
        ctx.key = _key(q, k, v, mask, bool(is_causal), scale, dropout_p)
        plan = forward_plan(*ctx.key)
        if plan.copy:
            q, k, v, mask = (x if x is None else arrays.contiguous(x) for x in (q, k, v, mask))
            ctx.key = _key(q, k, v, mask, bool(is_causal), scale, dropout_p)
            plan = forward_plan(*ctx.key)
        y = _array_in(plan.slots[0], q.dtype)
        ctx.is_empty = y.size == 0 or k.shape[-2] == 0
        if ctx.is_empty:
            if y.size:
                arrays.copy_into(y, arrays.full(y.shape, 0, y.dtype))
            ctx.save(q, k, v)
            return y
        ctx.random = np.array(philox.default_generator.next(), np.uint32) if dropout_p > 0 else _NO_WORDS
        logs = memory.empty((y.size // y.shape[-1],), q.dtype)
        ctx.save(q, k, v, y, logs, *(() if mask is None else (mask,)))
        attention(
            *_inputs(plan, q, k, v, mask), ctx.random, *plan.numbers, plan.places, plan.sizes,
            memory.empty(plan.workspace, q.dtype), y.ravel("K"), logs,
        )  # fmt: skip
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        wants_dmask = ctx.needs_input_grad[3]
        if ctx.is_empty:
            q, k, v = ctx.saved
            zeros = [arrays.full(x.shape, 0, x.dtype) for x in (q, k, v)]
            dmask = arrays.full((*q.shape[:-1], k.shape[-2]), 0, q.dtype) if wants_dmask else None
            return *zeros, dmask, None, None, None
        q, k, v, y, logs, *rest = ctx.saved
        mask = rest[0] if rest else None
        step = shared_step(q, k, v) if isinstance(q, np.ndarray) else 0
        plan = backward_plan(*ctx.key, dy.strides, step)
        if plan.copy:
            dy = arrays.contiguous(dy)
            plan = backward_plan(*ctx.key, dy.strides, step)
        if plan.step:
            whole = memory.empty((3 * q.size,), q.dtype)
            flat = [whole[number * plan.step :] for number in range(3)]
            gradients = [arrays.strided(part, q.shape, q.strides) for part in flat]
        else:
            gradients = [_array_in(slot, q.dtype) for slot in plan.slots]
            flat = [gradient.ravel("K") for gradient in gradients]
        dmask = memory.empty((*q.shape[:-1], k.shape[-2]) if wants_dmask else (0,), q.dtype)
        parts = memory.empty((plan.splits, q.size), q.dtype) if plan.splits > 1 else flat[0]
        attention_backward(
            *_inputs(plan, q, k, v, mask), ctx.random, *plan.numbers, plan.places, plan.sizes,
            memory.empty(plan.workspace, q.dtype), y.ravel("K"), logs, _flat(dy, plan.extents[-1]),
            parts.reshape(-1), *flat[1:], dmask.reshape(-1),
        )  # fmt: skip
        if plan.splits > 1:
            arrays.sum_rows_kernel(parts, flat[0])
        return *gradients, dmask if wants_dmask else None, None, None, None


_NO_WORDS = np.zeros(4, np.uint32)


def _key(q: Any, k: Any, v: Any, mask: Any, is_causal: bool, scale: float, dropout_p: float) -> tuple[Any, ...]:
    """What a plan depends on."""
    form, itemsize = (None, 0) if mask is None else (Form(mask.shape, mask.strides), mask.itemsize)
    return (
        q.shape, q.strides, k.shape, k.strides, v.shape, v.strides, form, itemsize,
        q.dtype, is_causal, scale, dropout_p, threads._threads,
    )  # fmt: skip


def _array_in(slot: Slot, dtype: Any) -> Any:
    """An empty array in a slot."""
    array = memory.empty(slot.memory, dtype)
    return array if slot.order is None else array.transpose(slot.order)


def _flat(x: Any, extent: int) -> Any:
    """The memory of x from its first element to its last, as one dimension."""
    return arrays.strided(x, (extent,), (x.itemsize,)) if extent else x.reshape(-1)


@functools.cache
def _no_masks(dtype: Any) -> tuple[Any, Any]:
    return np.empty(0, dtype), np.empty(0, np.uint8)


def _inputs(plan: Plan, q: Any, k: Any, v: Any, mask: Any) -> tuple[Any, ...]:
    """q, k, v, the additive mask and the mask of what is allowed, as kernels take them."""
    bias, allowed = _no_masks(q.dtype)
    extents = plan.extents
    if mask is not None:
        mask = _flat(mask, extents[3])
        if mask.dtype == np.bool_:
            allowed = mask.view(np.uint8)
        else:
            bias = mask
    return _flat(q, extents[0]), _flat(k, extents[1]), _flat(v, extents[2]), bias, allowed


# ---------------------------------------------------------------- public


def _check_shapes(query: Tensor, key: Tensor, value: Tensor) -> None:
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        check_float(name, tensor)
        check_same_dtype(name, tensor, "query", query)
        if tensor.ndim < 2:
            raise ShapeError(f"{name}: expected at least 2 dimensions, got shape {list(tensor.shape)}")
    if key.shape[-1] != query.shape[-1]:
        raise ShapeError(f"key: expected [..., S, {query.shape[-1]}] as query has, got shape {list(key.shape)}")
    if value.shape[-2] != key.shape[-2]:
        raise ShapeError(f"value: expected [..., {key.shape[-2]}, Ev] as key has, got shape {list(value.shape)}")


def _common_lead(**leads: tuple[int, ...]) -> tuple[int, ...]:
    """The shape to which leading dimensions broadcast."""
    try:
        return np.broadcast_shapes(*leads.values())
    except ValueError:
        got = ", ".join(f"{name} {list(lead)}" for name, lead in leads.items())
        raise ShapeError(f"query, key, value: expected leading dimensions that broadcast, got {got}") from None


def _grouped(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The tensors with equal leading dimensions but for the heads, where those of keys and values divide the queries'.

    Where keys and values differ in heads, each is repeated for every query.
    """
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if tensor.ndim < 3:
            raise ShapeError(f"{name}: enable_gqa expects [..., H, L, E], got shape {list(tensor.shape)}")
    heads = query.shape[-3]
    for name, tensor in (("key", key), ("value", value)):
        own = tensor.shape[-3]
        if own == 0 or heads % own:
            raise ShapeError(f"{name}: expected a number of heads that divides query's {heads}, got {own}")
    if key.shape[-3] != value.shape[-3]:
        key = repeat_interleave(key, heads // key.shape[-3], dim=-3)
        value = repeat_interleave(value, heads // value.shape[-3], dim=-3)
    lead = _common_lead(query=query.shape[:-3], key=key.shape[:-3], value=value.shape[:-3])
    return _expanded(query, lead, 3), _expanded(key, lead, 3), _expanded(value, lead, 3)


def _expanded(tensor: Tensor, lead: tuple[int, ...], kept: int) -> Tensor:
    """The tensor with other leading dimensions before the last few."""
    shape = lead + tensor.shape[tensor.ndim - kept :]
    return tensor if tensor.shape == shape else expand(tensor, shape)


def _checked_mask(mask: Any, query: Tensor, shape: tuple[int, ...]) -> Tensor:
    if not isinstance(mask, Tensor):
        raise ArgumentTypeError(f"attn_mask: expected a Tensor or None, got {type(mask).__name__}")
    if mask.dtype not in (np.bool_, np.float32, query.dtype):
        raise DTypeError(f"attn_mask: expected bool, float32 or {query.dtype}, got {mask.dtype}")
    sizes = zip(reversed(mask.shape), reversed(shape), strict=False)
    if mask.ndim > len(shape) or any(own not in (1, size) for own, size in sizes):
        raise ShapeError(f"attn_mask: expected a shape that broadcasts to {list(shape)}, got {list(mask.shape)}")
    if mask.dtype not in (np.bool_, query.dtype):
        mask = mask.to(query.dtype)
    return _expanded(mask, shape, 0) if mask.requires_grad else mask


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    r"""Each query's mean of the values, weighted by $\mathrm{softmax}(\alpha\, q \cdot k + b)$ over the keys.

    Memory grows with L + S, not with their product, unless gradients of an additive mask are asked for.

    Args:
        query: [..., L, E], float32 or float64, in any memory layout: views of one projection are read where they are.
        key: [..., S, E]. Leading dimensions of query, key and value broadcast against one another.
        value: [..., S, D].
        attn_mask: Broadcastable to [..., L, S]: bool, True where a query may look at a key, or numbers to add to the
            scores.
        dropout_p: The probability with which a weight is dropped, in [0, 1]. Set it to 0 when not training.
        is_causal: Query i looks at keys 0 to i only; not together with attn_mask.
        scale: The factor $\alpha$; $1 / \sqrt E$ when None.
        enable_gqa: Heads, the third dimension from the end, may be fewer in key and value: each serves the same number
            of heads of the query, one after the other.

    Returns:
        [..., L, D]. With four dimensions or more its memory is [..., L, H, D], so that the heads of a query are joined
        without a copy. A query that may look at no key gives zeros.

    Raises:
        ShapeError: Sizes of query, key and value do not fit, the mask does not broadcast, or heads do not divide.
        DTypeError: Dtypes differ, or the mask's is another than bool, float32 or the query's.
        ArgumentError: dropout_p lies outside [0, 1], scale is not finite, or is_causal is set beside a mask.

    Gradient:
        For query, key, value and an additive attn_mask.

    Example:
        >>> x = nbdl.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> nbdl.ops.scaled_dot_product_attention(x, x, x, is_causal=True)
        tensor([[[1.0000, 0.0000],
                 [0.3302, 0.6698]]])

    Source:
        Vaswani et al. (2017), "Attention Is All You Need".
    """
    _check_shapes(query, key, value)
    check_number("dropout_p", dropout_p, 0, 1)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1] or 1)
    else:
        check_number("scale", scale)
    if enable_gqa:
        query, key, value = _grouped(query, key, value)
    elif not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
        lead = _common_lead(query=query.shape[:-2], key=key.shape[:-2], value=value.shape[:-2])
        query, key, value = (_expanded(tensor, lead, 2) for tensor in (query, key, value))
    if attn_mask is not None:
        if is_causal:
            raise ArgumentError("is_causal: expected False beside an attn_mask, got True")
        attn_mask = _checked_mask(attn_mask, query, (*query.shape[:-1], key.shape[-2]))
    return ScaledDotProductAttentionOp.apply(query, key, value, attn_mask, dropout_p, is_causal, scale)
