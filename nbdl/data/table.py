"""Your own data: a CSV file becomes numbers to learn from and a column to predict.

Everything that can be wrong with a file is found before training starts, and said with the line and the column.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nbdl.data.dataset import ArrayDataset, split_size, stratified_split
from nbdl.data.errors import (
    CsvColumnError,
    CsvFileError,
    CsvHeaderError,
    CsvRowError,
    CsvTargetError,
    CsvValueError,
    DataArgumentError,
)
from nbdl.data.order import check_seed, random_order

DELIMITERS = ",;\t|"
MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}
MAX_CLASSES_OF_NUMBERS = 20
LARGEST = 1e150  # beyond it the variance of a column overflows


@dataclass(frozen=True)
class Scale:
    """Standardization, x -> (x - mean) / std, with the statistics of the training rows only.

    Statistics that saw the test rows would leak them into training. A column that never changes has std 1: it
    becomes 0 and teaches nothing.

    Attributes:
        mean: [D], float64.
        std: [D], float64, positive.
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Scale":
        """The scale of the columns of some values.

        Args:
            values: [N, D], float64, N at least 1.

        Returns:
            Means and standard deviations of the D columns.
        """
        mean, std = values.mean(axis=0), values.std(axis=0)
        constant = (values == values[:1]).all(axis=0)  # std of equal numbers need not round to exactly 0
        return cls(np.where(constant, values[0], mean), np.where(constant | (std == 0), 1.0, std))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Standardizes in float64, then rounds to float32: a column of dates would not survive the other order.

        Args:
            values: [N, D].

        Returns:
            [N, D], float32.
        """
        standardized: np.ndarray = ((values - self.mean) / self.std).astype(np.float32)
        return standardized

    def undo(self, values: np.ndarray) -> np.ndarray:
        """The way back.

        Args:
            values: [N, D], standardized.

        Returns:
            [N, D], float64, in the units of the columns.
        """
        original: np.ndarray = values.astype(np.float64) * self.std + self.mean
        return original


@dataclass(frozen=True)
class TableSplit:
    """A table ready for training.

    Attributes:
        train, test: Data sets of (inputs float32 [D], target); the target is a class id, int64, or for regression
            the standardized value, float32 [1].
        input_scale: Standardization of the inputs.
        target_scale: Standardization of the target; None for classification.
    """

    train: ArrayDataset
    test: ArrayDataset
    input_scale: Scale
    target_scale: Scale | None


@dataclass(frozen=True)
class Table:
    """The contents of a CSV file as numbers.

    Attributes:
        inputs: [N, D], float64, not yet standardized.
        targets: [N], class ids int64, or for regression the values float64.
        feature_names: D names; a categorical column gives one a value, "colour=red".
        target_name: Name of the target column.
        task: "classification" or "regression".
        classes: The class of each id as it stands in the file; empty for regression.
        columns: Name of each column that is learned from, and the values of a categorical one; () of numbers.
    """

    inputs: np.ndarray
    targets: np.ndarray
    feature_names: tuple[str, ...]
    target_name: str
    task: str
    classes: tuple[str, ...]
    columns: tuple[tuple[str, tuple[str, ...]], ...]

    def __len__(self) -> int:
        return len(self.inputs)

    def split(self, fraction: float = 0.2, seed: int = 0) -> TableSplit:
        """Splits the rows, stratified by class, and standardizes both parts by the training part.

        Args:
            fraction: Share of the test part, between 0 and 1. Default: 0.2.
            seed: Chooses the split.

        Returns:
            Both parts as data sets, and the scales that undo the standardization.

        Raises:
            EmptyDataError: One of the parts would be empty.
            DataArgumentError: The fraction is not between 0 and 1.
        """
        if self.task == "classification":
            train, test = stratified_split(self.targets, fraction, seed)
        else:
            if not 0 < fraction < 1:
                raise DataArgumentError("fraction", "a number between 0 and 1", repr(fraction))
            order = random_order(len(self), check_seed(seed))
            size = split_size(len(self), fraction)
            train, test = np.sort(order[size:]), np.sort(order[:size])
        input_scale = Scale.of(self.inputs[train])
        target_scale = None if self.task == "classification" else Scale.of(self.targets[train, None])
        targets = self.targets if target_scale is None else target_scale.apply(self.targets[:, None])
        inputs = input_scale.apply(self.inputs)
        return TableSplit(
            ArrayDataset(inputs[train], targets[train]),
            ArrayDataset(inputs[test], targets[test]),
            input_scale,
            target_scale,
        )

    def encode(self, rows: Iterable[Mapping[str, Any]]) -> np.ndarray:
        """New rows as numbers, the way the table's own became `inputs`. They still need the split's `input_scale`.

        Args:
            rows: Each maps column names to values, as `csv.DictReader` does; what is not a column of the table is not
                looked at, the target included.

        Returns:
            [N, D], float64.

        Raises:
            CsvColumnError: A row lacks a column.
            CsvValueError: A value is missing, is no finite number in a column of numbers, or is one that the table
                does not know in a categorical column.
        """
        encoded = np.zeros((0, len(self.feature_names)))
        for place, row in enumerate(rows):
            numbers: list[float] = []
            for name, values in self.columns:
                if name not in row:
                    raise CsvColumnError(f"row {place}", f"a value for the column {name!r}", "none")
                cell = str(row[name]).strip()
                _check_filled(name, [place], [cell], "row")
                if not values:
                    numbers.append(float(_numbers(name, [place], [cell], "a number", "row")[0]))
                elif cell in values:
                    numbers += [float(cell == value) for value in values]
                else:
                    known = ", ".join(map(repr, values))
                    raise CsvValueError(f"row {place}, column {name!r}", f"one of {known}", repr(cell))
            encoded = np.concatenate([encoded, [numbers]])
        return encoded


def load_csv(
    path: str | Path,
    target: str | int,
    task: str = "auto",
    *,
    categorical: Sequence[str | int] = (),
    header: bool | None = None,
    delimiter: str | None = None,
) -> Table:
    """Reads a CSV file: one row a sample, one column to predict, the others to predict it from.

    Args:
        path: A UTF-8 text file. Cells may be quoted; blank lines are skipped.
        target: The column to predict, by name or by position (from 0; negative ones count from the end).
        task: "classification", "regression", or "auto": classification when the target is text, or whole numbers
            with at most 20 different values of which most come more than once; regression otherwise.
        categorical: Columns, by name or position, whose values are names, not amounts: each different value becomes
            a column of its own that is 1 where the row has it and else 0. Other columns must be numbers.
        header: Whether the first row names the columns; None: it does when no cell of it is a number, or when one
            of them is the target and could not be a position.
        delimiter: The character between cells; None: whichever of comma, semicolon, tab and bar splits the first
            row most.

    Returns:
        The table, every value checked.

    Raises:
        DataArgumentError: The task or the delimiter is unknown.
        CsvFileError: The file is missing, unreadable, empty or not UTF-8.
        CsvHeaderError: Two columns share a name, or there is only a header.
        CsvColumnError: The target or a categorical column does not exist, or no column is left to learn from.
        CsvRowError: A row has more or fewer cells than the first.
        CsvValueError: A cell is empty, or text in a column of numbers, or not finite.
        CsvTargetError: The target has one value only, or a class of its own in every row, or is not a number where
            the task needs one.
    """
    if task not in ("auto", "classification", "regression"):
        raise DataArgumentError("task", '"auto", "classification" or "regression"', repr(task))
    names, lines, rows = _read(Path(path), target, header, delimiter)
    target_column = _find_column("target", names, target)
    categories = {_find_column("categorical", names, name) for name in categorical}
    features = [column for column in range(len(names)) if column != target_column]
    if not features:
        raise CsvColumnError("columns", "at least one column besides the target", f"only {names[target_column]!r}")

    columns, feature_names, described = [], [], []
    for column in features:
        cells = [row[column].strip() for row in rows]
        _check_filled(names[column], lines, cells)
        if column in categories:
            values, one_hot = _one_hot(cells)
            columns.append(one_hot)
            feature_names += [f"{names[column]}={value}" for value in values]
            described.append((names[column], tuple(values)))
        else:
            expected = "a number (or name the column in categorical)"
            columns.append(_numbers(names[column], lines, cells, expected)[:, None])
            feature_names.append(names[column])
            described.append((names[column], ()))

    name, cells = names[target_column], [row[target_column].strip() for row in rows]
    _check_filled(name, lines, cells)
    task = _guess_task(cells) if task == "auto" else task
    if task == "classification":
        classes, targets = _class_ids(name, cells)
    else:
        classes, targets = (), _numbers(name, lines, cells, "a number to regress on (or task classification)")
        if (targets == targets[0]).all():
            raise CsvTargetError(f"target {name!r}", "at least two different values", f"{cells[0]!r} in every row")
    inputs = np.concatenate(columns, axis=1)
    return Table(inputs, targets, tuple(feature_names), name, task, classes, tuple(described))


def _read(
    path: Path, target: str | int, header: bool | None, delimiter: str | None
) -> tuple[list[str], list[int], list[list[str]]]:
    """The column names, and for each row its line number and its cells."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # with or without the mark that some editors put first
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise CsvFileError(str(path), "UTF-8 text", f"byte {error.object[error.start]:#04x} in line {line}") from None
    except OSError as error:
        raise CsvFileError(str(path), "a CSV file", (error.strerror or "a file that cannot be read").lower()) from None
    if not text.strip():
        raise CsvFileError(str(path), "a header and rows", "an empty file")
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise DataArgumentError("delimiter", "one character", repr(delimiter))

    lines, rows = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or _guess_delimiter(text), strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row) or len(row) > 1:
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise CsvRowError(f"line {reader.line_num}", "cells with every quote closed", str(error)) from None
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(rows[0]):
            raise CsvRowError(f"line {line}", f"{len(rows[0])} cells as in line {lines[0]}", str(len(row)))

    first = [cell.strip() for cell in rows[0]]
    if header is None:
        named = target in first and _position(first, target) is None
        header = named or not any(_is_number(cell) for cell in first)
    if not header:
        return [f"column {position}" for position in range(len(first))], lines, rows
    names = [cell or f"column {position}" for position, cell in enumerate(first)]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise CsvHeaderError("header", "every column name once", f"{name!r} twice")
    if len(rows) == 1:
        raise CsvHeaderError(str(path), "rows under the header", "none")
    return names, lines[1:], rows[1:]


