"""Reliability: promises, and small experiments that try to break them."""

# --8<-- [start:counts]
from collections import Counter

from nbdl.testing.specs import all_specs

specs = all_specs()
print(f"{len({spec.function for spec in specs})} operations in {len(specs)} rows")
print(f"{sum(len(spec.differentiable) for spec in specs)} gradients to check")
print(f"{sum(len(spec.refusals) for spec in specs)} bad calls that must be refused")
# --8<-- [end:counts]

# --8<-- [start:bad]
import numpy as np

import nbdl
from nbdl import ops

x = nbdl.randn(2, 3)
calls = {
    "ids outside the table": lambda: ops.embedding(nbdl.tensor([0, 99]), nbdl.randn(10, 4)),
    "a class that is not there": lambda: ops.cross_entropy(x, nbdl.tensor([0, -7])),
    "shapes that do not fit": lambda: x @ nbdl.randn(2, 3),
    "two dtypes": lambda: ops.linear(x, nbdl.randn(4, 3, dtype=nbdl.float64)),
    "a probability of 1.5": lambda: ops.dropout(x, 1.5),
    "a stride of 0": lambda: ops.conv2d(
        nbdl.randn(1, 1, 5, 5), nbdl.randn(1, 1, 3, 3), stride=0
    ),
}
for what, call in calls.items():
    try:
        call()
        print(f"{what}: NOT REFUSED")
    except nbdl.NbdlError as error:
        print(f"{what}:\n    {type(error).__name__}: {error}")
# --8<-- [end:bad]

# --8<-- [start:file]
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "weights.safetensors")
    nbdl.save({"weight": nbdl.randn(4, 4)}, path)
    whole = path.read_bytes()
    outcomes = Counter()
    generator = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[generator.integers(len(whole))] ^= 1 << generator.integers(8)
        path.write_bytes(damaged)
        try:
            nbdl.load(path)
            outcomes["loaded"] += 1
        except nbdl.NbdlError as error:
            outcomes[f"refused, {type(error).__name__}"] += 1
print(f"{len(whole)} bytes, one bit flipped, 300 times: {dict(outcomes)}")
# --8<-- [end:file]
assert outcomes["loaded"] == 0

# --8<-- [start:nan]
from nbdl import nn

nbdl.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
with nbdl.no_grad():
    model[2].weight[0, 3] = float("inf")
try:
    with nbdl.detect_anomaly():
        (model(nbdl.randn(5, 4)) ** 2).mean().backward()
except nbdl.NbdlError as error:
    print(f"{type(error).__name__}: {error}")
# --8<-- [end:nan]

# --8<-- [start:mutants]
import sys

sys.path.insert(0, ".")
from tests.mutation.mutants import MUTANTS

print(f"{len(MUTANTS)} bugs in {len({mutant.file for mutant in MUTANTS})} files")
for kind, count in Counter(mutant.kind for mutant in MUTANTS).most_common():
    print(f"{count:4} {kind}")
mutant = next(
    m for m in MUTANTS if m.file.endswith("softmax.py") and m.kind == "missing term"
)
print(f"\nOne of them, in {mutant.file}:")
print("-", mutant.old.strip())
print("+", mutant.new.strip())
print("must be noticed by", mutant.tests)
# --8<-- [end:mutants]
