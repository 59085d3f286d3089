"""What the spec rows of indexing do not say: writing in place, PyTorch's rules for every kind of subscript."""

import numpy as np
import pytest

import nbdl
from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.ops.indexing.rows import add_rows, wrap_ids
from nbdl.testing import simt
from nbdl.testing.gradcheck import gradcheck


def tensor(values, **options):
    return Tensor(np.array(values, np.float64), **options)


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (3, r"index: expected an integer in \[-2, 1\] for dimension 0, got 3"),
        ((0, -4), r"\[-3, 2\] for dimension 1, got -4"),
        ((slice(None), [[0], [3]]), r"index: expected integers in \[-3, 2\], got 3 at index \[1, 0\]"),
        ((0, 0, 0), "at most 2 dimensions"),
        (np.array([True, False, True]), r"mask of shape \[2\]"),
        (([0, 1], [0, 1, 2]), "no common shape"),
    ],
)
def test_messages(index, message):
    with pytest.raises(nbdl.IndexRangeError, match=message):
        tensor([[1, 2, 3], [4, 5, 6]])[index]


def test_other_refusals():
    x = tensor([[1, 2, 3], [4, 5, 6]])
    with pytest.raises(nbdl.ArgumentError, match="positive step"):
        x[::-1]
    with pytest.raises(nbdl.ArgumentError, match="one Ellipsis"):
        x[..., 0, ...]
    with pytest.raises(nbdl.ArgumentTypeError, match="index"):
        x[1.5]
    with pytest.raises(nbdl.ArgumentTypeError, match="index"):
        x["first"]
    with pytest.raises(nbdl.IndexRangeError, match="size 0"):
        ops.index_select(Tensor(np.zeros((0, 2))), 0, Tensor(np.array([0])))


# ---------------------------------------------------------------- writing


def test_writing_without_a_graph():
    x = tensor([[1, 2, 3], [4, 5, 6]])
    x[0, 1] = 20
    x[1] = tensor([7, 8, 9])
    x[:, [0, 2]] = tensor([[-1], [-2]])
    x[x > 10] = 0.5
    assert x.tolist() == [[-1, 0.5, -1], [-2, 8, -2]]
    assert x._version[0] == 4
    x[:, 1:] = x[:, :2]  # overlapping memory is read before it is written
    assert x.tolist() == [[-1, -1, 0.5], [-2, -2, 8]]
    x[0] = Tensor(np.array([1, 2, 3]))  # another dtype is converted
    assert x[0].tolist() == [1, 2, 3] and x.dtype == np.float64


def test_writing_through_views():
    x = tensor([[1, 2, 3], [4, 5, 6]])
    x.t()[0] = 0.0
    x[:, 1:][0] = 9.0
    x.t()[[2], [1]] = 7.0
    assert x.tolist() == [[0, 9, 9], [0, 5, 7]]


def test_writing_to_shared_places_is_refused():
    x = tensor([1, 2, 3]).expand(2, 3)
    with pytest.raises(nbdl.ArgumentError, match="share places"):
        x[0] = 1.0


def test_writing_into_a_graph():
    x = tensor([1, 2, 3], requires_grad=True)
    value = tensor(5.0, requires_grad=True)
    y = x * 2.0
    y[1] = value
    y[[2, 0]] = y[[0, 2]] * 3.0
    assert y.tolist() == [18, 5, 6]
    (y * tensor([1, 10, 100])).sum().backward()
    assert x.grad.tolist() == [600, 0, 6]
    assert value.grad.item() == 10


def test_writing_a_value_makes_a_constant_part_of_the_graph():
    x, value = tensor([1, 2, 3]), tensor([4, 5], requires_grad=True)
    x[1:] = value
    assert x.requires_grad and not x.is_leaf
    x.sum().backward()
    assert value.grad.tolist() == [1, 1]


