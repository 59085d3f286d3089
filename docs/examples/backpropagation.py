"""Backpropagation: by hand, in NumPy, by the engine, and against plain differences."""

# --8<-- [start:hand]
x, target = 1.5, 1.0
w1, w2 = 0.8, -0.5

# forward, left to right
z = w1 * x  # 1.2
h = max(z, 0.0)  # 1.2
y = w2 * h  # -0.6
loss = (y - target) ** 2  # 2.56

# backward, right to left: each line multiplies by one local derivative
dy = 2 * (y - target)
dw2 = dy * h
dh = dy * w2
dz = dh * (1.0 if z > 0 else 0.0)
dw1 = dz * x

print(f"loss {loss:.3f}   dL/dw1 {dw1:.3f}   dL/dw2 {dw2:.3f}")
# --8<-- [end:hand]

# --8<-- [start:nudge]
nudged = (w2 * max((w1 + 0.001) * x, 0.0) - target) ** 2
print(f"w1 up by 0.001: the loss changes by {nudged - loss:.6f}")
print(f"the gradient promised               {0.001 * dw1:.6f}")
# --8<-- [end:nudge]
assert abs((nudged - loss) - 0.001 * dw1) < 1e-5

# --8<-- [start:setup]
import numpy as np

import nbdl
from nbdl import data, ops

train, test = data.digits()
images, labels = train.arrays
X, t = images[:64].astype(np.float64), labels[:64]

generator = np.random.default_rng(0)
w1, b1 = generator.normal(0, np.sqrt(2 / 64), (32, 64)), np.zeros(32)
w2, b2 = generator.normal(0, np.sqrt(2 / 32), (10, 32)), np.zeros(10)
# --8<-- [end:setup]


# --8<-- [start:reference]
def loss_and_gradients(X, t, w1, b1, w2, b2):
    """A network of two layers, its cross-entropy, and the gradient for every parameter."""
    N = len(X)
    z = X @ w1.T + b1  # forward
    h = np.maximum(z, 0)
    s = h @ w2.T + b2
    p = np.exp(s - s.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(N), t]).mean()

    ds = p.copy()  # backward: the same steps, last to first
    ds[np.arange(N), t] -= 1
    ds /= N
    dw2, db2 = ds.T @ h, ds.sum(axis=0)
    dh = ds @ w2
    dz = dh * (z > 0)
    dw1, db1 = dz.T @ X, dz.sum(axis=0)
    return loss, (dw1, db1, dw2, db2)


# --8<-- [end:reference]

# --8<-- [start:engine]
loss, by_hand = loss_and_gradients(X, t, w1, b1, w2, b2)

parameters = [nbdl.tensor(array, requires_grad=True) for array in (w1, b1, w2, b2)]
tw1, tb1, tw2, tb2 = parameters
scores = ops.linear(ops.relu(ops.linear(nbdl.tensor(X), tw1, tb1)), tw2, tb2)
tloss = ops.cross_entropy(scores, nbdl.tensor(t))
tloss.backward()

print(f"loss by hand {loss:.12f}\nloss by nbdl {tloss.item():.12f}")
for name, mine, parameter in zip(
    ["w1", "b1", "w2", "b2"], by_hand, parameters, strict=True
):
    print(f"d{name}: largest difference {abs(parameter.grad.numpy() - mine).max():.1e}")
# --8<-- [end:engine]
assert all(
    abs(p.grad.numpy() - mine).max() < 1e-12
    for p, mine in zip(parameters, by_hand, strict=True)
)


# --8<-- [start:numeric]
def numeric_gradient(parameter, step=1e-6):
    """(L(w + step) - L(w - step)) / 2 step, one weight at a time."""
    gradient = np.empty_like(parameter)
    for index in np.ndindex(parameter.shape):
        kept = parameter[index]
        parameter[index] = kept + step
        above, _ = loss_and_gradients(X, t, w1, b1, w2, b2)
        parameter[index] = kept - step
        below, _ = loss_and_gradients(X, t, w1, b1, w2, b2)
        parameter[index] = kept
        gradient[index] = (above - below) / (2 * step)
    return gradient


