"""Stacks of the Transformer's layers: an encoder that reads, a decoder that writes, and both together."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn import init
from nbdl.nn.containers import ModuleList
from nbdl.nn.module import Module
from nbdl.nn.normalization import LayerNorm
from nbdl.nn.transformer.layers import (
    Activation,
    TransformerDecoderLayer,
    TransformerDecoderLayerState,
    TransformerEncoderLayer,
    hides_what_follows,
    square_subsequent_mask,
)
from nbdl.runtime.checks import check_int
from nbdl.runtime.errors import ShapeError


class TransformerEncoder(Module):
    """Layers of an encoder, one on top of the other.

    Args:
        encoder_layer: The layer to copy, a `TransformerEncoderLayer` or one that is called alike. All copies begin with
            its parameters.
        num_layers: Number of layers.
        norm: A module for what comes out of the last one, such as `LayerNorm`.
        enable_nested_tensor: Accepted and without effect: padding is masked, never cut away.
        mask_check: Accepted and without effect.

    Attributes:
        layers: The copies.

    Raises:
        ArgumentError: num_layers is not positive.

    Example:
        >>> layer = nbdl.nn.TransformerEncoderLayer(8, nhead=2)
        >>> nbdl.nn.TransformerEncoder(layer, num_layers=2)(nbdl.randn(5, 3, 8)).shape
        (5, 3, 8)
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """The sequence after all layers, shaped as it came. Arguments as for `TransformerEncoderLayer`."""
        is_causal = hides_what_follows(mask, is_causal)
        x = src
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=is_causal, src_key_padding_mask=src_key_padding_mask)
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """Layers of a decoder, one on top of the other.

    Args:
        decoder_layer: The layer to copy, a `TransformerDecoderLayer` or one that is called alike. All copies begin with
            its parameters.
        num_layers: Number of layers.
        norm: A module for what comes out of the last one, such as `LayerNorm`.

    Attributes:
        layers: The copies.

    Raises:
        ArgumentError: num_layers is not positive.

    Example:
        >>> layer = nbdl.nn.TransformerDecoderLayer(8, nhead=2)
        >>> nbdl.nn.TransformerDecoder(layer, num_layers=2)(nbdl.randn(4, 3, 8), nbdl.randn(5, 3, 8)).shape
        (4, 3, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The target after all layers, shaped as it came. Arguments as for `TransformerDecoderLayer`."""
        tgt_is_causal = hides_what_follows(tgt_mask, tgt_is_causal)
        x = tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=tgt_is_causal,
                memory_is_causal=memory_is_causal,
            )
        return x if self.norm is None else self.norm(x)

    def start(
        self, memory: Tensor, length: int, memory_key_padding_mask: Tensor | None = None
    ) -> list[TransformerDecoderLayerState]:
        """What the layers keep while a target grows to `length` positions; see `TransformerDecoderLayer.start`."""
        layers: Any = self.layers
        return [layer.start(memory, length, memory_key_padding_mask) for layer in layers]

    def step(self, tgt: Tensor, states: Sequence[TransformerDecoderLayerState]) -> Tensor:
        """The next position of the target after all layers; see `TransformerDecoderLayer.step`."""
        x = tgt
        layers: Any = self.layers
        for layer, state in zip(layers, states, strict=True):
            x = layer.step(x, state)
        return x if self.norm is None else self.norm(x)


def _copies(layer: Module, count: int) -> ModuleList:
    return ModuleList([copy.deepcopy(layer) for _ in range(check_int("num_layers", count, low=1))])


