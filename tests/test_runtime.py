"""Kernels, their disk cache, threads, memory."""

import itertools
import math
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import nbdl
from nbdl.runtime import arrays, jit, memory, threads
from nbdl.runtime.addresses import address_of
from nbdl.runtime.errors import ArgumentError, DeviceError
from nbdl.testing import simt
from tests.reliability import cache as program

ROOT = Path(__file__).parents[1]


@jit.scalar
def _twice(x):
    return x + x


@jit.cpu_kernel
def _twice_plus_row_cpu(x, y, start, stop):
    for row in range(start, stop):
        for j in range(x.shape[1]):
            y[row, j] = _twice(x[row, j]) + row


@jit.cuda_kernel
def _twice_plus_row_cuda(x, y):
    row = jit.cuda.blockIdx.x
    for j in range(jit.cuda.threadIdx.x, x.shape[1], jit.BLOCK):
        y[row, j] = _twice(x[row, j]) + row


@pytest.fixture
def twice_plus_row():
    kernel = jit.Kernel(
        cpu=_twice_plus_row_cpu, cuda=_twice_plus_row_cuda, tasks=lambda x, y: x.shape[0], work=lambda x, y: x.size
    )
    yield kernel
    jit.KERNELS.remove(kernel)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [0, 1, 2, 63, 64, 65, 1000])
def test_every_task_runs_once_for_any_number_of_threads(twice_plus_row, monkeypatch, count, rows):
    monkeypatch.setattr(jit, "SERIAL_WORK", 0)
    monkeypatch.setattr(jit, "CHUNK_WORK", 8)
    monkeypatch.setattr(threads, "_threads", count)
    x = np.random.default_rng(0).standard_normal((rows, 3)).astype(np.float32)
    y = np.full_like(x, np.nan)
    twice_plus_row(x, y)
    np.testing.assert_array_equal(y, x + x + np.arange(rows, dtype=np.float32)[:, None])


@pytest.mark.parametrize(("tasks", "work"), [(1, 1), (10, 10**6), (10**6, 10**6), (64, 10**7), (3, 10)])
def test_chunk_size_covers_all_tasks_with_few_chunks(tasks, work):
    grain = jit.chunk_size(tasks, work)
    assert grain >= 1
    assert -(-tasks // grain) <= jit.MOST_CHUNKS


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2", None])
def test_set_num_threads_refuses(bad):
    with pytest.raises(ArgumentError, match="threads"):
        nbdl.set_num_threads(bad)


def test_cuda_names_outside_a_kernel_say_where_they_belong():
    with pytest.raises(DeviceError, match="GPU"):
        jit.cuda.threadIdx  # noqa: B018


# ---------------------------------------------------------------- memory


def test_a_buffer_is_reused_when_its_last_view_dies():
    memory.release()
    array = memory.empty((256, 256), np.float32)
    address = array.ctypes.data
    assert address % memory.ALIGNMENT == 0
    view = array[3:, ::2].T
    del array
    assert memory.idle_bytes() == 0
    del view
    assert memory.idle_bytes() >= 256 * 256 * 4
    assert memory.empty((256, 256), np.float32).ctypes.data == address


def test_two_living_arrays_never_share_a_buffer():
    held = [memory.empty(20_000, np.float64) for _ in range(20)]
    for number, array in enumerate(held):
        array[...] = number
    for number, array in enumerate(held):
        assert (array == number).all()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (5, 7)])
def test_empty_has_the_shape_it_is_asked_for(shape):
    array = memory.empty(shape, np.float32)
    assert array.shape == shape
    assert array.flags.c_contiguous


# ---------------------------------------------------------------- raw arrays


@pytest.mark.parametrize("rank", range(1, 7))
def test_copy_into_follows_any_strides(rank):
    rng = np.random.default_rng(rank)
    base = rng.standard_normal((4,) * rank)
    for _ in range(20):
        source = base.transpose(rng.permutation(rank))[
            tuple(slice(None, None, int(rng.choice([1, 2, -1]))) for _ in range(rank))
        ]
        target = np.full(source.shape, np.nan)
        arrays.copy_into(target, source)
        np.testing.assert_array_equal(target, source)


def test_sum_rows_adds_in_order():
    partial = np.random.default_rng(0).standard_normal((7, 300)).astype(np.float32)
    total = partial[0].copy()
    for row in partial[1:]:
        total += row
    np.testing.assert_array_equal(arrays.sum_rows(partial), total)


# ---------------------------------------------------------------- cache


