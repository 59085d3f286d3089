r"""The stable order of rows: the places of a row's elements in ascending or descending order, equal ones as they stood.

A NaN counts as greater than every number. On the CPU every element becomes a word: how far its key lies from the row's
first in order, and behind it its place. No two words are equal, and they are in order as integers are, so they are
sorted without looking at the elements again: fours by exchanges, then by merging runs (John von Neumann, 1945), two
runs of one length from both ends at once, because then no step waits for the other end's and none needs a branch. Keys
of 64 bits may leave too little room for the place; they lose their last digits then, and what came out equal is merged
once more by the elements themselves.

In the CUDA twin each thread counts how many elements come before its own: more comparisons, none of which waits for
another.

Letters: N rows, R elements along the dimension.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.runtime import arrays
from nbdl.runtime.dtypes import INT64
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, exact

_ONE, _FOUR = np.uint64(1), np.uint64(4)
"""Unsigned, as all indices here: they need no check for counting from the end."""

# ---------------------------------------------------------------- comparisons


@exact
def _comes_before(a, b, descending):
    """Whether a stands strictly before b; NaN is the greatest."""
    if descending:
        a, b = b, a
    return a < b or (b != b and a == a)


@exact
def _key(x, bits, is_floating, greatest):
    """An integer with the order of the numbers: equal ones have equal keys, NaN the greatest."""
    key = np.int64(bits)
    if is_floating:
        key = key ^ (key >> np.int64(63) & greatest)  # their bits are a sign and a magnitude
        key = np.int64(0) if x == 0 else key
    return greatest if x != x else key


# ---------------------------------------------------------------- words


@exact
def _fill(x, bits, words, row, descending):
    """words [N, R]: one row's words. Returns how many bits the places take, and whether keys lost digits."""
    size = np.uint64(x.shape[1])
    is_floating = x.dtype.type(0.5) > x.dtype.type(0)
    greatest = np.int64((_ONE << np.uint64(8 * bits.itemsize - 1)) - _ONE)
    least, most = np.int64(2**63 - 1), np.int64(-(2**63))
    for i in range(size):
        key = _key(x[row, i], bits[row, i], is_floating, greatest)
        words[row, i] = key
        least, most = min(least, key), max(most, key)
    place_bits, lost = _length(size), _length(np.uint64(most) - np.uint64(least))
    lost = lost + place_bits - np.uint64(63) if lost + place_bits > np.uint64(63) else np.uint64(0)
    for i in range(size):
        key = np.uint64(words[row, i])
        rank = np.uint64(most) - key if descending else key - np.uint64(least)
        words[row, i] = np.int64(rank >> lost << place_bits | i)
    return place_bits, lost > np.uint64(0)


@exact
def _length(number):
    """How many bits an unsigned number has."""
    length = np.uint64(0)
    while number > np.uint64(0):
        number = number >> _ONE
        length += _ONE
    return length


@exact
def _sort_four(words, row, i):
    a, b, c, d = words[row, i], words[row, i + _ONE], words[row, i + _ONE + _ONE], words[row, i + _FOUR - _ONE]
    a, b, c, d = min(a, b), max(a, b), min(c, d), max(c, d)
    a, b, c, d = min(a, c), min(b, d), max(a, c), max(b, d)
    words[row, i], words[row, i + _FOUR - _ONE] = a, d
    words[row, i + _ONE], words[row, i + _ONE + _ONE] = min(b, c), max(b, c)


@exact
def _insert(words, row, low, high):
    for i in range(low, high):
        word, place = words[row, i], i
        while place > low and words[row, place - _ONE] > word:
            words[row, place] = words[row, place - _ONE]
            place -= _ONE
        words[row, place] = word


@exact
def _merge_even(words, merged, row, low, width):
    """Two runs of `width` words, the first at `low`: the lesser half from the front, the greater from the back."""
    left, right = low, low + width
    left_end, right_end = right - _ONE, right + width - _ONE
    last = right_end
    for i in range(width):
        a, b = words[row, left], words[row, right]
        merged[row, low + i] = min(a, b)
        from_right = np.uint64(b < a)
        right += from_right
        left += _ONE - from_right
        a, b = words[row, left_end], words[row, right_end]
        merged[row, last - i] = max(a, b)
        from_left = np.uint64(b < a)
        left_end -= from_left
        right_end -= _ONE - from_left


