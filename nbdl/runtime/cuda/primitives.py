"""Reductions within a warp and within a block, for kernels of any number type.

The block functions expect one-dimensional blocks of BLOCK threads, all of which must call them: they hold barriers.
Every thread gets the result, in the same bits, because the order of the additions is fixed. They may be called again
at once: the last barrier keeps the next call's writes away from this call's reads.
"""

from nbdl.runtime.jit import BLOCK, cuda, cuda_device

WARP = 32
WARPS = BLOCK // WARP
ALL_LANES = 0xFFFFFFFF

__all__ = ["BLOCK", "WARP", "block_max", "block_min", "block_sum", "warp_max", "warp_min", "warp_sum"]


@cuda_device
def warp_sum(value):
    """The sum over the 32 lanes, in a butterfly: after the step of width w, groups of 2w lanes hold their sum."""
    width = WARP // 2
    while width > 0:
        value += cuda.shfl_xor_sync(ALL_LANES, value, width)
        width //= 2
    return value


@cuda_device
def warp_max(value):
    """The largest of the 32 lanes; NaN if one of them is."""
    width = WARP // 2
    while width > 0:
        other = cuda.shfl_xor_sync(ALL_LANES, value, width)
        if other > value or other != other:
            value = other
        width //= 2
    return value


@cuda_device
def warp_min(value):
    """The smallest of the 32 lanes; NaN if one of them is."""
    width = WARP // 2
    while width > 0:
        other = cuda.shfl_xor_sync(ALL_LANES, value, width)
        if other < value or other != other:
            value = other
        width //= 2
    return value


@cuda_device
def block_sum(value):
    """The sum over the block: each warp's sum goes through shared memory."""
    partial = cuda.shared.array(WARPS, value.dtype)
    value = warp_sum(value)
    if cuda.threadIdx.x % WARP == 0:
        partial[cuda.threadIdx.x // WARP] = value
    cuda.syncthreads()
    value = partial[0]
    for warp in range(1, WARPS):
        value += partial[warp]
    cuda.syncthreads()
    return value


@cuda_device
def block_max(value):
    """The largest of the block; NaN if one value is."""
    partial = cuda.shared.array(WARPS, value.dtype)
    value = warp_max(value)
    if cuda.threadIdx.x % WARP == 0:
        partial[cuda.threadIdx.x // WARP] = value
    cuda.syncthreads()
    value = partial[0]
    for warp in range(1, WARPS):
        if partial[warp] > value or partial[warp] != partial[warp]:
            value = partial[warp]
    cuda.syncthreads()
    return value


@cuda_device
def block_min(value):
    """The smallest of the block; NaN if one value is."""
    partial = cuda.shared.array(WARPS, value.dtype)
    value = warp_min(value)
    if cuda.threadIdx.x % WARP == 0:
        partial[cuda.threadIdx.x // WARP] = value
    cuda.syncthreads()
    value = partial[0]
    for warp in range(1, WARPS):
        if partial[warp] < value or partial[warp] != partial[warp]:
            value = partial[warp]
    cuda.syncthreads()
    return value
