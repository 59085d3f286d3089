r"""Random tensors: uniform, normal, integers, permutations, tosses and draws from given chances.

All of them count with Philox (nbdl.runtime.philox): an element depends on the seed, on how many fills the generator
has made, and on its index; not on the number of threads or the device.

Draws without putting back (`multinomial`) take the elements with the smallest $-\ln(u_i) / w_i$, u uniform: these are
arrival times of processes with rates w, and the first to arrive are a sample in which each next element is chosen with
a chance proportional to its weight among those left.
Source: Efraimidis and Spirakis (2006), "Weighted random sampling with a reservoir".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Tensor, wrap
from nbdl.ops.creation.data import device_of, finished
from nbdl.ops.creation.values import shape_of
from nbdl.ops.elementwise.arithmetic import add, div, mul, neg
from nbdl.ops.elementwise.casting import cast, to_dtype, widened
from nbdl.ops.elementwise.comparison import isfinite, le, lt
from nbdl.ops.elementwise.exponential import log
from nbdl.ops.elementwise.in_place import overwrite
from nbdl.ops.elementwise.layout import broadcast_shape
from nbdl.runtime import arrays, memory, philox
from nbdl.runtime.checks import check_float, check_int, check_number, check_rank
from nbdl.runtime.dtypes import INT64, as_dtype, get_default_dtype, kernel_dtype
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel
from nbdl.runtime.philox import Generator, default_generator

# ---------------------------------------------------------------- kernel


@cpu_kernel
def _draw_cpu(weights, u, y, start, stop):
    """weights [B, N]; u in [0, 1) and y [B, S]: the first index up to which the weights exceed u of their sum.

    One task a draw.
    """
    draws, n = y.shape[1], weights.shape[1]
    for task in range(start, stop):
        b, s = task // draws, task % draws
        total = weights.dtype.type(0)
        for i in range(n):
            total += weights[b, i]
        left = u[b, s] * total
        chosen = -1
        for i in range(n):
            weight = weights[b, i]
            if weight > 0 and (chosen < 0 or left >= 0):  # rounding may leave a rest behind the last one
                chosen = i
            left -= weight
        y[b, s] = chosen


@cuda_kernel
def _draw_cuda(weights, u, y):
    """As the CPU twin. One thread a draw."""
    draws, n = y.shape[1], weights.shape[1]
    task = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if task < y.size:
        b, s = task // draws, task % draws
        total = weights.dtype.type(0)
        for i in range(n):
            total += weights[b, i]
        left = u[b, s] * total
        chosen = -1
        for i in range(n):
            weight = weights[b, i]
            if weight > 0 and (chosen < 0 or left >= 0):
                chosen = i
            left -= weight
        y[b, s] = chosen


draw = Kernel(
    cpu=_draw_cpu,
    cuda=_draw_cuda,
    tasks=lambda weights, u, y: y.size,
    work=lambda weights, u, y: 2 * y.size * weights.shape[1],
    blocks=lambda weights, u, y: max(1, -(-y.size // BLOCK)),
)

# ---------------------------------------------------------------- state


def manual_seed(seed: int) -> Generator:
    """Starts the default stream of random numbers anew.

    Args:
        seed: An integer in [0, 2^64).

    Returns:
        The default generator.

    Raises:
        ArgumentError: The seed is out of range.

    Example:
        >>> _ = nbdl.manual_seed(0)
        >>> a = nbdl.rand(2)
        >>> _ = nbdl.manual_seed(0)
        >>> bool((a == nbdl.rand(2)).numpy().all())
        True
    """
    return philox.manual_seed(seed)


def get_rng_state() -> Tensor:
    """The state of the default generator, as 16 bytes."""
    return wrap(default_generator.get_state().view(np.uint8))


def set_rng_state(new_state: Tensor) -> None:
    """Goes on where `get_rng_state` was called."""
    state = new_state._array if isinstance(new_state, Tensor) else np.asarray(new_state)
    if state.dtype != np.uint8 or state.shape != (16,):
        raise ArgumentError(f"new_state: expected 16 bytes of uint8, got {state.dtype} {list(state.shape)}")
    default_generator.set_state(np.ascontiguousarray(state).view(np.uint64))


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.seed


# ---------------------------------------------------------------- of a shape


def _float_dtype(dtype: Any) -> np.dtype:
    chosen = get_default_dtype() if dtype is None else as_dtype(dtype)
    if chosen.kind != "f":
        raise DTypeError(f"dtype: expected float32 or float64, got {chosen}")
    return chosen


def rand(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers uniformly distributed in [0, 1).

    Args:
        sizes: The sizes, one by one or as one tuple.
        size: The sizes as a tuple, by name.
        generator: The stream; the default one when None.
        dtype: float32 or float64; the default dtype when None.
        device: Where the tensor lives.
        requires_grad: Whether operations on the tensor are recorded.

    Returns:
        [*sizes].

    Raises:
        ShapeError: A size is negative.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.rand(2, 3).shape
        (2, 3)
    """
    y = memory.empty(shape_of(sizes, size), _float_dtype(dtype))
    philox.uniform(y, 0.0, 1.0, generator)
    return finished(y, device, requires_grad)


