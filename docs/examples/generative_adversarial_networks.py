"""Generative adversarial networks: the game, a loss that saturates, a ring, digits."""

# --8<-- [start:optimal]
import numpy as np

x = np.linspace(-6, 8, 1401)
step = x[1] - x[0]


def bell(mean, deviation):
    return np.exp(-(((x - mean) / deviation) ** 2) / 2) / (deviation * np.sqrt(2 * np.pi))


def value(d, real, fake):
    """The value of the game for a discriminator d(x), by a sum over a fine grid."""
    return ((real * np.log(d) + fake * np.log(1 - d)) * step).sum()


real, fake = bell(0, 1), bell(2, 1.2)
best = real / (real + fake)
for name, d in (
    ("the best discriminator", best),
    ("a little surer", np.clip(best + 0.05 * (best - 0.5), 0.001, 0.999)),
    ("a little less sure", best - 0.05 * (best - 0.5)),
    ("one that says 1/2", np.full_like(x, 0.5)),
):
    print(f"{name:24} {value(d, real, fake):8.4f}")
middle = (real + fake) / 2
divergence = (
    (real * np.log(real / middle) + fake * np.log(fake / middle)) / 2 * step
).sum()
print(f"{'-log 4 + 2 JS':24} {-np.log(4) + 2 * divergence:8.4f}")
# --8<-- [end:optimal]
assert abs(value(best, real, fake) + np.log(4) - 2 * divergence) < 1e-6
assert value(best, real, fake) > value(np.full_like(x, 0.5), real, fake)

# --8<-- [start:saturate]
import nbdl
from nbdl import models

nbdl.set_num_threads(1)
nbdl.manual_seed(0)
print("score      p real    minimax   non-saturating")
for score in (-10.0, -5.0, 0.0, 5.0):
    slopes = []
    for game in (models.MinimaxGame(), models.NonSaturatingGame()):
        fake_score = nbdl.tensor([score], requires_grad=True)
        game.generator_loss(fake_score).backward()
        slopes.append(fake_score.grad.item())
    print(
        f"{score:5.0f} {1 / (1 + np.exp(-score)):11.5f} {slopes[0]:10.5f} {slopes[1]:16.5f}"
    )
# --8<-- [end:saturate]
assert abs(slopes[0] + 1 / (1 + np.exp(-5))) < 1e-5

# --8<-- [start:ring]
from nbdl import data, nn, ops, optim

means = data.ring_means()  # eight, on a circle of radius 2
points, _ = data.gaussian_ring(40_000, seed=0).arrays

generator = nn.Sequential(
    nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
)
discriminator = nn.Sequential(
    nn.Linear(2, 64),
    nn.LeakyReLU(0.2),
    nn.Linear(64, 64),
    nn.LeakyReLU(0.2),
    nn.Linear(64, 1),
)
averaged = nn.AveragedModel(generator, multi_avg_fn=optim.get_ema_multi_avg_fn(0.99))
generator_adam = optim.Adam(generator.parameters(), lr=0.002, betas=(0.5, 0.99))
discriminator_adam = optim.Adam(discriminator.parameters(), lr=0.004, betas=(0.5, 0.99))
cross_entropy = ops.binary_cross_entropy_with_logits
ones, zeros = nbdl.ones(128, 1), nbdl.zeros(128, 1)

films, rounds = [], 1600
for turn in range(rounds):
    if turn in (0, 100, 300, 800):
        films.append((turn, averaged(nbdl.randn(300, 2)).detach().numpy()))
    for adam, rate in ((generator_adam, 0.002), (discriminator_adam, 0.004)):
        adam.param_groups[0]["lr"] = rate * (1 - turn / rounds)
    real = nbdl.tensor(points[turn * 128 % 39_000 :][:128])
    fake = generator(nbdl.randn(128, 2))

    loss = cross_entropy(discriminator(real), ones)
    loss = loss + cross_entropy(discriminator(fake.detach()), zeros)  # stops here
    discriminator_adam.zero_grad()
    loss.backward()
    discriminator_adam.step()

    loss = cross_entropy(discriminator(fake), ones)  # and through here to the generator
    generator_adam.zero_grad()
    loss.backward()
    generator_adam.step()
    averaged.update_parameters(generator)

made = averaged(nbdl.randn(5000, 2)).detach().numpy()
films.append((rounds, made[:300]))
coverage = data.mode_coverage(made, means)
print(f"modes covered: {coverage.modes} of 8, near a mode: {coverage.near:.1%}")
print("samples of each:", *coverage.counts)
# --8<-- [end:ring]
assert coverage.modes == 8 and coverage.near > 0.7

# --8<-- [start:stored]
from labs.estimate import estimate
from labs.experiment import load