def test_leaves_and_views_are_refused_while_recording():
    x = tensor([1, 2, 3], requires_grad=True)
    with pytest.raises(nbdl.GradientError, match="leaf"):
        x[0] = 1.0
    with nbdl.no_grad():
        x[0] = 7.0
    assert x.tolist() == [7, 2, 3]
    with pytest.raises(nbdl.GradientError, match="leaf"):
        x[1:].mul_(2.0)
    plain = nbdl.zeros(3)
    with pytest.raises(nbdl.GradientError, match="view"):
        plain[1:].add_(x[1:])


def test_writing_over_what_backward_needs_is_noticed():
    x = tensor([1, 2, 3], requires_grad=True)
    y = x * 1.0
    z = y * y
    y[0] = 5.0
    with pytest.raises(nbdl.GradientError, match="in place"):
        z.sum().backward()


def test_methods_in_place():
    x = Tensor(np.zeros((2, 3)))
    ids = Tensor(np.array([[0], [2]]))
    assert x.scatter_(1, ids, 5.0) is x
    x.scatter_add_(1, ids, Tensor(np.ones((2, 1))))
    x.index_add_(0, Tensor(np.array([1])), Tensor(np.ones((1, 3))))
    x.index_fill_(1, Tensor(np.array([1])), -1.0)
    assert x.tolist() == [[6, -1, 0], [1, -1, 7]]


def test_written_places_twice_keep_the_last():
    x = Tensor(np.zeros(3))
    x[[0, 0, 1]] = tensor([1, 2, 3])
    assert x.tolist() == [2, 3, 0]


# ---------------------------------------------------------------- scatter gradients


@pytest.mark.parametrize("shape", [(50, 1), (7, 33), (3, 300)])
def test_scatter_is_the_same_for_any_number_of_threads(shape):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, shape[0], 2000)
    dy = rng.standard_normal((1, 2000, shape[1])).astype(np.float32)
    kept = nbdl.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 8):
            nbdl.set_num_threads(threads)
            dx = np.zeros((1, *shape), np.float32)
            add_rows(dy, ids, dx)
            results.append(dx)
    finally:
        nbdl.set_num_threads(kept)
    wanted = np.zeros(shape)
    np.add.at(wanted, ids, dy[0].astype(np.float64))
    np.testing.assert_allclose(results[0][0], wanted, rtol=1e-4, atol=1e-4)
    assert all(np.array_equal(results[0], other) for other in results)


def test_gradient_of_a_table_looked_up_many_times():
    rng = np.random.default_rng(0)
    ids = Tensor(rng.integers(0, 5, 40))
    gradcheck(lambda weight: ops.embedding(ids, weight), [Tensor(rng.standard_normal((5, 3)), requires_grad=True)])
    weight = Tensor(np.ones((5, 3)), requires_grad=True)
    ops.embedding(ids, weight, padding_idx=-5).sum().backward()
    counts = np.bincount(ids._array, minlength=5)
    assert weight.grad[:, 0].tolist() == [0, *counts[1:]]
    weight.grad = None
    ops.embedding(ids, weight, scale_grad_by_freq=True).sum().backward()
    np.testing.assert_allclose(weight.grad._array, 1.0)


def test_an_index_changed_after_the_forward_pass_does_no_harm():
    index = Tensor(np.array([0, 2]))
    for read in (lambda x: x[index], lambda x: ops.gather(x, 0, index), lambda x: ops.index_select(x, 0, index)):
        x = tensor([1, 2, 3], requires_grad=True)
        y = read(x)
        index._array[:] = 1 << 40
        y.sum().backward()
        assert x.grad.tolist() == [1, 0, 1]
        index._array[:] = (0, 2)


def test_extremes_that_tie_share_the_gradient():
    x = tensor([3.0, 0.0], requires_grad=True)
    src = tensor([3.0, 3.0, 1.0], requires_grad=True)
    ids = Tensor(np.array([0, 0, 1]))
    ops.scatter_reduce(x, 0, ids, src, "amax").sum().backward()
    np.testing.assert_allclose(x.grad._array, [1 / 3, 0])
    np.testing.assert_allclose(src.grad._array, [1 / 3, 1 / 3, 1])


# ---------------------------------------------------------------- PyTorch

