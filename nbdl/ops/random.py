"""Random tensors. An element depends on the generator's seed, on how many fills came before, and on its index alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Tensor, is_grad_enabled
from nbdl.ops.creation import _finished as place
from nbdl.ops.creation import _shape_of
from nbdl.ops.elementwise import casting
from nbdl.runtime import arrays, memory, philox
from nbdl.runtime.checks import check_float, check_int, check_number, check_rank
from nbdl.runtime.dtypes import as_dtype, get_default_dtype
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel
from nbdl.runtime.philox import Generator

__all__ = [
    "bernoulli",
    "multinomial",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
]

# ---------------------------------------------------------------- kernels


@cpu_kernel
def _affine_cpu(z, mean, deviation, y, start, stop):
    """z, mean, deviation, y [N]: y = mean + deviation * z. One task an element."""
    for i in range(start, stop):
        y[i] = mean[i] + deviation[i] * z[i]


@cuda_kernel
def _affine_cuda(z, mean, deviation, y):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < y.shape[0]:
        y[i] = mean[i] + deviation[i] * z[i]


_affine = Kernel(
    cpu=_affine_cpu, cuda=_affine_cuda, tasks=lambda z, *_: z.shape[0], blocks=lambda z, *_: -(-z.shape[0] // BLOCK)
)


@cpu_kernel
def _toss_cpu(u, p, y, start, stop):
    """u, p, y [N]: y = 1 where u < p, else 0. One task an element."""
    for i in range(start, stop):
        y[i] = 1 if u[i] < p[i] else 0


@cuda_kernel
def _toss_cuda(u, p, y):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < y.shape[0]:
        y[i] = 1 if u[i] < p[i] else 0


_toss = Kernel(
    cpu=_toss_cpu, cuda=_toss_cuda, tasks=lambda u, *_: u.shape[0], blocks=lambda u, *_: -(-u.shape[0] // BLOCK)
)


@cpu_kernel
def _choose_cpu(u, weights, left, y, replacement, start, stop):
    """u, y [N, S] draws; weights, left [N, C]: the class whose share of the weights holds u. One task a row.

    Without replacement a drawn class leaves `left`, a copy of the weights.
    """
    n_classes = weights.shape[1]
    for row in range(start, stop):
        for c in range(n_classes):
            left[row, c] = weights[row, c]
        for draw in range(y.shape[1]):
            total = weights.dtype.type(0)
            for c in range(n_classes):
                total += left[row, c]
            target = u[row, draw] * total
            chosen = -1
            reached = weights.dtype.type(0)
            for c in range(n_classes):
                if left[row, c] > 0 and reached <= target:
                    chosen = c
                reached += left[row, c]
            y[row, draw] = chosen
            if not replacement:
                left[row, chosen] = 0


@cuda_kernel
def _choose_cuda(u, weights, left, y, replacement):
    """As the CPU twin. One thread of a block does a row: draws follow one another."""
    row = cuda.blockIdx.x
    n_classes = weights.shape[1]
    if cuda.threadIdx.x == 0:
        for c in range(n_classes):
            left[row, c] = weights[row, c]
        for draw in range(y.shape[1]):
            total = weights.dtype.type(0)
            for c in range(n_classes):
                total += left[row, c]
            target = u[row, draw] * total
            chosen = -1
            reached = weights.dtype.type(0)
            for c in range(n_classes):
                if left[row, c] > 0 and reached <= target:
                    chosen = c
                reached += left[row, c]
            y[row, draw] = chosen
            if not replacement:
                left[row, chosen] = 0


_choose = Kernel(
    cpu=_choose_cpu,
    cuda=_choose_cuda,
    tasks=lambda u, *_: u.shape[0],
    work=lambda u, weights, *_: u.size * weights.shape[1],
)

# ---------------------------------------------------------------- uniform and normal


def shape_of(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    return _shape_of(sizes, None)


def _float_or(dtype: Any) -> np.dtype:
    return get_default_dtype() if dtype is None else as_dtype(dtype)


def _like(input: Any, dtype: Any) -> np.dtype:
    if not isinstance(input, Tensor):
        raise ArgumentTypeError(f"input: expected a Tensor, got {type(input).__name__}")
    return input.dtype if dtype is None else as_dtype(dtype)


def rand(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Numbers of the uniform distribution on [0, 1).

    Args:
        size: The shape, as integers or one sequence.
        generator: Where random numbers come from; the default generator when None.
        dtype: float32 or float64; the default dtype when None.
        device: "cpu" or "cuda".
        requires_grad: Whether operations on it are recorded.
    """
    y = memory.empty(shape_of(size), _float_or(dtype))
    philox.uniform(y, generator=generator)
    return place(y, device, requires_grad)


