r"""Clipping: gradients made smaller, all of them together or element by element.

With the norm of all gradients as one vector, $n = \big( \sum_i |g_i|^p \big)^{1/p}$ (the largest $|g_i|$ for
$p = \infty$):

$$g \leftarrow g \min\Big(1, \frac{c}{n + 10^{-6}}\Big), \qquad\text{or}\qquad g_i \leftarrow \min(\max(g_i, -c), c).$$

Source: Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural networks", algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from nbdl.autograd import Tensor, wrap
from nbdl.optim.table import chunk_kernel, cut_chunks
from nbdl.runtime import arrays, looking, memory, placement
from nbdl.runtime.addresses import address_of, array_at
from nbdl.runtime.checks import check_number
from nbdl.runtime.cuda.primitives import block_max, block_sum, larger
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DeviceError, NumericalError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- reference


def clip_grad_norm_reference(gradients, max_norm, norm_type=2.0):
    """The clipped gradients and the norm before, in float64."""
    norm = np.linalg.norm(np.concatenate([g.ravel() for g in gradients]), norm_type)
    factor = min(1.0, max_norm / (norm + 1e-6))
    return [g * factor for g in gradients], norm


# ---------------------------------------------------------------- norm


@cpu_kernel
def _powers_cpu(like, addresses, chunks, order, partial, start, stop):
    """partial [C]: of each chunk the sum of |g|^order, or the largest |g| for order infinity. One task a chunk."""
    for task in range(start, stop):
        n = chunks[task, 2]
        g = array_at(addresses[chunks[task, 0], 0] + chunks[task, 1] * like.itemsize, n, like)
        total = like.dtype.type(0)
        if order == 2.0:
            for i in range(n):
                total += g[i] * g[i]
        elif order == math.inf:
            for i in range(n):
                size = abs(g[i])
                if size > total or size != size:  # a NaN stays
                    total = size
        else:
            for i in range(n):
                total += abs(g[i]) ** like.dtype.type(order)
        partial[task] = total


@cuda_kernel
def _powers_cuda(like, addresses, chunks, order, partial):
    """As the CPU twin. One block a chunk."""
    task = cuda.blockIdx.x
    n = chunks[task, 2]
    g = array_at(addresses[chunks[task, 0], 0] + chunks[task, 1] * like.itemsize, n, like)
    total = like.dtype.type(0)
    for i in range(cuda.threadIdx.x, n, BLOCK):
        if order == 2.0:
            total += g[i] * g[i]
        elif order == math.inf:
            total = larger(total, abs(g[i]))
        else:
            total += abs(g[i]) ** like.dtype.type(order)
    total = block_max(total) if order == math.inf else block_sum(total)
    if cuda.threadIdx.x == 0:
        partial[task] = total


powers = Kernel(
    cpu=_powers_cpu,
    cuda=_powers_cuda,
    tasks=lambda like, addresses, chunks, *_: chunks.shape[0],
    work=lambda like, addresses, chunks, *_: 2 * int(chunks[-1, 3]),
)


@cpu_kernel
def _root_cpu(partial, order, norm, start, stop):
    """partial [C], norm [1]: the order-th root of the sum, in the order of the chunks, or their largest. One task."""
    for _ in range(start, stop):
        total = 0.0
        for chunk in range(partial.shape[0]):
            value = float(partial[chunk])
            if order != math.inf:
                total += value
            elif value > total or value != value:
                total = value
        if order == 2.0:
            norm[0] = math.sqrt(total)
        elif order == math.inf:
            norm[0] = total
        else:
            norm[0] = total ** (1.0 / order)


@cuda_kernel
def _root_cuda(partial, order, norm):
    """As the CPU twin. One thread."""
    if cuda.threadIdx.x == 0:
        total = partial.dtype.type(0)
        for chunk in range(partial.shape[0]):
            value = partial[chunk]
            if order != math.inf:
                total += value
            elif value > total or value != value:
                total = value
        if order == 2.0:
            norm[0] = math.sqrt(total)
        elif order == math.inf:
            norm[0] = total
        else:
            norm[0] = total ** partial.dtype.type(1.0 / order)


root = Kernel(cpu=_root_cpu, cuda=_root_cuda, tasks=lambda *_: 1)

# ---------------------------------------------------------------- scale and clamp


@cpu_kernel
def _scale_cpu(like, addresses, chunks, norm, max_norm, start, stop):
    """Multiplies every gradient by min(1, max_norm / (norm [1] + 1e-6)). One task a chunk."""
    factor = max_norm / (norm[0] + 1e-6)
    for task in range(start, stop):
        n = chunks[task, 2]
        g = array_at(addresses[chunks[task, 0], 0] + chunks[task, 1] * like.itemsize, n, like)
        scale = like.dtype.type(1.0 if factor > 1.0 else factor)  # a NaN passes on
        for i in range(n):
            g[i] *= scale


@cuda_kernel
def _scale_cuda(like, addresses, chunks, norm, max_norm):
    """As the CPU twin. One block a chunk."""
    task = cuda.blockIdx.x
    n = chunks[task, 2]
    g = array_at(addresses[chunks[task, 0], 0] + chunks[task, 1] * like.itemsize, n, like)
    factor = like.dtype.type(max_norm) / (like.dtype.type(norm[0]) + like.dtype.type(1e-6))
    scale = like.dtype.type(1) if factor > like.dtype.type(1) else factor
    for i in range(cuda.threadIdx.x, n, BLOCK):
        g[i] *= scale


scale = chunk_kernel(_scale_cpu, _scale_cuda)


@cpu_kernel
def _clamp_cpu(like, addresses, chunks, limit, start, stop):
    """Every gradient brought into [-limit, limit]. One task a chunk."""
    for task in range(start, stop):
        n = chunks[task, 2]
        g = array_at(addresses[chunks[task, 0], 0] + chunks[task, 1] * like.itemsize, n, like)
        high = like.dtype.type(limit)
        for i in range(n):
            value = g[i]
            value = high if value > high else value
            g[i] = -high if value < -high else value


@cuda_kernel
def _clamp_cuda(like, addresses, chunks, limit):
    """As the CPU twin. One block a chunk."""
    task = cuda.blockIdx.x
    n = chunks[task, 2]
    g = array_at(addresses[chunks[task, 0], 0] + chunks[task, 1] * like.itemsize, n, like)
    high = like.dtype.type(limit)
    for i in range(cuda.threadIdx.x, n, BLOCK):
        value = g[i]
        value = high if value > high else value
        g[i] = -high if value < -high else value


clamp = chunk_kernel(_clamp_cpu, _clamp_cuda)

# ---------------------------------------------------------------- tables of gradients


class GradientTable:
    """The gradients of one dtype as a table for one launch; those that are not contiguous as copies."""

    def __init__(self, gradients: list[Tensor]) -> None:
        self._gradients = gradients
        self._copies = [arrays.contiguous(gradient._array) for gradient in gradients]
        self.kind = placement.kind_of(gradients[0]._array)
        with placement.at(self.kind):
            self.like = memory.empty((1,), gradients[0].dtype)
        self.addresses = np.array([[address_of(copy)] for copy in self._copies], np.int64)
        self.chunks = cut_chunks(range(len(gradients)), [gradient.numel() for gradient in gradients])

    def finish(self) -> None:
        """Writes changed copies back and tells the gradients."""
        for gradient, copy in zip(self._gradients, self._copies, strict=True):
            if copy is not gradient._array:
                arrays.copy_into(gradient._array, copy)
            gradient._version[0] += 1


def gradient_tables(parameters: Tensor | Iterable[Tensor]) -> list[GradientTable]:
    """The gradients of the parameters that have one, by dtype and device."""
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    alike: dict[Any, list[Tensor]] = {}
    for position, parameter in enumerate(listed):
        if not isinstance(parameter, Tensor):
            raise ArgumentTypeError(f"parameters[{position}]: expected a Tensor, got {type(parameter).__name__}")
        gradient = parameter.grad
        if gradient is not None and gradient.numel():
            alike.setdefault((gradient.dtype, placement.kind_of(gradient._array)), []).append(gradient)
    return [GradientTable(gradients) for gradients in alike.values()]


# ---------------------------------------------------------------- public


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    r"""Scales the gradients down, in place, so that the norm of all of them together is at most max_norm.

    $g \leftarrow g \min(1, \text{max\_norm} / (\lVert g \rVert_p + 10^{-6}))$

    Args:
        parameters: The parameters; those without a gradient are left out.
        max_norm: The largest norm; infinity to compute the norm and change nothing.
        norm_type: p, above 0; infinity for the largest element.
        error_if_nonfinite: Raise when the norm is NaN or infinite.
        foreach: Accepted, without effect.

    Returns:
        [] the norm before clipping.

    Raises:
        ArgumentError: norm_type is not above 0, or max_norm is negative or NaN.
        NumericalError: The norm is not finite and error_if_nonfinite is set; the gradients are as they were.

    Example:
        >>> x = nbdl.tensor([0.0, 0.0], requires_grad=True)
        >>> x.grad = nbdl.tensor([3.0, 4.0])
        >>> nbdl.optim.clip_grad_norm_([x], 1.0)
        tensor(5.)

    Source:
        Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural networks", algorithm 1.
    """
    try:
        order = float(norm_type)
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"norm_type: expected a number, got {norm_type!r}") from None
    if not order > 0:
        raise ArgumentError(f"norm_type: expected a number above 0 or infinity, got {norm_type!r}")
    if max_norm != math.inf:  # which asks for the norm and leaves the gradients alone
        check_number("max_norm", max_norm, 0)
    tables = gradient_tables(parameters)
    dtype = tables[0].like.dtype if tables else np.dtype(np.float32)
    kinds = {table.kind for table in tables}
    if len(kinds) > 1:
        raise DeviceError("parameters: their gradients lie on two devices, and a norm has one: clip them by themselves")
    with placement.at(*kinds or {"cpu"}):
        partial = memory.empty((sum(len(table.chunks) for table in tables),), np.float64)
        norm = memory.empty((1,), np.float64)
    first = 0
    for table in tables:
        powers(table.like, table.addresses, table.chunks, order, partial[first : first + len(table.chunks)])
        first += len(table.chunks)
    root(partial, order, norm)
    if error_if_nonfinite:  # before anything is scaled, so a GPU has to be waited for
        seen = norm if isinstance(norm, np.ndarray) else arrays.on_host(norm)
        looking.look(seen, lambda value: _refuse_nonfinite(value.item(), norm_type))
    for table in tables:
        scale(table.like, table.addresses, table.chunks, norm, float(max_norm))
        table.finish()
    if looking.waits(norm) and dtype != np.float64:
        with placement.at(*kinds or {"cpu"}):
            rounded = memory.empty((1,), dtype)
        root(partial, order, rounded)
        return wrap(rounded.reshape(()))
    return wrap((norm if looking.waits(norm) else norm.astype(dtype)).reshape(()))


def _refuse_nonfinite(norm: float, norm_type: float) -> None:
    if not math.isfinite(norm):
        raise NumericalError(f"the norm of order {norm_type} of the gradients is {norm}; they cannot be clipped")


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    r"""Brings every element of the gradients into [-clip_value, clip_value], in place.

    Args:
        parameters: The parameters; those without a gradient are left out.
        clip_value: The limit, at least 0.
        foreach: Accepted, without effect.

    Raises:
        ArgumentError: clip_value is negative or not finite.

    Example:
        >>> x = nbdl.tensor([0.0, 0.0], requires_grad=True)
        >>> x.grad = nbdl.tensor([3.0, -0.5])
        >>> nbdl.optim.clip_grad_value_([x], 1.0)
        >>> x.grad
        tensor([ 1.0000, -0.5000])
    """
    check_number("clip_value", clip_value, 0)
    for table in gradient_tables(parameters):
        clamp(table.like, table.addresses, table.chunks, float(clip_value))
        table.finish()
