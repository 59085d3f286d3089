"""The CUDA runtime on a simulated GPU: memory, streams, events, pinned copies, checkpoints, and what goes wrong."""

import gc
import inspect
import struct
import threading

import numpy as np
import pytest

import nbdl
from nbdl import data, nn, optim
from nbdl.runtime.cuda import compiler, driver, launch, memory
from nbdl.runtime.jit import CudaFunction, Kernel, cpu_kernel, cuda, cuda_kernel
from nbdl.testing import simt, simulated


@cpu_kernel
def _shifted_cpu(x, y, step, start, stop):
    """The CPU twin is not what is tested here."""


@cuda_kernel
def _shifted_cuda(x, y, step):
    i = cuda.threadIdx.x
    y[i] = x[i + step]


shifted = Kernel(cpu=_shifted_cpu, cuda=_shifted_cuda, tasks=lambda x, y, step: 1, threads=32)


@pytest.fixture(autouse=True, scope="module")
def unregistered():
    from nbdl.runtime.jit import KERNELS

    KERNELS.remove(shifted)


# ---------------------------------------------------------------- memory


def test_blocks_are_used_again_and_counted():
    with simulated.gpu() as machine:
        x = nbdl.zeros(1000, device="cuda")
        used = nbdl.cuda.memory_allocated()
        assert used >= 4000
        del x
        assert nbdl.cuda.memory_allocated() == used - memory.block_size(4000)
        asked = machine.used
        y = nbdl.zeros(900, device="cuda")
        assert machine.used == asked  # the same block, the pool's
        part = y[10:20]
        del y
        assert nbdl.cuda.memory_allocated() == used  # a view keeps it
        del part
        assert nbdl.cuda.max_memory_allocated() >= used
        nbdl.cuda.empty_cache()
        assert nbdl.cuda.memory_reserved() == nbdl.cuda.memory_allocated() < asked
        nbdl.cuda.reset_peak_memory_stats()
        assert nbdl.cuda.max_memory_allocated() == nbdl.cuda.memory_allocated()
        assert nbdl.cuda.mem_get_info() == (machine.total - machine.used, machine.total)


def test_out_of_memory_names_all_sizes():
    with simulated.gpu(memory=8 << 20):
        x = nbdl.empty(1 << 20, device="cuda")  # 4 of 8 MiB
        with pytest.raises(nbdl.DeviceError, match="out of memory") as caught:
            nbdl.empty(1 << 21, device="cuda")
        message = str(caught.value)
        assert isinstance(caught.value, MemoryError)
        for words in ("8.00 MiB requested", "free of 8.00 MiB", "tensors hold 4.00 MiB", "the pool", "smaller batches"):
            assert words in message, message
        del x
        assert nbdl.empty(1 << 20, device="cuda").device == "cuda"  # what is idle is used


def test_idle_memory_is_given_up_before_an_error():
    with simulated.gpu(memory=8 << 20):
        for elements in (1 << 18, 1 << 19, 1 << 20, 3 << 18):  # together more than there is
            x = nbdl.empty(elements, device="cuda")
            del x
        assert nbdl.cuda.memory_reserved() <= 8 << 20


# ---------------------------------------------------------------- streams and events


def test_streams_work_when_somebody_waits():
    with simulated.gpu() as machine:
        side = nbdl.cuda.Stream()
        x = nbdl.ones(4, device="cuda")
        with nbdl.cuda.stream(side):
            assert nbdl.cuda.current_stream() is side
            y = x + x  # waits for the default stream, which made x
        done = side.record_event()
        assert not done.query()
        count = len(machine.launches)
        assert (y * 3).tolist() == [6.0] * 4  # and back: the default stream waits for the side
        assert len(machine.launches) > count
        assert done.query()
        side.synchronize()
        assert side.query()


def test_a_block_of_another_stream_is_not_overwritten_too_early():
    with simulated.gpu():
        side = nbdl.cuda.Stream()
        x = nbdl.full((4,), 2.0, device="cuda")
        with nbdl.cuda.stream(side):
            y = x * 5
        del x  # its block is idle, while the side stream has yet to read it
        z = nbdl.full((4,), 9.0, device="cuda")
        assert z.tolist() == [9.0] * 4
        assert y.tolist() == [10.0] * 4


def test_optimizers_see_gradients_of_other_streams():
    with simulated.gpu():
        weight = nn.Parameter(nbdl.ones(3, device="cuda"))
        with nbdl.cuda.stream(nbdl.cuda.Stream()):
            (weight * 2).sum().backward()
        optim.SGD([weight], lr=0.5).step()
        assert weight.detach().tolist() == [0.0] * 3


