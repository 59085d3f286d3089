"""The parameters of a group as one table, so that a step of the optimizer is one launch over all of them.

Parameters and gradients stay where they are; their addresses stand in the table. What the optimizer remembers, a
moment for each element say, lies in one flat buffer for all parameters, and `state_dict` shows views of it. The work
is cut into chunks of at most CHUNK elements, a task each:

    addresses  [P, 2 + S]  parameter, gradient, then each state, of parameter p
    chunks     [C, 4]      parameter, first element, number of elements, elements up to here
    coefficients [P, K]    the numbers of the update, per parameter since their step counts may differ
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Tensor, wrap
from nbdl.runtime import arrays, memory, placement
from nbdl.runtime.addresses import address_of
from nbdl.runtime.errors import ArgumentError, DeviceError, DTypeError, ShapeError
from nbdl.runtime.jit import CudaFunction, Kernel

CHUNK = 8192
"""Elements of a task at most: with four arrays of float32 it fits a core's cache."""

PARAMETER, GRADIENT, STATE = 0, 1, 2
"""Columns of the table of addresses; the states follow from STATE on."""

_ALIGNMENT = 16  # elements: every parameter's part of a flat buffer starts a cache line


def chunk_kernel(cpu: Any, cuda: CudaFunction) -> Kernel:
    """The pair of a kernel over chunks: arguments (like, addresses, chunks, ...), one task or block a chunk."""
    return Kernel(
        cpu=cpu,
        cuda=cuda,
        tasks=lambda like, addresses, chunks, *_: chunks.shape[0],
        work=lambda like, addresses, chunks, *_: 8 * int(chunks[-1, 3]),
    )


def cut_chunks(numbers: Sequence[int], sizes: Sequence[int]) -> np.ndarray:
    """The table of chunks of some parameters, given the sizes of all."""
    rows = []
    total = 0
    for number in numbers:
        for first in range(0, sizes[number], CHUNK):
            count = min(CHUNK, sizes[number] - first)
            total += count
            rows.append((number, first, count, total))
    return np.array(rows, np.int64).reshape(-1, 4)


