r"""Python's standard library as a text to learn from: its own source, which every machine with Python has.

A file belongs to the package whose folder it lies in, which makes a question with an answer that costs nothing: from
which package is this piece of code? The answer must not stand in the piece. So import statements are left out, and the
names of all packages that may be the answer are written `package`, wherever they occur, in every file: what is left to
judge by is how a package's code reads. Pieces of one file are never on both sides of a split.
"""

import hashlib
import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nbdl.data.errors import DataArgumentError, DataFileError, EmptyDataError

SKIPPED = {"__pycache__", "dist-packages", "idle_test", "lib-dynload", "site-packages", "test", "tests"}
"""Folders that are not the library itself, or not on every machine."""

TABLES = {"encodings", "pydoc_data"}
"""Packages that are made of tables, not of code."""

LARGEST_FILE = 2**20  # bytes
FEWEST_FILES, FEWEST_CHARACTERS = 5, 40_000  # of a package that can be an answer
NEUTRAL = "package"
PARTS = ("train", "validation", "test")
SHARES = {"test": 0.2, "validation": 0.1}  # of a package's characters; the rest is for training

_IMPORT = re.compile(r"[ \t]*(?:import[ \t]+[\w.]|from[ \t]+[\w.]+[ \t]+import\b)")


@dataclass(frozen=True)
class SourceFile:
    """A file of source.

    Attributes:
        package: The folder at the top that it lies in; empty for a module of its own.
        path: From the library's folder on, with slashes.
        text: What it says.
    """

    package: str
    path: str
    text: str


def standard_library(root: str | Path | None = None) -> list[SourceFile]:
    """The source files of Python's standard library, in the order of their paths; tests and tables are left out.

    Args:
        root: The library's folder; that of the running Python when None.

    Returns:
        The files, without those that are no UTF-8.

    Raises:
        DataFileError: The folder does not exist.
        EmptyDataError: There is no source in it.

    Example:
        >>> files = standard_library()
        >>> "json/decoder.py" in [file.path for file in files]
        True
    """
    folder = Path(sysconfig.get_paths()["stdlib"] if root is None else root)
    if not folder.is_dir():
        raise DataFileError(str(folder), "the folder of a library's source", "no such folder")
    files = []
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        parts = path.relative_to(folder).parts
        if SKIPPED & set(parts[:-1]) or parts[0] in TABLES or parts[0].startswith("config-"):
            continue
        text = _read(path)
        if text.strip():
            files.append(SourceFile(parts[0] if len(parts) > 1 else "", "/".join(parts), text))
    if not files:
        raise EmptyDataError(str(folder), "source files", "none")
    return files


def _read(path: Path) -> str:
    """The text of a file; nothing when it is no UTF-8, too large, or gone."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            return ""
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError):
        return ""


def library_packages(files: Iterable[SourceFile]) -> list[str]:
    """The packages that have files and text enough to tell them by.

    Args:
        files: As `standard_library` gives them.

    Returns:
        Their names, in order.
    """
    sizes: dict[str, list[int]] = {}
    for file in files:
        if file.package:
            sizes.setdefault(file.package, []).append(len(file.text))
    return sorted(name for name, each in sizes.items() if len(each) >= FEWEST_FILES and sum(each) >= FEWEST_CHARACTERS)


def without_package_names(files: Iterable[SourceFile], names: Sequence[str]) -> list[SourceFile]:
    """The files without import statements, and with `package` in the place of all the names, in capitals or not.

    Args:
        files: Files of source.
        names: Those of the packages that nobody should be able to tell by their names.

    Returns:
        As many files, in the same order.

    Example:
        >>> file = SourceFile("json", "json/tool.py", "import json\\nclass JSONError(Exception):\\n    pass\\n")
        >>> print(without_package_names([file], ["json"])[0].text)
        class packageError(Exception):
            pass
        <BLANKLINE>
    """
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    named = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)", re.IGNORECASE)
    return [replace(file, text=named.sub(NEUTRAL, "".join(_without_imports(file.text)))) for file in files]


def _without_imports(text: str) -> Iterator[str]:
    """The lines of a text except those of import statements, which go on in brackets or after a backslash."""
    open_brackets = False
    continued = False
    for line in text.splitlines(keepends=True):
        if open_brackets or continued or _IMPORT.match(line):
            code = line.split("#")[0]
            open_brackets = (open_brackets or "(" in code) and ")" not in code
            continued = code.rstrip().endswith("\\")
        else:
            yield line


def split_by_file(files: Sequence[SourceFile]) -> dict[str, list[SourceFile]]:
    """The files in three parts, "train", "validation" and "test", each file in one.

    Of each package a fifth of the characters is for the test and a tenth for validation, as nearly as files allow;
    which files, the digests of their paths decide. A part has at least one file of a package that has three.

    Args:
        files: Files of source.

    Returns:
        The parts by name, each in the order of its paths.
    """
    parts: dict[str, list[SourceFile]] = {part: [] for part in PARTS}
    for package in sorted({file.package for file in files}):
        own = [file for file in files if file.package == package]
        own.sort(key=lambda file: hashlib.sha256(file.path.encode()).digest())
        total, left = sum(len(file.text) for file in own), list(own)
        for part, share in SHARES.items():
            taken = 0
            while len(left) > 1 and taken < share * total:
                fits = [file for file in left if taken + len(file.text) <= 1.5 * share * total]
                if not fits and taken:
                    break
                file = fits[0] if fits else min(left, key=lambda file: len(file.text))
                left.remove(file)
                parts[part].append(file)
                taken += len(file.text)
        parts["train"] += left
    return {part: sorted(chosen, key=lambda file: file.path) for part, chosen in parts.items()}


def snippets(text: str, lines: int) -> list[str]:
    """A text in pieces of so many lines, blank lines not counted; a shorter rest at the end is left out.

    Args:
        text: The text.
        lines: Lines of a piece, from 1 up.

    Returns:
        The pieces, without blank lines.

    Raises:
        DataArgumentError: lines is under 1.

    Example:
        >>> snippets("a\\n\\nb\\nc\\n", lines=2)
        ['a\\nb\\n']
    """
    if isinstance(lines, bool) or not isinstance(lines, int) or lines < 1:
        raise DataArgumentError("lines", "a whole number from 1 up", repr(lines))
    full = [line for line in text.splitlines(keepends=True) if line.strip()]
    return ["".join(full[first : first + lines]) for first in range(0, len(full) - lines + 1, lines)]
