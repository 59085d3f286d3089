"""Several elements at once: loads and stores of up to 16 bytes, the widest that a GPU's thread has.

A kernel that does little arithmetic is as fast as memory, and memory is used best in pieces of 16 bytes a thread:

    at = 4 * (cuda.blockIdx.x * BLOCK + cuda.threadIdx.x)
    if at + 4 <= x.size and is_aligned(x) and is_aligned(y):
        a, b, c, d = load4(x, at)
        store4(y, at, a, b, c, d)

The first element must lie at a multiple of the piece's bytes, at most 16: a GPU stops with an error where it does not,
and so does the interpreter. New arrays start so, a view of one may not, hence the question. An index is a number, or
one for each dimension; the elements follow each other in the last. In plain Python the functions do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

WIDEST = 16
"""Bytes of the widest load."""


def _following(index: Any, step: int) -> Any:
    return (*index[:-1], index[-1] + step) if isinstance(index, tuple) else index + step


def is_aligned(x: Any) -> bool:
    """Whether the array's first element lies at a multiple of 16 bytes, where a piece of any kind may start."""
    return int(x.__array_interface__["data"][0]) % WIDEST == 0


def load4(x: Any, index: Any) -> tuple[Any, ...]:
    """Four elements from an index on."""
    return tuple(x[_following(index, step)] for step in range(4))


def load_words(x: Any, index: Any) -> tuple[Any, ...]:
    """Eight elements of 16 bits from an index on, in four registers; the first of two in the low bits."""
    halves = [int(x[_following(index, step)]) for step in range(8)]
    return tuple(np.uint32(halves[2 * at] | halves[2 * at + 1] << 16) for at in range(4))


def store4(x: Any, index: Any, a: Any, b: Any, c: Any, d: Any) -> None:
    """Writes four elements from an index on."""
    for step, value in enumerate((a, b, c, d)):
        x[_following(index, step)] = value


def store_words(x: Any, index: Any, a: Any, b: Any, c: Any, d: Any) -> None:
    """Writes eight elements of 16 bits from an index on, two from each register."""
    for step, word in enumerate((a, b, c, d)):
        x[_following(index, 2 * step)] = np.uint16(int(word) & 0xFFFF)
        x[_following(index, 2 * step + 1)] = np.uint16(int(word) >> 16)


LOADS = {load4: 4, load_words: 8}
STORES = {store4: 4, store_words: 8}
"""The functions that fetch and write, and how many elements."""

FUNCTIONS = frozenset([is_aligned, *LOADS, *STORES])
"""Every function of this module that kernels may call."""


def register() -> None:
    """Teaches numba-cuda the functions of this module."""
    from numba.cuda import types
    from numba.cuda.typing import templates

    def add(function: Any, typer: Callable[..., Any]) -> None:
        template = templates.make_intrinsic_template(function, typer, function.__name__)
        templates.infer(template)
        templates.infer_global(function, types.Function(template))

    add(is_aligned, _type_is_aligned)
    add(load4, _type_load4)
    add(store4, _type_store4)
    add(load_words, _type_load_words)
    add(store_words, _type_store_words)


def _type_is_aligned(_typing: Any, x: Any) -> Any:
    from llvmlite import ir
    from numba.cuda import types

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address = builder.ptrtoint(context.make_array(x)(context, builder, values[0]).data, ir.IntType(64))
        rest = builder.and_(address, ir.Constant(ir.IntType(64), WIDEST - 1))
        return builder.icmp_unsigned("==", rest, ir.Constant(ir.IntType(64), 0))

    return types.boolean(x), generate


def element_pointer(context: Any, builder: Any, array_type: Any, array: Any, index_type: Any, index: Any) -> Any:
    """The pointer to an element, its index a number or a tuple of them, not counted from the end."""
    from numba.cuda import cgutils, types

    if isinstance(index_type, types.BaseTuple):
        parts = cgutils.unpack_tuple(builder, index, count=len(index_type))
        indices = [context.cast(builder, part, t, types.intp) for part, t in zip(parts, index_type, strict=True)]
    else:
        indices = [context.cast(builder, index, index_type, types.intp)]
    structure = context.make_array(array_type)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, array_type, structure, indices, wraparound=False)


def _pieces(context: Any, builder: Any, array_type: Any, first: Any) -> tuple[list[Any], int]:
    """Pointers to the vectors of at most 16 bytes that four elements consist of, and how many each holds."""
    from llvmlite import ir

    element = context.get_data_type(array_type.dtype)
    width = min(4, WIDEST // context.get_abi_sizeof(element))
    base = builder.bitcast(first, ir.VectorType(element, width).as_pointer())
    return [builder.gep(base, [_number(piece)]) for piece in range(4 // width)], width


def _number(value: int) -> Any:
    from llvmlite import ir

    return ir.Constant(ir.IntType(32), value)


def _alignment(context: Any, vector: Any) -> int:
    return int(context.get_abi_sizeof(vector.element)) * int(vector.count)


def _type_load4(_typing: Any, x: Any, index: Any) -> Any:
    from numba.cuda import types

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        first = element_pointer(context, builder, x, values[0], index, values[1])
        model = context.data_model_manager[x.dtype]
        elements = []
        pointers, width = _pieces(context, builder, x, first)
        for pointer in pointers:
            vector = builder.load(pointer, align=_alignment(context, pointer.type.pointee))
            elements += [model.from_data(builder, builder.extract_element(vector, _number(at))) for at in range(width)]
        return context.make_tuple(builder, signature.return_type, elements)

    return types.UniTuple(x.dtype, 4)(x, index), generate


def _type_store4(_typing: Any, x: Any, index: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    from llvmlite import ir
    from numba.cuda import types

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        first = element_pointer(context, builder, x, values[0], index, values[1])
        model = context.data_model_manager[x.dtype]
        elements = [model.as_data(builder, value) for value in values[2:]]
        pointers, width = _pieces(context, builder, x, first)
        for number, pointer in enumerate(pointers):
            vector = ir.Constant(pointer.type.pointee, ir.Undefined)
            for at in range(width):
                vector = builder.insert_element(vector, elements[number * width + at], _number(at))
            builder.store(vector, pointer, align=_alignment(context, pointer.type.pointee))
        return context.get_dummy_value()

    return types.void(x, index, *[x.dtype] * 4), generate


def _words_pointer(context: Any, builder: Any, x: Any, index: Any, values: Any) -> Any:
    from llvmlite import ir

    first = element_pointer(context, builder, x, values[0], index, values[1])
    return builder.bitcast(first, ir.VectorType(ir.IntType(32), 4).as_pointer())


def _type_load_words(_typing: Any, x: Any, index: Any) -> Any:
    from numba.cuda import types

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vector = builder.load(_words_pointer(context, builder, x, index, values), align=WIDEST)
        words = [builder.extract_element(vector, _number(at)) for at in range(4)]
        return context.make_tuple(builder, signature.return_type, words)

    return types.UniTuple(types.uint32, 4)(x, index), generate


def _type_store_words(_typing: Any, x: Any, index: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    from llvmlite import ir
    from numba.cuda import types

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _words_pointer(context, builder, x, index, values)
        vector = ir.Constant(pointer.type.pointee, ir.Undefined)
        for at, word in enumerate(values[2:]):
            vector = builder.insert_element(vector, word, _number(at))
        builder.store(vector, pointer, align=WIDEST)
        return context.get_dummy_value()

    return types.void(x, index, *[types.uint32] * 4), generate
