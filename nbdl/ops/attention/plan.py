"""What the kernels of attention are told: where each problem's matrices lie, how they are cut, what they need room for.

A problem is one head of one sample. `group` problems in a row share keys and values, an item.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from nbdl.ops.attention.rows import ROW
from nbdl.runtime import arrays
from nbdl.runtime.addresses import address_of
from nbdl.runtime.simd import vector_unit

BLOCK_ROWS = 56
"""Queries that are worked on together."""

BLOCK_KEYS = 512
"""Keys of a block of scores in the forward pass."""

BACKWARD_ROWS = 56
BACKWARD_KEYS = 256
"""The same in the backward pass."""

FAR_ROW = 1024
"""Bytes between rows from which on copying them is cheaper than reading them from so many pages."""

UNITS = 16
"""Pieces that the backward pass is cut into, where there are fewer items."""

UNIT_WORK = 1 << 21
"""Multiply-adds that such a piece should have at least."""


class Form(NamedTuple):
    """Shape and strides of an array, in bytes."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Slot(NamedTuple):
    """Memory for a result: its shape there, and the order of the axes that makes the result of it."""

    memory: tuple[int, ...]
    order: tuple[int, ...] | None


class Plan(NamedTuple):
    """A launch, prepared once for each combination of shapes and strides."""

    copy: bool
    """An array runs backwards through memory, or its elements do not lie a whole number of them apart."""
    places: np.ndarray
    """[P, 5] or [P, 9]: the first elements of each problem's q, k, v, mask, y, and dy, dq, dk, dv."""
    sizes: np.ndarray
    """Integers, in the order in which the kernels read them."""
    workspace: tuple[int, int]
    """Tasks, and elements that each needs."""
    extents: tuple[int, ...]
    """Elements from the first to the last of q, k, v and the mask, or of dy; 0 where the array is contiguous."""
    slots: tuple[Slot, ...]
    """Where y goes, or dq, dk, dv."""
    numbers: tuple[Any, ...]
    """What dropout compares random words with, its factor, and that of the scores."""
    splits: int
    """Parts of dq."""
    step: int = 0
    """Elements from dq to dk and from dk to dv where the three share memory as q, k and v do; else 0."""


# ---------------------------------------------------------------- arrays


