"""The Transformer: its layers, and stacks of them."""

from nbdl.nn.transformer.layers import TransformerDecoderLayer, TransformerEncoderLayer
from nbdl.nn.transformer.stacks import Transformer, TransformerDecoder, TransformerEncoder

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]
