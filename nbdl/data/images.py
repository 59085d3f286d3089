"""Folders of images: every PNG or JPEG file in them, cropped to a square and scaled to one size."""

import hashlib
from pathlib import Path

import numpy as np

from nbdl.data.class_folders import class_files
from nbdl.data.dataset import Dataset
from nbdl.data.errors import DataArgumentError, DataFileError, EmptyDataError, MissingPackageError
from nbdl.data.order import check_count

SUFFIXES = (".png", ".jpg", ".jpeg")
MODES = {1: "L", 3: "RGB"}
BRIGHTEST = 255


class ImageFolder(Dataset):
    """The images of a folder and of the folders in it, in the order of their paths.

    The largest square in the middle of each image is scaled to the size wanted. All of them are held in memory, a byte
    a number: 10,000 images of 3 x 64 x 64 take 123 MB.

    Args:
        root: The folder.
        size: Height and width of the images.
        channels: 3 for colours, 1 for grey.
        low: Value of a black pixel; white is 1. Networks that end in a hyperbolic tangent want -1.

    Attributes:
        paths: The files.
        pixels: uint8 [N, channels, size, size].
        fingerprint: A digest of the pixels.

    Raises:
        MissingPackageError: Pillow is not installed.
        DataFileError: There is no such folder, or a file in it is no image or damaged.
        EmptyDataError: There is no PNG or JPEG file in it.
        DataArgumentError: The size or the number of channels is out of range.

    Example:
        >>> from PIL import Image
        >>> Path("pictures").mkdir()
        >>> Image.new("RGB", (40, 30), "white").save("pictures/white.png")
        >>> ImageFolder("pictures", size=16)
        ImageFolder(1 image, 3 x 16 x 16)
    """

    def __init__(self, root: str | Path, size: int = 64, channels: int = 3, low: float = 0.0) -> None:
        _check_format(size, channels, low)
        folder = Path(root)
        if not folder.is_dir():
            raise DataFileError(str(root), "a folder of images", "a file" if folder.exists() else "no such folder")
        self.paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not self.paths:
            raise EmptyDataError(str(root), f"at least one {', '.join(SUFFIXES)} file in it", "none")
        self.low = low
        self.pixels = np.empty((len(self.paths), channels, size, size), np.uint8)
        for place, path in enumerate(self.paths):
            self.pixels[place] = _decoded(path, size, channels)
        self.fingerprint = hashlib.sha256(self.pixels.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        return (_scaled(self.pixels[index], self.low),)

    def take(self, indices: np.ndarray) -> tuple[np.ndarray]:
        return (_scaled(self.pixels[indices], self.low),)

    def __repr__(self) -> str:
        count, channels, height, width = self.pixels.shape
        return f"ImageFolder({count:,} image{'s' * (count != 1)}, {channels} x {height} x {width})"


class ImageClassFolder(Dataset):
    """Images with their classes: a folder with a folder of images for each class, named like it.

    Samples are (image float32 [channels, size, size], class id int64), in the order of the classes and paths; what is
    said of `ImageFolder` holds here too.

    Args:
        root: The folder of folders.
        size: Height and width of the images.
        channels: 3 for colours, 1 for grey.
        low: Value of a black pixel; white is 1.

    Attributes:
        classes: The names of the folders, in alphabetical order: the class of each id.
        labels: The class id of each image, int64 [N].
        paths: The files.
        pixels: uint8 [N, channels, size, size].

    Raises:
        MissingPackageError: Pillow is not installed.
        DataFileError: There is no such folder, or a file in it is no image or damaged.
        EmptyDataError: There are fewer than two folders with an image in them.
        DataArgumentError: The size or the number of channels is out of range.

    Example:
        >>> from PIL import Image
        >>> for name in ("cat", "dog"):
        ...     Path("pets", name).mkdir(parents=True)
        ...     Image.new("RGB", (40, 30), "white").save(f"pets/{name}/1.png")
        >>> images = ImageClassFolder("pets", size=16)
        >>> images
        ImageClassFolder(2 images, 3 x 16 x 16, 2 classes)
        >>> images.classes, images.labels
        (('cat', 'dog'), array([0, 1]))
    """

    def __init__(self, root: str | Path, size: int = 64, channels: int = 3, low: float = 0.0) -> None:
        _check_format(size, channels, low)
        self.classes, self.paths, self.labels = class_files(root, SUFFIXES)
        self.low = low
        self.pixels = np.stack([_decoded(path, size, channels) for path in self.paths])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        return _scaled(self.pixels[index], self.low), self.labels[index]

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _scaled(self.pixels[indices], self.low), self.labels[indices]

    def __repr__(self) -> str:
        count, channels, height, width = self.pixels.shape
        shape = f"{channels} x {height} x {width}"
        return f"ImageClassFolder({count:,} images, {shape}, {len(self.classes)} classes)"


def read_image(path: str | Path, size: int = 64, channels: int = 3, low: float = 0.0) -> np.ndarray:
    """One image, made as those of `ImageFolder` and `ImageClassFolder` are: what a trained model is asked about.

    Args:
        path: A PNG or JPEG file.
        size: Height and width.
        channels: 3 for colours, 1 for grey.
        low: Value of a black pixel; white is 1.

    Returns:
        float32 [channels, size, size].

    Raises:
        MissingPackageError: Pillow is not installed.
        DataFileError: The file is missing, no image, or damaged.
        DataArgumentError: The size or the number of channels is out of range.
    """
    _check_format(size, channels, low)
    return _scaled(_decoded(Path(path), size, channels), low)


def _check_format(size: int, channels: int, low: float) -> None:
    check_count("size", size, 1, "a whole number from 1 up")
    if channels not in MODES:
        raise DataArgumentError("channels", "1 or 3", repr(channels))
    if not low < 1:
        raise DataArgumentError("low", "a number under 1", repr(low))


def _scaled(pixels: np.ndarray, low: float) -> np.ndarray:
    """Bytes as float32 from `low` to 1."""
    scaled: np.ndarray = pixels * np.float32((1 - low) / BRIGHTEST) + np.float32(low)
    return scaled


def _decoded(path: Path, size: int, channels: int) -> np.ndarray:
    """One image as uint8 [channels, size, size]."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingPackageError("images", "Pillow (pip install 'nbdl[examples]')", str(error)) from None
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            square = ImageOps.fit(file.convert(MODES[channels]), (size, size), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataFileError(str(path), "a PNG or JPEG image", str(error) or type(error).__name__) from None
    pixels = np.asarray(square, np.uint8)
    return pixels.reshape(size, size, channels).transpose(2, 0, 1)
