"""Compiles CUDA kernels to machine code on a computer without a GPU, and reads what the compiler says of them.

    from nbdl.testing import ptx

    for kernel, types in ptx.kernels_in_use(run):          # run() launches them, in the SIMT interpreter
        report = ptx.compile_kernel(kernel, types, (9, 0))
        assert report.spilled_bytes == 0 and not report.leaks

The argument types are those that the library itself passes: `kernels_in_use` watches launches in the interpreter, so a
kernel is compiled as it would be on a GPU. numba-cuda makes PTX, the portable assembly; ptxas makes machine code of it
and counts registers. Both come from PyPI (the dependency group `ptx`) and need no driver.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbdl.runtime import jit
from nbdl.runtime.cuda import compiler
from nbdl.runtime.errors import DeviceError
from nbdl.testing import simt

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


def find_ptxas() -> str:
    """The path of ptxas: from the package nvidia-cuda-nvcc, or from PATH. Raises DeviceError if there is none."""
    namespace = importlib.util.find_spec("nvidia")
    for folder in namespace.submodule_search_locations or () if namespace else ():
        for path in sorted(Path(folder).glob("cu*/bin/ptxas")):
            return str(path)
    found = shutil.which("ptxas")
    if found is None:
        raise DeviceError("ptxas is missing: pip install --group ptx, or make ptx")
    return found


def kernels_in_use(run: Callable[[], Any]) -> list[tuple[jit.Kernel, tuple[Any, ...]]]:
    """Each kernel that `run()` launches, with the types of its arguments; once for each combination of types."""
    seen: dict[tuple[jit.Kernel, tuple[Any, ...]], None] = {}

    def observe(kernel: jit.Kernel, arguments: tuple[Any, ...]) -> None:
        seen.setdefault((kernel, compiler.argument_types(arguments)))

    with simt.target(races=False, precise=False, observe=observe):
        run()
    return list(seen)


def compile_kernel(
    kernel: jit.Kernel | jit.CudaFunction, types: tuple[Any, ...], capability: tuple[int, int]
) -> Report:
    """Compiles a kernel for argument types and a compute capability. Raises what the compilers raise."""
    function = kernel.cuda if isinstance(kernel, jit.Kernel) else kernel
    text = compiler.compile_to_ptx(function.py_func, types, capability)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(text)
        command = [find_ptxas(), "-v", f"-arch=sm_{capability[0]}{capability[1]}", str(source), "-o", f"{source}.cubin"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DeviceError(f"ptxas refuses {function.py_func.__name__}: {done.stderr.strip()}")
    instructions = tuple(_FLOAT64_INSTRUCTION.findall(text))
    arrays = {str(item.dtype) for item in types if hasattr(item, "ndim") and hasattr(item, "dtype")}
    return Report(
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


def _leaks(instructions: tuple[str, ...], arrays: set[str]) -> tuple[str, ...]:
    if "float32" not in arrays:
        return ()
    harmless = (*_HARMLESS, _WIDENING) if "float64" in arrays else _HARMLESS
    return tuple(instruction for instruction in instructions if not instruction.startswith(harmless))


def _number(pattern: str, text: str) -> int:
    """The sum of the numbers that a pattern finds: ptxas reports each function of a file."""
    return sum(int(number) for number in re.findall(pattern, text))