def run_program(folder, cache, addend=1, factor=1, **environment):
    program.write_program(folder, addend, factor)
    return program.result(program.start(folder, cache, **environment))


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache after a first run."""
    folder = tmp_path_factory.mktemp("filled")
    assert run_program(folder, folder / "cache") == program.COMPILED
    return folder / "cache"


@pytest.fixture
def cache(filled, tmp_path):
    return Path(shutil.copytree(filled, tmp_path / "cache"))


def test_cache_notices_an_edited_callee_and_constant(cache, tmp_path):
    assert run_program(tmp_path, cache) == program.CACHED
    assert run_program(tmp_path, cache, addend=5) == ["26.0", "1", "0"]
    assert run_program(tmp_path, cache, addend=5, factor=3) == ["78.0", "1", "0"]
    assert run_program(tmp_path, cache) == program.CACHED


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "swap"])
def test_cache_survives_damaged_files(cache, tmp_path, damage):
    files = sorted(cache.glob("*.kernel"))
    assert len(files) == 3  # the kernel, what it calls, and what Numba itself needs
    contents = [file.read_bytes() for file in files]
    for file, data in zip(files, contents, strict=True):
        if damage == "truncate":
            file.write_bytes(data[: len(data) // 2])
        elif damage == "flip":
            file.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        elif damage == "empty":
            file.write_bytes(b"")
    if damage == "swap":
        for file, data in zip(files, contents[1:] + contents[:1], strict=True):
            file.write_bytes(data)
    assert run_program(tmp_path, cache) == program.COMPILED


def test_cache_is_private_and_optional(filled, tmp_path):
    assert filled.stat().st_mode & 0o077 == 0
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert run_program(tmp_path, blocked / "cache") == program.COMPILED


def test_cache_keeps_cpus_apart(cache, tmp_path):
    assert run_program(tmp_path, cache, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == program.COMPILED


def test_importing_nbdl_compiles_nothing():
    code = """
        import nbdl
        from numba.core import dispatcher
        from nbdl.runtime.jit import KERNELS
        compiled = [k.name for k in KERNELS if k.cpu.overloads]
        assert not compiled, compiled
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, cwd=ROOT)


@pytest.mark.parametrize("shape", [(5, 6), (20, 5), (19, 3, 33), (2, 3, 18, 20), (1, 17)])
@pytest.mark.parametrize("layout", ["strided", "transposed", "reversed"])
def test_copies_of_any_layout_on_both_targets(shape, layout):
    values = np.arange(math.prod(shape) * 2, dtype=np.float32)
    if layout == "strided":
        x = values.reshape(*shape[:-1], 2 * shape[-1])[..., ::2]
    elif layout == "reversed":
        x = values[: math.prod(shape)].reshape(shape)[..., ::-1]
    else:
        x = values[: math.prod(shape)].reshape(shape[::-1]).T
    np.testing.assert_array_equal(arrays.contiguous(x), x)
    with simt.target(seed=0):
        y = np.full(shape, np.nan, np.float32)
        arrays.copy_into(y, x)
    np.testing.assert_array_equal(y, x)


def test_a_kernel_called_from_python_is_refused():
    x = np.zeros(3, np.float32)
    for _ in range(2):  # before and after it was compiled
        with pytest.raises(TypeError, match="launch its Kernel"):
            arrays._fill_cpu(x, np.ones(1, np.float32), 0, 3)
        arrays.fill(x, np.ones(1, np.float32))
    assert x.tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool_])
def test_copies_turn_whole_squares_and_what_is_left_of_them(dtype):
    """All orders of the dimensions, every second element, and backwards; sizes around multiples of eight and 64."""
    rng = np.random.default_rng(0)
    for shape in ((64, 64), (7, 65), (3, 40, 70), (2, 64, 33), (1, 17, 200), (2, 3, 130, 9)):
        x = (100 * rng.random(shape)).astype(dtype)
        for order in itertools.permutations(range(len(shape))):
            turned = x.transpose(order)
            for view in (turned, turned[..., ::2], turned[::-1], turned[..., ::-1]):
                np.testing.assert_array_equal(arrays.contiguous(view), np.ascontiguousarray(view))


@pytest.mark.parametrize("size", [1, arrays.COPY_ROW - 1, arrays.COPY_ROW, 3 * arrays.COPY_ROW + 5])
def test_contiguous_copies_are_whole(size):
    x = np.arange(size + 1, dtype=np.float64)
    y = np.full(size + 1, -1.0)
    arrays.copy_into(y[:size], x[:size])
    np.testing.assert_array_equal(y, [*x[:size], -1])


def test_very_large_buffers_begin_at_a_huge_page():
    for nbytes in (memory.HUGE_PAGE, 5 * memory.HUGE_PAGE // 2):
        x = memory.empty(nbytes, np.uint8)
        assert address_of(x) % memory.HUGE_PAGE == 0
        x[:] = 1
        assert int(x[-1]) == 1
