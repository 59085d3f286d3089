"""The SIMT interpreter: right kernels give right results in any order, and each planted fault is found."""

import math

import numpy as np
import pytest

from nbdl.runtime import jit, memory
from nbdl.runtime.addresses import address_of, array_at
from nbdl.runtime.cuda.primitives import ALL_LANES, BLOCK, WARP, block_max, block_min, block_sum, warp_sum
from nbdl.runtime.jit import Kernel, cpu_kernel, cuda, cuda_device, cuda_kernel, scalar
from nbdl.runtime.vecmath import exp
from nbdl.testing import simt

pytestmark = pytest.mark.simt

HALF = np.float32(0.5)


def numbers(*shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


# ---------------------------------------------------------------- kernels that are right


@cuda_kernel
def softmax(x, y):
    row = cuda.blockIdx.x
    d = x.shape[1]
    top = -x.dtype.type(math.inf)
    for j in range(cuda.threadIdx.x, d, BLOCK):
        top = max(top, x[row, j])
    top = block_max(top)
    total = x.dtype.type(0)
    for j in range(cuda.threadIdx.x, d, BLOCK):
        e = exp(x[row, j] - top)
        y[row, j] = e
        total += e
    total = block_sum(total)
    for j in range(cuda.threadIdx.x, d, BLOCK):
        y[row, j] /= total


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 37, 300])
def test_softmax_with_block_reductions(columns, dtype, seed):
    x = numbers(3, columns, dtype=dtype)
    y = np.full_like(x, np.nan)
    simt.launch(softmax, 3, BLOCK, x, y, seed=seed)
    expected = np.exp(x - x.max(axis=1, keepdims=True))
    np.testing.assert_allclose(y, expected / expected.sum(axis=1, keepdims=True), rtol=1e-6)


def test_the_order_of_threads_does_not_change_the_bits():
    x = numbers(2, 200)
    results = []
    for seed in [None, 1, 2, 3]:
        y = np.empty_like(x)
        simt.launch(softmax, 2, BLOCK, x, y, seed=seed, races=seed is None)
        results.append(y)
    assert all(np.array_equal(result, results[0]) for result in results)


