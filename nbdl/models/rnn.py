"""Recurrent networks: a language model that goes on with a text, a classifier of sequences, and a forecaster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nbdl import nn
from nbdl.autograd import Tensor, no_grad
from nbdl.models.description import count_parameters
from nbdl.models.sampling import Sampling
from nbdl.runtime.checks import check_choice, check_int, check_number
from nbdl.runtime.errors import ArgumentError, ShapeError
from nbdl.runtime.philox import Generator

CELLS: dict[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def _cells(kind: str, inputs: int, hidden: int, layers: int, dropout: float, bidirectional: bool = False) -> Any:
    """Recurrent layers that take [N, T, inputs]."""
    check_choice("kind", kind, CELLS)
    check_int("hidden_size", hidden, 1)
    check_int("layers", layers, 1)
    check_number("dropout", dropout, 0, 1, open_high=True)
    between = dropout if layers > 1 else 0.0
    return CELLS[kind](inputs, hidden, layers, batch_first=True, dropout=between, bidirectional=bidirectional)


class RecurrentLanguageModel(nn.Module):
    r"""Predicts the next token of a text from all before it.

    $h_t, s_t = \text{cells}(E_{x_t}, s_{t-1}), \quad p(x_{t+1}) = \text{softmax}(W h_t + b)$

    Args:
        vocabulary: Number of tokens.
        embedding_dim: Size of a token's vector, E.
        hidden_size: Size of the memory.
        layers: Recurrent layers, one on top of the other.
        kind: "lstm", "gru" or "rnn".
        dropout: Share of the cells' outputs zeroed in training, in [0, 1).

    Raises:
        ArgumentError: A size under 1, an unknown kind, or a dropout out of range.

    Example:
        >>> model = RecurrentLanguageModel(vocabulary=10, embedding_dim=8, hidden_size=16)
        >>> scores, state = model(nbdl.tensor([[1, 2, 3]]))
        >>> scores.shape
        (1, 3, 10)
        >>> scores, state = model(nbdl.tensor([[4]]), state)  # goes on where the first call ended

    Source:
        Mikolov et al. (2010), "Recurrent neural network based language model".
    """

    def __init__(
        self,
        vocabulary: int,
        embedding_dim: int = 64,
        hidden_size: int = 256,
        layers: int = 1,
        kind: str = "lstm",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.vocabulary = check_int("vocabulary", vocabulary, 1)
        self.kind = kind
        self.embedding = nn.Embedding(vocabulary, check_int("embedding_dim", embedding_dim, 1))
        self.cells = _cells(kind, embedding_dim, hidden_size, layers, dropout)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, vocabulary)

    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Scores of the next token [N, T, vocabulary] after each of the tokens [N, T], and the state after the last."""
        remembered, state = self.cells(self.embedding(tokens), state)
        return self.output(self.dropout(remembered)), state

    def __repr__(self) -> str:
        cells = self.cells
        sizes = f"{self.vocabulary}-{self.embedding.embedding_dim}-{cells.num_layers} x {cells.hidden_size}"
        return f"RecurrentLanguageModel({self.kind}, {sizes}, {count_parameters(self)})"


def generate(
    model: RecurrentLanguageModel,
    prompt: Any,
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    top_p: float | None = None,
) -> Iterator[int]:
    r"""Goes on with a text: draws a token from the model's probabilities, reads it, draws the next.

    $p_i \propto e^{z_i / \tau}$

    Args:
        model: A trained model.
        prompt: The tokens so far, whole numbers [T], T at least 1.
        length: Tokens to draw.
        temperature: $\tau$: under 1 prefers what is likely, 0 always takes the likeliest.
        top_k: Draw among so many of the likeliest tokens only; among all when None.
        seed: Chooses the draws.
        top_p: Draw among the fewest likeliest tokens whose chances reach this together; among all when None.

    Yields:
        One token after the other.

    Raises:
        ArgumentError: An empty prompt, or a number out of range.

    Example:
        >>> model = RecurrentLanguageModel(vocabulary=10)
        >>> len(list(generate(model, [1, 2, 3], length=5)))
        5
    """
    tokens = np.asarray(prompt)
    if tokens.ndim != 1 or len(tokens) == 0:
        raise ArgumentError(f"prompt: expected at least one token, got shape {list(tokens.shape)}")
    check_int("length", length, 0)
    sampling = Sampling(temperature, top_k, top_p)
    return _drawn(model, tokens.astype(np.int64)[None], length, sampling, Generator(seed))


