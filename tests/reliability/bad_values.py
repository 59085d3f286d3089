"""Values that nobody should pass: made from a good one, or plainly of the wrong kind."""

from __future__ import annotations

from typing import Any

import numpy as np

import nbdl
from nbdl.autograd import Tensor

WIDE = 2**31 + 5
"""One more than 32-bit indices reach."""


class Odd:
    """An object that is nothing in particular."""

    def __repr__(self) -> str:
        return "Odd()"


def strange(rng: np.random.Generator) -> Any:
    """A value that hardly any argument takes."""
    options = (
        None,
        "text",
        "",
        b"bytes",
        1j,
        Odd(),
        {},
        {"a": 1},
        [],
        (),
        [1, "two"],
        [[1, 2], [3]],
        range(3),
        len,
        nbdl.float32,
        np.zeros((2, 2)),
        np.array(["a"]),
        slice(1, 2),
        ...,
        {1, 2},
    )
    return options[rng.integers(len(options))]


def numbers(rng: np.random.Generator) -> Any:
    """A number of a strange size or type."""
    options = (
        True,
        False,
        -1,
        0,
        1,
        2,
        7,
        -7,
        1.5,
        -0.5,
        0.0,
        2**31 - 1,
        2**31,
        2**62,
        2**63 - 1,
        2**63,
        -(2**63),
        -(2**63) - 1,
        10**30,
        1e308,
        1e-320,
        float("nan"),
        float("inf"),
        -float("inf"),
        np.int64(1),
        np.int8(-1),
        np.uint8(255),
        np.float32(0.5),
        np.float64("nan"),
        np.bool_(True),
        np.array(2),
        np.array(0.5),
        np.array([1, 2]),
        (1, 2),
        (2, 2, 2, 2, 2),
        [3],
        (-1,),
        (0, 0),
        (1, 1.5),
        (2**31, 2**31),
    )
    return options[rng.integers(len(options))] if rng.integers(20) else nbdl.tensor(1)


def numbers_or_strange(rng: np.random.Generator) -> Any:
    return numbers(rng) if rng.integers(3) else strange(rng)


def of_tensor(good: Tensor, rng: np.random.Generator) -> Any:
    """Another tensor in the place of a good one: another rank, size, dtype or memory; bad values; no tensor at all."""
    array = good.detach().numpy()
    kind = rng.integers(22)
    if kind == 0:
        return Tensor(array[None])
    if kind == 1:
        return Tensor(np.ascontiguousarray(array).reshape(-1))
    if kind == 2:
        return Tensor(np.array(array.flat[0] if array.size else 0, array.dtype))
    if kind == 3 and array.ndim:
        axis = int(rng.integers(array.ndim))
        return Tensor(np.concatenate([array, array[(slice(None),) * axis + (slice(0, 1),)]], axis))
    if kind == 4 and array.ndim:
        axis = int(rng.integers(array.ndim))
        return Tensor(array[(slice(None),) * axis + (slice(0, -1),)].copy())
    if kind == 5 and array.ndim:
        axis = int(rng.integers(array.ndim))
        return Tensor(array[(slice(None),) * axis + (slice(0, 0),)].copy())
    if kind == 6:
        names = (np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_, np.int8)
        with np.errstate(all="ignore"):
            return Tensor(array.astype(names[rng.integers(len(names))]))
    if kind == 7:
        return array
    if kind == 8:
        return array.tolist()
    if kind in (9, 10, 11):
        return _with_value(array, rng)
    if kind == 12 and array.ndim and array.shape[0]:
        return Tensor(np.lib.stride_tricks.as_strided(array, array.shape, (0, *array.strides[1:])))
    if kind == 13 and array.ndim and array.size > 1:  # neighbours share memory
        flat = np.ascontiguousarray(array).reshape(-1)
        strides = [array.itemsize] * array.ndim
        reach = sum(size - 1 for size in array.shape) + 1
        return Tensor(np.lib.stride_tricks.as_strided(np.resize(flat, reach), array.shape, strides))
    if kind == 14 and array.ndim:
        return Tensor(np.ascontiguousarray(array.T).T[::-1])
    if kind == 15:
        kept = array.copy()
        kept.flags.writeable = False
        return Tensor(kept)
    if kind == 16:
        return [good]
    if kind == 17:
        return (good, good)
    if kind == 18:
        return numbers(rng)
    if kind == 19 and array.ndim and array.shape[0] and rng.integers(40) == 0:
        return Tensor(np.lib.stride_tricks.as_strided(array, (WIDE, *array.shape[1:]), (0, *array.strides[1:])))
    if kind == 20:
        return (
            good.detach().clone().requires_grad_()
            if good.dtype.kind == "f"
            else -good
            if good.dtype.kind == "i"
            else good
        )
    return strange(rng)


def _with_value(array: np.ndarray, rng: np.random.Generator) -> Tensor:
    """One element, or all of them, that is not a number, infinite, or no id."""
    changed = array.copy()
    if array.dtype.kind == "f":
        value: Any = (np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-40, 0.0)[rng.integers(7)]
    elif array.dtype.kind == "i":
        info = np.iinfo(array.dtype)
        value = (max(-1, info.min), info.max, info.min, 5, 10**6 % info.max)[rng.integers(5)]
    else:
        value = True
    if changed.size and rng.integers(2):
        changed.flat[rng.integers(changed.size)] = value
    else:
        changed[...] = value
    return Tensor(changed)


def instead_of(good: Any, rng: np.random.Generator) -> Any:
    """A bad value in the place of a good one."""
    if isinstance(good, Tensor):
        return of_tensor(good, rng)
    if isinstance(good, (list, tuple)) and good and rng.integers(2):
        members = list(good)
        choice = rng.integers(4)
        if choice == 0:
            members.pop(int(rng.integers(len(members))))
        elif choice == 1:
            members.append(members[0])
        else:
            place = int(rng.integers(len(members)))
            members[place] = instead_of(members[place], rng)
        return type(good)(members) if type(good) in (list, tuple) else members
    return numbers_or_strange(rng)
