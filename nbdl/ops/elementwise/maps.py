"""Maps: one scalar function, the kernels that apply it to every element.

    Map1(f)(x)            y[i] = f(x[i])
    Map2(f)(a, b)         y[i] = f(a[i], b[i]), shapes broadcast to each other
    MapN(f)(a, b, c)      y[i] = f(a[i], b[i], c[i]), likewise

Each takes Python or NumPy numbers behind the arrays, `Map1(f)(x, 2.0)` is y[i] = f(x[i], 2.0), MapN as a tuple
`numbers`: a number costs no array. The kernels of one map differ in what they iterate over, not in what they compute,
and each is compiled when it is first needed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdl.ops.elementwise.layout import Plan, aligned, broadcast_plan, flat_view, in_order, over_memory, repeated
from nbdl.runtime import arrays, looking
from nbdl.runtime.cuda.vectors import is_aligned, load4, store4
from nbdl.runtime.jit import BLOCK, Kernel, cpu_map, cuda, cuda_kernel


class Place:
    """Where results go while an operation in place runs.

    Attributes:
        array: Outside the graph: a map writes over its first operand, if it is this array.
        recorded: Inside it: an Op that has kept what its chain rule needs writes over its operand, if it is this one.
    """

    array: Any = None
    recorded: Any = None


def _pair(stem: str, cpu: Any, cuda_twin: Any, result: int) -> Kernel:
    """The kernel of two twins whose task is an element of argument number `result`."""
    cpu.__name__, cuda_twin.__name__ = f"_{stem}_cpu", f"_{stem}_cuda"
    return Kernel(
        cpu=cpu_map(cpu),
        cuda=cuda_kernel(cuda_twin),
        tasks=lambda *arguments: arguments[result].size,
        blocks=lambda *arguments: max(1, -(-arguments[result].size // (4 * BLOCK))),
    )


def _stem(function: Any) -> str:
    return function.py_func.__name__.strip("_")


# ---------------------------------------------------------------- one array


def _map1_kernel(function: Any) -> Kernel:
    def map1_cpu(x, y, start, stop):
        """x, y [N]. One task an element."""
        for i in range(start, stop):
            y[i] = function(x[i])

    def map1_cuda(x, y):
        """As the CPU twin. One thread four elements."""
        i = (cuda.blockIdx.x * BLOCK + cuda.threadIdx.x) * 4
        if i + 4 <= y.size and is_aligned(x) and is_aligned(y):
            p0, p1, p2, p3 = load4(x, i)
            t0 = function(p0)
            t1 = function(p1)
            t2 = function(p2)
            t3 = function(p3)
            store4(y, i, t0, t1, t2, t3)
        else:
            for j in range(i, min(i + 4, y.size)):
                y[j] = function(x[j])

    return _pair(_stem(function), map1_cpu, map1_cuda, result=1)


def _map1_numbers_kernel(function: Any) -> Kernel:
    def map1_numbers_cpu(x, y, numbers, start, stop):
        """x, y [N]; a tuple of numbers. One task an element."""
        for i in range(start, stop):
            y[i] = function(x[i], *numbers)

    def map1_numbers_cuda(x, y, numbers):
        """As the CPU twin. One thread four elements."""
        i = (cuda.blockIdx.x * BLOCK + cuda.threadIdx.x) * 4
        if i + 4 <= y.size and is_aligned(x) and is_aligned(y):
            p0, p1, p2, p3 = load4(x, i)
            t0 = function(p0, *numbers)
            t1 = function(p1, *numbers)
            t2 = function(p2, *numbers)
            t3 = function(p3, *numbers)
            store4(y, i, t0, t1, t2, t3)
        else:
            for j in range(i, min(i + 4, y.size)):
                y[j] = function(x[j], *numbers)

    return _pair(f"{_stem(function)}_number", map1_numbers_cpu, map1_numbers_cuda, result=1)


class Map1:
    """y[i] = function(x[i]), with the shape and memory order of x."""

    def __init__(self, function: Any) -> None:
        self._function = function

    @functools.cached_property
    def plain(self) -> Kernel:
        return _map1_kernel(self._function)

    @functools.cached_property
    def numbered(self) -> Kernel:
        return _map1_numbers_kernel(self._function)

    def __call__(self, x: Any, *numbers: Any, dtype: Any = None) -> Any:
        if x is Place.array and dtype is None:
            return self.over(x, *numbers)
        if not x.flags.c_contiguous:
            return over_memory(x, lambda flat: self(flat, *numbers, dtype=dtype))
        y = arrays.empty_beside(x, x.shape, dtype)
        if numbers:
            self.numbered(x.ravel(), y.ravel(), numbers)
        else:
            self.plain(x.ravel(), y.ravel())
        return y

    def over(self, x: Any, *numbers: Any) -> Any:
        """Writes the results into x, whose elements lie without gaps. Returns x."""
        flat = flat_view(x)
        if numbers:
            self.numbered(flat, flat, numbers)
        else:
            self.plain(flat, flat)
        return x


# ---------------------------------------------------------------- two arrays


def _map2_kernel(function: Any) -> Kernel:
    def map2_cpu(a, b, y, start, stop):
        """a, b, y [N]. One task an element."""
        for i in range(start, stop):
            y[i] = function(a[i], b[i])

    def map2_cuda(a, b, y):
        """As the CPU twin. One thread four elements."""
        i = (cuda.blockIdx.x * BLOCK + cuda.threadIdx.x) * 4
        if i + 4 <= y.size and is_aligned(a) and is_aligned(b) and is_aligned(y):
            p0, p1, p2, p3 = load4(a, i)
            q0, q1, q2, q3 = load4(b, i)
            t0 = function(p0, q0)
            t1 = function(p1, q1)
            t2 = function(p2, q2)
            t3 = function(p3, q3)
            store4(y, i, t0, t1, t2, t3)
        else:
            for j in range(i, min(i + 4, y.size)):
                y[j] = function(a[j], b[j])

    return _pair(_stem(function), map2_cpu, map2_cuda, result=2)


def _map2_numbers_kernel(function: Any) -> Kernel:
    def map2_numbers_cpu(a, b, y, numbers, start, stop):
        """a, b, y [N]; a tuple of numbers. One task an element."""
        for i in range(start, stop):
            y[i] = function(a[i], b[i], *numbers)

    def map2_numbers_cuda(a, b, y, numbers):
        """As the CPU twin. One thread four elements."""
        i = (cuda.blockIdx.x * BLOCK + cuda.threadIdx.x) * 4
        if i + 4 <= y.size and is_aligned(a) and is_aligned(b) and is_aligned(y):
            p0, p1, p2, p3 = load4(a, i)
            q0, q1, q2, q3 = load4(b, i)
            t0 = function(p0, q0, *numbers)
            t1 = function(p1, q1, *numbers)
            t2 = function(p2, q2, *numbers)
            t3 = function(p3, q3, *numbers)
            store4(y, i, t0, t1, t2, t3)
        else:
            for j in range(i, min(i + 4, y.size)):
                y[j] = function(a[j], b[j], *numbers)

    return _pair(f"{_stem(function)}_number", map2_numbers_cpu, map2_numbers_cuda, result=2)


def _broadcast_kernel(function: Any) -> Kernel:
    def broadcast_cpu(a, b, y, sizes, a_steps, b_steps, start, stop):
        """a, b [*]; y [N0 * N1 * N2 * N3], sizes its four sizes; steps in elements. One task a row of N3 elements.

        The last step of an operand is 1, or 0 where one element serves the whole row.
        """
        _, n1, n2, n3 = sizes
        length = np.uint64(n3)  # unsigned indices need no check for counting from the end, and so make vectors
        for row in range(start, stop):
            i, j, k = row // (n1 * n2), row // n2 % n1, row % n2
            from_a = np.uint64(i * a_steps[0] + j * a_steps[1] + k * a_steps[2])
            from_b = np.uint64(i * b_steps[0] + j * b_steps[1] + k * b_steps[2])
            to = np.uint64(row) * length
            if b_steps[3] == 0:
                right = b[from_b]
                for last in range(length):
                    y[to + last] = function(a[from_a + last], right)
            elif a_steps[3] == 0:
                left = a[from_a]
                for last in range(length):
                    y[to + last] = function(left, b[from_b + last])
            else:
                for last in range(length):
                    y[to + last] = function(a[from_a + last], b[from_b + last])

    def broadcast_cuda(a, b, y, sizes, a_steps, b_steps):
        """As the CPU twin. One thread an element."""
        _, n1, n2, n3 = sizes
        index = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
        if index < y.size:
            row, last = index // n3, index % n3
            i, j, k = row // (n1 * n2), row // n2 % n1, row % n2
            from_a = i * a_steps[0] + j * a_steps[1] + k * a_steps[2] + last * a_steps[3]
            from_b = i * b_steps[0] + j * b_steps[1] + k * b_steps[2] + last * b_steps[3]
            y[index] = function(a[from_a], b[from_b])

    stem = f"{_stem(function)}_broadcast"
    broadcast_cpu.__name__, broadcast_cuda.__name__ = f"_{stem}_cpu", f"_{stem}_cuda"
    return Kernel(
        cpu=cpu_map(broadcast_cpu),
        cuda=cuda_kernel(broadcast_cuda),
        tasks=lambda a, b, y, sizes, *_: sizes[0] * sizes[1] * sizes[2],
        work=lambda a, b, y, *_: y.size,
        blocks=lambda a, b, y, *_: max(1, -(-y.size // BLOCK)),
    )


class Map2:
    """y[i] = function(a[i], b[i]), shapes broadcast to each other.

    Args:
        function: The scalar function.
        broadcasts: Whether broadcasting has a kernel of its own. Without it the smaller operand is repeated in memory
            first: one more pass, and one kernel less to compile.
    """

    def __init__(self, function: Any, broadcasts: bool = False) -> None:
        self._function = function
        self._broadcasts = broadcasts

    @functools.cached_property
    def plain(self) -> Kernel:
        return _map2_kernel(self._function)

    @functools.cached_property
    def numbered(self) -> Kernel:
        return _map2_numbers_kernel(self._function)

    @functools.cached_property
    def broadcast(self) -> Kernel:
        return _broadcast_kernel(self._function)

    @functools.cached_property
    def one_array(self) -> Map1:
        """The map in which b is a number."""
        return Map1(self._function)

    def __call__(self, a: Any, b: Any, *numbers: Any, dtype: Any = None) -> Any:
        if isinstance(b, np.generic):
            return self.one_array(a, b, *numbers, dtype=dtype)
        if a.shape == b.shape and a.flags.c_contiguous and b.flags.c_contiguous:
            y = _result((a,), a.shape, dtype)
            if numbers:
                self.numbered(a.ravel(), b.ravel(), y.ravel(), numbers)
            else:
                self.plain(a.ravel(), b.ravel(), y.ravel())
            return y
        if b.size == 1 and b.ndim <= a.ndim and type(b) is np.ndarray:
            return self.one_array(a, looking.number(b), *numbers, dtype=dtype)
        plan = None if numbers else self._plan(a, b)
        if plan is not None and a.flags.c_contiguous and b.flags.c_contiguous:
            y = _result((a,), plan.shape, dtype)
            self.broadcast(a.ravel(), b.ravel(), y.ravel(), plan.sizes, *plan.steps)
            return y
        (a, b), shape, back = aligned(a, b)
        plan = None if numbers else self._plan(a, b)
        if plan is None or plan.shape != shape:
            a, b = repeated(a, shape), repeated(b, shape)
        return in_order(self(a, b, *numbers, dtype=dtype), back)

    def _plan(self, a: Any, b: Any) -> Plan | None:
        return broadcast_plan(a.shape, b.shape) if self._broadcasts else None


def _result(operands: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> Any:
    """Memory for a result of the last operand's dtype: that of the first, C-contiguous, if it is to be written over."""
    first = operands[0]
    if first is Place.array and first.shape == shape and dtype is None:
        return first
    return arrays.empty_beside(operands[-1], shape, dtype)


