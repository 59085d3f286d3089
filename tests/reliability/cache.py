"""The cache of compiled kernels: never a wrong result, whoever runs beside, whatever happened to its files."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.reliability.area import Area, BrokenPromiseError, part

ROOT = Path(__file__).parents[2]
TOGETHER = 32
DAMAGED = 100

MODULE = """
import numpy as np
from callees import callee
from constants import FACTOR
from nbdl.runtime.jit import cpu_function
from numba.core.runtime import nrtdynmod
@cpu_function
def kernel(x):
    total = 0.0
    for i in range(x.size):
        total += callee(x[i])
    return total * FACTOR
create, created = nrtdynmod.create_nrt_module, []
nrtdynmod.create_nrt_module = lambda *arguments: created.append(1) or create(*arguments)
print(kernel(np.arange(4.0)), sum(kernel.stats.cache_misses.values()), len(created))
"""
CALLEES = """
from nbdl.runtime.jit import scalar
@scalar
def callee(x):
    return x + {}
"""
COMPILED, CACHED = ["10.0", "1", "1"], ["10.0", "0", "0"]
"""The program's result, the kernels it compiled, and whether it compiled what Numba itself needs."""


def write_program(folder: Path, addend: int = 1, factor: int = 1) -> None:
    """A kernel that calls a function of another file and uses a constant of a third one."""
    (folder / "constants.py").write_text(f"FACTOR = {factor}\n")
    (folder / "callees.py").write_text(CALLEES.format(addend))
    (folder / "module.py").write_text(MODULE)


def start(folder: Path, cache: Path, **environment: str) -> subprocess.Popen[str]:
    """The program in a process of its own."""
    path = f"{ROOT}{os.pathsep}{folder}"
    return subprocess.Popen(
        [sys.executable, "-B", "module.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "NBDL_CACHE_DIR": str(cache), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen[str]) -> list[str]:
    output, errors = process.communicate()
    if process.returncode:
        raise BrokenPromiseError(f"the program ended with {process.returncode}: {errors[-500:]}")
    return output.split()


def expect(process: subprocess.Popen[str], when: str, right: str = COMPILED[0]) -> None:
    found = result(process)[0]
    if found != right:
        raise BrokenPromiseError(f"{when}: expected {right}, got {found}")


def prove(share: float) -> dict[str, Any]:
    rng = random.Random(0)
    together, damaged = part(TOGETHER, share), part(DAMAGED, share)
    with tempfile.TemporaryDirectory() as temporary:
        folder, cache = Path(temporary, "program"), Path(temporary, "cache")
        folder.mkdir()
        write_program(folder)
        for process in [start(folder, cache) for _ in range(together)]:
            expect(process, f"{together} first runs at once")
        files = sorted(cache.glob("*.kernel"))
        if not files:
            raise BrokenPromiseError("nothing was cached")
        whole = {path: path.read_bytes() for path in files}
        for number in range(damaged):
            for path, contents in whole.items():
                path.write_bytes(contents)
            path = rng.choice(files)
            if number % 3 == 0:
                path.write_bytes(whole[path][: rng.randrange(len(whole[path]))])
            elif number % 3 == 1:
                place = rng.randrange(len(whole[path]))
                path.write_bytes(whole[path][:place] + bytes([whole[path][place] ^ 16]) + whole[path][place + 1 :])
            else:
                path.write_bytes(whole[rng.choice(files)] if len(files) > 1 else b"")
            expect(start(folder, cache), f"damaged file {number}")
        write_program(folder, addend=5)
        expect(start(folder, cache), "an edited callee", "26.0")
        write_program(folder)
        blocked = Path(temporary, "file")
        blocked.write_text("no folder")
        expect(start(folder, blocked / "cache"), "no place to write to")
        generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
        expect(start(folder, cache, **generic), "another processor's cache")
        expect(start(folder, cache), "after another processor's run")
    return {
        "first runs at the same time": together,
        "damaged or swapped files": damaged,
        "edited callee, no folder, another processor": 4,
        "wrong results": 0,
    }


AREA = Area("cache", "The cache of compiled kernels never gives a wrong result.", prove)
