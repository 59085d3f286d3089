"""Grad mode: whether operations record themselves for backward()."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from nbdl.runtime.errors import ArgumentTypeError


class _GradMode(threading.local):
    enabled = True


mode = _GradMode()


def is_grad_enabled() -> bool:
    """Whether operations record themselves for backward() in this thread."""
    return mode.enabled


def _switch(enabled: bool) -> bool:
    """Sets the mode; returns what it was."""
    before, mode.enabled = mode.enabled, bool(enabled)
    return before


class set_grad_enabled:
    """Switches the recording of operations on or off, at once and, as a context manager, until its end."""

    def __init__(self, mode: bool) -> None:
        self._before = _switch(mode)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        mode.enabled = self._before


class _GradModeContext:
    """A context manager and decorator that holds the grad mode at one value."""

    _value: bool

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        """An instance, or the decorated function: both `@no_grad` and `@no_grad()` work."""
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        self._stack: list[bool] = []

    def __enter__(self) -> None:
        self._stack.append(mode.enabled)
        mode.enabled = self._value

    def __exit__(self, *_: object) -> None:
        mode.enabled = self._stack.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return wrapped

    def _again(self) -> _GradModeContext:
        """A context of its own for each call: calls may nest, and come from several threads."""
        return type(self)()


class no_grad(_GradModeContext):
    """Context manager and decorator: operations inside are not recorded."""

    _value = False


class enable_grad(_GradModeContext):
    """Context manager and decorator: operations inside are recorded, also within `no_grad`."""

    _value = True


class inference_mode(_GradModeContext):
    """Context manager and decorator: `no_grad`, under PyTorch's name for code that never asks for gradients.

    PyTorch also spares a tensor made inside the bookkeeping of its versions, and refuses it in recorded operations
    later. Tensors here carry nothing that could be spared: those made inside are as all others.

    Args:
        mode: False for the opposite: operations inside are recorded, also within `no_grad`.

    Raises:
        ArgumentTypeError: mode is not True or False.

    Example:
        >>> x = nbdl.ones(2, requires_grad=True)
        >>> with nbdl.inference_mode():
        ...     (2 * x).requires_grad
        False
    """

    def __new__(cls, mode: bool | Callable[..., Any] = True) -> Any:
        """An instance, or the decorated function: both `@inference_mode` and `@inference_mode()` work."""
        return cls()(mode) if callable(mode) else object.__new__(cls)

    def __init__(self, mode: bool = True) -> None:
        if not isinstance(mode, bool):
            raise ArgumentTypeError(f"mode: expected True or False, got {mode!r}")
        super().__init__()
        self._value = not mode

    def _again(self) -> _GradModeContext:
        return type(self)(not self._value)
