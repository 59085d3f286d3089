"""Train on a folder of images of one's own: a folder a class, answers for new pictures."""

# --8<-- [start:folder]
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

root = Path(tempfile.mkdtemp(), "digits")
names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
scans = load_digits()
for number, (pixels, digit) in enumerate(zip(scans.images, scans.target, strict=True)):
    folder = root / names[digit]
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray((pixels * 15.9).astype(np.uint8)).resize((32, 32))
    picture.save(folder / f"{number:04}.png")

for folder in sorted(root.iterdir())[:3]:
    files = sorted(path.name for path in folder.iterdir())
    print(f"digits/{folder.name}/  {', '.join(files[:3])}, ...  ({len(files)} files)")
# --8<-- [end:folder]

# --8<-- [start:read]
from nbdl import data

images = data.ImageClassFolder(root, size=16, channels=1)
print(images)
print(images.classes)

training, test = (
    data.Subset(images, rows) for rows in data.stratified_split(images.labels, 0.2, seed=0)
)
image, label = training[0]
print(image.shape, image.dtype, f"from {image.min():.1f} to {image.max():.2f};", label)
# --8<-- [end:read]

# --8<-- [start:train]
import nbdl
from nbdl import nn, optim, train

AUGMENT = data.Compose([data.RandomShift(1), data.RandomRotation(10)])


def network():
    nbdl.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),  # 16 x 16 -> 8 x 8
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),  # 8 x 8 -> 4 x 4
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * 4 * 4, len(images.classes)),
    )


def fitted(training, epochs, augment=AUGMENT):
    model = network()
    loader = data.DataLoader(training, batch_size=32, shuffle=True, augment=augment)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    schedule = optim.lr_scheduler.OneCycleLR(
        optimizer, 5e-3, total_steps=epochs * len(loader), cycle_momentum=False
    )
    history = train.fit(
        model,
        loader,
        optimizer,
        nn.CrossEntropyLoss(),
        schedule=schedule,
        schedule_each="batch",
        validation=data.DataLoader(test, batch_size=128),
        metrics={"accuracy": train.accuracy},
        epochs=epochs,
    )
    return model, history


model, history = fitted(training, epochs=8)
for record in history:
    print(
        f"epoch {record['epoch']}  loss {record['loss']:.3f}  "
        f"test accuracy {record['validation_accuracy']:.4f}"
    )
# --8<-- [end:train]
assert history[-1]["validation_accuracy"] > 0.96

# --8<-- [start:predict]
from nbdl import ops

model.eval()


def classify(path):
    """The likeliest class of a picture, and its probability."""
    image = data.read_image(path, size=16, channels=1)
    with nbdl.no_grad():
        chances = ops.softmax(model(nbdl.tensor(image[None])), dim=1).numpy()[0]
    return images.classes[chances.argmax()], float(chances.max())


for row in test.indices[::90]:
    path = images.paths[row]
    name, chance = classify(path)
    print(f"{path.parent.name}/{path.name} is {name} with {chance:.3f}")
# --8<-- [end:predict]

# --8<-- [start:keep]
file = root.parent / "digits.safetensors"
described = {"classes": list(images.classes), "size": 16, "channels": 1}
nbdl.save({"weights": model.state_dict(), **described}, file)

kept = nbdl.load(file)
again = network()
again.load_state_dict(kept["weights"])
again.eval()
image = data.read_image(path, kept["size"], kept["channels"])
with nbdl.no_grad():
    answer = again(nbdl.tensor(image[None])).numpy().argmax()
print(f"{path.parent.name}/{path.name} is {kept['classes'][answer]}")
# --8<-- [end:keep]
assert kept["classes"][answer] == name

# --8<-- [start:wrong]
trainer = train.Trainer(model, None, None, nn.CrossEntropyLoss())
scores = trainer.predict(data.DataLoader(test, batch_size=128))
guesses, truth = scores.argmax(axis=1), images.labels[test.indices]
wrong = np.flatnonzero(guesses != truth)
print(len(wrong), "of", len(test), "wrong")
for place in wrong:
    path = images.paths[test.indices[place]]
    print(f"{path.parent.name}/{path.name} taken for {images.classes[guesses[place]]}")
# --8<-- [end:wrong]

# --8<-- [start:broken]
(root / "zero" / "0000.png").write_bytes(b"\x89PNG, or so it says")
try:
    data.ImageClassFolder(root, size=16, channels=1)
except data.DataFileError as error:
    print(type(error).__name__, str(error).replace(str(root), "digits"), sep="\n")
(root / "zero" / "0000.png").unlink()
# --8<-- [end:broken]

# --8<-- [start:white]
pictures = images.take(test.indices)[0]
for name, shown in (("white on black", pictures), ("black on white", 1 - pictures)):
    with nbdl.no_grad():
        chances = ops.softmax(model(nbdl.tensor(shown)), dim=1).numpy()
    right = (chances.argmax(axis=1) == truth).mean()
    print(f"{name}  {right:.3f} right, sure by {chances.max(axis=1).mean():.2f} on average")
# --8<-- [end:white]
assert right < 0.5

# --8<-- [start:few]
labels = images.labels[training.indices]
for count in (5, 20, 80):
    rows = [training.indices[labels == digit][:count] for digit in range(10)]
    few = data.Subset(images, np.concatenate(rows))
    _, run = fitted(few, epochs=400 // count)
    print(f"{count:2} images a class: test accuracy {run[-1]['validation_accuracy']:.3f}")
# --8<-- [end:few]

# --8<-- [start:mirror]
_, mirrored = fitted(training, epochs=3, augment=data.RandomHorizontalFlip())
_, moved = fitted(training, epochs=3)
for name, run in (("mirrored", mirrored), ("moved", moved)):
    print(f"{name:8}  test accuracy {run[-1]['validation_accuracy']:.3f}")
# --8<-- [end:mirror]
