r"""Averages of weights: a second set of weights that follows the trained one slowly.

With $n$ averages taken before and the weights $\theta$ of now:

$$
\bar\theta \leftarrow \bar\theta + w\,(\theta - \bar\theta), \qquad
w = \begin{cases} 1 - \beta & \text{exponential moving average} \\ 1 / (n + 1) & \text{equal average} \end{cases}
$$

A network that is trained against another never comes to rest; the average of its last weights is nearer to the middle
of its orbit than any of them. For $w \ge \tfrac12$ the sum is taken from the other end, $\theta - (1 - w)(\theta -
\bar\theta)$, so that $w = 1$ copies without an error of rounding.

Sources: Polyak and Juditsky (1992), "Acceleration of stochastic approximation by averaging"; Yazıcı et al. (2019), "The
unusual effectiveness of averaging in GAN training"; Izmailov et al. (2018), "Averaging weights leads to wider optima
and better generalization".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.optim.table import chunk_kernel, cut_chunks
from nbdl.runtime import arrays, memory, placement
from nbdl.runtime.addresses import address_of, array_at
from nbdl.runtime.checks import check_float, check_number
from nbdl.runtime.errors import ArgumentError, DeviceError, DTypeError, ShapeError
from nbdl.runtime.jit import BLOCK, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- reference


def average_reference(average, value, weight):
    """One update in float64: returns the new average."""
    if weight < 0.5:
        return average + weight * (value - average)
    return value - (1 - weight) * (value - average)


# ---------------------------------------------------------------- kernels


@cpu_kernel
def _average_cpu(like, addresses, chunks, weight, start, stop):
    """Addresses [P, 2]: average and value of parameter p. One task a chunk of one parameter."""
    for task in range(start, stop):
        p, n = chunks[task, 0], chunks[task, 2]
        skipped = chunks[task, 1] * like.itemsize
        average = array_at(addresses[p, 0] + skipped, n, like)
        value = array_at(addresses[p, 1] + skipped, n, like)
        near, far = like.dtype.type(weight), like.dtype.type(1.0 - weight)
        if weight < 0.5:
            for i in range(n):
                average[i] += near * (value[i] - average[i])
        else:
            for i in range(n):
                average[i] = value[i] - far * (value[i] - average[i])


@cuda_kernel
def _average_cuda(like, addresses, chunks, weight):
    """As the CPU twin. One block a chunk."""
    task = cuda.blockIdx.x
    p, n = chunks[task, 0], chunks[task, 2]
    skipped = chunks[task, 1] * like.itemsize
    average = array_at(addresses[p, 0] + skipped, n, like)
    value = array_at(addresses[p, 1] + skipped, n, like)
    near = like.dtype.type(weight)
    far = like.dtype.type(1) - near
    if near < like.dtype.type(0.5):
        for i in range(cuda.threadIdx.x, n, BLOCK):
            average[i] += near * (value[i] - average[i])
    else:
        for i in range(cuda.threadIdx.x, n, BLOCK):
            average[i] = value[i] - far * (value[i] - average[i])


average_step = chunk_kernel(_average_cpu, _average_cuda)

# ---------------------------------------------------------------- public


def average_(averages: Sequence[Tensor], values: Sequence[Tensor], weight: float) -> None:
    r"""Moves every average a part of the way to its value, in place and in one launch for each dtype.

    $\bar\theta \leftarrow \bar\theta + w\,(\theta - \bar\theta)$

    Args:
        averages: Tensors [*], float32 or float64, in contiguous memory.
        values: As many tensors of the same shapes and dtypes.
        weight: w, the part of the way, from 0 to 1.

    Raises:
        ArgumentError: The lists differ in length, an average is not contiguous, or the weight is outside its range.
        ShapeError, DTypeError: An average and its value differ.

    Gradient:
        None; nothing is recorded.

    Example:
        >>> average = nbdl.tensor([0.0, 4.0])
        >>> nbdl.optim.average_([average], [nbdl.tensor([4.0, 4.0])], 0.25)
        >>> average
        tensor([1., 4.])

    Source:
        Yazıcı et al. (2019), "The unusual effectiveness of averaging in GAN training".
    """
    check_number("weight", weight, 0, 1)
    if len(averages) != len(values):
        raise ArgumentError(f"values: expected {len(averages)} tensors, as many as averages, got {len(values)}")
    alike: dict[Any, list[tuple[Any, Any]]] = {}
    for number, (average, value) in enumerate(zip(averages, values, strict=True)):
        check_float(f"averages[{number}]", average)
        if value.shape != average.shape:
            raise ShapeError(f"values[{number}]: expected shape {list(average.shape)}, got {list(value.shape)}")
        if value.dtype != average.dtype:
            raise DTypeError(f"values[{number}]: expected {average.dtype}, got {value.dtype}")
        if not average._array.flags.c_contiguous:
            raise ArgumentError(f"averages[{number}]: expected contiguous memory, got a view with gaps")
        if average.numel():
            kind = placement.kind_of(average._array)
            if placement.kind_of(value._array) != kind:
                raise DeviceError(f"values[{number}]: it does not lie on its average's device")
            alike.setdefault((average.dtype, kind), []).append((average._array, arrays.contiguous(value._array)))
    for (dtype, _), pairs in alike.items():
        with placement.beside(pairs[0][0]):
            like = memory.empty((1,), dtype)
        addresses = np.array([[address_of(average), address_of(value)] for average, value in pairs], np.int64)
        chunks = cut_chunks(range(len(pairs)), [average.size for average, _ in pairs])
        average_step(like, addresses, chunks, float(weight))
    for average in averages:
        average._version[0] += 1


AverageFunction = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]
"""Updates averages in place from (averages, values, how many averages were taken before)."""


def get_ema_multi_avg_fn(decay: float = 0.999) -> AverageFunction:
    r"""The update of an exponential moving average, for `nbdl.nn.AveragedModel`.

    $\bar\theta \leftarrow \beta \bar\theta + (1 - \beta)\,\theta$: after an update a value counts $\beta^k$ times what
    it did $k$ updates ago, so about the last $1 / (1 - \beta)$ of them count.

    Args:
        decay: $\beta$, from 0 to 1.

    Raises:
        ArgumentError: The decay is outside its range.

    Example:
        >>> update = nbdl.optim.get_ema_multi_avg_fn(0.5)
        >>> average = nbdl.tensor([0.0])
        >>> update([average], [nbdl.tensor([1.0])], 1)
        >>> average
        tensor([0.5000])
    """
    check_number("decay", decay, 0, 1)

    def ema_update(averages: Sequence[Tensor], values: Sequence[Tensor], _: Any) -> None:
        average_(averages, values, 1 - decay)

    return ema_update


def get_swa_multi_avg_fn() -> AverageFunction:
    r"""The update of an equal average of all weights seen, for `nbdl.nn.AveragedModel`.

    $\bar\theta \leftarrow \bar\theta + (\theta - \bar\theta) / (n + 1)$

    Example:
        >>> update = nbdl.optim.get_swa_multi_avg_fn()
        >>> average = nbdl.tensor([0.0])
        >>> update([average], [nbdl.tensor([3.0])], 2)
        >>> average
        tensor([1.])
    """

    def swa_update(averages: Sequence[Tensor], values: Sequence[Tensor], num_averaged: Any) -> None:
        average_(averages, values, 1 / (int(num_averaged) + 1))

    return swa_update
