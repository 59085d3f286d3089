"""The matrix product on CUDA's tensor cores: 128 x 128 results a block, 64 x 32 a warp.

Each kernel is the same but for its numbers: words of 16 bits, float16 or bfloat16, or float32, of which tensor cores
read 10 bits of fraction (TF32). Sums are float32. A block loads 64 bytes of K for each row of A and column of B,
16 bytes a thread and load; the rows lie 80 bytes apart in shared memory, so that the 32 registers which a warp reads at
once come from 32 banks. While it multiplies, the next piece is on its way.

One product of a warp takes 16 rows of A and 8 columns of B: runtime/cuda/tensor.py says which lane holds what.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.runtime import halves
from nbdl.runtime.cuda.compiler import requires_capability, resident
from nbdl.runtime.cuda.tensor import load_pair, multiply_bfloat16, multiply_float16, multiply_tf32, to_tf32
from nbdl.runtime.cuda.vectors import is_aligned, load_words, store4, store_words
from nbdl.runtime.gemm.tiles import SIDE, THREADS, corner_of, fetch4
from nbdl.runtime.jit import cuda, cuda_device, cuda_kernel, scalar

LANES = 32

WARP_ROWS, WARP_COLUMNS = 64, 32
"""Results of a warp: four products down, four across."""

SUMS = 64
"""Results of a thread: four of each product."""

# ---------------------------------------------------------------- words of 16 bits


@cuda_device
def _word(x, at, count):
    """Element `at` of x, or zero if none is left."""
    if count > 0:
        return np.uint32(x[at])
    return np.uint32(0)


@cuda_device
def _two(x, at, step, count):
    return np.uint32(_word(x, at, count) | _word(x, at + step, count - 1) << np.uint32(16))


@cuda_device
def _fetch_words(x, at, step, count, wide):
    """Eight words of x, `step` apart; zeros from the `count`-th on. `wide`: they may be fetched at once."""
    if wide and count >= 8:
        return load_words(x, at)
    a = _two(x, at, step, count)
    b = _two(x, at + 2 * step, step, count - 2)
    c = _two(x, at + 4 * step, step, count - 4)
    d = _two(x, at + 6 * step, step, count - 6)
    return a, b, c, d


@cuda_device
def _spread(pieces, half, lead, inner, pair):
    pieces[half, lead, inner] = np.uint16(pair & np.uint32(0xFFFF))
    pieces[half, lead + 1, inner] = np.uint16(pair >> np.uint32(16))


@cuda_device
def _keep_words(pieces, half, lead, inner, along_inner, values):
    """Puts eight words into a piece: neighbours along K, or along the rows of A, the columns of B."""
    a, b, c, d = values
    if along_inner:
        store_words(pieces, (half, lead, inner), a, b, c, d)
    else:
        _spread(pieces, half, lead, inner, a)
        _spread(pieces, half, lead + 2, inner, b)
        _spread(pieces, half, lead + 4, inner, c)
        _spread(pieces, half, lead + 6, inner, d)


@cuda_device
def _two_words(pieces, half, lead, inner):
    return load_pair(pieces, (half, lead, inner))


# ---------------------------------------------------------------- float32


@cuda_device
def _keep_numbers(pieces, half, lead, inner, along_inner, values):
    """As `_keep_words`, for four numbers."""
    a, b, c, d = values
    if along_inner:
        store4(pieces, (half, lead, inner), a, b, c, d)
    else:
        pieces[half, lead, inner] = a
        pieces[half, lead + 1, inner] = b
        pieces[half, lead + 2, inner] = c
        pieces[half, lead + 3, inner] = d


@cuda_device
def _one_number(pieces, half, lead, inner):
    return to_tf32(pieces[half, lead, inner])


@scalar
def _plain(x):
    return x


# ---------------------------------------------------------------- the kernel


def _tensor_kernel(
    name: str, word: Any, multiply: Any, fetch: Any, keep: Any, register: Any, decode: Any, encode: Any
) -> Any:
    """The kernel for operands of a kind.

    Args:
        name: Of the kernel.
        word: The dtype of the operands' elements.
        multiply: The product of a warp.
        fetch, keep: How 16 bytes come from global memory and go into shared memory.
        register: What a lane reads from shared memory for one register.
        decode, encode: Between an element of C and a float32.
    """
    count = 16 // np.dtype(word).itemsize
    depth, packed = 4 * count, count // 4  # elements of K that a block loads at once, and that a register holds
    step = 8 * packed  # elements of K that one product takes
    pieces = (2, SIDE, depth + count)
    across = SIDE // count  # threads that load one element of K of all rows

    def tensor_cuda(a, b, c, bias, workspace, sizes, beta, floor):
        """As the CPU twin, without its blocks and packing. One block a tile of 128 x 128 results."""
        m, n, k = sizes[1], sizes[2], sizes[3]
        a_row, a_inner = sizes[5], sizes[6]
        b_inner, b_column = sizes[8], sizes[9]
        c_row, c_column, bias_row, bias_column = sizes[10], sizes[11], sizes[12], sizes[13]
        left_edge, top, item = corner_of(cuda.blockIdx.x, m, n, SIDE, SIDE)
        a_pieces = cuda.shared.array(pieces, word, 16)
        b_pieces = cuda.shared.array(pieces, word, 16)
        sums = cuda.local.array(SUMS, np.float32)
        right = cuda.local.array(8, np.uint32)
        for at in range(SUMS):
            sums[at] = np.float32(0)
        thread = cuda.threadIdx.x
        lane, warp = thread % LANES, thread // LANES
        group, place = lane // 4, lane % 4 * packed
        row, column = warp // 4 * WARP_ROWS + group, warp % 4 * WARP_COLUMNS + group

        # What the thread fetches, twice of each operand: neighbours along K where they lie side by side, else rows.
        a_along, b_along = a_inner == 1, b_inner == 1
        a_lead, a_at = (thread // 4, thread % 4 * count) if a_along else (thread % across * count, thread // across)
        b_lead, b_at = (thread // 4, thread % 4 * count) if b_along else (thread % across * count, thread // across)
        a_next, a_on = (SIDE // 2, 0) if a_along else (0, depth // 2)
        b_next, b_on = (SIDE // 2, 0) if b_along else (0, depth // 2)
        a_step, b_step = a_inner if a_along else a_row, b_inner if b_along else b_column
        a_other, b_other = a_row if a_along else a_inner, b_column if b_along else b_inner
        a_wide = a_step == 1 and a_other % count == 0 and sizes[4] % count == 0 and is_aligned(a)
        b_wide = b_step == 1 and b_other % count == 0 and sizes[7] % count == 0 and is_aligned(b)
        a_from = item * sizes[4] + (top + a_lead) * a_row + a_at * a_inner
        b_from = item * sizes[7] + (left_edge + b_lead) * b_column + b_at * b_inner
        a_skip, b_skip = a_next * a_row + a_on * a_inner, b_next * b_column + b_on * b_inner
        a_left, b_left = m - top - a_lead, n - left_edge - b_lead

        half = 0
        for start in range(0, k + depth, depth):
            # The first round only fetches, the last only multiplies.
            rest = k - start
            a_first = fetch(a, a_from + start * a_inner, a_step, _few(a_along, rest - a_at, a_left), a_wide)
            a_second = fetch(
                a, a_from + start * a_inner + a_skip, a_step, _few(a_along, rest - a_at - a_on, a_left - a_next), a_wide
            )
            b_first = fetch(b, b_from + start * b_inner, b_step, _few(b_along, rest - b_at, b_left), b_wide)
            b_second = fetch(
                b, b_from + start * b_inner + b_skip, b_step, _few(b_along, rest - b_at - b_on, b_left - b_next), b_wide
            )
            if start > 0:
                for inner in range(place, depth, step):
                    for j in range(4):
                        right[2 * j] = register(b_pieces, half, column + 8 * j, inner)
                        right[2 * j + 1] = register(b_pieces, half, column + 8 * j, inner + step // 2)
                    for i in range(4):
                        a0 = register(a_pieces, half, row + 16 * i, inner)
                        a1 = register(a_pieces, half, row + 16 * i + 8, inner)
                        a2 = register(a_pieces, half, row + 16 * i, inner + step // 2)
                        a3 = register(a_pieces, half, row + 16 * i + 8, inner + step // 2)
                        for j in range(4):
                            at = 16 * i + 4 * j
                            sums[at], sums[at + 1], sums[at + 2], sums[at + 3] = multiply(
                                a0, a1, a2, a3, right[2 * j], right[2 * j + 1],
                                sums[at], sums[at + 1], sums[at + 2], sums[at + 3],
                            )  # fmt: skip
            half = 1 - half
            keep(a_pieces, half, a_lead, a_at, a_along, a_first)
            keep(a_pieces, half, a_lead + a_next, a_at + a_on, a_along, a_second)
            keep(b_pieces, half, b_lead, b_at, b_along, b_first)
            keep(b_pieces, half, b_lead + b_next, b_at + b_on, b_along, b_second)
            cuda.syncthreads()

        r, q = top + row, left_edge + warp % 4 * WARP_COLUMNS + 2 * (lane % 4)
        if r >= m or q >= n:
            return
        for part in range(SUMS):
            i, j = r + part // 16 * 16 + part // 2 % 2 * 8, q + part // 4 % 4 * 8 + part % 2
            if i < m and j < n:
                at = item * m * n + i * c_row + j * c_column
                value = sums[0]
                if bias.shape[0] > 0:
                    value += bias[i * bias_row + j * bias_column]
                if beta != np.float32(0):
                    value += beta * decode(c[at])
                c[at] = encode(floor if floor > value else value)
            # Registers have no numbers that a loop could count: the next sum moves to where this one was.
            for at in range(SUMS - 1):
                sums[at] = sums[at + 1]

    tensor_cuda.__name__ = f"_gemm_{name}_cuda"
    return requires_capability(8, 0)(resident(THREADS, 1)(cuda_kernel(tensor_cuda)))


@cuda_device
def _few(along_inner, inner_left, lead_left):
    """How many of a row's neighbours there are to fetch."""
    if along_inner:
        return inner_left if lead_left > 0 else 0
    return lead_left if inner_left > 0 else 0


def _of_words(name: str, multiply: Any, decode: Any, encode: Any) -> Any:
    return _tensor_kernel(name, np.uint16, multiply, _fetch_words, _keep_words, _two_words, decode, encode)


gemm_float16_cuda = _of_words("float16", multiply_float16, halves.from_float16, halves.to_float16)
gemm_bfloat16_cuda = _of_words("bfloat16", multiply_bfloat16, halves.from_bfloat16, halves.to_bfloat16)
gemm_tf32_cuda = _tensor_kernel("tf32", np.float32, multiply_tf32, fetch4, _keep_numbers, _one_number, _plain, _plain)