class ParameterTable:
    """The parameters of one group, dtype and device.

    Args:
        parameters: The parameters.
        states: Names of all states that the optimizer may keep for them.
        coefficients: How many numbers its kernel takes for a parameter.

    Attributes:
        active: Numbers of the parameters that had a gradient when `load` ran last.
        steps: [P] how many updates each parameter has seen, float32 as in PyTorch.
        started: Numbers of the parameters whose states hold something (for states that do not start from a constant).
        buffers: The flat buffer of each state in use.
        like: An array of the parameters' dtype on their device, for kernels to know it by.
        kind: That device, "cpu" or "cuda".
    """

    def __init__(self, parameters: list[Tensor], states: tuple[str, ...], coefficients: int) -> None:
        self.parameters = parameters
        self.dtype = parameters[0].dtype
        self.kind = placement.kind_of(parameters[0]._array)
        with placement.at(self.kind):
            self.like = memory.empty((1,), self.dtype)
        self.sizes = [parameter.numel() for parameter in parameters]
        self.steps = np.zeros(len(parameters), np.float32)
        self.buffers: dict[str, Any] = {}
        self.active: list[int] = []
        self.started: set[int] = set()
        self.addresses = np.zeros((len(parameters), STATE + len(states)), np.int64)
        self.coefficients = np.empty((len(parameters), coefficients), np.float64)
        self.chunks = cut_chunks((), self.sizes)
        self._states = states
        self._arrays: list[Any] = [None] * len(parameters)
        self._copies: list[tuple[Any, Any]] = []  # parameters that are not contiguous, and what kernels see of them
        self._gradients: list[Any] = []  # keeps contiguous copies of gradients alive during a launch
        self._offsets = [0]
        for size in self.sizes:
            self._offsets.append(self._offsets[-1] + -(-size // _ALIGNMENT) * _ALIGNMENT)

    # -- states

    def require(self, name: str, initial: float = 0.0) -> None:
        """Gives the state a flat buffer if it has none yet."""
        if name not in self.buffers:
            with placement.at(self.kind):
                buffer = arrays.full((self._offsets[-1],), initial, self.dtype)
            self.buffers[name] = buffer
            column = STATE + self._states.index(name)
            base = address_of(buffer)
            self.addresses[:, column] = [base + offset * buffer.itemsize for offset in self._offsets[:-1]]

    def state(self, number: int, name: str) -> Tensor:
        """One parameter's part of a state, in the parameter's shape."""
        first = self._offsets[number]
        part = self.buffers[name][first : first + self.sizes[number]]
        return wrap(part.reshape(self.parameters[number].shape))

    def step_count(self, number: int) -> Tensor:
        """How many updates the parameter has seen, as a tensor that follows the count."""
        return wrap(self.steps[number, ...])

    # -- one step

    def load(self) -> bool:
        """Looks where parameters and gradients are now. Returns whether other parameters have gradients than before."""
        known, parameters = self._arrays, self.parameters
        active = []
        places = []
        self._copies.clear()
        self._gradients.clear()
        for number, size in enumerate(self.sizes):
            parameter = parameters[number]
            gradient = parameter._grad
            if gradient is None:
                continue
            if parameter._array is not known[number]:
                self._place(number)
            array = gradient._array
            if array.size != size or array.dtype != self.dtype or not array.flags.c_contiguous:
                array = self._readable(number, array)
            if placement.active and placement.kind_of(array) != self.kind:
                raise DeviceError(f"gradient of parameter {number}: it does not lie on the parameter's device")
            active.append(number)
            places.append(address_of(array))
        if len(active) == len(known):
            self.addresses[:, GRADIENT] = places
        elif active:
            self.addresses[active, GRADIENT] = places
        if active == self.active:
            return False
        self.active = active
        self.chunks = cut_chunks(active, self.sizes)
        return True

    def _place(self, number: int) -> None:
        """Notes where a parameter lies: at its first step, and when its memory was replaced."""
        array = self.parameters[number]._array
        if array.dtype != self.dtype:
            raise DTypeError(f"parameter {number}: was {self.dtype} when the optimizer was made, is {array.dtype} now")
        if array.size != self.sizes[number]:
            raise ShapeError(f"parameter {number}: had {self.sizes[number]} elements, has {array.size} now")
        if placement.kind_of(array) != self.kind:
            raise DeviceError(
                f"parameter {number}: was on {self.kind!r} at the optimizer's first step, is on another device now. "
                "Move the model first, then make the optimizer; load_state_dict takes over what it remembers"
            )
        if not array.flags.writeable:
            raise ArgumentError(f"parameter {number}: its memory is read-only")
        if array.flags.c_contiguous:
            self._arrays[number] = array
        else:
            copy = arrays.contiguous(array)
            self._copies.append((array, copy))
            array = copy
        self.addresses[number, PARAMETER] = address_of(array)

    def _readable(self, number: int, gradient: Any) -> Any:
        """A gradient that is not contiguous, as a copy that is."""
        if gradient.dtype != self.dtype:
            raise DTypeError(f"gradient of parameter {number}: expected {self.dtype}, got {gradient.dtype}")
        if gradient.size != self.sizes[number]:
            raise ShapeError(
                f"gradient of parameter {number}: expected {self.sizes[number]} elements, got shape {gradient.shape}"
            )
        copy = arrays.contiguous(gradient)
        self._gradients.append(copy)
        return copy

    def count_step(self) -> list[float]:
        """Adds one to the step counts of the parameters with gradients and returns them."""
        if len(self.active) == len(self.parameters):
            self.steps += 1
            return self.steps.tolist()
        self.steps[self.active] += 1
        return self.steps[self.active].tolist()

    def fill_coefficients(self, rows: Sequence[Sequence[float]]) -> None:
        """Sets the numbers of the update: one row for all parameters with gradients, or one for each."""
        if len(rows) == 1:
            self.coefficients[:] = rows[0]
        else:
            self.coefficients[self.active] = rows

    def finish(self) -> None:
        """Tells the parameters that they were changed."""
        for array, copy in self._copies:
            arrays.copy_into(array, copy)
        for number in self.active:
            self.parameters[number]._version[0] += 1
