"""Creation: tensors from data, of one value, along a line, random ones, and parts of matrices."""

from typing import Any

from nbdl.ops.creation.data import as_tensor, from_dlpack, from_numpy, tensor
from nbdl.ops.creation.lines import arange, linspace, logspace
from nbdl.ops.creation.matrices import eye, meshgrid, tril, tril_indices, triu, triu_indices
from nbdl.ops.creation.random import (
    bernoulli,
    bernoulli_,
    exponential_,
    get_rng_state,
    initial_seed,
    manual_seed,
    multinomial,
    normal,
    normal_,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    random_,
    randperm,
    set_rng_state,
    uniform_,
)
from nbdl.ops.creation.values import (
    empty,
    empty_like,
    full,
    full_like,
    new_empty,
    new_full,
    new_ones,
    new_tensor,
    new_zeros,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from nbdl.runtime.devices import device
from nbdl.runtime.dtypes import can_cast, get_default_dtype, promote_types, set_default_dtype
from nbdl.runtime.philox import Generator

__all__ = [
    "Generator",
    "arange",
    "as_tensor",
    "bernoulli",
    "can_cast",
    "device",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "get_default_dtype",
    "get_rng_state",
    "initial_seed",
    "linspace",
    "logspace",
    "manual_seed",
    "meshgrid",
    "multinomial",
    "normal",
    "ones",
    "ones_like",
    "promote_types",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "set_default_dtype",
    "set_rng_state",
    "tensor",
    "tril",
    "tril_indices",
    "triu",
    "triu_indices",
    "zeros",
    "zeros_like",
]

METHODS: dict[str, Any] = {
    "bernoulli": bernoulli,
    "bernoulli_": bernoulli_,
    "exponential_": exponential_,
    "multinomial": multinomial,
    "new_empty": new_empty,
    "new_full": new_full,
    "new_ones": new_ones,
    "new_tensor": new_tensor,
    "new_zeros": new_zeros,
    "normal_": normal_,
    "random_": random_,
    "tril": tril,
    "triu": triu,
    "uniform_": uniform_,
}
"""Functions that are methods of a tensor."""
