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
