"""Recipes of generative adversarial networks: Gaussians on a ring, digits by their label, and a folder of images."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl import data, models, nn, optim
from nbdl.autograd import Tensor, no_grad
from nbdl.models.gan import GAMES, GAN, Game
from nbdl.runtime.philox import manual_seed
from nbdl.train.adversarial import AdversarialTrainer, Players
from nbdl.train.film import Frame, image_frame, point_frame
from nbdl.train.loop import Trainer
from nbdl.train.recipes.registry import Option, Task, choice, number, recipe, text, whole, widths

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


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def _task(
    options: dict[str, Any],
    generator: Any,
    discriminator: Any,
    dataset: data.Dataset,
    test: Callable[[GAN], dict[str, float]],
    summary: dict[str, str],
    fingerprint: str,
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
        fingerprint=fingerprint,
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

    ring = data.gaussian_ring(RING_POINTS, seed=options["seed"])
    return _task(
        options,
        generator,
        discriminator,
        ring,
        test=lambda gan: coverage(gan, RING_SAMPLES),
        summary={"data": f"{RING_POINTS:,} points of {len(means)} Gaussians on a ring"},
        fingerprint=_digest(ring.arrays[0]),
        measure=lambda gan: coverage(gan, RING_SAMPLES // 4),
        frame=draw,
        shown=400,
    )


# ---------------------------------------------------------------- images

CLASSIFIER_EPOCHS, CLASSIFIER_BATCH = 12, 32
CLASSES = 10
MOSAIC = 8  # images in a row of the samples


def _image_size(value: Any) -> int:
    """Parses the side of an image that a DCGAN can make."""
    size = whole(8)(value)
    if size & (size - 1):
        raise ValueError("a power of two from 8 up")
    return size


def _to_pixels(made: Tensor | np.ndarray) -> np.ndarray:
    """Images in [-1, 1], as a hyperbolic tangent gives them, as pixels from 0 to 1."""
    pixels: np.ndarray = (np.asarray(made) + 1) / 2
    return pixels


def _classifier_of(images: np.ndarray, labels: np.ndarray, seed: int) -> nn.Module:
    """A perceptron that learned to read from these images."""
    manual_seed(seed)
    model = models.MLP(images[0].size, [128], CLASSES)
    loader = data.DataLoader(
        data.ArrayDataset(images.reshape(len(images), -1), labels), CLASSIFIER_BATCH, shuffle=True, seed=seed
    )
    Trainer(model, loader, optim.Adam(model.parameters(), 0.001), nn.CrossEntropyLoss()).run(CLASSIFIER_EPOCHS)
    return model.eval()


def _reads(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which of the images a classifier reads right."""
    with no_grad():
        scores = model(Tensor(images.reshape(len(images), -1)))
    right: np.ndarray = scores.numpy().argmax(axis=1) == labels
    return right


def _use_of_synthetic_digits(gan: GAN, train: Any, test: Any, count: int, seed: int) -> dict[str, float]:
    """What synthetic digits are worth: how well a classifier that saw no others reads real ones. And the other way
    round: of how many classes does a classifier of real digits recognise most of the synthetic ones?
    """
    labels = np.arange(count, dtype=np.int64) % CLASSES
    synthetic = _to_pixels(gan.sample(count).numpy()).astype(np.float32)
    of_synthetic, of_real = (
        _classifier_of(images, classes, seed) for images, classes in ((synthetic, labels), train.arrays)
    )
    read = _reads(of_real, synthetic, labels)
    shares = np.bincount(labels[read], minlength=CLASSES) / np.bincount(labels, minlength=CLASSES)
    return {
        "test_accuracy": float(_reads(of_synthetic, *test.arrays).mean()),
        "accuracy_of_real": float(_reads(of_real, *test.arrays).mean()),
        "synthetic_read": float(read.mean()),
        "classes": float(np.count_nonzero(shares > 0.5)),
    }


