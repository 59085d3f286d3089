"""What a profile is made of: every layer, operation, launch and allocation, noted as it happens.

Notes are taken in the fewest words, a tuple each; what they mean is worked out when the profile is over.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.profiling.work import Sized, Work, backward_work, forward_work
from nbdl.runtime import jit
from nbdl.runtime.cuda.device import synchronize

LAYER, OPERATION, KERNEL = "layer", "operation", "kernel"
"""Kinds of events, from the outside in."""

FORWARD, BACKWARD, UPDATE = "forward", "backward", "update"
"""Phases of a training step."""

_ORDER = {LAYER: 0, OPERATION: 1, KERNEL: 2}


@dataclass(eq=False)
class Event:
    """Something that took time.

    Attributes:
        kind: 'layer' (a module's call, a backward pass, an optimizer's step), 'operation' or 'kernel'.
        name: What it is called.
        phase: 'forward', 'backward' or 'update'.
        start: Seconds since the profile began.
        seconds: How long it took.
        parent: The event in which it happened.
        kernel_seconds: Time in kernels; the rest is Python.
        work: Floating-point operations, counted from the shapes.
        bytes_moved: Bytes of what an operation read and wrote, each once.
        bytes_live: Bytes of arrays made since the profile began and alive at the end of an operation.
    """

    kind: str
    name: str
    phase: str
    start: float
    seconds: float
    parent: Event | None = None
    kernel_seconds: float = 0.0
    work: Work = field(default_factory=Work)
    bytes_moved: int = 0
    bytes_live: int = 0

    @property
    def stop(self) -> float:
        return self.start + self.seconds

    @property
    def depth(self) -> int:
        """The number of events around it."""
        return 0 if self.parent is None else self.parent.depth + 1


class _Alive(weakref.ref):  # type: ignore[type-arg]
    """A reference that knows how many bytes end with its array."""

    __slots__ = ("nbytes",)
    nbytes: int


class Meter:
    """Bytes of the arrays that were made while it ran: alive now, and at most."""

    def __init__(self) -> None:
        self.live = self.peak = 0
        self._alive: dict[int, _Alive] = {}

    def allocation(self, empty: Any) -> Any:
        """The wrapper of `memory.empty`."""
        alive = self._alive

        def ended(reference: _Alive) -> None:
            if alive.pop(id(reference), None) is not None:
                self.live -= reference.nbytes

        def watched(shape: Any, dtype: Any) -> Any:
            array = empty(shape, dtype)
            reference = _Alive(array, ended)
            reference.nbytes = array.nbytes
            alive[id(reference)] = reference
            self.live += reference.nbytes
            if self.live > self.peak:
                self.peak = self.live
            return array

        return watched


class Recorder:
    """The wrappers that take the notes."""

    def __init__(self) -> None:
        self.meter = Meter()
        self.notes: list[tuple[Any, ...]] = []

    def wrappers(self, kernels: bool, memory: bool) -> dict[str, Any]:
        """What `seams.watching` is to put around the program."""
        chosen = {
            "operation": self._operation,
            "gradient": self._gradient,
            "backward": self._frame(lambda _: ("backward pass", BACKWARD)),
            "update": self._frame(lambda optimizer: (f"{type(optimizer).__name__}.step", UPDATE)),
            "layer": self._frame(lambda module: (type(module).__name__, FORWARD)),
        }
        if kernels:
            chosen["kernel"] = self._kernel
        if memory:
            chosen["allocation"] = self.meter.allocation
        return chosen

    def _frame(self, name_of: Any) -> Any:
        """A wrapper that notes a call under the name and phase that `name_of(first argument)` says."""

        def wrapper(function: Any) -> Any:
            notes, clock, meter = self.notes, perf_counter_ns, self.meter

            def watched(*args: Any, **kwargs: Any) -> Any:
                start = clock()
                try:
                    return function(*args, **kwargs)
                finally:
                    stop = clock()
                    notes.append((LAYER, start, stop, meter.live, name_of(args[0])))

            return watched

        return wrapper

    def _operation(self, apply: Any) -> Any:
        notes, clock, meter = self.notes, perf_counter_ns, self.meter

        def watched(op: Any, *inputs: Any) -> Any:
            start = clock()
            result = apply(op, *inputs)
            stop = clock()
            outputs = result if type(result) is tuple else (result,)
            note = (OPERATION, start, stop, meter.live, op, _noted(inputs), _noted(outputs))
            notes.append(note)
            node = outputs[0]._node
            if node is not None and node.op is op:
                node.described = note
            return result

        return watched

    def _gradient(self, step: Any) -> Any:
        notes, clock, meter = self.notes, perf_counter_ns, self.meter

        def watched(node: Any, incoming: Any, retain_graph: bool, wanted: Any) -> Any:
            saved = node._saved
            start = clock()
            outgoing = step(node, incoming, retain_graph, wanted)
            stop = clock()
            moved = 0
            for arrays in (incoming or (), outgoing, saved or ()):
                for array in arrays:
                    if array is not None:
                        moved += array.nbytes
            described = node.__dict__.get("described")
            notes.append((BACKWARD, start, stop, meter.live, node.op, described, node.needs_input_grad, moved))
            return outgoing

        return watched

    def _kernel(self, previous: Any) -> Any:
        notes, clock = self.notes, perf_counter_ns

        def launch(kernel: Any, arguments: tuple[Any, ...]) -> None:
            start = clock()
            if previous is not None:
                previous(kernel, arguments)
            else:
                jit.launch_override = None  # this launch goes where it would go without a profile
                try:
                    kernel(*arguments)
                    if not isinstance(arguments[0], np.ndarray):
                        synchronize()
                finally:
                    jit.launch_override = launch
            notes.append((KERNEL, start, clock(), kernel))

        return launch

    def events(self, began: int) -> list[Event]:
        """The notes as events in the order of their beginnings, each with the event around it."""
        found = sorted(
            (self._event(note, began) for note in self.notes), key=lambda e: (e[0], -e[1], _ORDER[e[2].kind])
        )
        around: list[tuple[int, Event]] = []
        for start, stop, event in found:
            while around and (around[-1][0] <= start or around[-1][0] < stop):
                around.pop()
            if around:
                event.parent = around[-1][1]
                if event.parent.phase != FORWARD:
                    event.phase = event.parent.phase
            if event.kind == KERNEL:
                for _, outer in around:
                    outer.kernel_seconds += event.seconds
            around.append((stop, event))
        return [event for _, _, event in found]

    def _event(self, note: tuple[Any, ...], began: int) -> tuple[int, int, Event]:
        kind, start, stop, *rest = note
        times = (start - began) / 1e9, (stop - start) / 1e9
        if kind == KERNEL:
            event = Event(KERNEL, rest[0].name, FORWARD, *times, kernel_seconds=times[1])
        elif kind == LAYER:
            live, (name, phase) = rest
            event = Event(LAYER, name, phase, *times, bytes_live=live)
        elif kind == OPERATION:
            live, op, *noted = rest
            inputs, outputs = map(_described, noted)
            moved = sum(value.nbytes for value in (*inputs, *outputs) if isinstance(value, Sized))
            work = forward_work(op, inputs, outputs)
            event = Event(OPERATION, _name(op), FORWARD, *times, work=work, bytes_moved=moved, bytes_live=live)
        else:
            live, op, described, needs, moved = rest
            work = Work()
            if described is not None:
                inputs, outputs = map(_described, described[5:])
                work = backward_work(op, inputs, forward_work(op, inputs, outputs), needs)
            event = Event(OPERATION, _name(op), BACKWARD, *times, work=work, bytes_moved=moved, bytes_live=live)
        return start, stop, event


def _noted(values: tuple[Any, ...]) -> list[Any]:
    """Values with a list of shape and bytes in the place of each array: quickly written, and keeping nothing alive."""
    noted = []
    for value in values:
        if isinstance(value, Tensor):
            array = value._array
            noted.append([array.shape, array.nbytes])
        elif isinstance(value, np.ndarray):
            noted.append([value.shape, value.nbytes])
        else:
            noted.append(value)
    return noted


def _described(noted: list[Any]) -> tuple[Any, ...]:
    """What `describe` would have said of each value."""
    return tuple(Sized(*value) if type(value) is list and isinstance(value[0], tuple) else value for value in noted)


def _name(op: type) -> str:
    return op.__name__.removesuffix("Op")
