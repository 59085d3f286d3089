"""A folder of folders: the way to hand over labelled files without writing a list. Each folder is a class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nbdl.data.errors import DataFileError, EmptyDataError


def class_files(root: str | Path, suffixes: Sequence[str]) -> tuple[tuple[str, ...], list[Path], np.ndarray]:
    """The files of the folders in a folder, which name the classes. Hidden folders and folders without such a file
    count for nothing.

    Args:
        root: The folder of folders.
        suffixes: How the names of the files end, in small letters: ".png".

    Returns:
        The classes in alphabetical order; the files, by class and path; and the class id of each, int64 [N].

    Raises:
        DataFileError: There is no such folder.
        EmptyDataError: There are fewer than two classes.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise DataFileError("root", "a folder with a folder for each class", str(root))
    found: dict[str, list[Path]] = {}
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = sorted(path for path in inner.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
        if files:
            found[inner.name] = files
    if len(found) < 2:
        expected = f"at least two folders with {' or '.join(suffixes)} files, one for each class"
        raise EmptyDataError("root", expected, f"{len(found)} in {folder}")
    labels = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
    return tuple(found), [path for files in found.values() for path in files], labels.astype(np.int64)