def test_events_measure():
    with simulated.gpu():
        start, end = (nbdl.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        x = nbdl.ones(4, device="cuda") + 1
        end.record()
        assert start.elapsed_time(end) > 0
        assert x.tolist() == [2.0] * 4
        with pytest.raises(nbdl.DeviceError, match="enable_timing=True"):
            start.elapsed_time(nbdl.cuda.Event())
        with pytest.raises(nbdl.ArgumentTypeError, match=r"stream: expected an nbdl\.cuda\.Stream or None, got int"):
            nbdl.cuda.stream(7)


def test_each_thread_has_its_stream_and_its_place():
    with simulated.gpu():
        found = []

        def work():
            x = nbdl.ones(2, device="cuda")
            found.append((nbdl.cuda.current_stream(), (x + 1).tolist(), nbdl.zeros(2).device))

        with nbdl.cuda.stream(nbdl.cuda.Stream()):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        (stream, values, device), *_ = found
        assert (stream.handle, values, device) == (0, [2.0, 2.0], "cpu")


# ---------------------------------------------------------------- copies


def test_copies_from_pinned_memory_need_not_wait():
    with simulated.gpu() as machine:
        x = nbdl.cuda.pin_memory(nbdl.ones(1 << 15))
        waits = machine.host_waits
        y = x.to("cuda", non_blocking=True)
        assert machine.host_waits == waits
        x.fill_(5)  # too early: the copy comes later
        assert y[0].item() == 5
        x.fill_(7)
        z = x.to("cuda")
        x.fill_(8)
        assert z[0].item() == 7  # without non_blocking it was waited for
        assert memory.is_pinned(x._array[3:])
        assert not memory.is_pinned(np.ones(2))
        del x, y, z
        nbdl.cuda.pin_memory(np.ones(2))  # what was kept for copies is looked through
        gc.collect()
        assert not machine._pinned


def test_batches_are_copied_ahead():
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    loader = data.DataLoader(data.ArrayDataset(rows, np.arange(6)), batch_size=2)
    with simulated.gpu():
        found = [(x.tolist(), y.tolist(), x.device) for x, y in nbdl.cuda.batches(loader)]
        pinned = data.DataLoader(data.ArrayDataset(rows), batch_size=3, pin_memory=nbdl.cuda.pin_memory)
        assert all(memory.is_pinned(x) for (x,) in pinned)
    assert found == [(rows[i : i + 2].tolist(), [i, i + 1], "cuda") for i in (0, 2, 4)]
    with pytest.raises(data.DataArgumentError, match="pin_memory"):
        data.DataLoader(data.ArrayDataset(rows), pin_memory=True)


def test_files_go_from_device_to_device(tmp_path):
    with simulated.gpu():
        model = nn.Linear(3, 2, device="cuda")
        update = optim.Adam(model.parameters(), lr=0.1)
        model(nbdl.ones(1, 3, device="cuda")).sum().backward()
        update.step()
        state = {"model": model.state_dict(), "optimizer": update.state_dict()}
        nbdl.save(state, tmp_path / "state.safetensors")
        on_cpu = nbdl.load(tmp_path / "state.safetensors")
        on_gpu = nbdl.load(tmp_path / "state.safetensors", map_location="cuda")
        assert on_cpu["model"]["weight"].device == "cpu"
        assert on_gpu["model"]["weight"].device == "cuda"
        for loaded in (on_cpu, on_gpu):
            other = nn.Linear(3, 2, device="cuda")
            other.load_state_dict(loaded["model"])
            later = optim.Adam(other.parameters(), lr=0.1)
            later.load_state_dict(loaded["optimizer"])
            for one, step in ((model, update), (other, later)):
                one.zero_grad()
                one(nbdl.ones(1, 3, device="cuda")).sum().backward()
                step.step()
            np.testing.assert_array_equal(other.weight.detach().cpu(), model.weight.detach().cpu())
            model.load_state_dict(on_cpu["model"])
            update.load_state_dict(on_cpu["optimizer"])
    elsewhere = nn.Linear(3, 2)
    elsewhere.load_state_dict(on_cpu["model"])


# ---------------------------------------------------------------- what goes wrong


def test_mixed_devices_name_the_tensors():
    with simulated.gpu():
        x, y = nbdl.ones(2, 3, device="cuda"), nbdl.ones(2, 3)
        with pytest.raises(
            nbdl.DeviceError,
            match=r"add: tensors on two devices: tensor 1, float32 \[2, 3\], is on the CPU, .* Move one",
        ):
            x + y
        with pytest.raises(nbdl.DeviceError, match="linear: tensors on two devices"):
            nn.Linear(3, 2)(x)
        assert (x * nbdl.tensor(2.0)).tolist() == [[2.0] * 3] * 2  # a number may come from anywhere
        with pytest.raises(nbdl.DeviceError, match="index: lies on the GPU, the tensor on the CPU"):
            y[nbdl.tensor([0, 1], device="cuda")]
        z = nbdl.ones(2, 3, requires_grad=True)
        with pytest.raises(nbdl.DeviceError, match=r"gradient: .*device"):
            (z * 2).backward(x)


def test_a_model_that_moves_after_its_optimizer_stepped_is_refused():
    with simulated.gpu():
        model = nn.Linear(2, 1)
        update = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        model(nbdl.ones(1, 2)).sum().backward()
        update.step()
        model.to("cuda").zero_grad()
        model(nbdl.ones(1, 2, device="cuda")).sum().backward()
        with pytest.raises(nbdl.DeviceError, match="Move the model first, then make the optimizer"):
            update.step()


def test_a_failed_launch_is_an_error_at_the_next_look():
    with simulated.gpu() as machine:
        x = nbdl.ones(3, device="cuda")
        machine.fail_next = 700
        y = x + 1
        with pytest.raises(nbdl.DeviceError, match=r"CUDA_ERROR_ILLEGAL_ADDRESS \(700\); kernels .*add.*simt"):
            y.tolist()
        with pytest.raises(nbdl.DeviceError, match="ILLEGAL_ADDRESS"):  # and stays one
            nbdl.ones(3, device="cuda").tolist()


def test_an_index_outside_an_array_is_found_by_the_interpreter():
    with simulated.gpu(eager=True), pytest.raises(simt.BoundsError, match="kernel shifted"):
        x = nbdl.ones(32, device="cuda")
        shifted(x._array, nbdl.zeros(32, device="cuda")._array, 1)


def test_results_on_the_cpu_are_refused():
    with simulated.gpu():
        x = nbdl.ones(33, device="cuda")._array
        with pytest.raises(nbdl.DeviceError, match=r"kernel shifted: y, float32 \[32\], lies on the CPU"):
            shifted(x, np.zeros(32, np.float32), 1)
        assert launch.written(_shifted_cuda) == {1}


def test_an_unsupported_dtype_is_named():
    with simulated.gpu():
        with pytest.raises(nbdl.DTypeError, match="on the GPU, got complex64"):
            memory.empty((2,), np.complex64)
        with pytest.raises(nbdl.DTypeError):
            nbdl.tensor(np.ones(2, np.complex64), device="cuda")


# ---------------------------------------------------------------- the driver's interface


def test_arguments_lie_as_the_kernel_expects_them():
    """The PTX of a kernel names the type of each parameter: the slots have those sizes, in that order."""
    pytest.importorskip("numba_cuda")

    @cuda_kernel
    def all_kinds(x, numbers, flag, y, word):
        y[0] = x[0, 0] * numbers[0] + numbers[1] * flag + word

    with simulated.gpu():
        x, y = nbdl.ones(2, 3, device="cuda")._array, nbdl.ones(2, device="cuda")._array
        given = (x, (np.float32(2), 3), True, y, np.uint32(5))
        description = tuple(map(driver.describe, given))
        text = compiler.compile_to_ptx(all_kinds.py_func, compiler.argument_types(given), (8, 0))
        declared = [line.split()[1] for line in text.splitlines() if line.strip().startswith(".param")]
        sizes = {".u64": 8, ".u32": 4, ".f32": 4, ".f64": 8, ".u8": 1, ".s32": 4, ".b8": 1, ".align": 1}
        layout = "".join(map(driver.slot_format, description))
        letters = [letter for letter in layout if letter not in "x1234567"]
        assert [struct.calcsize("<" + letter) for letter in letters] == [sizes[kind] for kind in declared]
        arguments = driver.Arguments(description, given)
        assert simulated.machine.Function(all_kinds, description).unpack(arguments.address) == [
            0, 0, 6, 4, x.address, 2, 3, 12, 4, 2.0, 3, True, 0, 0, 2, 4, y.address, 2, 4, 5,
        ]  # fmt: skip


def test_the_simulated_driver_has_cudas_functions():
    """Names and numbers of arguments are those of the real bindings."""
    real = pytest.importorskip("cuda.bindings.driver")
    own = [name for name in vars(simulated.Machine) if name.startswith("cu")]
    assert len(own) > 25
    for name in own:
        signature = (getattr(real, name).__doc__ or "").split(")")[0].split("(", 1)[1]
        theirs = [part.split("=")[0].split(":")[0].split()[-1] for part in signature.split(", ") if part]
        mine = list(inspect.signature(getattr(simulated.Machine, name)).parameters)[1:]
        assert mine == theirs, name
    parameters = real.CUDA_KERNEL_NODE_PARAMS.__doc__
    for field in (name for name in vars(simulated.machine.NodeParameters) if not name.startswith("_")):
        assert f"{field} :" in parameters


def test_all_kernels_that_are_handed_on_are_read_for_what_they_write():
    from nbdl.runtime import jit

    library = [kernel for kernel in jit.KERNELS if kernel.cpu.py_func.__module__.startswith("nbdl.")]
    assert len(library) > 100
    for kernel in library:
        assert isinstance(kernel.cuda, CudaFunction)
        by_address = "addresses" in kernel.cuda.py_func.__code__.co_varnames
        assert by_address or launch.written(kernel.cuda), f"{kernel.name} writes nothing?"
