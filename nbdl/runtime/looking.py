"""Looks at values: what a check has to see of an array that kernels write or read.

A check looks at once, but for two cases in which the values are not there yet, or will be others: kernels of a GPU in
a graph that is recorded run after the function has returned, and a graph on the CPU repeats launches on other values.
There a check looks in every run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.runtime.cuda.array import DeviceArray


class _Now(threading.local):
    recorder: Any = None


now = _Now()
"""`recorder` is what records this thread's launches on the CPU (see `nbdl.graphs`); None most of the time."""


def waits(array: Any) -> bool:
    """Whether Python must not look at the array's values itself: it lies on a GPU, or launches are recorded."""
    return now.recorder is not None or type(array) is DeviceArray


def number(array: Any) -> Any:
    """The one element of an array of the CPU, as an argument of kernels; a graph reads it anew in each run."""
    value = array.reshape(())[()]
    return value if now.recorder is None else now.recorder.number(array, value)


def look(array: Any, check: Callable[[np.ndarray], None]) -> None:
    """Shows a check the values of an array: now, or in each run of the graph that is recorded."""
    if type(array) is DeviceArray:
        from nbdl.runtime.cuda import memory as cuda_memory

        cuda_memory.look(array, check)
    elif now.recorder is None:
        check(array)
    else:
        now.recorder.look(array, check)


def refuse_in_graph(what: str) -> None:
    """Raises RecordingError (on a GPU, DeviceError) while launches are recorded: a run would not have it."""
    from nbdl.runtime.cuda import memory as cuda_memory

    if now.recorder is not None:
        now.recorder.refuse(what)
    cuda_memory.refuse_while_recording(what)
