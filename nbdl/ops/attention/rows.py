"""Rows of scores: mask, dropout and exponentials, on the CPU by pointer and in CUDA kernels by element.

A row holds the scores of one query and a block of keys. It has room to the next multiple of `ROW` elements, so loops
run over whole vectors; what they make of the room is overwritten or not read.
"""

from __future__ import annotations

import numpy as np

from nbdl.ops.reduction.fold import maximum
from nbdl.runtime.jit import cpu_function, cuda_device, scalar
from nbdl.runtime.philox import random_group
from nbdl.runtime.vecmath import exp

ROW = 64
"""Rows of scores have room for a multiple of it."""


@scalar
def rounded_up(size, step):
    """The next multiple of the step."""
    return (size + step - 1) // step * step


@cpu_function
def fill_row(row, first, last, value):
    """row [first: last] = value."""
    for j in range(last - first):
        row[first + j] = value


@cpu_function
def scale_row(row, size, factor):
    """row [size] *= factor."""
    for j in range(size):
        row[j] *= factor


@cpu_function
def add_bias(row, size, scale, bias, step):
    """row [size] = scale * row + bias, an additive mask whose elements lie a step apart."""
    if step == 1:
        for j in range(size):
            row[j] = scale * row[j] + bias[j]
    else:
        for j in range(size):
            row[j] = scale * row[j] + bias[j * step]


@cpu_function
def forbid(row, size, scale, allowed, step, nothing, forbidden):
    """row [size] = scale * row, and minus infinity is added where a key is not allowed: a NaN stays one."""
    if step == 1:
        for j in range(size):
            row[j] = scale * row[j] + (nothing if allowed[j] != 0 else forbidden)
    else:
        for j in range(size):
            row[j] = scale * row[j] + (nothing if allowed[j * step] != 0 else forbidden)


@cpu_function
def largest(row, size, scale, lowest):
    """The largest scale * row [size]; NaN if one is."""
    found = lowest
    for j in range(size):
        found = maximum(found, scale * row[j])
    return found


@cpu_function
def exponentials(row, size, scale, shift, zero):
    """row [size] = exp(scale * row - shift); returns their sum."""
    total = zero
    for j in range(size):
        e = exp(scale * row[j] - shift)
        row[j] = e
        total += e
    return total


@cpu_function
def drop(row, size, group, random, threshold, keep_scale, zero):
    """row [size] *= keep_scale where the words of groups of four, from `group` on, are not under the threshold."""
    for step in range((size + 3) // 4):
        a, b, c, d = random_group(group + step, random[0], random[1], random[2], random[3])
        row[4 * step] *= keep_scale if a >= threshold else zero
        row[4 * step + 1] *= keep_scale if b >= threshold else zero
        row[4 * step + 2] *= keep_scale if c >= threshold else zero
        row[4 * step + 3] *= keep_scale if d >= threshold else zero


@cpu_function
def score_gradients(row, drow, size, factor, scale, logarithm, delta):
    """row: scores -> probabilities p = exp(factor * row - logarithm); drow: dp -> scale * p (dp - delta)."""
    for j in range(size):
        p = exp(factor * row[j] - logarithm)
        row[j] = p
        drow[j] = scale * (p * (drow[j] - delta))


@cpu_function
def dot(a, b, size, zero):
    """The product of two rows."""
    total = zero
    for j in range(size):
        total += a[j] * b[j]
    return total


@scalar
def kept(row, key, keys, random, threshold, keep_scale):
    """What dropout multiplies the probability of a key with; the rows of all problems are counted through."""
    words = random_group(row * ((keys + 3) // 4) + key // 4, random[0], random[1], random[2], random[3])
    return keep_scale if words[key % 4] >= threshold else type(keep_scale)(0)


@cuda_device
def strided_dot(a, a_first, a_inner, b, b_first, b_inner, size):
    """The product of two rows of flat arrays."""
    total = a.dtype.type(0)
    for d in range(size):
        total += a[a_first + d * a_inner] * b[b_first + d * b_inner]
    return total


@cuda_device
def masked(score, bias, allowed, place):
    """A score and the mask's element at a place."""
    if bias.shape[0] > 0:
        score += bias[place]
    if allowed.shape[0] > 0 and allowed[place] == 0:
        score += bias.dtype.type(-np.inf)
    return score
