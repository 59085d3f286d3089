"""From numbers seed by seed to a mean with an error bar: 95 % confidence intervals by Student's t."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# The 97.5 % quantile of Student's t with 1, 2, ... degrees of freedom.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and half the width of its 95 % confidence interval; numbers or arrays.

    Prints as "4.12 ± 0.30"; a format such as "+.2f" or ".1%" applies to both parts.
    """

    mean: Any
    error: Any

    @property
    def low(self) -> Any:
        return self.mean - self.error

    @property
    def high(self) -> Any:
        return self.mean + self.error

    def __format__(self, how: str) -> str:
        how = how or ".3g"
        plain = how[how.index(".") :]  # an error has no sign, and no width of its own
        if how.endswith("%"):
            return f"{100 * self.mean:{how[:-1]}f} ± {100 * self.error:{plain[:-1]}f} %"
        return f"{self.mean:{how}} ± {self.error:{plain}}"

    def __str__(self) -> str:
        return format(self)


def estimate(values: Any) -> Estimate:
    """The mean over the first axis, one entry a seed, and its error.

    Raises:
        ValueError: There are fewer than two seeds, or more than the table of quantiles knows.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not 2 <= len(numbers) <= len(_T) + 1:
        raise ValueError(f"values: expected from 2 to {len(_T) + 1} seeds, got {len(numbers)}")
    error = _T[len(numbers) - 2] * numbers.std(axis=0, ddof=1) / np.sqrt(len(numbers))
    return Estimate(numbers.mean(axis=0), error)


def change(values: Any, baseline: Any) -> Estimate:
    """The mean difference of two measurements with the same seeds, seed by seed.

    Both met the same examples, so what is hard about these falls out of the difference, and its error is smaller
    than that of either.
    """
    return estimate(np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64))