SUBSCRIPTS = """
0; -1; 1:3; ::2; None; ...; ..., 0; 0, ...; 1, None, :2; None, ..., None; 0, 1, 2; 5:; 2:1; :, ::3, -1
[0, 1, 1]; [0, 1], [1, 2]; :, [0, 1, 1]; ..., [0, 3]; [0, 1], :, [2, 3]; 0, :, [2, 3, 3]; :, 0, [2, 3, 3]
[[0, 1], [1, 0]], :, [2, 3]; [[0], [1]], [0, 1, 2]; [0, 1], None, [1, 2]; None, [0, 1]; :, None, [0, 1]
T([[0, -1], [1, 1]]); T(1); T(1), T([0, 1]); T([True, False]); T([True, False]), T([0])
:, T([True, False, True]); T([True, True]), T([True, False, True]); T([[True, False, True], [False, True, True]])
T([[True, False, True], [False, True, True]]), [0, 1, 2, 3]; :, T([True, False, True]), [0, 1]; True; False
0, True; []; ..., T([True, False, True, False]); ..., None, [0]; [0], ..., [1]; [0], 0, [1]; [0], [0], [0]
1:, [0, 2]; 1:, [0, 2], 1:3; [1], 1:, None, [0]; [1], 1:, 0:2; ::1, 1:, T([1, 0]); np.array([1, 0, 1])
np.int64(1); 0, [1, 2], 1:; True, [0, 1]; [0, 1], True
"""
SUBSCRIPTS = [text.strip() for line in SUBSCRIPTS.strip().splitlines() for text in line.split(";")]


class _Index:
    def __getitem__(self, index):
        return index


@pytest.mark.parity
class TestParity:
    @pytest.fixture(autouse=True)
    def _torch(self):
        self.torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

    def both(self, function, arrays):
        """Values and gradients for a random cotangent."""
        torch = self.torch
        mine = [Tensor(array.copy(), requires_grad=True) for array in arrays]
        theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
        y, z = function(ops, *mine), function(torch, *theirs)
        assert y.shape == tuple(z.shape)
        np.testing.assert_allclose(y._array, z.detach().numpy(), rtol=1e-13)
        cotangent = np.asarray(np.random.default_rng(5).standard_normal(y.shape))
        y.backward(Tensor(cotangent.copy()))
        z.backward(torch.tensor(cotangent))
        for a, b in zip(mine, theirs, strict=True):
            wanted = np.zeros(a.shape) if b.grad is None else b.grad.numpy()
            np.testing.assert_allclose(a.grad._array, wanted, rtol=1e-12, atol=1e-14)

    def integers(self, module, values):
        return self.torch.tensor(values) if module is self.torch else Tensor(np.array(values))

    def subscript(self, module, text):
        scope = {"S": _Index(), "np": np, "T": lambda values: self.integers(module, values)}
        return eval(f"S[{text}]", scope)

    @pytest.mark.parametrize("text", SUBSCRIPTS)
    def test_subscripts(self, text):
        x = np.random.default_rng(0).standard_normal((2, 3, 4))
        self.both(lambda module, a: a[self.subscript(module, text)], [x])
        shape = tuple(self.torch.tensor(x)[self.subscript(self.torch, text)].shape)
        for value_shape in (shape, (), shape[-1:], (1, *shape)):
            value = np.asarray(np.random.default_rng(1).standard_normal(value_shape))

            def write(module, a, v):
                y = a * 1.0
                y[self.subscript(module, text)] = v
                return y

            self.both(write, [x, value])

    @pytest.mark.parametrize("seed", range(30))
    def test_along_a_dimension(self, seed):
        rng = np.random.default_rng(seed)
        shape = tuple(int(size) for size in rng.integers(1, 5, rng.integers(1, 4)))
        dim = int(rng.integers(-len(shape), len(shape)))
        place = dim % len(shape)
        x = rng.standard_normal(shape)
        sizes = tuple(
            int(rng.integers(1, 6)) if d == place else int(rng.integers(1, s + 1)) for d, s in enumerate(shape)
        )
        index = rng.integers(0, shape[place], sizes)
        src = rng.standard_normal(sizes)

        def ids(module):
            return self.integers(module, index)

        self.both(lambda module, a: module.gather(a, dim, ids(module)), [x])
        self.both(lambda module, a, v: module.scatter_add(a, dim, ids(module), v), [x, src])
        self.both(lambda module, a: module.scatter(a, dim, ids(module), 2.5), [x])
        for reduce in ("sum", "prod", "mean", "amax", "amin"):
            for include_self in (True, False):
                self.both(
                    lambda module, a, v, r=reduce, s=include_self: module.scatter_reduce(
                        a, dim, ids(module), v, r, include_self=s
                    ),
                    [x, src],
                )
        chosen = rng.integers(0, shape[place], 3)
        slices = rng.standard_normal(tuple(3 if d == place else s for d, s in enumerate(shape)))
        self.both(lambda module, a: module.index_select(a, dim, self.integers(module, chosen)), [x])
        self.both(
            lambda module, a, v: module.index_add(a, dim, self.integers(module, chosen), v, alpha=1.5), [x, slices]
        )
        self.both(lambda module, a: module.index_fill(a, dim, self.integers(module, chosen - shape[place]), 2.5), [x])
        self.both(lambda module, a: module.take(a, self.integers(module, rng.integers(-1, x.size, 0))), [x])
        mask = rng.random(shape) < 0.5
        self.both(lambda module, a: module.masked_select(a, self.integers(module, mask)), [x])
        self.both(
            lambda module, a, v: module.masked_scatter(a, self.integers(module, mask), v),
            [x, rng.standard_normal(x.size)],
        )

    @pytest.mark.parametrize("norm_type", [2.0, 1.0, float("inf"), 3.0])
    def test_embedding_with_a_largest_norm(self, norm_type):
        table, index = np.random.default_rng(0).standard_normal((6, 4)), np.array([[0, 2], [2, 5]])
        mine, theirs = Tensor(table.copy()), self.torch.tensor(table)
        ops.embedding(Tensor(index), mine, max_norm=0.7, norm_type=norm_type)
        self.torch.nn.functional.embedding(self.torch.tensor(index), theirs, max_norm=0.7, norm_type=norm_type)
        np.testing.assert_allclose(mine._array, theirs.numpy(), rtol=1e-6)


