"""Recipes of convolutional networks: their bars, their drawings, runs that resume, data that is no good."""

import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import nbdl
from nbdl import data, train
from nbdl.cli import main
from nbdl.train.pictures import confusion_matrix, draw_confusion, draw_predictions
from tests.test_image_data import write_mnist

SVG = "{http://www.w3.org/2000/svg}"
SMALL = {"channels": "4,8", "convolutions": 1, "batch_size": 64}


def texts(drawing):
    return ["".join(element.itertext()) for element in ElementTree.fromstring(drawing).iter(f"{SVG}text")]


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small gain nothing from more, and lose much where other programs run."""
    threads = nbdl.get_num_threads()
    nbdl.set_num_threads(1)
    yield
    nbdl.set_num_threads(threads)


# ---------------------------------------------------------------- recipes


def test_digits_reach_their_bar(tmp_path):
    result = train.run_recipe("cnn-digits", out=tmp_path)
    assert result.metrics["test_accuracy"] >= 0.985
    assert {"curve.svg", "confusion.svg", "predictions.svg"} <= {path.name for path in tmp_path.iterdir()}
    right = round(360 * result.metrics["test_accuracy"])
    said = texts((tmp_path / "confusion.svg").read_text())
    assert any(text.startswith(f"{right} of 360 right") for text in said)
    assert f"{360 - right} wrong of 360, the surest first" in texts((tmp_path / "predictions.svg").read_text()) or (
        right == 360
    )


class Stop(train.Callback):
    def __init__(self, batches):
        self.batches = batches

    def on_batch_end(self, trainer, loss):
        if trainer.step == self.batches:
            raise KeyboardInterrupt


def test_a_resumed_run_with_augmentation_equals_an_uninterrupted_one(tmp_path):
    options = {"name": "cnn-digits", "epochs": 3, "shift": 1, "cutout": 2, **SMALL}
    whole = train.run_recipe(**options, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train.run_recipe(**options, out=tmp_path / "parts", callbacks=[Stop(30)])
    train.run_recipe("cnn-digits", out=tmp_path / "parts", resume=True)
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("whole", "parts")]
    assert weights[0] == weights[1]
    assert len(whole.history) == 3


@pytest.mark.parametrize("recipe", ["cnn-mnist", "cnn-fashion"])
def test_mnist_from_a_folder(tmp_path, capsys, recipe):
    write_mnist(tmp_path, train=240, test=60)
    words = ["train", recipe, "--root", str(tmp_path), "--out", str(tmp_path / "run"), "--epochs", "4"]
    words += ["--channels", "8,16", "--convolutions", "1", "--batch-size", "16", "--shift", "0", "--threads", "1"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert float(re.search(r"^test_accuracy=(.*)$", out, re.M)[1]) > 0.3
    assert "220 images to train, 20 to validate, 60 to test; 28 x 28 pixels" in out
    names = data.FASHION_CLASSES if recipe == "cnn-fashion" else "0123456789"
    assert set(names) <= set(texts((tmp_path / "run" / "confusion.svg").read_text()))
    assert json.loads((tmp_path / "run" / "result.json").read_text())["settings"]["root"] == str(tmp_path)


def test_another_network(tmp_path):
    write_mnist(tmp_path, train=60, test=10)
    result = train.run_recipe(
        "cnn-mnist", root=str(tmp_path), out=tmp_path / "run", network="lenet5", epochs=1, batch_size=50
    )
    assert type(result.task.model).__name__ == "LeNet5"
    assert 0 <= result.metrics["test_accuracy"] <= 1


def test_bad_data_is_one_line_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "cnn-mnist", "--root", "nowhere"]) == 1
    assert "train-images-idx3-ubyte.gz of MNIST in it" in capsys.readouterr().err
    write_mnist(tmp_path / "data")
    path = tmp_path / "data" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.setenv("NBDL_DATA", str(tmp_path / "data"))
    assert main(["train", "cnn-mnist"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "a whole gzip file, got a damaged one" in error
    assert not list((tmp_path / "runs" / "cnn-mnist").iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rotate", "200"], "argument --rotate: expected a number from 0 and up to 180"),
        (["--shift", "-1"], "argument --shift: expected a whole number from 0 up"),
        (["--channels", "8,x"], "argument --channels: expected whole numbers"),
        (["--convolutions", "0"], "argument --convolutions: expected a whole number from 1 up"),
    ],
)
def test_wrong_usage(capsys, words, message):
    assert main(["train", "cnn-digits", *words]) == 2
    assert message in capsys.readouterr().err


def test_images_too_small_for_the_network_are_named(tmp_path, capsys):
    assert main(["train", "cnn-digits", "--channels", "4,4,4,4", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "expected" in error


# ---------------------------------------------------------------- drawings


def test_confusion_matrix_counts():
    labels, guesses = np.array([0, 0, 1, 2, 2]), np.array([0, 2, 1, 2, 2])
    assert confusion_matrix(labels, guesses, 4).tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0] * 4]


def test_confusion_is_well_formed():
    matrix = np.array([[3, 1], [0, 0]])
    said = texts(draw_confusion(matrix, ["<a> & b", "c"], 'a "title" <1>'))
    assert {"3 of 4 right, 75.00 %", "<a> & b", 'a "title" <1>', "75.0 %", "3", "1"} <= set(said)
    ElementTree.fromstring(draw_confusion(np.zeros((3, 3), int), ["x", "y", "z"], "nothing"))


@pytest.mark.parametrize("channels", [1, 3])
def test_predictions_are_ordered_by_how_sure_they_are(channels):
    images = np.random.default_rng(0).random((5, channels, 4, 6)).astype(np.float32)
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.45, 0.55], [0.7, 0.3]])
    drawing = draw_predictions(images, np.array([1, 0, 1, 1, 0]), probabilities, ["no", "yes"], "title")
    assert [text for text in texts(drawing) if "%" in text] == [
        "no 90 %",
        "yes 60 %",
        "yes 55 %",
        "no 70 %",
        "yes 80 %",
    ]
    sources = [image.get("href") for image in ElementTree.fromstring(drawing).iter(f"{SVG}image")]
    assert len(set(sources)) == 5 and all(source.startswith("data:image/png;base64,") for source in sources)


def test_pictures_are_images_that_others_can_read(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    import base64
    import io

    pixels = np.random.default_rng(0).random((1, 3, 5, 4)).astype(np.float32)
    drawing = draw_predictions(pixels, np.array([0]), np.array([[1.0]]), ["x"], "t", ink=False)
    (source,) = (image.get("href") for image in ElementTree.fromstring(drawing).iter(f"{SVG}image"))
    decoded = np.asarray(image_module.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
    assert np.array_equal(decoded, np.rint(pixels[0].transpose(1, 2, 0) * 255))


def test_a_perfect_classifier_has_no_mistakes_to_show():
    drawing = draw_predictions(np.zeros((2, 1, 2, 2)), np.array([0, 1]), np.eye(2), ["a", "b"], "t")
    assert "right, the least sure first" in texts(drawing) and not any("wrong" in t for t in texts(drawing))
