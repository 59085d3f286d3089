"""Bounds: no kernel reads or writes beside its arrays.

Numba can check each index. The checks are compiled into kernels of their own, which lie in the cache beside the others
under names of their own. Everything runs on one thread: an error in a thread of the pool would be lost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.reliability.area import Area, BrokenPromiseError, part

CASES = 60
"""Cases of each operation."""

_CHECK = """
import json, sys
import nbdl
from nbdl.testing.runner import check_operations
from nbdl.testing.specs import all_specs

nbdl.set_num_threads(1)
step, cases = int(sys.argv[1]), int(sys.argv[2])
for result in check_operations(all_specs()[::step], cases):
    print(json.dumps([result.name, result.cases, result.failure]), flush=True)
"""


def environment() -> dict[str, str]:
    """The variables of a process whose kernels check every index."""
    return {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_NUM_THREADS": "1"}


def prove(share: float) -> dict[str, Any]:
    """Values and gradients of every row in the spec table; a share under 1 takes every so many of them."""
    step = max(1, round(1 / share))
    command = [sys.executable, "-c", _CHECK, str(step), str(part(CASES, min(1.0, share * 10)))]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=False)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        raise BrokenPromiseError(f"the process ended with code {done.returncode} behind {results[-1:]}")
    broken = [f"{name}: {failure}" for name, _, failure in results if failure is not None]
    if broken:
        raise BrokenPromiseError("\n".join(broken))
    return {
        "rows of the spec table": len(results),
        "cases": sum(cases for _, cases, _ in results),
        "indices out of bounds": 0,
    }


AREA = Area("bounds", "every row of the spec table with every index checked: none out of bounds", prove)
