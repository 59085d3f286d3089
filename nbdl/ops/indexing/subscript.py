r"""Subscripts: x[index] and x[index] = value, with PyTorch's and NumPy's rules.

Integers, slices, None and Ellipsis choose a view. Integer tensors, lists and boolean masks choose elements and copy
them: their arrays broadcast against each other to one shape, which stands where the first of them stood, or in front
if a slice separates them.

$$y_k = x_{n_k}, \qquad dx_m = \sum_{k : n_k = m} dy_k \quad\text{(the gradient of reading)},$$
$$y = x \text{ with } y_{n_k} = v_k: \qquad dx_m = [m \notin n]\, dy_m, \qquad dv_k = dy_{n_k}
\quad\text{(the gradients of writing)}.$$

The reference is NumPy's own subscript.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor, is_grad_enabled
from nbdl.ops.elementwise.in_place import check_places, check_writable, take_place
from nbdl.ops.indexing.rows import add_rows, gather_rows, put_rows, row_numbers
from nbdl.ops.shape.views import sum_to_shape
from nbdl.runtime import arrays, memory
from nbdl.runtime.addresses import address_of
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DeviceError, IndexRangeError, ShapeError

_BASIC = (int, slice, type(None), type(Ellipsis), np.integer)

# ---------------------------------------------------------------- what a subscript says


class Subscript:
    """A subscript, read for one shape: a view first, then rows of it by number.

    Attributes:
        view: Integers, slices and new dimensions: NumPy's subscript that makes a view.
        order: The view's dimensions in the order in which the chosen ones are neighbours, or None.
        first: The first of the dimensions chosen by number.
        chosen: How many dimensions are chosen by number together; 0 when the subscript is a view.
        ids: [K] the chosen rows of those dimensions taken as one.
        ids_shape: The shape that stands in their place.
    """

    __slots__ = ("chosen", "first", "ids", "ids_shape", "order", "view")

    def __init__(self, index: Any, shape: tuple[int, ...]) -> None:
        items = index if type(index) is tuple else (index,)
        self.order: tuple[int, ...] | None = None
        self.first = self.chosen = 0
        self.ids: Any = None
        self.ids_shape: tuple[int, ...] = ()
        if all(type(item) in (int, slice, type(None), type(Ellipsis)) for item in items):
            self.view = _checked_view(items, shape)
        elif not (isinstance(index, Tensor) and self._choose_first(index._array, shape)):
            self._choose(_fill_ellipsis(items, shape), shape)

    def _choose_first(self, index: np.ndarray, shape: tuple[int, ...]) -> bool:
        """The usual case, one tensor: rows of the first dimension by number, or of the first ones by mask."""
        if index.dtype.kind == "i" and shape:
            self.ids, self.ids_shape = row_numbers("index", index, shape[0], negative=True), index.shape
            self.chosen = 1
        elif index.dtype == np.bool_ and index.ndim and index.shape == shape[: index.ndim]:
            self.ids = np.flatnonzero(arrays.on_host(index))
            self.ids_shape, self.chosen = self.ids.shape, index.ndim
        else:
            return False
        self.view = (...,)
        return True

    def _choose(self, items: list[Any], shape: tuple[int, ...]) -> None:
        """Splits the subscript into its view and the dimensions of that view that are chosen by number."""
        view: list[Any] = []
        picked: dict[int, np.ndarray] = {}  # dimension of the view: integers
        sizes: list[int] = []  # of the view
        dim = 0
        for item in items:
            if item is None:
                view.append(None)
                sizes.append(1)
            elif isinstance(item, slice):
                view.append(_checked_slice(item, dim))
                sizes.append(len(range(*item.indices(shape[dim]))))
                dim += 1
            elif type(item) in (int, np.integer) or isinstance(item, np.integer):
                view.append(_checked_integer(int(item), shape[dim], dim))
                dim += 1
            elif item.dtype == np.bool_:
                if item.ndim == 0:  # a new dimension, of size 1 or 0
                    view.append(None)
                    picked[len(sizes)] = np.zeros(int(item), np.int64)
                    sizes.append(1)
                    continue
                if item.shape != shape[dim : dim + item.ndim]:
                    raise IndexRangeError(
                        f"index: expected a mask of shape {list(shape[dim : dim + item.ndim])} for dimension {dim}, "
                        f"got {list(item.shape)}"
                    )
                for ids in item.nonzero():
                    view.append(slice(None))
                    picked[len(sizes)] = ids
                    sizes.append(shape[dim])
                    dim += 1
            else:
                view.append(slice(None))
                picked[len(sizes)] = item
                sizes.append(shape[dim])
                dim += 1
        self.view = (*view, ...)
        if picked:
            self._number(picked, sizes)

    def _number(self, picked: dict[int, np.ndarray], sizes: list[int]) -> None:
        """Makes one number of the integers chosen in several dimensions."""
        dims = list(picked)
        try:
            self.ids_shape = np.broadcast_shapes(*[ids.shape for ids in picked.values()])
        except ValueError:
            shapes = [list(ids.shape) for ids in picked.values()]
            raise IndexRangeError(f"index: the shapes {shapes} of its tensors have no common shape") from None
        self.first, self.chosen = dims[0], len(dims)
        if dims != list(range(dims[0], dims[0] + len(dims))):
            rest = [dim for dim in range(len(sizes)) if dim not in picked]
            self.order, self.first = (*dims, *rest), 0
        for dim, given in picked.items():
            ids = row_numbers("index", given, sizes[dim], negative=True).reshape(given.shape)
            self.ids = ids if self.ids is None else self.ids * sizes[dim] + ids
        if self.ids.shape != self.ids_shape:
            self.ids = np.broadcast_to(self.ids, self.ids_shape)
        self.ids = np.ascontiguousarray(self.ids).reshape(-1)

    # -- what it does to an array

    def show(self, x: Any) -> Any:
        """The view of the array from which rows are chosen."""
        if type(self.ids) is DeviceArray and type(x) is np.ndarray:
            raise DeviceError("index: lies on the GPU, the tensor on the CPU; move the tensor, or index with .cpu()")
        shown = x[self.view]
        if self.order is None:
            return shown
        return shown.transpose(self.order + tuple(range(len(self.order), shown.ndim)))

    def tables(self, array: Any) -> Any:
        """A contiguous array of the view's shape as [O, M, I]: the chosen dimensions as one."""
        shape = array.shape
        end = self.first + self.chosen
        return array.reshape(math.prod(shape[: self.first]), math.prod(shape[self.first : end]), math.prod(shape[end:]))

    def result_shape(self, shown: Any) -> tuple[int, ...]:
        """The shape of the result, given that of the view."""
        return (*shown.shape[: self.first], *self.ids_shape, *shown.shape[self.first + self.chosen :])

    def rows(self, array: Any, tables: Any) -> Any:
        """A result or its gradient as [O, K, I], any strides."""
        return array.reshape(tables.shape[0], len(self.ids), tables.shape[2])

    def read(self, x: Any) -> Any:
        """x[index]."""
        shown = self.show(x)
        if self.ids is None:
            return shown
        tables = self.tables(arrays.contiguous(shown))
        result = memory.empty(self.result_shape(shown), x.dtype)
        gather_rows(tables, self.ids, self.rows(result, tables))
        return result

    def add(self, dy: Any, dx: Any) -> None:
        """dx[index] += dy where dx is zero and contiguous; places chosen twice get both."""
        shown = self.show(dx)
        if self.ids is None:
            arrays.copy_into(shown, dy)
            return
        gathered = shown if shown.flags.c_contiguous else arrays.full(shown.shape, 0, dx.dtype)
        tables = self.tables(gathered)
        add_rows(self.rows(arrays.contiguous(dy), tables), self.ids, tables)
        if gathered is not shown:
            arrays.copy_into(shown, gathered)

    def write(self, x: Any, value: Any) -> None:
        """x[index] = value, an array that broadcasts to the result's shape; of places chosen twice the last wins."""
        shown = self.show(x)
        shape = shown.shape if self.ids is None else self.result_shape(shown)
        if self.ids is None:
            if value.size == 1 and type(value) is np.ndarray and type(shown) is np.ndarray:
                arrays.set_all(shown, value.reshape(()))
            else:
                arrays.copy_into(shown, _broadcast(value, shape))
            return
        value = _broadcast(value, shape)
        if value.size == 0:
            return
        whole = arrays.contiguous(shown)
        tables = self.tables(whole)
        put_rows(self.rows(arrays.contiguous(value), tables), self.ids, tables)
        if whole is not shown:
            arrays.copy_into(shown, whole)


