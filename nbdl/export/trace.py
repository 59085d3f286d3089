"""What a function does, as a list of kernel launches: the part of a model that can leave Python.

A function of tensors runs its kernels in an order that the shapes of its inputs decide. `trace` runs the function and
writes down every launch: the kernel, its arrays as places in memory, its numbers. It does so twice, on inputs of
different values, and both runs must agree in all but those: a number that Python worked out from a tensor, or from the
random state, would differ, and is refused by name instead of being frozen in silence.

Memory has four kinds:

    state       arrays that outlive a run: parameters, running statistics, the optimizer's moments
    input       the function's arguments
    constant    arrays that Python filled during the run, the same each time: sizes, tables
    scratch     arrays that kernels fill: results, and all between inputs and results

State that Python rewrites before every run, an optimizer's coefficients say, is for the caller to rewrite:
`Program.controls` names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbdl.autograd import Tensor, wrap
from nbdl.runtime import arrays, jit, memory
from nbdl.runtime.addresses import address_of
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, IndexRangeError

STATE, INPUT, CONSTANT, SCRATCH = "state", "input", "constant", "scratch"

_UNWRITTEN = b"\xa5"
"""What fills memory that nothing has written yet. Four of it are -2.87e-16: no result is all that."""

_ADDRESSES = "addresses"
"""The argument of a kernel that holds addresses of arrays (see `nbdl.optim.table`)."""

_COEFFICIENTS = "coefficients"
"""The argument that holds an optimizer's numbers, its learning rate among them: always a control."""


class ExportError(ArgumentError):
    """The function does something that launches of kernels alone cannot repeat."""


# ---------------------------------------------------------------- a program


@dataclass(eq=False)
class Buffer:
    """A piece of memory that arrays of a program show.

    Attributes:
        nbytes: Its size.
        kind: state, input, constant or scratch.
        content: What it holds before the run; None for inputs and scratch.
        changes: Whether the run writes to it.
        key: The same for one state in several programs, None for what is a program's own.
    """

    nbytes: int
    kind: str
    content: bytes | None = None
    changes: bool = False
    key: int | None = None


@dataclass(frozen=True)
class View:
    """An array of a program: a buffer, and its place, shape and strides there, in bytes."""

    buffer: Buffer
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype
    layout: str  # C, F or A, as Numba calls it
    writable: bool


@dataclass(frozen=True)
class Addresses:
    """An array of addresses: of each, the buffer and the place in it; None for one that no kernel follows."""

    view: View
    places: tuple[tuple[Buffer, int] | None, ...]


@dataclass(frozen=True)
class Launch:
    """One run of a kernel over all its tasks. Arguments: views, addresses, numbers, tuples of numbers."""

    kernel: jit.Kernel
    arguments: tuple[Any, ...]
    tasks: int

    def buffers(self) -> Iterator[Buffer]:
        for argument in self.arguments:
            if isinstance(argument, View):
                yield argument.buffer
            elif isinstance(argument, Addresses):
                yield argument.view.buffer
                yield from (place[0] for place in argument.places if place is not None)


@dataclass(frozen=True)
class Range:
    """The ids that an input may hold: from `lowest` to `highest`, and `also` if it is not None."""

    lowest: int
    highest: int
    also: int | None


@dataclass
class Program:
    """Launches, one after the other, and the arrays through which the outside talks to them, by name."""

    launches: list[Launch]
    inputs: dict[str, View]
    outputs: dict[str, View]
    controls: dict[str, View]
    state: dict[str, View] = field(default_factory=dict)
    ranges: dict[str, Range] = field(default_factory=dict)

    def __repr__(self) -> str:
        kernels = len({launch.kernel for launch in self.launches})
        return f"Program({len(self.launches)} launches of {kernels} kernels)"


# ---------------------------------------------------------------- recording


@dataclass
class _Memory:
    """An owner of memory in one run: what it held at its first use, after the first launch on it, and now."""

    owner: np.ndarray
    before: bytes
    started: bytes
    now: bytes
    changes: bool = False
    rewritten: bool = False

    def differs(self) -> bool:
        """Whether the memory holds something else than it was last seen to hold. Copies nothing."""
        return not np.array_equal(_flat_bytes(self.owner), np.frombuffer(self.now, np.uint8))


