"""Weights of other libraries: published checkpoints in, nbdl's models out, and back.

A state dict of PyTorch needs none of this: names, shapes and layouts of `nbdl.nn` are PyTorch's, and
`load_state_dict` takes its tensors, or NumPy arrays, as they are.
"""

from nbdl.interop.huggingface import Pretrained, from_huggingface, to_huggingface
from nbdl.runtime.boundary import named_errors

__all__ = ["Pretrained", "from_huggingface", "to_huggingface"]

from_huggingface, to_huggingface = named_errors(from_huggingface), named_errors(to_huggingface)
