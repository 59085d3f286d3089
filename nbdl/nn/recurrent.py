"""Recurrent layers, over sequences and one step at a time: simple (RNN), long short-term memory (LSTM), gated (GRU)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.nn import init
from nbdl.nn.module import Module
from nbdl.nn.parameter import Parameter, new_parameter
from nbdl.nn.utils.rnn import PackedSequence
from nbdl.runtime.checks import check_choice, check_float, check_int, check_number, check_same_dtype
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError

# ---------------------------------------------------------------- over sequences


class RNNBase(Module):
    """What recurrent layers share: their parameters, and how sequences reach the operation.

    For each layer k, with `_reverse` appended for the second direction: weight_ih_lk, weight_hh_lk, bias_ih_lk,
    bias_hh_lk, and weight_hr_lk with a projection. All begin uniformly distributed in (-1/sqrt(H), 1/sqrt(H)) with
    H = hidden_size.
    """

    _gates: ClassVar[int]
    _states: ClassVar[int] = 1
    _operation: Callable[..., Any]

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.mode = check_choice("mode", mode, ("RNN_TANH", "RNN_RELU", "LSTM", "GRU"))
        self.input_size = check_int("input_size", input_size, low=1)
        self.hidden_size = check_int("hidden_size", hidden_size, low=1)
        self.num_layers = check_int("num_layers", num_layers, low=1)
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(check_number("dropout", dropout, 0, 1))
        self.bidirectional = bidirectional
        self.proj_size = check_int("proj_size", proj_size, low=0)
        if self.proj_size >= self.hidden_size:
            raise ArgumentError(f"proj_size: expected less than hidden_size, {hidden_size}, got {proj_size}")
        if self.dropout and num_layers == 1:
            warnings.warn(
                "dropout: there is none after the last layer, so with num_layers=1 it has no effect", stacklevel=3
            )
        self._names: list[list[str]] = []
        state = self.proj_size or self.hidden_size
        rows = self._gates * self.hidden_size
        for layer in range(num_layers):
            features = state * (1 + bidirectional) if layer else self.input_size
            for suffix in ("", "_reverse")[: 1 + bidirectional]:
                shapes = {"weight_ih": (rows, features), "weight_hh": (rows, state)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}  # type: ignore[dict-item]
                if self.proj_size:
                    shapes["weight_hr"] = (self.proj_size, self.hidden_size)
                names = {f"{name}_l{layer}{suffix}": shape for name, shape in shapes.items()}
                for name, shape in names.items():
                    setattr(self, name, new_parameter(shape, device, dtype))
                self._names.append(list(names))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weights in self.all_weights:
            for weight in weights:
                init.uniform_(weight, -bound, bound)

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._names]

    def flatten_parameters(self) -> None:
        """Does nothing: there is no other order of the parameters in memory that would be faster."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """The results of the last layer for every step, and the final states.

        Args:
            input: [T, N, I], [N, T, I] with batch_first, [T, I] for one sequence, or a PackedSequence.
            hx: The first states [L D, N, H], or [L D, H] for one sequence; zeros when None. Of an LSTM a pair, whose
                first member has P features with a projection.

        Returns:
            The results [T, N, D H] in the input's form, and the states after the last step, shaped as `hx`.
        """
        packed = input if isinstance(input, PackedSequence) else None
        x: Tensor = input if packed is None else packed.data
        weights = [self.__dict__[name] for names in self._names for name in names]
        check_same_dtype("input", check_float("input", x), "the weights", weights[0])
        if packed is None and x.ndim not in (2, 3):
            raise ShapeError(f"input: expected 2 or 3 dimensions, got shape {list(x.shape)}")
        if x.shape[-1] != self.input_size:
            raise ShapeError(f"input: expected {self.input_size} features, got shape {list(x.shape)}")
        alone = packed is None and x.ndim == 2
        if alone:
            x = ops.unsqueeze(x, 0 if self.batch_first else 1)
        states = self._first_states(hx, x, packed, alone)
        y, *last = self._operation(
            x,
            states if self._states == 2 else states[0],
            weights,
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
            self.batch_first,
            None if packed is None else packed.batch_sizes,
        )
        if alone:
            y, last = ops.squeeze(y, 0 if self.batch_first else 1), [ops.squeeze(state, 1) for state in last]
        elif packed is not None:
            y = packed._replace(data=y)
            if packed.unsorted_indices is not None:
                last = [ops.index_select(state, 1, packed.unsorted_indices) for state in last]
        return y, tuple(last) if self._states == 2 else last[0]

    def _first_states(self, hx: Any, x: Tensor, packed: PackedSequence | None, alone: bool) -> list[Tensor]:
        """The states to begin with, in the order of the batch."""
        if hx is None:
            batch = x.shape[0 if self.batch_first else 1] if packed is None else int(packed.batch_sizes[0])
            count = self.num_layers * (1 + self.bidirectional)
            widths = (self.proj_size or self.hidden_size, self.hidden_size)[: self._states]
            return [x.new_zeros((count, batch, width)) for width in widths]
        states = list(hx) if self._states == 2 and isinstance(hx, (tuple, list)) else [hx]
        if len(states) != self._states or not all(isinstance(state, Tensor) for state in states):
            expected = "the two tensors (h, c)" if self._states == 2 else "a tensor"
            raise ArgumentTypeError(f"hx: expected {expected}, got {type(hx).__name__}")
        for state in states:
            if state.ndim != 3 - alone:
                raise ShapeError(
                    f"hx: expected {3 - alone} dimensions for an input of {3 - alone}, got {list(state.shape)}"
                )
        if alone:
            return [ops.unsqueeze(state, 1) for state in states]
        if packed is not None and packed.sorted_indices is not None:
            return [ops.index_select(state, 1, packed.sorted_indices) for state in states]
        return states

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.batch_first is not False:
            text += f", batch_first={self.batch_first}"
        if self.dropout:
            text += f", dropout={self.dropout}"
        if self.bidirectional is not False:
            text += f", bidirectional={self.bidirectional}"
        return text


class RNN(RNNBase):
    r"""Layers of simple recurrent units: $h' = \phi(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})$ in each step.

    Args:
        input_size: Features of an element of a sequence, I.
        hidden_size: Features of the state, H.
        num_layers: Number of layers, L; each reads the results of the one below.
        nonlinearity: "tanh" or "relu".
        bias: Whether there are biases.
        batch_first: Whether the batch is the first dimension of input and result.
        dropout: Probability with which elements between layers are set to 0 in training.
        bidirectional: Whether each layer also runs from the end to the beginning: D is 2, else 1.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight_ih_l0: [H, I], of further layers [H, D H].
        weight_hh_l0: [H, H].
        bias_ih_l0: [H].
        bias_hh_l0: [H].

    Raises:
        ArgumentError: A size is not positive, dropout is no probability, or the nonlinearity is another.

    Example:
        >>> layer = nbdl.nn.RNN(10, 20, num_layers=2)
        >>> y, h = layer(nbdl.randn(5, 3, 10))
        >>> y.shape, h.shape
        ((5, 3, 20), (2, 3, 20))
    """

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        mode = f"RNN_{check_choice('nonlinearity', nonlinearity, ('tanh', 'relu')).upper()}"
        super().__init__(
            mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
        self.nonlinearity = nonlinearity

    def _operation(self, *arguments: Any) -> Any:
        return (ops.rnn_tanh if self.mode == "RNN_TANH" else ops.rnn_relu)(*arguments)


class LSTM(RNNBase):
    r"""Layers of long short-term memory: $c' = f \odot c + i \odot g$ and $h' = o \odot \tanh c'$ in each step.

    Args:
        input_size: Features of an element of a sequence, I.
        hidden_size: Features of the cell state, H.
        num_layers: Number of layers, L; each reads the results of the one below.
        bias: Whether there are biases.
        batch_first: Whether the batch is the first dimension of input and result.
        dropout: Probability with which elements between layers are set to 0 in training.
        bidirectional: Whether each layer also runs from the end to the beginning: D is 2, else 1.
        proj_size: Features P to which the state h is projected; 0 for no projection, where P is H.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight_ih_l0: [4H, I], of further layers [4H, D P]; the rows of the gates i, f, g, o.
        weight_hh_l0: [4H, P].
        bias_ih_l0: [4H].
        bias_hh_l0: [4H].
        weight_hr_l0: [P, H], with a projection.

    Raises:
        ArgumentError: A size is not positive, dropout is no probability, or proj_size is not less than hidden_size.

    Example:
        >>> layer = nbdl.nn.LSTM(10, 20, num_layers=2)
        >>> y, (h, c) = layer(nbdl.randn(5, 3, 10))
        >>> y.shape, h.shape, c.shape
        ((5, 3, 20), (2, 3, 20), (2, 3, 20))
    """

    _gates = 4
    _states = 2
    _operation = staticmethod(ops.lstm)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *("LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional),
            *(proj_size, device, dtype),
        )


class GRU(RNNBase):
    r"""Layers of gated recurrent units: $h' = (1 - z) \odot n + z \odot h$ in each step.

    Args:
        input_size: Features of an element of a sequence, I.
        hidden_size: Features of the state, H.
        num_layers: Number of layers, L; each reads the results of the one below.
        bias: Whether there are biases.
        batch_first: Whether the batch is the first dimension of input and result.
        dropout: Probability with which elements between layers are set to 0 in training.
        bidirectional: Whether each layer also runs from the end to the beginning: D is 2, else 1.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight_ih_l0: [3H, I], of further layers [3H, D H]; the rows of r, z, n.
        weight_hh_l0: [3H, H].
        bias_ih_l0: [3H].
        bias_hh_l0: [3H].

    Raises:
        ArgumentError: A size is not positive, or dropout is no probability.

    Example:
        >>> layer = nbdl.nn.GRU(10, 20, bidirectional=True)
        >>> y, h = layer(nbdl.randn(5, 3, 10))
        >>> y.shape, h.shape
        ((5, 3, 40), (2, 3, 20))
    """

    _gates = 3
    _operation = staticmethod(ops.gru)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *("GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)
        )


# ---------------------------------------------------------------- one step


class RNNCellBase(Module):
    """What cells share: the parameters weight_ih, weight_hh, bias_ih and bias_hh."""

    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size = check_int("input_size", input_size, low=0)
        self.hidden_size = check_int("hidden_size", hidden_size, low=1)
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = new_parameter((rows, input_size), device, dtype)
        self.weight_hh = new_parameter((rows, hidden_size), device, dtype)
        self.register_parameter("bias_ih", new_parameter((rows,), device, dtype) if bias else None)
        self.register_parameter("bias_hh", new_parameter((rows,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew, uniformly distributed in (-1/sqrt(H), 1/sqrt(H)) with H = hidden_size."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, operation: Callable[..., Any], input: Tensor, states: tuple[Tensor | None, ...]) -> list[Tensor]:
        """The next states of a batch, or of one element [I]."""
        if input.ndim not in (1, 2):
            raise ShapeError(f"input: expected 1 or 2 dimensions, got shape {list(input.shape)}")
        x = input if input.ndim == 2 else ops.unsqueeze(input, 0)
        batch = [
            x.new_zeros((x.shape[0], self.hidden_size))
            if state is None
            else (state if state.ndim == 2 else ops.unsqueeze(state, 0))
            for state in states
        ]
        for state in states:
            if state is not None and state.ndim != input.ndim:
                raise ShapeError(f"hx: expected {input.ndim} dimensions, as input, got shape {list(state.shape)}")
        hx = tuple(batch) if len(batch) == 2 else batch[0]
        result = operation(x, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        listed = list(result) if len(batch) == 2 else [result]
        return listed if input.ndim == 2 else [ops.squeeze(state, 0) for state in listed]

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias is True else f", bias={self.bias}")


class RNNCell(RNNCellBase):
    r"""One step of a simple recurrent unit: $h' = \phi(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})$.

    Args:
        input_size: Features of the input, I.
        hidden_size: Features of the state, H.
        bias: Whether there are biases.
        nonlinearity: "tanh" or "relu".
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight_ih: [H, I].
        weight_hh: [H, H].
        bias_ih: [H], or None.
        bias_hh: [H], or None.

    Raises:
        ArgumentError: A size is not positive, or the nonlinearity is another.

    Example:
        >>> cell = nbdl.nn.RNNCell(10, 20)
        >>> cell(nbdl.randn(3, 10)).shape
        (3, 20)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = check_choice("nonlinearity", nonlinearity, ("tanh", "relu"))

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state. Shape: [N, I], [N, H] to [N, H], or without N."""
        return self._step(ops.rnn_tanh_cell if self.nonlinearity == "tanh" else ops.rnn_relu_cell, input, (hx,))[0]

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class LSTMCell(RNNCellBase):
    r"""One step of long short-term memory: $c' = f \odot c + i \odot g$, $h' = o \odot \tanh c'$.

    Args:
        input_size: Features of the input, I.
        hidden_size: Features of the states, H.
        bias: Whether there are biases.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight_ih: [4H, I]; the rows of i, f, g, o.
        weight_hh: [4H, H].
        bias_ih: [4H], or None.
        bias_hh: [4H], or None.

    Raises:
        ArgumentError: A size is not positive.

    Example:
        >>> cell = nbdl.nn.LSTMCell(10, 20)
        >>> h, c = cell(nbdl.randn(3, 10))
        >>> h.shape, c.shape
        ((3, 20), (3, 20))
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next states (h, c). Shape: [N, I], ([N, H], [N, H]) to ([N, H], [N, H]), or without N."""
        h, c = self._step(ops.lstm_cell, input, (None, None) if hx is None else tuple(hx))
        return h, c


class GRUCell(RNNCellBase):
    r"""One step of a gated recurrent unit: $h' = (1 - z) \odot n + z \odot h$.

    Args:
        input_size: Features of the input, I.
        hidden_size: Features of the state, H.
        bias: Whether there are biases.
        device: Where the parameters live.
        dtype: float32 (the default) or float64.

    Attributes:
        weight_ih: [3H, I]; the rows of r, z, n.
        weight_hh: [3H, H].
        bias_ih: [3H], or None.
        bias_hh: [3H], or None.

    Raises:
        ArgumentError: A size is not positive.

    Example:
        >>> cell = nbdl.nn.GRUCell(10, 20)
        >>> cell(nbdl.randn(3, 10)).shape
        (3, 20)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state. Shape: [N, I], [N, H] to [N, H], or without N."""
        return self._step(ops.gru_cell, input, (hx,))[0]
