"""Functions of shapes, dtypes and places, which have no rows of their own; other forms of einsum; refused targets."""

from __future__ import annotations

import contextlib
import doctest
import threading

import numpy as np
import pytest

import nbdl
import nbdl.autograd.mode
import nbdl.ops.attributes
import nbdl.ops.creation.matrices
from nbdl import nn, ops
from nbdl.testing import simt

REASON = "PyTorch is not installed: make parity installs it"

SHAPES = [
    (),
    (3,),
    ((2, 3), 3),
    ((2, 1), (1, 4), ()),
    ([1, 1, 5], (4, 1)),
    ((0,), (1,)),
    ((2, 3), (4,)),
    ((0,), (2,)),
    ((2, -1), (1,)),
    ((1.5,), (1,)),
]
CORNERS = [
    (3, 4, 0),
    (4, 3, 0),
    (3, 4, 1),
    (3, 4, -1),
    (0, 3, 0),
    (3, 0, 1),
    (2, 2, 5),
    (2, 2, -5),
    (3, 3, -2),
    (1, 6, 3),
]


@pytest.mark.parametrize("shapes", SHAPES[:6])
def test_shapes_meet_as_tensors_do(shapes):
    tensors = [nbdl.zeros(shape if isinstance(shape, (tuple, list)) else (shape,)) for shape in shapes]
    expected = ops.broadcast_tensors(*tensors)[0].shape if tensors else ()
    assert nbdl.broadcast_shapes(*shapes) == expected


@pytest.mark.parametrize(
    ("shapes", "error", "named"),
    [
        (((2, 3), (4,)), nbdl.ShapeError, r"shapes: no common shape of \[\[2, 3\], \[4\]\]"),
        (((2, -1), (1,)), nbdl.ArgumentError, r"shapes\[0\]"),
        ((2, (1.5,)), nbdl.ArgumentTypeError, r"shapes\[1\]"),
        ((2, None), nbdl.ArgumentTypeError, r"shapes\[1\]"),
    ],
)
def test_shapes_that_do_not_meet(shapes, error, named):
    with pytest.raises(error, match=named):
        nbdl.broadcast_shapes(*shapes)


@pytest.mark.parametrize(("row", "col", "offset"), CORNERS)
def test_indices_of_triangles(row, col, offset):
    x = nbdl.arange(1, row * col + 1).reshape(row, col)
    for indices, triangle, numpys in (
        (nbdl.tril_indices, nbdl.tril, np.tril_indices),
        (nbdl.triu_indices, nbdl.triu, np.triu_indices),
    ):
        found = indices(row, col, offset)
        assert found.dtype == nbdl.int64
        assert found.tolist() == np.stack(numpys(row, offset, col)).tolist()
        if row and col:
            values = triangle(x, offset)
            assert x[tuple(found)].tolist() == values[values != 0].tolist()
    assert nbdl.tril_indices(2, 2, dtype=nbdl.int32).dtype == nbdl.int32
    assert nbdl.tril_indices(2, 3, 10**30).shape == (2, 6)


def test_wrong_triangles_are_refused():
    for indices in (nbdl.tril_indices, nbdl.triu_indices):
        with pytest.raises(nbdl.ArgumentError, match="row"):
            indices(-1, 2)
        with pytest.raises(nbdl.ArgumentTypeError, match="col"):
            indices(2, 2.0)
        with pytest.raises(nbdl.ArgumentTypeError, match="offset"):
            indices(2, 2, 0.5)
        with pytest.raises(nbdl.DTypeError, match="int64 or int32"):
            indices(2, 2, dtype=nbdl.float32)


OPERANDS = {
    "int8": lambda library: library.ones(2, dtype=library.int8),
    "float32": lambda library: library.ones(2),
    "float64": lambda library: library.ones(1, dtype=library.float64),
    "a bool": lambda library: library.ones(2, dtype=library.bool),
    "one int64": lambda library: library.tensor(3),
    "one float64": lambda library: library.tensor(3.0, dtype=library.float64),
    "a number": lambda library: 2.5,
    "a whole number": lambda library: 30,
    "a truth": lambda library: True,
}


