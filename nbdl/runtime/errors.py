"""Every error that nbdl raises on purpose. Each also derives from the built-in exception a caller would expect."""


class NbdlError(Exception):
    """Base of all errors of nbdl."""


class ArgumentError(NbdlError, ValueError):
    """An argument has the right type and a wrong value."""


class ShapeError(NbdlError, ValueError):
    """An array has another shape or rank than the operation needs."""


class DTypeError(NbdlError, TypeError):
    """An array has another dtype than the operation needs, or two arrays disagree."""


class ArgumentTypeError(NbdlError, TypeError):
    """An argument is of another type than the operation takes."""


class IndexRangeError(NbdlError, IndexError):
    """An index, class id or dimension lies outside its range.

    Attributes:
        allowed: Where ids were held to a range: the least and the greatest, and one more that is allowed, or None.
    """

    def __init__(self, message: str, allowed: tuple[int, int, int | None] | None = None) -> None:
        super().__init__(message)
        self.allowed = allowed


class DeviceError(NbdlError, RuntimeError):
    """A device is missing or tensors live on different devices. The message says how to mend it."""


class DeviceMemoryError(DeviceError, MemoryError):
    """The GPU has no memory left for an array. The message names what was asked for, what is free and who holds it."""


class RecordingError(DeviceError):
    """A function cannot be recorded as a graph: it does something that launches of kernels alone do not repeat."""


class GradientError(NbdlError, RuntimeError):
    """backward() cannot run: no graph, a graph already freed, or a saved tensor changed in place."""


class NumericalError(NbdlError, ArithmeticError):
    """A value became NaN or infinite where a finite one is needed."""


class StateError(NbdlError, KeyError, RuntimeError):
    """A state dict lacks entries or has unexpected ones, or something is not possible in the present state."""

    def __str__(self) -> str:  # KeyError would print the repr, quotes and \\n included
        return str(self.args[0]) if self.args else ""


class FileFormatError(NbdlError, ValueError):
    """A file is damaged, or of another format than the function reads."""
