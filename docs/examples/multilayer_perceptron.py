"""A multi-layer perceptron: from what one layer cannot learn to reading handwriting."""

# --8<-- [start:xor]
import numpy as np

import nbdl
from nbdl import data, nn, ops, optim

nbdl.set_num_threads(1)  # networks this small gain nothing from more

points = nbdl.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
exclusive_or = nbdl.tensor([0, 1, 1, 0])


def fit(model, steps=300):
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(steps):
        loss = ops.cross_entropy(model(points), exclusive_or)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    answers = model(points).detach().numpy().argmax(axis=1)
    return f"loss {loss.item():.3f}, answers {answers}"


nbdl.manual_seed(1)
print("one layer: ", fit(nn.Linear(2, 2)))
print("two layers:", fit(nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))))
# --8<-- [end:xor]

# --8<-- [start:setup]
train, test = data.digits()
test_images, test_labels = test.arrays
print(len(train), "images to train on,", len(test), "to test")


def mlp(hidden=64):
    nbdl.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 10),
    )


# --8<-- [end:setup]


# --8<-- [start:train]
def accuracy(model, dataset):
    images, labels = dataset.arrays
    with nbdl.no_grad():
        scores = model(nbdl.tensor(images))
    return (scores.numpy().argmax(axis=1) == labels).mean()


def learn(model, dataset, epochs=30, lr=3e-3, weight_decay=1e-2):
    loader = data.DataLoader(dataset, batch_size=32, shuffle=True, seed=0)
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    curve = []
    for _ in range(epochs):
        total = 0.0
        for x, t in loader:
            loss = ops.cross_entropy(model(nbdl.tensor(x)), nbdl.tensor(t))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        curve.append(
            (total / len(dataset), accuracy(model, dataset), accuracy(model, test))
        )
    return curve


model = mlp()
curve = learn(model, train)
for epoch in (1, 2, 5, 10, 20, 30):
    loss, on_train, on_test = curve[epoch - 1]
    print(f"epoch {epoch:2}: loss {loss:.4f}, accuracy {on_train:.3f}, test {on_test:.3f}")
# --8<-- [end:train]
assert curve[-1][2] >= 0.95

# --8<-- [start:linear]
nbdl.manual_seed(0)
linear = nn.Linear(64, 10)
print(f"linear model: test accuracy {learn(linear, train)[-1][2]:.3f}")
print(f"MLP:          test accuracy {curve[-1][2]:.3f}")
# --8<-- [end:linear]

# --8<-- [start:confusion]
with nbdl.no_grad():
    probabilities = ops.softmax(model(nbdl.tensor(test_images)), dim=1).numpy()
guesses = probabilities.argmax(axis=1)
confusion = np.zeros((10, 10), dtype=int)
np.add.at(confusion, (test_labels, guesses), 1)
print("rows: the truth, columns: the network's answer")
print(confusion)
wrong = np.flatnonzero(guesses != test_labels)
print(len(wrong), "of", len(test), "wrong")
# --8<-- [end:confusion]

# --8<-- [start:width]
for hidden in (1, 2, 4, 16, 64, 256):
    narrow = mlp(hidden)
    _, on_train, on_test = learn(narrow, train, epochs=15)[-1]
    count = sum(parameter.numel() for parameter in narrow.parameters())
    print(
        f"{hidden:4} wide, {count:6,} weights: training {on_train:.3f}, test {on_test:.3f}"
    )
# --8<-- [end:width]

# --8<-- [start:little]
few = data.Subset(train, range(50))
small = data.TensorDataset(*few.take(np.arange(50)))
overfitted = mlp()
loss, on_train, on_test = learn(overfitted, small, epochs=100)[-1]
print(f"50 images: training accuracy {on_train:.3f}, test accuracy {on_test:.3f}")
# --8<-- [end:little]
assert on_train > on_test + 0.05

# --8<-- [start:shuffled]
noise = np.random.default_rng(0).permutation(train.arrays[1][:500])
nonsense = data.TensorDataset(train.arrays[0][:500], noise)
_, on_train, on_test = learn(mlp(256), nonsense, epochs=80, weight_decay=0.0)[-1]
print(f"random labels: training accuracy {on_train:.3f}, test accuracy {on_test:.3f}")
# --8<-- [end:shuffled]