numeric = numeric_gradient(w2)
print(
    "gradient of w2 by differences, against backpropagation:",
    f"{abs(numeric - by_hand[2]).max():.1e}",
)
# --8<-- [end:numeric]
assert abs(numeric - by_hand[2]).max() < 1e-8

# --8<-- [start:cost]
from time import perf_counter

from nbdl import nn

nbdl.manual_seed(0)
nbdl.set_num_threads(1)  # so that the machine's other work disturbs the clock less
network = nn.Sequential(
    nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
)
batch, targets = nbdl.tensor(images[:256]), nbdl.tensor(labels[:256])


def seconds(action, repeats=20):
    action()  # the first call compiles or loads the kernels
    times = []
    for _ in range(repeats):
        start = perf_counter()
        action()
        times.append(perf_counter() - start)
    return min(times)


def forward_only():
    with nbdl.no_grad():
        ops.cross_entropy(network(batch), targets)


def forward_and_backward():
    network.zero_grad()
    ops.cross_entropy(network(batch), targets).backward()


forward, both = seconds(forward_only), seconds(forward_and_backward)
count = sum(parameter.numel() for parameter in network.parameters())
print(f"forward            {forward * 1e3:6.2f} ms")
print(f"forward + backward {both * 1e3:6.2f} ms, {both / forward:.1f} times as long")
print(f"by differences     {2 * count * forward:6.0f} s for {count:,} parameters")
# --8<-- [end:cost]

# --8<-- [start:vanishing]
LAYERS = 12


def gradient_norms(activation, scale):
    """Norm of the gradient at the weights of each layer, before any training."""
    draw = np.random.default_rng(0)
    weights = [draw.normal(0, scale / np.sqrt(64), (64, 64)) for _ in range(LAYERS)]
    weights = [nbdl.tensor(array, requires_grad=True) for array in weights]
    h = nbdl.tensor(images[:256].astype(np.float64))
    for weight in weights:
        h = activation(ops.linear(h, weight))
    ops.cross_entropy(h[:, :10], nbdl.tensor(labels[:256])).backward()
    return [float(np.linalg.norm(weight.grad.numpy())) for weight in weights]


norms = {
    "sigmoid": gradient_norms(ops.sigmoid, 1.0),
    "tanh": gradient_norms(ops.tanh, 1.0),
    "ReLU": gradient_norms(ops.relu, np.sqrt(2)),
}
for name, values in norms.items():
    print(f"{name:8} first layer {values[0]:.1e}   last layer {values[-1]:.1e}")
# --8<-- [end:vanishing]
assert norms["sigmoid"][0] < 1e-5 * norms["sigmoid"][-1]

# --8<-- [start:accumulate]
w = nbdl.tensor(3.0, requires_grad=True)
y = w * w + 2 * w  # w is used three times
y.backward()
print("dy/dw =", w.grad.item(), "and 2w + 2 =", 2 * 3.0 + 2)
# --8<-- [end:accumulate]
assert w.grad.item() == 8.0

# --8<-- [start:sigmoid]
w = nbdl.tensor(np.linspace(-6, 6, 13), requires_grad=True)
s = ops.sigmoid(w)
s.sum().backward()
by_formula = s.detach().numpy() * (1 - s.detach().numpy())
print("largest difference:", abs(w.grad.numpy() - by_formula).max())
print("largest derivative:", w.grad.numpy().max())
# --8<-- [end:sigmoid]
assert abs(w.grad.numpy() - by_formula).max() < 1e-15

# --8<-- [start:bug]
z, dh = np.array([-1.0, 2.0]), np.array([1.0, 1.0])
right = dh * (z > 0)
wrong = dh * z  # a plausible slip: the value where its sign was meant
step = 1e-6
numeric = (np.maximum(z + step, 0) - np.maximum(z - step, 0)) / (2 * step)
print("numeric", numeric, "right", right, "wrong", wrong)
# --8<-- [end:bug]
assert np.allclose(numeric, right)
assert not np.allclose(numeric, wrong)