def randn(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normally distributed numbers of mean 0 and variance 1.

    Args:
        sizes: The sizes, one by one or as one tuple.
        size: The sizes as a tuple, by name.
        generator: The stream; the default one when None.
        dtype: float32 or float64; the default dtype when None.
        device: Where the tensor lives.
        requires_grad: Whether operations on the tensor are recorded.

    Returns:
        [*sizes].

    Raises:
        ShapeError: A size is negative.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.randn(4).dtype
        dtype('float32')
    """
    y = memory.empty(shape_of(sizes, size), _float_dtype(dtype))
    philox.normal(y, 0.0, 1.0, generator)
    return finished(y, device, requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers of [low, high), each equally likely; `randint(high, size)` begins at 0.

    Args:
        low: The smallest.
        high: One more than the greatest.
        size: The sizes.
        generator: The stream; the default one when None.
        dtype: The dtype; int64 when None.
        device: Where the tensor lives.
        requires_grad: Whether operations on the tensor are recorded.

    Returns:
        [*size].

    Raises:
        ArgumentError: high is not greater than low.
        ShapeError: A size is negative.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> bool((nbdl.randint(6, (100,)) < 6).numpy().all())
        True
    """
    if size is None:
        low, high, size = 0, low, high
    y = memory.empty(shape_of((), size), INT64)
    philox.randint(y, low, high, generator)
    return finished(cast(y, INT64 if dtype is None else as_dtype(dtype)), device, requires_grad)


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """The integers of [0, n) in random order.

    Args:
        n: How many.
        generator: The stream; the default one when None.
        dtype: The dtype; int64 when None.
        device: Where the tensor lives.

    Returns:
        [n].

    Raises:
        ArgumentError: n is negative.

    Gradient:
        None.

    Example:
        >>> sorted(nbdl.randperm(4).tolist())
        [0, 1, 2, 3]
    """
    y = philox.permutation(n, generator)
    return finished(cast(y, INT64 if dtype is None else as_dtype(dtype)), device, False)


def rand_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Uniform numbers in the shape and dtype of another tensor; see `rand`."""
    return rand(
        size=input.shape, dtype=dtype or input.dtype, device=device or device_of(input), requires_grad=requires_grad
    )


def randn_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Normal numbers in the shape and dtype of another tensor; see `randn`."""
    return randn(
        size=input.shape, dtype=dtype or input.dtype, device=device or device_of(input), requires_grad=requires_grad
    )


def randint_like(input: Tensor, low: int, high: int | None = None, *, dtype: Any = None) -> Tensor:
    """Integers in the shape and dtype of another tensor; see `randint`."""
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, input.shape, dtype=dtype or input.dtype, device=device_of(input))


# ---------------------------------------------------------------- of given distributions


