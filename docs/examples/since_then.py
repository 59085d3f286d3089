"""Since then: norms and their absence, rotary positions, gated units, diffusion."""

# --8<-- [start:norms]
import numpy as np

import nbdl
from nbdl import nn, ops

nbdl.set_num_threads(1)
nbdl.manual_seed(0)


def rms_norm(x, weight, epsilon=1e-6):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + epsilon) * weight


x = nbdl.randn(4, 64) * 3 + 1
norm = nn.RMSNorm(64, eps=1e-6)
print(
    "largest difference:", np.abs(norm(x).detach().numpy() - rms_norm(x.numpy(), 1)).max()
)
for name, layer in (("layer norm", nn.LayerNorm(64)), ("RMS norm", norm)):
    y = layer(x).detach().numpy()
    print(f"{name:10}  mean {y.mean():6.3f}, mean square {np.mean(y**2):.3f}")
# --8<-- [end:norms]

# --8<-- [start:norms-lab]
from labs.estimate import change, estimate
from labs.experiment import load

norms = load("since-norms")["values"]
print("test error" + "".join(f"{'rate ' + rate:>18}" for rate in norms))
for name in norms["0.001"]:
    row = [f"{estimate(norms[rate][name]):.1%}" for rate in norms]
    print(f"{name:24}" + "".join(f"{cell:>18}" for cell in row))
# --8<-- [end:norms-lab]
for rate, by_norm in norms.items():
    alike = change(by_norm["layer norm"], by_norm["RMS norm"])
    assert alike.low < 0 < alike.high, rate
slow, fast = norms.values()
assert change(slow["none, blocks start at 0"], slow["layer norm"]).low > 0
assert change(fast["none, blocks start at 0"], fast["none"]).high < 0

# --8<-- [start:rotary]
query, key = nbdl.randn(1, 64), nbdl.randn(1, 64)


def score(query_at, key_at):
    turned = ops.rotary_embedding(query, query_at), ops.rotary_embedding(key, key_at)
    return ops.sum(turned[0] * turned[1]).item()


for places in ((0, 7), (100, 107), (5000, 5007), (0, 8)):
    print(f"query at {places[0]:4}, key at {places[1]:4}: score {score(*places):+.4f}")
# --8<-- [end:rotary]
assert abs(score(0, 7) - score(5000, 5007)) < 1e-3 < abs(score(0, 7) - score(0, 8))

# --8<-- [start:gates]
gates = load("since-gates")["values"]
for name, values in gates.items():
    print(
        f"{name:7} training loss {estimate(values['train_loss']):.4f}, "
        f"test loss {estimate(values['test_loss']):.3f}, "
        f"test error {estimate(values['test_error']):.1%}"
    )
gain = change(gates["SwiGLU"]["test_loss"], gates["ReLU"]["test_loss"])
print(f"SwiGLU against ReLU, test loss seed by seed: {gain:+.3f}")
# --8<-- [end:gates]
faster = change(gates["SwiGLU"]["train_loss"], gates["ReLU"]["train_loss"])
assert faster.high < 0 < gain.high

# --8<-- [start:diffusion]
from labs.diffusion import LEFT, MODES, STEPS, noisy, quality, ring, sample, train_denoiser

model = train_denoiser(seed=0)
path = sample(model, 2000, seed=1)
near, counts = quality(path[-1])
print(f"share of the variance left after all {STEPS} steps: {LEFT[-1]:.3f}")
print(f"{near:.1%} of 2,000 points within three standard deviations of a mode")
print("points at each mode:", counts)
# --8<-- [end:diffusion]
assert near > 0.75 and min(counts) > 100

# --8<-- [start:diffusion-lab]
stored = load("since-diffusion")["values"]
print(f"near a mode: {estimate(stored['near']):.1%}; modes found: {stored['modes']}")
print(f"share of the rarest mode, at best 12.5 %: {estimate(stored['rarest_share']):.1%}")
# --8<-- [end:diffusion-lab]


# --8<-- [start:fewer]
def nearest(points):
    return ((points[:, None] - MODES) ** 2).sum(axis=2).argmin(axis=1)


for start in (10, 20, 30, STEPS - 1):
    random = np.random.default_rng(0)
    points = ring(1000, random)
    back = noisy(points, np.full(1000, start), random.standard_normal(points.shape))
    same = np.mean(nearest(points) == nearest(back))
    print(
        f"after {start + 1:2} steps {LEFT[start]:5.1%} of the variance is left; "
        f"{same:.0%} of the points are still nearest to the mode they came from"
    )
# --8<-- [end:fewer]

# --8<-- [start:tables]
places = np.arange(6)
table = np.random.default_rng(0).standard_normal((6, 64))
rows = [np.sum(table[i] * table[i + 1]) / 8 for i in places[:-1]]
turned = [score(int(i), int(i) + 1) / 8 for i in places[:-1]]
print("learned table, neighbours:", np.round(rows, 2))
print("rotary, neighbours:       ", np.round(turned, 2))
# --8<-- [end:tables]
