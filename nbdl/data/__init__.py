"""Data: sets, splits, loaders and the data that needs no download. NumPy arrays out; nothing of nbdl is imported."""

from nbdl.data.collate import default_collate
from nbdl.data.dataset import (
    ArrayDataset,
    ConcatDataset,
    Dataset,
    Subset,
    TensorDataset,
    random_split,
    stratified_split,
)
from nbdl.data.errors import (
    CsvColumnError,
    CsvFileError,
    CsvHeaderError,
    CsvRowError,
    CsvTargetError,
    CsvValueError,
    DataArgumentError,
    DataError,
    EmptyDataError,
    MissingPackageError,
)
from nbdl.data.handwriting import digits
from nbdl.data.loader import DataLoader
from nbdl.data.table import Scale, Table, TableSplit, load_csv

__all__ = [
    "ArrayDataset",
    "ConcatDataset",
    "CsvColumnError",
    "CsvFileError",
    "CsvHeaderError",
    "CsvRowError",
    "CsvTargetError",
    "CsvValueError",
    "DataArgumentError",
    "DataError",
    "DataLoader",
    "Dataset",
    "EmptyDataError",
    "MissingPackageError",
    "Scale",
    "Subset",
    "Table",
    "TableSplit",
    "TensorDataset",
    "default_collate",
    "digits",
    "load_csv",
    "random_split",
    "stratified_split",
]
