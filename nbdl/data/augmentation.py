r"""Augmentation: images changed at random in ways that leave their meaning alone, a new way every epoch.

A network that has seen a digit a little higher, lower or turned cannot learn its place by heart. An augmentation takes
a batch of images [N, C, H, W] and a `RandomStream` and returns a new batch; the loader hands it a stream that is a pure
function of its seed, the epoch and the batch, so that runs repeat exactly, resumed ones included.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from nbdl.data.errors import DataArgumentError
from nbdl.data.order import RandomStream

PADDING_MODES = ("constant", "edge", "reflect", "symmetric")


@runtime_checkable
class Augmentation(Protocol):
    """Anything that makes a batch of images from a batch of images."""

    def __call__(self, images: np.ndarray, stream: RandomStream) -> np.ndarray: ...


class Compose:
    """Augmentations one after the other.

    Args:
        transforms: At least one.

    Example:
        >>> images = np.zeros((2, 1, 8, 8), np.float32)
        >>> Compose([RandomShift(1), RandomRotation(10)])(images, RandomStream(seed=0)).shape
        (2, 1, 8, 8)
    """

    def __init__(self, transforms: Sequence[Augmentation]) -> None:
        self.transforms = list(transforms)
        if not self.transforms:
            raise DataArgumentError("transforms", "at least one augmentation", "none")

    def __call__(self, images: np.ndarray, stream: RandomStream) -> np.ndarray:
        for transform in self.transforms:
            images = transform(images, stream)
        return images

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"


class RandomShift:
    """Moves each image by up to a number of pixels in each direction; what comes in from outside is `fill`.

    Args:
        pixels: Largest shift along the height and the width: one number, or (height, width).
        fill: Value of the new pixels.

    Raises:
        DataArgumentError: A shift is negative, no whole number, or beyond 31 bits.

    Example:
        >>> image = np.zeros((1, 1, 3, 3)); image[0, 0, 1, 1] = 1
        >>> RandomShift(1)(image, RandomStream(seed=1))[0, 0]
        array([[0., 0., 0.],
               [0., 0., 0.],
               [1., 0., 0.]])
    """

    def __init__(self, pixels: int | tuple[int, int] = 1, fill: float = 0.0) -> None:
        self.pixels, self.fill = _pair("pixels", pixels, 0), fill
        if max(self.pixels) >= 2**31:
            raise DataArgumentError("pixels", "numbers below 2**31", repr(pixels))

    def __call__(self, images: np.ndarray, stream: RandomStream) -> np.ndarray:
        count, _, height, width = check_images(images).shape
        down, right = self.pixels
        padded = np.pad(images, ((0, 0), (0, 0), (down, down), (right, right)), constant_values=self.fill)
        top, left = stream.integers(0, 2 * down, count), stream.integers(0, 2 * right, count)
        return _windows(padded, top, left, height, width)

    def __repr__(self) -> str:
        return f"RandomShift({self.pixels})"


class RandomCrop:
    """Cuts a window out of each image, at a random place, after padding.

    Args:
        size: Height and width of the window: one number, or (height, width).
        padding: Pixels added on each side first: one number, or (height, width).
        fill: Value of the added pixels where padding_mode is "constant".
        padding_mode: "constant", "edge", "reflect" or "symmetric".

    Raises:
        DataArgumentError: An argument is outside its range, or the padded images are smaller than the window.

    Example:
        >>> RandomCrop(24)(np.zeros((5, 3, 32, 32), np.float32), RandomStream(seed=0)).shape
        (5, 3, 24, 24)
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        padding: int | tuple[int, int] = 0,
        fill: float = 0.0,
        padding_mode: str = "constant",
    ) -> None:
        self.size, self.padding = _pair("size", size, 1), _pair("padding", padding, 0)
        self.fill = fill
        if padding_mode not in PADDING_MODES:
            raise DataArgumentError("padding_mode", f"one of {', '.join(PADDING_MODES)}", repr(padding_mode))
        self.padding_mode = padding_mode

    def __call__(self, images: np.ndarray, stream: RandomStream) -> np.ndarray:
        down, right = self.padding
        widths = ((0, 0), (0, 0), (down, down), (right, right))
        if self.padding_mode == "constant":
            padded = np.pad(check_images(images), widths, constant_values=self.fill)
        else:
            padded = np.pad(check_images(images), widths, mode=self.padding_mode)  # type: ignore[call-overload]
        count, _, height, width = padded.shape
        spare = height - self.size[0], width - self.size[1]
        if min(spare) < 0:
            raise DataArgumentError("images", f"at least {self.size} pixels with padding", f"{(height, width)}")
        top, left = stream.integers(0, spare[0], count), stream.integers(0, spare[1], count)
        return _windows(padded, top, left, *self.size)

    def __repr__(self) -> str:
        return f"RandomCrop({self.size}, padding={self.padding})"


