"""Checked builds find an index that is out of bounds, and do not meet the kernels of ordinary ones in the cache.

Indices of too few bits are found in the types of a kernel's variables.
"""

import subprocess
import sys

import numba

from tests.reliability import bounds, index_types

KERNEL = """
import numpy as np
import nbdl
from nbdl.runtime.jit import Kernel, cpu_kernel, cuda_kernel

nbdl.set_num_threads(1)


@cpu_kernel
def _shifted_cpu(x, start, stop):
    for i in range(start, stop):
        x[i + 1] = 1


@cuda_kernel
def _shifted_cuda(x):
    pass


shifted = Kernel(cpu=_shifted_cpu, cuda=_shifted_cuda, tasks=lambda x: len(x) - 1)
room = np.zeros(8)
shifted(room[:4])
print("within", room.sum())
shifted.tasks = lambda x: len(x)
shifted(room[:4])
print("past the end", room.sum())
"""


def run(path, environment):
    command = [sys.executable, str(path)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_a_planted_index_is_found(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text(KERNEL)
    unchecked = {k: v for k, v in bounds.environment().items() if k != "NUMBA_BOUNDSCHECK"}
    cache = {"NBDL_CACHE_DIR": str(tmp_path / "cache")}
    done = run(path, unchecked | cache)
    assert done.returncode == 0 and "past the end 4.0" in done.stdout
    for _ in range(2):  # compiled, then from the cache, where the unchecked kernel lies already
        done = run(path, bounds.environment() | cache)
        assert "within 3.0" in done.stdout and "past the end" not in done.stdout
        assert done.returncode == 1 and "IndexError: index is out of bounds" in done.stderr
    assert len(list((tmp_path / "cache").glob("*shifted*"))) >= 2


def test_an_index_of_32_bits_is_found():
    def marks(x, places):
        for i in range(len(places)):
            x[places[i]] = x[i + 2 * places[i]]

    def judged(places):
        compiled = numba.njit(marks)
        compiled.compile((numba.float32[:], places))
        (result,) = compiled.overloads.values()
        return [is_narrow for _, _, is_narrow in index_types.indices(result.type_annotation)]

    assert sorted(judged(numba.int32[:])) == [False, False, False, True]
    assert judged(numba.int64[:]) == [False] * 4
