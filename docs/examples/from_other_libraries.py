"""Weights that cross between libraries: state dicts, and checkpoints as published."""

# --8<-- [start:names]
import tempfile
from pathlib import Path

import numpy as np

import nbdl
from nbdl import interop, models, nn, ops

folder = Path(tempfile.mkdtemp())
nbdl.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)
)
for name, value in model.state_dict().items():
    print(f"{name:22} {value.dtype!s:8} {list(value.shape)}")
# --8<-- [end:names]

# --8<-- [start:arrays]
arrays = {name: value.detach().numpy() for name, value in model.state_dict().items()}
twin = nn.Sequential(
    nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)
)
print(twin.load_state_dict(arrays))

x = nbdl.randn(4, 1, 8, 8)
with nbdl.no_grad():
    print("equal:", np.array_equal(model.eval()(x).numpy(), twin.eval()(x).numpy()))
# --8<-- [end:arrays]

# --8<-- [start:file]
from safetensors.numpy import load_file, save_file

save_file(arrays, folder / "from_elsewhere.safetensors")  # as any other program would
print(twin.load_state_dict(nbdl.load(folder / "from_elsewhere.safetensors")))

nbdl.save(model.state_dict(), folder / "ours.safetensors")
print(sorted(load_file(folder / "ours.safetensors"))[:3], "...")
# --8<-- [end:file]

# --8<-- [start:part]
larger = nn.Sequential(*list(twin)[:4], nn.Linear(8 * 36, 3))  # three classes, not ten
kept = {name: value for name, value in arrays.items() if not name.startswith("4.")}
result = larger.load_state_dict(kept, strict=False)
print("missing:", result.missing_keys)
for parameter in list(larger[:4].parameters()):
    parameter.requires_grad_(False)
trained = [name for name, p in larger.named_parameters() if p.requires_grad]
print("trained:", trained)
# --8<-- [end:part]

# --8<-- [start:renamed]
theirs = {f"module.backbone.{name}": value for name, value in arrays.items()}
ours = {name.removeprefix("module.backbone."): value for name, value in theirs.items()}
print(twin.load_state_dict(ours))
# --8<-- [end:renamed]

# --8<-- [start:published]
sizes = {"vocabulary": 60, "context": 32, "width": 32, "layers": 2, "heads": 4}
gpt = models.GPT(models.GPTConfig(**sizes)).eval()
interop.to_huggingface(gpt, folder / "gpt")
print(sorted(path.name for path in (folder / "gpt").iterdir()))

pretrained = interop.from_huggingface(folder / "gpt")
print(pretrained.model)
tokens = nbdl.tensor([[1, 2, 3, 4]])
with nbdl.no_grad():
    same = np.array_equal(gpt(tokens).numpy(), pretrained.model(tokens).numpy())
print("equal:", same)
# --8<-- [end:published]
assert same

# --8<-- [start:pickle]
(folder / "old").mkdir()
(folder / "old" / "config.json").write_text((folder / "gpt" / "config.json").read_text())
(folder / "old" / "pytorch_model.bin").write_bytes(b"PK")
try:
    interop.from_huggingface(folder / "old")
except ValueError as error:
    print(str(error).replace(str(folder), "."))
# --8<-- [end:pickle]

# --8<-- [start:fortran]
weight = np.arange(6, dtype=np.float32).reshape(2, 3)
transposed = weight.T  # a Keras kernel is [inputs, outputs]; ours is [outputs, inputs]
layer = nn.Linear(3, 2, bias=False)
try:
    layer.load_state_dict({"weight": transposed})
except RuntimeError as error:
    print(error)
print(layer.load_state_dict({"weight": transposed.T}))
print(layer(nbdl.tensor([1.0, 0.0, 0.0])).tolist())
# --8<-- [end:fortran]

# --8<-- [start:compare]
image = nbdl.tensor(np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8))
stages = {}
for name, module in twin.named_children():
    module.register_forward_hook(
        lambda module, inputs, output, name=name: stages.update(
            {name: output.detach().numpy()}
        )
    )
with nbdl.no_grad():
    ops.softmax(twin(image), dim=1)
for name, values in stages.items():
    print(f"{name} {type(twin[int(name)]).__name__:12} mean {values.mean():+.6f}")
# --8<-- [end:compare]
