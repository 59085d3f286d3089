"""One promise: what was tried, how often, and what was found."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STORED = Path(__file__).parents[2] / "docs" / "reliability"


class BrokenPromiseError(AssertionError):
    """A promise that does not hold; the message says for what."""


@dataclass(frozen=True)
class Area:
    """A promise and its proof.

    Attributes:
        name: What the file of the figures is called.
        bar: The promise, as a sentence.
        prove: Gets the share of the full number of trials, 1 for all of them, and returns the figures by name. Raises
            BrokenPromiseError if the promise does not hold.
    """

    name: str
    bar: str
    prove: Callable[[float], dict[str, Any]]

    def store(self, figures: dict[str, Any], seconds: float) -> Path:
        """Writes the figures to where the page on reliability reads them."""
        STORED.mkdir(exist_ok=True)
        path = STORED / f"{self.name}.json"
        record = {
            "name": self.name,
            "bar": self.bar,
            "figures": figures,
            "seconds": round(seconds),
            "date": datetime.date.today().isoformat(),
            "machine": machine(),
        }
        path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return path


def machine() -> str:
    """What the figures were taken on."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def part(full: int, share: float) -> int:
    """How many of `full` trials a share of them is; at least one."""
    return max(1, round(full * share))
