"""A network that does not learn: how to find out why, one question after the other."""

# --8<-- [start:setup]
import numpy as np

import nbdl
from nbdl import data, nn, ops, optim

training, test = data.digits()
images, labels = training.arrays


def network():
    nbdl.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def fitted(model, images, labels, steps, lr=3e-3, batch=32):
    """The loss after each of some steps of AdamW."""
    optimizer = optim.AdamW(model.parameters(), lr=lr)
    generator, losses = np.random.default_rng(0), []
    for _ in range(steps):
        rows = generator.choice(len(images), min(batch, len(images)), replace=False)
        loss = ops.cross_entropy(
            model(nbdl.tensor(images[rows])), nbdl.tensor(labels[rows])
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def accuracy(model, images, labels):
    with nbdl.no_grad():
        return float((model(nbdl.tensor(images)).numpy().argmax(axis=1) == labels).mean())


# --8<-- [end:setup]

# --8<-- [start:first]
model = network()
with nbdl.no_grad():
    loss = ops.cross_entropy(model(nbdl.tensor(images)), nbdl.tensor(labels)).item()
print(f"loss before any step {loss:.3f}; of guessing among ten, ln 10 = {np.log(10):.3f}")
# --8<-- [end:first]
assert abs(loss - np.log(10)) < 0.3

# --8<-- [start:overfit]
few, answers = images[:16], labels[:16]
losses = fitted(network(), few, answers, steps=200)
print("16 images:", ", ".join(f"{losses[step]:.4f}" for step in (0, 20, 50, 199)))


class Broken(nn.Module):
    """Looks right: two layers, an activation, scores at the end."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        hidden = ops.relu(self.first(x))
        return ops.softmax(ops.relu(self.second(hidden)), dim=1)  # two mistakes


nbdl.manual_seed(0)
losses = fitted(Broken(), few, answers, steps=200)
print("broken:   ", ", ".join(f"{losses[step]:.4f}" for step in (0, 20, 50, 199)))
# --8<-- [end:overfit]
assert losses[-1] > 1


# --8<-- [start:gradients]
def norms(model, images, labels):
    """The length of the gradient of each weight matrix, relative to the matrix."""
    model.zero_grad()
    ops.cross_entropy(model(nbdl.tensor(images)), nbdl.tensor(labels)).backward()
    found = {}
    for name, p in model.named_parameters():
        if name.endswith("weight"):
            gradient = 0.0 if p.grad is None else np.linalg.norm(p.grad.numpy())
            found[name] = gradient / np.linalg.norm(p.detach().numpy())
    return found


def deep(activation):
    nbdl.manual_seed(0)
    layers = [nn.Linear(64, 64), activation()]
    for _ in range(6):
        layers += [nn.Linear(64, 64), activation()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


for activation in (nn.Sigmoid, nn.ReLU):
    row = norms(deep(activation), images[:128], labels[:128]).values()
    print(f"{activation.__name__:8}", " ".join(f"{norm:.0e}" for norm in row))
# --8<-- [end:gradients]


# --8<-- [start:cut]
class Cut(nn.Module):
    """One line that goes through NumPy cuts the graph."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        hidden = ops.relu(self.first(x))
        hidden = nbdl.tensor(hidden.detach().numpy() / 2)  # "only a scaling"
        return self.second(hidden)


for name, norm in norms(Cut(), images[:128], labels[:128]).items():
    print(f"{name:14} {norm:.4f}")
# --8<-- [end:cut]

# --8<-- [start:rates]
final = {}
rates = [10.0**exponent for exponent in np.arange(-6, 1.1, 0.5)]
for rate in rates:
    losses = fitted(network(), images, labels, steps=100, lr=rate)
    final[rate] = float(np.mean(losses[-10:]))
for rate in rates[::2]:
    print(f"lr {rate:7.0e}: loss after 100 steps {final[rate]:.3f}")
best = min(final, key=final.get)
print(f"best {best:.0e}; begin with a third of it")
# --8<-- [end:rates]

# --8<-- [start:labels]
generator = np.random.default_rng(0)
wrong = generator.choice(len(labels), 60, replace=False)
spoiled = labels.copy()
spoiled[wrong] = (labels[wrong] + generator.integers(1, 10, 60)) % 10

# each part is judged by networks that have not seen it
doubt = np.zeros(len(labels))
parts = np.array_split(generator.permutation(len(labels)), 4)
for part in parts:
    rest = np.setdiff1d(np.arange(len(labels)), part)
    judge = network()
    fitted(judge, images[rest], spoiled[rest], steps=300)
    with nbdl.no_grad():
        scores = judge(nbdl.tensor(images[part]))
        losses = ops.cross_entropy(scores, nbdl.tensor(spoiled[part]), reduction="none")
    doubt[part] = losses.numpy()

suspects = np.argsort(-doubt)[:60]
found = np.isin(suspects, wrong).mean()
print(f"of the 60 labels that surprise most, {found:.0%} are indeed wrong")
# --8<-- [end:labels]
assert found > 0.7

# --8<-- [start:shifted]
shifted = np.roll(labels, 1)  # off by one row: the classic after sorting, or a lost header
model = network()
losses = fitted(model, images, shifted, steps=300)
print(f"labels of the next row: loss {losses[0]:.2f} -> {np.mean(losses[-20:]):.2f}")
model = network()
losses = fitted(model, images, labels, steps=300)
print(f"labels of the same row: loss {losses[0]:.2f} -> {np.mean(losses[-20:]):.2f}")
# --8<-- [end:shifted]

# --8<-- [start:nan]
from nbdl.runtime.errors import NumericalError

model = network()
x = nbdl.tensor(np.where(images[:32] > 0.9, images[:32], 0))
try:
    with nbdl.detect_anomaly():
        chances = ops.softmax(model(x) * 2000, dim=1)
        loss = -(chances.log() * chances).sum()  # 0 * log 0
        loss.backward()
except NumericalError as error:
    print(error)
# --8<-- [end:nan]


# --8<-- [start:dead]
def alive(model):
    """Share of hidden units that are on for at least one image."""
    with nbdl.no_grad():
        hidden = model[1](model[0](nbdl.tensor(images)))
    return float((hidden.numpy() > 0).any(axis=0).mean())


for rate in (3e-3, 0.3):
    model = network()
    fitted(model, images, labels, steps=100, lr=rate)
    print(f"lr {rate:5}: {alive(model):4.0%} of the hidden units are alive, ", end="")
    print(f"accuracy {accuracy(model, *test.arrays):.3f}")
# --8<-- [end:dead]

# --8<-- [start:zero]
model = network()
for parameter in model.parameters():
    with nbdl.no_grad():
        parameter.zero_()
losses = fitted(model, images[:16], labels[:16], steps=200)
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")
for name, parameter in model.named_parameters():
    print(f"{name:9} largest gradient {abs(parameter.grad.numpy()).max():.4f}")
# --8<-- [end:zero]
