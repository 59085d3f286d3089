"""The example of the home page."""

# --8<-- [start:train]
import nbdl
from nbdl import data, nn, ops, optim

train, test = data.digits()
nbdl.manual_seed(0)
network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = optim.AdamW(network.parameters(), lr=3e-3)

for epoch in range(20):
    for images, labels in data.DataLoader(train, batch_size=32, shuffle=True, seed=epoch):
        loss = ops.cross_entropy(network(nbdl.tensor(images)), nbdl.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

images, labels = test.arrays
with nbdl.no_grad():
    probabilities = ops.softmax(network(nbdl.tensor(images)), dim=1).numpy()
accuracy = (probabilities.argmax(axis=1) == labels).mean()
print(f"test_accuracy={accuracy:.3f}")
# --8<-- [end:train]
assert accuracy > 0.94

# --8<-- [start:figure]
import matplotlib.pyplot as plt
from figure import SERIES

figure, axes = plt.subplots(2, 12, figsize=(9, 1.7), height_ratios=(2, 1))
for i in range(12):
    picture, bars = axes[:, i]
    picture.imshow(images[i].reshape(8, 8), cmap="Greys")
    bars.bar(range(10), probabilities[i], color=SERIES[1], width=1)
    bars.set(ylim=(0, 1), xticks=[], yticks=[], xlabel=probabilities[i].argmax())
    picture.set(xticks=[], yticks=[])
    for ax in (picture, bars):
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
# --8<-- [end:figure]

# --8<-- [start:own]
import contextlib
import csv
import io
import tempfile
from pathlib import Path

from sklearn.datasets import load_iris

from nbdl.cli import main

folder, iris = Path(tempfile.mkdtemp()), load_iris()
with open(folder / "flowers.csv", "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow(
        ["sepal length", "sepal width", "petal length", "petal width", "species"]
    )
    for sizes, species in zip(iris.data, iris.target_names[iris.target], strict=True):
        writer.writerow([*sizes, species])

with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.chdir(folder):
    main(["train", "mlp-csv", "--data", "flowers.csv", "--target", "species"])
lines = said.getvalue().strip().splitlines()
print(*lines[:12], "  ...", *lines[-7:], sep="\n")
# --8<-- [end:own]
assert float(lines[-1].removeprefix("test_accuracy=")) > 0.85
