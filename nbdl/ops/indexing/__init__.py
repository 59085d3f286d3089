"""Indexing: elements chosen by number, read and written, and the scatter gradients of reading.

`rows` holds the kernels for whole rows, `subscript` is x[index].
"""

from nbdl.ops.indexing.subscript import getitem, setitem

__all__ = ["getitem", "setitem"]
