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

PROGRAM = """
import sys
import numpy as np
from module import kernel
print(kernel(np.arange(4.0)))
"""
MODULE = """
from callee import callee
from nbdl.runtime.jit import cpu_function
@cpu_function
def kernel(x):
    total = 0.0
    for i in range(x.size):
        total += callee(x[i])
    return total
"""
CALLEE = """
from nbdl.runtime.jit import scalar
@scalar
def callee(x):
    return x + {}
"""
RIGHT = "10.0"


def start(folder: Path, cache: Path, **environment: str) -> subprocess.Popen[str]:
    """The program in a process of its own."""
    path = f"{ROOT}{os.pathsep}{folder}"
    environment = {**os.environ, "PYTHONPATH": path, "NBDL_CACHE_DIR": str(cache), **environment}
    return subprocess.Popen(
        [sys.executable, "-B", "-c", PROGRAM],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate()
    if process.returncode:
        raise BrokenPromiseError(f"the program ended with {process.returncode}: {errors[-500:]}")
    return output.strip()


def expect(found: str, when: str, right: str = RIGHT) -> None:
    if found != right:
        raise BrokenPromiseError(f"{when}: expected {right}, got {found}")


def prove(share: float) -> dict[str, Any]:
    rng = random.Random(0)
    together, damaged = part(TOGETHER, share), part(DAMAGED, share)
    with tempfile.TemporaryDirectory() as temporary:
        folder, cache = Path(temporary, "program"), Path(temporary, "cache")
        folder.mkdir()
        (folder / "module.py").write_text(MODULE)
        (folder / "callee.py").write_text(CALLEE.format(1))
        for process in [start(folder, cache) for _ in range(together)]:
            expect(result(process), f"{together} first runs at once")
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
            expect(result(start(folder, cache)), f"damaged file {number}")
        (folder / "callee.py").write_text(CALLEE.format(5))
        expect(result(start(folder, cache)), "an edited callee", "26.0")
        (folder / "callee.py").write_text(CALLEE.format(1))
        blocked = Path(temporary, "file")
        blocked.write_text("no folder")
        expect(result(start(folder, blocked / "cache")), "no place to write to")
        generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
        expect(result(start(folder, cache, **generic)), "another processor's cache")
        expect(result(start(folder, cache)), "after another processor's run")
    return {
        "first runs at the same time": together,
        "damaged or swapped files": damaged,
        "edited callee, no folder, another processor": 4,
        "wrong results": 0,
    }


AREA = Area("cache", "The cache of compiled kernels never gives a wrong result.", prove)
