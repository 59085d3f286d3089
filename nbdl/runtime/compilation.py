"""Watching the compiler: which kernel is being compiled right now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core import event


class _Listener(event.Listener):
    def __init__(self, callback: Callable[[str], None]) -> None:
        self._callback = callback

    def on_start(self, event: event.Event) -> None:
        function = event.data["dispatcher"].py_func
        if function.__module__.startswith("nbdl.") and function.__name__.isidentifier():  # no glue of Numba's
            self._callback(function.__name__.strip("_").removesuffix("_cpu"))

    def on_end(self, event: event.Event) -> None:
        pass


@contextmanager
def on_compile(callback: Callable[[str], None]) -> Iterator[None]:
    """Inside the block, calls `callback(name)` before each function of nbdl that is compiled and not in the cache."""
    listener = _Listener(callback)
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)
