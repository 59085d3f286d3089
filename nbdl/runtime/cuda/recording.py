"""Recorded launches: what a function launches, kept as one CUDA graph and run again without Python.

While a function is recorded its launches are noted, not run. Its memory comes from blocks that belong to the recording
from then on, so that each run finds the same addresses. Random numbers differ from run to run: the words that a kernel
got from a generator are marked, and each run puts the generator's next ones in their places.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nbdl.runtime.cuda import device, memory, streams
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.cuda.driver import Arguments, Launch, slot_format
from nbdl.runtime.draws import Draws, Word
from nbdl.runtime.errors import DeviceError, RecordingError


class Recording:
    """The launches of one run of a function.

    Attributes:
        used: Arrays from outside that its kernels work on; they must stay where they are.
        checks: Arrays that the CPU looks at after each run, with the checks.
        has_run: Whether the function's kernels have run when it has been recorded.
    """

    has_run = False

    def __init__(self) -> None:
        self._pool = memory.pool()
        self._free: dict[int, list[tuple[int, Any]]] = {}
        self._launches: list[Launch] = []
        self._draws = Draws()
        self._scalars: list[tuple[int, int, int, int]] = []  # launch, slot, draw, place
        self._tables: list[tuple[DeviceArray, int]] = []  # tables of a draw's words, on the GPU
        self._graph: Any = None
        self.used: dict[int, DeviceArray] = {}
        self.checks: list[tuple[Any, Callable[[np.ndarray], None]]] = []

    # -- while the function runs

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Launches, memory and random numbers go through the recording until the end of the block."""
        with self._draws.noting(), memory.recording(self):
            yield

    def take(self, nbytes: int) -> memory.Allocation:
        """Memory for an array."""
        size = memory.block_size(nbytes)
        free = self._free.get(size)
        if free:
            address, stream = free.pop()
            return memory.Allocation(self, address, size, stream)
        block = self._pool.take(nbytes)
        address, stream, block.pool = block.address, block.stream, None  # it is the recording's now
        return memory.Allocation(self, address, size, stream)

    def put(self, address: int, size: int, stream: Any) -> None:
        """Takes a block back when its last array dies: for this recording's later arrays, for nobody else's."""
        if self._free is not None:
            self._free.setdefault(size, []).append((address, stream))
        else:
            self._pool.put(address, size, stream)

    def keeper(self, array: Any) -> Any:
        """What keeps the memory of an array of this recording; None for arrays from outside."""
        return array.allocation if type(array) is DeviceArray and array.allocation.pool is self else None

    def shower(self, array: DeviceArray) -> Callable[[], Any]:
        """Makes arrays on the memory of an array, which are no views of it. Holds the keeper."""
        return functools.partial(DeviceArray, array._geometry, array.allocation)

    def repeat(self, what: str, _: Any, __: Callable[[], None]) -> None:
        """Raises: a CUDA graph does not call Python."""
        raise RecordingError(f"{what} cannot be part of a graph of a GPU, which calls no Python: do it outside")

    def refuse(self, what: str) -> None:
        """Raises: the CPU cannot wait for kernels that have not run."""
        raise DeviceError(
            f"{what} cannot be part of a CUDA graph, whose kernels run after the function has returned: do it outside "
            "of the function that is recorded"
        )

    def look_later(self, array: Any, check: Callable[[np.ndarray], None]) -> None:
        """Shows the check the array's values after each run."""
        self.checks.append((array, check))

    def table(self, argument: np.ndarray) -> DeviceArray:
        """A table of the CPU that a kernel reads: a constant, or the words of a draw, which each run replaces."""
        draw = self._draws.number_of(argument)
        if draw is None:
            return memory.constant(argument)
        with memory.recording(None):
            table = memory.to_device(argument)
        self._tables.append((table, draw))
        return table

    def add(self, launch: Launch, description: tuple[Any, ...], passed: tuple[Any, ...]) -> None:
        """Notes a launch."""
        slot = 0
        for kind, argument in zip(description, passed, strict=True):
            if isinstance(argument, Word):
                self._scalars.append((len(self._launches), slot, argument.draw, argument.place))
            elif type(argument) is DeviceArray and argument.allocation.pool is not self:
                self.used[id(argument.allocation)] = argument
            slot += _slots(kind)
        self._launches.append(launch)

    # -- afterwards

    def run(self, first: bool) -> None:
        """Gives the current stream all launches; the first time with the random numbers that were drawn.

        Then come the checks, which wait for them.
        """
        if self._graph is None:
            self._graph = device.driver().new_graph(self._launches) if self._launches else _Nothing()
        if not first:
            self._draw_again()
        stream = streams.current()
        streams.join(stream)
        self._graph.run(stream.handle)
        self._look()

    def _draw_again(self) -> None:
        words = self._draws.again()
        changed: dict[int, Arguments] = {}
        for number, slot, draw, place in self._scalars:
            arguments = self._launches[number].arguments
            arguments.set_word(slot, int(words[draw][place]))
            changed[number] = arguments
        for number, arguments in changed.items():
            self._graph.change(number, arguments)
        for table, draw in self._tables:
            memory.copy_in(table, np.array(words[draw], np.uint32))

    def _look(self) -> None:
        """Shows the checks what the last run has left. Waits for it, if there are any."""
        for array, check in self.checks:
            check(memory.to_host(array))

    def free(self) -> None:
        """Gives the graph back to the driver, and the memory to the pool."""
        if self._graph is not None:
            device.driver().synchronize()
            self._graph.free()
            self._graph = None
        blocks, self._free = self._free, None  # type: ignore[assignment]
        for size, listed in (blocks or {}).items():
            for address, stream in listed:
                self._pool.put(address, size, stream)


class _Nothing:
    """The graph of a function that launches nothing."""

    def run(self, stream: Any) -> None:
        pass

    def free(self) -> None:
        pass


def _slots(description: Any) -> int:
    """How many slots an argument takes."""
    return sum(1 for letter in slot_format(description) if letter in "QqdfiIhHbB?")
