"""Recorded launches of the CPU: what a function launches, written down while it runs, and run again without Python.

A launch is repeated with the arguments that it had, so each run must find its arrays where they were. What the
function allocates therefore lies in blocks that belong to the recording from then on. Random words are marked (see
`nbdl.runtime.draws`); checks of values, of class ids say, become steps of the recording and look in every run.

Everything else that Python does with values would be missing from a run. What reads them is refused by name; what
writes them between two launches is found by the digests of the memory; and what Python worked out from them shows
when two runs on different values are compared, which is why a graph trusts a recording only after its second run.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import itertools
import math
import weakref
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from nbdl.profiling.seams import watching
from nbdl.runtime import arrays, jit, looking, memory
from nbdl.runtime.addresses import address_of
from nbdl.runtime.draws import Draws, Word
from nbdl.runtime.errors import RecordingError

_UNWRITTEN = 0xA5
"""What fills memory that no kernel has written yet."""

_ADDRESSES = "addresses"
"""The argument of a kernel that holds addresses of arrays: of gradients, when they are clipped."""


class _Block(np.ndarray):
    """The owner of one piece of a recording's memory. When it dies, later arrays of the same recording may use it."""

    place: tuple[dict[int, list[Any]], Any, int]  # the free blocks, by size; the buffer; its first aligned byte
    number: int
    digest: int

    def __del__(self) -> None:
        if self.nbytes:
            free, buffer, offset = self.place
            free.setdefault(self.nbytes, []).append((buffer, offset))

    def note(self) -> None:
        """Remembers what the memory holds."""
        self.digest = zlib.crc32(self.data)

    def is_as_noted(self) -> bool:
        return zlib.crc32(self.data) == self.digest


