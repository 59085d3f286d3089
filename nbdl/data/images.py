"""A folder of images: every PNG or JPEG file in it, cropped to a square and scaled to one size."""

import hashlib
from pathlib import Path

import numpy as np

from nbdl.data.dataset import Dataset
from nbdl.data.errors import DataArgumentError, DataFileError, EmptyDataError, MissingPackageError
from nbdl.data.loader import check_count

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
        >>> Image.new("RGB", (40, 30), "white").save("white.png")
        >>> ImageFolder(".", size=16)
        ImageFolder(1 image, 3 x 16 x 16)
    """

    def __init__(self, root: str | Path, size: int = 64, channels: int = 3, low: float = 0.0) -> None:
        check_count("size", size, 1, "a whole number from 1 up")
        if channels not in MODES:
            raise DataArgumentError("channels", "1 or 3", repr(channels))
        if not low < 1:
            raise DataArgumentError("low", "a number under 1", repr(low))
        folder = Path(root)
        if not folder.is_dir():
            raise DataFileError("root", "a folder of images", str(root))
        self.paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not self.paths:
            raise EmptyDataError("root", f"at least one {', '.join(SUFFIXES)} file", f"none in {folder}")
        self.low = low
        self.pixels = np.empty((len(self.paths), channels, size, size), np.uint8)
        for place, path in enumerate(self.paths):
            self.pixels[place] = _read(path, size, channels)
        self.fingerprint = hashlib.sha256(self.pixels.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        return (self._scaled(self.pixels[index]),)

    def take(self, indices: np.ndarray) -> tuple[np.ndarray]:
        return (self._scaled(self.pixels[indices]),)

    def _scaled(self, pixels: np.ndarray) -> np.ndarray:
        step = np.float32((1 - self.low) / BRIGHTEST)
        scaled: np.ndarray = pixels * step + np.float32(self.low)
        return scaled

    def __repr__(self) -> str:
        count, channels, height, width = self.pixels.shape
        return f"ImageFolder({count:,} image{'s' * (count != 1)}, {channels} x {height} x {width})"


def _read(path: Path, size: int, channels: int) -> np.ndarray:
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
