r"""Gaussians on a ring: a distribution in the plane with modes apart from each other, and how well samples cover it.

What a generative model makes of it can be seen at a glance and counted exactly, which is why it is the usual first test
of one: does it find every mode, and nothing between them?

Source: Metz, Poole, Pfau and Sohl-Dickstein (2017), "Unrolled Generative Adversarial Networks", section 3.1.
"""

from typing import NamedTuple

import numpy as np

from nbdl.data.dataset import ArrayDataset
from nbdl.data.errors import DataArgumentError
from nbdl.data.order import RandomStream, check_count

MODES, RADIUS, DEVIATION = 8, 2.0, 0.1


def ring_means(modes: int = MODES, radius: float = RADIUS) -> np.ndarray:
    """The middles of Gaussians spread evenly on a circle around 0.

    Args:
        modes: How many, at least 1. Default: 8.
        radius: Of the circle. Default: 2.

    Returns:
        float64 [modes, 2]; the first lies on the right.

    Raises:
        DataArgumentError: modes is under 1.
    """
    angles = 2 * np.pi * np.arange(check_count("modes", modes, 1, "a whole number from 1 up")) / modes
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def gaussian_ring(
    count: int, modes: int = MODES, radius: float = RADIUS, deviation: float = DEVIATION, seed: int = 0
) -> ArrayDataset:
    """Points of Gaussians on a ring, each as likely as any other.

    Args:
        count: How many points, at least 1.
        modes: Gaussians on the ring.
        radius: Of the ring.
        deviation: Standard deviation of each Gaussian in both coordinates.
        seed: Chooses the points.

    Returns:
        Points, float32 [count, 2], and the Gaussian of each, int64 [count].

    Raises:
        DataArgumentError: A number is out of range.

    Example:
        >>> gaussian_ring(1000)
        ArrayDataset(float32[1000, 2], int64[1000])

    Source:
        Metz, Poole, Pfau and Sohl-Dickstein (2017), "Unrolled Generative Adversarial Networks", section 3.1.
    """
    check_count("count", count, 1, "a whole number from 1 up")
    if not (radius > 0 and deviation > 0):
        raise DataArgumentError("radius, deviation", "numbers above 0", f"{radius}, {deviation}")
    stream = RandomStream(seed)
    chosen = stream.integers(0, modes - 1, count)
    length = np.sqrt(-2 * np.log1p(-stream.uniform(0, 1, count)))  # Box and Muller's two normal numbers of two uniform
    angle = stream.uniform(0, 2 * np.pi, count)
    spread = length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = ring_means(modes, radius)[chosen] + deviation * spread
    return ArrayDataset(points.astype(np.float32), chosen)


class Coverage(NamedTuple):
    """How samples lie on modes.

    Attributes:
        modes: Modes that got at least a quarter of their fair share of the samples.
        near: Share of the samples within three standard deviations of a mode.
        counts: [modes], the near samples of each.
    """

    modes: int
    near: float
    counts: np.ndarray


def mode_coverage(points: np.ndarray, means: np.ndarray, deviation: float = DEVIATION) -> Coverage:
    """Counts modes that are covered, and samples that are near one.

    Of samples of the distribution itself 1.1 % lie farther than three standard deviations from their mode.

    Args:
        points: [N, 2].
        means: [modes, 2].
        deviation: Standard deviation around each. Default: 0.1.

    Returns:
        Modes that are covered, the share of points near one, and how many are near each.

    Raises:
        DataArgumentError: There is no point.

    Example:
        >>> points, _ = gaussian_ring(2000).arrays
        >>> coverage = mode_coverage(points, ring_means())
        >>> coverage.modes, coverage.near > 0.98
        (8, True)
    """
    if len(points) == 0:
        raise DataArgumentError("points", "at least one", "none")
    distances = np.linalg.norm(np.asarray(points, np.float64)[:, None] - means[None], axis=2)
    near = distances.min(axis=1) <= 3 * deviation
    counts = np.bincount(distances.argmin(axis=1)[near], minlength=len(means))
    covered = counts >= max(len(points) / (4 * len(means)), 1)
    return Coverage(int(covered.sum()), float(near.mean()), counts)
