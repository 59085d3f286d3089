"""Gradient checking: a derivative held against differences, and what can go wrong."""

# --8<-- [start:step]
import numpy as np


def f(x):
    return np.tanh(3 * x)


x = 0.4
exact = 3 * (1 - np.tanh(3 * x) ** 2)
steps = 10.0 ** np.arange(-14, 0.5, 0.5)
one_sided = np.abs((f(x + steps) - f(x)) / steps - exact)
central = np.abs((f(x + steps) - f(x - steps)) / (2 * steps) - exact)
print(
    "best one-sided error:",
    f"{one_sided.min():.0e} at step {steps[one_sided.argmin()]:.0e}",
)
print("best central error:  ", f"{central.min():.0e} at step {steps[central.argmin()]:.0e}")
# --8<-- [end:step]
assert central.min() < one_sided.min()

# --8<-- [start:check]
import nbdl
from nbdl import ops
from nbdl.testing import gradcheck

generator = np.random.default_rng(0)
x = nbdl.tensor(generator.standard_normal((3, 5)), requires_grad=True)
print(gradcheck(lambda x: ops.softmax(x, dim=1), [x]))
# --8<-- [end:check]

# --8<-- [start:bug]
from nbdl.autograd import Op
from nbdl.testing import GradcheckError


class WrongSoftmaxOp(Op):
    """Softmax with one term of its backward pass forgotten."""

    @staticmethod
    def forward(ctx, x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        ctx.save(p)
        return p

    @staticmethod
    def backward(ctx, dp):
        (p,) = ctx.saved
        return p * dp  # the right one: p * (dp - (p * dp).sum(axis=1, keepdims=True))


try:
    gradcheck(WrongSoftmaxOp.apply, [x])
except GradcheckError as error:
    print(error)
# --8<-- [end:bug]

# --8<-- [start:sum]
p = ops.softmax(x, dim=1)
p.sum().backward()
print("gradient of the sum of a softmax:", abs(x.grad.numpy()).max())
# --8<-- [end:sum]
assert abs(x.grad.numpy()).max() < 1e-12

# --8<-- [start:kinks]
edge = nbdl.tensor(np.array([-1.0, 0.0, 0.5]), requires_grad=True)
print(gradcheck(ops.relu, [edge]))
# --8<-- [end:kinks]
assert gradcheck(ops.relu, [edge]).kinks == 1

# --8<-- [start:module]
from nbdl import data, nn

train, _ = data.digits()
images, labels = train.arrays
nbdl.manual_seed(0)
network = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)).double()
batch, targets = nbdl.tensor(images[:8].astype(np.float64)), nbdl.tensor(labels[:8])
report = gradcheck(
    lambda: ops.cross_entropy(network(batch), targets),
    [],
    parameters=tuple(network.parameters()),
    name="network",
)
print(report)
# --8<-- [end:module]

# --8<-- [start:exercise]
three = nbdl.tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
try:
    gradcheck(lambda x: (x * x.detach()).sum(), [three], name="x * constant x")
except GradcheckError as error:
    print(error)
# --8<-- [end:exercise]
