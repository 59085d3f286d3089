"""The boundary of everything but the data floor: its errors are those of `nbdl.runtime.errors`."""

from __future__ import annotations

from numba.core.errors import NumbaError

from nbdl.boundary import Boundary
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, NbdlError


def _wrong_type(name: str, expected: str, got: str) -> NbdlError:
    return ArgumentTypeError(f"{name}: expected {expected}, got {got}")


def _refused(function: str, about_types: bool, arguments: str, said: str) -> NbdlError:
    if about_types:
        return ArgumentTypeError(f"{function}: cannot take {arguments} ({said})")
    return ArgumentError(f"{function}: cannot compute with {arguments} ({said})")


BOUNDARY = Boundary(NbdlError, _wrong_type, _refused, (NumbaError,))
named_errors, named_constructor, name_error = BOUNDARY.function, BOUNDARY.constructor, BOUNDARY.name