def randn(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Numbers of the normal distribution with mean 0 and variance 1. Arguments as for `rand`."""
    y = memory.empty(shape_of(size), _float_or(dtype))
    philox.normal(y, generator=generator)
    return place(y, device, requires_grad)


def rand_like(input: Tensor, *, generator: Generator | None = None, dtype: Any = None) -> Tensor:
    """Uniform numbers in the shape and dtype of a tensor."""
    return rand(input.shape, generator=generator, dtype=_like(input, dtype))


def randn_like(input: Tensor, *, generator: Generator | None = None, dtype: Any = None) -> Tensor:
    """Normal numbers in the shape and dtype of a tensor."""
    return randn(input.shape, generator=generator, dtype=_like(input, dtype))


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, dtype: Any = None
) -> Tensor:
    """Normal numbers whose mean and standard deviation are numbers, with `size`, or tensors, element by element.

    Raises:
        ArgumentError: A deviation is negative, or a size is missing.
        ShapeError: Tensors of mean and std have different shapes.
    """
    tensors = [value for value in (mean, std) if isinstance(value, Tensor)]
    if not tensors:
        if size is None:
            raise ArgumentError("size: expected a shape when mean and std are numbers")
        check_number("mean", mean)
        check_number("std", std, 0.0)
        y = memory.empty(shape_of((size,)), _float_or(dtype))
        philox.normal(y, mean, std, generator)
        return Tensor(y)
    model = check_float("mean" if isinstance(mean, Tensor) else "std", tensors[0])
    if len(tensors) == 2 and mean.shape != std.shape:
        raise ShapeError(f"std: expected the shape of mean {list(mean.shape)}, got {list(std.shape)}")
    operands = [
        arrays.contiguous(value._array) if isinstance(value, Tensor) else arrays.full(model.shape, value, model.dtype)
        for value in (mean, std)
    ]
    if operands[1].size and operands[1].min() < 0:
        raise ArgumentError("std: expected no negative deviation")
    y = memory.empty(model.shape, model.dtype)
    philox.normal(y, generator=generator)
    _affine(y.reshape(-1), operands[0].reshape(-1), operands[1].reshape(-1), y.reshape(-1))
    return Tensor(y)


# ---------------------------------------------------------------- integers


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """Integers of [low, high), each equally likely. `randint(high, size)` starts at 0.

    Args:
        low: The smallest.
        high: One past the largest.
        size: The shape.
        generator: Where random numbers come from.
        dtype: Its dtype; int64 when None.
        device: "cpu" or "cuda".
    """
    if size is None:
        low, high, size = 0, low, high
    y = memory.empty(shape_of((size,) if isinstance(size, int) else (tuple(size),)), np.int64)
    check_int("high", high, check_int("low", low) + 1)
    philox.randint(y, low, high, generator)
    return place(y if dtype is None else casting.cast(y, as_dtype(dtype)), device, False)


def randint_like(input: Tensor, low: int, high: int | None = None, *, dtype: Any = None) -> Tensor:
    """Random integers in the shape and dtype of a tensor."""
    if high is None:
        low, high = 0, low
    return randint(low, high, input.shape, dtype=_like(input, dtype))


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None) -> Tensor:
    """The integers of [0, n) in random order."""
    order = philox.permutation(check_int("n", n, 0), generator)
    return Tensor(order if dtype is None else casting.cast(order, as_dtype(dtype)))


# ---------------------------------------------------------------- choices


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Ones with the given probabilities, else zeros.

    Args:
        input: [*], probabilities in [0, 1].
        generator: Where random numbers come from.

    Raises:
        ArgumentError: A probability lies outside [0, 1] or is NaN.
    """
    p = arrays.contiguous(check_float("input", input)._array)
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ArgumentError(f"input: expected probabilities in [0, 1], got values in [{p.min()}, {p.max()}]")
    u, y = memory.empty(p.shape, p.dtype), memory.empty(p.shape, p.dtype)
    philox.uniform(u, generator=generator)
    _toss(u.reshape(-1), p.reshape(-1), y.reshape(-1))
    return Tensor(y)


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Class ids drawn in proportion to weights.

    Args:
        input: [C] or [N, C], weights, not negative, with a positive sum in each row.
        num_samples: How many to draw from each row.
        replacement: Whether a class may be drawn again.
        generator: Where random numbers come from.

    Returns:
        [num_samples] or [N, num_samples], int64.

    Raises:
        ArgumentError: Weights are negative, not finite or all zero, or too few classes are left to draw from.
    """
    check_rank("input", check_float("input", input), 1, 2)
    count = check_int("num_samples", num_samples, 1)
    weights = arrays.contiguous(input._array).reshape(-1, input.shape[-1])
    if not np.isfinite(weights).all() or (weights < 0).any() or not (weights > 0).any(axis=1).all():
        raise ArgumentError("input: expected finite weights, none negative, at least one positive in each row")
    if not replacement and ((weights > 0).sum(axis=1) < count).any():
        raise ArgumentError(f"num_samples: {count} without replacement is more than a row has positive weights")
    u = memory.empty((weights.shape[0], count), weights.dtype)
    philox.uniform(u, generator=generator)
    y = memory.empty(u.shape, np.int64)
    _choose(u, weights, memory.empty(weights.shape, weights.dtype), y, bool(replacement))
    return Tensor(y.reshape(*input.shape[:-1], count))


# ---------------------------------------------------------------- methods that fill


def _refill(input: Tensor, fill: Any) -> Tensor:
    """Writes new values into a tensor's memory."""
    if input.requires_grad and is_grad_enabled():
        raise GradientError("a tensor that requires gradients cannot be filled in place; use no_grad()")
    target = input._array
    y = target if target.flags.c_contiguous else memory.empty(target.shape, target.dtype)
    fill(y)
    if y is not target:
        arrays.copy_into(target, y)
    input._version[0] += 1
    return input


def uniform_(self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fills the tensor with numbers of the uniform distribution on [from_, to)."""
    return _refill(self, lambda y: philox.uniform(y, from_, to, generator))


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fills the tensor with numbers of a normal distribution."""
    return _refill(self, lambda y: philox.normal(y, mean, std, generator))


def bernoulli_(self: Tensor, p: float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fills the tensor with ones, each with probability p, and zeros."""
    return _refill(self, lambda y: philox.bernoulli(y, p, generator))
