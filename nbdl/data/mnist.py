"""MNIST and Fashion-MNIST: 60,000 images to train on and 10,000 to test, of 28 x 28 pixels, in ten classes."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nbdl.data.dataset import ArrayDataset
from nbdl.data.download import cache_folder, download
from nbdl.data.errors import DataFileError, DownloadError
from nbdl.data.idx import read_idx

SIDE, CLASSES, BRIGHTEST = 28, 10, 255.0
LARGEST_FILE = 30_000_000  # the compressed training images of Fashion-MNIST take 26 million bytes
FASHION_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


@dataclass(frozen=True)
class Source:
    """Where the four files of a data set are, and what they must be.

    Attributes:
        name: For messages.
        folders: Where they may lie in a folder of data; the first is also their place in the cache.
        addresses: Where they can be downloaded.
        sha256: Of each file: training images and labels, test images and labels.
    """

    name: str
    folders: tuple[str, ...]
    addresses: tuple[str, ...]
    sha256: tuple[str, str, str, str]


FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

MNIST = Source(
    "MNIST",
    ("mnist", "MNIST/raw", "."),  # the second is where torchvision puts them
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)

FASHION = Source(
    "Fashion-MNIST",
    ("fashion-mnist", "FashionMNIST/raw", "."),
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)


def mnist(flatten: bool = False, root: str | Path | None = None) -> tuple[ArrayDataset, ArrayDataset]:
    """Handwritten digits: 60,000 to train on, 10,000 to test.

    The files come from `root`, or from the folder that the environment variable NBDL_DATA names; without either they
    are downloaded once into the user's cache folder, 11 MB, and checked by SHA-256.

    Args:
        flatten: Images as rows [N, 784]; otherwise as pictures with one channel, [N, 1, 28, 28].
        root: A folder that holds the four files, compressed or not, directly, in mnist/ or in MNIST/raw/.

    Returns:
        The training and the test set: float32 images with pixels from 0 (paper) to 1 (ink), int64 labels [N], 0 to 9.

    Raises:
        DataFileError: A file is not in the folder, is damaged, or is not what it should be.
        ChecksumError: What was downloaded is something else.
        DownloadError: The network does not answer.

    Source:
        LeCun, Bottou, Bengio and Haffner (1998), "Gradient-Based Learning Applied to Document Recognition".
    """
    return _load(MNIST, flatten, root)


def fashion_mnist(flatten: bool = False, root: str | Path | None = None) -> tuple[ArrayDataset, ArrayDataset]:
    """Photographs of clothes in ten classes, `nbdl.data.FASHION_CLASSES`: as many and as large as the digits of MNIST.

    Args:
        flatten: Images as rows [N, 784]; otherwise as pictures with one channel, [N, 1, 28, 28].
        root: As for `mnist`; the folders inside are fashion-mnist/ and FashionMNIST/raw/. The download takes 31 MB.

    Returns:
        The training and the test set: float32 images with pixels from 0 (background) to 1, int64 labels [N], 0 to 9.

    Raises:
        DataFileError, ChecksumError, DownloadError: As for `mnist`.

    Source:
        Xiao, Rasul and Vollgraf (2017), "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
        Algorithms".
    """
    return _load(FASHION, flatten, root)


def _load(source: Source, flatten: bool, root: str | Path | None) -> tuple[ArrayDataset, ArrayDataset]:
    named = root or os.environ.get("NBDL_DATA")
    paths = _named_files(source, Path(named)) if named else _downloaded_files(source)
    train, test = (_part(paths[i], paths[i + 1], flatten) for i in (0, 2))
    return train, test


def _named_files(source: Source, root: Path) -> list[Path]:
    """The four files in the user's own folder."""
    paths = []
    for name in FILES:
        plain = name.removesuffix(".gz")
        choices = [root / folder / file for folder in source.folders for file in (name, plain)]
        present = [path for path in choices if path.is_file()]
        if not present:
            expected = f"{name} of {source.name} in it, in {source.folders[0]}/ or in {source.folders[1]}/"
            raise DataFileError(str(root), expected, "no such file" if root.is_dir() else "no such folder")
        paths.append(present[0])
    return paths


def _downloaded_files(source: Source) -> list[Path]:
    """The four files in the cache, downloaded where they are missing or damaged."""
    folder = cache_folder() / source.folders[0]
    try:
        return [
            download([address + name for address in source.addresses], folder / name, sha256, LARGEST_FILE)
            for name, sha256 in zip(FILES, source.sha256, strict=True)
        ]
    except DownloadError as error:
        advice = f"{error.expected} (or the files of {source.name} in a folder that NBDL_DATA names)"
        raise DownloadError(error.argument, advice, error.got) from None


def _part(images_path: Path, labels_path: Path, flatten: bool) -> ArrayDataset:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE):
        got = f"{images.dtype}{list(images.shape)}"
        raise DataFileError(str(images_path), f"images of bytes, [N, {SIDE}, {SIDE}]", got)
    if labels.dtype != np.uint8 or labels.shape != (len(images),):
        got = f"{labels.dtype}{list(labels.shape)}"
        raise DataFileError(str(labels_path), f"one byte an image, [{len(images)}]", got)
    if len(labels) == 0 or labels.max() >= CLASSES:
        raise DataFileError(str(labels_path), f"labels from 0 to {CLASSES - 1}", str(labels.max(initial=0)))
    shape = (len(images), SIDE * SIDE) if flatten else (len(images), 1, SIDE, SIDE)
    pixels = images.reshape(shape) / np.float32(BRIGHTEST)
    return ArrayDataset(pixels, labels.astype(np.int64))
