"""Operations in place: the result replaces its first operand, in memory and in the graph.

While nothing is recorded, the result is written over the tensor. While it is, backward still needs what was there:
the operation then reads a copy with the tensor's place in the graph, and the tensor takes the result's place.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor, is_grad_enabled, wrap
from nbdl.autograd.graph import refresh
from nbdl.ops.elementwise import arithmetic
from nbdl.ops.elementwise.casting import cast, cast_map, to_dtype
from nbdl.ops.elementwise.layout import broadcast_shape, expanded
from nbdl.ops.elementwise.maps import Map2, Place
from nbdl.ops.elementwise.operands import as_operand, computing_dtype, typed_number
from nbdl.ops.shape.views import expand
from nbdl.runtime import arrays, memory
from nbdl.runtime.addresses import address_of
from nbdl.runtime.arrays import dense_order
from nbdl.runtime.dtypes import FLOAT32, FLOAT64, can_cast
from nbdl.runtime.errors import ArgumentError, DTypeError, GradientError, ShapeError

# ---------------------------------------------------------------- machinery


def check_writable(input: Tensor) -> None:
    """Raises GradientError if recorded operations must not change this tensor."""
    root = _root(input)
    if root._node is None and root.requires_grad:
        raise GradientError("a leaf tensor that requires gradients cannot be changed in place; use no_grad()")
    if input._is_view and (root is input or not root._array.flags.c_contiguous):
        raise GradientError(
            "a view of a tensor that requires no gradients, or is not contiguous, cannot be changed in place by a "
            "recorded operation; write to the tensor itself, x[index] = value, or clone() the view first"
        )


def _root(input: Tensor) -> Tensor:
    """The tensor that a recorded view is a view of."""
    while input._base is not None:
        input = input._base
    return input


class WriteThroughOp(Op):
    """A tensor some elements of which have been replaced through a view of it."""

    @staticmethod
    def forward(ctx: Context, x, part, offset, strides):
        ctx.part = part.shape, offset, strides
        return x

    @staticmethod
    def backward(ctx: Context, dy):
        shape, offset, strides = ctx.part
        dx, dpart = memory.empty(dy.shape, dy.dtype), memory.empty(shape, dy.dtype)
        arrays.copy_into(dx, dy)
        if dpart.size:
            shown = arrays.strided(dx.ravel()[offset:], shape, strides)
            arrays.copy_into(dpart, shown)
            arrays.copy_into(shown, arrays.full(shape, 0, dy.dtype))
        return dx, dpart, None, None


def take_place(input: Tensor, result: Tensor) -> None:
    """Gives a tensor, whose memory holds the result by now, the result's place in the graph.

    A view hands it on to the tensor whose memory it shows; all other views of that find their new places when they
    are used again.
    """
    input._version[0] += 1
    _move(input, result)


def _move(input: Tensor, result: Tensor) -> None:
    root, version = _root(input), input._version
    if root is not input:
        part, x = input._array, root._array
        offset = (address_of(part) - address_of(x)) // x.itemsize if part.size else 0
        result = WriteThroughOp.apply(root, result, offset, part.strides)
    if root._seen < math.inf:  # a detached tensor is no one's business but its own
        version[1] += 1
        root._seen = version[1]
    root._node, root._output, root.requires_grad = result._node, result._output, result.requires_grad
    if root is not input:
        refresh(input)


def overwrite(input: Tensor, function: Callable[..., Tensor], *arguments: Any, **options: Any) -> Tensor:
    """`input = function(input, *arguments)`, in the input's memory."""
    return _overwrite(input, function, getattr(getattr(function, "__self__", None), "over", None), arguments, options)


