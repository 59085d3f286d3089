"""Programs of linear maps in a row: all kernels of a pass as the steps of one launch, for `nbdl.ops.matmul.perceptron`.

Each step is a line of a table that says which kernel runs on what. Arrays are addresses there: a base, one of the
`places`, and bytes from it. A program depends on shapes alone and is written once for each.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nbdl.ops.activation.rectifiers import LeakyReluOp
from nbdl.ops.activation.smooth import Curve, GeluOp, GeluTanhOp, SiluOp
from nbdl.ops.elementwise.exponential import SigmoidOp
from nbdl.ops.elementwise.trigonometric import TanhOp
from nbdl.ops.matmul.linear import (
    curve_backward_and_sum_kernel,
    leaky_relu_backward_and_sum_kernel,
    relu_backward_and_sum_kernel,
    sum_columns_kernel,
)
from nbdl.runtime import jit, memory
from nbdl.runtime.addresses import addresses_of, array_at
from nbdl.runtime.dtypes import FLOAT32, FLOAT64
from nbdl.runtime.gemm import gemm_kernel, prepare_gemm, register_tile_driver
from nbdl.runtime.gemm.plan import PARALLEL_WORK
from nbdl.runtime.jit import Kernel, Series, cpu_kernel

# ---------------------------------------------------------------- one step

TASKS, GRAIN, THREADS, KIND, A, A_BYTES, B, B_BYTES, C, C_BYTES, D, D_BYTES, N, M, DEPTH, FLOOR, SIZES = range(17)
"""Columns of the program: how the step is shared out, its kind, four arrays, up to three sizes, and a product's own."""

PRODUCT, LEAKY, TANH, SIGMOID, RELU_BACKWARD, LEAKY_BACKWARD, CURVE_BACKWARD, TANH_SLOPE, SIGMOID_SLOPE, SUM = range(10)
"""Kinds of steps."""

NOTHING, WORKSPACE, ROOM, INPUT, RESULT, KEPT, GRADIENT, INPUT_GRADIENT, WEIGHTS = range(9)
"""Bases of the program's addresses. From WEIGHTS on: weight and bias of each layer, the last first; then gradients."""

_product = gemm_kernel.cpu
_leaky_relu = LeakyReluOp.value.numbered.cpu
_tanh, _tanh_slope = TanhOp.value.plain.cpu, TanhOp.slope.plain.cpu
_sigmoid, _sigmoid_slope = SigmoidOp.value.plain.cpu, SigmoidOp.slope.plain.cpu
_relu_backward = relu_backward_and_sum_kernel.cpu
_leaky_relu_backward = leaky_relu_backward_and_sum_kernel.cpu
_curve_backward = curve_backward_and_sum_kernel.cpu
_sum = sum_columns_kernel.cpu


@cpu_kernel
def _step_cpu(like, places, program, numbers, step, start, stop):
    """like: any array of the dtype; places: addresses; numbers [steps]: an activation's. Tasks are the step's own.

    A product C of N elements = A B + D has a workspace of DEPTH elements a task; D has M elements or none.
    LEAKY, TANH and SIGMOID write over the N elements of A. Backward: C = dy from A = dh and B, what forward kept; for
    slopes of N elements, else [N, M] with D [M], the sum of its rows. SUM: D [M] from A [N, M].
    """
    line = program[step]
    kind, n, m = line[KIND], line[N], line[M]
    a, b = places[line[A]] + line[A_BYTES], places[line[B]] + line[B_BYTES]
    c, d = places[line[C]] + line[C_BYTES], places[line[D]] + line[D_BYTES]
    if kind == PRODUCT:
        tasks, depth = line[TASKS], line[DEPTH]
        zero = like.dtype.type(0)
        _product(
            array_at(a, 1, like),
            array_at(b, 1, like),
            array_at(c, n, like),
            array_at(d, m, like),
            array_at(places[WORKSPACE], tasks * depth, like).reshape((tasks, depth)),
            line[SIZES:],
            zero,
            zero if line[FLOOR] else like.dtype.type(-np.inf),
            start,
            stop,
        )
    elif kind == LEAKY:
        _leaky_relu(array_at(a, n, like), array_at(a, n, like), (like.dtype.type(numbers[step]),), start, stop)
    elif kind == TANH:
        _tanh(array_at(a, n, like), array_at(a, n, like), start, stop)
    elif kind == SIGMOID:
        _sigmoid(array_at(a, n, like), array_at(a, n, like), start, stop)
    elif kind == TANH_SLOPE:
        _tanh_slope(array_at(a, n, like), array_at(b, n, like), array_at(c, n, like), start, stop)
    elif kind == SIGMOID_SLOPE:
        _sigmoid_slope(array_at(a, n, like), array_at(b, n, like), array_at(c, n, like), start, stop)
    elif kind == SUM:
        _sum(array_at(a, n * m, like).reshape((n, m)), array_at(d, m, like).reshape((1, m)), start, stop)
    else:
        dh, kept = array_at(a, n * m, like).reshape((n, m)), array_at(b, n * m, like).reshape((n, m))
        dy, total = array_at(c, n * m, like).reshape((n, m)), array_at(d, m, like).reshape((1, m))
        number = like.dtype.type(numbers[step])
        if kind == RELU_BACKWARD:
            _relu_backward(dh, kept, dy, total, number, start, stop)
        elif kind == LEAKY_BACKWARD:
            _leaky_relu_backward(dh, kept, dy, total, number, start, stop)
        else:
            _curve_backward(dh, kept, dy, total, number, start, stop)