@cuda_kernel
def reductions(x, y):
    # Each one again at once: the barrier at its end must keep the next call's writes away from this call's reads.
    for row in range(x.shape[0]):
        y[row, cuda.threadIdx.x, 0] = block_max(x[row, cuda.threadIdx.x])
    for row in range(x.shape[0]):
        y[row, cuda.threadIdx.x, 1] = block_min(x[row, cuda.threadIdx.x])
    for row in range(x.shape[0]):
        y[row, cuda.threadIdx.x, 2] = block_sum(x[row, cuda.threadIdx.x])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_every_thread_gets_the_result_of_a_reduction(dtype):
    first = np.random.default_rng(0).permutation(BLOCK) - 50
    x = np.stack([np.roll(first, row * WARP) for row in range(BLOCK // WARP)]).astype(dtype)  # extremes in every warp
    x *= np.array([[1], [2], [3], [4]], dtype)
    y = np.zeros((*x.shape, 3), dtype)
    simt.launch(reductions, 1, BLOCK, x, y)
    expected = np.stack([x.max(axis=1), x.min(axis=1), x.sum(axis=1)], axis=1)
    np.testing.assert_array_equal(y, np.broadcast_to(expected[:, None], y.shape))


def test_reductions_keep_nan():
    x = np.zeros(BLOCK, np.float32)
    x[77] = np.nan
    y = np.zeros((1, BLOCK, 3), np.float32)
    simt.launch(reductions, 1, BLOCK, x[None], y)
    assert np.isnan(y).all()


@cuda_kernel
def lanes(x, out):
    i = cuda.threadIdx.x
    out[0, i] = cuda.shfl_sync(ALL_LANES, x[i], 3)
    out[1, i] = cuda.shfl_up_sync(ALL_LANES, x[i], 1)
    out[2, i] = cuda.shfl_down_sync(ALL_LANES, x[i], 1)
    out[3, i] = cuda.shfl_xor_sync(ALL_LANES, x[i], 1)
    out[4, i] = cuda.ballot_sync(ALL_LANES, x[i] > 20)
    out[5, i] = cuda.any_sync(ALL_LANES, x[i] > 30) + 2 * cuda.all_sync(ALL_LANES, x[i] > 30)
    out[6, i] = cuda.syncthreads_count(x[i] > 3)
    out[7, i] = cuda.syncthreads_and(x[i] > 3) + 2 * cuda.syncthreads_or(x[i] > 3)
    out[8, i] = cuda.laneid


def test_warp_operations():
    x = np.arange(32.0)
    out = np.zeros((9, 32))
    simt.launch(lanes, 1, 32, x, out)
    i = np.arange(32)
    expected = [
        np.full(32, 3), np.maximum(i - 1, 0), np.minimum(i + 1, 31), i ^ 1, np.full(32, 0xFFE00000),
        np.full(32, 1), np.full(32, 28), np.full(32, 2), i,
    ]  # fmt: skip
    np.testing.assert_array_equal(out, expected)


@cuda_kernel
def places(out):
    x, y = cuda.grid(2)
    width, _ = cuda.gridsize(2)
    out[y * width + x] += cuda.blockIdx.x * 100 + cuda.threadIdx.y * 10 + cuda.threadIdx.x


def test_grids_of_two_dimensions():
    out = np.zeros(24, np.int32)
    simt.launch(places, (2, 2), (3, 2), out)
    expected = [100 * (x // 3) + 10 * (y % 2) + x % 3 for y in range(4) for x in range(6)]
    np.testing.assert_array_equal(out, expected)


@cuda_kernel
def histogram(ids, counts, largest):
    i = cuda.grid(1)
    if i < ids.size:
        cuda.atomic.add(counts, ids[i], 1)
        cuda.atomic.max(largest, 0, ids[i])
        cuda.atomic.min(largest, 1, ids[i])
        cuda.atomic.cas(largest, 2, 0, 7)


def test_atomics_do_not_race():
    ids = np.random.default_rng(0).integers(0, 5, 100)
    counts, largest = np.zeros(5, np.int64), np.array([-9, 99, 0])
    simt.launch(histogram, 2, 64, ids, counts, largest)
    np.testing.assert_array_equal(counts, np.bincount(ids, minlength=5))
    np.testing.assert_array_equal(largest, [ids.max(), ids.min(), 7])


@scalar
def halved(x):
    return HALF * math.sqrt(x)


@cuda_kernel
def through_scalar(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = halved(x[i])


def test_scalar_functions_and_math_keep_float32():
    x = np.abs(numbers(5))
    y = np.empty_like(x)
    simt.launch(through_scalar, 1, 32, x, y)
    np.testing.assert_array_equal(y, np.float32(0.5) * np.sqrt(x))


@cuda_kernel
def exchange_in_a_warp(x, y):
    shared = cuda.shared.array(32, x.dtype)
    shared[cuda.laneid] = x[cuda.laneid]
    cuda.syncwarp()
    y[cuda.laneid] = shared[31 - cuda.laneid]


def test_syncwarp_orders_the_lanes_of_a_warp():
    x, y = numbers(32), np.zeros(32, np.float32)
    simt.launch(exchange_in_a_warp, 1, 32, x, y, seed=4)
    np.testing.assert_array_equal(y, x[::-1])


@cuda_kernel
def negative(x, y):
    y[cuda.threadIdx.x] = -x[cuda.threadIdx.x]


def test_integers_wrap_around_when_they_are_stored():
    x, y = np.array([1, 2, -128], np.int8), np.zeros(3, np.uint8)
    simt.launch(negative, 1, 3, x, y)
    np.testing.assert_array_equal(y, [255, 254, 128])


# ---------------------------------------------------------------- planted faults


@cuda_device
def sum_without_last_barrier(value):
    partial = cuda.shared.array(4, value.dtype)
    value = warp_sum(value)
    if cuda.threadIdx.x % WARP == 0:
        partial[cuda.threadIdx.x // WARP] = value
    cuda.syncthreads()
    return partial[0] + partial[1] + partial[2] + partial[3]


@cuda_kernel
def two_sums(x, y):
    first = sum_without_last_barrier(x[cuda.threadIdx.x])
    y[cuda.threadIdx.x] = first + sum_without_last_barrier(first)


def test_a_missing_barrier_between_two_uses_of_shared_memory():
    x = numbers(BLOCK)
    with pytest.raises(simt.RaceError, match=r"two_sums: race on the shared array .* writes what .* read"):
        simt.launch(two_sums, 1, BLOCK, x, np.empty_like(x))


@cuda_kernel
def sum_without_first_barrier(x, y):
    partial = cuda.shared.array(4, x.dtype)
    total = warp_sum(x[cuda.threadIdx.x])
    if cuda.threadIdx.x % WARP == 0:
        partial[cuda.threadIdx.x // WARP] = total
    y[cuda.threadIdx.x] = partial[0] + partial[1] + partial[2] + partial[3]


def test_a_missing_barrier_shows_as_nan_and_as_a_race():
    x, y = numbers(BLOCK), np.zeros(BLOCK, np.float32)
    simt.launch(sum_without_first_barrier, 1, BLOCK, x, y, races=False)
    assert np.isnan(y).any()
    with pytest.raises(simt.RaceError):
        simt.launch(sum_without_first_barrier, 1, BLOCK, x, y)


@cuda_kernel
def wrong_lane(x, y):
    value = x[cuda.threadIdx.x]
    width = 16
    while width > 0:
        value += cuda.shfl_down_sync(ALL_LANES, value, width + 1)
        width //= 2
    y[cuda.threadIdx.x] = value


def test_a_wrong_shuffle_lane_gives_a_wrong_sum():
    x, y = np.arange(32.0), np.zeros(32)
    simt.launch(wrong_lane, 1, 32, x, y)
    assert y[0] != x.sum()


@cuda_kernel
def beyond(x, y, step):
    i = cuda.grid(1)
    y[i] = x[i + step]


@pytest.mark.parametrize(("step", "at"), [(1, 8), (-1, -1)])
def test_an_index_outside_the_array(step, at):
    x = numbers(8)
    with pytest.raises(
        simt.BoundsError, match=rf"kernel beyond, block 0, thread . *: x\[{at}\] lies outside the shape \[8\]"
    ):
        simt.launch(beyond, 1, 8, x, np.empty_like(x), step)


def test_no_bounds_check_of_the_grid_is_found():
    x = numbers(7)
    with pytest.raises(simt.BoundsError, match=r"x\[7\]"):
        simt.launch(beyond, 1, 8, x, np.empty_like(x), 0)


@cuda_kernel
def same_element(x, y):
    y[cuda.threadIdx.x // 2] = x[cuda.threadIdx.x]


@cuda_kernel
def lost_updates(x, total):
    total[0] += x[cuda.grid(1)]


@cuda_kernel
def neighbours_in_place(x):
    i = cuda.threadIdx.x
    if i > 0:
        x[i] = x[i - 1]


def test_races_in_global_memory():
    x = numbers(8)
    with pytest.raises(
        simt.RaceError, match=r"same_element: race on y\[0\]: block 0, thread 1 writes .* thread 0 wrote"
    ):
        simt.launch(same_element, 1, 8, x, np.empty_like(x))
    with pytest.raises(simt.RaceError, match=r"race on total\[0\]: block 1, thread 0 reads .* block 0, thread 0 wrote"):
        simt.launch(lost_updates, 8, 1, x, np.zeros(1, np.float32))
    with pytest.raises(simt.RaceError, match=r"race on x"):
        simt.launch(neighbours_in_place, 1, 8, x)


def test_a_race_through_two_views_of_one_memory():
    memory_ = numbers(9)
    with pytest.raises(simt.RaceError):
        simt.launch(beyond, 1, 8, memory_[1:], memory_[:8], 0)


@cuda_kernel
def barrier_for_some(x):
    if cuda.threadIdx.x < 16:
        cuda.syncthreads()
    x[cuda.threadIdx.x] = 0


@cuda_kernel
def return_before_barrier(x):
    if cuda.threadIdx.x >= x.size:
        return
    cuda.syncthreads()
    x[cuda.threadIdx.x] = 0


@cuda_kernel
def two_barriers(x):
    if cuda.threadIdx.x < 16:
        cuda.syncthreads()
    else:
        cuda.syncthreads()


@cuda_kernel
def reduction_in_a_branch(x):
    if cuda.threadIdx.x < 16:
        x[cuda.threadIdx.x] = block_sum(x[cuda.threadIdx.x])
    else:
        x[cuda.threadIdx.x] = block_sum(x[cuda.threadIdx.x])


@cuda_kernel
def shuffle_for_some(x):
    if cuda.laneid < 16:
        x[cuda.laneid] = cuda.shfl_xor_sync(ALL_LANES, x[cuda.laneid], 1)


@cuda_kernel
def mask_without_oneself(x):
    x[cuda.laneid] = cuda.shfl_sync(1, x[cuda.laneid], 0)


@pytest.mark.parametrize(
    ("kernel", "size", "message"),
    [
        (barrier_for_some, 32, "threads 0, 1, 2, 3 and 12 more wait at syncthreads .* have returned"),
        (return_before_barrier, 20, "threads 20, 21, 22, 23 and 8 more have returned"),
        (two_barriers, 32, "meet at different barriers: thread 0 .* thread 16"),
        (reduction_in_a_branch, 32, "thread 0 waits at shfl_xor_sync .* threads 16, 17, 18, 19 and 12 more"),
        (shuffle_for_some, 32, "threads 16, 17, 18, 19 and 12 more of that mask do not come"),
        (mask_without_oneself, 32, "not in its own mask"),
    ],
)
def test_threads_that_do_not_meet(kernel, size, message):
    with pytest.raises(simt.BarrierError, match=message):
        simt.launch(kernel, 1, 32, numbers(size))


@cuda_kernel
def literal(x, y):
    i = cuda.grid(1)
    y[i] = 0.5 * x[i]


@cuda_kernel
def with_argument(x, y, eps):
    i = cuda.grid(1)
    y[i] = x[i] + eps


@cuda_kernel
def lone_constant(x, y):
    i = cuda.grid(1)
    y[i] = -1.5


def test_float64_in_a_float32_kernel():
    x = numbers(4)
    with pytest.raises(simt.PrecisionError, match="float64 into the float32 array y"):
        simt.launch(literal, 1, 4, x, np.empty_like(x))
    with pytest.raises(simt.PrecisionError):
        simt.launch(with_argument, 1, 4, x, np.empty_like(x), 1e-5)
    simt.launch(with_argument, 1, 4, x, np.empty_like(x), np.float32(1e-5))
    simt.launch(lone_constant, 1, 4, x, np.empty_like(x))
    simt.launch(literal, 1, 4, x.astype(np.float64), np.empty(4))


@cuda_kernel
def reads_local_memory(y):
    scratch = cuda.local.array(2, np.float32)
    scratch[0] = 1
    y[cuda.threadIdx.x] = scratch[0] + scratch[1]


def test_unwritten_memory_is_nan():
    y = np.zeros(3, np.float32)
    simt.launch(reads_local_memory, 1, 3, y)
    assert np.isnan(y).all()


@cuda_kernel
def by_address(like, addresses, sizes):
    x = array_at(addresses[cuda.blockIdx.x], sizes[cuda.blockIdx.x], like)
    x[cuda.threadIdx.x] += 1


def test_arrays_by_address_are_checked_too():
    parts = [np.zeros(4, np.float32), np.zeros(3, np.float32)]
    addresses = np.array([address_of(part) for part in parts])
    simt.launch(by_address, 2, 3, parts[0], addresses, np.array([4, 3]))
    np.testing.assert_array_equal(np.concatenate(parts), [1, 1, 1, 0, 1, 1, 1])
    with pytest.raises(simt.BoundsError, match=r"block 1, thread 3: the array at 0x.*\[3\] lies outside"):
        simt.launch(by_address, 2, 4, parts[0], addresses, np.array([4, 3]))
    with pytest.raises(simt.RaceError):
        simt.launch(by_address, 2, 3, parts[0], addresses[[0, 0]], np.array([4, 4]))


# ---------------------------------------------------------------- whole launches


@cpu_kernel
def _double_cpu(x, y, start, stop):
    for i in range(start, stop):
        y[i] = x[i] + x[i]


@cuda_kernel
def _double_cuda(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = x[i] + x[i]


def test_target_runs_the_cuda_twins():
    double = Kernel(
        cpu=_double_cpu, cuda=_double_cuda, tasks=lambda x, y: x.size, blocks=lambda x, y: -(-x.size // BLOCK)
    )
    jit.KERNELS.remove(double)
    x = numbers(200)
    seen = []
    with simt.target(observe=lambda kernel, arguments: seen.append((kernel.name, len(arguments)))):
        assert np.isnan(memory.empty((), np.float32))
        y = memory.empty((200,), np.float32)
        assert np.isnan(y).all()
        double(x, y)
    np.testing.assert_array_equal(y, 2 * x)
    assert seen == [("double", 2)]
    assert jit.launch_override is None
    y[:] = 0
    double(x, y)
    np.testing.assert_array_equal(y, 2 * x)


def test_target_is_undone_by_an_error():
    with pytest.raises(ZeroDivisionError), simt.target():
        raise ZeroDivisionError
    assert jit.launch_override is None


def test_wrong_number_of_arguments():
    with pytest.raises(TypeError, match="expected 2 arguments, got 1"):
        simt.launch(softmax, 1, BLOCK, numbers(1, 1))
