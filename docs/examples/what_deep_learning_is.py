"""What deep learning is: a rule written by hand, and one that was learned."""

# --8<-- [start:rule]
import numpy as np

import nbdl
from nbdl import data, models, nn, ops, optim, train

training, test = data.digits()
images, labels = test.arrays


def is_one(image):
    """Written by a person: a stroke, dark in the middle, blank beside it."""
    square = image.reshape(8, 8)
    sides = square[:, :2].mean() + square[:, 6:].mean()
    return square[:, 3:5].mean() > 0.7 and sides < 0.05


guesses = np.array([is_one(image) for image in images])
print(f"of the ones it finds {guesses[labels == 1].mean():.0%}")
print(f"of what it calls a one, {(labels[guesses] == 1).mean():.0%} are")
# --8<-- [end:rule]

# --8<-- [start:learn]
nbdl.manual_seed(0)
network = models.MLP(64, [64, 64], 10)  # the function: three layers, all ten digits
optimizer = optim.SGD(network.parameters(), lr=0.3)

curve = []
for epoch in range(30):
    for x, y in data.DataLoader(training, batch_size=32, shuffle=True, seed=epoch):
        loss = ops.cross_entropy(network(nbdl.tensor(x)), nbdl.tensor(y))  # how wrong
        optimizer.zero_grad()
        loss.backward()  # which way to turn each number
        optimizer.step()  # turn them a little
    with nbdl.no_grad():
        answers = network(nbdl.tensor(images)).numpy().argmax(axis=1)
    curve.append((loss.item(), (answers == labels).mean()))

count = sum(parameter.numel() for parameter in network.parameters())
print(f"{count:,} numbers, turned {len(curve) * -(-len(training) // 32):,} times")
print(f"all ten digits: {curve[-1][1]:.1%} right")
print(f"ones: finds {(answers[labels == 1] == 1).mean():.0%}, ", end="")
print(f"of what it calls a one, {(labels[answers == 1] == 1).mean():.0%} are")
# --8<-- [end:learn]
assert curve[-1][1] > 0.94

# --8<-- [start:descent]
x, y = (nbdl.tensor(array[:256]) for array in training.arrays)
fresh = models.MLP(64, [64, 64], 10).double()
loss = ops.cross_entropy(fresh(x.double()), y)
loss.backward()
gradients = [parameter.grad.numpy().copy() for parameter in fresh.parameters()]
square = sum(float((gradient**2).sum()) for gradient in gradients)

for step in (1e-3, 1e-2, 1e-1, 1.0, 10.0):
    moved = models.MLP(64, [64, 64], 10).double()
    state = {
        name: nbdl.tensor(value.detach().numpy() - step * gradient)
        for (name, value), gradient in zip(fresh.named_parameters(), gradients, strict=True)
    }
    moved.load_state_dict(state)
    with nbdl.no_grad():
        fall = loss.item() - ops.cross_entropy(moved(x.double()), y).item()
    print(f"step {step:6}: promised {step * square:8.5f}, came {fall:8.5f}")
# --8<-- [end:descent]

# --8<-- [start:hidden]
features = nn.Sequential(*list(network)[:4])  # all but the last layer
with nbdl.no_grad():
    hidden = features(nbdl.tensor(images)).numpy()


def nearest_neighbour(points):
    """How often the nearest other point has the same label."""
    distances = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    return (labels[distances.argmin(axis=1)] == labels).mean()


def spread(points):
    """Distances within a class, in units of distances between the classes' centres."""
    centres = np.stack([points[labels == digit].mean(axis=0) for digit in range(10)])
    within = np.sqrt(((points - centres[labels]) ** 2).sum(axis=1).mean())
    between = np.sqrt(((centres[:, None] - centres[None]) ** 2).sum(axis=2).mean())
    return within / between


for name, points in (("pixels", images), ("second hidden layer", hidden)):
    agree = nearest_neighbour(points)
    print(f"{name:19} spread {spread(points):.2f}, neighbours agree {agree:.3f}")
# --8<-- [end:hidden]
assert spread(hidden) < spread(images)

# --8<-- [start:amount]
for count in (20, 100, 1437):
    scores = []
    for seed in range(3):
        nbdl.manual_seed(seed)
        model = models.MLP(64, [64, 64], 10)
        rows = np.random.default_rng(seed).permutation(len(training))[:count]
        train.fit(
            model,
            data.DataLoader(data.Subset(training, rows), batch_size=20, shuffle=True),
            optim.AdamW(model.parameters(), lr=3e-3),
            nn.CrossEntropyLoss(),
            epochs=max(10, 4000 // count),
        )
        with nbdl.no_grad():
            answers = model(nbdl.tensor(images)).numpy().argmax(axis=1)
        scores.append((answers == labels).mean())
    print(f"{count:5} images: {np.mean(scores):.1%} right")
# --8<-- [end:amount]

# --8<-- [start:linear]
for hidden_layers in ([], [64, 64]):
    nbdl.manual_seed(0)
    model = models.MLP(2, hidden_layers, 2)
    points = np.random.default_rng(0).uniform(-1, 1, (512, 2)).astype(np.float32)
    inside = ((points**2).sum(axis=1) < 0.5).astype(np.int64)  # a disc
    train.fit(
        model,
        data.DataLoader(data.ArrayDataset(points, inside), batch_size=32, shuffle=True),
        optim.AdamW(model.parameters(), lr=1e-2),
        nn.CrossEntropyLoss(),
        epochs=20,
    )
    with nbdl.no_grad():
        right = (model(nbdl.tensor(points)).numpy().argmax(axis=1) == inside).mean()
    print(f"{len(hidden_layers) + 1} layer(s): {right:.1%} right")
# --8<-- [end:linear]
