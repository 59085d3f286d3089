"""One script for a machine with a GPU and for one without."""

# --8<-- [start:choose]
import nbdl
from nbdl.runtime.errors import DeviceError

try:
    nbdl.zeros(1, device="cuda")
    device = "cuda"
except DeviceError as error:
    device = "cpu"
    print(error)
print("training on", device)
# --8<-- [end:choose]

# --8<-- [start:train]
from nbdl import data, nn, optim, train

training, test = data.digits()
nbdl.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).to(device)
history = train.fit(
    model,
    data.DataLoader(training, batch_size=64, shuffle=True),
    optim.AdamW(model.parameters(), lr=3e-3),  # after .to(device)
    nn.CrossEntropyLoss(),
    validation=data.DataLoader(test, batch_size="full"),
    metrics={"accuracy": train.accuracy},
    epochs=10,
    device=device,
)
print(f"test accuracy {history[-1]['validation_accuracy']:.3f} on {device}")
# --8<-- [end:train]
assert history[-1]["validation_accuracy"] > 0.9

# --8<-- [start:save]
import tempfile
from pathlib import Path

path = Path(tempfile.mkdtemp(), "model.safetensors")
nbdl.save(model.state_dict(), path)
anywhere = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
print(anywhere.load_state_dict(nbdl.load(path)))
# --8<-- [end:save]

# --8<-- [start:counts]
images, labels = (nbdl.tensor(array).to(device) for array in test.arrays)
for rows in (1, 64, 1024):
    batch, targets = (
        x[nbdl.arange(rows).to(device) % len(images)] for x in (images, labels)
    )
    with nbdl.profile() as step:
        nn.functional.cross_entropy(model(batch), targets).backward()
    launches = sum(event.kind == "kernel" for event in step.events)
    each = step.flops() / launches
    print(f"{rows:5} rows: {launches} launches, {each:9,.0f} operations each")
# --8<-- [end:counts]
