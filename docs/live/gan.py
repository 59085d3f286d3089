"""The two players of a GAN at several moments of their training, run on the same noise."""

from __future__ import annotations

import numpy as np

import nbdl
from live.figure import Figure
from nbdl import data, nn, ops, optim
from nbdl.export import trace
from nbdl.runtime import philox

ROUNDS, MOMENTS = 1600, (0, 25, 50, 100, 150, 200, 300, 400, 600, 800, 1100, 1400, 1600)
BATCH, SAMPLES, MEASURED = 128, 256, 4000
WIDTH = 48
GRID, EXTENT = 24, 3.0


def blank_players() -> nn.ModuleDict:
    """A generator of points in the plane and its discriminator, before the first round."""
    generator = nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))
    discriminator = nn.Sequential(
        *(nn.Linear(2, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, 1))
    )
    return nn.ModuleDict({"generator": generator, "discriminator": discriminator})


def grid() -> np.ndarray:
    """The middles of GRID x GRID squares of the plane, row by row from above, float32 [GRID * GRID, 2]."""
    middles = (np.arange(GRID) + 0.5) / GRID * 2 * EXTENT - EXTENT
    x, y = np.meshgrid(middles, -middles)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def play(players: nn.ModuleDict, noise: nbdl.Tensor, places: nbdl.Tensor) -> dict[str, nbdl.Tensor]:
    """Points that the generator makes of noise [N, 2], and how real the discriminator finds each of the places."""
    with nbdl.no_grad():
        return {"points": players["generator"](noise), "real": ops.sigmoid(players["discriminator"](places))}


def snapshots() -> tuple[nn.ModuleDict, list[list[np.ndarray]], list[dict[str, float]]]:
    """Trains, as the page does; the parameters at each moment, and how the samples lay on the modes."""
    nbdl.manual_seed(0)
    points, _ = data.gaussian_ring(40_000, seed=0).arrays
    players = blank_players()
    generator, discriminator = players["generator"], players["discriminator"]
    rates = {generator: 0.002, discriminator: 0.004}
    adams = {player: optim.Adam(player.parameters(), lr=rate, betas=(0.5, 0.99)) for player, rate in rates.items()}
    ones, zeros = nbdl.ones(BATCH, 1), nbdl.zeros(BATCH, 1)
    entropy = ops.binary_cross_entropy_with_logits
    kept, measured = [], []
    for turn in range(ROUNDS + 1):
        if turn in MOMENTS:
            kept.append([parameter.detach().numpy().copy() for parameter in players.parameters()])
            noise = nbdl.randn(MEASURED, 2, generator=philox.Generator(1))
            covered = data.mode_coverage(play(players, noise, nbdl.tensor(grid()))["points"].numpy(), data.ring_means())
            measured.append({"round": turn, "modes": covered.modes, "near": round(float(covered.near), 4)})
        for player, adam in adams.items():
            adam.param_groups[0]["lr"] = rates[player] * (1 - turn / (ROUNDS + 1))
        real = nbdl.tensor(points[turn * BATCH % 39_000 :][:BATCH])
        fake = generator(nbdl.randn(BATCH, 2))
        losses = {
            discriminator: lambda real=real, fake=fake: (
                entropy(discriminator(real), ones) + entropy(discriminator(fake.detach()), zeros)
            ),
            generator: lambda fake=fake: entropy(discriminator(fake), ones),
        }
        for player, loss in losses.items():
            adams[player].zero_grad()
            loss().backward()
            adams[player].step()
    return players, kept, measured


KERNELS = {"normal": (philox._normal_float32, ["float32[:]", *["uint32"] * 4, "float32", "float32"])}
"""What `nbdl.randn` runs: the array, the seed's two words, the number of the draw in two words, mean and deviation."""


def figure() -> Figure:
    """`play` runs the two at one moment. The parameters of all moments are state too: the page copies them in."""
    players, kept, measured = snapshots()
    moments = nbdl.tensor(np.stack([np.concatenate([array.ravel() for array in arrays]) for arrays in kept]))
    noise = np.linspace(-1, 1, 2 * SAMPLES, dtype=np.float32).reshape(SAMPLES, 2)
    state = [players, moments]
    program = trace(lambda *inputs: play(players, *inputs), noise, grid(), state=state, names=["noise", "places"])
    extra = {
        "moments": measured,
        "parameters": [f"0.{name}" for name, _ in players.named_parameters()],
        "means": data.ring_means().tolist(),
        "places": grid().ravel().tolist(),
        "grid": GRID,
        "extent": EXTENT,
    }
    return Figure({"play": program}, extra)
