"""Forward propagation, from one neuron to a network that reads a digit."""

# --8<-- [start:data]
import numpy as np

from nbdl import data

train, test = data.digits()
images, labels = train.arrays
print("images", images.shape, images.dtype, "from", images.min(), "to", images.max())
print("labels", labels.shape, labels[:12])
# --8<-- [end:data]

# --8<-- [start:ascii]
for row in images[0].reshape(8, 8):
    print(" ".join(f"{pixel:4.2f}" if pixel else "   ." for pixel in row))
print("label:", labels[0])
# --8<-- [end:ascii]

# --8<-- [start:neuron]
x = images[0].astype(np.float64)  # 64 pixels
generator = np.random.default_rng(0)
w = generator.normal(0, np.sqrt(2 / 64), 64)  # one weight a pixel
b = 0.1

z = 0.0
for j in range(64):
    z += w[j] * x[j]
z += b
print("weighted sum:", round(z, 4))
print("after ReLU:  ", round(max(z, 0.0), 4))
# --8<-- [end:neuron]
assert np.isclose(z, w @ x + b)


# --8<-- [start:reference]
def linear(x, weight, bias):
    """x [N, D], weight [M, D], bias [M] -> [N, M]: M neurons, N samples."""
    return x @ weight.T + bias


def relu(z):
    return np.maximum(z, 0)


def softmax(z):
    e = np.exp(
        z - z.max(axis=1, keepdims=True)
    )  # the largest exponent is 0: nothing can overflow
    return e / e.sum(axis=1, keepdims=True)


def cross_entropy(p, labels):
    return -np.log(p[np.arange(len(labels)), labels]).mean()


# --8<-- [end:reference]

# --8<-- [start:parameters]
w1, b1 = generator.normal(0, np.sqrt(2 / 64), (32, 64)), np.zeros(32)
w2, b2 = generator.normal(0, np.sqrt(2 / 32), (10, 32)), np.zeros(10)

X = images[:5].astype(np.float64)  # five images at once: [5, 64]
h = relu(linear(X, w1, b1))
logits = linear(h, w2, b2)
p = softmax(logits)

for name, array in [("X", X), ("w1", w1), ("h", h), ("logits", logits), ("p", p)]:
    print(f"{name:7}{array.shape}")
print("probabilities of the first image:", p[0].round(3))
print("their sum:", p[0].sum())
# --8<-- [end:parameters]

# --8<-- [start:nbdl]
import nbdl
from nbdl import ops

tX, tw1, tb1, tw2, tb2 = (nbdl.tensor(array) for array in (X, w1, b1, w2, b2))
th = ops.relu(ops.linear(tX, tw1, tb1))
tlogits = ops.linear(th, tw2, tb2)
tp = ops.softmax(tlogits, dim=1)

print("largest difference from NumPy:", abs(tp.numpy() - p).max())
# --8<-- [end:nbdl]
assert abs(tp.numpy() - p).max() < 1e-12

# --8<-- [start:module]
from nbdl import nn

nbdl.manual_seed(0)
network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
print(network)
print("parameters:", sum(parameter.numel() for parameter in network.parameters()))
# --8<-- [end:module]

# --8<-- [start:untrained]
with nbdl.no_grad():
    scores = network(nbdl.tensor(images))
    loss = ops.cross_entropy(scores, nbdl.tensor(labels))
guesses = scores.numpy().argmax(axis=1)
print(f"loss     {loss.item():.3f} nats")
print(f"ln 10    {np.log(10):.3f} nats")
print(f"accuracy {(guesses == labels).mean():.3f}")
# --8<-- [end:untrained]
assert abs(loss.item() - np.log(10)) < 0.3


# --8<-- [start:depth]
def spread_by_layer(scale, layers=30, width=64):
    """Standard deviation of the activations after each of many ReLU layers."""
    draw = np.random.default_rng(1)
    h = images.astype(np.float64)
    spreads = []
    for _ in range(layers):
        h = relu(
            linear(
                h, draw.normal(0, scale / np.sqrt(width), (width, width)), np.zeros(width)
            )
        )
        spreads.append(h.std())
    return spreads


spreads = {scale: spread_by_layer(scale) for scale in (1.0, np.sqrt(2), 2.0)}
for scale, spread in spreads.items():
    first, tenth, last = spread[0], spread[9], spread[29]
    print(
        f"scale {scale:.3f}: layer 1 {first:.3g}, layer 10 {tenth:.3g}, layer 30 {last:.3g}"
    )
# --8<-- [end:depth]
assert spreads[1.0][29] < 1e-3 < spreads[np.sqrt(2)][29] < 100 < spreads[2.0][29]

# --8<-- [start:collapse]
w_a, w_b = generator.normal(size=(32, 64)), generator.normal(size=(10, 32))
two_layers = (X @ w_a.T) @ w_b.T
one_layer = X @ (w_b @ w_a).T
print("largest difference:", abs(two_layers - one_layer).max())
# --8<-- [end:collapse]
assert np.allclose(two_layers, one_layer)

# --8<-- [start:overflow]
z = np.array([[1000.0, 999.0, 0.0]])
with np.errstate(over="ignore", invalid="ignore"):
    print("naive: ", np.exp(z) / np.exp(z).sum())
print("shifted:", softmax(z).round(4))
print("nbdl:   ", ops.softmax(nbdl.tensor(z), dim=1).numpy().round(4))
# --8<-- [end:overflow]

# --8<-- [start:count]
from itertools import pairwise

for sizes in [(64, 32, 10), (784, 256, 10), (784, 512, 512, 10)]:
    parameters = sum(n * m + m for n, m in pairwise(sizes))
    multiplications = sum(n * m for n, m in pairwise(sizes))
    print(
        f"{sizes}: {parameters:,} parameters, {multiplications:,} multiplications an image"
    )
# --8<-- [end:count]
