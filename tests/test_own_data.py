"""Data of one's own: folders that name classes, and new rows of a table."""

import wave

import numpy as np
import pytest
from PIL import Image

from nbdl import data

# ---------------------------------------------------------------- images


@pytest.fixture
def pictures(tmp_path):
    for name, brightness in (("night", 0), ("day", 255), (".hidden", 9), ("empty", None)):
        (tmp_path / name).mkdir()
        if brightness is not None:
            for place in range(3):
                Image.new("L", (9 + place, 7), brightness).save(tmp_path / name / f"{place}.png")
    (tmp_path / "day" / "more").mkdir()
    Image.new("L", (4, 4), 255).save(tmp_path / "day" / "more" / "3.JPG")
    (tmp_path / "day" / "notes.txt").write_text("no image")
    return tmp_path


def test_folders_name_the_classes(pictures):
    images = data.ImageClassFolder(pictures, size=4, channels=1, low=-1.0)
    assert images.classes == ("day", "night")
    assert images.labels.tolist() == [0, 0, 0, 0, 1, 1, 1] and images.labels.dtype == np.int64
    assert repr(images) == "ImageClassFolder(7 images, 1 x 4 x 4, 2 classes)"
    batch, labels = images.take(np.array([6, 0]))
    assert batch.dtype == np.float32 and labels.tolist() == [1, 0]
    assert (batch[0] == -1).all() and (batch[1] == 1).all()
    assert all((image == (1 if label == 0 else -1)).all() for image, label in (images[i] for i in range(7)))
    (first, targets), *_ = data.DataLoader(images, batch_size=7)
    assert first.shape == (7, 1, 4, 4) and targets.tolist() == images.labels.tolist()


def test_one_image_is_read_as_those_of_the_folder(pictures):
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(noise).save(pictures / "night" / "noise.png")
    images = data.ImageClassFolder(pictures, size=8, channels=3)
    assert images.paths[-1].name == "noise.png"
    assert np.array_equal(data.read_image(images.paths[-1], size=8, channels=3), images[len(images) - 1][0])
    assert np.array_equal(data.ImageFolder(pictures / "night", size=8).take(np.array([3]))[0][0], images[7][0])


def test_what_image_folders_refuse(pictures):
    with pytest.raises(data.DataFileError, match="a folder for each class"):
        data.ImageClassFolder(pictures / "nowhere")
    with pytest.raises(data.EmptyDataError, match="at least two folders"):
        data.ImageClassFolder(pictures / "day")
    with pytest.raises(data.DataArgumentError, match="channels"):
        data.ImageClassFolder(pictures, channels=2)
    with pytest.raises(data.DataArgumentError, match="size"):
        data.read_image(pictures / "day" / "0.png", size=0)
    with pytest.raises(data.DataFileError, match="got"):
        data.read_image(pictures / "day" / "notes.txt")
    (pictures / "day" / "0.png").write_bytes(b"no image")
    with pytest.raises(data.DataFileError, match=r"day.0\.png"):
        data.ImageClassFolder(pictures)


# ---------------------------------------------------------------- sounds


def write(path, samples, channels=1):
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.asarray(samples, "<i2").tobytes())


def test_folders_of_sounds(tmp_path):
    rng = np.random.default_rng(0)
    for place, length in enumerate((800, 1600)):
        write(tmp_path / "yes" / f"{place}.wav", rng.integers(-999, 999, length))
        write(tmp_path / "no" / f"{place}.wav", rng.integers(-999, 999, (length, 2)), channels=2)
    sounds = data.SoundClassFolder(tmp_path, bands=8)
    assert sounds.classes == ("no", "yes") and sounds.labels.tolist() == [0, 0, 1, 1]
    assert repr(sounds) == "SoundClassFolder(4 sounds, 2 classes, 8 to 18 steps)"
    padded, lengths, labels = sounds.take(np.array([3, 0]))
    assert padded.shape == (2, 18, 8) and lengths.tolist() == [18, 8] and labels.tolist() == [1, 0]
    assert np.array_equal(sounds.sequences[3], data.read_spectrogram(sounds.paths[3], bands=8))
    assert np.abs(sounds.sequences[0].mean(axis=0)).max() < 1e-5
    loud = data.read_spectrogram(sounds.paths[3], bands=8, per_band=False)
    assert np.abs(loud - loud.mean(axis=0) - sounds.sequences[3]).max() < 1e-5
    assert abs(loud.mean()) < 1e-5 < np.abs(loud.mean(axis=0)).max()
    assert np.array_equal(data.SoundClassFolder(tmp_path, bands=8, per_band=False).sequences[3], loud)
    part = sounds.select([3, 1])
    assert part.labels.tolist() == [1, 0] and part.lengths.tolist() == [18, 18]
    assert np.array_equal(part.sequences[0], sounds.sequences[3])

    write(tmp_path / "yes" / "2.wav", [])
    with pytest.raises(data.EmptyDataError, match=r"2\.wav"):
        data.SoundClassFolder(tmp_path)
    (tmp_path / "yes" / "2.wav").write_bytes(b"no sound")
    with pytest.raises(data.AudioFormatError, match=r"2\.wav"):
        data.SoundClassFolder(tmp_path)


# ---------------------------------------------------------------- tables


def test_new_rows_become_what_the_tables_own_became(tmp_path):
    path = tmp_path / "fruit.csv"
    path.write_text("weight,colour,kind\n1,red,apple\n2,green,pear\n3,red,apple\n4,yellow,pear\n")
    table = data.load_csv(path, "kind", categorical=["colour"])
    assert table.columns == (("weight", ()), ("colour", ("green", "red", "yellow")))
    rows = [{"colour": "red", "weight": 3, "kind": "?"}, {"weight": " 4 ", "colour": "yellow"}]
    assert np.array_equal(table.encode(rows), table.inputs[2:])
    assert table.encode([]).shape == (0, 4)
    for row, error, said in [
        ({"weight": 1}, data.CsvColumnError, "row 0: expected a value for the column 'colour'"),
        ({"weight": 1, "colour": "blue"}, data.CsvValueError, "one of 'green', 'red', 'yellow', got 'blue'"),
        ({"weight": "heavy", "colour": "red"}, data.CsvValueError, "row 0, column 'weight': expected a number"),
        ({"weight": None, "colour": "red"}, data.CsvValueError, "missing value"),
    ]:
        with pytest.raises(error, match=said):
            table.encode([row])
