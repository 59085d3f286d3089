"""One token after the other: the blocks of a GPT as they run while a text is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nbdl import nn, ops
from nbdl.autograd import Tensor, no_grad, wrap
from nbdl.ops.creation import zeros
from nbdl.ops.decoding import DecoderBlock
from nbdl.runtime import arrays

if TYPE_CHECKING:
    from nbdl.models.gpt.model import GPT


class TokenDecoder:
    """Reads one token a text, with caches that hold what came before; no gradients, dropout off.

    It gives what `GPT.features` gives, and is made anew when the weights have changed.

    Args:
        model: The model.
        caches: What its layers remember.
    """

    def __init__(self, model: GPT, caches: Sequence[nn.KVCache]) -> None:
        self.model, self.caches = model, caches
        self.blocks = [_parameters_of(block) for block in model.blocks]
        keys = caches[0].keys
        self.workspace = self.blocks[0].workspace(keys.shape[0], caches[0].length)
        self.rotation = _rotation(model, caches[0].length)

    def pays(self) -> bool:
        """Whether this is faster than the model's own way."""
        return self.blocks[0].pays(self.caches[0].keys.shape[0])

    def features(self, tokens: Tensor) -> Tensor:
        """What the blocks make of the next token of each text: [B] -> [B, C], normed. The caches grow by it."""
        model, position = self.model, self.caches[0].position
        with no_grad():
            x = ops.embedding(tokens, model.token_embedding.weight)
            if model.position_embedding is not None:
                x = x + model.position_embedding.weight[position]
            row = x._array
            for block, cache in zip(self.blocks, self.caches, strict=True):
                block(row, cache.keys._array, cache.values._array, position, self.rotation, self.workspace, row)
                cache.position = position + 1
            return model.norm(x)


def _rotation(model: GPT, length: int) -> Any:
    """Cosines and sines of the angles of each position, [length, D]: what becomes of ones beside zeros."""
    if model.config.positions != "rotary":
        return None
    weight, features = model.token_embedding.weight, model.config.head_width
    one = zeros(length, features, dtype=weight.dtype, device=weight.device)
    one[:, : features // 2] = 1.0
    return ops.rotary_embedding(one, 0, base=model.config.rotary_base)._array


def _parameters_of(block: Any) -> DecoderBlock:
    """The block's parameters as arrays."""
    attention, feed_forward = block.attention, block.feed_forward

    def norm(module: Any) -> tuple[Any, Any]:
        return module.weight._array, _or_zeros(getattr(module, "bias", None), module.weight, module.weight.shape[0])

    def linear(module: Any) -> tuple[Any, Any]:
        return arrays.contiguous(module.weight._array), _or_zeros(module.bias, module.weight, module.weight.shape[0])

    def joined(first: Any, second: Any) -> Any:
        return ops.cat([wrap(first), wrap(second)])._array

    qkv, qkv_bias = linear(attention.qkv)
    projection, projection_bias = linear(attention.projection)
    expand, expand_bias = linear(feed_forward.expand)
    if feed_forward.gate is not None:
        gate, gate_bias = linear(feed_forward.gate)
        expand, expand_bias = joined(gate, expand), joined(gate_bias, expand_bias)
    contract, contract_bias = linear(feed_forward.contract)
    config = attention.config
    return DecoderBlock(
        norm(block.attention_norm), qkv, qkv_bias, projection, projection_bias,
        norm(block.feed_forward_norm), expand, expand_bias, contract, contract_bias,
        rms=config.norm == "rms_norm", gated=feed_forward.gate is not None, eps=config.eps,
    )  # fmt: skip


def _or_zeros(bias: Any, like: Tensor, size: int) -> Any:
    """The bias's array, or zeros where there is none."""
    return zeros(size, dtype=like.dtype, device=like.device)._array if bias is None else bias._array