def _overwrite(
    input: Tensor,
    function: Callable[..., Tensor],
    over: str | None,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> Tensor:
    check_places(input)
    x = input._array
    recording, is_apart = is_grad_enabled() and input.requires_grad, True
    for value in (*arguments, *options.values()):
        if isinstance(value, Tensor):
            recording = recording or (value.requires_grad and is_grad_enabled())
            is_apart = is_apart and arrays.owner(value._array) is not arrays.owner(x)
    may_write_over = (
        (over == "always" or (over == "unrecorded" and not recording))
        and is_apart
        and x.dtype in (FLOAT32, FLOAT64)
        and (x.flags.c_contiguous or dense_order(x) is not None)
    )
    if recording:
        return _record_overwriting(input, function, may_write_over and not input._is_view, arguments, options)
    result = (
        _placed(x, function, input, *arguments, **options) if may_write_over else function(input, *arguments, **options)
    )
    if result._array is not x:
        _check_result(input, result)
        written = cast(result._array, x.dtype)
        if arrays.owner(written) is arrays.owner(x):  # it would be read after it was written
            written = cast_map(written)
        arrays.copy_into(x, written)
    input._version[0] += 1
    return input


def _record_overwriting(
    input: Tensor,
    function: Callable[..., Tensor],
    may_write_over: bool,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> Tensor:
    check_writable(input)
    if input._seen < input._version[1]:
        refresh(input)
    x = input._array
    if may_write_over:
        before = _standing_for(input, x)
        before._version, before._seen = input._version, input._seen
        input._version[0] += 1  # what the operation saves of its result is of the new version
        Place.recorded = x
        try:
            result = function(before, *arguments, **options)
        except BaseException:  # refused: nothing has been written
            input._version[0] -= 1
            raise
        finally:
            Place.recorded = None
        if result._array is x:
            _move(input, result)
            return input
        input._version[0] -= 1  # with these arguments it is another operation, which may have kept x
    before = _standing_for(input, cast_map(x))
    arguments = tuple(before if value is input else value for value in arguments)
    options = {name: before if value is input else value for name, value in options.items()}
    result = function(before, *arguments, **options)
    _check_result(input, result)
    result = to_dtype(result, input.dtype)
    arrays.copy_into(x, result._array)
    take_place(input, result)
    return input


def _standing_for(input: Tensor, array: Any) -> Tensor:
    """A tensor of its own on the array, with the input's place in the graph."""
    before = wrap(array)
    before.requires_grad, before._node, before._output = input.requires_grad, input._node, input._output
    return before


def _placed(place: Any, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The function's result; a map whose first operand is the place writes its result there."""
    Place.array = place
    try:
        return function(*arguments, **options)
    finally:
        Place.array = None


def check_places(input: Tensor) -> None:
    """Raises ArgumentError if elements share a place in memory, as after expand()."""
    array = input._array
    if (
        array.size
        and 0 in array.strides
        and any(n > 1 and step == 0 for n, step in zip(array.shape, array.strides, strict=True))
    ):
        raise ArgumentError("input: its elements share places in memory (expand); clone() it before writing to it")


def _check_result(input: Tensor, result: Tensor) -> None:
    if result.shape != input.shape:
        raise ShapeError(
            f"input: expected a tensor of the result's shape {list(result.shape)} to write to, got {list(input.shape)}"
        )
    if not can_cast(result.dtype, input.dtype):
        raise DTypeError(f"input: expected a tensor that holds {result.dtype}, the result, got {input.dtype}")


def in_place(function: Callable[..., Tensor], over: str | None = None) -> Callable[..., Tensor]:
    """The form of a function that writes its result over its first argument.

    Args:
        function: The function.
        over: When the result can be written there without a copy: "always", if the function of a floating-point
            tensor and numbers is one UnaryOp; "unrecorded", if a map is the last thing that it does, and nothing
            before reads or is given the argument; else None.
    """

    @functools.wraps(function)
    def method(input: Tensor, *arguments: Any, **options: Any) -> Tensor:
        return _overwrite(input, function, over, arguments, options)

    method.__name__ = method.__qualname__ = f"{function.__name__}_"
    method.__doc__ = f"`{function.__name__}` in place: the result replaces the tensor's elements."
    return method


def become(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The form of a view that the tensor itself turns into: its memory stays, its shape and strides change."""

    @functools.wraps(function)
    def method(input: Tensor, *arguments: Any, **options: Any) -> Tensor:
        if input.requires_grad and input._node is None and is_grad_enabled():
            raise GradientError("a leaf tensor that requires gradients cannot be changed in place; use no_grad()")
        before = input.detach()
        before.__dict__.update(input.__dict__)
        shown = function(before, *arguments, **options)
        if shown is not before:
            input._array, input._version, input._seen = shown._array, shown._version, shown._seen
            input._node, input._output, input.requires_grad = shown._node, shown._output, shown.requires_grad
            if shown._base is not None:  # older views know it in its old shape
                input._is_view, input._base = True, None
        return input

    method.__name__ = method.__qualname__ = f"{function.__name__}_"
    method.__doc__ = f"`{function.__name__}` in place: the tensor becomes that view of its memory."
    return method


def detach_(input: Tensor) -> Tensor:
    """Takes the tensor out of the graph: a leaf that requires no gradients, on the same memory."""
    input._node, input._output, input.requires_grad = None, 0, False
    return input


def _arithmetic_in_place(
    function: Callable[..., Tensor], kernels: Map2, scaled: Map2 | None = None
) -> Callable[..., Tensor]:
    """As `in_place`, with a short way for what optimizers and statistics do outside the graph.

    Args:
        function: The function of two operands.
        kernels: Its map.
        scaled: The map of a, b and alpha, where the function has an alpha.
    """
    slow = in_place(function, "unrecorded")

    def method(input: Tensor, other: Tensor | float, **options: Any) -> Tensor:
        x = input._array
        if x.dtype not in (FLOAT32, FLOAT64) or (input.requires_grad and is_grad_enabled()):
            return slow(input, other, **options)
        if not isinstance(other, Tensor):
            if options or type(other) not in (int, float) or not x.flags.c_contiguous:
                return slow(input, other, **options)
            kernels.one_array.numbered(x.ravel(), x.ravel(), (typed_number("other", other, x.dtype),))
            input._version[0] += 1
            return input
        y, map2 = other._array, kernels
        numbers: tuple[Any, ...] = ()
        if scaled is not None and type(options.get("alpha")) in (int, float) and len(options) == 1:
            map2, numbers = scaled, (typed_number("alpha", options["alpha"], x.dtype),)
        if (
            len(options) > len(numbers)
            or y.dtype != x.dtype
            or type(y) is not type(x)
            or (y.shape != x.shape and not _is_repeated_to(y, x))
            or (other.requires_grad and is_grad_enabled())
            or (y is not x and arrays.owner(y) is arrays.owner(x))
            or not x.flags.c_contiguous
        ):
            return slow(input, other, **options)
        if numbers or y.shape != x.shape or not y.flags.c_contiguous:
            result = _placed(x, map2, x, y, *numbers)
            if result is not x:
                arrays.copy_into(x, result)
        else:
            map2.plain(x.ravel(), y.ravel(), x.ravel())
        input._version[0] += 1
        return input

    method.__name__ = method.__qualname__ = slow.__name__
    method.__doc__ = slow.__doc__
    return method


def _is_repeated_to(y: Any, x: Any) -> bool:
    """Whether y, on the CPU, broadcasts to the shape of x."""
    return type(x) is np.ndarray and y.ndim <= x.ndim and broadcast_shape(x.shape, y.shape) == x.shape


# ---------------------------------------------------------------- arithmetic

add_ = _arithmetic_in_place(arithmetic.add, arithmetic.AddOp.value, arithmetic.AddScaledOp.value)
sub_ = _arithmetic_in_place(arithmetic.sub, arithmetic.SubOp.value)
mul_ = _arithmetic_in_place(arithmetic.mul, arithmetic.MulOp.value)
div_ = _arithmetic_in_place(arithmetic.div, arithmetic.DivOp.value)

# ---------------------------------------------------------------- new values


def fill_(input: Tensor, value: Tensor | float) -> Tensor:
    """Sets every element to one value: a number or a tensor of no dimension."""
    number = as_operand("value", value)
    if isinstance(number, Tensor):
        if number.ndim:
            raise ShapeError(f"value: expected a number or a tensor of no dimension, got shape {list(number.shape)}")
        return copy_(input, number)
    return _set(input, number)


def zero_(input: Tensor) -> Tensor:
    """Sets every element to 0."""
    return _set(input, 0)


def _set(input: Tensor, number: float) -> Tensor:
    dtype = input._array.dtype
    number = number if dtype.kind == "f" else bool(number) if dtype.kind == "b" else int(number)
    value = cast(np.asarray(typed_number("value", number, computing_dtype(dtype))), dtype)
    if input.requires_grad and is_grad_enabled():
        return overwrite(input, lambda x: wrap(expanded(value, x.shape)))
    check_places(input)
    arrays.set_all(input._array, value)
    input._version[0] += 1
    return input


def copy_(input: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Copies the elements of a tensor that broadcasts to this one's shape; its dtype is converted."""
    source = as_operand("src", src)
    if not isinstance(source, Tensor):
        return fill_(input, source)
    if broadcast_shape(input.shape, source.shape) != input.shape:
        raise ShapeError(f"src: expected a shape that broadcasts to {list(input.shape)}, got {list(source.shape)}")
    x, y = input._array, source._array
    recording = is_grad_enabled() and (input.requires_grad or source.requires_grad)
    if recording or x.dtype != y.dtype or arrays.owner(x) is arrays.owner(y):
        return overwrite(input, _copied, source)
    check_places(input)
    arrays.copy_into(x, y if x.shape == y.shape else expanded(y, x.shape))
    input._version[0] += 1
    return input


def _copied(input: Tensor, source: Tensor) -> Tensor:
    return to_dtype(expand(source, input.shape), input.dtype)
