r"""Slices by number along one dimension: selecting, adding, copying and filling them; masks; places of elements.

A tensor is read as [O, M, I], M the dimension, and the index $n$ as [K]:

$$
\text{select: } y_{o,k,i} = x_{o,n_k,i}, \qquad
\text{add: } y_{o,n_k,i} \mathrel{+}= \alpha\, v_{o,k,i}, \qquad
\text{copy: } y_{o,n_k,i} = v_{o,k,i}.
$$

They run on the kernels for rows. The references are NumPy's subscripts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor, wrap
from nbdl.ops.elementwise.casting import to_dtype
from nbdl.ops.indexing.elements import copied
from nbdl.ops.indexing.rows import add_rows, gather_rows, put_rows, row_numbers
from nbdl.ops.indexing.subscript import getitem
from nbdl.ops.shape.views import broadcast_tensors, expand
from nbdl.runtime import arrays, memory, placement
from nbdl.runtime.checks import check_dim, check_int, check_same_dtype
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, ShapeError

# ---------------------------------------------------------------- arguments


def _numbers(input: Tensor, dim: int, index: Any) -> tuple[int, np.ndarray]:
    """The dimension and the numbers of slices along it, checked."""
    if not isinstance(index, Tensor):
        raise ArgumentTypeError(f"index: expected a tensor of integers, got {type(index).__name__}")
    if index.ndim > 1:
        raise ShapeError(f"index: expected at most one dimension, got shape {list(index.shape)}")
    dim = check_dim("dim", dim, input.ndim)
    return dim, row_numbers("index", index._array, input.shape[dim] if input.ndim else 1)


def _tables(array: Any, dim: int) -> Any:
    """A contiguous array as [O, M, I]."""
    shape = array.shape
    if not shape:
        return array.reshape(1, 1, 1)
    return array.reshape(math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :]))


def _check_slices(name: str, source: Tensor, input: Tensor, dim: int, count: int) -> Tensor:
    """The source, if it has a slice for each number."""
    expected = (*input.shape[:dim], count, *input.shape[dim + 1 :]) if input.ndim else ()
    shape = source.shape
    if shape != expected and not (shape == () and count == 1 and len(expected) == 1):
        raise ShapeError(f"{name}: expected shape {list(expected)}, got {list(shape)}")
    return check_same_dtype(name, source, "input", input)


# ---------------------------------------------------------------- autograd


class IndexSelectOp(Op):
    """y = the slices of x with these numbers."""

    @staticmethod
    def forward(ctx: Context, x, dim, ids):
        ctx.shape, ctx.dim, ctx.ids = x.shape, dim, ids
        y = memory.empty((*x.shape[:dim], len(ids), *x.shape[dim + 1 :]) if x.ndim else (), x.dtype)
        if y.size:
            gather_rows(_tables(arrays.contiguous(x), dim), ids, _tables(y, dim))
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        dx = arrays.full(ctx.shape, 0, dy.dtype)
        add_rows(_tables(arrays.contiguous(dy), ctx.dim), ctx.ids, _tables(dx, ctx.dim))
        return dx, None, None


class IndexAddOp(Op):
    """y = x plus the source's slices at these numbers."""

    @staticmethod
    def forward(ctx: Context, x, source, dim, ids):
        ctx.shape, ctx.dim, ctx.ids = source.shape, dim, ids
        y = copied(x)
        add_rows(_tables(arrays.contiguous(source), dim), ids, _tables(y, dim))
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        return dy, _selected(dy, ctx) if ctx.needs_input_grad[1] else None, None, None


class IndexCopyOp(Op):
    """y = x with the source's slices at these numbers."""

    @staticmethod
    def forward(ctx: Context, x, source, dim, ids):
        ctx.shape, ctx.dim, ctx.ids = source.shape, dim, ids
        y = copied(x)
        put_rows(_tables(arrays.contiguous(source), dim), ids, _tables(y, dim))
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        dx = dsource = None
        if ctx.needs_input_grad[0]:
            dx = copied(dy)
            put_rows(_tables(arrays.full(ctx.shape, 0, dy.dtype), ctx.dim), ctx.ids, _tables(dx, ctx.dim))
        if ctx.needs_input_grad[1]:
            dsource = _selected(dy, ctx)
        return dx, dsource, None, None


def _selected(dy, ctx):
    """The slices of dy with the context's numbers, in the shape of the source."""
    result = memory.empty(ctx.shape, dy.dtype)
    if result.size:
        gather_rows(_tables(arrays.contiguous(dy), ctx.dim), ctx.ids, _tables(result, ctx.dim))
    return result


