"""Sorting, and what follows from an order: choosing, grouping, counting and searching."""

from nbdl.ops.ordering.counting import bincount, bucketize, histc, isin, searchsorted, unique, unique_consecutive
from nbdl.ops.ordering.quantiles import nanmedian, nanquantile, quantile
from nbdl.ops.ordering.sorting import argsort, kthvalue, median, msort, sort, topk

__all__ = [
    "argsort",
    "bincount",
    "bucketize",
    "histc",
    "isin",
    "kthvalue",
    "median",
    "msort",
    "nanmedian",
    "nanquantile",
    "quantile",
    "searchsorted",
    "sort",
    "topk",
    "unique",
    "unique_consecutive",
]