def _steps(form: Form, itemsize: int) -> tuple[int, ...]:
    """Strides in elements; 0 for dimensions of size 1, but 1 for the last."""
    steps = [0 if size == 1 else stride // itemsize for size, stride in zip(*form, strict=True)]
    if form.shape[-1] == 1:
        steps[-1] = 1
    return tuple(steps)


@functools.lru_cache(maxsize=64)
def _places(*tables: tuple[tuple[int, ...], tuple[int, ...], int]) -> np.ndarray:
    """[P, N]: the places of N arrays' matrices, counted with the last of the leading dimensions fastest.

    An array is given by its leading dimensions, the strides there, and how many problems share a matrix.
    """
    columns = []
    for lead, steps, group in tables:
        at = np.zeros(1, np.int64)
        for size, step in zip(lead, steps, strict=True):
            at = (at[:, None] + np.arange(size) * step).reshape(-1)
        columns.append(np.repeat(at, group))
    return np.stack(columns, axis=1)


def _extent(form: Form, itemsize: int) -> int:
    """Elements of memory from the first of an array to the last; 0 where they lie in order and without gaps."""
    expected = itemsize
    contiguous = True
    for size, stride in zip(reversed(form.shape), reversed(form.strides), strict=True):
        contiguous = contiguous and stride == expected if size != 1 else contiguous
        expected *= size
    return 0 if contiguous else sum((n - 1) * step for n, step in zip(*form, strict=True)) // itemsize + 1


def _heads_last(lead: tuple[int, ...], rows: int, columns: int) -> Slot:
    """The slot of a [..., H, L, D]: memory [..., L, H, D], in which the heads of a query lie side by side."""
    if len(lead) < 2:
        return Slot((*lead, rows, columns), None)
    rank = len(lead) + 2
    return Slot((*lead[:-1], rows, lead[-1], columns), (*range(rank - 3), rank - 2, rank - 3, rank - 1))


def _as(form: Form) -> Slot:
    """The slot of an array whose dimensions lie in memory in the order of another's, the last one the last."""
    rank = len(form.shape)
    if 0 in form.strides:
        return Slot(form.shape, None)
    order = (*sorted(range(rank - 1), key=lambda axis: (-form.strides[axis], -form.shape[axis])), rank - 1)
    return Slot(tuple([form.shape[axis] for axis in order]), arrays.inverse(order))


def _form(slot: Slot, itemsize: int) -> Form:
    """The form of the array in a slot."""
    strides = [itemsize] * len(slot.memory)
    for axis in range(len(strides) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * slot.memory[axis + 1]
    order = slot.order or range(len(strides))
    return Form(tuple([slot.memory[axis] for axis in order]), tuple([strides[axis] for axis in order]))


def _mask_steps(mask: Form | None, itemsize: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides with which a mask broadcasts to the shape."""
    if mask is None:
        return (0,) * len(shape)
    steps = [0 if size == 1 else stride // itemsize for size, stride in zip(*mask, strict=True)]
    return (0,) * (len(shape) - len(steps)) + tuple(steps)


def shared_step(q: Any, k: Any, v: Any) -> int:
    """Elements from q to k and from k to v, if these three fill one piece of memory, as views of a projection do."""
    if q.flags.c_contiguous or not (q.shape == k.shape == v.shape and q.strides == k.strides == v.strides):
        return 0
    first, second, third = (address_of(x) for x in (q, k, v))
    step = second - first
    if step <= 0 or third - second != step or not arrays.owner(q) is arrays.owner(k) is arrays.owner(v):
        return 0
    expected = q.itemsize
    for stride, size in sorted(zip((*q.strides, step), (*q.shape, 3), strict=True)):
        if size != 1 and stride != expected:
            return 0
        expected *= size
    return step // q.itemsize


# ---------------------------------------------------------------- blocks


def _shares(size: int, most: int) -> int:
    """The size of equal shares of at most `most`."""
    return -(-size // -(-size // most))


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step


def _must_copy(steps: tuple[int, ...], columns: int, itemsize: int) -> bool:
    """Whether rows cannot be read in whole vectors where they are, or lie too far apart."""
    return steps[-1] != 1 or columns % (vector_unit().bytes // itemsize) != 0 or steps[-2] * itemsize >= FAR_ROW


@functools.lru_cache(maxsize=512)
def forward_plan(
    q_shape: tuple[int, ...], q_strides: tuple[int, ...], k_shape: tuple[int, ...], k_strides: tuple[int, ...],
    v_shape: tuple[int, ...], v_strides: tuple[int, ...], mask: Form | None, mask_itemsize: int,
    dtype: np.dtype, causal: bool, scale: float, dropout_p: float, threads: int,
) -> Plan:  # fmt: skip
    """The launch of the forward pass."""
    q, k, v = Form(q_shape, q_strides), Form(k_shape, k_strides), Form(v_shape, v_strides)
    itemsize = dtype.itemsize
    lead, (queries, features), (keys, columns) = q_shape[:-2], q_shape[-2:], v_shape[-2:]
    problems, items = math.prod(lead), math.prod(k_shape[:-2])
    group = problems // max(items, 1)
    slot = _heads_last(lead, queries, columns)
    q_steps, k_steps, v_steps, y_steps = (_steps(form, itemsize) for form in (q, k, v, _form(slot, itemsize)))
    mask_steps = _mask_steps(mask, mask_itemsize, (*lead, queries, keys))
    places = _places(
        (lead, q_steps[:-2], 1),
        (k_shape[:-2], k_steps[:-2], group),
        (v_shape[:-2], v_steps[:-2], group),
        (lead, mask_steps[:-2], 1),
        (lead, y_steps[:-2], 1),
    )
    block_rows = _shares(max(queries, 1), BLOCK_ROWS)
    block_keys = keys if queries == 1 else min(_rounded(keys, ROW), BLOCK_KEYS)
    lanes = vector_unit().bytes // itemsize
    copy_v, v_width = _must_copy(v_steps, columns, itemsize), _rounded(columns, lanes)
    sizes = (
        *(problems, group, queries, keys, features, columns, *q_steps[-2:], *k_steps[-2:], *v_steps[-2:]),
        *(y_steps[-2], *mask_steps[-2:], causal, block_rows, block_keys, copy_v, v_width),
    )
    room = block_rows * (_rounded(block_keys, ROW) + 2 * lanes + 2)
    if queries == 1:
        room += max(features, keys)
    else:
        room += _rounded(keys, 2 * lanes) * features + copy_v * keys * v_width
    forms = ((q, itemsize), (k, itemsize), (v, itemsize), *(() if mask is None else ((mask, mask_itemsize),)))
    return Plan(
        any(stride < 0 or stride % size for form, size in forms for stride in form.strides),
        places,
        np.array(sizes, np.int64),
        (min(threads, problems * -(-queries // block_rows)), _rounded(room, 16)),
        tuple([_extent(form, size) for form, size in forms]),
        (slot,),
        (
            np.uint64(round(dropout_p * 2**32)),
            dtype.type(1 / (1 - dropout_p) if dropout_p < 1 else 0),
            dtype.type(scale),
        ),
        1,
    )


@functools.lru_cache(maxsize=512)
def backward_plan(
    q_shape: tuple[int, ...], q_strides: tuple[int, ...], k_shape: tuple[int, ...], k_strides: tuple[int, ...],
    v_shape: tuple[int, ...], v_strides: tuple[int, ...], mask: Form | None, mask_itemsize: int,
    dtype: np.dtype, causal: bool, scale: float, dropout_p: float, threads: int, dy_strides: tuple[int, ...], step: int,
) -> Plan:  # fmt: skip
    """The launch of the backward pass."""
    forward = forward_plan(
        q_shape, q_strides, k_shape, k_strides, v_shape, v_strides, mask, mask_itemsize,
        dtype, causal, scale, dropout_p, threads,
    )  # fmt: skip
    problems, group, queries, keys, features, columns = forward.sizes[:6].tolist()
    itemsize = dtype.itemsize
    dy = Form((*q_shape[:-1], columns), dy_strides)
    block_rows, block_keys = _shares(queries, BACKWARD_ROWS), min(_rounded(keys, ROW), BACKWARD_KEYS)
    items = problems // group
    work = 5 * problems * queries * keys * (features + columns) // (4 if causal else 2)
    splits = max(1, min(-(-UNITS // items), -(-keys // block_keys), work // (items * UNIT_WORK)))
    inputs = (Form(q_shape, q_strides), Form(k_shape, k_strides), Form(v_shape, v_strides))
    step = step if splits == 1 else 0
    slots = () if step else tuple([_as(form) for form in inputs])
    gradients = inputs if step else [_form(slot, itemsize) for slot in slots]
    dy_steps, dq_steps, dk_steps, dv_steps = (_steps(form, itemsize) for form in (dy, *gradients))
    places = _places(
        (q_shape[:-2], dy_steps[:-2], 1),
        (q_shape[:-2], dq_steps[:-2], 1),
        (k_shape[:-2], dk_steps[:-2], group),
        (v_shape[:-2], dv_steps[:-2], group),
    )
    lanes = vector_unit().bytes // itemsize
    copies = (
        _must_copy(_steps(inputs[0], itemsize), features, itemsize),
        _must_copy(_steps(inputs[1], itemsize), features, itemsize),
        _must_copy(dy_steps, columns, itemsize),
    )
    sizes = (
        *(*forward.sizes[:16].tolist(), block_rows, block_keys, *copies, *dy_steps[-2:]),
        *(dq_steps[-2], dk_steps[-2], dv_steps[-2], splits, problems * queries * features),
    )
    q_width, v_width = _rounded(features, lanes), _rounded(columns, lanes)
    room = (
        2 * block_rows * (_rounded(block_keys, ROW) + 2 * lanes)
        + _rounded(block_keys, 2 * lanes) * (features + columns)
        + (block_keys + block_rows) * q_width
        + block_rows * v_width
        + group * queries
    )
    return Plan(
        any(stride < 0 or stride % itemsize for stride in dy_strides),
        np.concatenate([forward.places, places], axis=1),
        np.array(sizes, np.int64),
        (min(threads, items * splits), _rounded(room, 16)),
        (*forward.extents, _extent(dy, itemsize)),
        slots,
        forward.numbers,
        splits,
        step,
    )