@dataclass
class _Event:
    """One launch in one run."""

    kernel: jit.Kernel
    arguments: tuple[Any, ...]
    tasks: int
    tables: dict[int, np.ndarray]  # the addresses, as they were
    written: set[int]  # the memory that it changed, by address


class _Recording:
    """One run of a function: its launches, and all memory they used by address. Keeps every array alive."""

    def __init__(self, known: Iterable[np.ndarray]) -> None:
        self.events: list[_Event] = []
        self.memory: dict[int, _Memory] = {}
        self._kept: list[Any] = []
        for array in known:
            self.see(array)

    def see(self, array: np.ndarray) -> _Memory:
        """The memory of the array. New memory is read; known memory is looked at for what Python wrote to it."""
        owner = arrays.owner(array)
        found = self.memory.get(address_of(owner))
        if found is None:
            content = _content(owner)
            found = self.memory[address_of(owner)] = _Memory(owner, content, content, content)
        elif found.differs():
            found.rewritten, found.now = True, _content(owner)
        return found

    def at(self, address: int) -> tuple[int, _Memory] | None:
        """The memory that holds an address."""
        for start, found in self.memory.items():
            if start <= address < start + found.owner.nbytes:
                return start, found
        return None

    def launch(self, kernel: jit.Kernel, arguments: tuple[Any, ...]) -> None:
        """Runs a kernel and writes the launch down."""
        self._kept.append(arguments)
        used = [self.see(item) for item in arguments if isinstance(item, np.ndarray) and item.size]
        tables = {k: arguments[k].copy() for k in _tables(kernel)}
        for table in tables.values():
            used += [found[1] for found in map(self.at, map(int, table.ravel())) if found is not None]
        jit.launch_override = None
        try:
            kernel(*arguments)
        finally:
            jit.launch_override = self.launch
        written = set()
        for found in used:
            if found.differs():
                content = _content(found.owner)
                if not found.changes:
                    found.started = content
                found.now, found.changes = content, True
                written.add(address_of(found.owner))
        self.events.append(_Event(kernel, arguments, kernel.tasks(*arguments), tables, written))


def _flat_bytes(owner: np.ndarray) -> np.ndarray:
    return owner.ravel("K").view(np.uint8)


def _content(owner: np.ndarray) -> bytes:
    return _flat_bytes(owner).tobytes()


def _tables(kernel: jit.Kernel) -> list[int]:
    """Which arguments of the kernel are tables of addresses."""
    code = kernel.cpu.py_func.__code__
    return [k for k, name in enumerate(code.co_varnames[: code.co_argcount]) if name == _ADDRESSES]


def _unwritten(nbytes: int) -> bytes:
    return _UNWRITTEN * nbytes