def test_diagonals_are_filled_in_place():
    x = nbdl.zeros(5, 2)
    assert x.fill_diagonal_(1.0) is x
    assert x.tolist() == [[1, 0], [0, 1], [0, 0], [0, 0], [0, 0]]
    assert nbdl.zeros(5, 2).fill_diagonal_(2.0, wrap=True).tolist() == [[2, 0], [0, 2], [0, 0], [2, 0], [0, 2]]
    assert nbdl.zeros(2, 2, 2).fill_diagonal_(3.0).sum().item() == 6
    with pytest.raises(nbdl.ShapeError, match="one size"):
        nbdl.zeros(2, 2, 3).fill_diagonal_(1.0)


def test_index_put_in_place_keeps_the_graph():
    x, v = nbdl.zeros(3, requires_grad=True), nbdl.ones(2, requires_grad=True)
    y = x * 2
    y.index_put_((nbdl.tensor([0, 0]),), v * 3, accumulate=True)
    (y * nbdl.arange(1.0, 4.0)).sum().backward()
    assert y.tolist() == [6, 0, 0]
    assert (x.grad.tolist(), v.grad.tolist()) == ([2, 4, 6], [3, 3])


def test_ids_are_wrapped_alike_on_both_targets():
    """What a GPU does with ids; the CPU twin renumbers them in `row_numbers`, and is tested here alone."""
    ids, wanted = np.array([0, 3, -1, -4, 4, -5, 2]), [0, 3, 3, 0, 0, 0, 2]  # 4 and -5 are out of range
    on_cpu, on_cuda = np.full((2, 7), -9)
    wrap_ids(ids, 4, on_cpu)
    simt.launch(wrap_ids.cuda, 1, wrap_ids.threads, ids, 4, on_cuda)
    np.testing.assert_array_equal(on_cpu, wanted)
    np.testing.assert_array_equal(on_cuda, wanted)
