"""Handwritten digits that come with scikit-learn: 1,797 images of 8 x 8 pixels, nothing to download."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nbdl.data.dataset import ArrayDataset, stratified_split
from nbdl.data.errors import MissingPackageError

TEST_FRACTION = 0.2
SPLIT_SEED = 0
BRIGHTEST = 16.0  # a pixel counts the dark dots of a 4 x 4 block of the scanned digit


def digits(flatten: bool = True) -> tuple[ArrayDataset, ArrayDataset]:
    """The digits, split once and for all into 1,437 to train on and 360 to test.

    The split is stratified (every digit has its share in both parts) and fixed, so that accuracies of different runs,
    machines and years can be compared. It reads the file that scikit-learn ships without importing scikit-learn,
    which would take longer than training on it.

    Args:
        flatten: Images as rows [N, 64]; otherwise as pictures with one channel, [N, 1, 8, 8].

    Returns:
        The training and the test set: float32 images with pixels from 0 (paper) to 1 (ink), int64 labels [N], 0 to 9.

    Raises:
        MissingPackageError: scikit-learn is not installed.

    Example:
        >>> train, test = digits()
        >>> train
        ArrayDataset(float32[1437, 64], int64[1437])

    Source:
        Alpaydin and Kaynak (1998), "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository.
    """
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise MissingPackageError("digits", "scikit-learn (pip install 'nbdl[examples]')", "no such package")
    path = Path(package.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    with gzip.open(path, "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].astype(np.float32) / np.float32(BRIGHTEST), table[:, -1].astype(np.int64)
    if not flatten:
        images = images.reshape(-1, 1, 8, 8)
    train, test = stratified_split(labels, TEST_FRACTION, SPLIT_SEED)
    return ArrayDataset(images[train], labels[train]), ArrayDataset(images[test], labels[test])
