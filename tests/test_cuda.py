"""The CUDA runtime: what a machine without a GPU is told, and, marked `gpu`, what a machine with one computes."""

import subprocess
import sys

import numpy as np
import pytest

from nbdl.runtime import philox
from nbdl.runtime.cuda import device, memory
from nbdl.runtime.cuda.primitives import block_max, block_min, block_sum
from nbdl.runtime.errors import DeviceError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel
from nbdl.runtime.vecmath import exp, log1p, tanh
from nbdl.testing import simt


@cpu_kernel
def _mixed_cpu(x, y, start, stop):
    """The CPU twin is not what is tested here."""


@cuda_kernel
def _mixed_cuda(x, y):
    row = cuda.blockIdx.x
    value = x[row, cuda.threadIdx.x]
    largest, smallest, total = block_max(value), block_min(value), block_sum(exp(value))
    y[row, cuda.threadIdx.x] = tanh(value - largest) + log1p(value - smallest) * total


mixed = Kernel(cpu=_mixed_cpu, cuda=_mixed_cuda, tasks=lambda x, y: x.shape[0])


@pytest.fixture(autouse=True, scope="module")
def unregistered():
    from nbdl.runtime.jit import KERNELS

    KERNELS.remove(mixed)


class NoArray:
    """Stands for an array that is not NumPy's."""


def test_the_error_without_a_gpu_holds_the_remedy():
    if device.is_available():
        pytest.skip("there is a GPU")
    assert device.device_count() == 0
    for call in (
        device.require_device,
        device.synchronize,
        lambda: memory.empty((2,), np.float32),
        lambda: mixed(NoArray()),
    ):
        with pytest.raises(DeviceError, match=r"pip install 'nbdl\[cuda13\]'|nvidia-smi"):
            call()


def test_the_error_without_the_package_holds_the_remedy(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not device.is_available()
    with pytest.raises(DeviceError, match=r"numba-cuda: pip install 'nbdl\[cuda13\]'"):
        device.require_package()


def test_a_kernel_called_from_python_says_how_it_is_launched():
    with pytest.raises(DeviceError, match="launch it through its Kernel"):
        _mixed_cuda(1, 2)
    with pytest.raises(DeviceError, match="only inside a kernel"):
        _ = cuda.threadIdx


def test_importing_nbdl_imports_no_cuda_package():
    code = "import sys, nbdl; print([m for m in sys.modules if m.startswith(('numba_cuda', 'numba.cuda', 'cuda.'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sizes_of_memory_blocks():
    assert [memory.block_size(n) for n in (0, 1, 512, 513, (1 << 20) - 1)] == [512, 512, 512, 1024, 1 << 20]
    assert [memory.block_size(n) for n in (1 << 20, (2 << 20) + 1)] == [2 << 20, 4 << 20]
    assert all(memory.block_size(n) >= n for n in range(0, 5 << 20, 99_991))


# ---------------------------------------------------------------- on a GPU


@pytest.fixture
def gpu():
    assert device.is_available(), f"NOT run on a GPU: {device.why_unavailable()}"


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_interpreter_and_the_gpu_agree(gpu, dtype):
    x = np.random.default_rng(0).standard_normal((3, BLOCK)).astype(dtype)
    expected = np.empty_like(x)
    simt.launch(_mixed_cuda, 3, BLOCK, x, expected)
    y = memory.empty(x.shape, dtype)
    mixed(memory.to_device(x), y)
    np.testing.assert_allclose(memory.to_host(y), expected, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.gpu
def test_random_numbers_are_the_cpus(gpu):
    on_host, on_device = np.empty(1001, np.float32), memory.empty((1001,), np.float32)
    philox.normal(on_host, generator=philox.Generator(5))
    philox.normal(on_device, generator=philox.Generator(5))
    np.testing.assert_array_equal(memory.to_host(on_device), on_host)


@pytest.mark.gpu
def test_memory_is_used_again(gpu):
    memory.release()
    first = memory.empty((1000,), np.float32)
    view = first[10:20]
    del first
    assert memory.idle_bytes() == 0  # the view keeps the block
    del view
    assert memory.idle_bytes() == memory.block_size(4000)
    second = memory.empty((999,), np.float32)
    assert memory.idle_bytes() == 0
    del second
    memory.release()
    assert memory.idle_bytes() == 0
