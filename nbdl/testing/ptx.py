"""Compiles CUDA kernels to machine code on a computer without a GPU, and reads what the compiler says of them.

    from nbdl.testing import ptx

    for kernel, types in ptx.kernels_in_use(run):          # run() launches them, in the SIMT interpreter
        report = ptx.compile_kernel(kernel, types, (9, 0))
        assert report.spilled_bytes == 0 and not report.leaks

The argument types are those that the library itself passes: `kernels_in_use` watches launches in the interpreter, so a
kernel is compiled as it would be on a GPU. numba-cuda makes PTX, the portable assembly; ptxas makes machine code of it
and counts registers; nvdisasm names the instructions. All come from PyPI (the dependency group `ptx`) and need no
driver.
"""

from __future__ import annotations

import functools
import importlib.util
import multiprocessing
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbdl.runtime import jit
from nbdl.runtime.cuda import compiler
from nbdl.runtime.errors import DeviceError
from nbdl.testing import sass, simt

Use = tuple[jit.Kernel | jit.CudaFunction, tuple[Any, ...]]
"""A kernel and the types of its arguments."""

CAPABILITIES = ((7, 5), (8, 0), (9, 0))
"""What kernels are compiled for: Turing, Ampere and Hopper."""

_HARMLESS = ("ld.", "st.", "mov.", "setp.", "selp.", "cvt.rn.f32.f64")
"""Instructions on float64 that fetch, compare or round arguments."""

_WIDENING = "cvt.f64."

_FLOAT64_INSTRUCTION = re.compile(r"^\s*(?:@!?%p\d+\s+)?(\w[\w.]*\.f64[\w.]*)\s.*;", re.MULTILINE)


@dataclass(frozen=True)
class Report:
    """What the compiler made of a kernel.

    Attributes:
        name: The kernel's.
        capability: The compute capability it was compiled for.
        registers: Registers a thread uses.
        spilled_bytes: Bytes a thread moves between registers and slow memory because it has too few of them.
        stack_bytes: Bytes of a thread's slow memory, local arrays included.
        shared_bytes: Bytes of shared memory a block uses.
        float64_instructions: Instructions on float64 numbers, in PTX.
        instructions: Of the machine code, how many belong to each class of `sass.CLASSES`.
        leaks: Those that a kernel of float32 arrays should not have: arithmetic in float64, up to 64 times slower, and
            unless there are float64 arrays too, float32 numbers made wider. Reading a float64 argument and rounding
            it is no leak.
    """

    name: str
    capability: tuple[int, int]
    registers: int
    spilled_bytes: int
    stack_bytes: int
    shared_bytes: int
    float64_instructions: tuple[str, ...]
    leaks: tuple[str, ...]
    instructions: Counter[str] = field(default_factory=Counter)


@functools.cache
def find_tool(name: str) -> str:
    """The path of ptxas or nvdisasm: from NVIDIA's packages, or from PATH. Raises DeviceError if there is none."""
    namespace = importlib.util.find_spec("nvidia")
    for folder in namespace.submodule_search_locations or () if namespace else ():
        for path in sorted(Path(folder).glob(f"cu*/bin/{name}")):
            return str(path)
    found = shutil.which(name)
    if found is None:
        raise DeviceError(f"{name} is missing: pip install --group ptx, or make ptx")
    return found


def kernels_in_use(run: Callable[[], Any]) -> list[Use]:
    """Each kernel that `run()` launches, with the types of its arguments; once for each combination of types."""
    seen: dict[Use, None] = {}

    def observe(kernel: jit.Kernel, arguments: tuple[Any, ...]) -> None:
        seen.setdefault((kernel, compiler.argument_types(arguments)))

    with simt.target(races=False, precise=False, observe=observe):
        run()
    return list(seen)


def compile_kernel(
    kernel: jit.Kernel | jit.CudaFunction, types: tuple[Any, ...], capability: tuple[int, int]
) -> Report:
    """Compiles a kernel for argument types and a compute capability. Raises what the compilers raise."""
    report, code = _compile(kernel, types, capability)
    report.instructions.update(*sass.count_instructions([code], capability, find_tool("nvdisasm")))
    return report


