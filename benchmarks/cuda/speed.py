"""Speed: bandwidth of a copy, memory-bound operations, products of matrices, training steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cuda.budget import Budget
from benchmarks.cuda.cases import MEMORY_BOUND, STEPS, Sizes, training_step
from benchmarks.cuda.libraries import Library
from benchmarks.cuda.timing import median_milliseconds, sets_of_inputs


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: What was timed.
        milliseconds: The medians by column; NaN where a library failed or has no such function.
        share: Percent of what the machine was measured to do; NaN where nothing was measured.
        note: What went wrong.
    """

    name: str
    milliseconds: dict[str, float]
    share: float = math.nan
    note: str = ""


def _times(columns: dict[str, Callable[[], float]]) -> tuple[dict[str, float], str]:
    """Runs the measurements; one that fails becomes NaN and a note, and the others go on."""
    found, notes = {}, []
    for name, measure in columns.items():
        try:
            found[name] = measure()
        except Exception as error:  # a missing function, too little memory, a compiler that gives up
            found[name] = math.nan
            notes.append(f"{name}: {type(error).__name__}: {(str(error).strip() or '?').splitlines()[0][:160]}")
    return found, "; ".join(notes)


def copy_bandwidth(library: Library, sizes: Sizes, budget: Budget) -> float:
    """Bytes a second of a copy on the GPU, read and written, by the driver."""
    from nbdl.runtime.cuda import device, streams

    driver = device.driver()
    sets = [
        (library.send(np.ones(sizes.elements, np.float32)), library.send(np.zeros(sizes.elements, np.float32)))
        for _ in range(sets_of_inputs(8 * sizes.elements, sizes.rotated))
    ]

    def copy(x: Any, y: Any) -> None:
        driver.copy_on_device(y._array.address, x._array.address, x._array.nbytes, streams.current().handle)

    milliseconds = median_milliseconds(library, copy, sets, sizes.rounds, budget)
    return 8 * sizes.elements / (milliseconds / 1e3)


def _time(library: Library, function: Callable[..., Any], arrays: list[Any], sizes: Sizes, budget: Budget) -> float:
    """The median time of a function on sets of arrays that take turns."""
    inputs = [tuple(map(library.send, one)) for one in arrays]
    return median_milliseconds(library, function, inputs, sizes.rounds, budget)


def memory_bound(libraries: list[Library], sizes: Sizes, bandwidth: float, budget: Budget) -> list[Row]:
    """The operations whose time is that of reading and writing."""
    rows = []
    rng = np.random.default_rng(0)
    for case in MEMORY_BOUND:
        if budget.is_spent():
            break
        shape = case.shape(sizes)
        nbytes = 4 * math.prod(shape)
        arrays = [
            tuple(rng.standard_normal(shape, np.float32) for _ in range(case.inputs))
            for _ in range(sets_of_inputs(nbytes * case.inputs, sizes.rotated))
        ]
        columns = {}
        for library in libraries:
            function = case.function(library)
            if function is not None:
                columns[library.name] = functools.partial(_time, library, function, arrays, sizes, budget)
        found, note = _times(columns)
        ideal = case.passes * nbytes / bandwidth * 1e3
        rows.append(Row(case.name, found, 100 * ideal / found["nbdl"], note))
    return rows


def products(libraries: list[Library], sizes: Sizes, budget: Budget) -> tuple[list[Row], float]:
    """Products of square matrices in float32, and the most operations a second that any library reached."""
    rows, peak = [], 0.0
    rng = np.random.default_rng(0)
    for size in sizes.products:
        if budget.is_spent():
            break
        arrays = [
            tuple(rng.standard_normal((size, size), np.float32) for _ in range(2))
            for _ in range(sets_of_inputs(8 * size * size, sizes.rotated))
        ]
        columns = {
            library.name: functools.partial(_time, library, lambda a, b: a @ b, arrays, sizes, budget)
            for library in libraries
        }
        found, note = _times(columns)
        work = 2.0 * size**3
        peak = max(peak, *(work / (time / 1e3) for time in found.values() if time > 0), 0.0)
        rows.append(Row(f"{size} x {size} x {size}", found, work / (found["nbdl"] / 1e3), note))
    return [Row(row.name, row.milliseconds, 100 * row.share / peak, row.note) for row in rows], peak


def training_steps(libraries: list[Library], sizes: Sizes, budget: Budget) -> list[Row]:
    """Whole steps: forward, backward, AdamW; as they are, and with what each library has to be faster."""
    rows = []
    for name in STEPS:
        if budget.is_spent():
            break
        columns: dict[str, Callable[[], float]] = {}
        for library in libraries:
            if library.name == "CuPy":
                continue
            for faster in (False, True):
                title = {"nbdl": ("nbdl", "nbdl, graph"), "PyTorch": ("PyTorch", "torch.compile")}[library.name][faster]

                def measure(library: Library = library, faster: bool = faster, name: str = name) -> float:
                    step, batches = training_step(library, name, sizes, faster)
                    return median_milliseconds(library, step, batches, sizes.rounds, budget)

                columns[title] = measure
        found, note = _times(columns)
        rows.append(Row(name, found, note=note))
    return rows
