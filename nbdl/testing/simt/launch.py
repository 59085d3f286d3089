"""Launches: one CUDA kernel on NumPy arrays, or every kernel of the code in a `with` block."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nbdl.runtime import jit, memory
from nbdl.testing.simt.arrays import Clock, poison
from nbdl.testing.simt.schedule import Index, Memory, Scheduler
from nbdl.testing.simt.translate import translate

Shape = int | tuple[int, ...]


def launch(
    kernel: jit.CudaFunction,
    blocks: Shape,
    threads: Shape,
    *arguments: Any,
    races: bool = True,
    precise: bool = True,
    seed: int | None = None,
) -> None:
    """Runs a CUDA kernel on NumPy arrays and numbers; arrays are changed in place.

    Args:
        kernel: A function decorated with `cuda_kernel`.
        blocks: Blocks of the grid, a number or up to three.
        threads: Threads of a block, a number or up to three.
        arguments: The kernel's arguments.
        races: Whether to look for races, which takes about three times as long.
        precise: Whether a float64 stored into a float32 array is an error, if no argument is a float64 array.
        seed: Of a random order of warps and lanes; the order of their numbers when None.

    Raises:
        SimtError: The kernel does something undefined; see the module's table.
    """
    translated = translate(kernel.py_func, True)
    clock = Clock(kernel.py_func.__name__.strip("_"))
    wide = any(isinstance(value, np.ndarray) and value.dtype == np.float64 for value in arguments)
    device = Memory(clock, precise and not wide, races)
    names = kernel.py_func.__code__.co_varnames
    passed = tuple(_argument(value, name, device) for name, value in zip(names, arguments, strict=False))
    if len(arguments) != kernel.py_func.__code__.co_argcount:
        expected = kernel.py_func.__code__.co_argcount
        raise TypeError(f"kernel {clock.kernel}: expected {expected} arguments, got {len(arguments)}")
    grid = _shape(blocks)
    order = None if seed is None else random.Random(seed)
    scheduler = Scheduler(translated, grid, _shape(threads), device, order)
    places = [(x, y, z) for z in range(grid.z) for y in range(grid.y) for x in range(grid.x)]
    if order is not None:
        order.shuffle(places)
    with np.errstate(all="ignore"):
        for place in places:
            scheduler.run(place, passed)


def _shape(shape: Shape) -> Index:
    sizes = shape if isinstance(shape, tuple) else (shape,)
    return Index(*(int(size) for size in sizes), *(1,) * (3 - len(sizes)))


def _argument(value: Any, name: str, device: Memory) -> Any:
    """An argument as a thread sees it: CUDA knows arrays, tuples and numbers, and a Python float as a float64."""
    if isinstance(value, np.ndarray):
        return device.wrap(value, name)
    if isinstance(value, tuple):
        return tuple(_argument(item, name, device) for item in value)
    return np.float64(value) if type(value) is float else value


@contextlib.contextmanager
def target(
    *,
    races: bool = True,
    precise: bool = True,
    seed: int | None = None,
    observe: Callable[[jit.Kernel, tuple[Any, ...]], None] | None = None,
) -> Iterator[None]:
    """Makes every launch inside run its CUDA twin in the interpreter. New buffers hold NaN until they are written.

    Args:
        races: As in `launch`.
        precise: As in `launch`.
        seed: As in `launch`.
        observe: Called with each kernel and its arguments before the launch.
    """

    def interpret(kernel: jit.Kernel, arguments: tuple[Any, ...]) -> None:
        if observe is not None:
            observe(kernel, arguments)
        blocks = kernel.blocks(*arguments)
        launch(kernel.cuda, blocks, kernel.threads, *arguments, races=races, precise=precise, seed=seed)

    previous, allocate = jit.launch_override, memory.empty
    jit.launch_override = interpret
    memory.empty = lambda shape, dtype: poison(allocate(shape, dtype))
    try:
        yield
    finally:
        jit.launch_override, memory.empty = previous, allocate
