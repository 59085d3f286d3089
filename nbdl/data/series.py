r"""Time series: the sunspots, windows to forecast from, and the forecasts that a network has to beat.

Seasonal naive: what comes is what came a season ago, $\hat y_{t+k} = y_{t+k-s}$.

Autoregression of order p: each value is a weighted sum of the p before it,
$\hat y_t = a_0 + \sum_{i=1}^p a_i y_{t-i}$, with the weights of least squares; several steps ahead it goes on from its
own forecasts.

Source: Yule (1927), "On a Method of Investigating Periodicities in Disturbed Series", who made autoregression for the
sunspots.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from nbdl.data.errors import DataArgumentError, EmptyDataError, MissingPackageError
from nbdl.data.order import check_count

SOLAR_CYCLE = 11  # years


def sunspots() -> tuple[np.ndarray, np.ndarray]:
    """The yearly number of sunspots, 1700 to 2008, which comes with statsmodels.

    Returns:
        The years, int64 [309], and the numbers, float64 [309].

    Raises:
        MissingPackageError: statsmodels is not installed.

    Example:
        >>> years, numbers = sunspots()
        >>> int(years[257]), float(numbers[257])
        (1957, 190.2)

    Source:
        SILSO, Royal Observatory of Belgium, version 1 of the yearly mean.
    """
    package = find_spec("statsmodels")
    if package is None or not package.submodule_search_locations:
        raise MissingPackageError("sunspots", "statsmodels (pip install 'nbdl[examples]')", "no such package")
    path = Path(package.submodule_search_locations[0], "datasets", "sunspots", "sunspots.csv")
    table = np.loadtxt(path, delimiter=",", skiprows=1, converters=lambda cell: float(cell.strip('"')))
    return table[:, 0].astype(np.int64), table[:, 1]


def windows(values: Any, past: int, future: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Every stretch of a series that has `past` values to look at and `future` values to forecast.

    Args:
        values: [T].
        past: Values to look at.
        future: Values to forecast.
        first: The place in the series of the earliest value to forecast.

    Returns:
        [N, past] and [N, future]: the latter begin at the places `first` (or `past`, if that is later) and after.

    Raises:
        EmptyDataError: The series is too short for one window.
        DataArgumentError: past or future is under 1, or the series has another shape.

    Example:
        >>> windows([1, 2, 3, 4], past=2, future=1)
        (array([[1., 2.],
               [2., 3.]]), array([[3.],
               [4.]]))
    """
    series = _checked_series(values)
    past = check_count("past", past, 1, "a whole number from 1 up")
    future = check_count("future", future, 1, "a whole number from 1 up")
    skipped = max(first - past, 0)
    if len(series) - skipped < past + future:
        raise EmptyDataError("values", f"at least {past + future + skipped}", str(len(series)))
    both = np.lib.stride_tricks.sliding_window_view(series, past + future)[skipped:]
    return both[:, :past].copy(), both[:, past:].copy()


def seasonal_naive(past: np.ndarray, future: int, season: int = SOLAR_CYCLE) -> np.ndarray:
    """The forecast that repeats the last season.

    Args:
        past: [N, P] with P at least the season.
        future: How many steps to forecast.
        season: Steps of a season.

    Returns:
        [N, future].

    Raises:
        DataArgumentError: The season is longer than the past.
    """
    if not 1 <= season <= past.shape[1]:
        raise DataArgumentError("season", f"a whole number from 1 to {past.shape[1]}, the past", repr(season))
    return past[:, past.shape[1] - season + np.arange(future) % season]


class Autoregression:
    """The weights of an autoregression, by least squares.

    Args:
        values: Training series [T].
        order: How many values before it a value is made of.

    Raises:
        EmptyDataError: The series is too short.

    Example:
        >>> doubling = Autoregression([1, 2, 4, 8, 16], order=1)
        >>> doubling.forecast(np.array([[3.0]]), 3).round(6)
        array([[ 6., 12., 24.]])
    """

    def __init__(self, values: Any, order: int) -> None:
        series = _checked_series(values)
        self.order = check_count("order", order, 1, "a whole number from 1 up")
        if len(series) < 2 * self.order + 1:
            raise EmptyDataError("values", f"at least {2 * self.order + 1} for order {order}", str(len(series)))
        past, future = windows(series, self.order, 1)
        rows = np.concatenate([past, np.ones((len(past), 1))], axis=1)
        self.weights: np.ndarray = np.linalg.lstsq(rows, future[:, 0], rcond=None)[0]

    def forecast(self, past: np.ndarray, future: int) -> np.ndarray:
        """The next values of some series.

        Args:
            past: [N, P], P at least the order.
            future: How many values.

        Returns:
            [N, future].

        Raises:
            DataArgumentError: The past has fewer values than the order.
        """
        if past.shape[1] < self.order:
            raise DataArgumentError("past", f"at least {self.order} values", str(past.shape[1]))
        values = past[:, past.shape[1] - self.order :]
        for _ in range(future):
            following = values[:, values.shape[1] - self.order :] @ self.weights[:-1] + self.weights[-1]
            values = np.concatenate([values, following[:, None]], axis=1)
        return values[:, self.order :]

    def __repr__(self) -> str:
        return f"Autoregression(order {self.order})"


def _checked_series(values: Any) -> np.ndarray:
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1 or not np.isfinite(series).all():
        raise DataArgumentError("values", "finite numbers [T]", f"{series.dtype}{list(series.shape)}")
    return series
