"""Sorting, and what follows from an order: choosing, grouping, counting and searching."""

from nbdl.ops.ordering.counting import bincount, bucketize, histc, searchsorted, unique
from nbdl.ops.ordering.sorting import argsort, kthvalue, median, sort, topk

__all__ = [
    "argsort",
    "bincount",
    "bucketize",
    "histc",
    "kthvalue",
    "median",
    "searchsorted",
    "sort",
    "topk",
    "unique",
]
