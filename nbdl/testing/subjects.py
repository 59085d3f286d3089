"""Functions and modules of other projects as subjects of the checks.

A subject is named as `package.module:function` or `folder/file.py:function`; dots after the colon reach into classes
and objects. It may be a function of tensors, an `nbdl.nn.Module`, or a class or function without arguments that makes
one: then the parameters are drawn around what they are and checked as well.

What the arguments are is said in a few words each:

| description | argument |
|---|---|
| `"N D"` | floating-point tensor; each letter is a size from 1 to 5, the same wherever it occurs in a case |
| `"3 4*H"` | sizes may be numbers and multiples |
| `"... D"` | any leading dimensions, the same for all arguments |
| `""` | a tensor without dimensions |
| `"N D in 0.1..3"` | values of an interval, not of -2..2 |
| `"N ids<V"` | int64 from 0 to V - 1; V is a letter or a number |
| `"N T bool"` | booleans |
| `"number in 0..1"` | a Python number |
| `"integer in 1..3"` | a Python integer |

They come from, in this order: the caller (`--input x="N D"`, the fixture's keyword arguments); the attribute `spec` of
the function (a mapping of such words, a function of a `Draw` that makes the arguments, or an `OpSpec`); type hints,
`Annotated[Tensor, "N D"]`. A parameter hinted as plain `Tensor` is `"..."`. Parameters with a default need nothing.
A function's attribute `reference` is its definition in NumPy; values are then held against it too.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.nn import Module
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, reseeded

MOST = 5
"""Largest size that a letter stands for."""

_INTERVAL = re.compile(r"(-?[0-9.e+-]+?)\.\.(-?[0-9.e+-]+)")
_MULTIPLE = re.compile(r"(?:([0-9]+)\*)?([A-Za-z_]\w*)|([0-9]+)")


def load_subject(subject: Any, inputs: Mapping[str, str] | None = None, reference: Any = None) -> OpSpec:
    """The row of a function or module, given itself or by name.

    Raises:
        ArgumentError: The name leads nowhere, or an argument is not described.
    """
    name = subject if isinstance(subject, str) else _name_of(subject)
    found = _find(subject) if isinstance(subject, str) else subject
    spec = getattr(found, "spec", None)
    if isinstance(spec, OpSpec):
        return spec
    if (isinstance(found, type) and issubclass(found, Module)) or _makes_a_module(found):
        found = found()
    if not callable(found):
        raise ArgumentTypeError(f"{name}: expected a function or a module, got {type(found).__name__}")
    reference = reference if reference is not None else getattr(found, "reference", None)
    signature = found.forward if isinstance(found, Module) else found
    parameters: dict[str, np.ndarray] = {}
    function = found
    if isinstance(found, Module):
        function = _with_parameters(found)
        parameters = {label: p._array.astype(np.float64) for label, p in found.named_parameters()}
    if callable(spec) and not inputs:
        drawn: Callable[[Draw], dict[str, Any]] = spec
        words = None
    else:
        described = spec if isinstance(spec, Mapping) else {}
        words = _described(name, signature, {**described, **(inputs or {})})
        drawn = _drawer(words)

    def cases(draw: Draw) -> dict[str, Any]:
        case = dict(drawn(draw))
        for label, values in parameters.items():
            case[label] = values + draw.rng.uniform(-0.1, 0.1, values.shape)
        return case

    named = reseeded(function)
    named.__name__ = name
    sample = cases(Draw(lambda low, high: low))
    checked = tuple(label for label, value in sample.items() if _is_floating(value))
    return OpSpec(
        named,
        reference,
        cases,
        checked,
        tolerance={"float64": 1e-9, "float32": 1e-4},
        described=dict(inputs) if inputs else None,
    )


def _is_floating(value: Any) -> bool:
    members = value if isinstance(value, (list, tuple)) else [value]
    return any(isinstance(member, np.ndarray) and member.dtype.kind == "f" for member in members)


# ---------------------------------------------------------------- finding


def _name_of(subject: Any) -> str:
    kind = subject if hasattr(subject, "__qualname__") else type(subject)
    return f"{kind.__module__}:{kind.__qualname__}"


def _find(name: str) -> Any:
    """The object that `module:path` or `file.py:path` names."""
    place, colon, path = name.rpartition(":")
    if not (colon and place and path):
        raise ArgumentError(f"{name!r}: expected package.module:function or file.py:function")
    if place.endswith(".py"):
        file = Path(place)
        if not file.is_file():
            raise ArgumentError(f"{place}: expected a Python file, found none")
        specification = importlib.util.spec_from_file_location(file.stem, file)
        assert specification is not None and specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules.setdefault(file.stem, module)  # type hints are looked up in the module
        specification.loader.exec_module(module)
    else:
        sys.path.insert(0, "")  # as `python -m` does: what lies in the working folder can be named
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{place}.".startswith(f"{error.name}."):
                raise
            raise ArgumentError(f"{name!r}: no module {error.name!r}") from error
        finally:
            sys.path.remove("")
    found: Any = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise ArgumentError(f"{name!r}: {place} has no {path!r}")
        found = getattr(found, part)
    return found


def _makes_a_module(found: Any) -> bool:
    """Whether it is a function without arguments that says it returns a module."""
    if not inspect.isfunction(found) or inspect.signature(found).parameters:
        return False
    made = typing.get_type_hints(found).get("return")
    return isinstance(made, type) and issubclass(made, Module)


def _with_parameters(module: Module) -> Callable[..., Any]:
    """A function of the module's inputs and, by their dotted names, its parameters."""

    def call(**arguments: Any) -> Any:
        names = [name for name, _ in module.named_parameters()]
        tensors = {name: arguments.pop(name) for name in names if name in arguments}
        dtype = next((t.dtype for t in (*tensors.values(), *arguments.values()) if _floats(t)), np.dtype(np.float64))
        buffers = {
            name: (buffer.detach().to(dtype) if _floats(buffer) else buffer.detach()).clone()
            for name, buffer in module.named_buffers()
        }
        with _replaced(module, {**tensors, **buffers}):
            return module(**arguments)

    call.__doc__ = type(module).__doc__
    return call


