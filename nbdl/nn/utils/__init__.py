"""Functions on the parameters of modules: clipping, normalization, all parameters as one vector. `rnn`: sequences."""

from nbdl.nn.utils import rnn
from nbdl.nn.utils.spectral_norm import remove_spectral_norm, spectral_norm
from nbdl.nn.utils.vector import parameters_to_vector, vector_to_parameters
from nbdl.nn.utils.weight_norm import remove_weight_norm, weight_norm
from nbdl.optim.clipping import clip_grad_norm_, clip_grad_value_
from nbdl.runtime.boundary import named_errors

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameters_to_vector",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]

for _name in __all__:
    globals()[_name] = named_errors(globals()[_name])
for _name in (
    *("invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence", "pad_sequence"),
    *("unpack_sequence", "unpad_sequence"),
):
    setattr(rnn, _name, named_errors(getattr(rnn, _name)))
