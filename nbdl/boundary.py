"""The boundary of the library: an error from deep inside becomes one that names the argument.

Functions check what they can check cheaply. What else can go wrong with a wrong argument (a list where a tensor
belongs, a number that no index reaches) shows itself as some error of Python, NumPy or Numba. On its way out it passes
a boundary, which compares the arguments with their type hints and raises a named error in its place, with the first as
its cause. A call that goes well pays for one more frame and nothing else. Errors of the caller's own code, a hook or a
callback, pass unchanged.

This file imports nothing of nbdl: the floors of computation and the data floor, which share nothing else, both use it.
"""

from __future__ import annotations

import errno
import functools
import inspect
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_FOREIGN: tuple[type[Exception], ...] = (
    *(TypeError, AttributeError, ValueError, KeyError, IndexError, OverflowError, ZeroDivisionError),
    *(AssertionError, RecursionError, SystemError, NotImplementedError),
)
_PLACES = (*(str(Path(file).parent) for file in (__file__, np.__file__)), "<frozen ")
_PACKAGES = ("nbdl", "numpy", "numba", "llvmlite")
_COMPILER = ("/numba/", "/llvmlite/")
_STANDARD_LIBRARY = str(Path(inspect.__file__).parent)


def _is_inside(frame: types.FrameType) -> bool:
    """Whether code of nbdl, of what it is made of or of the standard library: an error there comes from arguments."""
    file = frame.f_code.co_filename
    if file.startswith(_PLACES) or _is_compiler(file):
        return True
    if file.startswith("<"):  # made of a text: by a package, or in the caller's interpreter
        return str(frame.f_globals.get("__name__")).split(".")[0] in _PACKAGES
    return file.startswith(_STANDARD_LIBRARY) and "site-packages" not in file


def _is_compiler(file: str) -> bool:
    return any(part in file for part in _COMPILER)


@dataclass(frozen=True)
class Boundary:
    """Where errors get their names.

    Attributes:
        passing: Errors that have one already.
        wrong_type: Makes the error of an argument of another type than its hint says: argument, expected, got.
        refused: Makes the error of arguments that fit their hints: function, whether it is about types, the arguments,
            what the first error said.
        foreign: Further errors to replace.
    """

    passing: type[Exception]
    wrong_type: Callable[[str, str, str], Exception]
    refused: Callable[[str, bool, str, str], Exception]
    foreign: tuple[type[Exception], ...] = ()

    def function(self, function: Any) -> Any:
        """The function with named errors: the same one for the same function, never two around each other."""
        if not inspect.isfunction(function) or hasattr(function, "_names_errors"):
            return function
        return _wrapped(self, function)

    def constructor(self, kind: Any) -> Any:
        """The class, whose constructor, its own or an inherited one of nbdl, has named errors from now on."""
        for base in kind.__mro__:
            if "__init__" in vars(base) and base.__module__.startswith("nbdl."):
                base.__init__ = self.function(vars(base)["__init__"])
        return kind

    def name(
        self, error: Exception, function: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any]
    ) -> Exception | None:
        """The named error to raise in the place of this one; None if it should pass as it is."""
        title = getattr(function, "__name__", "function")
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return MemoryError(f"{title}: there is no memory for the result")
        if isinstance(error, self.passing) or not isinstance(error, _FOREIGN + self.foreign):
            return None
        if isinstance(error, IndexError) and title == "__getitem__":
            return None  # by which Python knows where a sequence ends
        trace = error.__traceback__
        if trace is None or trace.tb_next is None:
            return None  # the call itself does not fit the function's signature: Python says so well
        while trace.tb_next is not None:
            trace = trace.tb_next
            if not _is_inside(trace.tb_frame):
                return None
        if isinstance(error, NotImplementedError) and not _is_compiler(trace.tb_frame.f_code.co_filename):
            return None  # a method that subclasses are to define
        try:
            signature = inspect.signature(function)
            bound = signature.bind(*arguments, **options)
        except (TypeError, ValueError):
            return None
        hints = _hints(function)
        spelled = getattr(function, "__annotations__", {})
        for name, value in bound.arguments.items():
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                continue
            hint = hints.get(name, Any)
            for member in value if kind is inspect.Parameter.VAR_POSITIONAL else (value,):
                if not _fits(member, hint):
                    return self.wrong_type(name, _spelled(spelled.get(name, hint)), _kind(member))
        listed = ", ".join(f"{name}={_kind(value)}" for name, value in bound.arguments.items() if name != "self")
        about_types = isinstance(error, (TypeError, AttributeError, NotImplementedError, *self.foreign))
        return self.refused(title, about_types, listed, " ".join(str(error).split())[:200])


@functools.cache
def _wrapped(boundary: Boundary, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except Exception as error:
            named = boundary.name(error, function, arguments, options)
            if named is None:
                raise
            raise named from error

    call._names_errors = True  # type: ignore[attr-defined]
    return call


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(getattr(function, "__func__", function))
    except Exception:  # a name that is there for type checkers only
        return {}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value may be what a type hint says. In doubt it may."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin is not None:
        parts = typing.get_args(hint)
        if origin in (tuple, list, Sequence, Iterable):
            if isinstance(value, np.ndarray):
                return value.ndim > 0
            if isinstance(value, str) or not isinstance(value, Sequence):
                return origin is Iterable and isinstance(value, Iterable) and not isinstance(value, str)
            if origin is tuple and parts[-1:] != (Ellipsis,):
                return isinstance(value, (tuple, list)) and len(value) == len(parts)
            return not parts or all(_fits(member, parts[0]) for member in value)
        return not isinstance(origin, type) or isinstance(value, origin)
    if hint is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, numbers.Integral)
    if hint is None or hint is type(None):
        return value is None
    return hint is Any or not isinstance(hint, type) or isinstance(value, hint)


def _spelled(hint: Any) -> str:
    return hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))


def _kind(value: Any) -> str:
    """What a value is, in a word or two."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None and not isinstance(value, type):
        return f"{type(value).__name__} {dtype}{list(shape)}"
    if isinstance(value, (bool, numbers.Number, str)) and len(repr(value)) < 40:
        return f"{type(value).__name__} {value!r}"
    return type(value).__name__
