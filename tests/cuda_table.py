"""What ptxas makes of every CUDA kernel, as a table that is kept: registers, shared memory and kinds of instructions.

    python -m tests.cuda_table            compiles all and shows what differs from the table
    python -m tests.cuda_table --write    writes the table anew (`make ptx-table`)

A test (test_ptx.py) fails where a kernel became worse than its line says: that can be seen without a GPU.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nbdl import nn, ops, optim
from nbdl.autograd import Tensor
from nbdl.ops.convolution.correlation import correlate_tiles
from nbdl.ops.indexing.rows import wrap_ids
from nbdl.runtime import arrays, philox
from nbdl.runtime.gemm import product
from nbdl.testing import properties, ptx
from nbdl.testing.draw import seeded
from nbdl.testing.specs import all_specs

TABLE = Path(__file__).with_name("cuda_kernels.tsv")

COLUMNS = ("registers", "shared", "instructions", "load16", "store16", "shared16", "tensor", "barrier")
"""Registers a thread, bytes of shared memory a block, instructions in all and of the classes of nbdl.testing.sass."""

PROCESSES = min(2, os.cpu_count() or 1)


def run_everything() -> None:
    """Launches every kernel of the library on small float32 arrays."""
    for spec in all_specs():
        for seed in range(3):
            properties.run(spec, spec.inputs(seeded(seed, layouts=False)), np.float32)
    ops.softmax(Tensor(np.ones((2, 64), np.float32)), 1)
    planes, moment = Tensor(np.ones((2, 3, 4, 4), np.float32)), Tensor(np.ones(3, np.float32))
    ops.batch_norm(planes, moment, moment)
    for name in ("SGD", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW", "NAdam"):
        parameter = Tensor(np.ones(10, np.float32), requires_grad=True)
        parameter.grad = Tensor(np.ones(10, np.float32))
        getattr(optim, name)([parameter], lr=0.1).step()
        optim.clip_grad_norm_([parameter], 0.5)
        optim.clip_grad_value_([parameter], 0.1)
    optim.GradScaler().unscale_(optim.SGD([parameter], lr=0.1))
    narrow = parameter.detach().half()
    arrays.add_arrays(narrow._array, narrow._array)
    narrow.float()
    optim.average_([Tensor(np.zeros(3, np.float32))], [Tensor(np.ones(3, np.float32))], 0.5)
    table, ids = Tensor(np.ones((5, 3), np.float32)), Tensor(np.array([1, 1, 4]))
    ops.embedding(ids, table, max_norm=0.5)
    ops.embedding(ids, table.requires_grad_(), scale_grad_by_freq=True).sum().backward()
    nn.init.orthogonal_(Tensor(np.empty((3, 4), np.float32)))
    nn.init.trunc_normal_(Tensor(np.empty(5, np.float32)))
    nn.init.trunc_normal_(Tensor(np.empty(5, np.float64)))
    generator = philox.Generator()
    y = np.empty(8, np.float32)
    philox.uniform(y, generator=generator)
    philox.uniform(y.astype(np.float64), generator=generator)
    philox.normal(y, generator=generator)
    philox.normal(y.astype(np.float64), generator=generator)
    philox.bernoulli(y, 0.5, generator=generator)
    philox.randint(np.empty(8, np.int64), 0, 5, generator=generator)
    philox.permutation(8, generator)
    none, sizes = np.empty((1, 0), np.float32), np.zeros(25, np.int64)  # products of nothing: sizes decide the rest
    for kernel in (product.gemm_large_kernel, product.gemm_tf32_kernel):
        kernel(y, y, y, y, none, sizes, np.float32(0), np.float32(0))
    correlate_tiles(y, y, y, y, none, sizes, np.zeros((0, 19), np.int64), np.float32(0))
    words = y.view(np.uint16)
    for kernel in product.gemm_word_kernels.values():
        kernel(words, words, words, y, none, sizes, np.float32(0), np.float32(0))
    wrap_ids(np.array([1, -1]), 2, np.empty(2, np.int64))
    arrays.add_arrays(y, y)
    arrays.full((8,), 1.0, np.float32)
    arrays.sum_rows(y.reshape(2, 4))


# ---------------------------------------------------------------- lines of the table


def key(use: ptx.Use) -> str:
    """A kernel and its argument types, in few words: `ops.softmax.softmax_forward(float32[2] float32[2])`."""
    kernel, types = use
    module = kernel.cpu.py_func.__module__.removeprefix("nbdl.")
    name = kernel.cuda.py_func.__name__.strip("_").removesuffix("_cuda")
    return f"{module}.{name}({' '.join(_type(item) for item in types)})"


def _type(item: object) -> str:
    dtype, dimensions = getattr(item, "dtype", None), getattr(item, "ndim", None)
    if dtype is not None and dimensions is not None:
        return f"{dtype}[{dimensions}]"
    count = getattr(item, "count", None)
    if count is not None:
        inner = getattr(item, "types", None) or [getattr(item, "dtype", "")] * count
        return f"({','.join(_type(part) for part in inner)})"
    return str(item).removeprefix("Literal[int]").removeprefix("Omitted")


def values(report: ptx.Report) -> tuple[int, ...]:
    """The report's numbers, in the order of COLUMNS."""
    counts = report.instructions
    return (report.registers, report.shared_bytes, counts["total"], *(counts[name] for name in COLUMNS[3:]))


