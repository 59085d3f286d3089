"""What an experiment is, the register of all of them, and the files that hold what they measured.

An experiment is a function from a `Run` (the seeds, and whether to be quick) to its settings and its values: numbers
seed by seed, never means, so that a page can compute the error bars itself. All randomness comes from the seeds and
nbdl computes the same bits whatever the number of threads, so a file can be made again, byte by byte, on a processor
with the same vector instructions; on others the last digits of losses differ.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from tqdm import tqdm

import nbdl

RESULTS = Path(__file__).parent / "results"
DIGITS_KEPT = 5  # after the point

T = TypeVar("T")
Outcome = tuple[dict[str, Any], dict[str, Any]]
"""Settings by name, and values: dictionaries down to lists with one entry a seed."""


@dataclass(frozen=True)
class Run:
    """How an experiment is run.

    Attributes:
        seeds: One repetition each: the seed chooses examples, weights, order and noise.
        quick: Only try whether it works: few steps, and the first cases only. The numbers mean nothing then.
    """

    seeds: tuple[int, ...]
    quick: bool = False

    def steps(self, count: int) -> int:
        """How many steps to train instead of `count`."""
        return min(count, 6) if self.quick else count

    def cases(self, cases: Sequence[T]) -> Sequence[T]:
        """Which of the cases to measure: all, or the first and the last."""
        return [cases[0], cases[-1]] if self.quick else cases


@dataclass(frozen=True)
class Experiment:
    """An experiment by name.

    Attributes:
        name: As on the command line, and of its file.
        about: One sentence.
        seeds: How many repetitions.
        measure: Runs it.
    """

    name: str
    about: str
    seeds: int
    measure: Callable[[Run], Outcome]

    def run(self, quick: bool = False) -> dict[str, Any]:
        """What the file of the results holds."""
        seeds = tuple(range(2 if quick else self.seeds))
        settings, values = self.measure(Run(seeds, quick))
        return {
            "experiment": self.name,
            "about": self.about,
            "command": f"python -m docs.labs {self.name}",
            "versions": {
                "nbdl": nbdl.__version__,
                "numba": numba.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "seeds": list(seeds),
            "settings": settings,
            "values": _rounded(values),
        }


EXPERIMENTS: dict[str, Experiment] = {}


def experiment(name: str, seeds: int) -> Callable[[Callable[[Run], Outcome]], Callable[[Run], Outcome]]:
    """Registers the decorated function as an experiment; the first line of its docstring says what about."""

    def register(measure: Callable[[Run], Outcome]) -> Callable[[Run], Outcome]:
        EXPERIMENTS[name] = Experiment(name, (measure.__doc__ or "").splitlines()[0], seeds, measure)
        return measure

    return register


def watched(items: Sequence[T], what: str) -> Iterator[T]:
    """The items one by one, with a progress bar where a person is watching."""
    return iter(tqdm(items, what, leave=False, disable=None))


# ---------------------------------------------------------------- files


def save(results: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Writes what `Experiment.run` returned. Nothing in it depends on the time or the machine's name."""
    path = folder / f"{results['experiment']}.json"
    lines = json.dumps(results, indent=1, ensure_ascii=False)
    path.write_text(_one_line_a_list(lines) + "\n", encoding="utf-8")
    return path


def load(name: str) -> dict[str, Any]:
    """The stored results of an experiment."""
    return dict(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))


def _rounded(values: Any) -> Any:
    """The same values with keys that JSON knows and with few decimals: what follows them is not reproducible."""
    if isinstance(values, dict):
        return {str(key): _rounded(value) for key, value in values.items()}
    if isinstance(values, list | tuple | np.ndarray):
        return [_rounded(value) for value in values]
    if isinstance(values, float | np.floating):
        return round(float(values), DIGITS_KEPT)
    return int(values) if isinstance(values, np.integer) else values


def _one_line_a_list(text: str) -> str:
    """JSON whose innermost lists take one line each, for people and for diffs."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        word = line.strip()
        if inside and word[0] in "[{":  # a list of lists: only the inner one is joined
            lines.append(line)
        elif inside:
            lines[-1] += word if lines[-1][-1] == "[" or word[0] == "]" else f" {word}"
        else:
            lines.append(line)
        inside = word.endswith("[") or (inside and not word.startswith("]"))
    return "\n".join(lines)
