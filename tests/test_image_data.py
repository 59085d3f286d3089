"""Images as data: augmentation that repeats, files that are checked before they are read, downloads that are whole."""

import doctest
import functools
import gzip
import hashlib
import http.server
import io
import struct
import sys
import tarfile
import threading
import zipfile

import numpy as np
import pytest

from nbdl import data
from nbdl.data import RandomStream


def short(value):
    """Contents of files in the name of a test: compressed ones hold the time, and differ in each process."""
    return "contents" if isinstance(value, bytes) else None


# ---------------------------------------------------------------- augmentation

IMAGES = np.arange(4 * 2 * 5 * 6, dtype=np.float32).reshape(4, 2, 5, 6) + 1
AUGMENTATIONS = [
    data.RandomShift(2),
    data.RandomShift((0, 1), fill=-1.0),
    data.RandomHorizontalFlip(),
    data.RandomVerticalFlip(0.3),
    data.RandomCrop(3),
    data.RandomCrop((5, 6), padding=(1, 2), padding_mode="reflect"),
    data.RandomRotation(30),
    data.Cutout(3, p=0.7),
    data.Compose([data.RandomShift(1), data.RandomRotation(10), data.Cutout(2)]),
]


def test_random_stream_is_fixed():
    stream = RandomStream(seed=7, epoch=2, batch=3)
    assert stream.integers(0, 99, 6).tolist() == [4, 79, 80, 85, 17, 56]  # the same on every machine, for ever
    assert all(0 <= value < 1 for value in stream.uniform(0, 1, 1000))
    assert set(RandomStream().integers(-1, 1, 200)) == {-1, 0, 1}
    others = [RandomStream(8, 2, 3), RandomStream(7, 3, 3), RandomStream(7, 2, 4)]
    first = RandomStream(7, 2, 3).uniform(0, 1, 4)
    assert all((first != other.uniform(0, 1, 4)).all() for other in others)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_augmentation_repeats_and_leaves_its_input_alone(augmentation, dtype):
    images = IMAGES.astype(dtype)
    before = images.copy()
    first = augmentation(images, RandomStream(seed=3))
    assert first.dtype == dtype and first.shape[:2] == images.shape[:2]
    assert np.array_equal(first, augmentation(images, RandomStream(seed=3)))
    assert any(not np.array_equal(first, augmentation(images, RandomStream(seed))) for seed in range(4, 9))
    assert np.array_equal(images, before)
    assert not np.shares_memory(first, images)
    assert augmentation(images[:0], RandomStream()).shape[0] == 0


def test_shift_moves_pixels_and_fills():
    shifted = data.RandomShift(1, fill=9.0)(np.tile(IMAGES[:1], (60, 1, 1, 1)), RandomStream())
    seen = set()
    for image in shifted:
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                expected = np.full_like(IMAGES[0], 9.0)
                source = IMAGES[0][:, max(0, -down) : 5 - max(0, down), max(0, -right) : 6 - max(0, right)]
                expected[:, max(0, down) : 5 + min(0, down), max(0, right) : 6 + min(0, right)] = source
                if np.array_equal(image, expected):
                    seen.add((down, right))
    assert len(seen) == 9


def test_flips():
    assert np.array_equal(data.RandomHorizontalFlip(1.0)(IMAGES, RandomStream()), IMAGES[..., ::-1])
    assert np.array_equal(data.RandomVerticalFlip(1.0)(IMAGES, RandomStream()), IMAGES[:, :, ::-1])
    assert np.array_equal(data.RandomVerticalFlip(0.0)(IMAGES, RandomStream()), IMAGES)
    many = data.RandomHorizontalFlip(0.25)(np.tile(IMAGES[:1], (2000, 1, 1, 1)), RandomStream())
    assert 0.22 < np.mean(many[:, 0, 0, 0] == IMAGES[0, 0, 0, -1]) < 0.28


def test_crop_is_a_window():
    for image in data.RandomCrop((2, 3))(np.tile(IMAGES[:1], (50, 1, 1, 1)), RandomStream(2)):
        top, left = divmod(int(image[0, 0, 0]) - 1, 6)
        assert np.array_equal(image, IMAGES[0, :, top : top + 2, left : left + 3])
    assert np.array_equal(data.RandomCrop((5, 6))(IMAGES, RandomStream()), IMAGES)
    padded = data.RandomCrop((7, 8), padding=1, fill=5.0)(IMAGES, RandomStream())
    assert np.array_equal(padded[:, :, 1:-1, 1:-1], IMAGES) and (padded[:, :, 0] == 5).all()


