r"""BERT: an encoder that reads a text in both directions, learns by filling in masked words, and is then fine-tuned.

Each token's vector is the sum of three, for the token itself, its place, and the part of the input it stands in. A
stack of post-norm Transformer layers lets every token look at every other:

$$a = \mathrm{norm}_1(x + W_o\,\mathrm{attention}(W_q x, W_k x, W_v x)), \qquad
  y = \mathrm{norm}_2(a + W_2\,\phi(W_1 a + b_1) + b_2)$$

`BERT` is the stack, without an answer to anything. A head on top of it asks a question: `BERTForMaskedLM` which token
stood at a place, `BERTForSequenceClassification` of which class the whole text is. One stack can serve several heads;
that is how what was learned from unlabelled text gets to a task with few labels.

Source: Devlin, Chang, Lee and Toutanova (2019), "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding".
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from nbdl import nn, ops
from nbdl.autograd import Tensor
from nbdl.models.description import count_parameters
from nbdl.nn.parameter import new_parameter
from nbdl.runtime.checks import check_choice, check_int, check_integer, check_number, check_rank, check_shape
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError

Bent = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""A linear map and what bends its results, from input, weight and bias."""


def _linear_tanh(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return ops.tanh(ops.linear(input, weight, bias))


ACTIVATIONS: dict[str, Bent] = {
    "gelu": ops.linear_gelu,
    "gelu_tanh": functools.partial(ops.linear_gelu, approximate="tanh"),
    "relu": ops.linear_relu,
    "silu": ops.linear_silu,
    "tanh": _linear_tanh,
}
"""What may stand after the first of two linear layers, together with that layer."""


@dataclass(frozen=True)
class BERTConfig:
    """Sizes and choices of a BERT; what is not given is that of BERT-base.

    Attributes:
        vocabulary: Number of tokens, V.
        context: The longest text, in tokens.
        width: Features of a token, C.
        layers: Layers, one on top of the other.
        heads: Attention heads; they divide the width.
        hidden: Width between the two linear layers of a layer; 4 C when None.
        activation: What stands between them: "gelu", "gelu_tanh", "relu", "silu" or "tanh".
        dropout: Share of embeddings and of what each layer adds that is zeroed in training, in [0, 1).
        attention_dropout: Share of attention weights zeroed in training, in [0, 1).
        token_types: Number of parts that an input may have.
        eps: Added to the variance in each norm.
        padding: Id of the token that fills up short texts, or None. Its vector begins at 0 and looking it up gives it
            no gradient.
        pooler: Whether there is a layer that makes one vector of a text, for classification.
        initial_deviation: Standard deviation of the weights at the beginning.

    Raises:
        ArgumentError: A size under 1, heads that do not divide, an unknown activation, or a number out of range.

    Example:
        >>> BERTConfig(width=256, heads=4, layers=4).hidden_width
        1024
    """

    vocabulary: int = 30522
    context: int = 512
    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int | None = None
    activation: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    token_types: int = 2
    eps: float = 1e-12
    padding: int | None = 0
    pooler: bool = True
    initial_deviation: float = 0.02

    def __post_init__(self) -> None:
        for name in ("vocabulary", "context", "width", "layers", "heads", "token_types"):
            check_int(name, getattr(self, name), 1)
        if self.width % self.heads:
            raise ArgumentError(f"heads: expected a divisor of width, {self.width}, got {self.heads}")
        if self.hidden is not None:
            check_int("hidden", self.hidden, 1)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_number("dropout", self.dropout, 0, 1, open_high=True)
        check_number("attention_dropout", self.attention_dropout, 0, 1, open_high=True)
        check_number("eps", self.eps, 0)
        if self.padding is not None:
            check_int("padding", self.padding, 0, self.vocabulary - 1)
        check_number("initial_deviation", self.initial_deviation, 0, open_low=True)

    def with_changes(self, **changes: Any) -> Self:
        """This configuration with some fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def hidden_width(self) -> int:
        """Width between the two linear layers."""
        return 4 * self.width if self.hidden is None else self.hidden


class BERTEmbeddings(nn.Module):
    """Vectors of tokens: those of the token, its place and its part added up, and normed. [N, T] to [N, T, C]."""

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocabulary, config.width, padding_idx=config.padding)
        self.positions = nn.Embedding(config.context, config.width)
        self.token_types = nn.Embedding(config.token_types, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        part = self.token_types.weight[0] if token_type_ids is None else self.token_types(token_type_ids)
        place = self.positions.weight[: input_ids.shape[1]]
        return self.dropout(self.norm(self.words(input_ids) + (place + part)))


class BERTLayer(nn.Module):
    """Self-attention, then two linear layers on each token, each added to what came in and normed after that.

    Attributes:
        in_proj: Linear, C to 3 C: the weights of queries, keys and values, one below the other.
        out_proj: Linear, C to C.
        norm1: LayerNorm after attention.
        linear1: Linear, C to the hidden width.
        linear2: Linear, back to C.
        norm2: LayerNorm after them.
    """

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        self.config = config
        self.in_proj = nn.Linear(config.width, 3 * config.width)
        self.out_proj = nn.Linear(config.width, config.width)
        self.norm1 = nn.LayerNorm(config.width, eps=config.eps)
        self.linear1 = nn.Linear(config.width, config.hidden_width)
        self.linear2 = nn.Linear(config.hidden_width, config.width)
        self.norm2 = nn.LayerNorm(config.width, eps=config.eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[N, T, C] to the same; `mask` [N, 1, 1, T] is True at the tokens that may be looked at."""
        x = _added_and_normed(x, self.dropout(self._attend(x, mask)), self.norm1)
        wide = ACTIVATIONS[self.config.activation](x, self.linear1.weight, self.linear1.bias)
        return _added_and_normed(x, self.dropout(self.linear2(wide)), self.norm2)

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, width = x.shape
        heads = self.config.heads
        parts = self.in_proj(x).chunk(3, -1)
        query, key, value = (part.view(batch, length, heads, width // heads).transpose(1, 2) for part in parts)
        dropout = self.config.attention_dropout if self.training else 0.0
        seen = ops.scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout)
        return self.out_proj(seen.transpose(1, 2).reshape(batch, length, width))


def _added_and_normed(x: Tensor, change: Tensor, norm: nn.LayerNorm) -> Tensor:
    """norm(x + change), in one pass."""
    return ops.residual_layer_norm(change, x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)[1]


class BERT(nn.Module):
    """The encoder: from tokens to a vector for each that knows its context.

    Weights begin as in the original: normally distributed, those beyond two deviations drawn again; biases at 0.

    Args:
        config: Sizes and choices.

    Attributes:
        config: As given.
        embeddings: Vectors of tokens, places and parts.
        layers: The layers.
        pooler: Linear, C to C, or None.

    Example:
        >>> model = BERT(BERTConfig(vocabulary=100, context=16, width=32, layers=2, heads=4))
        >>> model
        BERT(100 tokens, context 16, 2 layers of 4 heads, 32 wide, 30,304 parameters)
        >>> model(nbdl.tensor([[2, 7, 9, 0]]), attention_mask=nbdl.tensor([[1, 1, 1, 0]])).shape
        (1, 4, 32)
    """

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        if not isinstance(config, BERTConfig):
            raise ArgumentTypeError(f"config: expected a BERTConfig, got {type(config).__name__}")
        self.config = config
        self.embeddings = BERTEmbeddings(config)
        self.layers = nn.ModuleList(BERTLayer(config) for _ in range(config.layers))
        self.pooler = nn.Linear(config.width, config.width) if config.pooler else None
        self.apply(functools.partial(_initialize, config=config))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """The vectors [N, T, C] of tokens.

        Args:
            input_ids: The tokens, whole numbers [N, T].
            attention_mask: Booleans or whole numbers [N, T]: True or 1 at tokens, False or 0 at what only fills up a
                short text and must not be looked at. Nothing fills up when None.
            token_type_ids: The part of the input that each token stands in, whole numbers [N, T]; part 0 when None.

        Raises:
            ShapeError: The tokens are not [N, T] or more than the context, or another argument differs in shape.
            DTypeError: Tokens or parts are no whole numbers, or the mask is neither boolean nor whole numbers.
            IndexRangeError: A token or a part is out of range.
        """
        check_integer("input_ids", check_rank("input_ids", input_ids, 2))
        if input_ids.shape[1] > self.config.context:
            raise ShapeError(
                f"input_ids: expected at most {self.config.context} places, the context, got {input_ids.shape[1]}"
            )
        if token_type_ids is not None:
            check_integer("token_type_ids", check_shape("token_type_ids", token_type_ids, input_ids.shape))
        mask = None if attention_mask is None else _key_mask(attention_mask, input_ids.shape)
        x = self.embeddings(input_ids, token_type_ids)
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def pool(self, vectors: Tensor) -> Tensor:
        r"""One vector [N, C] for each text, from that of its first token: $\tanh(W h_1 + b)$.

        Raises:
            ArgumentError: The model was made without a pooler.
            ShapeError: The texts have no token.
        """
        if self.pooler is None:
            raise ArgumentError("pooler: expected a model made with pooler=True, got one without")
        if vectors.shape[1] == 0:
            raise ShapeError(f"vectors: expected at least one token, got shape {list(vectors.shape)}")
        return ops.tanh(self.pooler(vectors[:, 0]))

    def __repr__(self) -> str:
        return f"BERT({_sizes(self.config)}, {count_parameters(self)})"


class BERTForMaskedLM(nn.Module):
    r"""Tells which tokens stood at masked places: $z = E\,\mathrm{norm}(\phi(W h + b)) + b_V$.

    E is the encoder's own table of tokens unless `tied` is False.

    Args:
        bert: The encoder.
        tied: Whether the scores come from the encoder's table of tokens; otherwise from a matrix of their own.

    Attributes:
        bert: As given.
        transform: Linear, C to C.
        norm: LayerNorm.
        decoder: Linear without a bias, C to V, or None where tied.
        bias: [V].

    Example:
        >>> encoder = BERT(BERTConfig(vocabulary=100, context=16, width=32, layers=1, heads=4))
        >>> model = BERTForMaskedLM(encoder)
        >>> tokens = nbdl.tensor([[2, 4, 9], [2, 4, 5]])
        >>> model(tokens).shape
        (2, 3, 100)
        >>> model(tokens, places=nbdl.tensor([1, 4])).shape  # the second tokens of both
        (2, 100)
    """

    def __init__(self, bert: BERT, tied: bool = True) -> None:
        super().__init__()
        config = _config_of(bert)
        self.bert = bert
        self.transform = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.decoder = None if tied else nn.Linear(config.width, config.vocabulary, bias=False)
        self.bias = nn.init.zeros_(new_parameter((config.vocabulary,)))
        for layer in (self.transform, self.decoder):
            _initialize(layer, config)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """Scores of all tokens of the vocabulary, [N, T, V].

        Args:
            input_ids: As for `BERT`; so are the next two.
            attention_mask: Where tokens are.
            token_type_ids: Parts of the input.
            places: Whole numbers [K], places in the batch counted row by row (t of text n is n T + t). Scores are
                computed there only, [K, V]: the vocabulary is large, and the masked places are few.

        Raises:
            IndexRangeError: A place is out of range. Others as for `BERT`.
        """
        vectors = self.bert(input_ids, attention_mask, token_type_ids)
        if places is not None:
            vectors = vectors.reshape(-1, vectors.shape[-1]).index_select(0, places)
        weight = self.bert.embeddings.words.weight if self.decoder is None else self.decoder.weight
        bent = ACTIVATIONS[self.bert.config.activation](vectors, self.transform.weight, self.transform.bias)
        return ops.linear(self.norm(bent), weight, self.bias)

    def __repr__(self) -> str:
        tied = "" if self.decoder is None else ", not tied"
        return f"BERTForMaskedLM({_sizes(self.bert.config)}{tied}, {count_parameters(self)})"


class BERTForSequenceClassification(nn.Module):
    r"""Tells the class of a text: $z = W \tanh(W_p h_1 + b_p) + b$.

    Args:
        bert: The encoder, with a pooler; fresh, or trained on masked tokens before.
        classes: Number of classes, K.
        dropout: Share of the pooled vector zeroed in training; the encoder's when None.

    Attributes:
        bert: As given.
        classifier: Linear, C to K.

    Raises:
        ArgumentError: No class, an encoder without a pooler, or a dropout out of range.

    Example:
        >>> encoder = BERT(BERTConfig(vocabulary=100, context=16, width=32, layers=1, heads=4))
        >>> BERTForSequenceClassification(encoder, classes=3)(nbdl.tensor([[2, 4, 9]])).shape
        (1, 3)
    """

    def __init__(self, bert: BERT, classes: int, dropout: float | None = None) -> None:
        super().__init__()
        config = _config_of(bert)
        if not config.pooler:
            raise ArgumentError("bert: expected an encoder made with pooler=True, got one without")
        share = config.dropout if dropout is None else check_number("dropout", dropout, 0, 1, open_high=True)
        self.bert = bert
        self.dropout = nn.Dropout(share)
        self.classifier = nn.Linear(config.width, check_int("classes", classes, 1))
        _initialize(self.classifier, config)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Scores of the classes [N, K]; arguments and errors as for `BERT`."""
        vectors = self.bert(input_ids, attention_mask, token_type_ids)
        return self.classifier(self.dropout(self.bert.pool(vectors)))

    def __repr__(self) -> str:
        classes = self.classifier.out_features
        return f"BERTForSequenceClassification({_sizes(self.bert.config)}, {classes} classes, {count_parameters(self)})"


def _config_of(bert: Any) -> BERTConfig:
    if not isinstance(bert, BERT):
        raise ArgumentTypeError(f"bert: expected a BERT, got {type(bert).__name__}")
    return bert.config


def _initialize(module: Any, config: BERTConfig) -> None:
    """Gives a layer the values that BERT begins with; norms already have theirs."""
    deviation = config.initial_deviation
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.trunc_normal_(module.weight, 0.0, deviation, -2 * deviation, 2 * deviation)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        nn.init.zeros_(module.weight.detach()[module.padding_idx])


def _key_mask(attention_mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """True at the tokens to look at, [N, 1, 1, T], from booleans or whole numbers [N, T]."""
    check_shape("attention_mask", attention_mask, shape)
    if attention_mask.dtype.kind not in "biu":
        raise DTypeError(f"attention_mask: expected booleans or whole numbers, got {attention_mask.dtype}")
    return (attention_mask != 0).reshape(shape[0], 1, 1, shape[1])


def _sizes(config: BERTConfig) -> str:
    return (
        f"{config.vocabulary:,} tokens, context {config.context}, {config.layers} layers of {config.heads} heads, "
        f"{config.width} wide"
    )
