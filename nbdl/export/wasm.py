"""Kernels and models as WebAssembly: the same code, compiled for a browser.

    from nbdl.export import trace, wasm

    program = trace(model, x, state=[model], names=["x"])
    wasm.export("site/assets", "digits", {"predict": program})

writes three files and the loader:

    digits.wasm      the kernels, compiled; for each program a function that runs all its launches
    digits.json      where in memory inputs, outputs, state and controls lie: dtype, shape, strides
    digits.weights   the state as it was when the program was traced, parameters first of all, and constants
    nbdl.mjs         the loader: a little JavaScript that shows arrays in the module's memory

A page then runs the model without a server:

    import { load } from "./nbdl.mjs";
    const digits = await load("digits");
    digits.predict.x.set(pixels);
    digits.predict();
    show(digits.predict.output);

Several models of one site share most of their kernels: `export_together` compiles them into one module.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numba
import numpy as np

from nbdl.export.trace import CONSTANT, INPUT, STATE, Addresses, Buffer, ExportError, Launch, Program, View
from nbdl.runtime import jit
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError
from nbdl.runtime.gemm.bending import CURVES
from nbdl.runtime.gemm.product import gemm_kernel

_SIZES = 5
"""The argument of a matrix product that holds its sizes and strides, and the address of its curve."""

ALIGNMENT = 64
"""Bytes; every buffer starts at a multiple of it."""

LOADER = Path(__file__).with_name("nbdl.mjs")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Kernels = Mapping[str, tuple[jit.Kernel, Sequence[str]]]
"""Single kernels by name, each with the types of its arguments."""

_LOADERS = {"array", "bind", "description", "load", "memory", "release", "reset", "state"}

_TAKEN = (
    {"fmod", "main", "nbdl_allocate", "nbdl_arena", "nbdl_release"}
    | _LOADERS
    | {
        name + kind
        for name in ("exp", "log", "tanh", "sin", "cos", "tan", "pow", "sqrt", "floor", "ceil", "trunc")
        for kind in ("", "f")
    }
)
"""Names that an exported function cannot have: C's, which compiled code may call, and the loader's."""

# ---------------------------------------------------------------- memory


class _Plan:
    """Places for the buffers of programs: state, constants, inputs and results apart, scratch one over another in time.

    Constants of the same content share a place.
    """

    def __init__(self, programs: Mapping[str, Program]) -> None:
        self.offsets: dict[int, int] = {}
        self._states: dict[int, int] = {}
        self._fixed: dict[bytes, int] = {}
        self._alive = list(programs.values())  # the offsets are by identity
        self.size = 0
        buffers = {name: list(_buffers(program)) for name, program in programs.items()}
        for found in buffers.values():
            for buffer in found:
                if buffer.kind == STATE:
                    self._place_state(buffer)
        for found in buffers.values():
            for buffer in found:
                if _is_fixed(buffer):
                    self._place_fixed(buffer)
        self.image_size = self.size
        for name, program in programs.items():
            pinned = {id(view.buffer) for view in (*program.inputs.values(), *program.outputs.values())}
            for buffer in buffers[name]:
                if id(buffer) not in self.offsets and (buffer.kind == INPUT or id(buffer) in pinned):
                    self.offsets[id(buffer)] = self._take(buffer.nbytes)
        base = self.size
        for name, program in programs.items():
            self.size = max(self.size, self._place_scratch(program, buffers[name], base))

    def __call__(self, buffer: Buffer) -> int:
        return self.offsets.get(id(buffer), 0)

    def _take(self, nbytes: int) -> int:
        offset = self.size
        self.size += -(-nbytes // ALIGNMENT) * ALIGNMENT
        return offset

    def _place_state(self, buffer: Buffer) -> None:
        key = id(buffer) if buffer.key is None else buffer.key
        if key not in self._states:
            self._states[key] = self._take(buffer.nbytes)
        self.offsets[id(buffer)] = self._states[key]

    def _place_fixed(self, buffer: Buffer) -> None:
        content = buffer.content or b""
        if content not in self._fixed:
            self._fixed[content] = self._take(buffer.nbytes)
        self.offsets[id(buffer)] = self._fixed[content]

    def _place_scratch(self, program: Program, buffers: list[Buffer], base: int) -> int:
        """Each buffer from its first launch to its last, at the lowest place that is free all that time."""
        times: dict[int, tuple[int, int]] = {}
        for number, launch in enumerate(program.launches):
            for buffer in launch.buffers():
                first, _ = times.get(id(buffer), (number, number))
                times[id(buffer)] = (first, number)
        placed: list[tuple[int, int, int, int]] = []  # offset, end, first and last launch
        top = base
        loose = [buffer for buffer in buffers if id(buffer) not in self.offsets and buffer.nbytes]
        for buffer in sorted(loose, key=lambda item: -item.nbytes):
            first, last = times[id(buffer)]
            offset = base
            for start, end, begins, ends in sorted(placed):
                if first <= ends and begins <= last and offset < end and start < offset + buffer.nbytes:
                    offset = -(-end // ALIGNMENT) * ALIGNMENT
            self.offsets[id(buffer)] = offset
            placed.append((offset, offset + buffer.nbytes, first, last))
            top = max(top, offset + buffer.nbytes)
        return -(-top // ALIGNMENT) * ALIGNMENT


def _is_fixed(buffer: Buffer) -> bool:
    """Whether the buffer holds the same all the time: it lies beside the state, and comes with the weights."""
    return buffer.kind == CONSTANT and not buffer.changes and buffer.nbytes > 0


def _buffers(program: Program) -> Iterator[Buffer]:
    """Every buffer of a program, once."""
    seen: set[int] = set()
    views = (program.inputs, program.outputs, program.controls, program.state)
    shown = [view.buffer for group in views for view in group.values()]
    for buffer in (*shown, *(buffer for launch in program.launches for buffer in launch.buffers())):
        if id(buffer) not in seen:
            seen.add(id(buffer))
            yield buffer


# ---------------------------------------------------------------- the request


def _argument(argument: Any, plan: _Plan) -> dict[str, Any]:
    if isinstance(argument, Addresses):
        argument = argument.view
    if isinstance(argument, View):
        return {
            "kind": "array",
            "dtype": argument.dtype.name,
            "offset": plan(argument.buffer) + argument.start,
            "shape": argument.shape,
            "strides": argument.strides,
            "layout": argument.layout,
            "writable": argument.writable,
        }
    if isinstance(argument, tuple):
        return {"kind": "tuple", "items": [_argument(item, plan) for item in argument]}
    if argument is None:
        return {"kind": "none"}
    value = argument.item() if isinstance(argument, np.generic) else argument
    return {"kind": "number", "type": str(numba.typeof(argument)), "value": value}


def _fill(launch: Launch, filled: set[int], plan: _Plan) -> Iterator[dict[str, Any]]:
    """What has to be in memory before a launch: what a run starts from and changes; addresses."""
    for argument in launch.arguments:
        if isinstance(argument, Addresses):
            places = [None if place is None else plan(place[0]) + place[1] for place in argument.places]
            yield {"offset": plan(argument.view.buffer) + argument.view.start, "places": places}
    for buffer in launch.buffers():
        if buffer.kind == CONSTANT and buffer.nbytes and id(buffer) not in filled:
            filled.add(id(buffer))
            if not _is_fixed(buffer):
                yield {"offset": plan(buffer), "content": base64.b64encode(buffer.content or b"").decode()}
            if launch.kernel.cpu is gemm_kernel.cpu and buffer is launch.arguments[_SIZES].buffer:
                yield from _curves(buffer, plan(buffer), launch.arguments[0].dtype)


def _curves(buffer: Buffer, offset: int, dtype: np.dtype) -> Iterator[dict[str, Any]]:
    """The curve that a matrix product's sizes name by its address (see `nbdl.runtime.gemm.bending`)."""
    numbers = np.frombuffer(buffer.content or b"", np.int64)
    for k, (curve, _) in ((k, CURVES[number]) for k, number in enumerate(numbers.tolist()) if number in CURVES):
        function = curve.py_func
        yield {"offset": offset + 8 * k, "curve": [function.__module__, function.__name__], "dtype": dtype.name}


