"""Error messages, each really raised: what it means and what mends it."""

# --8<-- [start:show]
import contextlib
import tempfile
from pathlib import Path

import numpy as np

import nbdl
from nbdl import data, nn, ops, optim, train

folder = Path(tempfile.mkdtemp())


@contextlib.contextmanager
def shown():
    """Prints the error of a block instead of ending the program; none is an error, too."""
    try:
        with contextlib.chdir(folder):
            yield
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
    else:
        raise AssertionError("expected an error, got none")


# --8<-- [end:show]

# --8<-- [start:shapes]
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
images = nbdl.randn(5, 8, 8)
with shown():
    model(images)
print(model(images.flatten(1)).shape)
# --8<-- [end:shapes]

# --8<-- [start:channels]
convolution = nn.Conv2d(3, 8, kernel_size=3)
with shown():
    convolution(nbdl.randn(5, 32, 32, 3))  # channels last, as Pillow and OpenCV have them
print(convolution(nbdl.randn(5, 32, 32, 3).permute(0, 3, 1, 2)).shape)
# --8<-- [end:channels]

# --8<-- [start:classes]
scores = nbdl.randn(4, 3)
with shown():
    ops.cross_entropy(scores, nbdl.tensor([1, 2, 3, 1]))  # classes counted from 1
print(ops.cross_entropy(scores, nbdl.tensor([1, 2, 3, 1]) - 1).shape)
# --8<-- [end:classes]

# --8<-- [start:dtypes]
with shown():
    model(nbdl.tensor(np.zeros((5, 64))))  # NumPy's default is float64
print(model(nbdl.tensor(np.zeros((5, 64), np.float32))).dtype)
with shown():
    ops.cross_entropy(scores, nbdl.tensor([0.0, 1.0, 2.0, 1.0]))
# --8<-- [end:dtypes]

# --8<-- [start:targets]
import warnings

outputs, targets = nbdl.zeros(4, 1), nbdl.tensor([0.0, 1.0, 2.0, 3.0])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    wrong = ops.mse_loss(outputs, targets)
print("UserWarning:", caught[0].message)
print("their difference has the shape", (outputs - targets).shape)
right = ops.mse_loss(outputs, targets.reshape(4, 1))
print(f"with reshape: {right.item()}")
# --8<-- [end:targets]

# --8<-- [start:backward]
with shown():
    nbdl.tensor([1.0, 2.0]).sum().backward()
with shown():
    nbdl.tensor([1.0, 2.0], requires_grad=True).backward()
# --8<-- [end:backward]

# --8<-- [start:twice]
w = nbdl.tensor([2.0], requires_grad=True)
loss = (w.exp() * w).sum()
loss.backward()
with shown():
    loss.backward()
# --8<-- [end:twice]

# --8<-- [start:inplace]
y = w.exp()
z = (y * y).sum()
with nbdl.no_grad():
    y.mul_(0.5)
with shown():
    z.backward()
# --8<-- [end:inplace]

# --8<-- [start:second]
with shown():
    (w**3).sum().backward(create_graph=True)
# --8<-- [end:second]

# --8<-- [start:numpy]
with shown():
    (w * 2).numpy()
print((w * 2).detach().numpy())
# --8<-- [end:numpy]

# --8<-- [start:diverged]
training, _ = data.digits()
with shown():
    nbdl.manual_seed(0)
    train.fit(
        model,
        data.DataLoader(training, batch_size=32),
        optim.SGD(model.parameters(), lr=1e18),
        nn.CrossEntropyLoss(),
        epochs=2,
    )
# --8<-- [end:diverged]

# --8<-- [start:files]
with shown():
    data.load_csv("measurements.csv", target="y")
(folder / "measurements.csv").write_text("a;b;y\n1,5;2;0\n2,5;3;1\n", encoding="utf-8")
with shown():
    data.load_csv("measurements.csv", target="y", task="classification")
(folder / "measurements.csv").write_text(
    "a;b;y\n1.5;2;0\n2.5;3;1\n3;1;0\n", encoding="utf-8"
)
with contextlib.chdir(folder):
    print(data.load_csv("measurements.csv", target="y", task="classification").inputs.shape)
# --8<-- [end:files]

# --8<-- [start:column]
with shown():
    data.load_csv("measurements.csv", target="Y")
# --8<-- [end:column]

# --8<-- [start:resume]
with shown():
    train.fit(
        model,
        data.DataLoader(training, batch_size=32),
        optim.SGD(model.parameters(), lr=0.1),
        nn.CrossEntropyLoss(),
        epochs=2,
        folder="run",
        resume=True,
    )
# --8<-- [end:resume]

# --8<-- [start:device]
with shown():
    nbdl.zeros(2, device="gpu")
# --8<-- [end:device]


# --8<-- [start:parameters]
class Forgetful(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(64, 32), nn.Linear(32, 10)]  # a list hides them


with shown():
    optim.AdamW(Forgetful().parameters())


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 32), nn.Linear(32, 10)])


print(len(list(Remembering().parameters())), "parameters")
# --8<-- [end:parameters]

# --8<-- [start:exercise]
columns = nbdl.zeros(64, 5)
with shown():
    nn.Linear(64, 10)(columns)
print(nn.Linear(64, 10)(columns.T).shape)
# --8<-- [end:exercise]
