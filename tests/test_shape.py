"""What the spec rows of the shape family do not say: sharing of memory, methods, PyTorch's rules in every argument."""

import inspect
import itertools

import numpy as np
import pytest

import nbdl
from nbdl import ops
from nbdl.autograd import Tensor, backward
from nbdl.testing.gradcheck import gradcheck

# ---------------------------------------------------------------- memory


def arange(*shape):
    return Tensor(np.arange(np.prod(shape, dtype=int), dtype=np.float64).reshape(shape))


VIEWS = {
    "reshape": lambda x: x.reshape(6, 4),
    "view": lambda x: x.view(-1),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(2, (2, 2)),
    "squeeze": lambda x: x.unsqueeze(0).squeeze(0),
    "transpose": lambda x: x.transpose(0, 2),
    "permute": lambda x: x.permute(2, 0, 1),
    "movedim": lambda x: x.movedim(0, -1),
    "mT": lambda x: x.mT,
    "expand": lambda x: x.unsqueeze(0).expand(5, -1, -1, -1),
    "diagonal": lambda x: x.diagonal(0, 1, 2),
    "split": lambda x: x.split(2, dim=2)[1],
    "chunk": lambda x: x.chunk(2)[1],
    "unbind": lambda x: x.unbind(1)[2],
    "iteration": lambda x: list(x)[1],
    "select": lambda x: x.select(1, 0),
    "narrow": lambda x: x.narrow(2, 1, 2),
    "subscript": lambda x: x[..., 1:3],
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_show_the_same_memory(name):
    x = arange(2, 3, 4)
    y = VIEWS[name](x)
    assert np.shares_memory(x._array, y._array)
    assert y._version is x._version
    before = y._array.copy()
    x.add_(100.0)
    assert np.array_equal(y._array, before + 100)
    if name != "expand":
        y.zero_()
        assert (x._array == 0).any() and x._version[0] == 2


COPIES = {
    "repeat": lambda x: x.repeat(1, 1),
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(0),
    "rot90": lambda x: x.rot90(0),
    "cat": lambda x: ops.cat([x]),
    "stack": lambda x: ops.stack([x]),
    "index": lambda x: x[[0, 1]],
    "reshape of a transpose": lambda x: x.t().reshape(-1),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_have_memory_of_their_own(name):
    x = arange(2, 3)
    assert not np.shares_memory(x._array, COPIES[name](x)._array)


def test_view_refuses_to_copy():
    x = arange(2, 3)
    assert x.t().view(3, 2, 1).shape == (3, 2, 1)
    with pytest.raises(nbdl.ShapeError, match="use reshape"):
        x.t().view(6)


def test_a_changed_view_is_noticed_by_backward():
    x = Tensor(np.ones((2, 2)), requires_grad=True)
    y = x * 2.0
    z = (y * y).sum()
    with nbdl.no_grad():
        y[0].zero_()
    with pytest.raises(nbdl.GradientError, match="in place"):
        z.backward()


def test_methods_take_integers_or_a_sequence():
    x = arange(2, 3)
    for y in (x.reshape(3, 2), x.reshape((3, 2)), x.reshape([3, -1]), x.reshape(shape=(3, 2)), ops.reshape(x, (3, 2))):
        assert y.shape == (3, 2)
    assert x.reshape(6).shape == (6,)
    assert x.permute(1, 0).shape == x.permute((1, 0)).shape == (3, 2)
    assert x.expand(4, 2, 3).shape == (4, 2, 3)
    assert x.flip(0, 1).tolist() == x.flip((0, 1)).tolist()


def test_joining_promotes_dtypes():
    floats = Tensor(np.ones(2, np.float32), requires_grad=True)
    doubles, integers = Tensor(np.ones(1)), Tensor(np.ones(1, np.int64))
    assert ops.cat([floats, integers]).dtype == np.float32
    joined = ops.cat([floats, doubles, integers])
    assert joined.dtype == np.float64
    joined.sum().backward()
    assert floats.grad.dtype == np.float32
    assert ops.stack([doubles, integers]).dtype == np.float64


def test_unfold():
    x = arange(2, 7)
    windows = x.unfold(1, 3, 2)
    assert windows.shape == (2, 3, 3) and np.shares_memory(windows._array, x._array)
    assert windows[1].tolist() == [[7, 8, 9], [9, 10, 11], [11, 12, 13]]
    gradcheck(lambda x: x.unfold(1, 3, 2), [Tensor(x._array.copy(), requires_grad=True)])
    gradcheck(lambda x: x.unfold(0, 2, 1), [Tensor(x._array.T.copy(), requires_grad=True)])
    with pytest.raises(nbdl.ArgumentError, match="size"):
        x.unfold(1, 8, 1)


def test_parts_without_gradient_get_zeros():
    x = Tensor(np.ones(5), requires_grad=True)
    x.split(2)[1].sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 1, 0]


def test_a_tensor_without_dimensions_has_no_elements_to_iterate():
    with pytest.raises(nbdl.ShapeError):
        iter(arange()).__next__()


# ---------------------------------------------------------------- PyTorch

FORMS = [
    (lambda F, x: x.t().reshape(2, 6), (3, 4)),
    (lambda F, x: x.flatten(), ()),
    (lambda F, x: x.flatten(1, 2), (2, 3, 4, 5)),
    (lambda F, x: x.unflatten(1, (2, -1)), (3, 4)),
    (lambda F, x: x.squeeze((0, 2)), (1, 3, 1)),
    (lambda F, x: x.squeeze(1), (1, 3, 1)),
    (lambda F, x: x.unsqueeze(-1), ()),
    (lambda F, x: x.T, (2, 3)),
    (lambda F, x: x.movedim((0, 1), (2, 0)), (2, 3, 4)),
    (lambda F, x: x.movedim((0, 1), (-1, -2)), (2, 3, 4, 5)),
    (lambda F, x: x.expand(4, 2, 3), (2, 3)),
    (lambda F, x: x.expand(2, -1, 5), (3, 1)),
    (lambda F, x: x.expand(0, 3), (1, 3)),
    (lambda F, x: x.expand(4, 2, 3, 1, 7), (2, 1, 1, 1)),
    (lambda F, x, y: F.broadcast_tensors(x, y), (3, 1), (4,)),
    (lambda F, x: x.diagonal(-2, 1, 2), (3, 4, 5)),
    (lambda F, x: x.diagonal(7), (3, 4)),
    (lambda F, x, y, z: F.cat((x, y, z), 1), (2, 3), (2, 1), (2, 0)),
    (lambda F, x, y: F.cat((x, y)), (2, 3), (0,)),
    (lambda F, x: F.cat((x, x, x), 0), (2, 3)),
    (lambda F, x, y: F.stack((x, y), -2), (2, 3), (2, 3)),
    (lambda F, x, y: F.stack((x, y)), (), ()),
    (lambda F, x, y: F.hstack((x, y)), (), ()),
    (lambda F, x, y: F.hstack((x, y)), (2, 3), (2, 1)),
    (lambda F, x, y: F.vstack((x, y)), (3,), (2, 3)),
    (lambda F, x: x.split([1, 0, 4]), (5, 3)),
    (lambda F, x: x.split(2), (0, 3)),
    (lambda F, x: x.split(9), (5, 3)),
    (lambda F, x: x.chunk(3, -1), (2, 4)),
    (lambda F, x: x.chunk(5), (3, 2)),
    (lambda F, x: x.chunk(3), (0, 2)),
    (lambda F, x: x.tensor_split(3), (7, 2)),
    (lambda F, x: x.tensor_split((4, 2, -1, 20)), (7, 2)),
    (lambda F, x: x.unbind(-1), (3, 2)),
    (lambda F, x: tuple(x), (3,)),
    (lambda F, x: x.repeat(2, 3, 2), (2, 1, 4)),
    (lambda F, x: x.repeat(2, 0), (2, 4)),
    (lambda F, x: x.repeat(2, 2, 2, 2), (2, 3, 2, 3)),
    (lambda F, x: x.tile((2,)), (2, 4)),
    (lambda F, x: F.repeat_interleave(x, 2, 1), (2, 3)),
    (lambda F, x: F.repeat_interleave(x, 3), ()),
    (lambda F, x: x.flip(1, 3), (2, 3, 2, 3, 2)),
    (lambda F, x: x.flip([]), (2, 3)),
    (lambda F, x: F.rot90(x, 3, (2, 0)), (2, 3, 4)),
    (lambda F, x: F.roll(x, 1), (2, 3)),
    (lambda F, x: F.roll(x, (5, 1, 2), (1, 1, 0)), (2, 3)),
    (lambda F, x: F.roll(x, 2, 0), (0, 3)),
    (lambda F, x: F.diag(x, -1), (3,)),
    (lambda F, x: F.diag(x, 4), (3, 5)),
    (lambda F, x: F.diag(x, 2), (0,)),
]


def compare_with_torch(function, *arrays):
    """Values and gradients for a random cotangent."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")
    mine = [Tensor(array.copy(), requires_grad=True) for array in arrays]
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    got, wanted = function(ops, *mine), function(torch, *theirs)
    got, wanted = (y if isinstance(y, (tuple, list)) else (y,) for y in (got, wanted))
    assert len(got) == len(wanted)
    rng = np.random.default_rng(1)
    cotangents = [np.asarray(rng.standard_normal(tuple(y.shape))) for y in wanted]
    for y, z in zip(got, wanted, strict=True):
        assert y.shape == tuple(z.shape)
        assert np.array_equal(y._array, z.detach().numpy())
    backward(list(got), [Tensor(v.copy()) for v in cotangents])
    torch.autograd.backward(list(wanted), [torch.tensor(v) for v in cotangents])
    for x, z in zip(mine, theirs, strict=True):
        gradient = np.zeros(x.shape) if x.grad is None else x.grad._array
        reference = np.zeros(x.shape) if z.grad is None else z.grad.numpy()
        np.testing.assert_allclose(gradient, reference, rtol=1e-12, atol=1e-14)


@pytest.mark.parity
@pytest.mark.parametrize("form", FORMS, ids=lambda form: inspect.getsource(form[0]).strip()[1:].split(": ")[1][:40])
def test_parity(form):
    function, *shapes = form
    rng = np.random.default_rng(0)
    compare_with_torch(function, *[np.asarray(rng.standard_normal(shape)) for shape in shapes])


def test_a_view_of_channels_last_memory_is_a_copy():
    x = nbdl.randn(2, 3, 4, 5, requires_grad=True)
    y = nbdl.ops.conv2d(x, nbdl.randn(6, 3, 3, 3))
    assert not y.is_contiguous()
    np.testing.assert_array_equal(y.view(2, -1).detach().numpy(), y.detach().numpy().reshape(2, -1))
    (y.view(2, -1) * nbdl.arange(36.0)).sum().backward(retain_graph=True)
    by_view, x.grad = x.grad, None
    (y.flatten(1) * nbdl.arange(36.0)).sum().backward()
    np.testing.assert_array_equal(by_view.numpy(), x.grad.numpy())
    with pytest.raises(nbdl.ShapeError, match="needs a copy; use reshape"):
        nbdl.randn(2, 3).t().view(6)


# ---------------------------------------------------------------- gradients of parts


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_gradients_of_parts_that_come_back_in_any_order(order):
    """Parts of one gradient are joined without a copy only if they lie in the order of the parts."""
    dy = Tensor(np.random.default_rng(0).standard_normal((2, 6, 4)))
    x = Tensor(np.zeros((2, 6, 4)), requires_grad=True)
    parts = x.split(2, dim=1)
    ops.cat([parts[place] for place in order], 1).backward(dy)
    wanted = np.concatenate([dy.numpy()[:, 2 * order.index(place) :][:, :2] for place in range(3)], 1)
    np.testing.assert_array_equal(x.grad.numpy(), wanted)
    assert not np.shares_memory(x.grad.numpy(), dy.numpy())
    x = Tensor(np.zeros((2, 3, 8)), requires_grad=True)
    parts = x.unbind(1)
    ops.stack([parts[place] for place in order], 1).backward(dy.reshape(2, 3, 8))
    np.testing.assert_array_equal(x.grad.numpy(), dy.numpy().reshape(2, 3, 8)[:, [order.index(i) for i in range(3)]])
