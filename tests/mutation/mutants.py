"""The bugs to plant: each a piece of a kernel's text, what replaces it, and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One bug.

    Attributes:
        file: The file, from the repository's root.
        old: Text that stands in it exactly once.
        new: The text that replaces it.
        kind: sign, index, missing term, wrong axis, race, missing barrier, constant, bound, reduction.
        tests: What to run: a test file, with ` -k EXPRESSION` to choose from it.
    """

    file: str
    old: str
    new: str
    kind: str
    tests: str


MUTANTS: tuple[Mutant, ...] = ()
