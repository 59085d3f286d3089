"""The Transformer that turns one sequence of tokens into another: an encoder reads, a decoder writes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl import nn, ops
from nbdl.autograd import Tensor, no_grad
from nbdl.models.description import count_parameters
from nbdl.runtime.checks import check_choice, check_int, check_integer, check_number, check_rank

POSITIONS: dict[str, Any] = {"sinusoidal": nn.SinusoidalPositions, "learned": nn.LearnedPositions}


class Seq2SeqTransformer(nn.Module):
    r"""Turns a sequence into another one, token by token.

    $$m = \text{encoder}(\sqrt{E}\, e_s + p), \qquad
      p(y_{t+1}) = \text{softmax}\big(W\, \text{decoder}(\sqrt{E}\, e_{y_{\le t}} + p,\, m) + b\big)$$

    The decoder sees the whole source, and of the target what comes before the token it is to name. Embeddings begin
    normally distributed with variance 1 / E.

    Args:
        source_vocabulary: Number of tokens of the source.
        target_vocabulary: Number of tokens of the target.
        d_model: Size of a token's vector, E.
        heads: Heads of every attention.
        layers: Layers of the encoder, and of the decoder.
        feed_forward: Features between the linear maps of a layer; four times d_model when None.
        dropout: Share of what a sublayer adds that is zeroed in training, and of attention weights; in [0, 1).
        max_length: Longest source or target, in tokens.
        positions: "sinusoidal" or "learned".
        activation: "relu" or "gelu", between the linear maps of a layer.
        norm_first: Whether norms stand before the sublayers.
        tied: Score tokens with the vectors of the target's embedding instead of weights of their own.
        padding: The token of the source that fills up shorter sequences and is not looked at; None for no such token.

    Attributes:
        source_embedding, target_embedding: The vectors of the tokens.
        transformer: Encoder and decoder.
        output: The linear map to the scores.

    Raises:
        ArgumentError: A size or share out of range, or an unknown choice.

    Example:
        >>> model = Seq2SeqTransformer(source_vocabulary=10, target_vocabulary=7, d_model=8, heads=2, layers=1)
        >>> source, target = nbdl.tensor([[1, 2, 3]]), nbdl.tensor([[1, 4]])
        >>> model(source, target).shape
        (1, 2, 7)

    Source:
        Vaswani et al. (2017), "Attention Is All You Need".
    """

    def __init__(
        self,
        source_vocabulary: int,
        target_vocabulary: int,
        d_model: int = 64,
        heads: int = 4,
        layers: int = 2,
        feed_forward: int | None = None,
        dropout: float = 0.0,
        max_length: int = 256,
        positions: str = "sinusoidal",
        activation: str = "relu",
        norm_first: bool = False,
        tied: bool = False,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        check_int("source_vocabulary", source_vocabulary, 1)
        check_int("target_vocabulary", target_vocabulary, 1)
        check_int("d_model", d_model, 1)
        check_number("dropout", dropout, 0, 1, open_high=True)
        check_choice("positions", positions, POSITIONS)
        check_choice("activation", activation, ("relu", "gelu"))
        self.padding = None if padding is None else check_int("padding", padding, 0, source_vocabulary - 1)
        self.max_length = check_int("max_length", max_length, 1)
        self.source_embedding = nn.Embedding(source_vocabulary, d_model)
        self.target_embedding = nn.Embedding(target_vocabulary, d_model)
        self.positions = POSITIONS[positions](d_model, max_length)
        self.dropout = nn.Dropout(dropout)
        wide = 4 * d_model if feed_forward is None else check_int("feed_forward", feed_forward, 1)
        self.transformer = nn.Transformer(
            d_model, heads, layers, layers, wide, dropout, activation, batch_first=True, norm_first=norm_first
        )
        self.output = nn.Linear(d_model, target_vocabulary)
        for embedding in (self.source_embedding, self.target_embedding):
            nn.init.normal_(embedding.weight, std=d_model**-0.5)
        if tied:
            self.output.weight = self.target_embedding.weight
            nn.init.zeros_(self.output.bias)  # type: ignore[arg-type]
        self.d_model, self.layers, self.tied = d_model, layers, tied

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Scores of the next token after each token of the target.

        Args:
            source: Tokens, integers [N, S].
            target: Tokens, integers [N, T]; a beginning, and then what is to be written but for its last token.

        Returns:
            [N, T, target_vocabulary].

        Raises:
            ShapeError: A sequence is longer than max_length, or has another rank.
            IndexRangeError: A token is outside its vocabulary.
        """
        memory, hidden = self.encode(source)
        x = self._embedded("target", target, self.target_embedding, 0)
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1], x.device, np.bool_)
        decoded = self.transformer.decoder(x, memory, tgt_mask=mask, tgt_is_causal=True, memory_key_padding_mask=hidden)
        return self.output(decoded)

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor | None]:
        """The encoder's result of the source [N, S]: the memory [N, S, E], and where it is padding, [N, S] or None."""
        hidden = None if self.padding is None else source == self.padding
        x = self._embedded("source", source, self.source_embedding, 0)
        return self.transformer.encoder(x, src_key_padding_mask=hidden), hidden

    def _embedded(self, name: str, tokens: Tensor, embedding: nn.Embedding, start: int) -> Tensor:
        check_rank(name, check_integer(name, tokens), 2)
        return self.dropout(self.positions(embedding(tokens) * math.sqrt(self.d_model), start))

    def write(self, source: Tensor, begin: int, end: int, length: int | None = None) -> np.ndarray:
        """Writes the target of each source, always taking the likeliest token.

        The source is encoded once, and every token read once: keys and values of what came before are kept.

        Args:
            source: Tokens, integers [N, S].
            begin: The token that every target begins with; it is not part of the result.
            end: The token that ends a target.
            length: Tokens to write at most; as many as fit, max_length, when None.

        Returns:
            int64 [N, T], T at most length: the targets, each followed by its end, and by nothing but ends after it.

        Raises:
            ArgumentError: begin or end is outside the vocabulary, or length outside 1 to max_length.
            ShapeError, IndexRangeError: As for `forward`.

        Example:
            >>> model = Seq2SeqTransformer(source_vocabulary=10, target_vocabulary=7, d_model=8, heads=2, layers=1)
            >>> model.write(nbdl.tensor([[1, 2, 3], [4, 5, 6]]), begin=1, end=2, length=5).shape[0]
            2
        """
        last = self.target_embedding.num_embeddings - 1
        check_int("begin", begin, 0, last)
        check_int("end", end, 0, last)
        length = self.max_length if length is None else check_int("length", length, 1, self.max_length)
        was_training = self.training
        self.eval()
        try:
            with no_grad():
                return self._written(source, begin, end, length)
        finally:
            self.train(was_training)

    def _written(self, source: Tensor, begin: int, end: int, length: int) -> np.ndarray:
        memory, hidden = self.encode(source)
        decoder = self.transformer.decoder
        states = decoder.start(memory, length, hidden)
        tokens = np.full((source.shape[0], 1), begin, np.int64)
        done = np.zeros(len(tokens), bool)
        columns: list[np.ndarray] = []
        while len(columns) < length and not done.all():
            read = Tensor(tokens).to(source.device)
            x = self._embedded("target", read, self.target_embedding, len(columns))
            likeliest = ops.argmax(self.output(decoder.step(x, states)), -1)
            tokens = np.where(done[:, None], end, np.asarray(likeliest.to("cpu")))
            done |= tokens[:, 0] == end
            columns.append(tokens)
        return np.concatenate(columns, 1) if columns else np.empty((len(tokens), 0), np.int64)

    def __repr__(self) -> str:
        source, target = self.source_embedding.num_embeddings, self.target_embedding.num_embeddings
        heads = self.transformer.nhead
        sizes = f"{source} to {target} tokens, {self.layers} + {self.layers} layers of {self.d_model}, {heads} heads"
        return f"Seq2SeqTransformer({sizes}, {count_parameters(self)})"
