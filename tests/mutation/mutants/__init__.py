"""The bugs to plant, by family."""

from __future__ import annotations

from tests.mutation.mutant import Mutant
from tests.mutation.mutants.attention import ATTENTION
from tests.mutation.mutants.bert import BERT
from tests.mutation.mutants.convolution import CONVOLUTION
from tests.mutation.mutants.costs import COSTS
from tests.mutation.mutants.decoding import DECODING
from tests.mutation.mutants.elementwise import ACTIVATIONS, ELEMENTWISE
from tests.mutation.mutants.fused import FUSED
from tests.mutation.mutants.gan import ADVERSARIAL
from tests.mutation.mutants.graphs import GRAPHS
from tests.mutation.mutants.indexing import INDEXING
from tests.mutation.mutants.layers import OTHERS
from tests.mutation.mutants.losses import LOSSES, SOFTMAX
from tests.mutation.mutants.normalization import NORMALIZATION
from tests.mutation.mutants.optimizers import OPTIMIZERS
from tests.mutation.mutants.padding import FOLD, PADDING, TRANSPOSED_CONVOLUTION
from tests.mutation.mutants.pooling import INTERPOLATION, POOLING, SHUFFLES
from tests.mutation.mutants.recurrent import RECURRENT
from tests.mutation.mutants.reductions import REDUCTIONS
from tests.mutation.mutants.runtime import RUNTIME
from tests.mutation.mutants.sequences import SEQUENCES
from tests.mutation.mutants.tiles import TILES
from tests.mutation.mutants.transformer import TRANSFORMER

MUTANTS: tuple[Mutant, ...] = (
    *RUNTIME,
    *ELEMENTWISE,
    *ACTIVATIONS,
    *REDUCTIONS,
    *SOFTMAX,
    *LOSSES,
    *INDEXING,
    *PADDING,
    *FOLD,
    *CONVOLUTION,
    *TILES,
    *TRANSPOSED_CONVOLUTION,
    *POOLING,
    *INTERPOLATION,
    *SHUFFLES,
    *OTHERS,
    *NORMALIZATION,
    *FUSED,
    *RECURRENT,
    *ATTENTION,
    *SEQUENCES,
    *BERT,
    *DECODING,
    *TRANSFORMER,
    *OPTIMIZERS,
    *ADVERSARIAL,
    *COSTS,
    *GRAPHS,
)
