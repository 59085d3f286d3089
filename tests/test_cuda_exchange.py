"""Memory shared with other libraries: DLPack and `__cuda_array_interface__`, on the CPU and on a simulated GPU."""

import gc

import numpy as np
import pytest

import nbdl
from nbdl.runtime.cuda import exchange
from nbdl.testing import simulated


class Capsule:
    """An object that hands over a capsule, as CuPy or PyTorch would."""

    def __init__(self, capsule, device=(2, 0)):
        self.capsule, self.device = capsule, device

    def __dlpack__(self, *, stream=None, **_):
        return self.capsule

    def __dlpack_device__(self):
        return self.device


class Interface:
    def __init__(self, interface):
        self.__cuda_array_interface__ = interface


# ---------------------------------------------------------------- on the CPU


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
def test_numpy_shares_memory_both_ways(dtype):
    x = nbdl.tensor([[1, 0, 1], [0, 1, 1]]).to(np.dtype(dtype))
    y = np.from_dlpack(x)
    assert y.__array_interface__["data"][0] == x.data_ptr()
    z = nbdl.from_dlpack(y if y.flags.writeable else x)
    assert z.data_ptr() == x.data_ptr()
    assert z.dtype == x.dtype


def test_pytorch_shares_memory_both_ways():
    torch = pytest.importorskip("torch")
    x = nbdl.tensor([[1.0, 2.0], [3.0, 4.0]])
    y = torch.from_dlpack(x)
    y[0, 0] = 9
    assert x.tolist() == [[9.0, 2.0], [3.0, 4.0]]
    z = nbdl.from_dlpack(y.T)
    assert z.data_ptr() == x.data_ptr()
    assert z.stride() == (1, 2)


def test_what_is_no_array_is_refused():
    with pytest.raises(nbdl.ArgumentTypeError, match="ext_tensor: expected an object with __dlpack__, got str"):
        nbdl.from_dlpack("no")
    with pytest.raises(nbdl.DeviceError, match="DLPack's device 10"):
        nbdl.from_dlpack(Capsule(None, (10, 0)))
    assert not hasattr(nbdl.ones(2), "__cuda_array_interface__")


# ---------------------------------------------------------------- on a GPU


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_])
def test_the_structure_is_dlpacks(dtype):
    """The simulated GPU's memory is the CPU's: NumPy reads the capsule once it is told so."""
    with simulated.gpu():
        x = nbdl.tensor(np.arange(12).reshape(3, 4).astype(dtype), device="cuda").transpose(0, 1)[1:]
        nbdl.cuda.synchronize()
        capsule = exchange.lend(x._array, device_type=exchange.CPU)
        y = np.from_dlpack(Capsule(capsule, (1, 0)))
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, x.cpu().numpy())
        assert y.strides == x._array.strides


def test_a_gpu_tensor_goes_through_dlpack_and_back():
    with simulated.gpu():
        x = nbdl.arange(12.0).reshape(3, 4).to("cuda")
        assert x.__dlpack_device__() == (2, 0)
        y = nbdl.from_dlpack(x.T)
        assert y.data_ptr() == x.data_ptr()
        assert (y.device, y.shape, y.stride()) == ("cuda", (4, 3), (1, 4))
        y.mul_(2)
        np.testing.assert_array_equal(x.cpu(), 2 * np.arange(12.0).reshape(3, 4))
        np.testing.assert_array_equal((y + 1).cpu(), 2 * np.arange(12.0).reshape(3, 4).T + 1)


def test_memory_lives_until_the_last_user_is_done():
    with simulated.gpu():
        x = nbdl.ones(1000, device="cuda")
        used = nbdl.cuda.memory_allocated()
        y = nbdl.from_dlpack(x)
        del x
        gc.collect()
        assert nbdl.cuda.memory_allocated() == used
        assert y.sum().item() == 1000
        del y
        gc.collect()
        assert nbdl.cuda.memory_allocated() < used
        z = nbdl.ones(1000, device="cuda")
        capsule = z.__dlpack__()
        del z
        gc.collect()
        assert nbdl.cuda.memory_allocated() == used
        del capsule  # nobody took it
        gc.collect()
        assert nbdl.cuda.memory_allocated() < used


def test_the_other_librarys_stream_waits():
    with simulated.gpu():
        side, theirs = nbdl.cuda.Stream(), nbdl.cuda.Stream()
        with nbdl.cuda.stream(side):
            x = nbdl.ones(4, device="cuda") + 1
        x.__dlpack__(stream=theirs.handle)
        theirs.synchronize()  # runs what it waits for
        assert side.query()


def test_cuda_array_interface():
    with simulated.gpu():
        x = nbdl.arange(6.0).reshape(2, 3).to("cuda")
        interface = x.__cuda_array_interface__
        assert interface["data"] == (x.data_ptr(), False)
        assert (interface["shape"], interface["typestr"], interface["strides"]) == ((2, 3), "<f4", None)
        y = nbdl.as_tensor(Interface(interface))
        assert (y.data_ptr(), y.device) == (x.data_ptr(), "cuda")
        turned = nbdl.as_tensor(Interface(x.T.__cuda_array_interface__))
        np.testing.assert_array_equal((turned + 0).cpu(), x.T.cpu())
        backwards = {**interface, "strides": (-12, 4), "data": (x.data_ptr() + 12, True)}
        np.testing.assert_array_equal(nbdl.as_tensor(Interface(backwards)).cpu(), x.cpu().numpy()[::-1])


def test_what_is_shared_must_not_need_gradients():
    with simulated.gpu():
        x = nbdl.ones(2, device="cuda", requires_grad=True)
        with pytest.raises(nbdl.GradientError, match="detach"):
            x.__dlpack__()
        with pytest.raises(nbdl.GradientError, match="detach"):
            _ = x.__cuda_array_interface__
