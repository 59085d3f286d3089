"""CUDA kernels, right and wrong: in a file, because the interpreter reads their source."""

# --8<-- [start:lanes]
from nbdl.runtime.jit import cuda, cuda_kernel

ALL_LANES = 0xFFFFFFFF


@cuda_kernel
def butterfly(x, steps):
    """x [32], steps [6, 32]: what each lane holds, before and after each exchange."""
    lane = cuda.threadIdx.x
    value = x[lane]
    steps[0, lane] = value
    width = 16
    for step in range(1, 6):
        value += cuda.shfl_xor_sync(ALL_LANES, value, width)
        steps[step, lane] = value
        width //= 2


# --8<-- [end:lanes]

# --8<-- [start:kernel]
from nbdl.runtime.cuda.primitives import warp_sum

THREADS = 64
WARPS = 2


@cuda_kernel
def row_sums(x, y):
    """x [N, D], y [N]. One block of 64 threads a row."""
    row, thread = cuda.blockIdx.x, cuda.threadIdx.x
    partial = cuda.shared.array(WARPS, x.dtype)
    total = x.dtype.type(0)
    for j in range(thread, x.shape[1], THREADS):
        total += x[row, j]
    total = warp_sum(total)
    if thread % 32 == 0:
        partial[thread // 32] = total
    cuda.syncthreads()
    if thread == 0:
        y[row] = partial[0] + partial[1]


# --8<-- [end:kernel]


# --8<-- [start:forgotten]
@cuda_kernel
def barrier_forgotten(x, y):
    """As `row_sums`, without its barrier."""
    row, thread = cuda.blockIdx.x, cuda.threadIdx.x
    partial = cuda.shared.array(WARPS, x.dtype)
    total = x.dtype.type(0)
    for j in range(thread, x.shape[1], THREADS):
        total += x[row, j]
    total = warp_sum(total)
    if thread % 32 == 0:
        partial[thread // 32] = total
    if thread == 0:
        y[row] = partial[0] + partial[1]


# --8<-- [end:forgotten]


# --8<-- [start:others]
@cuda_kernel
def barrier_in_a_branch(x, y):
    """Only the first warp comes to the barrier."""
    if cuda.threadIdx.x < 32:
        cuda.syncthreads()
    y[cuda.threadIdx.x] = x[0, cuda.threadIdx.x]


@cuda_kernel
def one_too_many(x, y):
    """The last thread reads past the end of the row."""
    y[cuda.threadIdx.x] = x[0, cuda.threadIdx.x + 1]


@cuda_kernel
def wide_literal(x, y):
    """Half of each number: 0.5 is a float64 to CUDA, and the product with it."""
    y[cuda.threadIdx.x] = 0.5 * x[0, cuda.threadIdx.x]


@cuda_kernel
def sum_without_atomics(x, y):
    """All threads add to one element."""
    y[0] += x[0, cuda.threadIdx.x]


# --8<-- [end:others]


# --8<-- [start:in_turn]
@cuda_kernel
def rows_in_turn(x, y):
    """As `row_sums`, but one block does all rows, one after the other."""
    thread = cuda.threadIdx.x
    partial = cuda.shared.array(WARPS, x.dtype)
    for row in range(x.shape[0]):
        total = x.dtype.type(0)
        for j in range(thread, x.shape[1], THREADS):
            total += x[row, j]
        total = warp_sum(total)
        if thread % 32 == 0:
            partial[thread // 32] = total
        cuda.syncthreads()
        if thread == 0:
            y[row] = partial[0] + partial[1]


# --8<-- [end:in_turn]