class RandomHorizontalFlip:
    """Mirrors each image left to right with probability p. Not for digits and letters, whose mirror images are others.

    Args:
        p: Probability, from 0 to 1.

    Example:
        >>> RandomHorizontalFlip(1.0)(np.arange(3.0).reshape(1, 1, 1, 3), RandomStream())
        array([[[[2., 1., 0.]]]])
    """

    axis = 3

    def __init__(self, p: float = 0.5) -> None:
        self.p = _probability(p)

    def __call__(self, images: np.ndarray, stream: RandomStream) -> np.ndarray:
        flipped = stream.uniform(0, 1, len(check_images(images))) < self.p
        return np.where(flipped[:, None, None, None], np.flip(images, self.axis), images)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p:g})"


class RandomVerticalFlip(RandomHorizontalFlip):
    """Mirrors each image top to bottom with probability p.

    Args:
        p: Probability, from 0 to 1.
    """

    axis = 2


class RandomRotation:
    r"""Turns each image about its centre by a random angle.

    The pixel at $(i, j)$ gets the value of the image at the point that the rotation moves there, interpolated between
    the four pixels around it; points outside have the value `fill`.

    Args:
        degrees: Largest angle in either direction, from 0 to 180; or (smallest, largest), counter-clockwise.
        fill: Value outside the image.

    Raises:
        DataArgumentError: The angles are not finite or in the wrong order.

    Example:
        >>> RandomRotation((90, 90))(np.arange(4.0).reshape(1, 1, 2, 2), RandomStream())[0, 0]
        array([[1., 3.],
               [0., 2.]])
    """

    def __init__(self, degrees: float | tuple[float, float] = 10.0, fill: float = 0.0) -> None:
        low, high = (-degrees, degrees) if isinstance(degrees, int | float) else degrees
        if not (np.isfinite([low, high]).all() and low <= high):
            raise DataArgumentError("degrees", "a number from 0 up, or (smallest, largest)", repr(degrees))
        self.degrees, self.fill = (float(low), float(high)), fill

    def __call__(self, images: np.ndarray, stream: RandomStream) -> np.ndarray:
        count, _, height, width = check_images(images).shape
        angle = np.deg2rad(stream.uniform(*self.degrees, count))[:, None, None]
        row, column = np.arange(height)[:, None] - (height - 1) / 2, np.arange(width) - (width - 1) / 2
        # Rounded so that a quarter turn meets the pixels and not the points 1e-16 beside them.
        i = np.round(np.cos(angle) * row + np.sin(angle) * column + (height - 1) / 2, 9)
        j = np.round(np.cos(angle) * column - np.sin(angle) * row + (width - 1) / 2, 9)
        top, left = np.floor(i).astype(np.int64), np.floor(j).astype(np.int64)
        lower, right = i - top, j - left  # weights of the lower and of the right neighbours
        framed = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=self.fill)
        pixels = framed.transpose(1, 0, 2, 3).reshape(framed.shape[1], -1)
        image = np.arange(count)[:, None, None] * (height + 2)
        rows = [(image + np.clip(top + down, 0, height + 1)) * (width + 2) for down in (1, 2)]  # the frame is 1 wide
        columns = [np.clip(left + across, 0, width + 1) for across in (1, 2)]
        total = np.zeros((len(pixels), *i.shape))
        for near_row, row_weight in zip(rows, (1 - lower, lower), strict=True):
            for near_column, column_weight in zip(columns, (1 - right, right), strict=True):
                total += row_weight * column_weight * np.take(pixels, near_row + near_column, axis=1)
        total = np.ascontiguousarray(total.transpose(1, 0, 2, 3))
        if np.issubdtype(images.dtype, np.integer):
            total = np.round(total)
        return total.astype(images.dtype)

    def __repr__(self) -> str:
        return f"RandomRotation({self.degrees})"


