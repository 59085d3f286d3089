"""What the kernels of attention are told: where each problem's matrices lie, how they are cut, what they need room for.

A problem is one head of one sample. `group` problems in a row share keys and values, an item.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from nbdl.ops.attention.rows import ROW
from nbdl.runtime.simd import vector_unit

BLOCK_ROWS = 56
"""Queries that are worked on together."""

BLOCK_KEYS = 512
"""Keys of a block of scores in the forward pass."""

BACKWARD_ROWS = 56
BACKWARD_KEYS = 128
"""The same in the backward pass."""

FAR_ROW = 1024
"""Bytes between rows from which on copying them is cheaper than reading them from so many pages."""

UNITS = 16
"""Pieces that the backward pass is cut into, where there are fewer items."""

UNIT_WORK = 1 << 21
"""Multiply-adds that such a piece should have at least."""

Key = tuple[tuple[int, ...], tuple[int, ...]]
"""Shape and strides of an array."""


class Plan(NamedTuple):
    """The integers of a launch; `sizes` in the order in which the kernels read them."""

    places: np.ndarray
    """[P, 5] or [P, 9]: the first elements of each problem's q, k, v, mask, y, and dy, dq, dk, dv."""
    sizes: np.ndarray
    workspace: tuple[int, int]
    """Tasks, and elements that each needs."""
    work: int
    """Multiply-adds."""
    splits: int
    """Parts of dq."""


def _steps(key: Key, itemsize: int) -> tuple[int, ...]:
    """Strides in elements; 0 for dimensions of size 1, but 1 for the last."""
    steps = [0 if size == 1 else stride // itemsize for size, stride in zip(*key, strict=True)]
    if key[0][-1] == 1:
        steps[-1] = 1
    return tuple(steps)


def _places(lead: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    """The places of matrices in memory, counted with the last of the leading dimensions fastest."""
    at = np.zeros(1, np.int64)
    for size, step in zip(lead, steps, strict=True):
        at = (at[:, None] + np.arange(size) * step).reshape(-1)
    return at


def _shares(size: int, most: int) -> int:
    """The size of equal shares of at most `most`."""
    return -(-size // -(-size // most))


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step


def _must_copy(steps: tuple[int, ...], columns: int, itemsize: int) -> bool:
    """Whether rows cannot be read in whole vectors where they are, or lie too far apart."""
    return steps[-1] != 1 or columns % (vector_unit().bytes // itemsize) != 0 or steps[-2] * itemsize >= FAR_ROW


def _mask_steps(mask: Key | None, mask_itemsize: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides with which a mask broadcasts to the shape."""
    if mask is None:
        return (0,) * len(shape)
    lead = (0,) * (len(shape) - len(mask[0]))
    return lead + tuple([0 if n == 1 else step // mask_itemsize for n, step in zip(*mask, strict=True)])


@functools.lru_cache(maxsize=1024)
def forward_plan(
    q: Key, k: Key, v: Key, mask: Key | None, mask_itemsize: int, y: Key, itemsize: int, causal: bool, threads: int
) -> Plan:
    """The launch of the forward pass."""
    lead, (queries, features) = q[0][:-2], q[0][-2:]
    keys, columns = v[0][-2:]
    problems = math.prod(lead)
    group = problems // math.prod(k[0][:-2])
    q_steps, k_steps, v_steps, y_steps = (_steps(key, itemsize) for key in (q, k, v, y))
    mask_steps = _mask_steps(mask, mask_itemsize, (*lead, queries, keys))
    places = np.stack(
        [
            _places(lead, q_steps[:-2]),
            np.repeat(_places(k[0][:-2], k_steps[:-2]), group),
            np.repeat(_places(v[0][:-2], v_steps[:-2]), group),
            _places(lead, mask_steps[:-2]),
            _places(lead, y_steps[:-2]),
        ],
        axis=1,
    )
    block_rows = _shares(queries, BLOCK_ROWS)
    block_keys = keys if queries == 1 else min(_rounded(keys, ROW), BLOCK_KEYS)
    lanes = vector_unit().bytes // itemsize
    copy_v = _must_copy(v_steps, columns, itemsize)
    v_width = _rounded(columns, lanes)
    sizes = (
        *(problems, group, queries, keys, features, columns, *q_steps[-2:], *k_steps[-2:], *v_steps[-2:]),
        *(y_steps[-2], *mask_steps[-2:], causal, block_rows, block_keys, copy_v, v_width),
    )
    room = block_rows * (_rounded(block_keys, ROW) + 2 * lanes + 2)
    if queries == 1:
        room += max(features, keys)
    else:
        room += _rounded(keys, 2 * lanes) * features + copy_v * keys * v_width
    tasks = min(threads, problems * -(-queries // block_rows))
    work = problems * queries * keys * (features + columns + 16) // (1 + causal)
    return Plan(places, np.array(sizes, np.int64), (tasks, _rounded(room, 16)), work, 1)


@functools.lru_cache(maxsize=1024)
def backward_plan(
    q: Key, k: Key, v: Key, mask: Key | None, mask_itemsize: int, y: Key, dy: Key, dq: Key, dk: Key, dv: Key,
    itemsize: int, causal: bool, threads: int,
) -> Plan:  # fmt: skip
    """The launch of the backward pass."""
    forward = forward_plan(q, k, v, mask, mask_itemsize, y, itemsize, causal, threads)
    problems, group, queries, keys, features, columns = forward.sizes[:6].tolist()
    q_steps, k_steps, dy_steps, dq_steps, dk_steps, dv_steps = (_steps(key, itemsize) for key in (q, k, dy, dq, dk, dv))
    more = [
        _places(q[0][:-2], dy_steps[:-2]),
        _places(q[0][:-2], dq_steps[:-2]),
        np.repeat(_places(k[0][:-2], dk_steps[:-2]), group),
        np.repeat(_places(v[0][:-2], dv_steps[:-2]), group),
    ]
    block_rows, block_keys = _shares(queries, BACKWARD_ROWS), min(_rounded(keys, ROW), BACKWARD_KEYS)
    lanes = vector_unit().bytes // itemsize
    items, work = problems // group, 5 * forward.work // 2
    splits = max(1, min(-(-UNITS // items), -(-keys // block_keys), work // (items * UNIT_WORK)))
    sizes = (
        *forward.sizes[:16].tolist(),
        *(block_rows, block_keys, _must_copy(q_steps, features, itemsize), _must_copy(k_steps, features, itemsize)),
        *(_must_copy(dy_steps, columns, itemsize), *dy_steps[-2:], dq_steps[-2], dk_steps[-2], dv_steps[-2]),
        *(splits, problems * queries * features),
    )
    q_width, v_width = _rounded(features, lanes), _rounded(columns, lanes)
    room = 2 * block_rows * (_rounded(block_keys, ROW) + 2 * lanes) + _rounded(block_keys, 2 * lanes) * (
        features + columns
    )
    room += (block_keys + block_rows) * q_width + block_rows * v_width + group * queries
    return Plan(
        np.concatenate([forward.places, np.stack(more, axis=1)], axis=1),
        np.array(sizes, np.int64),
        (min(threads, items * splits), _rounded(room, 16)),
        work,
        splits,
    )
