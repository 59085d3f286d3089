"""Generative adversarial networks: games, players, normalized weights, averages of weights, recipes."""

import json
import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import nbdl
from nbdl import data, models, nn, optim, train
from nbdl.cli import main
from nbdl.optim.averaging import average_reference
from nbdl.runtime.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError, StateError
from nbdl.testing import gradcheck, simt
from nbdl.train.film import MOST_FRAMES, Film, Frame, draw_animation, draw_strip


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small gain nothing from more, and lose much where other programs run."""
    threads = nbdl.get_num_threads()
    nbdl.set_num_threads(1)
    nbdl.manual_seed(0)
    yield
    nbdl.set_num_threads(threads)


def values(tensor):
    return np.array(tensor.detach())


# ---------------------------------------------------------------- games


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


LOSSES = {
    "minimax": (
        lambda r, f: -np.log(sigmoid(r)).mean() - np.log(1 - sigmoid(f)).mean(),
        lambda f: np.log(1 - sigmoid(f)).mean(),
    ),
    "non-saturating": (
        lambda r, f: -np.log(sigmoid(r)).mean() - np.log(1 - sigmoid(f)).mean(),
        lambda f: -np.log(sigmoid(f)).mean(),
    ),
    "least-squares": (
        lambda r, f: ((r - 1) ** 2).mean() / 2 + (f**2).mean() / 2,
        lambda f: ((f - 1) ** 2).mean() / 2,
    ),
    "hinge": (lambda r, f: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(), lambda f: -f.mean()),
    "wasserstein": (lambda r, f: f.mean() - r.mean(), lambda f: -f.mean()),
}


@pytest.mark.parametrize("name", models.GAMES)
def test_losses_are_their_definitions(name):
    rng = np.random.default_rng(0)
    real, fake = rng.standard_normal((2, 7, 1)) * 2
    game = models.GAMES[name]()
    of_discriminator, of_generator = LOSSES[name]
    pair = nbdl.tensor(real, requires_grad=True), nbdl.tensor(fake, requires_grad=True)
    assert game.discriminator_loss(*pair).item() == pytest.approx(of_discriminator(real, fake), rel=1e-12)
    assert game.generator_loss(pair[1]).item() == pytest.approx(of_generator(fake), rel=1e-12)
    gradcheck(game.discriminator_loss, pair)
    gradcheck(game.generator_loss, pair[1:])


def test_only_the_minimax_loss_loses_its_gradient_where_the_discriminator_is_sure():
    slopes = {}
    for name in ("minimax", "non-saturating"):
        fake = nbdl.full((1, 1), -10.0, dtype=np.float64).requires_grad_()
        models.GAMES[name]().generator_loss(fake).backward()
        slopes[name] = fake.grad.item()
    assert slopes["minimax"] == pytest.approx(-sigmoid(-10.0))
    assert slopes["non-saturating"] == pytest.approx(-sigmoid(10.0))


def test_clipped_weights():
    discriminator = models.MLPDiscriminator(2, [8])
    models.WassersteinGame(clip=0.1).constrain(discriminator.parameters())
    assert max(np.abs(values(p)).max() for p in discriminator.parameters()) == pytest.approx(0.1)
    with pytest.raises(ArgumentError, match="clip"):
        models.WassersteinGame(clip=0)


# ---------------------------------------------------------------- players


@pytest.mark.parametrize("size", [8, 16, 32])
@pytest.mark.parametrize("classes", [0, 3])
def test_dcgan_shapes(size, classes):
    labels = nbdl.tensor([0, 2]) if classes else None
    generator = models.DCGANGenerator(5, 2, 4, size, classes)
    images = generator(nbdl.randn(2, 5), labels)
    assert images.shape == (2, 2, size, size)
    assert np.abs(values(images)).max() < 1
    assert models.DCGANDiscriminator(2, 4, size, classes)(images, labels).shape == (2, 1)


def test_dcgan_begins_as_in_its_paper():
    generator = models.DCGANGenerator(100, 3, 64, 32)
    kernels = [values(m.weight) for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    scales = [values(m.weight) for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    for kernel in kernels:
        assert abs(kernel.mean()) < 0.001 and kernel.std() == pytest.approx(0.02, rel=0.05)
    assert np.concatenate(scales).mean() == pytest.approx(1, abs=0.01)
    assert [kernel.shape[:2] for kernel in kernels] == [(100, 256), (256, 128), (128, 64), (64, 3)]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: models.DCGANGenerator(size=24), "size"),
        (lambda: models.DCGANDiscriminator(size=4), "size"),
        (lambda: models.DCGANDiscriminator(dropout=1.0), "dropout"),
        (lambda: models.MLPGenerator(0, [4], 2), "latent_features"),
        (lambda: models.MLPDiscriminator((1, 0), [4]), "shape"),
        (lambda: models.MLPGenerator(2, [4], 2)(nbdl.zeros(3, 2), nbdl.tensor([0, 1, 1])), "labels"),
        (lambda: models.MLPGenerator(2, [4], 2, classes=2)(nbdl.zeros(3, 2)), "labels"),
        (lambda: models.GAN(models.MLPGenerator(2, [4], 2), models.MLPDiscriminator(2, [4]), decay=2), "decay"),
    ],
)
def test_what_players_refuse(make, said):
    with pytest.raises(ArgumentError, match=said):
        make()


def test_labels_of_another_number():
    with pytest.raises(ShapeError, match="labels"):
        models.MLPGenerator(2, [4], 2, classes=2)(nbdl.zeros(3, 2), nbdl.tensor([0, 1]))


def test_one_player_learns_nothing_from_the_other_ones_step():
    gan = models.GAN(models.MLPGenerator(2, [8], 2), models.MLPDiscriminator(2, [8]))
    trainer = make_trainer(gan)
    before = {name: value.numpy().copy() for name, value in gan.state_dict().items()}
    fake = gan.make(16)
    trainer._discriminator_step(nbdl.randn(16, 2), fake.detach(), None)
    changed = {name for name, value in gan.state_dict().items() if not np.array_equal(value.numpy(), before[name])}
    assert changed and all(name.startswith("discriminator.") for name in changed)
    before = {name: value.numpy().copy() for name, value in gan.state_dict().items()}
    trainer._generator_step(fake, None)
    changed = {name for name, value in gan.state_dict().items() if not np.array_equal(value.numpy(), before[name])}
    assert changed and not any(name.startswith("discriminator.") for name in changed)


def make_trainer(gan, **options):
    players = train.Players(optim.Adam(gan.generator.parameters()), optim.Adam(gan.discriminator.parameters()))
    game = models.NonSaturatingGame()
    return train.AdversarialTrainer(
        gan,
        data.DataLoader(data.gaussian_ring(64), 16),
        players,
        game.discriminator_loss,
        game=game,
        frame=lambda made: Frame(1, 1, ""),
        **options,
    )


@pytest.mark.parametrize(("discriminator_steps", "generator_steps", "turns"), [(1, 1, 4), (2, 1, 2), (1, 3, 12)])
def test_turns(discriminator_steps, generator_steps, turns):
    gan = models.GAN(models.MLPGenerator(2, [8], 2), models.MLPDiscriminator(2, [8]))
    steps = {"discriminator_steps": discriminator_steps, "generator_steps": generator_steps}
    history = make_trainer(gan, **steps).run(1)
    assert int(gan.averaged.n_averaged.item()) == turns
    assert history[0]["generator_loss"] > 0


# ---------------------------------------------------------------- normalized weights


@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(6, 4), lambda: nn.Conv2d(3, 5, 3), lambda: nn.ConvTranspose2d(3, 5, 3)]
)
def test_spectral_norm_is_the_largest_singular_value(make):
    layer = nn.utils.spectral_norm(make().double(), n_power_iterations=200)
    layer(nbdl.zeros(*((1, 6) if isinstance(layer, nn.Linear) else (1, 3, 4, 4)), dtype=np.float64))
    matrix = values(layer.weight)
    if isinstance(layer, nn.ConvTranspose2d):
        matrix = matrix.swapaxes(0, 1)
    assert np.linalg.norm(matrix.reshape(len(matrix), -1), 2) == pytest.approx(1, abs=1e-9)


def test_vectors_turn_only_in_training():
    layer = nn.utils.spectral_norm(nn.Linear(6, 4))
    vector = layer.weight_u.numpy().copy()
    layer.eval()(nbdl.zeros(1, 6))
    assert np.array_equal(layer.weight_u.numpy(), vector)
    layer.train()(nbdl.zeros(1, 6))
    assert not np.array_equal(layer.weight_u.numpy(), vector)


@pytest.mark.parametrize("normalize", [nn.utils.spectral_norm, nn.utils.weight_norm])
def test_gradients_of_normalized_weights(normalize):
    layer = normalize(nn.Linear(5, 3).double()).eval()
    x = nbdl.randn(4, 5, dtype=np.float64).requires_grad_()
    parameters = list(layer.parameters())
    gradcheck(lambda x, *_: layer(x), (x, *parameters))


@pytest.mark.parametrize("dim", [0, 1, -1, None])
def test_weight_norm_leaves_the_function_as_it_was(dim):
    layer = nn.Linear(5, 3).double()
    x = nbdl.randn(4, 5, dtype=np.float64)
    before = values(layer(x))
    nn.utils.weight_norm(layer, dim=dim)
    np.testing.assert_allclose(values(layer(x)), before, atol=1e-14)
    assert layer.weight_g.shape == {0: (3, 1), 1: (1, 5), -1: (), None: ()}[dim]
    nn.utils.remove_weight_norm(layer)
    np.testing.assert_allclose(values(layer(x)), before, atol=1e-14)
    assert list(layer.state_dict()) == ["bias", "weight"]


def test_what_normalizing_refuses():
    layer = nn.utils.spectral_norm(nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match="second"):
        nn.utils.spectral_norm(layer)
    with pytest.raises(ArgumentError, match="WeightNorm"):
        nn.utils.remove_weight_norm(layer)
    with pytest.raises(ArgumentError, match="n_power_iterations"):
        nn.utils.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
    with pytest.raises(StateError, match="name"):
        nn.utils.weight_norm(nn.Linear(2, 2), "mass")
    with pytest.raises(IndexRangeError, match="dim"):
        nn.utils.weight_norm(nn.Linear(2, 2), dim=2)


# ---------------------------------------------------------------- averages of weights


@pytest.mark.parametrize("weight", [0.0, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("target", [None, "simt"])
def test_average(weight, target):
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (), (0,), (300,)] if target else [(3, 4), (), (0,), (9000,)]  # the last in two chunks
    averages = [rng.standard_normal(shape) for shape in shapes]
    values = [rng.standard_normal(shape) for shape in shapes]
    tensors = [nbdl.tensor(average) for average in averages]
    versions = [tensor._version[0] for tensor in tensors]
    given = [nbdl.tensor(value) for value in values]
    if target is None:
        optim.average_(tensors, given, weight)
    else:
        with simt.target():
            optim.average_(tensors, given, weight)
    for tensor, average, value in zip(tensors, averages, values, strict=True):
        np.testing.assert_allclose(tensor.numpy(), average_reference(average, value, weight), rtol=1e-14, atol=1e-15)
    if weight == 1:
        assert all(np.array_equal(tensor.numpy(), value) for tensor, value in zip(tensors, values, strict=True))
    assert [tensor._version[0] for tensor in tensors] == [version + 1 for version in versions]


def test_what_averaging_refuses():
    x = nbdl.zeros(3)
    with pytest.raises(ArgumentError, match="weight"):
        optim.average_([x], [x], 1.5)
    with pytest.raises(ArgumentError, match="values"):
        optim.average_([x], [], 0.5)
    with pytest.raises(ShapeError, match="values"):
        optim.average_([x], [nbdl.zeros(4)], 0.5)
    with pytest.raises(DTypeError, match="values"):
        optim.average_([x], [nbdl.zeros(3, dtype=np.float64)], 0.5)
    with pytest.raises(ArgumentError, match="contiguous"):
        optim.average_([nbdl.zeros(6)[::2]], [x], 0.5)
    with pytest.raises(ArgumentError, match="avg_fn"):
        nn.AveragedModel(nn.Linear(1, 1), avg_fn=lambda *_: x, multi_avg_fn=optim.get_swa_multi_avg_fn())


def test_an_equal_average_is_the_mean():
    model = nn.Linear(3, 2).double()
    averaged = nn.AveragedModel(model)
    seen = []
    for _ in range(5):
        nn.init.normal_(model.weight)
        seen.append(values(model.weight).copy())
        averaged.update_parameters(model)
    np.testing.assert_allclose(values(averaged.module.weight), np.mean(seen, axis=0), atol=1e-14)
    assert averaged.n_averaged.item() == 5


# ---------------------------------------------------------------- data


def test_ring_is_what_it_says():
    points, chosen = data.gaussian_ring(20_000, seed=1).arrays
    means = data.ring_means()
    assert np.linalg.norm(means, axis=1) == pytest.approx(2.0)
    assert np.bincount(chosen).min() > 2300
    rest = points - means[chosen]
    assert rest.std(axis=0) == pytest.approx(0.1, rel=0.02) and np.abs(rest.mean(axis=0)).max() < 0.005
    coverage = data.mode_coverage(points, means)
    assert coverage.modes == 8 and coverage.near == pytest.approx(1 - math.exp(-4.5), abs=0.002)


def test_coverage_counts_modes_and_strays():
    means = data.ring_means()
    points = np.repeat(means[:3], [96, 3, 1], axis=0)  # of 100, a mode needs 4
    coverage = data.mode_coverage(np.concatenate([points[:99], [[0.0, 0.0]]]), means)
    assert coverage.modes == 1 and coverage.near == pytest.approx(0.99)
    with pytest.raises(data.DataArgumentError, match="points"):
        data.mode_coverage(np.zeros((0, 2)), means)


def write_images(folder, count=6):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed: pip install 'nbdl[examples]'")
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (12, 20, 3), np.uint8)
        (folder / "deeper").mkdir(exist_ok=True)
        image.fromarray(pixels).save(folder / ("deeper" if number % 2 else "") / f"{number}.png")


def test_image_folder(tmp_path):
    write_images(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    folder = data.ImageFolder(tmp_path, size=8, low=-1.0)
    assert len(folder) == 6 and repr(folder) == "ImageFolder(6 images, 3 x 8 x 8)"
    (batch,) = folder.take(np.array([2, 0]))
    assert batch.shape == (2, 3, 8, 8) and batch.dtype == np.float32 and -1 <= batch.min() < 0 < batch.max() <= 1
    assert np.array_equal(folder[0][0], batch[1])
    assert data.ImageFolder(tmp_path, size=8, channels=1).pixels.shape == (6, 1, 8, 8)


@pytest.mark.parametrize(
    ("spoil", "options", "error"),
    [
        (lambda folder: folder.rmdir(), {}, data.DataFileError),
        (lambda folder: None, {}, data.EmptyDataError),
        (lambda folder: (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n spoiled"), {}, data.DataFileError),
        (lambda folder: None, {"channels": 2}, data.DataArgumentError),
        (lambda folder: None, {"size": 0}, data.DataArgumentError),
    ],
)
def test_what_an_image_folder_refuses(tmp_path, spoil, options, error):
    pytest.importorskip("PIL", reason="Pillow is not installed: pip install 'nbdl[examples]'")
    folder = tmp_path / "images"
    folder.mkdir()
    spoil(folder)
    with pytest.raises(error):
        data.ImageFolder(folder, **options)


# ---------------------------------------------------------------- recipes


class Stop(train.Callback):
    """Ctrl-C after so many batches."""

    def __init__(self, batches):
        self.batches = batches

    def on_batch_end(self, trainer, loss):
        if trainer.step == self.batches:
            trainer.save()
            raise KeyboardInterrupt


SMALL_RING = {"epochs": 3, "batch_size": 6400, "hidden": (8,), "generator_steps": 2}


@pytest.mark.parametrize("stop", [3, 6])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, stop):
    whole = train.run_recipe("gan-ring", out=tmp_path / "whole", **SMALL_RING)
    with pytest.raises(KeyboardInterrupt):
        train.run_recipe("gan-ring", out=tmp_path / "part", callbacks=[Stop(stop)], **SMALL_RING)
    resumed = train.run_recipe("gan-ring", out=tmp_path / "part", resume=True)
    assert resumed.metrics == whole.metrics
    for record, other in zip(whole.history, resumed.history, strict=True):
        assert {**record, "seconds": 0} == {**other, "seconds": 0}
    for file in ("model.safetensors", "samples.svg", "animation.svg"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "part" / file).read_bytes(), file


QUICK = {"epochs": 8, "batch_size": 128, "hidden": (64, 64), "generator_rate": 0.002, "discriminator_rate": 0.004}


def test_ring_covers_all_modes(tmp_path):
    result = train.run_recipe("gan-ring", out=tmp_path, average=0.99, **QUICK)
    assert result.metrics["modes"] == 8
    assert result.metrics["near_share"] > 0.75  # as the recipe stands, above 0.95
    assert (tmp_path / "animation.svg").read_text().count("epoch ") == 8


@pytest.mark.parametrize(
    "options",
    [
        {"network": "perceptron", "game": "hinge", "spectral_norm": "on"},
        {"network": "dcgan", "features": 4, "game": "wasserstein", "clip": 0.05, "discriminator_steps": 5},
    ],
)
def test_digits_run(tmp_path, capsys, options):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    small = ["--epochs=1", "--hidden=16", "--batch-size=256", "--synthetic=500"]
    assert main(["train", "gan-digits", f"--out={tmp_path}", *small, *flags]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1].startswith("test_accuracy=")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["accuracy_of_real"] > 0.9 and 0 <= result["classes"] <= 10


def test_images_run(tmp_path, capsys):
    write_images(tmp_path)
    options = ["--size=8", "--features=4", "--epochs=2", "--batch-size=3"]
    assert main(["train", "gan-images", f"--data={tmp_path}", f"--out={tmp_path / 'out'}", *options]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1].startswith("sample_spread=")
    assert (tmp_path / "out" / "samples.svg").read_text().count("<image") == 2


@pytest.mark.parametrize(
    "words",
    [
        ["gan-ring", "--clip", "0.1"],
        ["gan-images"],
        ["gan-images", "--data", "nowhere"],
        ["gan-images", "--data", ".", "--size", "20"],
    ],
)
def test_what_the_recipes_refuse(tmp_path, capsys, words):
    assert main(["train", *words, "--out", str(tmp_path)]) in (1, 2)
    error = capsys.readouterr().err
    assert "expected" in error or "needed" in error


# ---------------------------------------------------------------- drawings


def test_a_film_keeps_a_bounded_number_of_epochs(tmp_path):
    film = Film(tmp_path, "film", lambda: Frame(10, 10, "<g/>"))

    class Clock:
        seconds = 0.0

    for epoch in range(1, 101):
        film.on_epoch_end(Clock, {"epoch": epoch})
        assert len(film.frames) <= MOST_FRAMES and film.frames[-1][0] == epoch
    epochs = [epoch for epoch, _ in film.frames]
    assert epochs == [1, *range(8, 97, 8), 100]
    other = Film(tmp_path, "film", lambda: Frame(10, 10, "<g/>"))
    other.load_state_dict(film.state_dict())
    assert other.drawings() == film.drawings()


def test_drawings_are_well_formed():
    frames = [(f"<{number}>", Frame(20, 10, f'<rect width="{number}"/>')) for number in range(7)]
    strip, animation = draw_strip(frames, "a & b"), draw_animation(frames, "a & b")
    for drawing in (strip, animation):
        root = ElementTree.fromstring(drawing)
        assert len([rect for rect in root.iter() if rect.tag.endswith("rect")]) == 8
    assert animation.count("still last") == 1
