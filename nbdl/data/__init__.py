"""Data: sets, splits, loaders, augmentation and ready data. NumPy arrays out; nothing of nbdl is imported."""

from nbdl.data.archive import unpack
from nbdl.data.augmentation import (
    Augmentation,
    Compose,
    Cutout,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    RandomShift,
    RandomVerticalFlip,
)
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
from nbdl.data.download import download
from nbdl.data.errors import (
    ArchiveError,
    ChecksumError,
    CsvColumnError,
    CsvFileError,
    CsvHeaderError,
    CsvRowError,
    CsvTargetError,
    CsvValueError,
    DataArgumentError,
    DataError,
    DataFileError,
    DownloadError,
    EmptyDataError,
    MissingPackageError,
)
from nbdl.data.handwriting import digits
from nbdl.data.idx import read_idx
from nbdl.data.loader import DataLoader
from nbdl.data.mnist import FASHION_CLASSES, fashion_mnist, mnist
from nbdl.data.order import RandomStream
from nbdl.data.table import Scale, Table, TableSplit, load_csv

__all__ = [
    "FASHION_CLASSES",
    "ArchiveError",
    "ArrayDataset",
    "Augmentation",
    "ChecksumError",
    "Compose",
    "ConcatDataset",
    "CsvColumnError",
    "CsvFileError",
    "CsvHeaderError",
    "CsvRowError",
    "CsvTargetError",
    "CsvValueError",
    "Cutout",
    "DataArgumentError",
    "DataError",
    "DataFileError",
    "DataLoader",
    "Dataset",
    "DownloadError",
    "EmptyDataError",
    "MissingPackageError",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomShift",
    "RandomStream",
    "RandomVerticalFlip",
    "Scale",
    "Subset",
    "Table",
    "TableSplit",
    "TensorDataset",
    "default_collate",
    "digits",
    "download",
    "fashion_mnist",
    "load_csv",
    "mnist",
    "random_split",
    "read_idx",
    "stratified_split",
    "unpack",
]