@pytest.mark.parametrize("second", OPERANDS)
@pytest.mark.parametrize("first", OPERANDS)
def test_results_have_the_dtype_that_is_told(first, second):
    pair = OPERANDS[first](nbdl), OPERANDS[second](nbdl)
    told = nbdl.result_type(*pair)
    if any(isinstance(value, nbdl.Tensor) for value in pair):
        assert told == nbdl.where(nbdl.tensor([True, False]), *pair).dtype
    else:
        assert told == nbdl.tensor([pair[0], pair[1]]).dtype


def test_result_types_of_nothing():
    with pytest.raises(nbdl.ArgumentTypeError, match="tensor2: expected a Tensor or a number, got NoneType"):
        nbdl.result_type(1, None)
    with pytest.raises(nbdl.ArgumentTypeError, match="tensor1"):
        nbdl.result_type("a", 1)


def test_limits_are_those_of_the_numbers():
    for dtype in (nbdl.float16, nbdl.float32, nbdl.float64):
        limits = nbdl.finfo(dtype)
        one = dtype.type(1)
        assert one + dtype.type(limits.eps) == np.nextafter(one, dtype.type(2))
        with np.errstate(over="ignore"):
            assert np.isinf(np.nextafter(dtype.type(limits.max), dtype.type(np.inf)))
        assert (limits.min, limits.tiny, limits.dtype) == (-limits.max, limits.smallest_normal, str(dtype))
    assert nbdl.finfo() == nbdl.finfo(nbdl.float32) != nbdl.finfo(nbdl.float64)
    assert nbdl.iinfo(nbdl.int8) != nbdl.iinfo(nbdl.uint8) == nbdl.iinfo(np.uint8)
    assert (nbdl.iinfo(nbdl.int64).max, nbdl.iinfo(nbdl.int64).min) == (2**63 - 1, -(2**63))


def test_limits_of_other_kinds_are_refused():
    for dtype in (nbdl.int64, nbdl.bool):
        with pytest.raises(nbdl.DTypeError, match="type: expected a floating-point dtype"):
            nbdl.finfo(dtype)
    for dtype in (nbdl.float32, nbdl.bool):
        with pytest.raises(nbdl.DTypeError, match="type: expected an integer dtype"):
            nbdl.iinfo(dtype)
    with pytest.raises(nbdl.ArgumentTypeError, match="type"):
        nbdl.iinfo("int99")


def test_inference_is_not_recorded():
    x = nbdl.ones(2, requires_grad=True)

    def recorded():
        return (2 * x).requires_grad

    assert not nbdl.inference_mode(recorded)()
    assert not nbdl.inference_mode()(recorded)()
    with nbdl.inference_mode():
        assert not recorded()
        made = x + 1
        with nbdl.inference_mode(False):
            assert recorded()
            assert nbdl.inference_mode(False)(recorded)()
        with nbdl.enable_grad():
            assert recorded()
        assert not recorded()
        seen = []
        thread = threading.Thread(target=lambda: seen.append(recorded()))
        thread.start()
        thread.join()
        assert seen == [True]
    with nbdl.no_grad():
        assert nbdl.inference_mode(False)(recorded)()
    assert recorded()
    (made * x).sum().backward()  # what was made inside is as any other tensor
    assert x.grad.tolist() == [2.0, 2.0]
    with pytest.raises(nbdl.ArgumentTypeError, match="mode"):
        nbdl.inference_mode(0)


