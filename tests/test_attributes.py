"""What programs ask of a tensor, as PyTorch answers it."""

import numpy as np
import pytest

import nbdl
from nbdl.runtime.errors import DTypeError, ShapeError


def test_sizes_and_places():
    x = nbdl.zeros(3, 4, dtype=nbdl.float64)
    assert (x.nbytes, x.itemsize, x.element_size(), x.ndimension()) == (96, 8, 8, 2)
    assert (x.storage_offset(), x[1:, 2].storage_offset(), x[1, 2:].storage_offset()) == (0, 6, 6)
    assert x.is_set_to(x.view(3, 4)) and not x.is_set_to(x[1:]) and not x.is_set_to(x.t())
    assert x.is_same_size(nbdl.zeros(3, 4)) and not x.is_same_size(x.t())


def test_kinds():
    x = nbdl.tensor([1.5])
    assert x.is_signed() and not x.is_complex() and x.is_nonzero()
    assert not nbdl.tensor([1], dtype=nbdl.uint8).is_signed()
    with pytest.raises(ShapeError, match="one element"):
        nbdl.zeros(2).is_nonzero()
    assert x.type() == "float32"
    assert x.type(nbdl.int64).dtype == nbdl.int64


def test_functions_ask_too():
    x = nbdl.zeros(2, 3)
    assert nbdl.is_tensor(x) and not nbdl.is_tensor(x.numpy())
    assert (nbdl.numel(x), nbdl.is_floating_point(x), nbdl.is_signed(x), nbdl.is_complex(x)) == (6, True, True, False)


def test_devices():
    x = nbdl.zeros(2)
    assert x.is_cpu and not x.is_cuda and x.get_device() == -1 and x.cpu() is x


def test_half_precision():
    assert nbdl.zeros(2).half().dtype == nbdl.float16
    with pytest.raises(DTypeError, match="bfloat16"):
        nbdl.zeros(2).bfloat16()


def test_transposes_by_name():
    x = nbdl.tensor(np.arange(12.0).reshape(2, 2, 3))
    assert np.array_equal(x.mH.numpy(), x.mT.numpy()) and np.array_equal(x.adjoint().numpy(), x.mT.numpy())
    assert np.array_equal(x[0].H.numpy(), x[0].t().numpy())


def test_other_names_are_the_same_functions():
    assert nbdl.arccos is nbdl.acos and nbdl.greater is nbdl.gt and nbdl.multiply is nbdl.mul
    x = nbdl.tensor([0.5, -2.0])
    assert x.clamp_min_(0.0) is x and x.tolist() == [0.5, 0.0]
    assert nbdl.tensor([2.0, 3.0]).cumsum_(0).tolist() == [2.0, 5.0]
    assert nbdl.ones(2, 2).addmm_(nbdl.ones(2, 1), nbdl.ones(1, 2)).tolist() == [[2.0, 2.0], [2.0, 2.0]]


def test_a_tensor_becomes_a_view_of_itself():
    x = nbdl.arange(6.0).reshape(2, 3)
    memory = x.data_ptr()
    assert x.t_() is x and x.shape == (3, 2) and x.data_ptr() == memory
    assert x.unsqueeze_(0).shape == (1, 3, 2) and x.transpose_(0, 2).shape == (2, 3, 1) and x.squeeze_().shape == (2, 3)
    assert x.squeeze_() is x
    a = nbdl.tensor([[1.0, 2.0]], requires_grad=True)
    y = a * 3
    y.t_()
    (y * nbdl.tensor([[1.0], [10.0]])).sum().backward()
    assert a.grad.tolist() == [[3.0, 30.0]]
    with pytest.raises(nbdl.GradientError, match="leaf"):
        a.t_()
    assert y.detach_() is y and y.is_leaf and not y.requires_grad