class Cutout:
    """Covers a square of each image with probability p: a network must not rest on one place alone.

    The centre of the square is any pixel, so that it may reach over the border.

    Args:
        size: Side of the square in pixels.
        p: Probability, from 0 to 1.
        fill: Value of the covered pixels.

    Raises:
        DataArgumentError: An argument is outside its range.

    Example:
        >>> Cutout(2)(np.ones((1, 1, 3, 3)), RandomStream(seed=1))[0, 0]
        array([[1., 1., 1.],
               [0., 0., 1.],
               [0., 0., 1.]])

    Source:
        DeVries and Taylor (2017), "Improved Regularization of Convolutional Neural Networks with Cutout".
    """

    def __init__(self, size: int, p: float = 1.0, fill: float = 0.0) -> None:
        self.size, self.p, self.fill = _pair("size", size, 1)[0], _probability(p), fill

    def __call__(self, images: np.ndarray, stream: RandomStream) -> np.ndarray:
        count, _, height, width = check_images(images).shape
        covered = stream.uniform(0, 1, count) < self.p
        top = stream.integers(0, height - 1, count) - self.size // 2
        left = stream.integers(0, width - 1, count) - self.size // 2
        rows, columns = np.arange(height) - top[:, None], np.arange(width) - left[:, None]
        in_rows, in_columns = (rows >= 0) & (rows < self.size), (columns >= 0) & (columns < self.size)
        inside = in_rows[:, :, None] & in_columns[:, None, :] & covered[:, None, None]
        return np.where(inside[:, None], images.dtype.type(self.fill), images)

    def __repr__(self) -> str:
        return f"Cutout({self.size}, p={self.p:g})"


def check_images(images: np.ndarray) -> np.ndarray:
    """Returns a batch of images [N, C, H, W].

    Raises:
        DataArgumentError: It is something else.
    """
    if not isinstance(images, np.ndarray) or images.ndim != 4:
        got = f"{images.dtype}{list(images.shape)}" if isinstance(images, np.ndarray) else type(images).__name__
        raise DataArgumentError("images", "a NumPy array [N, C, H, W]", got)
    return images


def _windows(images: np.ndarray, top: np.ndarray, left: np.ndarray, height: int, width: int) -> np.ndarray:
    """The windows of a size that begin at row `top` and column `left` of each image, [N, C, height, width]."""
    every = np.lib.stride_tricks.sliding_window_view(images, (height, width), axis=(2, 3))
    return every[np.arange(len(images)), :, top, left]


def _pair(argument: str, value: int | tuple[int, int], low: int) -> tuple[int, int]:
    """A number for both directions, or one for each."""
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or any(isinstance(v, bool) or not isinstance(v, int | np.integer) or v < low for v in pair):
        raise DataArgumentError(argument, f"a whole number from {low} up, or two of them", repr(value))
    return int(pair[0]), int(pair[1])


def _probability(p: float) -> float:
    if not 0 <= p <= 1:
        raise DataArgumentError("p", "a number from 0 to 1", repr(p))
    return float(p)