@contextmanager
def _marked_memory() -> Iterator[None]:
    """New memory holds a mark until something is written to it."""
    empty = memory.empty

    def marked(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
        array = empty(shape, dtype)
        array.reshape(-1).view(np.uint8)[...] = _UNWRITTEN[0]
        return array

    memory.empty = marked
    try:
        yield
    finally:
        memory.empty = empty


def _record(function: Callable[..., Any], inputs: Sequence[np.ndarray], known: list[np.ndarray]) -> Any:
    recording = _Recording([*inputs, *known])
    if jit.launch_override is not None:
        raise ExportError("trace: another tool watches the launches (a profiler, or the SIMT interpreter)")
    with _marked_memory():
        jit.launch_override = recording.launch
        try:
            result = function(*(wrap(array) for array in inputs))
        finally:
            jit.launch_override = None
    recording._kept.append(result)
    return recording, result


# ---------------------------------------------------------------- from two runs to a program


class _Comparison:
    """Two runs of one function, side by side."""

    def __init__(self, creation: _Recording, first: _Recording, second: _Recording, inputs: set[int]) -> None:
        self.creation, self.first, self.second, self.inputs = creation, first, second, inputs
        self.buffers: dict[int, Buffer] = {}
        self.partners: dict[int, int] = {}
        self.controls: dict[str, View] = {}

    def buffer(self, array: np.ndarray, other: np.ndarray, where: str) -> Buffer:
        """The buffer of an array of the first run, given its counterpart in the second."""
        mine, theirs = (address_of(arrays.owner(item)) for item in (array, other))
        if self.partners.setdefault(mine, theirs) != theirs:
            raise ExportError(f"{where}: the runs use memory in different ways")
        if mine not in self.buffers:
            self.buffers[mine] = self._describe(mine, theirs, where)
        return self.buffers[mine]

    def _describe(self, mine: int, theirs: int, where: str) -> Buffer:
        first, second = self.first.memory[mine], self.second.memory[theirs]
        nbytes = first.owner.nbytes
        if first.owner.nbytes != second.owner.nbytes:
            raise ExportError(f"{where}: the runs use memory of different sizes")
        changes = first.changes or second.changes
        if mine in self.inputs:
            return Buffer(nbytes, INPUT, changes=changes)
        if mine == theirs:
            created = self.creation.memory.get(mine, first)
            is_new = created.before == _unwritten(nbytes)
            return Buffer(nbytes, STATE, created.started if is_new else created.before, changes, key=mine)
        copied = self._input_with(first.before, second.before)
        if copied is not None and not changes:  # ids, say, which Python copies when it has looked at them
            return copied
        if first.rewritten or second.rewritten:
            raise ExportError(f"{where}: Python writes to an array between two launches")
        if first.before == second.before == _unwritten(nbytes):
            return Buffer(nbytes, SCRATCH, changes=True)
        if first.before != second.before:
            raise ExportError(
                f"{where}: Python fills an array with other values in each run. They come from the inputs or from the "
                "random state; a program repeats launches of kernels only"
            )
        return Buffer(nbytes, CONSTANT, first.before, changes)

    def _input_with(self, content: bytes, other: bytes) -> Buffer | None:
        """The input that held this in the first run and that in the second."""
        for place in self.inputs:
            if self.first.memory[place].before == content and self.second.memory[place].before == other:
                owner = self.first.memory[place].owner
                return self.buffer(owner, owner, "input")
        return None

    def view(self, array: np.ndarray, other: np.ndarray, where: str) -> View:
        """The view of an array of the first run."""
        if (array.shape, array.strides, array.dtype) != (other.shape, other.strides, other.dtype):
            raise ExportError(f"{where}: shapes or strides differ between runs: {array.shape} and {other.shape}")
        if not array.size:
            return _view(Buffer(0, CONSTANT, b""), 0, array)
        buffer = self.buffer(array, other, where)
        start = address_of(array) - address_of(arrays.owner(array))
        if start != address_of(other) - address_of(arrays.owner(other)):
            raise ExportError(f"{where}: the runs look at different places of one array")
        return _view(buffer, start, array)

    def launch(self, mine: _Event, theirs: _Event) -> Launch:
        """The launch that both events are."""
        names = mine.kernel.cpu.py_func.__code__.co_varnames
        arguments: list[Any] = []
        for k, (argument, other) in enumerate(zip(mine.arguments, theirs.arguments, strict=True)):
            where = f"argument {names[k]} of kernel {mine.kernel.name}"
            if isinstance(argument, np.ndarray):
                view = self.view(argument, other, where)
                if k in mine.tables:
                    view.buffer.kind, view.buffer.key = SCRATCH, None  # filled anew in every run
                    arguments.append(Addresses(view, self._places(mine.tables[k], theirs.tables[k], where)))
                    continue
                self._watch(view, argument, other, mine.kernel.name, names[k])
                arguments.append(view)
            elif _same(argument, other):
                arguments.append(argument)
            else:
                raise ExportError(
                    f"{where}: {argument} in one run and {other} in the next. Python worked it out from the inputs or "
                    "from the random state; a program repeats launches of kernels only"
                )
        return Launch(mine.kernel, tuple(arguments), mine.tasks)

    def _watch(self, view: View, array: np.ndarray, other: np.ndarray, kernel: str, name: str) -> None:
        """State that Python rewrote between the runs is a control; it starts as the last run found it."""
        if view.buffer.kind != STATE:
            return
        first = self.first.memory[address_of(arrays.owner(array))]
        second = self.second.memory[address_of(arrays.owner(other))]
        if first.now != second.before or name == _COEFFICIENTS:
            self.controls.setdefault(f"{kernel}_{name}", view)
            view.buffer.content = second.before

    def _places(self, mine: np.ndarray, theirs: np.ndarray, where: str) -> tuple[tuple[Buffer, int] | None, ...]:
        places: list[tuple[Buffer, int] | None] = []
        for address, other in zip(map(int, mine.ravel()), map(int, theirs.ravel()), strict=True):
            here, there = self.first.at(address), self.second.at(other)
            if here is None or there is None:
                if address:
                    raise ExportError(f"{where}: an address of memory that is not known; name its owner in `state`")
                places.append(None)
                continue
            buffer = self.buffer(here[1].owner, there[1].owner, where)
            places.append((buffer, address - here[0]))
        return tuple(places)


def _view(buffer: Buffer, start: int, array: np.ndarray) -> View:
    flags = array.flags
    layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
    return View(buffer, start, array.shape, array.strides, array.dtype, layout, flags.writeable)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


def _is_used(launches: list[Launch], events: list[_Event], wanted: set[int], owners: list[set[int]]) -> list[bool]:
    """Which launches something wanted depends on: a check's reduction, say, is read by Python alone."""
    used = [False] * len(launches)
    for k in range(len(launches) - 1, -1, -1):
        written = events[k].written
        if not written or written & wanted:
            used[k] = True
            wanted |= owners[k]
    return used


# ---------------------------------------------------------------- public


def trace(function: Callable[..., Any], *inputs: Any, state: Sequence[Any] = (), names: Sequence[str] = ()) -> Program:
    """Writes down what a function of tensors does.

    The function runs three times: what it keeps (an optimizer's moments, say) is created in the first run and compared
    in the other two. Once more for each input of integers, with ids that cannot be: the ranges that the function then
    asks for become the program's. What `state` names is as before when `trace` returns.

    Args:
        function: Takes a tensor for each input; returns a tensor, or a dictionary, tuple or list of tensors.
        inputs: Examples, arrays or tensors; a program works for these shapes and dtypes alone.
        state: Modules, optimizers and tensors that outlive a run.
        names: Names of the inputs; input0, input1, ... when empty.

    Returns:
        The program; `nbdl.export.wasm.export` turns it into a WebAssembly module.

    Raises:
        ExportError: The function cannot be repeated by launches alone; the message names the kernel and argument.
        ArgumentTypeError: An input, a state or a result is of no known type.
    """
    examples = [np.array(item._array if isinstance(item, Tensor) else item, order="C") for item in inputs]
    if names and len(names) != len(examples):
        raise ArgumentError(f"names: expected {len(examples)} names, one an input, got {len(names)}")
    labels = list(names) or [f"input{k}" for k in range(len(examples))]
    restore = [_snapshot(item) for item in state]
    creation, _ = _record(function, examples, _arrays_of(state))
    first, result = _record(function, examples, _arrays_of(state))
    values = [array.copy() for array in examples]
    for array in examples:  # other values that are valid wherever these are: ids stay ids, shares stay shares
        array[...] = array.ravel()[::-1].reshape(array.shape)
        if array.dtype.kind == "f":
            array *= array.dtype.type(0.75)
    second, other_result = _record(function, examples, _arrays_of(state))
    for array, value in zip(examples, values, strict=True):
        array[...] = value
    program = _compare(creation, first, second, dict(zip(labels, examples, strict=True)), result, other_result, state)
    program.ranges = _ranges(function, examples, labels)
    for undo in restore:
        undo()
    return program


_NO_ID = -(2**31)


def _ranges(function: Callable[..., Any], examples: Sequence[np.ndarray], labels: Sequence[str]) -> dict[str, Range]:
    """The ranges that the function holds its inputs to. It looks at ids before any kernel follows them.

    A program has no such looks: what reads its inputs next is the outside, which has to know the ranges.
    """
    found = {}
    for label, array in zip(labels, examples, strict=True):
        if array.dtype in (np.int32, np.int64) and array.size:
            strange = [np.full_like(item, _NO_ID) if item is array else item for item in examples]
            try:
                function(*map(wrap, strange))
            except IndexRangeError as error:
                if error.allowed is not None:
                    found[label] = Range(*error.allowed)
    return found


def _compare(
    creation: _Recording, first: _Recording, second: _Recording, examples: Mapping[str, np.ndarray],
    result: Any, other_result: Any, state: Sequence[Any],
) -> Program:  # fmt: skip
    if [event.kernel for event in first.events] != [event.kernel for event in second.events]:
        raise ExportError(
            "trace: the function launches other kernels in the second run: what it does depends on values"
        )
    both = _Comparison(creation, first, second, {address_of(array) for array in examples.values()})
    launches = [both.launch(mine, theirs) for mine, theirs in zip(first.events, second.events, strict=True)]
    inputs = {
        name: both.view(array, array, f"input {name}")
        for name, array in examples.items()
        if address_of(array) in first.memory
    }
    outputs = {}
    others = dict(_named(other_result))
    for name, tensor in _named(result):
        array = tensor._array
        if address_of(arrays.owner(array)) not in first.memory:
            raise ExportError(f"result {name}: no kernel computes it")
        outputs[name] = both.view(array, others[name]._array, f"result {name}")
    kept = {
        f"{k}.{name}" if len(state) > 1 else name: tensor
        for k, item in enumerate(state)
        for name, tensor in _tensors_of(item)
    }
    shown = {
        name: both.view(tensor._array, tensor._array, f"state {name}")
        for name, tensor in kept.items()
        if both.first.memory[address_of(arrays.owner(tensor._array))].owner.size
    }
    address = {id(buffer): place for place, buffer in both.buffers.items()}
    owners = [{address[id(buffer)] for buffer in launch.buffers() if buffer.nbytes} for launch in launches]
    wanted = {address[id(view.buffer)] for view in outputs.values()}
    wanted |= {place for place, buffer in both.buffers.items() if buffer.kind == STATE and buffer.changes}
    used = _is_used(launches, first.events, wanted, owners)
    _settle(both, shown)
    return Program(
        [launch for launch, needed in zip(launches, used, strict=True) if needed],
        inputs, outputs, both.controls, shown,
    )  # fmt: skip


def _settle(both: _Comparison, shown: Mapping[str, View]) -> None:
    """What outlives a run, but that nothing changes or rewrites or names, is a constant: a table that Python keeps."""
    kept = {id(view.buffer) for view in (*shown.values(), *both.controls.values())}
    for place, buffer in both.buffers.items():
        if buffer.kind == STATE and not buffer.changes and id(buffer) not in kept:
            buffer.kind, buffer.key = CONSTANT, None
            buffer.content = both.second.memory[place].before


def _named(result: Any) -> list[tuple[str, Tensor]]:
    """The tensors of a result, with names."""
    if isinstance(result, Tensor):
        return [("output", result)]
    pairs: list[tuple[str, Any]] = []
    if isinstance(result, Mapping):
        pairs = [(str(name), item) for name, item in result.items()]
    elif isinstance(result, (tuple, list)):
        pairs = [(f"output{k}", item) for k, item in enumerate(result)]
    named: list[tuple[str, Tensor]] = []
    for name, item in pairs:
        if isinstance(item, Tensor):
            named.append((name, item))
        else:
            named += [(f"{name}.{inner}", tensor) for inner, tensor in _named(item)]
    if not named:
        raise ArgumentTypeError(f"function: expected a result of tensors, got {type(result).__name__}")
    return named


def _tensors_of(item: Any) -> list[tuple[str, Tensor]]:
    """The tensors that a module, an optimizer or a tensor keeps."""
    if isinstance(item, Tensor):
        return [("tensor", item)]
    if hasattr(item, "state_dict") and hasattr(item, "named_parameters"):
        return [*item.named_parameters(), *item.named_buffers()]
    if hasattr(item, "param_groups"):
        moments = []
        for number, (_, kept) in enumerate(item.state.items()):
            moments += [(f"{number}.{name}", value) for name, value in kept.items() if isinstance(value, Tensor)]
        return [(name, tensor) for name, tensor in moments if not name.endswith(".step")]
    raise ArgumentTypeError(f"state: expected modules, optimizers or tensors, got {type(item).__name__}")


def _arrays_of(state: Sequence[Any]) -> list[np.ndarray]:
    return [tensor._array for item in state for _, tensor in _tensors_of(item) if tensor._array.size]


def _snapshot(item: Any) -> Callable[[], None]:
    """What puts the item back as it is now."""
    if hasattr(item, "param_groups"):
        kept = item.state_dict()
        copied = {
            **kept,
            "state": {k: {name: v.clone() if isinstance(v, Tensor) else v for name, v in entry.items()}
                      for k, entry in kept["state"].items()},
        }  # fmt: skip
        return lambda: item.load_state_dict(copied)
    values = [(tensor._array, tensor._array.copy()) for _, tensor in _tensors_of(item)]

    def restore() -> None:
        for array, value in values:
            array[...] = value

    return restore