X, Y = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
SUBLISTS = [
    (X, [0, 1], Y, [1, 2], [0, 2]),
    (X, [0, 1], Y, [1, 2]),
    (X, (51, 0), Y, (0, 26)),
    (X, [30, 0], Y, [0, 3]),
    (X, [..., 1], Y, [1, 2], [2, ...]),
    (X, [0, 1], []),
    (X, [1, 0]),
    (Y[:, :3], [0, 0], [0]),
    (X, [0, 1], Y, [1, 2], X, [0, 1], [1, 2]),
    (np.ones(()), [], X, [3, 4]),
]
WRONG_SUBLISTS = [
    ((X,), "a list of labels after each tensor"),
    ((X, [0, 52]), r"sublists\[0\]: expected an integer in \[0, 51\], got 52"),
    ((X, [0, -1]), r"sublists\[0\]"),
    ((X, [0, 1], Y), "the output's sublist: expected a list"),
    ((X, [0, 1], Y, 3), r"sublists\[1\]: expected a list"),
    ((X, "ab"), r"sublists\[0\]: expected a list"),
    ((X, [0, 1.5]), r"sublists\[0\]: expected an integer"),
    ((X, [0, 1], [0, 0]), "each output label once"),
    ((X, [0, 1], [2]), "each output label once"),
    ((X, [0, 1, 2]), "expected 3 dimensions"),
    ((X, [0, 1], Y, [0, 1]), "one size of label"),
]


def tensors(library, arguments):
    return [library.tensor(value.tolist()) if isinstance(value, np.ndarray) else value for value in arguments]


@pytest.mark.parametrize("arguments", SUBLISTS)
def test_einsum_takes_lists_of_labels(arguments):
    found = nbdl.einsum(*tensors(nbdl, arguments))
    if 51 in arguments[1]:  # NumPy sorts these as texts too
        arguments = [value if isinstance(value, np.ndarray) else list(value) for value in arguments]
    np.testing.assert_allclose(found.numpy(), np.einsum(*arguments), rtol=1e-6)


@pytest.mark.parametrize(("arguments", "message"), WRONG_SUBLISTS)
def test_einsum_refuses_lists(arguments, message):
    with pytest.raises((nbdl.ArgumentError, nbdl.ArgumentTypeError, nbdl.ShapeError), match=message):
        nbdl.einsum(*tensors(nbdl, arguments))
    with pytest.raises(nbdl.ArgumentTypeError, match="equation"):
        nbdl.einsum(3, nbdl.ones(2))


ORDERS = [0, 0.0, 0.5, 1, 2, 3.0, -1, float("inf"), float("-inf")]
TABLE = [[3.0, -4.0, 0.0], [0.0, 0.0, 0.0], [0.1, 0.2, 0.1], [3.0, 2.0, -5.0]]


@pytest.mark.parametrize("target", [contextlib.nullcontext, simt.target], ids=["cpu", "cuda in the interpreter"])
@pytest.mark.parametrize("order", ORDERS)
def test_norms_of_looked_up_rows(order, target):
    table = nbdl.tensor(TABLE, dtype=nbdl.float64)
    with target():
        ops.embedding(nbdl.tensor([0, 2, 3]), table, max_norm=1.0, norm_type=order)
    for row, given in zip(table.tolist(), TABLE, strict=True):
        with np.errstate(divide="ignore"):
            norm = np.linalg.norm(given, order)
        np.testing.assert_allclose(row, np.array(given) * (1.0 / (norm + 1e-7) if norm > 1 else 1.0), rtol=1e-12)


@pytest.mark.parametrize(("order", "error"), [(np.nan, nbdl.ArgumentError), ("2", nbdl.ArgumentTypeError)])
def test_norms_of_no_order_are_refused(order, error):
    with pytest.raises(error, match="norm_type"):
        ops.embedding(nbdl.tensor([0]), nbdl.ones(1, 2), max_norm=1.0, norm_type=order)


@pytest.mark.parametrize("target", [1.5, -0.25, np.nan, 2.0, np.inf])
def test_targets_of_probabilities_are_probabilities(target):
    for reduction in ("mean", "none"):
        with pytest.raises(nbdl.ArgumentError, match="target: expected probabilities"):
            nn.BCELoss(reduction=reduction)(nbdl.tensor([0.5, 0.5]), nbdl.tensor([0.0, target]))
    assert nn.BCEWithLogitsLoss()(nbdl.tensor([0.5]), nbdl.tensor([1.5])).ndim == 0  # as in PyTorch: not checked


