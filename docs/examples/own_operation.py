"""Checks of docs/examples/generalized_mean.py, and a network that learns with it."""

# --8<-- [start:try]
import numpy as np
from generalized_mean import generalized_mean, generalized_mean_reference

import nbdl

x = nbdl.tensor([[1.0, 2.0, 3.0], [0.5, 0.5, 4.0]], requires_grad=True)
for exponent in (1.0, 3.0, 20.0):
    p = nbdl.tensor([exponent], requires_grad=True)
    print(exponent, generalized_mean(x, p).detach().numpy().round(4))
# --8<-- [end:try]
expected = generalized_mean_reference(x.detach().numpy(), np.array([20.0]))
assert np.allclose(generalized_mean(x, p).detach().numpy(), expected, rtol=1e-5)

# --8<-- [start:check]
from nbdl.testing import gradcheck

generator = np.random.default_rng(0)
x = nbdl.tensor(generator.uniform(0.2, 3, (4, 5)), requires_grad=True)
p = nbdl.tensor(np.array([2.5]), requires_grad=True)
print(gradcheck(generalized_mean, [x, p]))
# --8<-- [end:check]

# --8<-- [start:bug]
from generalized_mean import forgetful_mean

from nbdl.testing import GradcheckError

try:
    gradcheck(forgetful_mean, [x, p])
except GradcheckError as error:
    print(error)
# --8<-- [end:bug]

# --8<-- [start:command]
import contextlib
import io

from nbdl.cli import main

with contextlib.redirect_stdout(io.StringIO()) as table:
    main(["gradcheck", "generalized_mean:generalized_mean", "--examples", "30"])
print(table.getvalue())
# --8<-- [end:command]

# --8<-- [start:network]
from nbdl import data, nn, ops, optim, train


class Pooled(nn.Module):
    """A convolution, the generalized mean of squares of 4 x 4 places, a linear layer."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(1, 16, 3, padding=1)
        self.p = nn.Parameter(nbdl.tensor([3.0]))
        self.output = nn.Linear(64, 10)

    def forward(self, images):
        maps = ops.softplus(self.features(images.reshape(-1, 1, 8, 8))) + 1e-3
        squares = maps.reshape(-1, 16, 2, 4, 2, 4).permute(0, 1, 2, 4, 3, 5)
        return self.output(
            generalized_mean(squares.reshape(-1, 16), self.p).reshape(-1, 64)
        )


training, test = data.digits()
nbdl.manual_seed(0)
model = Pooled()
history = train.fit(
    model,
    data.DataLoader(training, batch_size=32, shuffle=True),
    optim.AdamW(model.parameters(), lr=1e-2),
    nn.CrossEntropyLoss(),
    validation=data.DataLoader(test, batch_size="full"),
    metrics={"accuracy": train.accuracy},
    epochs=8,
)
accuracy = history[-1]["validation_accuracy"]
print(f"test accuracy {accuracy:.3f}, p from 3 to {model.p.item():.2f}")
# --8<-- [end:network]
assert accuracy > 0.85

# --8<-- [start:kinks]
x = nbdl.tensor(np.array([[-1.0, -0.5, 0.0, 2.0]]), requires_grad=True)
print(gradcheck(lambda x: ops.relu(x) * x, [x]))
print(gradcheck(ops.abs, [x]))
# --8<-- [end:kinks]


# --8<-- [start:composed]
def composed(x, p):
    """The same from operations that are there: nothing to derive, more to compute."""
    return (x**p).mean(1) ** (1 / p)


x = nbdl.tensor(generator.uniform(0.2, 3, (4096, 36)), requires_grad=True)
p = nbdl.tensor(np.array([2.5]), requires_grad=True)
for function in (generalized_mean, composed):
    with nbdl.profile() as profile:
        function(x, p).sum().backward()
    kernels = [event for event in profile.events if event.kind == "kernel"]
    moved = sum(event.bytes_moved for event in profile.events if event.kind == "operation")
    print(f"{function.__name__:17} {len(kernels):2} kernels, {moved / 1e6:5.1f} MB moved")
# --8<-- [end:composed]
