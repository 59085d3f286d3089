"""Train on a table of one's own: a CSV file in, predictions for new rows out."""

# --8<-- [start:file]
import csv
import tempfile
from pathlib import Path

from sklearn.datasets import load_wine

folder = Path(tempfile.mkdtemp())
wine = load_wine()
with open(folder / "wine.csv", "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow([*wine.feature_names, "cultivar"])
    for numbers, cultivar in zip(wine.data, wine.target, strict=True):
        writer.writerow([*numbers, "ABC"[cultivar]])

header, first, *_ = (folder / "wine.csv").read_text(encoding="utf-8").splitlines()
print(header[:60], "...", header[-16:])
print(first)
# --8<-- [end:file]

# --8<-- [start:command]
import contextlib
import io

from nbdl.cli import main

with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.chdir(folder):
    main(["train", "mlp-csv", "--data", "wine.csv", "--target", "cultivar"])
lines = said.getvalue().strip().splitlines()
print(*lines[:12], "  ...", *lines[-7:], sep="\n")
# --8<-- [end:command]
assert float(lines[-1].removeprefix("test_accuracy=")) > 0.9

# --8<-- [start:read]
from nbdl import data

table = data.load_csv(folder / "wine.csv", target="cultivar")
print(len(table), "rows,", len(table.feature_names), "inputs,", table.task)
print("classes:", table.classes)

split = table.split(fraction=0.25, seed=0)
print(len(split.train), "rows to train on,", len(split.test), "to test on")
# --8<-- [end:read]

# --8<-- [start:train]
import nbdl
from nbdl import models, nn, optim, train


def fitted(training, test, classes=3):
    """A perceptron after 20 epochs, and the record of each."""
    nbdl.manual_seed(0)
    model = models.MLP(training.arrays[0].shape[1], [32], classes)
    history = train.fit(
        model,
        data.DataLoader(training, batch_size=16, shuffle=True),
        optim.AdamW(model.parameters(), lr=1e-2),
        nn.CrossEntropyLoss(),
        validation=data.DataLoader(test, batch_size="full"),
        metrics={"accuracy": train.accuracy},
        epochs=20,
    )
    return model, history


model, history = fitted(split.train, split.test)
for record in history[::5] + history[-1:]:
    print(
        f"epoch {record['epoch']:2}  loss {record['loss']:.4f}  "
        f"test loss {record['validation_loss']:.4f}  "
        f"test accuracy {record['validation_accuracy']:.3f}"
    )
# --8<-- [end:train]
assert history[-1]["validation_accuracy"] > 0.93

# --8<-- [start:predict]
from nbdl import ops

with open(folder / "wine.csv", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))[::60]  # in your case: a file of new rows

inputs = split.input_scale.apply(table.encode(rows))
model.eval()
with nbdl.no_grad():
    probabilities = ops.softmax(model(nbdl.tensor(inputs)), dim=1).numpy()
for row, chances in zip(rows, probabilities, strict=True):
    answer = table.classes[chances.argmax()]
    print(f"{answer} with {chances.max():.3f}, in truth {row['cultivar']}")
# --8<-- [end:predict]

# --8<-- [start:recipe]
import json

settings = json.loads((folder / "runs/mlp-csv/result.json").read_text())["settings"]
its_split = table.split(settings["test_fraction"], settings["seed"])
its_model = models.MLP(len(table.feature_names), settings["hidden"], len(table.classes))
its_model.load_state_dict(nbdl.load(folder / "runs/mlp-csv/model.safetensors"))
its_model.eval()
scaled = its_split.input_scale.apply(table.encode(rows))
with nbdl.no_grad():
    answers = its_model(nbdl.tensor(scaled)).numpy().argmax(axis=1)
print("the command's network:", ", ".join(table.classes[answer] for answer in answers))
# --8<-- [end:recipe]
assert [table.classes[answer] for answer in answers] == [row["cultivar"] for row in rows]

# --8<-- [start:keep]
nbdl.save(
    {
        "weights": model.state_dict(),
        "mean": split.input_scale.mean,
        "std": split.input_scale.std,
        "classes": list(table.classes),
        "columns": list(table.feature_names),
    },
    folder / "wine.safetensors",
)
kept = nbdl.load(folder / "wine.safetensors")
again = models.MLP(len(kept["columns"]), [32], len(kept["classes"]))
again.load_state_dict(kept["weights"])
again.eval()
with nbdl.no_grad():
    same = ops.softmax(again(nbdl.tensor(inputs)), dim=1).numpy()
print("the same to the last bit:", (same == probabilities).all())
# --8<-- [end:keep]
assert (same == probabilities).all()

# --8<-- [start:unscaled]
names = table.feature_names
spread = dict(zip(names, table.inputs.std(axis=0), strict=True))
print(f"standard deviation of hue {spread['hue']:.2f}, of proline {spread['proline']:.0f}")