# ---------------------------------------------------------------- public: slices


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices with the given numbers along a dimension.

    Args:
        input: [*], any dtype.
        dim: The dimension.
        index: [K] integers in [0, size of dim).

    Returns:
        [*], with size K along dim.

    Raises:
        DTypeError: The index is not of integers.
        IndexRangeError: A number or dim is out of range.

    Gradient:
        For input: dy added where its slices came from.

    Example:
        >>> nbdl.ops.index_select(nbdl.tensor([[1, 2], [3, 4]]), 0, nbdl.tensor([1, 1]))
        tensor([[3, 4],
                [3, 4]])
    """
    dim, ids = _numbers(input, dim, index)
    return IndexSelectOp.apply(input, dim, ids)


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """Adds slices to those with the given numbers along a dimension.

    Args:
        input: [*], any dtype.
        dim: The dimension.
        index: [K] integers in [0, size of dim).
        source: [*] of the input's dtype, with size K along dim.
        alpha: A factor of the source; an integer where they are integers.

    Returns:
        The shape and dtype of the input; the same to the last bit in every run.

    Raises:
        DTypeError: The index is not of integers, the source of another dtype, or alpha no integer where they are.
        ShapeError: The source has another shape.
        IndexRangeError: A number or dim is out of range.

    Gradient:
        For input: dy. For source: alpha times the slices of dy with these numbers.

    Example:
        >>> nbdl.ops.index_add(nbdl.zeros(3), 0, nbdl.tensor([0, 0, 2]), nbdl.ones(3))
        tensor([2., 0., 1.])
    """
    dim, ids = _numbers(input, dim, index)
    _check_slices("source", source, input, dim, len(ids))
    if isinstance(alpha, float) and input.dtype.kind != "f":
        raise DTypeError(f"alpha: expected an integer for {input.dtype} tensors, got {alpha}")
    return IndexAddOp.apply(input, source if alpha == 1 else source * alpha, dim, ids)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Replaces the slices with the given numbers along a dimension.

    Args:
        input: [*], any dtype.
        dim: The dimension.
        index: [K] integers in [0, size of dim); of equal ones the last wins.
        source: [*] of the input's dtype, with size K along dim.

    Returns:
        The shape and dtype of the input.

    Raises:
        DTypeError: The index is not of integers, or the source of another dtype.
        ShapeError: The source has another shape.
        IndexRangeError: A number or dim is out of range.

    Gradient:
        For input: dy, zero in the replaced slices. For source: the slices of dy with these numbers.

    Example:
        >>> nbdl.ops.index_copy(nbdl.zeros(3), 0, nbdl.tensor([2, 0]), nbdl.tensor([1.0, 2.0]))
        tensor([2., 0., 1.])
    """
    dim, ids = _numbers(input, dim, index)
    _check_slices("source", source, input, dim, len(ids))
    return IndexCopyOp.apply(input, source, dim, ids)


def index_fill(input: Tensor, dim: int, index: Tensor, value: Tensor | float) -> Tensor:
    """Fills the slices with the given numbers along a dimension with one value.

    Args:
        input: [*], any dtype.
        dim: The dimension.
        index: [K] integers in [-size of dim, size of dim).
        value: A number or a tensor of one element.

    Returns:
        The shape and dtype of the input.

    Raises:
        DTypeError: The index is not of integers.
        IndexRangeError: A number or dim is out of range.

    Gradient:
        For input: dy, zero in the filled slices. For value: the sum of dy there.

    Example:
        >>> nbdl.ops.index_fill(nbdl.zeros(3), 0, nbdl.tensor([0, 2]), 1.0)
        tensor([1., 0., 1.])
    """
    if not isinstance(index, Tensor):
        raise ArgumentTypeError(f"index: expected a tensor of integers, got {type(index).__name__}")
    dim = check_dim("dim", dim, input.ndim)
    ids = row_numbers("index", index._array, input.shape[dim] if input.ndim else 1, negative=True)
    if isinstance(value, Tensor):
        if value.ndim:
            raise ShapeError(f"value: expected a number or a tensor without dimensions, got shape {list(value.shape)}")
        filled = to_dtype(value, input.dtype)
    else:
        filled = wrap(arrays.sent_beside(input._array, np.asarray(value, input.dtype)))
    source = expand(filled, (*input.shape[:dim], len(ids), *input.shape[dim + 1 :])) if input.ndim else filled
    return IndexCopyOp.apply(input, source, dim, ids)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """One slice along a dimension, a view without that dimension: `input[:, index]` for dim 1.

    Args:
        input: [*], any dtype.
        dim: The dimension.
        index: The place in it; negative ones count from its end.

    Returns:
        [*] without the dimension.

    Raises:
        IndexRangeError: dim or index is out of range.

    Example:
        >>> nbdl.ops.select(nbdl.tensor([[1, 2], [3, 4]]), 1, 0)
        tensor([1, 3])
    """
    if input.ndim == 0:
        raise IndexRangeError("input: expected at least one dimension, got shape []")
    dim = check_dim("dim", dim, input.ndim)
    size = input.shape[dim]
    if not -size <= index < size:
        raise IndexRangeError(f"index: expected an integer in [{-size}, {size - 1}], got {index}")
    return getitem(input, (slice(None),) * dim + (int(index),))


