"""Models in a web page: what `trace` writes down, and what it refuses."""

# --8<-- [start:trace]
import numpy as np

import nbdl
from nbdl import nn
from nbdl.export import ExportError, trace

nbdl.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
optimizer = nbdl.optim.SGD(model.parameters(), lr=0.1)


def step(x, labels):
    optimizer.zero_grad()
    loss = nbdl.ops.cross_entropy(model(x), labels)
    loss.backward()
    optimizer.step()
    return loss


x, labels = np.ones((5, 4), np.float32), np.array([0, 1, 2, 1, 0])
program = trace(step, x, labels, state=[model, optimizer], names=["x", "labels"])
print(program)
print(", ".join(launch.kernel.name for launch in program.launches))
# --8<-- [end:trace]

# --8<-- [start:refuse]
try:
    trace(lambda x: x * float(x.sum().item()), nbdl.randn(3))
except ExportError as error:
    print(error)
# --8<-- [end:refuse]

# --8<-- [start:inside_the_graph]
program = trace(lambda x: x * x.sum(-1, keepdim=True), nbdl.randn(2, 3))
print(program, [launch.kernel.name for launch in program.launches])
# --8<-- [end:inside_the_graph]

# --8<-- [start:count]
for depth in (1, 2, 3):
    layers = [nn.Linear(4, 8), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Linear(8, 8), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(8, 3))
    forward = trace(model, x, state=[model], names=["x"])
    optimizer = nbdl.optim.SGD(model.parameters(), lr=0.1)
    whole = trace(step, x, labels, state=[model, optimizer], names=["x", "labels"])
    counts = len(forward.launches), len(whole.launches)
    print("hidden layers {}: forward {} launches, a whole step {}".format(depth, *counts))
# --8<-- [end:count]