ring = load("gan-ring")["values"]
print("recipe gan-ring, seed by seed")
print("  modes covered:", *(int(count) for count in ring["modes"]))
share, least = estimate(ring["near_share"]), min(ring["near_share"])
print(f"  near a mode:   {share:.1%}, at least {least:.1%}")
# --8<-- [end:stored]
assert min(ring["modes"]) == 8 and min(ring["near_share"]) >= 0.9

# --8<-- [start:collapse]
collapse = load("gan-collapse")["values"]
print(f"{'':20}{'modes covered':>16}{'near a mode':>18}{'spread':>16}")
for case, values in collapse.items():
    modes = " ".join(f"{int(count)}" for count in values["modes"])
    near, spread = estimate(values["near_share"]), estimate(values["spread"])
    print(f"{case:20}{modes:>16}{f'{near:.0%}':>18}{f'{spread:.2f}':>16}")
# --8<-- [end:collapse]
assert max(collapse["generator ahead"]["modes"]) < min(collapse["balanced"]["modes"])

# --8<-- [start:spectral]
layer = nn.Linear(64, 64)
print(f"largest singular value: {np.linalg.norm(layer.weight.detach().numpy(), 2):.3f}")
nn.utils.spectral_norm(layer)
for calls in range(1, 17):
    layer(nbdl.zeros(1, 64))  # each forward pass in training turns u and v a little
    if calls in (1, 4, 16):
        stretch = np.linalg.norm(layer.weight.detach().numpy(), 2)
        print(f"normalized, after {calls:2} passes: {stretch:.3f}")
print(*(f"{name} {list(tensor.shape)}" for name, tensor in layer.state_dict().items()))
# --8<-- [end:spectral]
assert 0.99 < stretch < 1.2

# --8<-- [start:dcgan]
print(models.DCGANGenerator(latent_features=100, channels=3, features=64, size=64))
print(models.DCGANDiscriminator(channels=3, features=64, size=64))
image = nbdl.randn(1, 100).reshape(1, 100, 1, 1)
for layer in models.DCGANGenerator(100, 3, 64, 64).main:
    image = layer(image)
    if isinstance(layer, nn.ConvTranspose2d):
        print(f"{layer.in_channels:4} -> {list(image.shape[1:])}")
# --8<-- [end:dcgan]
assert image.shape == (1, 3, 64, 64)

# --8<-- [start:conditional]
generator = models.MLPGenerator(
    32, [256, 256], (1, 8, 8), classes=10, batch_norm=True, tanh=True
)
noise = nbdl.randn(1, 32)
same_noise = ops.cat([noise] * 3)
threes_and_a_seven = generator(same_noise, nbdl.tensor([3, 3, 7])).detach().numpy()
print(
    "same noise, same label: ", np.abs(threes_and_a_seven[0] - threes_and_a_seven[1]).max()
)
print(
    "same noise, other label:",
    np.abs(threes_and_a_seven[0] - threes_and_a_seven[2]).max() > 0,
)
# --8<-- [end:conditional]

# --8<-- [start:digits]
digits = load("gan-digits")["values"]
for name, meaning in (
    ("test_accuracy", "learned from synthetic digits, tested on real ones"),
    ("accuracy_of_real", "learned from the real ones, the same test"),
    ("synthetic_read", "synthetic digits that the latter reads as their label"),
):
    print(f"{estimate(digits[name]):.1%}  {meaning}")
print("classes drawn:", *(int(count) for count in digits["classes"]))
# --8<-- [end:digits]
assert min(digits["test_accuracy"]) >= 0.85 and min(digits["classes"]) == 10

# --8<-- [start:real-average]
orbit = np.array([1.0, 0.0])
path = [orbit]
for _ in range(200):  # x wants x y small, y wants it large: each takes its step
    orbit = orbit + 0.1 * np.array([-orbit[1], orbit[0]])
    path.append(orbit)
path = np.array(path)
first, last, mean = (np.hypot(*place) for place in (path[0], path[-1], path.mean(axis=0)))
print(f"distance from the equilibrium: {first:.2f} at first, {last:.2f} after 200 steps,")
print(f"that of the average of all places: {mean:.2f}")
# --8<-- [end:real-average]
assert last > 2 and mean < 0.5

# --8<-- [start:disjoint]
for distance in (0.5, 2, 6):
    real, fake = bell(0, 0.05), bell(distance, 0.05)
    middle = (real + fake) / 2 + 1e-300
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.nan_to_num(real * np.log(real / middle)) + np.nan_to_num(
            fake * np.log(fake / middle)
        )
    earth = np.abs(np.cumsum(real - fake) * step).sum() * step
    jensen = (terms / 2 * step).sum()
    print(f"{distance:4} apart: Jensen-Shannon {jensen:.3f}, earth mover {earth:.2f}")
# --8<-- [end:disjoint]