def test_docstring_examples():
    for module in (nbdl.autograd.mode, nbdl.ops.attributes, nbdl.ops.creation.matrices):
        assert doctest.testmod(module, extraglobs={"nbdl": nbdl}).failed == 0


# ---------------------------------------------------------------- PyTorch


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason=REASON)


def answer(call, *arguments, **options):
    """What a call gives, as lists; whether it is refused."""
    try:
        found = call(*arguments, **options)
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
        return "refused"
    return found.tolist() if hasattr(found, "tolist") else found


@pytest.mark.parity
class TestBesidePyTorch:
    @pytest.mark.parametrize("shapes", SHAPES)
    def test_shapes(self, torch, shapes):
        theirs = answer(torch.broadcast_shapes, *shapes)
        assert answer(nbdl.broadcast_shapes, *shapes) == (theirs if theirs == "refused" else tuple(theirs))

    @pytest.mark.parametrize("arguments", [*CORNERS, (-1, 2, 0), (2.0, 2, 0), (2, 2, 0.5)])
    @pytest.mark.parametrize("name", ["tril_indices", "triu_indices"])
    def test_triangles(self, torch, name, arguments):
        assert answer(getattr(nbdl, name), *arguments) == answer(getattr(torch, name), *arguments)

    @pytest.mark.parametrize("second", OPERANDS)
    @pytest.mark.parametrize("first", OPERANDS)
    def test_result_types(self, torch, first, second):
        ours, theirs = (
            library.result_type(OPERANDS[first](library), OPERANDS[second](library)) for library in (nbdl, torch)
        )
        assert str(ours) == str(theirs).removeprefix("torch.")

    def test_limits(self, torch):
        for name, dtypes in (("finfo", "float16 float32 float64"), ("iinfo", "int8 int16 int32 int64 uint8")):
            for dtype in dtypes.split():
                ours, theirs = (getattr(library, name)(getattr(library, dtype)) for library in (nbdl, torch))
                for attribute in (entry for entry in dir(theirs) if entry[0] != "_"):
                    assert getattr(ours, attribute) == getattr(theirs, attribute), (dtype, attribute)
        assert repr(nbdl.finfo()) == repr(torch.finfo())
        assert repr(nbdl.iinfo(nbdl.int8)) == repr(torch.iinfo(torch.int8))

    @pytest.mark.parametrize("enabled", [True, False])
    @pytest.mark.parametrize("around", ["no_grad", "enable_grad", "inference_mode"])
    def test_modes(self, torch, around, enabled):
        seen = []
        for library in (nbdl, torch):
            with getattr(library, around)():
                with library.inference_mode(enabled):
                    seen.append([library.is_grad_enabled()])
                seen[-1].append(library.is_grad_enabled())
        assert seen[0] == seen[1]

    @pytest.mark.parametrize("arguments", [*SUBLISTS, *(arguments for arguments, _ in WRONG_SUBLISTS)])
    def test_lists_of_labels(self, torch, arguments):
        ours, theirs = (answer(library.einsum, *tensors(library, arguments)) for library in (nbdl, torch))
        assert ours == theirs

    @pytest.mark.parametrize("order", ORDERS)
    def test_norms_of_rows(self, torch, order):
        tables = []
        for library in (nbdl, torch):
            for kind in (library.nn.Embedding, library.nn.EmbeddingBag):
                table = kind(4, 3, max_norm=1.0, norm_type=order)
                with library.no_grad():
                    table.weight.copy_(library.tensor(TABLE))
                    table(library.tensor([[0, 2, 3]]))
                tables.append(table.weight.detach().numpy())
        for ours, theirs in zip(tables[:2], tables[2:], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)

    @pytest.mark.parametrize("target", [0.0, 1.0, 0.25, 1.5, -0.25, np.nan])
    def test_targets(self, torch, target):
        losses = [
            answer(library.nn.BCELoss(), library.tensor([0.5]), library.tensor([target])) for library in (nbdl, torch)
        ]
        assert losses[0] == (losses[1] if losses[1] == "refused" else pytest.approx(losses[1]))