_steps = Series(_step_cpu, requires=register_tile_driver)

# ---------------------------------------------------------------- programs


class Activation(NamedTuple):
    """What follows a linear map: "none", "relu", "leaky_relu" with its slope, "gelu", "silu", "tanh", ..."""

    name: str
    number: float = 0.0

    @property
    def curve(self) -> Curve | None:
        """The function of value and slope, for activations whose slopes are kept."""
        return _CURVES.get(self.name)


PLAIN = Activation("none")

_CURVES = {"gelu": GeluOp.curve, "gelu_tanh": GeluTanhOp.curve, "silu": SiluOp.curve}

_OVER = {
    "leaky_relu": (LEAKY, LeakyReluOp.value.numbered),
    "tanh": (TANH, TanhOp.value.plain),
    "sigmoid": (SIGMOID, SigmoidOp.value.plain),
}
"""For activations that are written over the product, by a step of their own: its kind and kernel."""

_SLOPE = {"tanh": (TANH_SLOPE, TanhOp.slope.plain), "sigmoid": (SIGMOID_SLOPE, SigmoidOp.slope.plain)}
"""The backward of an activation without the sum of its rows: the kind of step and the kernel."""

_BACKWARD = {
    "relu": (RELU_BACKWARD, relu_backward_and_sum_kernel),
    "leaky_relu": (LEAKY_BACKWARD, leaky_relu_backward_and_sum_kernel),
    **dict.fromkeys(_CURVES, (CURVE_BACKWARD, curve_backward_and_sum_kernel)),
}
"""The backward of an activation with that sum: the kind of step and the kernel."""


class Shape:
    """All that the programs of a perceptron depend on, and the programs once they are written.

    Attributes:
        rows: N.
        widths: Features of the input, then of each layer's result.
        biases: For each layer, whether it has a bias.
        activations: Of each layer.
        dtype: Of all arrays.
        threads: How many may be used.
    """

    def __init__(
        self, rows: int, widths: tuple[int, ...], biases: tuple[bool, ...], activations: tuple[Activation, ...],
        dtype: np.dtype, threads: int,
    ) -> None:  # fmt: skip
        self.rows, self.widths, self.biases, self.activations = rows, widths, biases, activations
        self.dtype, self.threads = dtype, threads
        self._forward: dict[tuple[bool, ...], Program] = {}
        self._backward: dict[tuple[bool, ...], Program] = {}

    def place(self, l: int) -> int:
        """Where the weight of layer l stands among the parameters, of which the last layer's come first."""
        return 2 * (len(self.activations) - 1 - l)

    def forward(self, wants: tuple[bool, ...]) -> Program:
        """The program of the forward pass.

        Args:
            wants: For weight and bias of each layer, the last first, and for the input, whether a gradient is wanted.
        """
        if wants not in self._forward:
            self._forward[wants] = _forward_program(self, wants)
        return self._forward[wants]

    def backward(self, wants: tuple[bool, ...]) -> Program:
        """The program of the backward pass, for the same `wants`."""
        if wants not in self._backward:
            self._backward[wants] = _backward_program(self, wants)
        return self._backward[wants]


shape_of = functools.lru_cache(maxsize=1024)(Shape)


class Program(NamedTuple):
    """The steps of a pass, their numbers and kernels, and how much memory they want, in elements."""

    steps: Any
    numbers: Any
    kernels: list[Kernel]
    workspace: int
    room: int


_LINE = 16  # elements: what starts a cache line, whatever the dtype


class _Matrix(NamedTuple):
    """Where a matrix lies: its base, and elements from it."""

    base: int
    rows: int
    columns: int
    offset: int = 0
    is_turned: bool = False

    @property
    def turned(self) -> _Matrix:
        """The transposed matrix, on the same memory."""
        return self._replace(is_turned=not self.is_turned)


