"""Every error of the data floor: what was wrong (the argument), what was expected and what came.

They are ordinary `ValueError`s, because this floor imports nothing of the rest of nbdl.
"""

from nbdl.boundary import Boundary


class DataError(ValueError):
    """Base of all data errors. Reads as one sentence: `argument: expected ..., got ...`.

    Attributes:
        argument: Name of the argument, or the place in the file, that is wrong.
        expected: What would have been right.
        got: What came.
    """

    def __init__(self, argument: str, expected: str, got: str) -> None:
        super().__init__(f"{argument}: expected {expected}, got {got}")
        self.argument, self.expected, self.got = argument, expected, got

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:  # Exception would rebuild it from the one message
        return type(self), (self.argument, self.expected, self.got)


class DataArgumentError(DataError):
    """An argument of a data set, split or loader has a wrong value."""


class EmptyDataError(DataError):
    """There is no sample where at least one is needed."""


class MissingPackageError(DataError):
    """A data set comes with a package that is not installed. The message holds the command that installs it."""


class CsvFileError(DataError):
    """The CSV file is missing, unreadable or not UTF-8 text."""


class CsvHeaderError(DataError):
    """Two columns share a name, or there is no row under the header."""


class CsvColumnError(DataError):
    """A column that was asked for does not exist, or no column is left to learn from."""


class CsvRowError(DataError):
    """A row has more or fewer cells than the header."""


class CsvValueError(DataError):
    """A cell is empty, or holds text in a column of numbers, or a number that is not finite."""


class CsvTargetError(DataError):
    """The target column cannot be learned: one class only, every row its own class, or not a number."""


class DataFileError(DataError):
    """A data file is missing, truncated, damaged, larger than it may be, or of another kind."""


class AudioFormatError(DataFileError):
    """A sound file is no WAV file, is damaged, or holds something else than PCM."""


class TokenError(DataError):
    """A text cannot be turned into tokens, or an id is none of the tokenizer's."""


class ChecksumError(DataFileError):
    """A file is not the one that was expected: its SHA-256 differs."""


class ArchiveError(DataFileError):
    """An archive is damaged, too large, or holds what must not be unpacked: a path outside the folder, a link."""


class DownloadError(DataError):
    """A file could not be fetched. The message says what else can be done."""


def _refused(function: str, about_types: bool, arguments: str, said: str) -> DataError:
    return DataArgumentError(
        function, "arguments it can take" if about_types else "values it can take", f"{arguments} ({said})"
    )


BOUNDARY = Boundary(DataError, DataArgumentError, _refused)
"""What the public functions of this floor raise: `DataError`s."""