def _broadcast(value: Any, shape: tuple[int, ...]) -> Any:
    """The value seen in the shape; leading dimensions of size 1 may be too many, as in NumPy and PyTorch."""
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = value[0]
    if value.shape == shape:
        return value
    try:
        return np.broadcast_to(value, shape)
    except ValueError:
        raise ShapeError(f"value: shape {list(value.shape)} does not broadcast to {list(shape)}, the index's") from None


# ---------------------------------------------------------------- parsing


def _checked_view(items: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """A subscript of integers, slices, None and Ellipsis alone, checked; it ends in or contains an Ellipsis."""
    named = len(items) - items.count(None) - items.count(...)
    if named > len(shape):
        raise IndexRangeError(f"index: expected at most {len(shape)} dimensions for shape {list(shape)}, got {named}")
    if items.count(...) > 1:
        raise ArgumentError("index: expected one Ellipsis at most")
    dim = 0
    for item in items:
        if item is Ellipsis:
            dim += len(shape) - named
        elif item is not None:
            if type(item) is int:
                _checked_integer(item, shape[dim], dim)
            else:
                _checked_slice(item, dim)
            dim += 1
    return items if ... in items else (*items, ...)


def _checked_integer(item: int, size: int, dim: int) -> int:
    if not -size <= item < size:
        expected = f"an integer in [{-size}, {size - 1}]" if size else "no integer, the size is 0,"
        raise IndexRangeError(f"index: expected {expected} for dimension {dim}, got {item}")
    return item


def _checked_slice(item: slice, dim: int) -> slice:
    if item.step is not None and item.step <= 0:
        raise ArgumentError(f"index: expected a positive step for dimension {dim}, got {item.step}; use flip")
    return item


def _fill_ellipsis(given: tuple[Any, ...], shape: tuple[int, ...]) -> list[Any]:
    """The items as integers, slices, None and arrays, the Ellipsis replaced and missing dimensions added."""
    items = [item if isinstance(item, _BASIC) and not isinstance(item, bool) else _as_array(item) for item in given]
    named = sum(
        (item.ndim if item.dtype == np.bool_ else 1) if isinstance(item, np.ndarray) else item not in (None, ...)
        for item in items
    )
    missing = len(shape) - named
    if missing < 0:
        raise IndexRangeError(f"index: expected at most {len(shape)} dimensions for shape {list(shape)}, got {named}")
    places = [place for place, item in enumerate(items) if item is Ellipsis]
    if len(places) > 1:
        raise ArgumentError("index: expected one Ellipsis at most")
    place = places[0] if places else len(items)
    return [*items[:place], *[slice(None)] * missing, *items[place + len(places) :]]


def _as_array(item: Any) -> np.ndarray:
    """An index tensor, list, array or boolean as an array of integers or booleans."""
    array = arrays.on_host(item._array) if isinstance(item, Tensor) else np.asarray(item)
    if array.size == 0 and not isinstance(item, (Tensor, np.ndarray)):
        return array.astype(np.int64)  # NumPy makes an empty list floating-point
    if array.dtype == np.uint8 and isinstance(item, Tensor):
        return array.astype(np.bool_)  # PyTorch's masks of old
    if array.dtype.kind not in "iub":
        raise ArgumentTypeError(f"index: expected integers, slices, None, Ellipsis or masks, got {item!r:.60}")
    return array


# ---------------------------------------------------------------- autograd


class IndexOp(Op):
    """y = x[index]."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x, subscript):
        ctx.shape, ctx.subscript = x.shape, subscript
        return subscript.read(x)

    @staticmethod
    def backward(ctx: Context, dy):
        dx = arrays.full(ctx.shape, 0, dy.dtype)
        ctx.subscript.add(dy, dx)
        return dx, None


class AssignOp(Op):
    """x with x[index] = value, in x's own memory."""

    @staticmethod
    def forward(ctx: Context, x, value, subscript):
        ctx.shape, ctx.subscript = value.shape, subscript
        subscript.write(x, value)
        return x

    @staticmethod
    def backward(ctx: Context, dy):
        dx = dvalue = None
        if ctx.needs_input_grad[0]:
            dx = memory.empty(dy.shape, dy.dtype)
            arrays.copy_into(dx, dy)
            ctx.subscript.write(dx, arrays.sent_beside(dy, np.zeros((), dy.dtype)))
        if ctx.needs_input_grad[1]:
            picked = ctx.subscript.read(dy)
            shape = ctx.shape
            extra = max(len(shape) - picked.ndim, 0)
            dvalue = sum_to_shape(picked, shape[extra:]).reshape(shape)
        return dx, dvalue, None


# ---------------------------------------------------------------- public


def getitem(input: Tensor, index: Any) -> Tensor:
    r"""Elements of a tensor by subscript: `input[index]`.

    Args:
        input: [*], any dtype.
        index: An integer, slice (of positive step), None, Ellipsis, integer tensor or list, boolean mask, or a tuple
            of these. Negative integers count from the end.

    Returns:
        A view of the input for integers, slices, None and Ellipsis; else a copy.

    Raises:
        IndexRangeError: An integer is out of range, there are too many of them, or a mask has the wrong shape.
        ArgumentError: A slice has a step of 0 or less.

    Gradient:
        For input: dy at the chosen places, summed where a place was chosen more than once; zero elsewhere.

    Example:
        >>> x = nbdl.tensor([[1, 2], [3, 4]])
        >>> x[[1, 0], [0, 0]]
        tensor([3, 1])
    """
    return IndexOp.apply(input, Subscript(index, input._array.shape))


def setitem(input: Tensor, index: Any, value: Any) -> None:
    """Writes to the chosen elements, in place: `input[index] = value`.

    Args:
        input: [*], any dtype.
        index: As in `getitem`.
        value: A tensor, array or number that broadcasts to the shape of `input[index]`.

    Raises:
        IndexRangeError: An integer is out of range, there are too many of them, or a mask has the wrong shape.
        ArgumentError: Elements of the input share places in memory, or a slice has a step of 0 or less.
        ArgumentTypeError: The value is neither of numbers nor of bools.
        ShapeError: The value does not broadcast.
        GradientError: The input is a leaf that requires gradients, or a view of a tensor that required none so far.

    Gradient:
        For value: dy at the chosen places; for input as it was: dy elsewhere.

    Example:
        >>> x = nbdl.zeros(3)
        >>> x[1:] = 2.0
        >>> x
        tensor([0., 2., 2.])
    """
    array = input._array
    subscript = Subscript(index, array.shape)
    if not isinstance(value, Tensor):
        if np.asarray(value).dtype.kind not in "biuf":  # NumPy would make NaN of None
            raise ArgumentTypeError(f"value: expected a tensor, an array or a number, got {value!r:.60}")
        value = Tensor(arrays.sent_beside(array, np.asarray(value, array.dtype)))
    elif value._array.dtype != array.dtype:
        value = value.to(array.dtype)
    if not is_grad_enabled() and _is_there(value._array, subscript, array):
        return  # x[index] += y has written it already
    if arrays.owner(value._array) is arrays.owner(array):  # reading what is being written
        value = value.clone()
    assign(input, AssignOp, value, subscript)


def _is_there(value: Any, subscript: Subscript, array: Any) -> bool:
    """Whether the value is the very view that it is to be assigned to."""
    if subscript.ids is not None or arrays.owner(value) is not arrays.owner(array):
        return False
    shown = subscript.show(array)
    return address_of(value) == address_of(shown) and value.shape == shown.shape and value.strides == shown.strides


def assign(input: Tensor, op: type[Op], *arguments: Any) -> None:
    """Runs an operation that writes its first argument's memory, and gives the tensor its place in the graph."""
    check_places(input)
    if not is_grad_enabled() or not (
        input.requires_grad or any(isinstance(argument, Tensor) and argument.requires_grad for argument in arguments)
    ):
        op.apply(input, *arguments)
        input._version[0] += 1
        return
    check_writable(input)
    take_place(input, op.apply(input, *arguments))
