"""Index types: what no memory here can hold is shown from the kernels' types. No place is computed in under 64 bits.

Numba computes whole numbers in 64 bits, whatever the bits of their parts. So an index can be narrower only if it comes
straight from an array of narrow numbers, or from a conversion. The types that Numba has found for every variable of a
compiled kernel tell: each index of an array is looked up there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from numba.core import ir, types

from tests.reliability.area import Area, BrokenPromiseError

_CHECK = """
import json, sys
from nbdl.runtime.cache import StampedCache

# A kernel that comes from the cache has no types of variables.
StampedCache.load_overload = StampedCache.save_overload = lambda *_: None

import nbdl
from nbdl.runtime.jit import KERNELS
from nbdl.testing.runner import check_operations
from nbdl.testing.specs import all_specs
from tests.reliability.index_types import indices

nbdl.set_num_threads(1)
for _ in check_operations(all_specs()[::int(sys.argv[1])], 1):
    pass
for kernel in KERNELS:
    for compiled in kernel.cpu.overloads.values():
        found = [(where, str(kind), is_narrow) for where, kind, is_narrow in indices(compiled.type_annotation)]
        print(json.dumps([kernel.name, found]), flush=True)
"""


def indices(annotation: Any) -> Iterator[tuple[str, Any, bool]]:
    """Of each index of an array in a compiled kernel: where, its type, and whether it has under 64 bits."""
    for instruction in annotation.calltypes:
        is_read = isinstance(instruction, ir.Expr) and instruction.op == "getitem"
        if not is_read and not isinstance(instruction, ir.SetItem):
            continue
        container = instruction.value if is_read else instruction.target
        if isinstance(annotation.typemap[container.name], types.Array):
            kind = annotation.typemap[instruction.index.name]
            yield (
                str(instruction.loc),
                kind,
                any(map(_is_narrow, kind if isinstance(kind, types.BaseTuple) else [kind])),
            )


def _is_narrow(kind: Any) -> bool:
    return isinstance(kind, types.Integer) and kind.bitwidth < 64


def prove(share: float) -> dict[str, Any]:
    """Compiles the kernels of every row in the spec table; a share under 1 takes every so many of them."""
    command = [sys.executable, "-c", _CHECK, str(max(1, round(1 / share)))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    kernels = [json.loads(line) for line in done.stdout.splitlines()]
    found = [(name, *index) for name, its in kernels for index in its]
    narrow = [f"{name}, {where}: an index of type {kind}" for name, where, kind, is_narrow in found if is_narrow]
    if narrow:
        raise BrokenPromiseError("\n".join(narrow))
    return {
        "compiled kernels": len(kernels),
        "indices of arrays": len(found),
        "of under 64 bits": 0,
    }


AREA = Area("index-types", "No kernel computes a place in an array in under 64 bits.", prove)
