"""Recipes of generative adversarial networks: Gaussians on a ring, digits by their label, and a folder of images."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl import data, models, optim
from nbdl.models.gan import GAMES, GAN, Game
from nbdl.train.adversarial import AdversarialTrainer, Players
from nbdl.train.film import Frame, point_frame
from nbdl.train.recipes.registry import Option, Task, choice, number, recipe, whole, widths

RING_POINTS, RING_SAMPLES, RING_EXTENT = 25_600, 10_000, 2.8


def _game_options(
    game: str, epochs: int, batch: int, rates: tuple[float, float], beta1: float, beta2: float, spectral_norm: str
) -> tuple[Option, ...]:
    """The options of every game."""
    return (
        Option("epochs", whole(1), epochs, "passes over the training data", "N"),
        Option("batch_size", whole(2), batch, "real samples a step, and as many generated ones", "N"),
        Option("game", choice(*GAMES), game, f"what the players want: {', '.join(GAMES)}", "NAME"),
        Option("generator_rate", number(0, open_low=True), rates[0], "size of the generator's steps", "RATE"),
        Option("discriminator_rate", number(0, open_low=True), rates[1], "size of the discriminator's steps", "RATE"),
        Option("beta1", number(0, 1), beta1, "momentum of Adam", "B"),
        Option("beta2", number(0, 1), beta2, "memory of Adam's step sizes", "B"),
        Option("generator_steps", whole(1), 1, "steps of the generator in its turn", "N"),
        Option("discriminator_steps", whole(1), 1, "steps of the discriminator before the generator's turn", "N"),
        Option("spectral_norm", choice("on", "off"), spectral_norm, "a discriminator that does not stretch", "on|off"),
        Option("clip", number(0), 0.0, "wasserstein: clip the discriminator's weights at this; 0 leaves them", "C"),
        Option("average", number(0, 1), 0.999, "decay of the average of the generator's weights", "B"),
        Option("seed", whole(0), 0, "chooses weights, noise and order", "N"),
    )


def _game(options: dict[str, Any]) -> Game:
    if options["clip"]:
        if options["game"] != models.WassersteinGame.name:
            raise data.DataArgumentError("clip", "the game wasserstein with it", repr(options["game"]))
        return models.WassersteinGame(options["clip"])
    return GAMES[options["game"]]()


def _task(
    options: dict[str, Any],
    generator: Any,
    discriminator: Any,
    dataset: data.ArrayDataset,
    test: Callable[[GAN], dict[str, float]],
    summary: dict[str, str],
    **trainer: Any,
) -> Task:
    """Trains one against the other, both with Adam and rates that fall to 0."""
    gan, game = GAN(generator, discriminator, options["average"]), _game(options)
    betas = options["beta1"], options["beta2"]
    players = Players(
        optim.Adam(generator.parameters(), options["generator_rate"], betas),
        optim.Adam(discriminator.parameters(), options["discriminator_rate"], betas),
    )
    batch = min(options["batch_size"], len(dataset))
    loader = data.DataLoader(dataset, batch, shuffle=True, drop_last=True, seed=options["seed"])
    steps = options["epochs"] * len(loader)
    schedules = (
        optim.lr_scheduler.LinearLR(player, 1.0, 0.0, steps) for player in (players.generator, players.discriminator)
    )
    turns = f"{options['discriminator_steps']} to {options['generator_steps']} steps"
    rates = f"{options['discriminator_rate']:g} and {options['generator_rate']:g}, falling to 0"
    return Task(
        model=gan,
        loss=game.discriminator_loss,
        optimizer=players,
        loader=loader,
        schedule=Players(*schedules),
        schedule_each="batch",
        test=lambda trainer: test(trainer.model),  # type: ignore[arg-type]
        pictures=lambda trainer: trainer.film.drawings(),  # type: ignore[attr-defined]
        fingerprint=hashlib.sha256(dataset.arrays[0].tobytes()).hexdigest(),
        summary={
            **summary,
            "generator": repr(generator),
            "discriminator": repr(discriminator) + (", spectral norm" if options["spectral_norm"] == "on" else ""),
            "game": f"{game!r}; discriminator and generator: {turns}, Adam, rates {rates}; seed {options['seed']}",
        },
        trainer=functools.partial(
            AdversarialTrainer,
            game=game,
            discriminator_steps=options["discriminator_steps"],
            generator_steps=options["generator_steps"],
            **trainer,
        ),
    )


@recipe(
    "gan-ring",
    "a generator learns eight Gaussians on a ring from a discriminator: does it find them all?",
    "near_share",
    (
        Option("latent", whole(1), 2, "numbers of noise a sample", "N"),
        Option("hidden", widths, (128, 128), "widths of the hidden layers of both players", "N,N"),
        *_game_options("non-saturating", 60, 256, (0.001, 0.002), beta1=0.5, beta2=0.99, spectral_norm="off"),
    ),
)
def gan_ring(options: dict[str, Any]) -> Task:
    """Trains two perceptrons on points of the ring, and counts the modes that the averaged generator covers."""
    means = data.ring_means()
    generator = models.MLPGenerator(options["latent"], options["hidden"], 2)
    discriminator = models.MLPDiscriminator(2, options["hidden"], spectral_norm=options["spectral_norm"] == "on")

    def coverage(gan: GAN, count: int) -> dict[str, float]:
        covered = data.mode_coverage(gan.sample(count).numpy(), means)
        return {"near_share": covered.near, "modes": float(covered.modes)}

    def draw(points: np.ndarray) -> Frame:
        return point_frame(points, means, 3 * data.DEVIATION, RING_EXTENT)

    return _task(
        options,
        generator,
        discriminator,
        data.gaussian_ring(RING_POINTS, seed=options["seed"]),
        test=lambda gan: coverage(gan, RING_SAMPLES),
        summary={"data": f"{RING_POINTS:,} points of {len(means)} Gaussians on a ring"},
        measure=lambda gan: coverage(gan, RING_SAMPLES // 4),
        frame=draw,
        shown=400,
    )
