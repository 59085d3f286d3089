"""Functions on the parameters of modules: clipping of gradients, all parameters as one vector. `rnn`: sequences."""

from nbdl.nn.utils import rnn
from nbdl.nn.utils.vector import parameters_to_vector, vector_to_parameters
from nbdl.optim.clipping import clip_grad_norm_, clip_grad_value_

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "rnn", "vector_to_parameters"]