# ---------------------------------------------------------------- three arrays


def _map3_kernel(function: Any) -> Kernel:
    def map3_cpu(a, b, c, y, start, stop):
        """a, b, c, y [N]. One task an element."""
        for i in range(start, stop):
            y[i] = function(a[i], b[i], c[i])

    def map3_cuda(a, b, c, y):
        """As the CPU twin. One thread four elements."""
        i = (cuda.blockIdx.x * BLOCK + cuda.threadIdx.x) * 4
        if i + 4 <= y.size and is_aligned(a) and is_aligned(b) and is_aligned(c) and is_aligned(y):
            p0, p1, p2, p3 = load4(a, i)
            q0, q1, q2, q3 = load4(b, i)
            r0, r1, r2, r3 = load4(c, i)
            t0 = function(p0, q0, r0)
            t1 = function(p1, q1, r1)
            t2 = function(p2, q2, r2)
            t3 = function(p3, q3, r3)
            store4(y, i, t0, t1, t2, t3)
        else:
            for j in range(i, min(i + 4, y.size)):
                y[j] = function(a[j], b[j], c[j])

    return _pair(_stem(function), map3_cpu, map3_cuda, result=3)


def _map3_numbers_kernel(function: Any) -> Kernel:
    def map3_numbers_cpu(a, b, c, y, numbers, start, stop):
        """a, b, c, y [N]; a tuple of numbers. One task an element."""
        for i in range(start, stop):
            y[i] = function(a[i], b[i], c[i], *numbers)

    def map3_numbers_cuda(a, b, c, y, numbers):
        """As the CPU twin. One thread four elements."""
        i = (cuda.blockIdx.x * BLOCK + cuda.threadIdx.x) * 4
        if i + 4 <= y.size and is_aligned(a) and is_aligned(b) and is_aligned(c) and is_aligned(y):
            p0, p1, p2, p3 = load4(a, i)
            q0, q1, q2, q3 = load4(b, i)
            r0, r1, r2, r3 = load4(c, i)
            t0 = function(p0, q0, r0, *numbers)
            t1 = function(p1, q1, r1, *numbers)
            t2 = function(p2, q2, r2, *numbers)
            t3 = function(p3, q3, r3, *numbers)
            store4(y, i, t0, t1, t2, t3)
        else:
            for j in range(i, min(i + 4, y.size)):
                y[j] = function(a[j], b[j], c[j], *numbers)

    return _pair(f"{_stem(function)}_number", map3_numbers_cpu, map3_numbers_cuda, result=3)