class Transformer(Module):
    r"""An encoder that reads a source and a decoder that goes through a target with the source in view.

    All matrices begin as Xavier's uniform numbers. Embeddings, positions and scores of tokens are not part of it: see
    `nbdl.models.Seq2SeqTransformer`.

    Args:
        d_model: Features E.
        nhead: Heads of every attention; E must divide by it.
        num_encoder_layers: Layers of the encoder.
        num_decoder_layers: Layers of the decoder.
        dim_feedforward: Features between the two linear maps of a layer.
        dropout: As for `TransformerEncoderLayer`.
        activation: As for `TransformerEncoderLayer`.
        custom_encoder: A module in the encoder's place.
        custom_decoder: A module in the decoder's place.
        layer_norm_eps: Added to the variance in the norms.
        batch_first: Whether the batch is the first dimension of batched inputs.
        norm_first: Whether norms stand before the sublayers.
        bias: Whether linear maps and norms have biases.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        encoder: A `TransformerEncoder` with a last norm.
        decoder: A `TransformerDecoder` with a last norm.

    Raises:
        ArgumentError: As for `TransformerEncoderLayer`, or a number of layers is not positive.

    Example:
        >>> model = nbdl.nn.Transformer(d_model=8, nhead=2, num_encoder_layers=1, num_decoder_layers=1)
        >>> model(nbdl.randn(5, 3, 8), nbdl.randn(4, 3, 8)).shape
        (4, 3, 8)

    Source:
        Vaswani et al. (2017), "Attention Is All You Need".
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = ops.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        shared: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        layer = shared | {
            "dim_feedforward": dim_feedforward,
            "dropout": dropout,
            "activation": activation,
            "layer_norm_eps": layer_norm_eps,
            "batch_first": batch_first,
            "norm_first": norm_first,
        }

        def last_norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, **shared)

        if custom_encoder is None:
            reader = TransformerEncoderLayer(d_model, nhead, **layer)
            custom_encoder = TransformerEncoder(reader, num_encoder_layers, last_norm())
        self.encoder = custom_encoder
        if custom_decoder is None:
            writer = TransformerDecoderLayer(d_model, nhead, **layer)
            custom_decoder = TransformerDecoder(writer, num_decoder_layers, last_norm())
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def _reset_parameters(self) -> None:
        """Draws all matrices anew."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The target after the decoder, shaped as it came.

        Args:
            src: [S, N, E], [N, S, E] with batch_first, or [S, E].
            tgt: [T, N, E], [N, T, E] or [T, E].
            src_mask: [S, S] or [N nhead, S, S].
            tgt_mask: [T, T] or [N nhead, T, T].
            memory_mask: [T, S] or [N nhead, T, S].
            src_key_padding_mask: [N, S], or [S].
            tgt_key_padding_mask: [N, T], or [T].
            memory_key_padding_mask: [N, S], or [S].
            src_is_causal: Says that src_mask is the causal mask; found out when None.
            tgt_is_causal: Says that tgt_mask is the causal mask; found out when None.
            memory_is_causal: Says that memory_mask is the causal mask.

        Raises:
            ShapeError: Source and target differ in their batch, or have other features than d_model.
            DTypeError, ArgumentError: As for `MultiheadAttention`.
        """
        for name, sequence in (("src", src), ("tgt", tgt)):
            if sequence.ndim not in (2, 3) or sequence.shape[-1] != self.d_model:
                expected = f"2 or 3 dimensions, the last of {self.d_model}"
                raise ShapeError(f"{name}: expected {expected}, got shape {list(sequence.shape)}")
        if src.ndim != tgt.ndim:
            raise ShapeError(f"tgt: expected {src.ndim} dimensions, as src, got shape {list(tgt.shape)}")
        batch = 0 if self.batch_first else 1
        if src.ndim == 3 and src.shape[batch] != tgt.shape[batch]:
            raise ShapeError(f"tgt: expected batch size {src.shape[batch]}, as src, got {tgt.shape[batch]}")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The causal mask of a sequence.

        Args:
            sz: Positions T.
            device: Where the mask lives.
            dtype: float32 (the default), float64 or bool.

        Returns:
            [T, T]: minus infinity, or True, above the diagonal; 0, or False, elsewhere.

        Example:
            >>> nbdl.nn.Transformer.generate_square_subsequent_mask(2)
            tensor([[  0., -inf],
                    [  0.,   0.]])
        """
        return square_subsequent_mask(sz, device, dtype)