DEEPEST = 5
"""Steps from a module to a kernel at most."""


def _paths() -> dict[int, list[Any]]:
    """For each kernel, by identity, how another process reaches it: a module's name, then `cross.find_kernel`'s steps.

    Most stand in a variable of their module. A map makes its kernels when they are first needed and keeps them as its
    attributes; it is a variable itself, or an attribute of an operation, or what a function closes over.
    """
    found: dict[int, list[Any]] = {}
    queue: deque[tuple[Any, list[Any]]] = deque(
        (module, [name]) for name, module in list(sys.modules.items()) if module and name != "__main__"
        if name.startswith("nbdl.") or name.partition(".")[0] not in sys.stdlib_module_names
    )  # fmt: skip
    seen: set[int] = set()
    while queue:
        value, path = queue.popleft()
        if isinstance(value, jit.Kernel):
            found.setdefault(id(value), path)
        elif id(value) not in seen and len(path) <= DEEPEST:
            seen.add(id(value))
            queue.extend((inner, [*path, step]) for step, inner in _inside(value))
    return found


def _is_ours(kind: type) -> bool:
    return str(kind.__module__).startswith("nbdl.")


def _inside(value: Any) -> Iterator[tuple[Any, Any]]:
    """What a kernel may stand in or behind, one step on."""
    if isinstance(value, ModuleType) or _is_ours(value if isinstance(value, type) else type(value)):
        for name, inner in list(getattr(value, "__dict__", {}).items()):
            if not isinstance(inner, ModuleType):
                yield name, inner
    elif isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # an empty cell
                yield {"closure": name}, cell.cell_contents
        if hasattr(value, "__wrapped__"):
            yield "__wrapped__", value.__wrapped__
    elif isinstance(value, staticmethod):
        yield "__func__", value.__func__
    elif isinstance(value, dict):
        yield from (({"item": key}, inner) for key, inner in value.items() if isinstance(key, str))
    elif isinstance(value, tuple):  # not lists: what is appended to them depends on the order of events
        yield from (({"item": k}, inner) for k, inner in enumerate(value))


