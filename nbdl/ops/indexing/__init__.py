"""Indexing: elements chosen by number, read and written, and the scatter gradients of reading.

`rows` holds the kernels for whole rows, `subscript` is x[index], `elements` picks and scatters element by element
along a dimension, `reductions` scatters with a reduction, `selection` works on slices and masks, `writing` on copies.
"""

from nbdl.ops.indexing.elements import gather, scatter, scatter_add, take_along_dim
from nbdl.ops.indexing.reductions import scatter_reduce
from nbdl.ops.indexing.selection import (
    argwhere,
    index_add,
    index_copy,
    index_fill,
    index_select,
    masked_scatter,
    masked_select,
    narrow,
    nonzero,
    one_hot,
    select,
    take,
)
from nbdl.ops.indexing.subscript import getitem, setitem  # noqa: F401 (bound as an operator)
from nbdl.ops.indexing.writing import (
    diagonal_scatter,
    index_put,
    put,
    select_scatter,
    slice_scatter,
)
from nbdl.ops.indexing.writing import (
    fill_diagonal_ as fill_diagonal_,  # for the table of methods
)

__all__ = [
    "argwhere",
    "diagonal_scatter",
    "gather",
    "getitem",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "masked_scatter",
    "masked_select",
    "narrow",
    "nonzero",
    "one_hot",
    "put",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "select",
    "select_scatter",
    "slice_scatter",
    "take",
    "take_along_dim",
]