def normal(
    mean: Tensor | float,
    std: Tensor | float = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
) -> Tensor:
    """Normally distributed numbers of given means and standard deviations.

    Args:
        mean: The means: a tensor or a number.
        std: The standard deviations, at least 0: a tensor or a number.
        size: The sizes, if both are numbers.
        generator: The stream; the default one when None.
        dtype: The dtype, if both are numbers.

    Returns:
        [*], the common shape of mean and std, or of the sizes.

    Raises:
        ArgumentError: A standard deviation is negative.
        ShapeError: The shapes do not broadcast.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.normal(nbdl.tensor([0.0, 100.0]), 1.0).shape
        (2,)
    """
    tensors = [value for value in (mean, std) if isinstance(value, Tensor)]
    if not tensors:
        if size is None:
            raise ArgumentTypeError("size: expected the sizes, because mean and std are numbers")
        y = memory.empty(shape_of((), size), _float_dtype(dtype))
        philox.normal(y, mean, check_number("std", std, 0), generator)  # type: ignore[arg-type]
        return wrap(y)
    for name, value in (("mean", mean), ("std", std)):
        if isinstance(value, Tensor):
            check_float(name, value)
        elif name == "std":
            check_number("std", value, 0)
    if isinstance(std, Tensor) and arrays.on_host(lt(std, 0)._array).any():
        raise ArgumentError("std: expected numbers of at least 0, got a negative one")
    y = arrays.empty_beside(tensors[-1]._array, broadcast_shape(*[value.shape for value in tensors]))
    philox.normal(y, 0.0, 1.0, generator)
    mean, std = (value.detach() if isinstance(value, Tensor) else value for value in (mean, std))
    return add(mul(wrap(y), std), mean)


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """Ones with given chances, zeros otherwise.

    Args:
        input: [*], the chances, in [0, 1].
        p: One chance for all elements, in place of those of the input.
        generator: The stream; the default one when None.

    Returns:
        [*], dtype of the input.

    Raises:
        ArgumentError: A chance lies outside of [0, 1].

    Gradient:
        0.

    Example:
        >>> nbdl.bernoulli(nbdl.tensor([0.0, 1.0]))
        tensor([0., 1.])
    """
    y = arrays.empty_beside(input._array, input.shape)
    if p is not None:
        philox.bernoulli(y, check_number("p", p, 0, 1), generator)
        return wrap(y)
    chances = check_float("input", input).detach()
    if not arrays.on_host((le(0, chances) & le(chances, 1))._array).all():
        raise ArgumentError("input: expected chances in [0, 1]")
    philox.uniform(y, 0.0, 1.0, generator)
    return wrap(cast(lt(wrap(y), chances)._array, input.dtype))


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn with chances in proportion to given weights.

    Args:
        input: [N] or [B, N], weights of at least 0, not all of them 0.
        num_samples: Draws S a row.
        replacement: Whether an index may be drawn again.
        generator: The stream; the default one when None.

    Returns:
        [S] or [B, S], int64.

    Raises:
        ShapeError: The input has neither one nor two dimensions.
        DTypeError: The input is not floating point.
        ArgumentError: A weight is negative, infinite or NaN, a row has none above 0, or, without replacement, fewer
            than S.

    Gradient:
        None.

    Example:
        >>> nbdl.multinomial(nbdl.tensor([0.0, 1.0, 0.0]), 1)
        tensor([1])
    """
    check_rank("input", check_float("input", input), 1, 2)
    count = check_int("num_samples", num_samples, 1)
    weights = wrap(arrays.contiguous(widened(input._array)))
    if not arrays.on_host((isfinite(weights) & le(0, weights))._array).all():
        raise ArgumentError("input: expected finite weights of at least 0")
    rows = weights._array.reshape(-1, weights.shape[-1])
    positive = arrays.on_host(lt(0, wrap(rows))._array).sum(axis=1)
    needed = 1 if replacement else count
    if positive.size and int(positive.min()) < needed:
        raise ArgumentError(f"input: expected at least {needed} weights above 0 in each row, got {int(positive.min())}")
    if replacement:
        u = arrays.empty_beside(rows, (rows.shape[0], count))
        y = arrays.empty_beside(rows, u.shape, INT64)
        philox.uniform(u, 0.0, 1.0, generator)
        draw(rows, u, y)
    else:
        u = arrays.empty_beside(rows, rows.shape)
        philox.uniform(u, 0.0, 1.0, generator)
        times = div(neg(log(add(neg(wrap(u)), 1))), wrap(rows))._array  # 1 - u is never 0
        order = np.argsort(arrays.on_host(times), axis=1, kind="stable")
        y = arrays.sent_beside(rows, order[:, :count].astype(np.int64))
    return wrap(y.reshape((*input.shape[:-1], count)))


# ---------------------------------------------------------------- in place


def _refill(input: Tensor, fill: Any, *arguments: Any) -> Tensor:
    """New elements for the tensor, drawn by `fill`. The result depends on nothing, so its gradient is none."""
    y = arrays.empty_beside(input._array, input.shape, kernel_dtype(input.dtype))
    fill(y, *arguments)
    return overwrite(input, lambda _: wrap(cast(y, input.dtype)))


def uniform_(input: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fills the tensor with numbers uniformly distributed in [from_, to)."""
    return _refill(check_float("input", input), philox.uniform, from_, to, generator)


def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fills the tensor with normal numbers of a mean and a standard deviation."""
    return _refill(check_float("input", input), philox.normal, mean, std, generator)


def bernoulli_(input: Tensor, p: Tensor | float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fills the tensor with ones, each with the chance p, and zeros."""
    if isinstance(p, Tensor):
        tosses = bernoulli(p, generator=generator)
        return overwrite(input, lambda _: wrap(cast(tosses._array, input.dtype)))
    return _refill(input, philox.bernoulli, p, generator)


def exponential_(input: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fills the tensor with exponentially distributed numbers of mean 1 / lambd."""
    check_number("lambd", lambd, 0, open_low=True)
    dtype = kernel_dtype(check_float("input", input).dtype)
    u = rand(size=input.shape, dtype=dtype, device=device_of(input), generator=generator)
    return overwrite(input, lambda _: to_dtype(div(log(add(neg(u), 1)), -lambd), input.dtype))


def random_(input: Tensor, from_: int = 0, to: int | None = None, *, generator: Generator | None = None) -> Tensor:
    """Fills the tensor with integers of [from_, to), or of all that its dtype holds exactly."""
    if to is None:
        dtype = input.dtype
        to = 2 ** (np.finfo(dtype).nmant + 1) if dtype.kind == "f" else 2 if dtype.kind == "b" else np.iinfo(dtype).max
    y = randint(from_, int(to), input.shape, dtype=input.dtype, device=device_of(input), generator=generator)
    return overwrite(input, lambda _: y)