def _request(
    models: Mapping[str, Mapping[str, Program]], plans: Mapping[str, _Plan], kernels: Kernels
) -> dict[str, Any]:
    uses: dict[int, int] = {}
    paths = _paths()

    def number(kernel: jit.Kernel) -> int:
        if id(kernel) not in paths:
            raise ExportError(f"export: kernel {kernel.name} stands in no variable of a module that can be imported")
        return uses.setdefault(id(kernel), len(uses))

    described = {}
    for model, programs in models.items():
        for name, program in programs.items():
            filled: set[int] = set()
            described[_function(models, model, name)] = {
                "ranges": [
                    {**_argument(program.inputs[label], plans[model]), **asdict(allowed)}
                    for label, allowed in program.ranges.items()
                ],
                "launches": [
                    {
                        "kernel": number(launch.kernel),
                        "tasks": launch.tasks,
                        "arguments": [_argument(argument, plans[model]) for argument in launch.arguments],
                        "fill": list(_fill(launch, filled, plans[model])),
                    }
                    for launch in program.launches
                ],
            }
    alone = {name: {"kernel": number(kernel), "arguments": list(given)} for name, (kernel, given) in kernels.items()}
    return {
        "arena": max((plan.size for plan in plans.values()), default=0),
        "programs": described,
        "kernels": alone,
        "uses": [paths[kernel] for kernel in uses],
    }


def _function(models: Mapping[str, Any], model: str, program: str) -> str:
    """What the module calls a program: models that share one tell theirs apart by their names."""
    return program if len(models) == 1 else f"{model}_{program}"