def narrow(input: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """`length` consecutive slices along a dimension from `start` on, a view.

    Raises:
        IndexRangeError: The slices reach out of the dimension.

    Example:
        >>> nbdl.ops.narrow(nbdl.tensor([1, 2, 3, 4]), 0, 1, 2)
        tensor([2, 3])
    """
    if input.ndim == 0:
        raise IndexRangeError("input: expected at least one dimension, got shape []")
    dim = check_dim("dim", dim, input.ndim)
    size = input.shape[dim]
    first = int(start)
    length = check_int("length", length, 0)
    if not -size <= first <= size:
        raise IndexRangeError(f"start: expected an integer in [{-size}, {size}], got {first}")
    first += size if first < 0 else 0
    if first + length > size:
        raise IndexRangeError(f"length: expected at most {size - first} from start={first} on, got {length}")
    return getitem(input, (slice(None),) * dim + (slice(first, first + length),))


class UnfoldOp(Op):
    """y = the windows along one dimension, a view: neighbours share elements."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x, dim, size, step):
        ctx.shape, ctx.dim, ctx.size = x.shape, dim, size
        windows = (x.shape[dim] - size) // step + 1
        ctx.ids = (np.arange(windows)[:, None] * step + np.arange(size)).reshape(-1)
        shape = (*x.shape[:dim], windows, *x.shape[dim + 1 :], size)
        steps = (*x.strides[:dim], x.strides[dim] * step, *x.strides[dim + 1 :], x.strides[dim])
        return arrays.strided(x, shape, steps)

    @staticmethod
    def backward(ctx: Context, dy):
        dx = arrays.full(ctx.shape, 0, dy.dtype)
        if dy.size:
            beside = arrays.contiguous(np.moveaxis(dy, -1, ctx.dim + 1))
            windows = beside.reshape(*ctx.shape[: ctx.dim], len(ctx.ids), *ctx.shape[ctx.dim + 1 :])
            add_rows(_tables(windows, ctx.dim), ctx.ids, _tables(dx, ctx.dim))
        return dx, None, None, None


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """The windows of `size` elements along a dimension, `step` apart, as a last dimension.

    Args:
        input: [*], at least one dimension, any dtype.
        dimension: The dimension.
        size: Elements of a window, at most the size of the dimension.
        step: The distance of two windows, at least 1.

    Returns:
        [*, size], a view of the input, with the number of windows as the size of the dimension.

    Raises:
        ArgumentError: size or step is out of range.
        IndexRangeError: dimension is out of range.

    Gradient:
        For input: dy summed over the windows that an element is part of.

    Example:
        >>> nbdl.tensor([1, 2, 3, 4]).unfold(0, 2, 1)
        tensor([[1, 2],
                [2, 3],
                [3, 4]])
    """
    if input.ndim == 0:
        raise IndexRangeError("input: expected at least one dimension, got shape []")
    dim = check_dim("dimension", dimension, input.ndim)
    size = check_int("size", size, 0, input.shape[dim])
    return UnfoldOp.apply(input, dim, size, check_int("step", step, 1))


# ---------------------------------------------------------------- public: elements and masks


def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements by their number in row-major order.

    Args:
        input: [*], any dtype.
        index: [*] integers in [-size, size).

    Returns:
        The shape of the index, dtype of the input.

    Raises:
        DTypeError: The index is not of integers.
        IndexRangeError: A number is out of range.

    Gradient:
        For input: dy added where its elements came from.

    Example:
        >>> nbdl.ops.take(nbdl.tensor([[1, 2], [3, 4]]), nbdl.tensor([0, 3]))
        tensor([1, 4])
    """
    if not isinstance(index, Tensor):
        raise ArgumentTypeError(f"index: expected a tensor of integers, got {type(index).__name__}")
    ids = row_numbers("index", index._array, input.numel(), negative=True)
    return IndexSelectOp.apply(input.reshape(-1), 0, ids).reshape(index.shape)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where a mask is true, in row-major order, the shapes broadcast to each other.

    Args:
        input: [*], any dtype.
        mask: [*] bool.

    Returns:
        [K], the number of true elements.

    Raises:
        DTypeError: The mask is not bool.
        ShapeError: The shapes do not broadcast.

    Gradient:
        For input: dy where the mask is true, zero elsewhere.

    Example:
        >>> nbdl.ops.masked_select(nbdl.tensor([1, 2, 3]), nbdl.tensor([True, False, True]))
        tensor([1, 3])
    """
    if not isinstance(mask, Tensor) or mask.dtype != np.bool_:
        raise DTypeError(f"mask: expected a bool tensor, got {getattr(mask, 'dtype', type(mask).__name__)}")
    x, where = broadcast_tensors(input, mask)
    ids = np.flatnonzero(arrays.on_host(where._array))
    return IndexSelectOp.apply(x.reshape(-1), 0, arrays.sent_beside(x._array, ids))


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Writes the source's first elements, in order, where a mask is true.

    Args:
        input: [*], any dtype.
        mask: [*] bool, of a shape that broadcasts with the input's.
        source: [*] of the input's dtype, with at least as many elements as the mask has true ones.

    Returns:
        The broadcast shape, dtype of the input.

    Raises:
        DTypeError: The mask is not bool, or the source of another dtype.
        ShapeError: The shapes do not broadcast.
        ArgumentError: The source has too few elements.

    Gradient:
        For input: dy, zero where the mask is true. For source: dy where its elements were written.

    Example:
        >>> nbdl.ops.masked_scatter(nbdl.zeros(3), nbdl.tensor([True, False, True]), nbdl.tensor([1.0, 2.0]))
        tensor([1., 0., 2.])
    """
    if not isinstance(mask, Tensor) or mask.dtype != np.bool_:
        raise DTypeError(f"mask: expected a bool tensor, got {getattr(mask, 'dtype', type(mask).__name__)}")
    check_same_dtype("source", source, "input", input)
    x, where = broadcast_tensors(input, mask)
    ids = np.flatnonzero(arrays.on_host(where._array))
    if len(ids) > source.numel():
        raise ArgumentError(f"source: expected at least {len(ids)} elements, one a true element, got {source.numel()}")
    values = source.reshape(-1)[: len(ids)]
    return IndexCopyOp.apply(x.reshape(-1), values, 0, arrays.sent_beside(x._array, ids)).reshape(x.shape)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not zero, in row-major order.

    Args:
        input: [*], any dtype.
        as_tuple: Return one tensor for each dimension, to subscript with.

    Returns:
        [K, number of dimensions] int64, or a tuple of [K].

    Example:
        >>> nbdl.ops.nonzero(nbdl.tensor([0, 5, 0, 7]))
        tensor([[1],
                [3]])
    """
    array = arrays.on_host(input._array)
    if as_tuple:
        found = (array.reshape(-1) if array.ndim == 0 else array).nonzero()
        return tuple(wrap(arrays.sent_beside(input._array, ids)) for ids in found)
    if array.ndim == 0:
        return wrap(arrays.sent_beside(input._array, np.empty((int(array != 0), 0), np.int64)))
    return wrap(arrays.sent_beside(input._array, np.ascontiguousarray(np.argwhere(array))))


def argwhere(input: Tensor) -> Tensor:
    """NumPy's name of `nonzero`."""
    found: Tensor = nonzero(input)
    return found


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Class ids as rows with a 1 at the id and 0 elsewhere.

    Args:
        tensor: [*] integers in [0, num_classes).
        num_classes: The number of classes; the largest id plus 1 when -1.

    Returns:
        [*, num_classes] int64.

    Raises:
        DTypeError: The ids are not integers.
        IndexRangeError: An id is out of range.
        ArgumentError: num_classes is 0, or is not given for an empty tensor.

    Example:
        >>> nbdl.ops.one_hot(nbdl.tensor([0, 2]))
        tensor([[1, 0, 0],
                [0, 0, 1]])
    """
    ids = tensor._array
    if ids.dtype.kind not in "iu":
        raise DTypeError(f"tensor: expected integers, got {ids.dtype}")
    if num_classes == -1:
        if ids.size == 0:
            raise ArgumentError("num_classes: expected a positive number for an empty tensor, got -1")
        num_classes = max(int(arrays.on_host(ids).max()) + 1, 1)
    num_classes = check_int("num_classes", num_classes, 1)
    flat = row_numbers("tensor", ids, num_classes)
    places = np.arange(flat.size, dtype=np.int64) * num_classes + arrays.on_host(flat)
    with placement.beside(ids):
        result = arrays.full((flat.size * num_classes,), 0, np.int64)
    ones = arrays.sent_beside(ids, np.ones((1, flat.size, 1), np.int64))
    put_rows(ones, arrays.sent_beside(ids, places), result.reshape(1, -1, 1))
    return wrap(result.reshape(*ids.shape, num_classes))
