"""Functions on the parameters of modules: clipping of gradients, and all parameters as one vector."""

from nbdl.nn.utils.vector import parameters_to_vector, vector_to_parameters
from nbdl.optim.clipping import clip_grad_norm_, clip_grad_value_

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"]