rows_of_parts = data.stratified_split(table.targets, 0.25, seed=0)
raw = [
    data.ArrayDataset(table.inputs[rows].astype("float32"), table.targets[rows])
    for rows in rows_of_parts
]
_, unscaled = fitted(*raw)
for name, run in (("standardized", history), ("raw", unscaled)):
    first, last = run[0], run[-1]
    print(
        f"{name:12}  loss of epoch 1 {first['loss']:6.3f}, of epoch 20 {last['loss']:.3f}, "
        f"test accuracy {last['validation_accuracy']:.3f}"
    )
# --8<-- [end:unscaled]
assert unscaled[-1]["validation_accuracy"] < history[-1]["validation_accuracy"]

# --8<-- [start:missing]
broken = (folder / "wine.csv").read_text(encoding="utf-8").replace("1065.0", "", 1)
(folder / "broken.csv").write_text(broken, encoding="utf-8")
try:
    data.load_csv(folder / "broken.csv", target="cultivar")
except data.CsvValueError as error:
    print(error)
# --8<-- [end:missing]

# --8<-- [start:filled]
import statistics

with open(folder / "broken.csv", encoding="utf-8", newline="") as file:
    header, *cells = csv.reader(file)
place = header.index("proline")
median = statistics.median(float(row[place]) for row in cells if row[place])
with open(folder / "filled.csv", "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow([*header[:-1], "proline known", header[-1]])
    for row in cells:
        known = "yes" if row[place] else "no"
        row[place] = row[place] or str(median)
        writer.writerow([*row[:-1], known, row[-1]])
filled = data.load_csv(folder / "filled.csv", "cultivar", categorical=["proline known"])
print(filled.feature_names[-3:])
print(filled.inputs[0, -3:])
# --8<-- [end:filled]

# --8<-- [start:regression]
import numpy as np
from sklearn.datasets import load_diabetes

patients = load_diabetes(scaled=False)
with open(folder / "diabetes.csv", "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow([*patients.feature_names, "progression"])
    for numbers, progression in zip(patients.data, patients.target, strict=True):
        writer.writerow([*numbers, progression])

patients = data.load_csv(folder / "diabetes.csv", "progression", categorical=["sex"])
part = patients.split(fraction=0.25, seed=0)
training, validation = data.random_split(part.train, [0.8, 0.2], seed=0)
nbdl.manual_seed(0)
regressor = models.MLP(len(patients.feature_names), [32], 1, dropout=0.3)
stopping = train.EarlyStopping(patience=15)
train.fit(
    regressor,
    data.DataLoader(training, batch_size=32, shuffle=True),
    optim.AdamW(regressor.parameters(), lr=3e-3, weight_decay=0.1),
    nn.MSELoss(),
    validation=data.DataLoader(validation, batch_size="full"),
    callbacks=[stopping],
    epochs=200,
)

inputs, targets = part.test.arrays
with nbdl.no_grad():
    outputs = regressor.eval()(nbdl.tensor(inputs)).numpy()
guesses, truth = part.target_scale.undo(outputs), part.target_scale.undo(targets)
print(f"{patients.task}; best after {stopping.best_epoch} epochs")
print(f"test rows: off by {np.abs(guesses - truth).mean():.1f} on average")
mean = part.target_scale.mean
print(f"guessing the mean for every row: off by {np.abs(truth - mean).mean():.1f}")
# --8<-- [end:regression]
assert np.abs(guesses - truth).mean() < 0.85 * np.abs(truth - mean).mean()

# --8<-- [start:leak]
number_of_row = np.arange(len(table), dtype="float32")[:, None] / len(table)
numbered = [
    data.ArrayDataset(number_of_row[rows], table.targets[rows]) for rows in rows_of_parts
]
_, by_number = fitted(*numbered)
print(f"from the row's number alone: {by_number[-1]['validation_accuracy']:.3f}")
# --8<-- [end:leak]
assert by_number[-1]["validation_accuracy"] > 0.6

# --8<-- [start:importance]
inputs, targets = split.test.arrays
generator = np.random.default_rng(0)


def accuracy(inputs):
    with nbdl.no_grad():
        return train.accuracy(model(nbdl.tensor(inputs)), nbdl.tensor(targets))


fall = {}
for column, name in enumerate(names):
    losses = []
    for _ in range(20):
        changed = inputs.copy()
        changed[:, column] = generator.permutation(changed[:, column])
        losses.append(accuracy(inputs) - accuracy(changed))
    fall[name] = np.mean(losses)
for name in sorted(fall, key=fall.get, reverse=True)[:5]:
    print(f"{name:30} {fall[name]:.3f}")
# --8<-- [end:importance]