def _guess_delimiter(text: str) -> str:
    """The delimiter that splits the first line most; a comma when none does."""
    first = next(line for line in text.splitlines() if line.strip())
    return max(DELIMITERS, key=lambda delimiter: len(next(csv.reader([first], delimiter=delimiter))))


def _find_column(argument: str, names: list[str], wanted: str | int) -> int:
    """Position of a column given by name or by position; a text of digits is a name first."""
    if wanted in names:
        return names.index(wanted)
    position = _position(names, wanted)
    if position is None:
        shown = ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
        raise CsvColumnError(argument, f"one of the columns {shown}", repr(wanted))
    return position


def _position(names: list[str], wanted: str | int) -> int | None:
    """The position that a number, or a text of digits, stands for; None when there is no such column."""
    try:
        position = int(wanted)
    except ValueError:
        return None
    return position % len(names) if -len(names) <= position < len(names) else None


def _is_number(cell: str) -> bool:
    """Whether the cell reads as a number. Python's digit groups, 1_000, are not numbers here."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell and cell.lower() not in MISSING


def _check_filled(name: str, lines: list[int], cells: list[str], unit: str = "line") -> None:
    """Every cell of a column has a value."""
    for line, cell in zip(lines, cells, strict=True):
        if cell.lower() in MISSING:
            got = f"a missing value ({cell!r})" if cell else "an empty cell"
            raise CsvValueError(f"{unit} {line}, column {name!r}", "a value", got)


def _numbers(name: str, lines: list[int], cells: list[str], expected: str, unit: str = "line") -> np.ndarray:
    """A column as finite float64 numbers [N]."""
    for line, cell in zip(lines, cells, strict=True):
        if not _is_number(cell):
            raise CsvValueError(f"{unit} {line}, column {name!r}", expected, repr(cell))
        if not abs(float(cell)) <= LARGEST:
            raise CsvValueError(f"{unit} {line}, column {name!r}", f"a number up to {LARGEST:g}", cell)
    return np.array([float(cell) for cell in cells])


def _one_hot(cells: list[str]) -> tuple[list[str], np.ndarray]:
    """The different values in order, and a column a value, float64 [N, values], 1 where the row has it."""
    values = _in_order(set(cells))
    ids = np.array([values.index(cell) for cell in cells])
    return values, np.equal.outer(ids, np.arange(len(values))).astype(np.float64)


def _in_order(values: set[str]) -> list[str]:
    """Values sorted as numbers when all are, else as texts."""
    if all(_is_number(value) for value in values):
        return sorted(values, key=lambda value: (float(value), value))
    return sorted(values)


def _guess_task(cells: list[str]) -> str:
    """Classification for texts and for whole numbers with few different values that repeat."""
    if not all(_is_number(cell) for cell in cells):
        return "classification"
    values = {float(cell) for cell in cells}
    whole = all(math.isfinite(value) and value == int(value) for value in values)
    few = len(values) <= min(MAX_CLASSES_OF_NUMBERS, len(cells) // 2)
    return "classification" if whole and few else "regression"


def _class_ids(name: str, cells: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes in order and the class id of each row, int64 [N]."""
    classes = _in_order(set(cells))
    if len(classes) == 1:
        raise CsvTargetError(f"target {name!r}", "at least two classes", f"{classes[0]!r} in every row")
    if len(classes) == len(cells):
        got = f"a class of its own in each of {len(cells)} rows"
        raise CsvTargetError(f"target {name!r}", "classes that repeat", got)
    ids = {value: class_id for class_id, value in enumerate(classes)}
    return tuple(classes), np.array([ids[cell] for cell in cells], dtype=np.int64)
