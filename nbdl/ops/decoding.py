r"""One token through one block of a decoder, in one launch: what writing a text asks for again and again.

With the sum $x$ [C] that comes in, and keys and values of the positions before, the pre-norm block is

$$(q, k, v) = W_{qkv}\, \mathrm{norm}_1(x) + b, \qquad
  x \leftarrow x + W_o \sum_{s \le t} \mathrm{softmax}_s\!\left(\frac{q^\top k_s}{\sqrt D}\right) v_s + b_o$$
$$x \leftarrow x + W_2\, \phi(W_1\, \mathrm{norm}_2(x) + b_1) + b_2$$

for each head, with $\phi$ the tanh form of GELU or, gated, $\mathrm{silu}(g) \odot u$ of the two halves $(g, u)$. The
new $k$ and $v$ stay in the cache at position t; with rotary positions q and k are turned first.

A block that is made of operations takes a dozen launches for a token, and the arithmetic of a small model is less than
what they cost. Here one task is one text, so for large models, whose weights come from memory each time, or for many
texts, matrix products over all texts and threads are faster: `DecoderBlock.pays` says which it is.

There is no backward pass: nothing is learned while writing.

Letters: B texts, C features of a token, H heads of D features, G heads of keys and values, T places of the cache,
F width of the feed-forward layer. Sources: as nbdl/models/gpt/model.py; Pope et al. (2022), "Efficiently Scaling
Transformer Inference".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbdl.ops.activation.smooth import _gelu_tanh as gelu_tanh_and_slope
from nbdl.ops.activation.smooth import _silu as silu_and_slope
from nbdl.ops.activation.smooth import gelu_reference, silu_reference
from nbdl.runtime import arrays, threads
from nbdl.runtime.cuda.primitives import block_max, block_sum
from nbdl.runtime.gemm import multiply_row
from nbdl.runtime.jit import BLOCK, Kernel, cpu_function, cpu_kernel, cuda, cuda_device, cuda_kernel
from nbdl.runtime.simd import advance, pointer
from nbdl.runtime.vecmath import exp

CACHED_WEIGHTS = 1 << 19
"""Weights of a block that a processor's cache holds from one token to the next."""

RMS, GATED, ROTARY = 1, 2, 4
"""What a block may be: with norms that leave the mean alone, with SwiGLU, with rotary positions."""

# ---------------------------------------------------------------- reference


