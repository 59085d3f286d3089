"""Gradient descent in its three forms, measured on handwritten digits."""


# --8<-- [start:line]
def descend(learning_rate, steps=8, w=2.0, curvature=1.0):
    """Minimise L(w) = curvature * w^2 / 2, whose gradient is curvature * w."""
    path = [w]
    for _ in range(steps):
        w -= learning_rate * curvature * w
        path.append(w)
    return path


for learning_rate in (0.1, 0.5, 1.5, 2.1):
    print(learning_rate, " ".join(f"{w:7.3f}" for w in descend(learning_rate)))
# --8<-- [end:line]
assert abs(descend(1.5)[-1]) < 0.02 < 2 < abs(descend(2.1)[-1])

# --8<-- [start:setup]
from time import process_time

import numpy as np

import nbdl
from nbdl import data, nn, ops, optim

train, test = data.digits()
images, labels = (nbdl.tensor(array) for array in train.arrays)
test_images, test_labels = nbdl.tensor(test.arrays[0]), test.arrays[1]


nbdl.set_num_threads(1)  # a network this small gains nothing from more


def network():
    nbdl.manual_seed(0)  # the same start for everyone
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def evaluate(model):
    """Loss over all training images, and accuracy on the test images."""
    with nbdl.no_grad():
        loss = ops.cross_entropy(model(images), labels).item()
        accuracy = (model(test_images).numpy().argmax(axis=1) == test_labels).mean()
    return loss, accuracy


# --8<-- [end:setup]


# --8<-- [start:train]
def run(batch_size, learning_rate, epochs):
    """Gradient descent in the form that the batch size chooses.

    Returns a row for each epoch: seconds of processor time so far, loss, accuracy.
    """
    model = network()
    loader = data.DataLoader(train, batch_size=batch_size, shuffle=True, seed=0)
    optimizer = optim.SGD(model.parameters(), lr=learning_rate)
    rows, seconds = [(0.0, *evaluate(model))], 0.0
    for _ in range(epochs):
        start = process_time()
        for x, t in loader:
            loss = ops.cross_entropy(model(nbdl.tensor(x)), nbdl.tensor(t))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds += process_time() - start
        rows.append((seconds, *evaluate(model)))
    return rows


# --8<-- [end:train]

# --8<-- [start:compare]
forms = {"full batch": ("full", 0.5), "mini-batch": (32, 0.2), "stochastic": (1, 0.02)}
run(32, 0.1, 1)  # compiles what is not yet compiled, so that the clock measures descent
history = {name: run(size, rate, epochs=20) for name, (size, rate) in forms.items()}

print("              updates   seconds   training    test")
print("              an epoch  an epoch  loss        accuracy")
for name, rows in history.items():
    updates = len(data.DataLoader(train, batch_size=forms[name][0]))
    seconds, loss, accuracy = rows[-1]
    print(f"{name:14}{updates:8}  {seconds / 20:8.4f}  {loss:8.4f}    {accuracy:.3f}")
# --8<-- [end:compare]
assert history["mini-batch"][-1][1] < history["full batch"][-1][1]
assert history["mini-batch"][-1][2] > 0.93


# --8<-- [start:noise]
def gradient(model, x, t):
    model.zero_grad()
    ops.cross_entropy(model(x), t).backward()
    return np.concatenate(
        [parameter.grad.numpy().ravel() for parameter in model.parameters()]
    )


model = network()
exact = gradient(model, images, labels)
draw = np.random.default_rng(0)
sizes = [1, 4, 16, 64, 256]
errors = []
for size in sizes:
    distances = []
    for _ in range(60):
        chosen = draw.choice(len(train), size)
        estimate = gradient(model, *(nbdl.tensor(array[chosen]) for array in train.arrays))
        distances.append(np.linalg.norm(estimate - exact) / np.linalg.norm(exact))
    errors.append(np.mean(distances))
    print(f"{size:4} samples: error {errors[-1]:.2f} of the gradient's own length")
# --8<-- [end:noise]
assert 10 < errors[0] / errors[-1] < 25

# --8<-- [start:first-step]
for slope in (0.001, 1.0, 1000.0):
    point = nbdl.tensor([2.0], requires_grad=True)
    point.grad = nbdl.tensor([slope])
    optim.Adam([point], lr=0.1).step()
    print(f"gradient {slope:6}: from 2 to {point.item():.4f}")
# --8<-- [end:first-step]
assert abs(point.item() - 1.9) < 1e-4

# --8<-- [start:rules]
rules = {
    "gradient descent": lambda p: optim.SGD(p, lr=0.2),
    "momentum": lambda p: optim.SGD(p, lr=0.02, momentum=0.9),
    "RMSprop": lambda p: optim.RMSprop(p, lr=3e-3),
    "Adam": lambda p: optim.Adam(p, lr=1e-2),
    "AdamW": lambda p: optim.AdamW(p, lr=1e-2, weight_decay=0.1),
}
units = 10 ** np.random.default_rng(0).uniform(-2, 0, 64).astype(np.float32)


def run_rule(rule, scale, epochs=10):
    """Mini-batches of 32, every pixel multiplied by its `scale`; accuracy on the test."""
    model = network()
    optimizer = rule(model.parameters())
    rows = data.ArrayDataset(train.arrays[0] * scale, train.arrays[1])
    loader = data.DataLoader(rows, batch_size=32, shuffle=True, seed=0)
    for _ in range(epochs):
        for x, t in loader:
            loss = ops.cross_entropy(model(nbdl.tensor(x)), nbdl.tensor(t))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with nbdl.no_grad():
        scores = model(nbdl.tensor(test.arrays[0] * scale)).numpy()
    return (scores.argmax(axis=1) == test_labels).mean()


print("                   pixels   pixels, each in a unit of its own")
reached = {}
for name, rule in rules.items():
    reached[name] = run_rule(rule, np.float32(1)), run_rule(rule, units)
    print(f"{name:17}  {reached[name][0]:.3f}    {reached[name][1]:.3f}")
# --8<-- [end:rules]
assert reached["Adam"][1] > reached["gradient descent"][1] + 0.05

# --8<-- [start:rates]
for learning_rate in (0.003, 0.03, 0.3, 3.0):
    _, loss, accuracy = run(32, learning_rate, epochs=5)[-1]
    print(f"learning rate {learning_rate:<6} loss {loss:8.4f}   accuracy {accuracy:.3f}")
# --8<-- [end:rates]


# --8<-- [start:momentum]
def run_momentum(momentum, learning_rate=0.05, epochs=20):
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum)
    for _ in range(epochs):
        loss = ops.cross_entropy(model(images), labels)  # full batch
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return evaluate(model)


for momentum in (0.0, 0.5, 0.9):
    print(f"momentum {momentum}: loss {run_momentum(momentum)[0]:.4f}")
# --8<-- [end:momentum]
assert run_momentum(0.9)[0] < run_momentum(0.0)[0]

# --8<-- [start:average]
model = network()
order = np.arange(1408).reshape(44, 32)  # 44 batches of 32
parts = [
    gradient(model, *(nbdl.tensor(array[rows]) for array in train.arrays)) for rows in order
]
whole = gradient(model, *(nbdl.tensor(array[:1408]) for array in train.arrays))
print("largest difference:", f"{abs(np.mean(parts, axis=0) - whole).max():.1e}")
# --8<-- [end:average]
assert abs(np.mean(parts, axis=0) - whole).max() < 1e-6