@exact
def _merge(words, merged, row, low, middle, high):
    """Two runs of any lengths, from the front."""
    left, right = low, middle
    for i in range(low, high):
        if right >= high or (left < middle and words[row, left] < words[row, right]):
            merged[row, i] = words[row, left]
            left += _ONE
        else:
            merged[row, i] = words[row, right]
            right += _ONE


@exact
def _merge_sort(words, merged, row):
    """One row of words [N, R]; they move to and fro between the two arrays with every doubling of the runs."""
    size = np.uint64(words.shape[1])
    whole = size // _FOUR * _FOUR
    for i in range(np.uint64(0), whole, _FOUR):
        _sort_four(words, row, i)
    _insert(words, row, whole, size)
    width = _FOUR
    while width < size:
        for low in range(np.uint64(0), size, width + width):
            middle, high = min(low + width, size), min(low + width + width, size)
            if high - low == width + width:
                _merge_even(words, merged, row, low, width)
            else:
                _merge(words, merged, row, low, middle, high)
        words, merged = merged, words
        width += width


@exact
def _doublings(size):
    """How often runs of four double until one holds all."""
    count, width = 0, 4
    while width < size:
        width *= 2
        count += 1
    return count


# ---------------------------------------------------------------- what keys could not tell apart


@exact
def _merge_by_elements(x, order, scratch, row, first, stop, descending):
    """Sorts the places [first, stop) of a row's order, which stand in the order of the elements."""
    width = 1
    while width < stop - first:
        for low in range(first, stop, 2 * width):
            middle, high = min(low + width, stop), min(low + 2 * width, stop)
            left, right = low, middle
            for i in range(low, high):
                take_right = left >= middle
                if not take_right and right < high:
                    take_right = _comes_before(x[row, order[row, right]], x[row, order[row, left]], descending)
                if take_right:
                    scratch[row, i] = order[row, right]
                    right += 1
                else:
                    scratch[row, i] = order[row, left]
                    left += 1
        for i in range(first, stop):
            order[row, i] = scratch[row, i]
        width *= 2


@exact
def _settle(x, order, words, row, place_bits, descending):
    """Brings elements whose keys had the same leading digits into order; a run that is in order is left alone."""
    size, first, is_sorted = x.shape[1], 0, True
    for i in range(1, size + 1):
        if i < size and words[row, i] >> place_bits == words[row, first] >> place_bits:
            is_sorted = is_sorted and not _comes_before(x[row, order[row, i]], x[row, order[row, i - 1]], descending)
        else:
            if not is_sorted:
                _merge_by_elements(x, order, words, row, first, i, descending)
            first, is_sorted = i, True


# ---------------------------------------------------------------- kernels


@cpu_kernel
def _order_cpu(x, bits, order, scratch, descending, start, stop):
    """x, order, scratch [N, R], bits: x as integers; order = the stable order of each row. One task a row."""
    size = np.uint64(x.shape[1])
    for task in range(start, stop):
        row = np.uint64(task)
        words, merged = (order, scratch) if _doublings(x.shape[1]) % 2 else (scratch, order)
        place_bits, has_lost = _fill(x, bits, words, row, descending)
        _merge_sort(words, merged, row)  # they end up in scratch
        places = np.int64((_ONE << place_bits) - _ONE)
        for i in range(size):
            order[row, i] = scratch[row, i] & places
        if has_lost:
            _settle(x, order, scratch, task, np.int64(place_bits), descending)


@cuda_kernel
def _order_cuda(x, bits, order, scratch, descending):
    """As the CPU twin. One block a row; a thread counts the elements before each of its own."""
    row = cuda.blockIdx.x
    size = x.shape[1]
    for i in range(cuda.threadIdx.x, size, BLOCK):
        rank = 0
        for j in range(size):
            before = _comes_before(x[row, j], x[row, i], descending)
            equal = not before and not _comes_before(x[row, i], x[row, j], descending)
            if before or (equal and j < i):
                rank += 1
        order[row, rank] = i


_order = Kernel(
    cpu=_order_cpu,
    cuda=_order_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, *_: x.size * max(1, x.shape[1].bit_length()),
)


def stable_order(rows: Any, descending: bool = False) -> Any:
    """[N, R] -> the places of each row's elements in ascending or descending order, equal ones in their old order."""
    order, scratch = (arrays.empty_beside(rows, rows.shape, INT64) for _ in range(2))
    bits = rows.view(f"i{rows.dtype.itemsize}") if rows.dtype.kind == "f" else rows
    _order(rows, bits, order, scratch, descending)
    return order
