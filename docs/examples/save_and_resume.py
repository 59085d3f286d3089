"""Save, load, stop and resume: a run that was cut off ends like one that was not."""

# --8<-- [start:weights]
import tempfile
from pathlib import Path

import numpy as np

import nbdl
from nbdl import data, models, nn, optim, train

folder = Path(tempfile.mkdtemp())
training, test = data.digits()
nbdl.manual_seed(0)
model = models.MLP(64, [64], 10)

nbdl.save(model.state_dict(), folder / "model.safetensors")
size = (folder / "model.safetensors").stat().st_size
print(f"{size:,} bytes:", ", ".join(nbdl.load(folder / "model.safetensors")))

again = models.MLP(64, [64], 10)
print(again.load_state_dict(nbdl.load(folder / "model.safetensors")))
# --8<-- [end:weights]


# --8<-- [start:run]
def run(folder, epochs, resume=False):
    """Trains in a folder until that many epochs are complete; the model and the history."""
    nbdl.manual_seed(0)
    model = models.MLP(64, [64], 10, dropout=0.2)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    history = train.fit(
        model,
        data.DataLoader(training, batch_size=32, shuffle=True),
        optimizer,
        nn.CrossEntropyLoss(),
        schedule=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6),
        validation=data.DataLoader(test, batch_size="full"),
        metrics={"accuracy": train.accuracy},
        epochs=epochs,
        folder=folder,
        resume=resume,
    )
    return model, history


whole, _ = run(folder / "whole", epochs=6)

run(folder / "cut", epochs=2)  # ... and here the power fails
resumed, history = run(folder / "cut", epochs=6, resume=True)

for record in history:
    print(
        f"epoch {record['epoch']}  loss {record['loss']:.4f}  "
        f"accuracy {record['validation_accuracy']:.3f}"
    )
# --8<-- [end:run]

# --8<-- [start:same]
pairs = zip(whole.parameters(), resumed.parameters(), strict=True)
equal = [np.array_equal(a.detach().numpy(), b.detach().numpy()) for a, b in pairs]
print("parameters equal to the last bit:", all(equal))
print(sorted(path.name for path in (folder / "cut").iterdir()))
# --8<-- [end:same]
assert all(equal)

# --8<-- [start:stop]
rows = np.random.default_rng(0).permutation(len(training))[:300]
few, rest = data.Subset(training, rows[:200]), data.Subset(training, rows[200:])
nbdl.manual_seed(0)
eager = models.MLP(64, [256], 10)
stopping = train.EarlyStopping(monitor="validation_loss", patience=5)
history = train.fit(
    eager,
    data.DataLoader(few, batch_size=16, shuffle=True),
    optim.AdamW(eager.parameters(), lr=1e-2),
    nn.CrossEntropyLoss(),
    validation=data.DataLoader(rest, batch_size="full"),
    callbacks=[stopping],
    epochs=100,
)
print(f"stopped after {len(history)} epochs, best was {stopping.best_epoch}")
best, last = history[stopping.best_epoch - 1], history[-1]
for name, record in (("best", best), ("last", last)):
    print(
        f"{name}: training {record['loss']:.4f}, validation {record['validation_loss']:.4f}"
    )
# --8<-- [end:stop]
assert len(history) < 100

# --8<-- [start:loop]
from nbdl import ops


def state_of(epoch, model, optimizer, schedule):
    return {
        "epoch": epoch,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "random": nbdl.get_rng_state(),
    }


def by_hand(epochs, path, state=None):
    nbdl.manual_seed(0)
    model = models.MLP(64, [64], 10, dropout=0.2)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)
    first = 0
    if state is not None:
        first = state["epoch"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        nbdl.set_rng_state(state["random"])
    for epoch in range(first, epochs):
        for x, y in data.DataLoader(training, batch_size=32, shuffle=True, seed=epoch):
            loss = ops.cross_entropy(model(nbdl.tensor(x)), nbdl.tensor(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        train.save_checkpoint(path, state_of(epoch + 1, model, optimizer, schedule))
    return model


straight = by_hand(4, folder / "a.safetensors")
by_hand(2, folder / "b.safetensors")
onward = by_hand(
    4, folder / "b.safetensors", train.load_checkpoint(folder / "b.safetensors")
)
same = np.array_equal(
    straight[0].weight.detach().numpy(), onward[0].weight.detach().numpy()
)
print("the same to the last bit:", same)
# --8<-- [end:loop]
assert same

# --8<-- [start:damage]
import contextlib

with contextlib.chdir(folder):
    contents = bytearray(Path("model.safetensors").read_bytes())
    contents[-5] ^= 1  # one bit of 20 kB
    Path("damaged.safetensors").write_bytes(contents)
    try:
        nbdl.load("damaged.safetensors")
    except ValueError as error:
        print(error)
# --8<-- [end:damage]

# --8<-- [start:other]
try:
    models.MLP(64, [64, 64], 10).load_state_dict(nbdl.load(folder / "model.safetensors"))
except KeyError as error:
    print(error)
# --8<-- [end:other]

# --8<-- [start:mode]
images = nbdl.tensor(test.arrays[0][:1])
with nbdl.no_grad():
    print("train():", [round(float(resumed.train()(images)[0, 0]), 3) for _ in range(3)])
    print("eval(): ", [round(float(resumed.eval()(images)[0, 0]), 3) for _ in range(3)])
# --8<-- [end:mode]

# --8<-- [start:without]
by_hand(2, folder / "c.safetensors")
state = train.load_checkpoint(folder / "c.safetensors")
forgetful = dict(state, optimizer=optim.AdamW(straight.parameters(), lr=3e-3).state_dict())
drifted = by_hand(4, folder / "c.safetensors", forgetful)
gap = abs(drifted[0].weight.detach().numpy() - straight[0].weight.detach().numpy()).max()
print(f"largest difference of a weight: {gap:.4f}")
# --8<-- [end:without]
assert gap > 0