class _Cell:
    """A number among the arguments of kernels that differs from run to run."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.value: Any = None

    def read(self, array: np.ndarray) -> None:
        self.value = array[()]


_MARKED: dict[Any, Any] = {
    np.dtype(kind): type(f"Marked{kind.__name__}", (kind,), {"cell": None})
    for kind in (np.float32, np.float64, np.int32, np.int64, np.uint8, np.int8, np.int16)
}
"""For each dtype, numbers that know their cell."""

_MARKED_KINDS = tuple(_MARKED.values())


@dataclass(frozen=True, eq=False)
class _Array:
    """An array as two runs can be compared by it: what memory it shows, and how."""

    memory: tuple[Any, ...]
    layout: tuple[Any, ...]
    address: int
    content: int  # a digest; 0 where it may change from run to run

    def __eq__(self, other: object) -> bool:
        """Memory from outside is the same where it lies in the same place, or holds the same constants."""
        return (
            isinstance(other, _Array)
            and (self.memory, self.layout) == (other.memory, other.layout)
            and (self.memory[0] != "outside" or self.address == other.address or self.content == other.content)
        )

    def __str__(self) -> str:
        return f"{self.memory[0]} array of shape {list(self.layout[0])}, content {self.content:08x}"


class HostRecording:
    """The launches of one run of a function on the CPU.

    Args:
        inputs: The arrays of the function's arguments, which change from run to run.

    Attributes:
        has_run: Whether the function's kernels have run when it has been recorded.
    """

    has_run = True

    def __init__(self, inputs: list[np.ndarray]) -> None:
        self._inputs = {address_of(array): number for number, array in enumerate(inputs)}
        self._free: dict[int, list[Any]] = {}
        self._numbers = itertools.count()
        self._blocks: dict[int, weakref.ref[_Block]] = {}  # by address, the last that lay there
        self._draws = Draws()
        self._steps: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._described: list[tuple[str, dict[str, Any]]] = []
        self._cells: list[_Cell] = []
        self._words: dict[tuple[int, int], _Cell] = {}  # by draw and place
        self._tables: list[tuple[np.ndarray, int]] = []  # arrays of a draw's words

    # -- while the function runs

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The function's launches, memory, checks and random numbers go through the recording."""
        on_host = arrays.on_host
        arrays.on_host = self._unless_recording(on_host, "a value that Python looks at")
        looking.now.recorder = self
        try:
            with (
                self._draws.noting(),
                watching(
                    kernel=lambda before: self._if_recording(self._launch, before),
                    allocation=lambda empty: self._if_recording(self._empty, empty),
                    reading=self._refuse_reading,
                ),
            ):
                yield
        finally:
            looking.now.recorder = None
            arrays.on_host = on_host

    def repeat(self, what: str, owner: Any, function: Callable[[], None]) -> None:
        """Calls a function of Python now, and at this place of every run."""
        looking.now.recorder = None
        try:
            function()
        finally:
            looking.now.recorder = self
        self._steps.append((function, ()))
        self._described.append((what, {"of": id(owner)}))

    def keeper(self, array: Any) -> _Block | None:
        """The block that keeps the memory of an array of this recording; None for arrays from outside."""
        base = arrays.owner(array).base if isinstance(array, np.ndarray) else None
        return base if type(base) is _Block and base.place[0] is self._free else None

    def shower(self, array: np.ndarray) -> Callable[[], Any]:
        """Makes arrays on the memory of an array, which are no views of it. Holds the keeper."""
        block: Any = self.keeper(array)
        start = address_of(array) - address_of(block)
        make: Any = np.ndarray
        return functools.partial(make, array.shape, array.dtype, block, start, array.strides)

    def look(self, array: np.ndarray, check: Callable[[np.ndarray], None]) -> None:
        """Shows a check the values of an array, now and at this place of every run."""
        looking.now.recorder = None
        try:
            check(array)
        finally:
            looking.now.recorder = self
        self._steps.append((check, (self._without_keeper(array),)))
        self._described.append(("check", {"values": self._describe(array)}))

    def number(self, array: np.ndarray, value: Any) -> Any:
        """The element of an array, marked: every run reads it at this place, and passes on what it finds."""
        cell = _Cell(len(self._cells))
        self._cells.append(cell)
        self._steps.append((cell.read, (self._without_keeper(array.reshape(())),)))
        self._described.append(("number", {"of": self._describe(array)}))
        kind = _MARKED.get(value.dtype)
        if kind is None:
            self.refuse(f"a number of {value.dtype} that Python reads")
        marked = kind(value)
        marked.cell = cell
        return marked

    def _without_keeper(self, array: Any) -> Any:
        """An array on the same memory that does not keep its block from being used again; anything else as it is."""
        block = self.keeper(array)
        if block is None:
            return array
        _, buffer, offset = block.place
        start = offset + address_of(array) - address_of(block)
        bare = np.ndarray(array.shape, array.dtype, buffer, start, array.strides)
        bare.flags.writeable = array.flags.writeable
        return bare

    def refuse(self, what: str) -> NoReturn:
        """Raises: a run would not have it."""
        raise RecordingError(
            f"{what} cannot be part of a graph, which repeats launches of kernels without Python between them: do it "
            "outside of the function that is recorded"
        )

    def _if_recording(self, function: Callable[..., Any], otherwise: Callable[..., Any] | None) -> Callable[..., Any]:
        """Other threads, and what is called as it is in every run, go the usual way."""

        def chosen(*arguments: Any, **options: Any) -> Any:
            if looking.now.recorder is self:
                return function(*arguments, **options)
            return NotImplemented if otherwise is None else otherwise(*arguments, **options)

        return chosen

    def _unless_recording(self, function: Callable[..., Any], what: str) -> Callable[..., Any]:
        return self._if_recording(lambda *_, **__: self.refuse(what), function)

    def _refuse_reading(self, method: Callable[..., Any]) -> Callable[..., Any]:
        return self._unless_recording(method, f"a value that Python reads ({method.__name__}())")

    def _empty(self, shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
        """As `memory.empty`, in memory of the recording."""
        dtype = np.dtype(dtype)
        elements = math.prod(shape) if isinstance(shape, tuple) else shape
        size = max(-(-elements * dtype.itemsize // memory.ALIGNMENT), 1) * memory.ALIGNMENT
        free = self._free.get(size)
        buffer, offset = free.pop() if free else memory.new_buffer(size)
        block = _Block(size, np.uint8, buffer, offset)
        block.place, block.number = (self._free, buffer, offset), next(self._numbers)
        block.fill(_UNWRITTEN)
        block.note()
        self._blocks[address_of(block)] = weakref.ref(block)
        return np.ndarray(shape, dtype, block)

    def _launch(self, kernel: jit.Kernel, arguments: tuple[Any, ...]) -> None:
        """Runs a kernel and writes the launch down."""
        names = kernel.cpu.py_func.__code__.co_varnames
        blocks = [block for block in map(self.keeper, arguments) if block is not None]
        places: tuple[Any, ...] | None = None
        if _ADDRESSES in names[: len(arguments)]:
            addresses = arguments[names.index(_ADDRESSES)].ravel().tolist()
            pointed = [self._block_at(address) for address in addresses]
            if any([block is None for block in pointed]):
                self.refuse(f"{kernel.name}, a kernel on addresses of memory from before the call,")
            blocks += pointed
            places = tuple([(block.number, a - address_of(block)) for a, block in zip(addresses, pointed, strict=True)])
        if not all(block.is_as_noted() for block in blocks):
            self.refuse(f"what Python writes to an array that the kernel {kernel.name} reads")
        described = dict(zip(names, map(self._describe, arguments), strict=False))
        if places is not None:
            described[_ADDRESSES] = places
        with kernel.noting_calls(functools.partial(self._add, arguments)):
            kernel(*map(_plain, arguments))
        for block in blocks:
            block.note()
        self._described.append((f"kernel {kernel.name}", described))
        for value in arguments:
            if isinstance(value, np.ndarray) and (draw := self._draws.number_of(value)) is not None:
                self._tables.append((value, draw))

    def _block_at(self, address: int) -> Any:
        """The block of the recording that an address points into; None for addresses elsewhere."""
        starts = sorted(self._blocks)
        place = bisect.bisect_right(starts, address) - 1
        block = self._blocks[starts[place]]() if place >= 0 else None
        return block if block is not None and address < address_of(block) + block.nbytes else None

    def _add(self, marked: tuple[Any, ...], compiled: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Notes a call, given the arguments with their marks too."""
        places = []
        for position, value in enumerate(marked):
            inner = value if isinstance(value, tuple) else (value,)
            for index, member in enumerate(inner):
                if (cell := self._cell_of(member)) is not None:
                    places.append((position, index if inner is value else None, cell))
        bare = tuple([self._without_keeper(value) for value in arguments])
        self._steps.append((_call_with, (compiled, bare, places)) if places else (compiled, bare))

    def _cell_of(self, value: Any) -> _Cell | None:
        if isinstance(value, Word):
            return self._words.setdefault((value.draw, value.place), _Cell(-1))
        return getattr(value, "cell", None)

    def _describe(self, value: Any) -> Any:
        """An argument, so that those of two runs can be compared."""
        if isinstance(value, Word):
            return "word", value.draw, value.place
        if isinstance(value, _MARKED_KINDS):
            return "number", value.cell.number
        if isinstance(value, tuple):
            return tuple([self._describe(member) for member in value])
        if not isinstance(value, np.ndarray):
            if type(value).__name__ == "DeviceArray":
                self.refuse("work on a GPU among work on the CPU")
            return value
        layout = value.shape, value.strides, value.dtype, value.flags.writeable
        block, root = self.keeper(value), arrays.owner(value)
        if block is not None:
            return _Array(("own", block.number, address_of(value) - address_of(root)), layout, 0, 0)
        if address_of(root) in self._inputs:
            number = self._inputs[address_of(root)]
            return _Array(("input", number, address_of(value) - address_of(root)), layout, 0, 0)
        if (draw := self._draws.number_of(value)) is not None:
            return _Array(("random", draw), layout, 0, 0)
        return _Array(("outside",), layout, address_of(value), zlib.crc32(value.tobytes()))

    # -- afterwards

    def difference(self, other: HostRecording) -> str | None:
        """What another run of the same function did otherwise, in words; None if it did the same."""
        for (step, mine), (theirs_step, theirs) in zip(self._described, other._described, strict=False):
            if step != theirs_step:
                return f"{step} in one run, {theirs_step} in the next"
            for name, value in mine.items():
                if not _same(value, theirs[name]):
                    return f"{step}, argument {name}: {value} in one run, {theirs[name]} in the next"
        if len(self._described) != len(other._described):
            return f"{len(self._described)} launches in one run, {len(other._described)} in the next"
        return None

    def run(self, first: bool) -> None:
        """Runs all launches; the first time the function has done so itself."""
        if first:
            return
        if self._words or self._tables:
            self._draw_again()
        for step, arguments in self._steps:
            step(*arguments)

    def _draw_again(self) -> None:
        words = self._draws.again()
        for (draw, place), cell in self._words.items():
            cell.value = words[draw][place]
        for table, draw in self._tables:
            table[...] = words[draw]

    def free(self) -> None:
        """Forgets the launches. The memory goes when the last array on it dies."""
        self._steps.clear()


def _plain(value: Any) -> Any:
    """An argument without marks."""
    if isinstance(value, tuple):
        return tuple([_plain(member) for member in value])
    if isinstance(value, Word):
        return np.uint32(value)
    return value.dtype.type(value) if isinstance(value, _MARKED_KINDS) else value


def _call_with(
    compiled: Callable[..., Any], arguments: tuple[Any, ...], places: list[tuple[int, int | None, _Cell]]
) -> None:
    """Calls with this run's numbers in their places: an argument, or one of its members."""
    changed = list(arguments)
    for position, index, cell in places:
        if index is None:
            changed[position] = cell.value
        else:
            members = changed[position]
            changed[position] = (*members[:index], cell.value, *members[index + 1 :])
    compiled(*changed)


def _same(value: Any, other: Any) -> bool:
    """Whether two runs agree in an argument; NaN agrees with NaN."""
    if type(value) is not type(other):
        return False
    if isinstance(value, tuple):
        return len(value) == len(other) and all(map(_same, value, other))
    if isinstance(value, (float, np.floating)) and value != value:
        return bool(other != other)
    return bool(value == other)