Row = tuple[tuple[int, ...], ...]
"""For each column the numbers, one a capability that the kernel supports."""


def rows(uses: Sequence[ptx.Use], reports: Sequence[Sequence[ptx.Report | str]]) -> dict[str, Row]:
    """The lines of the table. Kernels that share a name and types share a line, with the larger numbers."""
    found: dict[str, Row] = {}
    for use, of_kernel in zip(uses, reports, strict=True):
        compiled = [values(report) for report in of_kernel if isinstance(report, ptx.Report)]
        row = tuple(zip(*compiled, strict=True))
        old = found.get(key(use))
        if old is not None:
            row = tuple(tuple(map(max, a, b)) for a, b in zip(old, row, strict=True))
        found[key(use)] = row
    return found


def write(table: dict[str, Row]) -> None:
    lines = ["\t".join(("kernel", *COLUMNS))]
    lines += ["\t".join((name, *map(_cell, row))) for name, row in sorted(table.items())]
    TABLE.write_text("\n".join(lines) + "\n")


def read() -> dict[str, Row]:
    lines = [line.split("\t") for line in TABLE.read_text().splitlines()]
    if tuple(lines[0][1:]) != COLUMNS:
        raise ValueError(f"{TABLE.name}: other columns than {COLUMNS}: make ptx-table")
    return {name: tuple(tuple(map(int, cell.split("/"))) for cell in cells) for name, *cells in lines[1:]}


def _cell(numbers: tuple[int, ...]) -> str:
    return "/".join(map(str, numbers[:1] if len(set(numbers)) == 1 and len(numbers) == 3 else numbers))


# ---------------------------------------------------------------- what counts as worse


def regressions(table: dict[str, Row], now: dict[str, Row]) -> list[str]:
    """What became worse, in words. Small changes are no fault: another Python version makes other bytecode."""
    faults = [f"{name}: not in {TABLE.name}" for name in now if name not in table]
    faults += [f"{name}: in {TABLE.name}, but nothing launches it" for name in table if name not in now]
    for name, row in now.items():
        for column, old, new in zip(COLUMNS, table.get(name, row), row, strict=True):
            old = old * len(new) if len(old) == 1 else old
            for place, (before, after) in enumerate(zip(old, new, strict=True)):
                if _is_worse(column, before, after):
                    faults.append(f"{name}: {column} {before} -> {after} ({_capability(place, len(new))})")
    return faults


def _is_worse(column: str, before: int, after: int) -> bool:
    if column == "registers":
        return after > before + max(4, before // 8)
    if column == "shared":
        return after > before
    if column == "instructions":
        return after > before + max(24, before // 4)
    return before > 0 and after == 0 if column != "barrier" else after > before


def _capability(place: int, count: int) -> str:
    major, minor = ptx.CAPABILITIES[place - count]
    return f"compute capability {major}.{minor}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the table anew")
    arguments = parser.parse_args()
    uses = ptx.kernels_in_use(run_everything)
    reports = ptx.compile_kernels(uses, processes=PROCESSES)
    failures = [
        f"{key(use)}: {item}" for use, each in zip(uses, reports, strict=True) for item in each if type(item) is str
    ]
    now = rows(uses, reports)
    if arguments.write and not failures:
        write(now)
        print(f"{TABLE.name}: {len(now)} kernels")
    else:
        failures += regressions(read(), now)
    print("\n".join(failures) or "nothing became worse")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