def test_rotation():
    square = IMAGES[:, :, :, :5]
    for quarter in range(-2, 3):
        turned = data.RandomRotation((90 * quarter, 90 * quarter))(square, RandomStream())
        np.testing.assert_allclose(turned, np.rot90(square, quarter, axes=(2, 3)), rtol=1e-6)
    flat = np.ones((3, 1, 9, 9), np.float32)
    turned = data.RandomRotation(45, fill=1.0)(flat, RandomStream())
    np.testing.assert_allclose(turned, 1, rtol=1e-6)
    assert data.RandomRotation((45, 45))(flat, RandomStream())[0, 0, 0, 0] == 0, "outside is the fill"


def test_cutout_covers_a_square():
    covered = data.Cutout(3)(np.ones((200, 1, 9, 9), np.float32), RandomStream()) == 0
    assert covered.sum(axis=(1, 2, 3)).max() == 9 and covered.sum(axis=(1, 2, 3)).min() == 4
    assert covered.any(axis=0).all()


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: data.RandomShift(-1), "pixels"),
        (lambda: data.RandomShift((1, 2, 3)), "pixels"),
        (lambda: data.RandomShift(1.5), "pixels"),
        (lambda: data.RandomCrop(0), "size"),
        (lambda: data.RandomCrop(3, padding=-1), "padding"),
        (lambda: data.RandomCrop(3, padding_mode="wrap around"), "padding_mode"),
        (lambda: data.RandomCrop(9)(IMAGES, RandomStream()), "images"),
        (lambda: data.RandomHorizontalFlip(1.5), "p"),
        (lambda: data.RandomVerticalFlip(float("nan")), "p"),
        (lambda: data.RandomRotation((20, 10)), "degrees"),
        (lambda: data.RandomRotation(-5), "degrees"),
        (lambda: data.RandomRotation(float("inf")), "degrees"),
        (lambda: data.Cutout(0), "size"),
        (lambda: data.Compose([]), "transforms"),
        (lambda: data.Cutout(2)(IMAGES[0], RandomStream()), "images"),
        (lambda: data.Cutout(2)("image", RandomStream()), "images"),
    ],
)
def test_augmentation_refuses(make, argument):
    with pytest.raises(data.DataArgumentError, match=f"{argument}: expected"):
        make()


def augmented(dataset, **options):
    augment = data.Compose([data.RandomShift(1), data.Cutout(2, p=0.5)])
    return data.DataLoader(dataset, 6, shuffle=True, seed=2, augment=augment, **options)


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("batches", [1, 4, 5])
def test_a_resumed_loader_augments_as_if_never_stopped(batches, prefetch):
    dataset = data.ArrayDataset(np.random.default_rng(0).random((20, 1, 4, 4)), np.arange(20))
    whole = augmented(dataset)
    expected = [batch for _ in range(3) for batch in whole]
    first, seen = augmented(dataset, prefetch=prefetch), []
    while len(seen) < batches:
        for batch in first:
            seen.append(batch)
            if len(seen) == batches:
                break
    second = augmented(dataset, prefetch=prefetch)
    second.load_state_dict(first.state_dict())
    while len(seen) < len(expected):
        seen += list(second)
    for (x, y), (expected_x, expected_y) in zip(seen, expected, strict=True):
        assert np.array_equal(x, expected_x) and np.array_equal(y, expected_y)
    epochs = [{tuple(x.ravel()) for batch, _ in expected[4 * e : 4 * e + 4] for x in batch} for e in range(3)]
    assert len(epochs[0] & epochs[1]) < 10, "every epoch is another"


def test_arrays_without_labels_are_augmented_too():
    (batch,) = data.DataLoader(IMAGES, 4, augment=data.RandomHorizontalFlip(1.0))
    assert np.array_equal(batch, IMAGES[..., ::-1])


# ---------------------------------------------------------------- IDX files


def idx(array, code=0x08):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.tobytes()


PIXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("dtype", "code"), [(">u1", 8), (">i1", 9), (">i2", 0x0B), (">i4", 0x0C), (">f4", 0x0D), (">f8", 0x0E)]
)
def test_idx_brings_arrays_back(tmp_path, dtype, code, compress):
    (tmp_path / "file").write_bytes(compress(idx(PIXELS.astype(dtype), code)))
    got = data.read_idx(tmp_path / "file")
    assert np.array_equal(got, PIXELS) and got.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "expected an IDX file, which begins with"),
        (b"<html>not here</html>", "expected an IDX file"),
        (b"\x80\x04\x95pickle", "expected an IDX file"),
        (idx(PIXELS, 0x07), "expected an IDX file"),
        (idx(PIXELS)[:10], "3 lengths in the header"),
        (idx(PIXELS)[:-1], "expected 24 bytes for shape .*, got 23: the file is truncated"),
        (idx(PIXELS) + b"\0", "got more"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 9), "at most 1,073,741,824 bytes"),
        (struct.pack(">BBBB255I", 0, 0, 8, 255, *[1] * 255), "truncated|supported"),
        (gzip.compress(idx(PIXELS))[:-9], "a whole gzip file"),
        (gzip.compress(idx(PIXELS))[:-4] + b"\0\0\0\0", "a whole gzip file"),
        (gzip.compress(b"\0" * 10**6), "expected an IDX file"),
        (gzip.compress(idx(PIXELS) + b"\0" * 10**7), "got more"),
    ],
    ids=short,
)
def test_idx_faults_are_named(tmp_path, contents, message):
    (tmp_path / "file").write_bytes(contents)
    with pytest.raises(data.DataFileError, match=message) as caught:
        data.read_idx(tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)


def test_every_damaged_byte_of_a_compressed_file_is_found(tmp_path):
    whole = gzip.compress(idx(PIXELS), mtime=0)
    for position in range(10, len(whole)):  # before it are the gzip header's time and system, which say nothing
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        (tmp_path / "file").write_bytes(damaged)
        with pytest.raises(data.DataFileError):
            data.read_idx(tmp_path / "file")


def test_idx_of_a_missing_file(tmp_path):
    with pytest.raises(data.DataFileError, match="no such file"):
        data.read_idx(tmp_path / "none")
    with pytest.raises(data.DataFileError, match="is a directory"):
        data.read_idx(tmp_path)


# ---------------------------------------------------------------- downloads


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")
        else:
            super().do_GET()


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/", folder
        httpd.shutdown()


def digest(contents):
    return hashlib.sha256(contents).hexdigest()


def test_download(server, tmp_path):
    address, folder = server
    (folder / "file").write_bytes(b"contents")
    path = tmp_path / "deep" / "folder" / "file"
    assert data.download(address + "file", path, digest(b"contents"), 100) == path
    assert path.read_bytes() == b"contents" and list(path.parent.iterdir()) == [path]
    (folder / "file").unlink()
    data.download(address + "file", path, digest(b"contents"), 100)  # it is there: nothing is asked for
    path.write_bytes(b"damaged")
    (folder / "file").write_bytes(b"contents")
    data.download([address + "nowhere", address + "file"], path, digest(b"contents"), 100)
    assert path.read_bytes() == b"contents"


@pytest.mark.parametrize(
    ("name", "largest", "error", "message"),
    [
        ("other", 100, data.ChecksumError, r"expected SHA-256 \w{64}, got \w{64} \(5 bytes\)"),
        ("cut", 1000, data.ChecksumError, r"\(4 bytes\)"),
        ("large", 1000, data.DataFileError, "at most 1,000 bytes, got more"),
        ("none", 100, data.DownloadError, "an answer from the network, got .*none: "),
    ],
)
def test_a_failed_download_leaves_nothing_behind(server, tmp_path, name, largest, error, message):
    address, folder = server
    (folder / "other").write_bytes(b"other")
    (folder / "large").write_bytes(b"0" * 10**6)
    path = tmp_path / "cache" / "file"
    path.parent.mkdir()
    with pytest.raises(error, match=message):
        data.download(address + name, path, digest(b"contents"), largest)
    assert not list(path.parent.iterdir())
    path.write_bytes(b"older")
    with pytest.raises(error, match=message):
        data.download(address + name, path, digest(b"contents"), largest)
    assert path.read_bytes() == b"older" and list(path.parent.iterdir()) == [path]