def _compile(request: dict[str, Any], target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "request.json"
        source.write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, "-m", "nbdl.export.cross", str(source), str(target)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = result.stderr.strip().splitlines()
        raise ExportError("export: " + (lines[-1] if lines else f"the compiler ended with {result.returncode}"))


# ---------------------------------------------------------------- public


def _shown(views: Mapping[str, View], plan: _Plan) -> dict[str, Any]:
    return {
        name: {
            "dtype": view.dtype.name,
            "offset": plan(view.buffer) + view.start,
            "shape": list(view.shape),
            "strides": [step // view.dtype.itemsize for step in view.strides],
        }
        for name, view in views.items()
    }


def export(
    folder: str | Path, name: str, programs: Mapping[str, Program], kernels: Kernels | None = None
) -> dict[str, Any]:
    """Writes programs as one WebAssembly module, with its interface, its weights and the loader.

    Programs that were traced with the same `state` share it: one that trains leaves its parameters to one that
    predicts.

    Args:
        folder: Where the files go; it is made if it is not there.
        name: What the files are called.
        programs: From `trace`, by the name of the function each becomes.
        kernels: Single kernels: for each name a Kernel and the types of its arguments, such as
            `(kernel, ["float32[:, :]", "float32[:]", "float32"])`.

    Returns:
        The interface, as in the JSON file: `programs` with `inputs`, `outputs` and `controls`, `state`, and `bytes`,
        the size of all arrays in memory.

    Raises:
        ArgumentError: A name is no identifier, or is taken.
        ExportError: A kernel needs what WebAssembly lacks, or the linker is missing (`pip install nbdl[wasm]`).
    """
    return export_together(folder, name, {name: programs}, kernels)[name]


def export_together(
    folder: str | Path, name: str, models: Mapping[str, Mapping[str, Program]], kernels: Kernels | None = None
) -> dict[str, dict[str, Any]]:
    """Writes models that share one WebAssembly module, each with an interface and weights of its own.

    What several models call is compiled once. A page that loads one of them fetches the module, and of the weights
    only that model's.

    Args:
        folder: Where the files go; it is made if it is not there.
        name: What the module's file is called.
        models: The programs of each model, by the name that its files have and that a page loads it by.
        kernels: Single kernels, as `export` takes them; every model has them.

    Returns:
        The interface of each model, as `export` returns it.

    Raises:
        ArgumentError: A name is no identifier, or is taken.
        ExportError: A kernel needs what WebAssembly lacks, or the linker is missing (`pip install nbdl[wasm]`).
    """
    kernels = dict(kernels or {})
    _check_names(models, kernels)
    plans = {model: _Plan(programs) for model, programs in models.items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _compile(_request(models, plans, kernels), folder / f"{name}.wasm")
    shutil.copyfile(LOADER, folder / LOADER.name)
    interfaces = {}
    for model, programs in models.items():
        interface = _interface(name, models, model, plans[model], kernels)
        (folder / f"{model}.json").write_text(json.dumps(interface, indent=1) + "\n", encoding="utf-8")
        (folder / f"{model}.weights").write_bytes(_weights(programs, plans[model]))
        interfaces[model] = interface
    return interfaces


def _check_names(models: Mapping[str, Mapping[str, Program]], kernels: Kernels) -> None:
    functions = [_function(models, model, label) for model, programs in models.items() for label in programs]
    labels = [label for programs in models.values() for label in programs]
    for label in (*labels, *functions, *kernels):
        if not _NAME.fullmatch(label) or label in _TAKEN:
            raise ArgumentError(f"programs: {label!r} cannot name a function of the module")
    for programs in models.values():
        for label, program in programs.items():
            if not isinstance(program, Program):
                raise ArgumentTypeError(f"programs: expected a Program for {label}, got {type(program).__name__}")
    if not (functions or kernels) or len({*functions, *kernels}) < len(functions) + len(kernels):
        raise ArgumentError("programs: expected at least one function, and each name once")


def _interface(
    module: str, models: Mapping[str, Mapping[str, Program]], model: str, plan: _Plan, kernels: Kernels
) -> dict[str, Any]:
    """What a page has to know of a model."""
    programs = models[model]
    return {
        "module": module,
        "bytes": plan.size,
        "weights": plan.image_size,
        "programs": {
            label: {
                "function": _function(models, model, label),
                "inputs": _shown(program.inputs, plan),
                "ranges": {name: asdict(allowed) for name, allowed in program.ranges.items()},
                "outputs": _shown(program.outputs, plan),
                "controls": _shown(program.controls, plan),
            }
            for label, program in programs.items()
        },
        "state": {
            label: shown for program in programs.values() for label, shown in _shown(program.state, plan).items()
        },
        "kernels": {label: list(given) for label, (_, given) in kernels.items()},
    }


def _weights(programs: Mapping[str, Program], plan: _Plan) -> bytes:
    """The state of the programs and their constants, as they lie at the start of the arena."""
    weights = bytearray(plan.image_size)
    for program in programs.values():
        for buffer in _buffers(program):
            if (buffer.kind == STATE or _is_fixed(buffer)) and buffer.content:
                weights[plan(buffer) : plan(buffer) + buffer.nbytes] = buffer.content
    return bytes(weights)
