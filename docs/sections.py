"""The scripts in docs/examples, whose sections pages include and run: what stands between the sections runs there too.

A page shows what a reader should see; whether it is true is checked by `assert` statements behind a section. The block
that includes the section runs them, in its session, without showing them. At the end of a build nothing is left over:
every section, and so every check, has run, or a page imported the script as a whole.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).parent / "examples"
MARK = re.compile(r"^# --8<-- \[(start|end):([\w-]+)\]\n", re.MULTILINE)
MAIN = 'if __name__ == "__main__":'


@dataclass(frozen=True)
class Section:
    """Of a script: a section's name, its lines, and the lines behind it up to the next one."""

    script: str
    name: str
    code: str
    checks: str


def sections_of(script: Path) -> list[Section]:
    """The sections in their order. Raises ValueError for one that is not closed, and for code before the first."""
    _, *pieces = _split(script)
    return [
        Section(script.name, name, code.strip("\n"), checks.partition(MAIN)[0].strip("\n"))
        for name, code, checks in zip(pieces[1::6], pieces[2::6], pieces[5::6], strict=True)
    ]


def _split(script: Path) -> list[str]:
    """A docstring, then for every section: start, name, code, end, name, what stands behind it."""
    head, *pieces = MARK.split(script.read_text(encoding="utf-8"))
    if not re.fullmatch(r'"""[^"]*"""\s*', head):
        raise ValueError(f"{script.name}: before the first section stands more than a docstring")
    for place in range(0, len(pieces), 6):
        if pieces[place : place + 5 : 3] != ["start", "end"] or pieces[place + 1] != pieces[place + 4]:
            raise ValueError(f"{script.name}: section {pieces[place + 1]} is not closed, or out of order")
    return [head, *pieces]


class Checks:
    """Which sections the blocks of a site run."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Reads the scripts; none of their sections has run."""
        self.sections = [section for script in sorted(EXAMPLES.glob("*.py")) for section in sections_of(script)]
        self.left = set(self.sections)

    def after(self, block: str) -> str:
        """What stands behind the sections that a block consists of; they count as run."""
        lines = f"\n{block.strip()}\n"
        run = [section for section in self.sections if f"\n{section.code}\n" in lines]
        self.left.difference_update(run)
        return "\n".join(section.checks for section in run if section.checks)

    def unrun(self) -> list[str]:
        """The sections that no block has run, of scripts that no block has imported either."""
        return sorted(
            f"{section.script}:{section.name}"
            for section in self.left
            if section.script.removesuffix(".py") not in sys.modules
        )