def test_no_network(tmp_path):
    with pytest.raises(data.DownloadError, match=r"file: expected an answer from the network, got http://127.*refused"):
        data.download("http://127.0.0.1:9/file", tmp_path / "file", digest(b""), 100)
    (tmp_path / "blocked").write_bytes(b"a file")
    with pytest.raises(data.DataFileError, match="a place to write to"):
        data.download((tmp_path / "blocked").as_uri(), tmp_path / "blocked" / "file", digest(b"a file"), 100)


# ---------------------------------------------------------------- MNIST


def write_mnist(folder, train=40, test=20, compress=gzip.compress, suffix=".gz", classes=10, seed=0):
    """Four small files like those of MNIST: a grid of bright dots whose spacing is the class."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for part, count in (("train", train), ("t10k", test)):
        labels = (np.arange(count) % classes).astype(np.uint8)
        images = rng.integers(0, 40, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:: label % 5 + 1, :: label // 5 + 1] = 255
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            (folder / f"{part}-{kind}-ubyte{suffix}").write_bytes(compress(idx(array)))


@pytest.mark.parametrize("inside", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize(("compress", "suffix"), [(gzip.compress, ".gz"), (bytes, "")])
def test_mnist_from_a_folder(tmp_path, monkeypatch, inside, compress, suffix):
    write_mnist(tmp_path / inside, compress=compress, suffix=suffix)
    train, test = data.mnist(root=tmp_path)
    assert repr(train) == "ArrayDataset(float32[40, 1, 28, 28], int64[40])" and len(test) == 20
    images, labels = test.arrays
    assert images.max() == 1 and images.min() >= 0 and labels[:11].tolist() == [*range(10), 0]
    monkeypatch.setenv("NBDL_DATA", str(tmp_path))
    flat, _ = data.mnist(flatten=True)
    assert np.array_equal(flat.arrays[0].reshape(-1, 1, 28, 28), train.arrays[0])


def test_fashion_mnist_has_folders_of_its_own(tmp_path):
    write_mnist(tmp_path / "fashion-mnist", train=30)
    write_mnist(tmp_path / "mnist", train=50)
    assert len(data.fashion_mnist(root=tmp_path)[0]) == 30 and len(data.mnist(root=tmp_path)[0]) == 50
    assert len(data.FASHION_CLASSES) == 10


def test_mnist_faults_are_named(tmp_path):
    with pytest.raises(data.DataFileError, match=r"train-images-idx3-ubyte.gz of MNIST in it.*no such folder"):
        data.mnist(root=tmp_path / "none")
    write_mnist(tmp_path)
    whole = {path: path.read_bytes() for path in tmp_path.iterdir()}
    images, labels = tmp_path / "t10k-images-idx3-ubyte.gz", tmp_path / "t10k-labels-idx1-ubyte.gz"
    zeros = functools.partial(np.zeros, dtype=np.uint8)
    for path, contents, message in [
        (images, whole[images][:-20], "a whole gzip file, got a damaged one"),
        (images, gzip.compress(idx(zeros((20, 8, 8)))), r"images of bytes, \[N, 28, 28\], got uint8\[20, 8, 8\]"),
        (images, gzip.compress(idx(zeros((20, 28, 28)).astype(">f4"), 0x0D)), "images of bytes"),
        (labels, gzip.compress(idx(zeros(19))), r"one byte an image, \[20\], got uint8\[19\]"),
        (labels, gzip.compress(idx(np.full(20, 10, np.uint8))), "labels from 0 to 9, got 10"),
    ]:
        path.write_bytes(contents)
        with pytest.raises(data.DataFileError, match=message) as caught:
            data.mnist(root=tmp_path)
        assert str(path) in str(caught.value)
        path.write_bytes(whole[path])
    labels.unlink()
    with pytest.raises(data.DataFileError, match=r"t10k-labels-idx1-ubyte.gz of MNIST in it.*no such file"):
        data.mnist(root=tmp_path)


def test_mnist_is_downloaded_into_the_cache_once(server, tmp_path, monkeypatch):
    address, folder = server
    write_mnist(folder)
    module = sys.modules["nbdl.data.mnist"]
    sums = tuple(digest((folder / name).read_bytes()) for name in module.FILES)
    monkeypatch.delenv("NBDL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = module.Source("MNIST", ("mnist", "MNIST/raw"), (address,), sums)
    monkeypatch.setattr(module, "MNIST", source)
    assert len(data.mnist()[0]) == 40
    cached = tmp_path / "cache" / "nbdl" / "data" / "mnist"
    assert sorted(path.name for path in cached.iterdir()) == sorted(module.FILES)
    for path in folder.iterdir():
        path.unlink()
    assert len(data.mnist()[0]) == 40
    (cached / module.FILES[0]).write_bytes(b"damaged")
    with pytest.raises(data.DownloadError, match="or the files of MNIST in a folder that NBDL_DATA names"):
        data.mnist()


# ---------------------------------------------------------------- archives


def zipped(members, **options):
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in members:
            file.writestr(name, text)
    return contents.getvalue()


def tarred(members, mode="w:gz"):
    contents = io.BytesIO()
    with tarfile.open(fileobj=contents, mode=mode) as file:
        for name, text in members:
            info = tarfile.TarInfo(name)
            if isinstance(text, str):
                info.type, info.linkname = tarfile.SYMTYPE, text
                file.addfile(info)
            else:
                info.size = len(text)
                file.addfile(info, io.BytesIO(text))
    return contents.getvalue()


GOOD = [("images/a.txt", b"a" * 1000), ("b.txt", b"b"), ("empty.txt", b"")]


def zip_link():
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize(
    "pack", [zipped, tarred, functools.partial(tarred, mode="w"), functools.partial(tarred, mode="w:xz")]
)
def test_unpack(tmp_path, pack):
    (tmp_path / "archive").write_bytes(pack(GOOD))
    folder = data.unpack(tmp_path / "archive", tmp_path / "deep" / "out")
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == dict(GOOD) and [path.name for path in folder.parent.iterdir()] == ["out"]
    with pytest.raises(data.ArchiveError, match="a folder that is empty"):
        data.unpack(tmp_path / "archive", folder)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (zipped([*GOOD, ("../outside", b"x")]), r"expected paths inside the folder, got '\.\./outside'"),
        (zipped([("/etc/outside", b"x")]), "paths inside"),
        (zipped([("a/../../outside", b"x")]), "paths inside"),
        (zipped([("C:/outside", b"x")]), "paths inside"),
        (zipped([("..\\outside", b"x")]), "paths inside"),
        (zipped([(zip_link(), "/etc/passwd")]), "plain files and folders, got a link"),
        (zipped(GOOD)[:-30], "a damaged one|that can be read|damaged"),
        (tarred([*GOOD, ("../outside", b"x")]), "paths inside"),
        (tarred([("/etc/outside", b"x")]), "paths inside"),
        (tarred([("link", "/etc/passwd"), ("link/x", b"x")]), "plain files and folders, got a link"),
        (tarred(GOOD)[:-30], "a damaged one"),
        (tarred([("twice", b"x"), ("twice", b"y")]), "every path once"),
        (zipped([("large", b"0" * 5000)]), "at most 4,000 bytes"),
        (tarred([("large", b"0" * 5000)]), "at most 4,000 bytes"),
        (b"neither", "damaged"),
        (b"", "damaged"),
    ],
    ids=short,
)
def test_bad_archives_leave_nothing_behind(tmp_path, contents, message):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "archive").write_bytes(contents)
    with pytest.raises(data.ArchiveError, match=message):
        data.unpack(tmp_path / "inner" / "archive", tmp_path / "inner" / "out", largest=4000)
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", "archive"]


def test_a_damaged_member_leaves_nothing_behind(tmp_path):
    contents = bytearray(zipped([("a", b"a" * 10), ("b", np.random.default_rng(0).bytes(3000))]))
    contents[2000] ^= 1
    (tmp_path / "archive").write_bytes(contents)
    with pytest.raises(data.ArchiveError, match="damaged"):
        data.unpack(tmp_path / "archive", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
    with pytest.raises(data.ArchiveError, match="no such file"):
        data.unpack(tmp_path / "none", tmp_path / "out")


@pytest.mark.parametrize("name", ["augmentation", "order"])
def test_docstring_examples(name):
    module = sys.modules[f"nbdl.data.{name}"]
    assert doctest.testmod(module, extraglobs={"np": np}).failed == 0
