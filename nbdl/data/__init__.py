"""Data: sets, splits, loaders, augmentation and ready data. NumPy arrays out; nothing of nbdl is imported."""

from nbdl.data.archive import unpack
from nbdl.data.audio import (
    Recording,
    SoundClassFolder,
    log_mel,
    mel_filters,
    read_spectrogram,
    read_wav,
    spoken_digit_recordings,
    spoken_digits,
)
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
    BOUNDARY,
    ArchiveError,
    AudioFormatError,
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
    TokenError,
)
from nbdl.data.gaussians import DEVIATION, Coverage, gaussian_ring, mode_coverage, ring_means
from nbdl.data.handwriting import digits
from nbdl.data.idx import read_idx
from nbdl.data.images import ImageClassFolder, ImageFolder, read_image
from nbdl.data.jamo import JamoTokenizer, split_syllables, syllables_and_jamo
from nbdl.data.loader import DataLoader
from nbdl.data.masking import ClozeModel, MaskingLoader, framed_windows, mask_tokens
from nbdl.data.mnist import FASHION_CLASSES, fashion_mnist, mnist
from nbdl.data.ngrams import NgramModel, ngram_name
from nbdl.data.order import RandomStream
from nbdl.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from nbdl.data.sequences import BucketLoader, SequenceDataset, pad
from nbdl.data.series import SOLAR_CYCLE, Autoregression, seasonal_naive, sunspots, windows
from nbdl.data.source import (
    SourceFile,
    library_packages,
    snippets,
    split_by_file,
    standard_library,
    without_package_names,
)
from nbdl.data.stream import StreamLoader
from nbdl.data.table import Scale, Table, TableSplit, load_csv
from nbdl.data.text import (
    BpeTokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    JsonTokenizer,
    Tokenizer,
    corpus,
    python_topics,
    read_text,
    tiny_shakespeare,
    tokenizer_from,
)
from nbdl.data.token_windows import TokenWindows, judging_windows

__all__ = [
    "DEVIATION",
    "FASHION_CLASSES",
    "SOLAR_CYCLE",
    "ArchiveError",
    "ArrayDataset",
    "AudioFormatError",
    "Augmentation",
    "Autoregression",
    "BatchSampler",
    "BpeTokenizer",
    "BucketLoader",
    "ByteTokenizer",
    "CharacterTokenizer",
    "ChecksumError",
    "ClozeModel",
    "Compose",
    "ConcatDataset",
    "Coverage",
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
    "ImageClassFolder",
    "ImageFolder",
    "JamoTokenizer",
    "JsonTokenizer",
    "MaskingLoader",
    "MissingPackageError",
    "NgramModel",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomSampler",
    "RandomShift",
    "RandomStream",
    "RandomVerticalFlip",
    "Recording",
    "Sampler",
    "Scale",
    "SequenceDataset",
    "SequentialSampler",
    "SoundClassFolder",
    "SourceFile",
    "StreamLoader",
    "Subset",
    "SubsetRandomSampler",
    "Table",
    "TableSplit",
    "TensorDataset",
    "TokenError",
    "TokenWindows",
    "Tokenizer",
    "WeightedRandomSampler",
    "corpus",
    "default_collate",
    "digits",
    "download",
    "fashion_mnist",
    "framed_windows",
    "gaussian_ring",
    "judging_windows",
    "library_packages",
    "load_csv",
    "log_mel",
    "mask_tokens",
    "mel_filters",
    "mnist",
    "mode_coverage",
    "ngram_name",
    "pad",
    "python_topics",
    "random_split",
    "read_idx",
    "read_image",
    "read_spectrogram",
    "read_text",
    "read_wav",
    "ring_means",
    "seasonal_naive",
    "snippets",
    "split_by_file",
    "split_syllables",
    "spoken_digit_recordings",
    "spoken_digits",
    "standard_library",
    "stratified_split",
    "sunspots",
    "syllables_and_jamo",
    "tiny_shakespeare",
    "tokenizer_from",
    "unpack",
    "windows",
    "without_package_names",
]

for _name in __all__:
    _value = globals()[_name]
    if not isinstance(_value, type):
        globals()[_name] = BOUNDARY.function(_value)
    elif not issubclass(_value, DataError):
        BOUNDARY.constructor(_value)
        for _method in ("encode", "decode", "__getitem__", "__call__"):
            if _method in vars(_value):
                setattr(_value, _method, BOUNDARY.function(vars(_value)[_method]))