def _drawn(
    model: RecurrentLanguageModel, tokens: np.ndarray, length: int, sampling: Sampling, generator: Generator
) -> Iterator[int]:
    was_training = model.training
    model.eval()
    state = None
    try:
        for _ in range(length):
            with no_grad():
                scores, state = model(Tensor(tokens).to(model.embedding.weight.device), state)
                tokens = sampling.choose(scores[:, -1], generator)[:, None]
            yield int(tokens[0, 0])
    finally:
        model.train(was_training)


class RecurrentClassifier(nn.Module):
    r"""Tells the class of a sequence: recurrent layers read it in both directions, and the mean of what they say at
    its steps goes to a linear layer.

    Args:
        inputs: Numbers a step.
        hidden_size: Size of the memory of each direction.
        classes: Number of classes.
        layers: Recurrent layers, one on top of the other.
        kind: "gru", "lstm" or "rnn".
        dropout: Share of the linear layer's inputs (and of what goes between layers) zeroed in training, in [0, 1).

    Raises:
        ArgumentError: A size under 1, an unknown kind, or a dropout out of range.

    Example:
        >>> model = RecurrentClassifier(inputs=4, hidden_size=8, classes=3)
        >>> model(nbdl.zeros(2, 7, 4), nbdl.tensor([7, 5])).shape
        (2, 3)
    """

    def __init__(
        self,
        inputs: int,
        hidden_size: int,
        classes: int,
        layers: int = 1,
        kind: str = "gru",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.cells = _cells(kind, check_int("inputs", inputs, 1), hidden_size, layers, dropout, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * hidden_size, check_int("classes", classes, 1))

    def forward(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """Scores [N, classes] of sequences [N, T, inputs], of which only so many steps are read."""
        if sequences.ndim != 3:
            raise ShapeError(f"sequences: expected [N, T, inputs], got {list(sequences.shape)}")
        packed = nn.utils.rnn.pack_padded_sequence(sequences, lengths, batch_first=True, enforce_sorted=False)
        said, _ = nn.utils.rnn.pad_packed_sequence(self.cells(packed)[0], batch_first=True)
        mean = said.sum(1) / lengths.to(said.dtype).unsqueeze(1)  # padding says 0
        return self.output(self.dropout(mean))

    def __repr__(self) -> str:
        cells = self.cells
        sizes = f"{cells.input_size}-{cells.num_layers} x 2 x {cells.hidden_size}-{self.output.out_features}"
        return f"RecurrentClassifier({self.kind}, {sizes}, {count_parameters(self)})"


class RecurrentForecaster(nn.Module):
    """Forecasts several steps of a series at once, from the memory of what came before.

    It may be given the forecast of a linear model, and then learns to correct it. A network that has seen little tends
    to fail on values larger than any it has seen; what is linear goes on beyond them.

    Args:
        future: Steps to forecast.
        corrects: Begin with corrections of 0, for use with the forecasts of another model.
        hidden_size: Size of the memory.
        layers: Recurrent layers, one on top of the other.
        kind: "lstm", "gru" or "rnn".
        dropout: Share of the memory zeroed in training, in [0, 1).

    Raises:
        ArgumentError: A size under 1, an unknown kind, or a dropout out of range.

    Example:
        >>> RecurrentForecaster(future=3)(nbdl.zeros(5, 20)).shape
        (5, 3)

    Source:
        Lai, Chang, Yang and Liu (2018), "Modeling Long- and Short-Term Temporal Patterns with Deep Neural Networks",
        section 3.6, for the linear part beside the network.
    """

    def __init__(
        self,
        future: int,
        hidden_size: int = 16,
        layers: int = 1,
        kind: str = "lstm",
        dropout: float = 0.0,
        corrects: bool = False,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.cells = _cells(kind, 1, hidden_size, layers, dropout)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, check_int("future", future, 1))
        if corrects:
            for parameter in self.output.parameters():
                nn.init.zeros_(parameter)

    def forward(self, past: Tensor, forecast: Tensor | None = None) -> Tensor:
        """The values [N, future] after the past [N, T], corrections to `forecast` where there is one."""
        remembered, _ = self.cells(past.unsqueeze(2))
        said = self.output(self.dropout(remembered[:, -1]))
        return said if forecast is None else forecast + said

    def __repr__(self) -> str:
        cells = self.cells
        sizes = f"1-{cells.num_layers} x {cells.hidden_size}-{self.output.out_features}"
        return f"RecurrentForecaster({self.kind}, {sizes}, {count_parameters(self)})"