@recipe(
    "gan-digits",
    "a conditional generator draws handwritten digits on demand; a classifier learns to read from its drawings alone",
    "test_accuracy",
    (
        Option("network", choice("perceptron", "dcgan"), "perceptron", "both players: perceptron or dcgan", "NAME"),
        Option("synthetic", whole(CLASSES), 5_000, "digits to draw for the classifier in the end", "N"),
        Option("latent", whole(1), 32, "numbers of noise a sample", "N"),
        Option("hidden", widths, (256, 256), "perceptron: widths of the hidden layers of both players", "N,N"),
        Option("features", whole(1), 64, "dcgan: channels of the layer next to the image", "N"),
        Option("dropout", number(0, 1), 0.3, "share of the discriminator's units zeroed in training", "P"),
        *_game_options("non-saturating", 200, 64, (0.0005, 0.001), beta1=0.0, beta2=0.99, spectral_norm="off"),
    ),
)
def gan_digits(options: dict[str, Any]) -> Task:
    """Trains on the fixed training part of the digits; the test part is for the classifiers alone."""
    train, test = data.digits(flatten=False)
    images, labels = train.arrays
    smooth = options["spectral_norm"] == "on"
    if options["network"] == "dcgan":
        generator: nn.Module = models.DCGANGenerator(options["latent"], 1, options["features"], 8, CLASSES)
        discriminator: nn.Module = models.DCGANDiscriminator(
            1, options["features"], 8, CLASSES, smooth, options["dropout"]
        )
    else:
        generator = models.MLPGenerator(
            options["latent"], options["hidden"], images.shape[1:], CLASSES, batch_norm=True, tanh=True
        )
        discriminator = models.MLPDiscriminator(
            images.shape[1:], options["hidden"], CLASSES, spectral_norm=smooth, dropout=options["dropout"]
        )
    return _task(
        options,
        generator,
        discriminator,
        data.ArrayDataset(2 * images - 1, labels),
        test=lambda gan: _use_of_synthetic_digits(gan, train, test, options["synthetic"], options["seed"]),
        summary={"data": f"{len(train):,} digits to learn from, {len(test)} to test; 8 x 8 pixels, with their labels"},
        fingerprint=_digest(images),
        frame=lambda made: image_frame(1 - _to_pixels(made), CLASSES),
        shown=8 * CLASSES,
    )


@recipe(
    "gan-images",
    "a DCGAN learns to make images like those in a folder of yours",
    "sample_spread",
    (
        Option("data", text, None, "a folder of PNG or JPEG images", "FOLDER", required=True),
        Option("size", _image_size, 32, "height and width to scale them to: a power of two from 8 up", "PIXELS"),
        Option("color", choice("on", "off"), "on", "three channels, or one of grey", "on|off"),
        Option("latent", whole(1), 64, "numbers of noise a sample", "N"),
        Option("features", whole(1), 32, "channels of the layer next to the image", "N"),
        Option("dropout", number(0, 1), 0.0, "share of the discriminator's channels zeroed in training", "P"),
        *_game_options("non-saturating", 50, 64, (0.0002, 0.0002), beta1=0.5, beta2=0.999, spectral_norm="off"),
    ),
)
def gan_images(options: dict[str, Any]) -> Task:
    """Trains a DCGAN as in its paper. There is no right number for how good images look, so the closing line says how
    the pixels spread over samples, in units of how they spread over the real images: near 0 the generator collapsed.
    """
    channels = 3 if options["color"] == "on" else 1
    folder = data.ImageFolder(options["data"], options["size"], channels, low=-1.0)
    deviation = float(folder.pixels.std(axis=0).mean()) * 2 / 255
    smooth = options["spectral_norm"] == "on"

    def spread(gan: GAN) -> dict[str, float]:
        made = gan.sample(min(max(len(folder), 2), 256)).numpy()
        return {"sample_spread": float(made.std(axis=0).mean()) / max(deviation, 1e-6)}

    return _task(
        options,
        models.DCGANGenerator(options["latent"], channels, options["features"], options["size"]),
        models.DCGANDiscriminator(
            channels, options["features"], options["size"], spectral_norm=smooth, dropout=options["dropout"]
        ),
        folder,
        test=spread,
        summary={"data": repr(folder)},
        fingerprint=folder.fingerprint,
        frame=lambda made: image_frame(_to_pixels(made), MOSAIC),
        shown=MOSAIC * MOSAIC,
    )
