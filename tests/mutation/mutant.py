"""What a planted bug is: a piece of a kernel's text, what replaces it, and the tests that must notice."""

from __future__ import annotations

import ast
from dataclasses import dataclass

KINDS = (
    "sign",
    "index",
    "missing term",
    "wrong axis",
    "bound",
    "constant",
    "reduction",
    "race",
    "missing barrier",
)


@dataclass(frozen=True)
class Mutant:
    """One bug.

    Attributes:
        file: The file, from the repository's root.
        old: Text that stands in it exactly once; it may span lines.
        new: The text that replaces it.
        kind: One of KINDS.
        tests: What to run: a test file, with ` -k EXPRESSION` to choose from it.
        reason: Why it survives, where no test can tell it from the right kernel.
    """

    file: str
    old: str
    new: str
    kind: str
    tests: str
    reason: str = ""

    @property
    def family(self) -> str:
        """Where the kernel belongs: the path behind nbdl/, without the roof `ops`."""
        return self.file.removeprefix("nbdl/").removeprefix("ops/").removesuffix(".py")

    def planted(self, source: str) -> str:
        """The source with the bug in it. Raises ValueError unless the text stands there exactly once."""
        found = source.count(self.old)
        if found != 1:
            raise ValueError(f"{self.file}: {self.old!r} stands there {found} times, expected once: update mutants.py")
        return source.replace(self.old, self.new)

    def kernel(self, source: str) -> str:
        """The innermost function that holds the text, or the module's name where no function does."""
        line = source[: source.index(self.old) + len(self.old) - len(self.old.lstrip())].count("\n") + 1
        name, shortest = "(module)", len(source)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0):
                size = (node.end_lineno or 0) - node.lineno
                if size < shortest:
                    name, shortest = node.name, size
        return name


# ---------------------------------------------------------------- how the lists are written


def bugs(file: str, *rows: tuple[str, str, str, str]) -> tuple[Mutant, ...]:
    """The mutants of one file of nbdl: kind, the text that stands there once, its replacement, the tests."""
    return tuple(Mutant(f"nbdl/{file}", old, new, kind, tests) for kind, old, new, tests in rows)


def ops(expression: str) -> str:
    """Some of the checks of the spec table."""
    return f"tests/test_ops.py -k {expression}"


def forward(row: str) -> str:
    """The forward checks of the spec rows whose names begin so."""
    return ops(f"test_forward_float64[{row}")


def gradients(row: str) -> str:
    """The gradient checks of the spec rows whose names begin so."""
    return ops(f"test_gradients[{row}")


def twins(row: str) -> str:
    """The checks in the CUDA interpreter of the spec rows whose names begin so."""
    return ops(f"test_cuda_twins[{row}")
