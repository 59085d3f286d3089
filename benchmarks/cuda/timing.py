"""Times on the GPU: events around a call, the median of many, inputs that take turns so that no cache holds them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.cuda.budget import Budget
from benchmarks.cuda.libraries import Library

MOST_SETS = 16


def sets_of_inputs(nbytes: int, wanted: int) -> int:
    """How many sets of inputs take turns, so that they have so many bytes together."""
    return max(1, min(MOST_SETS, -(-wanted // max(nbytes, 1))))


def median_milliseconds(
    library: Library, call: Callable[..., Any], inputs: Sequence[tuple[Any, ...]], rounds: int, budget: Budget
) -> float:
    """The median time of one call, each on the next set of inputs; fewer than `rounds` if there is no time for them."""
    for number in range(len(inputs)):  # compiles, fills the pool, warms up
        call(*inputs[number % len(inputs)])
    times = []
    for number in range(rounds):
        start, end = library.event(), library.event()
        start.record()
        call(*inputs[number % len(inputs)])
        end.record()
        times.append(library.between(start, end))
        if number >= 2 and budget.is_spent():
            break
    return statistics.median(times)