def _map4_kernel(function: Any) -> Kernel:
    def map4_cpu(a, b, c, d, y, start, stop):
        """a, b, c, d, y [N]. One task an element."""
        for i in range(start, stop):
            y[i] = function(a[i], b[i], c[i], d[i])

    def map4_cuda(a, b, c, d, y):
        """As the CPU twin. One thread four elements."""
        i = (cuda.blockIdx.x * BLOCK + cuda.threadIdx.x) * 4
        if i + 4 <= y.size and is_aligned(a) and is_aligned(b) and is_aligned(c) and is_aligned(d) and is_aligned(y):
            p0, p1, p2, p3 = load4(a, i)
            q0, q1, q2, q3 = load4(b, i)
            r0, r1, r2, r3 = load4(c, i)
            s0, s1, s2, s3 = load4(d, i)
            t0 = function(p0, q0, r0, s0)
            t1 = function(p1, q1, r1, s1)
            t2 = function(p2, q2, r2, s2)
            t3 = function(p3, q3, r3, s3)
            store4(y, i, t0, t1, t2, t3)
        else:
            for j in range(i, min(i + 4, y.size)):
                y[j] = function(a[j], b[j], c[j], d[j])

    return _pair(_stem(function), map4_cpu, map4_cuda, result=4)


class MapN:
    """y[i] = function(a[i], b[i], c[i], ...), three or four arrays whose shapes broadcast to each other.

    Behind three there may be numbers.
    """

    def __init__(self, function: Any) -> None:
        self._function = function

    @functools.cached_property
    def three(self) -> Kernel:
        return _map3_kernel(self._function)

    @functools.cached_property
    def numbered(self) -> Kernel:
        return _map3_numbers_kernel(self._function)

    @functools.cached_property
    def four(self) -> Kernel:
        return _map4_kernel(self._function)

    def __call__(self, *operands: Any, numbers: tuple[Any, ...] = (), dtype: Any = None) -> Any:
        parts, shape, back = aligned(*operands)
        y = _result(parts, shape, dtype)
        flat = [(x if x.shape == shape else repeated(x, shape)).ravel() for x in parts]
        if numbers:
            self.numbered(*flat, y.ravel(), numbers)
        else:
            (self.three if len(flat) == 3 else self.four)(*flat, y.ravel())
        return in_order(y, back)