class _Layout:
    """Where everything lies: for each layer its parameters and their gradients, its result, and what backward needs."""

    def __init__(self, shape: Shape) -> None:
        layers = len(shape.activations)
        self.parameters: list[tuple[_Matrix, _Matrix]] = []
        self.gradients: list[tuple[_Matrix, _Matrix]] = []
        self.results: list[_Matrix] = []
        self.kept: list[_Matrix] = []
        self.room = 0
        for l, (columns, activation) in enumerate(zip(shape.widths[1:], shape.activations, strict=True)):
            result = _Matrix(RESULT if l == layers - 1 else KEPT, shape.rows, columns)
            if l < layers - 1:
                result = result._replace(
                    offset=self.take(shape.rows * columns * (1 if activation.curve is None else 2))
                )
            self.results.append(result)
            slopes = result._replace(offset=result.offset + shape.rows * columns)
            self.kept.append(result if activation.curve is None else slopes)
            self.parameters.append(self._of_layer(WEIGHTS + shape.place(l), columns, shape.widths[l]))
            self.gradients.append(self._of_layer(WEIGHTS + 2 * layers + shape.place(l), columns, shape.widths[l]))

    @staticmethod
    def _of_layer(base: int, outputs: int, inputs: int) -> tuple[_Matrix, _Matrix]:
        return _Matrix(base, outputs, inputs), _Matrix(base + 1, 1, outputs)

    def take(self, size: int) -> int:
        """The offset of as many elements that nothing else uses."""
        offset = self.room
        self.room += -(-size // _LINE) * _LINE
        return offset


class _Writer:
    """Writes a program, step by step."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._lines: list[list[int]] = []
        self._numbers: list[float] = []
        self._kernels: list[Kernel] = []
        self._workspace = 0

    def product(
        self, a: _Matrix, b: _Matrix, c: _Matrix, bias: _Matrix | None = None,
        activation: Activation = PLAIN, keeps_slope: bool = False,
    ) -> None:  # fmt: skip
        """c = f(a b + bias), and behind it the slopes."""
        curve = None if activation.curve is None else activation.curve.of_product
        call = prepare_gemm(
            *self._strided(a), *self._strided(b), self._shape.dtype, 0.0, -math.inf, curve, self._shape.threads
        )
        assert call is not None  # no matrix is empty
        tasks, elements = call.workspace
        self._workspace = max(self._workspace, tasks * elements)
        size = c.rows * c.columns
        operands = [b, a, c, bias] if call.turned else [a, b, c, bias]
        self._add(
            PRODUCT, gemm_kernel if curve is None else curve.kernel, (tasks, tasks * PARALLEL_WORK), operands,
            2 * size if keeps_slope else size, bias.columns if bias else 0, elements, activation.name == "relu",
            *call.numbers[0],
        )  # fmt: skip
        if activation.name in _OVER:
            self._add(*_OVER[activation.name], (size, size), [c], size, number=activation.number)

    def backward(
        self, activation: Activation, dh: _Matrix, kept: _Matrix, dy: _Matrix, total: _Matrix, wants_total: bool
    ) -> None:
        """dy = dh f', and the sum of its rows, which may be made where it is not wanted."""
        if activation.name in _SLOPE:
            size = dh.rows * dh.columns
            self._add(*_SLOPE[activation.name], (size, size), [dh, kept, dy], size)
            if wants_total:
                self.sum(dy, total)
        else:
            kind, kernel = _BACKWARD[activation.name]
            self._add(kind, kernel, (1, 1), [dh, kept, dy, total], *dh[1:3], number=activation.number)

    def sum(self, dy: _Matrix, total: _Matrix) -> None:
        """The sum of the rows of dy."""
        self._add(SUM, sum_columns_kernel, (1, 1), [dy, None, None, total], dy.rows, dy.columns)

    def finish(self, room: int) -> Program:
        """The program. Its steps share one workspace, since each waits for the one before."""
        width = max(SIZES, *map(len, self._lines))
        lines = np.array([line + [0] * (width - len(line)) for line in self._lines], np.int64)
        return Program(lines, np.array(self._numbers), self._kernels, self._workspace, room)

    def _add(
        self, kind: int, kernel: Kernel, tasks_and_work: tuple[int, int], operands: Sequence[_Matrix | None],
        *numbers: int, number: float = 0.0,
    ) -> None:  # fmt: skip
        places = [(NOTHING, 0)] * 4
        for i, matrix in enumerate(operands):
            if matrix is not None:
                places[i] = matrix.base, matrix.offset * self._shape.dtype.itemsize
        split = jit.split(*tasks_and_work, self._shape.threads)
        self._lines.append([*split, kind, *itertools.chain(*places), *numbers])
        self._numbers.append(number)
        self._kernels.append(kernel)

    def _strided(self, matrix: _Matrix) -> tuple[tuple[int, int], tuple[int, int]]:
        """Shape and strides in bytes."""
        itemsize = self._shape.dtype.itemsize
        shape, strides = (matrix.rows, matrix.columns), (matrix.columns * itemsize, itemsize)
        return (shape[::-1], strides[::-1]) if matrix.is_turned else (shape, strides)


def _forward_program(shape: Shape, wants: tuple[bool, ...]) -> Program:
    layout, writer = _Layout(shape), _Writer(shape)
    h = _Matrix(INPUT, shape.rows, shape.widths[0])
    for l, activation in enumerate(shape.activations):
        weight, bias = layout.parameters[l]
        # Slopes are kept from the first layer on that backward reaches.
        keeps_slope = activation.curve is not None and any(wants[shape.place(l) :])
        writer.product(h, weight.turned, layout.results[l], bias if shape.biases[l] else None, activation, keeps_slope)
        h = layout.results[l]
    return writer.finish(layout.room)


def _backward_program(shape: Shape, wants: tuple[bool, ...]) -> Program:
    layout, writer = _Layout(shape), _Writer(shape)
    layout.room = 0
    # What a step reads lies in one of two pieces of memory, what it makes in the other.
    here, there = (layout.take(shape.rows * max(shape.widths)) for _ in range(2))
    unused = layout.take(max(shape.widths))
    dh = _Matrix(GRADIENT, shape.rows, shape.widths[-1])
    for l in reversed(range(len(shape.activations))):
        wants_weight, wants_bias, *wants_below = wants[shape.place(l) :]
        activation, (dweight, dbias) = shape.activations[l], layout.gradients[l]
        dy = dh
        if activation.name != "none":
            dy, here, there = _Matrix(ROOM, *dh[1:3], there), there, here
            total = dbias if wants_bias else _Matrix(ROOM, 1, dh.columns, unused)
            writer.backward(activation, dh, layout.kept[l], dy, total, wants_bias)
        elif wants_bias:
            writer.sum(dy, dbias)
        before = layout.results[l - 1] if l else _Matrix(INPUT, shape.rows, shape.widths[0])
        if any(wants_below):
            dh, here, there = _Matrix(ROOM, *before[1:3], there), there, here
            writer.product(dy, layout.parameters[l][0], dh if l else dh._replace(base=INPUT_GRADIENT, offset=0))
        if wants_weight:
            writer.product(dy.turned, before, dweight)
        if not any(wants_below):
            break
    return writer.finish(layout.room)


# ---------------------------------------------------------------- a program's run


def run(program: Program, operands: list[Any]) -> None:
    """Runs a program on the arrays of its places, the first of them the arrays of nothing and of the workspace."""
    nothing = operands[NOTHING]
    if program.workspace:
        operands[WORKSPACE] = memory.empty((program.workspace,), nothing.dtype)
    if jit.launch_override is not None:
        _run_apart(program, nothing.dtype, operands)
    else:
        _steps(nothing, addresses_of(operands), program.steps, program.numbers)


NO_ARRAY = {dtype: np.empty(0, dtype) for dtype in (FLOAT32, FLOAT64)}
"""What stands in the place of an array that there is not."""


def _run_apart(program: Program, dtype: np.dtype, operands: list[Any]) -> None:
    """The same steps as launches of their own, for a profiler, say, that wants to see each."""
    for line, number, kernel in zip(program.steps, program.numbers, program.kernels, strict=True):

        def at(column: int, size: Any = None, line: Any = line) -> Any:
            array, first = operands[line[column]], line[column + 1] // dtype.itemsize
            return array.reshape(-1)[first:][:size]

        kind, n, m = line[KIND], line[N], line[M]
        if kind == PRODUCT:
            workspace = memory.empty((int(line[TASKS]), int(line[DEPTH])), dtype)
            floor = dtype.type(0 if line[FLOOR] else -math.inf)
            kernel(at(A), at(B), at(C, n), at(D, m), workspace, line[SIZES:], dtype.type(0), floor)
        elif kind == LEAKY:
            kernel(at(A, n), at(A, n), (dtype.type(number),))
        elif kind in (TANH, SIGMOID):
            kernel(at(A, n), at(A, n))
        elif kind in (TANH_SLOPE, SIGMOID_SLOPE):
            kernel(at(A, n), at(B, n), at(C, n))
        elif kind == SUM:
            kernel(at(A, n * m).reshape(n, m), at(D, m).reshape(1, m))
        else:
            matrices = [at(column, n * m).reshape(n, m) for column in (A, B, C)]
            kernel(*matrices, at(D, m).reshape(1, m), dtype.type(number))