def compile_kernels(
    uses: Sequence[Use], capabilities: Sequence[tuple[int, int]] = CAPABILITIES, processes: int = 1
) -> list[list[Report | str]]:
    """Compiles many kernels: for each the reports for all capabilities, or in the place of one what went wrong.

    Args:
        uses: The kernels and the types of their arguments.
        capabilities: The compute capabilities. One that a kernel does not support has no report.
        processes: How many work side by side. They are forked, so that they have the kernels without sending them.
    """
    tasks = [(number, min(number + _BATCH, len(uses))) for number in range(0, len(uses), _BATCH)]
    if processes == 1:
        return [reports for task in tasks for reports in _compile_batch(uses, capabilities, *task)]
    global _shared
    _shared = (uses, capabilities)
    try:
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            return [reports for batch in pool.imap(_compile_shared, tasks) for reports in batch]
    finally:
        _shared = None


_BATCH = 24
"""Kernels whose code one run of nvdisasm reads."""

_shared: tuple[Sequence[Use], Sequence[tuple[int, int]]] | None = None
"""What forked processes work on."""


def _compile_shared(task: tuple[int, int]) -> list[list[Report | str]]:
    assert _shared is not None
    return _compile_batch(*_shared, *task)


def _compile_batch(
    uses: Sequence[Use], capabilities: Sequence[tuple[int, int]], first: int, last: int
) -> list[list[Report | str]]:
    results: list[list[Report | str]] = []
    codes: dict[tuple[int, int], list[tuple[Report, bytes]]] = {capability: [] for capability in capabilities}
    for kernel, types in uses[first:last]:
        results.append([])
        for capability in capabilities:
            if capability < compiler.least_capability(_function(kernel)):
                continue
            try:
                report, code = _compile(kernel, types, capability)
            except Exception as error:  # whatever a compiler raises is a finding of the check
                results[-1].append(str(error).strip() or type(error).__name__)
                continue
            results[-1].append(report)
            codes[capability].append((report, code))
    for capability, compiled in codes.items():
        counts = sass.count_instructions([code for _, code in compiled], capability, find_tool("nvdisasm"))
        for (report, _), count in zip(compiled, counts, strict=True):
            report.instructions.update(count)
    return results


def _function(kernel: jit.Kernel | jit.CudaFunction) -> jit.CudaFunction:
    return kernel.cuda if isinstance(kernel, jit.Kernel) else kernel


def _compile(
    kernel: jit.Kernel | jit.CudaFunction, types: tuple[Any, ...], capability: tuple[int, int]
) -> tuple[Report, bytes]:
    """The report of a kernel, yet without its instructions, and its machine code."""
    function = _function(kernel)
    text = compiler.compile_to_ptx(function.py_func, types, capability)
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(text)
        command = [find_tool("ptxas"), "-v", f"-arch=sm_{capability[0]}{capability[1]}", str(source), "-o", str(cubin)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DeviceError(f"ptxas refuses {function.py_func.__name__}: {done.stderr.strip()}")
        code = sass.code_of(cubin.read_bytes())
    instructions = tuple(_FLOAT64_INSTRUCTION.findall(text))
    arrays = {str(item.dtype) for item in types if hasattr(item, "ndim") and hasattr(item, "dtype")}
    report = Report(
        name=function.py_func.__name__.strip("_"),
        capability=capability,
        registers=_number(r"Used (\d+) registers", done.stderr),
        spilled_bytes=_number(r"(\d+) bytes spill stores", done.stderr)
        + _number(r"(\d+) bytes spill loads", done.stderr),
        stack_bytes=_number(r"(\d+) bytes stack frame", done.stderr),
        shared_bytes=_number(r"(\d+) bytes smem", done.stderr),
        float64_instructions=instructions,
        leaks=_leaks(instructions, arrays),
    )
    return report, code


def _leaks(instructions: tuple[str, ...], arrays: set[str]) -> tuple[str, ...]:
    if "float32" not in arrays:
        return ()
    harmless = (*_HARMLESS, _WIDENING) if "float64" in arrays else _HARMLESS
    return tuple(instruction for instruction in instructions if not instruction.startswith(harmless))


def _number(pattern: str, text: str) -> int:
    """The sum of the numbers that a pattern finds: ptxas reports each function of a file."""
    return sum(int(number) for number in re.findall(pattern, text))