def _floats(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype.kind == "f"


@contextmanager
def _replaced(module: Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Other tensors in the places of parameters and buffers: attributes and registers show them."""
    kept = []
    for label, tensor in tensors.items():
        parent, _, name = label.rpartition(".")
        owner = module.get_submodule(parent)
        registers: tuple[dict[str, Any], ...] = (owner.__dict__, owner._parameters, owner._buffers)
        for register in registers:
            if name in register:
                kept.append((register, name, register[name]))
                register[name] = tensor
    try:
        yield
    finally:
        for register, name, value in kept:
            register[name] = value


# ---------------------------------------------------------------- descriptions


def _described(name: str, function: Any, given: Mapping[str, str]) -> dict[str, str]:
    """A description for every argument that needs one."""
    parameters = inspect.signature(function).parameters
    unknown = sorted(set(given) - set(parameters))
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        raise ArgumentError(f"{name}: there is no argument {', '.join(unknown)}; it takes {', '.join(parameters)}")
    hints = typing.get_type_hints(getattr(function, "__func__", function), include_extras=True)
    words = dict(given)
    for label, parameter in parameters.items():
        if label in words or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        hint = hints.get(label)
        notes = [note for note in getattr(hint, "__metadata__", ()) if isinstance(note, str)]
        if notes:
            words[label] = notes[0]
        elif hint is Tensor and parameter.default is parameter.empty:
            words[label] = "..."
        elif parameter.default is parameter.empty:
            raise ArgumentError(
                f'{name}: expected to be told what the argument {label} is: a type hint Annotated[Tensor, "N D"], '
                f'an attribute spec = {{"{label}": "N D"}}, or --input {label}="N D"'
            )
    return words


def _drawer(words: Mapping[str, str]) -> Callable[[Draw], dict[str, Any]]:
    makers = {label: _maker(label, text) for label, text in words.items()}

    def inputs(draw: Draw) -> dict[str, Any]:
        sizes: dict[str, Any] = {}
        return {label: make(draw, sizes) for label, make in makers.items()}

    return inputs


def _maker(label: str, text: str) -> Callable[[Draw, dict[str, Any]], Any]:
    """What makes one argument, from its description."""
    if not isinstance(text, str):
        raise ArgumentTypeError(f"{label}: expected a description such as 'N D', got {type(text).__name__}")
    body, _, interval = text.partition(" in ")
    low, high = -2.0, 2.0
    if interval:
        ends = _INTERVAL.fullmatch(interval.strip())
        if ends is None:
            raise ArgumentError(f"{label}: expected an interval such as 0.1..3, got {interval!r}")
        low, high = float(ends[1]), float(ends[2])
    terms = body.split()
    if terms == ["number"]:
        return lambda draw, sizes: draw.number(low, high)
    if terms == ["integer"]:
        return lambda draw, sizes: draw.integer(int(low), int(high))
    kind = terms.pop() if terms and (terms[-1] == "bool" or terms[-1].startswith("ids<")) else ""
    for term in [*terms, kind.removeprefix("ids<")] if kind.startswith("ids<") else terms:
        if term != "..." and not _MULTIPLE.fullmatch(term):
            raise ArgumentError(f"{label}: expected sizes such as 'N D', '3 4*H' or '... D', got {text!r}")

    def make(draw: Draw, sizes: dict[str, Any]) -> Any:
        shape: list[int] = []
        for term in terms:
            if term == "...":
                if term not in sizes:
                    sizes[term] = [draw.integer(1, MOST) for _ in range(draw.integer(0, 2))]
                shape += sizes[term]
            else:
                shape.append(_size(draw, sizes, term))
        if kind == "bool":
            return draw.booleans(tuple(shape))
        if kind:
            return draw.integers(tuple(shape), 0, _size(draw, sizes, kind.removeprefix("ids<")) - 1)
        return draw.array(tuple(shape), low, high)

    return make


def _size(draw: Draw, sizes: dict[str, Any], term: str) -> int:
    match = _MULTIPLE.fullmatch(term)
    assert match is not None
    times, letter, number = match.groups()
    if number:
        return int(number)
    if letter not in sizes:
        sizes[letter] = draw.integer(1, MOST)
    return int(times or 1) * int(sizes[letter])
