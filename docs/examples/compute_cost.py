"""What training costs: operations counted, time and memory measured, and ways to save."""

# --8<-- [start:count]
import numpy as np

import nbdl
from nbdl import nn, ops, optim

nbdl.set_num_threads(1)
nbdl.manual_seed(0)
model = nn.Sequential(
    *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Flatten(), nn.Linear(32 * 7 * 7, 10)),
)
images = nbdl.randn(64, 1, 28, 28)
labels = nbdl.tensor(np.arange(64) % 10)
print(nn.summary(model, images))
# --8<-- [end:count]

# --8<-- [start:hand]
batch, inputs, kernels, height, width, side = 64, 16, 32, 14, 14, 3
products = 2 * batch * kernels * height * width * inputs * side * side
biases = batch * kernels * height * width
counted = nn.summary(model, images).layers[4].flops
print(f"by hand {products + biases:,}, counted {counted:,}")
# --8<-- [end:hand]
assert products + biases == counted

# --8<-- [start:step]
optimizer = optim.Adam(model.parameters())


def step():
    optimizer.zero_grad()
    loss = ops.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()


def measured(run, times=30):
    """The profile of the fastest run: the others had to share the processor."""
    run()  # the first one reads kernels from the cache: not what is asked here
    profiles = []
    for _ in range(times):
        with nbdl.profile() as profile:
            run()
        profiles.append(profile)
    return min(profiles, key=lambda profile: profile.seconds)


nbdl.set_precision("highest")  # no tiles that save multiplications: done is what is counted
profile = measured(step)
print(profile.table(most=8))
# --8<-- [end:step]
assert profile.flops("forward") > counted

# --8<-- [start:machine]
machine = nbdl.profiling.measure_roofline()
print(f"a product of matrices reaches {machine.peak / 1e9:.0f} GFLOP/s,")
print(f"a copy {machine.bandwidth / 1e9:.1f} GB/s: arithmetic limits from")
print(f"{machine.ridge:.0f} operations a byte on, memory below")
# --8<-- [end:machine]

# --8<-- [start:rule]
nbdl.manual_seed(0)
perceptron = nn.Sequential(
    nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 64)
)
weights = sum(parameter.numel() for parameter in perceptron.parameters())
examples = nbdl.randn(128, 256)
with nbdl.profile() as counted_step:
    perceptron(examples).square().mean().backward()
each = counted_step.flops() / weights / len(examples)
print(f"{weights:,} weights, {each:.2f} operations for each weight and example")
# --8<-- [end:rule]
assert 5 < each < 6.2

# --8<-- [start:years]
parameters, tokens = 175e9, 300e9  # GPT-3 (Brown et al., 2020)
operations = 6 * parameters * tokens
years = operations / machine.peak / (365.25 * 24 * 3600)
print(f"{operations:.2g} operations: {years:,.0f} years on one core of this machine")
# --8<-- [end:years]

# --8<-- [start:checkpoint]
deep = nn.Sequential(*[part for _ in range(16) for part in (nn.Linear(64, 64), nn.Tanh())])
rows = nbdl.randn(1024, 64)


def gradients(segments):
    deep.zero_grad()
    with nbdl.profile(kernels=False) as watched:
        value = rows
        for first in range(0, 32, 32 // segments):
            part = deep[first : first + 32 // segments]
            value = part(value) if segments == 1 else nbdl.checkpoint(part, value)
        value.sum().backward()
    return [parameter.grad.numpy() for parameter in deep.parameters()], watched.peak_bytes


whole, memory = gradients(1)
pieces, less_memory = gradients(4)
equal = all((a == b).all() for a, b in zip(whole, pieces, strict=True))
print(f"{memory / 1e6:.2f} MB, with checkpoints {less_memory / 1e6:.2f} MB")
print("the same bits:", equal)
# --8<-- [end:checkpoint]
assert equal and less_memory < 0.6 * memory

# --8<-- [start:groups]
x = nbdl.randn(8, 64, 16, 16)
for name, layer in {
    "3x3, all channels": nn.Conv2d(64, 64, 3, padding=1, bias=False),
    "3x3, groups of 16": nn.Conv2d(64, 64, 3, padding=1, groups=4, bias=False),
    "depthwise, then 1x1": nn.Sequential(
        nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False),
        nn.Conv2d(64, 64, 1, bias=False),
    ),
}.items():
    flops = nn.summary(layer, x).flops
    took = measured(lambda layer=layer: layer(x)).phase_seconds("forward")
    rate = flops / took / 1e9
    print(f"{name:20} {flops / 1e6:5.1f} MFLOP, {1e3 * took:5.2f} ms, {rate:3.0f} GFLOP/s")
# --8<-- [end:groups]

# --8<-- [start:attention]
layer = nn.MultiheadAttention(64, 4, batch_first=True)
for length in (64, 128, 256, 512):
    x = nbdl.randn(1, length, 64)
    flops = nn.summary(layer, x, x, x, need_weights=False).flops
    each = flops / length / 1e3
    print(f"length {length:3}: {flops / 1e6:5.1f} MFLOP, {each:5.1f} k a position")
# --8<-- [end:attention]

# --8<-- [start:segments]
layers = 144
alive, best = min((count + layers / count, count) for count in range(1, layers + 1))
print(f"{best} segments: {alive:.0f} results instead of {layers}")
# --8<-- [end:segments]
