"""Joining samples into a batch."""

import sys
from typing import Any

import numpy as np

from nbdl.data.errors import DataArgumentError

_NUMBERS = np.ndarray | np.generic | int | float
_FAMILIES = (dict, tuple | list, str | bytes, _NUMBERS)
"""Kinds of samples; those of one batch are all of one."""


def default_collate(samples: list[Any]) -> Any:
    """Joins samples into one batch along a new first dimension.

    Arrays and numbers become one NumPy array; tuples, lists and dicts are joined field by field; texts stay a list.
    Tensors become a tensor of their own kind: they are handed to the `stack` function of the package that defines
    them, so that this floor need not import any.

    Args:
        samples: At least one, all of one kind: arrays or numbers, tuples, lists, dicts, texts, or tensors.

    Returns:
        The batch, of the kind of the samples.

    Raises:
        DataArgumentError: The samples are of several kinds or shapes, or one lacks a field of the first.

    Example:
        >>> default_collate([(np.zeros(2), 7), (np.ones(2), 8)])
        (array([[0., 0.],
               [1., 1.]]), array([7, 8]))
    """
    first = samples[0]
    family = next((kind for kind in _FAMILIES if isinstance(first, kind)), type(first))
    other = next((sample for sample in samples if not isinstance(sample, family)), first)
    if other is not first:
        raise DataArgumentError("samples", "one kind", f"{type(first).__name__} and {type(other).__name__}")
    if isinstance(first, dict):
        for key in first:
            if not all(key in sample for sample in samples):
                raise DataArgumentError("samples", f"the key {key!r} in every sample", "one without it")
        return {key: default_collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, tuple | list):
        if any(len(sample) != len(first) for sample in samples):
            raise DataArgumentError("samples", f"{len(first)} fields in every sample", "samples of different lengths")
        fields = [default_collate(list(column)) for column in zip(*samples, strict=True)]
        return type(first)(*fields) if hasattr(first, "_fields") else tuple(fields)  # a named tuple keeps its names
    if isinstance(first, str | bytes):
        return samples
    if isinstance(first, _NUMBERS):
        shapes = {np.shape(sample) for sample in samples}
        if len(shapes) > 1:
            both = " and ".join(str(list(shape)) for shape in sorted(shapes)[:2])
            raise DataArgumentError("samples", "one shape, or a collate_fn that pads", both)
        return np.stack(samples) if isinstance(first, np.ndarray) else np.asarray(samples)
    package = sys.modules[type(first).__module__.partition(".")[0]]
    if hasattr(package, "stack"):
        return package.stack(samples)
    raise DataArgumentError("samples", "arrays, numbers, texts, tensors, tuples, lists or dicts", type(first).__name__)