def decoder_block_reference(x, keys, values, position, block, rotation=None):
    """The definition, in float64: x [B, C] -> [B, C]; keys and values [B, G, T, D] get those of the position."""

    def norm(row, scale, shift):
        centred = row if block.rms else row - row.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + block.eps) * scale + shift

    batch, width = x.shape
    groups, features = keys.shape[1], keys.shape[3]
    heads = width // features
    q, k, v = np.split(
        (norm(x, *block.norm1) @ block.qkv.T + block.qkv_bias).reshape(batch, -1, features), [heads, heads + groups], 1
    )
    if rotation is not None:
        cosine, sine = np.split(rotation[position], 2)
        q, k = (
            np.concatenate([a * cosine - b * sine, b * cosine + a * sine], -1)
            for a, b in (np.split(y, 2, -1) for y in (q, k))
        )
    keys[:, :, position], values[:, :, position] = k, v
    read_keys, read_values = (
        np.repeat(kept[:, :, : position + 1], heads // groups, 1).astype(np.float64) for kept in (keys, values)
    )
    scores = np.einsum("bhd,bhtd->bht", q, read_keys) / np.sqrt(features)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    answer = np.einsum("bht,bhtd->bhd", weights, read_values).reshape(batch, width)
    x = x + answer @ block.projection.T + block.projection_bias
    wide = norm(x, *block.norm2) @ block.expand.T + block.expand_bias
    if block.gated:
        gate, value = np.split(wide, 2, -1)
        wide = silu_reference(gate) * value
    else:
        wide = gelu_reference(wide, "tanh")
    return x + wide @ block.contract.T + block.contract_bias


# ---------------------------------------------------------------- forward, CPU


@cpu_function
def _norm_row(c, x, scale, shift, rms, eps, y, zero):
    """y [c] = the normed x, times scale, plus shift."""
    mean = zero
    if not rms:
        for j in range(c):
            mean += x[j]
        mean /= c
    square = zero
    for j in range(c):
        centred = x[j] - mean
        square += centred * centred
    share = type(zero)(1) / np.sqrt(square / c + eps)
    for j in range(c):
        y[j] = (x[j] - mean) * share * scale[j] + shift[j]


@cpu_function
def _turn_heads(heads, d, x, rotation):
    """Turns x [heads, d] in place by the angles whose cosines and sines are rotation [d]."""
    half = d // 2
    for h in range(heads):
        first = advance(x, h * d)
        second = advance(first, half)
        for i in range(half):
            a, b = first[i], second[i]
            first[i] = a * rotation[i] - b * rotation[half + i]
            second[i] = b * rotation[i] + a * rotation[half + i]


@cpu_function
def _softmax_row(n, scores, scale, zero, lowest):
    """scores [n] = the softmax of scale times them, in place."""
    highest = lowest
    for s in range(n):
        highest = max(highest, scores[s])
    total = zero
    for s in range(n):
        scores[s] = exp((scores[s] - highest) * scale)
        total += scores[s]
    share = type(zero)(1) / total
    for s in range(n):
        scores[s] *= share


@cpu_kernel
def _decoder_block_cpu(
    x, keys, values, position, vectors, qkv, projection, expand, contract, rotation, kinds, eps, y, workspace,
    start, stop,
):  # fmt: skip
    """x, y [B, C]; keys, values [B, G, T, D]; vectors: norms and biases, one after the other; rotation [R, D].

    qkv [(H + 2 G) D, C], projection [C, C], expand [F or 2 F, C], contract [C, F]; kinds: RMS + GATED + ROTARY.
    workspace [B, C + the widest row + T]. One task a text; no two tasks write one element.
    """
    c, wide, f = x.shape[1], expand.shape[0], contract.shape[1]
    groups, places, d = keys.shape[1], keys.shape[2], keys.shape[3]
    heads, joined = c // d, qkv.shape[0]
    rms, gated, rotary = kinds & RMS != 0, kinds & GATED != 0, kinds & ROTARY != 0
    zero, one, lowest = x.dtype.type(0), x.dtype.type(1), x.dtype.type(-np.inf)
    scale = one / np.sqrt(x.dtype.type(d))
    scale1 = pointer(vectors, 0)
    shift1, qkv_bias = advance(scale1, c), advance(scale1, 2 * c)
    projection_bias = advance(qkv_bias, joined)
    scale2, shift2, expand_bias = (
        advance(projection_bias, c), advance(projection_bias, 2 * c), advance(projection_bias, 3 * c)
    )  # fmt: skip
    contract_bias = advance(expand_bias, wide)
    turn = pointer(rotation, (position if rotary else 0) * d)
    for b in range(start, stop):
        row, source = pointer(y, b * c), pointer(x, b * c)
        normed = pointer(workspace, b * workspace.shape[1])
        q = advance(normed, c)
        k, v = advance(q, c), advance(q, c + groups * d)
        scores = advance(q, max(joined, wide))
        for j in range(c):
            row[j] = source[j]
        _norm_row(c, row, scale1, shift1, rms, eps, normed, zero)
        multiply_row(
            joined, c, normed, 1, pointer(qkv, 0), 1, c, qkv_bias, 1, True, lowest, q, zero, scores, zero
        )  # fmt: skip
        if rotary:
            _turn_heads(heads + groups, d, q, turn)
        for g in range(groups):
            kept = (b * groups + g) * places * d
            own_key, own_value = pointer(keys, kept + position * d), pointer(values, kept + position * d)
            for i in range(d):
                own_key[i] = k[g * d + i]
                own_value[i] = v[g * d + i]
        for h in range(heads):
            kept = (b * groups + h * groups // heads) * places * d
            multiply_row(
                position + 1, d, advance(q, h * d), 1, pointer(keys, kept), 1, d, q, 0, False, lowest,
                scores, zero, scores, zero,
            )  # fmt: skip
            _softmax_row(position + 1, scores, scale, zero, lowest)
            multiply_row(
                d, position + 1, scores, 1, pointer(values, kept), d, 1, q, 0, False, lowest,
                advance(normed, h * d), zero, scores, zero,
            )  # fmt: skip
        multiply_row(
            c, c, normed, 1, pointer(projection, 0), 1, c, projection_bias, 1, True, lowest, row, one, scores, zero
        )  # fmt: skip
        _norm_row(c, row, scale2, shift2, rms, eps, normed, zero)
        multiply_row(
            wide, c, normed, 1, pointer(expand, 0), 1, c, expand_bias, 1, True, lowest, q, zero, scores, zero
        )  # fmt: skip
        if gated:
            value = advance(q, f)
            for j in range(f):
                q[j] = silu_and_slope(q[j])[0] * value[j]
        else:
            for j in range(f):
                q[j] = gelu_tanh_and_slope(q[j])[0]
        multiply_row(
            c, f, q, 1, pointer(contract, 0), 1, f, contract_bias, 1, True, lowest, row, one, scores, zero
        )  # fmt: skip


# ---------------------------------------------------------------- forward, CUDA


# Reductions over the block stand in the kernel: their shared memory would be defined twice in a nested function.


@cuda_device
def _partial_sum(x, b, rms):
    """This thread's share of the sum of x [b]; 0 where the mean does not count."""
    total = x.dtype.type(0)
    if not rms:
        for j in range(cuda.threadIdx.x, x.shape[1], BLOCK):
            total += x[b, j]
    return total


@cuda_device
def _partial_squares(x, b, mean):
    """This thread's share of the sum of the squares of x [b] - mean."""
    total = x.dtype.type(0)
    for j in range(cuda.threadIdx.x, x.shape[1], BLOCK):
        total += (x[b, j] - mean) * (x[b, j] - mean)
    return total


@cuda_device
def _write_norm(x, b, mean, share, vectors, scale, y):
    """y [b, C] = (x [b] - mean) share, times vectors[scale:], plus what follows those."""
    c = x.shape[1]
    for j in range(cuda.threadIdx.x, c, BLOCK):
        y[b, j] = (x[b, j] - mean) * share * vectors[scale + j] + vectors[scale + c + j]


@cuda_device
def _product_row(weight, x, b, first, vectors, bias, o):
    """Element o of W x + bias for x = x[b, first:]."""
    total = vectors[bias + o]
    for i in range(weight.shape[1]):
        total += weight[o, i] * x[b, first + i]
    return total


@cuda_kernel
def _decoder_block_cuda(
    x, keys, values, position, vectors, qkv, projection, expand, contract, rotation, kinds, eps, y, workspace
):
    """As the CPU twin. One block a text; a thread owns the elements threadIdx.x, + BLOCK, ... of each row."""
    b, thread = cuda.blockIdx.x, cuda.threadIdx.x
    c, wide, f = x.shape[1], expand.shape[0], contract.shape[1]
    groups, d = keys.shape[1], keys.shape[3]
    heads, joined = c // d, qkv.shape[0]
    zero, one = x.dtype.type(0), x.dtype.type(1)
    q, k = c, 2 * c
    v = k + groups * d
    scores = c + max(joined, wide)
    projection_bias = 2 * c + joined
    expand_bias = projection_bias + 3 * c
    for j in range(thread, c, BLOCK):
        y[b, j] = x[b, j]
    cuda.syncthreads()
    rms, features = kinds & RMS != 0, x.dtype.type(c)
    mean = block_sum(_partial_sum(y, b, rms)) / features
    _write_norm(
        y, b, mean, one / math.sqrt(block_sum(_partial_squares(y, b, mean)) / features + eps), vectors, 0, workspace
    )
    cuda.syncthreads()
    for o in range(thread, joined, BLOCK):
        workspace[b, q + o] = _product_row(qkv, workspace, b, 0, vectors, 2 * c, o)
    cuda.syncthreads()
    if kinds & ROTARY != 0:
        half = d // 2
        for pair in range(thread, (heads + groups) * half, BLOCK):
            i = pair % half
            first = q + pair // half * d + i
            cosine, sine = rotation[position, i], rotation[position, half + i]
            one_side, other_side = workspace[b, first], workspace[b, first + half]
            workspace[b, first] = one_side * cosine - other_side * sine
            workspace[b, first + half] = other_side * cosine + one_side * sine
        cuda.syncthreads()
    for place in range(thread, groups * d, BLOCK):
        keys[b, place // d, position, place % d] = workspace[b, k + place]
        values[b, place // d, position, place % d] = workspace[b, v + place]
    cuda.syncthreads()
    scale = one / math.sqrt(x.dtype.type(d))
    for h in range(heads):
        g = h * groups // heads
        highest = x.dtype.type(-math.inf)
        for s in range(thread, position + 1, BLOCK):
            score = zero
            for i in range(d):
                score += workspace[b, q + h * d + i] * keys[b, g, s, i]
            workspace[b, scores + s] = score
            highest = score if score > highest else highest
        highest = block_max(highest)
        total = zero
        for s in range(thread, position + 1, BLOCK):
            weight = exp((workspace[b, scores + s] - highest) * scale)
            workspace[b, scores + s] = weight
            total += weight
        total = block_sum(total)
        for i in range(thread, d, BLOCK):
            answer = zero
            for s in range(position + 1):
                answer += workspace[b, scores + s] * values[b, g, s, i]
            workspace[b, h * d + i] = answer / total
        cuda.syncthreads()
    for o in range(thread, c, BLOCK):
        y[b, o] += _product_row(projection, workspace, b, 0, vectors, projection_bias, o)
    cuda.syncthreads()
    mean = block_sum(_partial_sum(y, b, rms)) / features
    _write_norm(
        y, b, mean, one / math.sqrt(block_sum(_partial_squares(y, b, mean)) / features + eps),
        vectors, projection_bias + c, workspace,
    )  # fmt: skip
    cuda.syncthreads()
    for o in range(thread, wide, BLOCK):
        workspace[b, q + o] = _product_row(expand, workspace, b, 0, vectors, expand_bias, o)
    cuda.syncthreads()
    for j in range(thread, f, BLOCK):
        value = workspace[b, q + j]
        if kinds & GATED != 0:
            workspace[b, q + j] = silu_and_slope(value)[0] * workspace[b, q + f + j]
        else:
            workspace[b, q + j] = gelu_tanh_and_slope(value)[0]
    cuda.syncthreads()
    for o in range(thread, c, BLOCK):
        y[b, o] += _product_row(contract, workspace, b, q, vectors, expand_bias + wide, o)


def _count_work(x: Any, keys: Any, values: Any, position: Any, vectors: Any, *rest: Any) -> int:
    """About two operations a weight and a kept number, for each text."""
    weights = sum(weight.size for weight in rest[:4])
    return 2 * x.shape[0] * (weights + 2 * keys.shape[1] * int(position + 1) * keys.shape[3])


decoder_block = Kernel(
    cpu=_decoder_block_cpu,
    cuda=_decoder_block_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=_count_work,
)

# ---------------------------------------------------------------- public


@dataclass(eq=False)
class DecoderBlock:
    """The parameters of a block, ready to run one token after the other.

    They are arrays of one dtype and device, as `Tensor.numpy` shows them. Vectors are copied, matrices are not.

    Attributes:
        norm1, norm2: Scale and shift of the two norms, [C] each; a shift of zeros where there is none.
        qkv: [(H + 2 G) D, C], and its bias; of zeros where there is none, as all biases.
        projection: [C, C], and its bias [C].
        expand: [F, C], or gated [2 F, C], and its bias.
        contract: [C, F], and its bias [C].
        rms: Whether the norms leave the mean alone.
        gated: Whether the nonlinearity is SwiGLU.
        eps: Added to the variance.
    """

    norm1: tuple[Any, Any]
    qkv: Any
    qkv_bias: Any
    projection: Any
    projection_bias: Any
    norm2: tuple[Any, Any]
    expand: Any
    expand_bias: Any
    contract: Any
    contract_bias: Any
    rms: bool
    gated: bool
    eps: float
    constants: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        dtype = self.qkv.dtype
        parts = (
            *self.norm1, self.qkv_bias, self.projection_bias, *self.norm2, self.expand_bias, self.contract_bias
        )  # fmt: skip
        vectors = arrays.empty_beside(self.qkv, (sum(part.size for part in parts),), dtype)
        begin = 0
        for part in parts:
            arrays.copy_into(vectors[begin : begin + part.size], part)
            begin += part.size
        self.constants = vectors, RMS * self.rms + GATED * self.gated, dtype.type(self.eps)

    def pays(self, batch_size: int) -> bool:
        """Whether one launch is faster than an operation at a time, for so many texts."""
        weights = self.qkv.size + self.projection.size + self.expand.size + self.contract.size
        return weights <= CACHED_WEIGHTS or (batch_size == 1 and threads.get_num_threads() == 1)

    def workspace(self, batch_size: int, length: int) -> Any:
        """Room for the rows of so many texts, with a cache of so many places."""
        width = self.contract.shape[0]
        columns = width + max(self.qkv.shape[0], self.expand.shape[0]) + length
        return arrays.empty_beside(self.qkv, (batch_size, columns))

    def __call__(self, x: Any, keys: Any, values: Any, position: int, rotation: Any, workspace: Any, y: Any) -> None:
        """Runs the next token of each text.

        Args:
            x: [B, C], contiguous.
            keys, values: [B, G, T, D], contiguous, filled up to `position`; they get those of the token there.
            position: Of the token, under T.
            rotation: [R, D], cosines and sines of each position; None for no rotation.
            workspace: From `workspace`.
            y: [B, C], contiguous: the result; may be x.
        """
        vectors, kinds, eps = self.constants
        decoder_block(
            x, keys, values, position, vectors, self.qkv, self.projection, self.expand, self.contract,
            x if rotation is None else rotation, kinds if rotation is None else kinds + ROTARY, eps, y, workspace,
        )  # fmt: skip
