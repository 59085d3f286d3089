"""Numbers along a line: equal steps, and powers of equal steps. The references are NumPy's functions of these names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.creation.data import finished
from nbdl.ops.elementwise.casting import cast
from nbdl.ops.elementwise.power import pow
from nbdl.runtime import memory
from nbdl.runtime.checks import check_int, check_number
from nbdl.runtime.dtypes import INT64, as_dtype, get_default_dtype, promote_types
from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- kernel


@cpu_kernel
def _line_cpu(y, first, step, last, middle, start, stop):
    """y [N] = first + i step up to `middle`, from there counted back from `last`. One task an element."""
    n = y.shape[0]
    for i in range(start, stop):
        ahead = first + y.dtype.type(i) * step
        back = last - y.dtype.type(n - 1 - i) * step
        y[i] = ahead if i < middle else back


@cuda_kernel
def _line_cuda(y, first, step, last, middle):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    n = y.shape[0]
    if i < n:
        ahead = first + y.dtype.type(i) * step
        back = last - y.dtype.type(n - 1 - i) * step
        y[i] = ahead if i < middle else back


line = Kernel(
    cpu=_line_cpu,
    cuda=_line_cuda,
    tasks=lambda y, *_: y.shape[0],
    blocks=lambda y, *_: max(1, -(-y.shape[0] // BLOCK)),
)

# ---------------------------------------------------------------- public


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    r"""The numbers start, start + step, start + 2 step, ... before end; `arange(end)` begins at 0.

    Args:
        start: The first number.
        end: Where the numbers stop; it is not among them.
        step: The difference of neighbours; not 0.
        dtype: The dtype; when None int64 if all three are integers, else the default dtype.
        device: Where the tensor lives.
        requires_grad: Whether operations on the tensor are recorded.

    Returns:
        [N], $N = \lceil (\mathrm{end} - \mathrm{start}) / \mathrm{step} \rceil$.

    Raises:
        ArgumentError: step is 0, or leads away from end.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.arange(1, 2, 0.25)
        tensor([1.0000, 1.2500, 1.5000, 1.7500])
    """
    if end is None:
        start, end = 0, start
    numbers = tuple(
        check_number(name, value.item() if isinstance(value, (Tensor, np.generic)) else value)
        for name, value in (("start", start), ("end", end), ("step", step))
    )
    start, end, step = numbers
    if step == 0 or (end - start) * step < 0:
        raise ArgumentError(f"step: expected a step from {start} towards {end}, got {step}")
    whole = all(isinstance(number, int) for number in numbers)
    wanted = (INT64 if whole else get_default_dtype()) if dtype is None else as_dtype(dtype)
    count = -(-(end - start) // step) if whole else math.ceil((end - start) / step)
    computing = INT64 if whole and wanted.kind != "f" else promote_types(wanted, get_default_dtype())
    y = memory.empty((int(count),), computing)
    line(y, computing.type(start), computing.type(step), computing.type(start), count)
    return finished(cast(y, wanted), device, requires_grad)


def linspace(
    start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A number of equally spaced numbers from start to end, both included.

    Args:
        start: The first number.
        end: The last number.
        steps: How many.
        dtype: The dtype; the default dtype when None.
        device: Where the tensor lives.
        requires_grad: Whether operations on the tensor are recorded.

    Returns:
        [steps].

    Raises:
        ArgumentError: steps is negative.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.linspace(0, 1, 5)
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    count = check_int("steps", steps, 0)
    first, last = float(check_number("start", start)), float(check_number("end", end))
    wanted = get_default_dtype() if dtype is None else as_dtype(dtype)
    computing = wanted if wanted.kind == "f" else np.dtype(np.float64)
    y = memory.empty((count,), computing)
    step = (last - first) / (count - 1) if count > 1 else 0.0
    line(y, computing.type(first), computing.type(step), computing.type(last), max(count // 2, 1))
    return finished(cast(y, wanted), device, requires_grad)


def logspace(
    start: float,
    end: float,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    r"""Powers of a base whose exponents are equally spaced from start to end.

    Args:
        start: The first exponent.
        end: The last exponent.
        steps: How many.
        base: The base.
        dtype: The dtype; the default dtype when None.
        device: Where the tensor lives.
        requires_grad: Whether operations on the tensor are recorded.

    Returns:
        [steps].

    Raises:
        ArgumentError: steps is negative.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.logspace(0, 2, 3)
        tensor([  1.,  10., 100.])
    """
    wanted = get_default_dtype() if dtype is None else as_dtype(dtype)
    exponents = linspace(start, end, steps, dtype=np.float64)
    powers = pow(float(check_number("base", base)), exponents)
    return finished(cast(powers._array, wanted), device, requires_grad)
