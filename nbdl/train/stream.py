"""Training on a stream: what the network remembers at the end of a window it goes on with in the next.

Gradients stop at the window's edge (truncated backpropagation through time), memory does not.

Source: Williams and Peng (1990), "An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network
Trajectories".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Tensor, no_grad
from nbdl.train.errors import CheckpointError
from nbdl.train.loop import Trainer


def detached(state: Any) -> Any:
    """The state without the graph that led to it: a tensor, or a tuple of them, or None."""
    if isinstance(state, tuple):
        return tuple(detached(part) for part in state)
    return None if state is None else state.detach()


class StreamTrainer(Trainer):
    """A trainer for models that take (tokens, state) and return (scores, state), on windows of a `StreamLoader`.

    Args:
        arguments: As for `Trainer`.
        tokenizer: The description of the tokenizer, kept in the checkpoint so that the model can be used from it.
        options: As for `Trainer`.

    Attributes:
        memory: The model's state after the last window; part of a checkpoint, so that a resumed run goes on exactly.
    """

    def __init__(self, *arguments: Any, tokenizer: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tokenizer = tokenizer
        self.memory: Any = None

    def batch_loss(self, batch: Any) -> tuple[Tensor, int]:
        """The mean loss of a window's tokens, and their number."""
        first, *fields = batch
        if first:
            self.memory = None
        tokens, targets = self.tensors(fields)
        scores, state = self.model(tokens, self.memory)
        self.memory = detached(state)
        return self.loss(scores.reshape(-1, scores.shape[-1]), targets.reshape(-1)), targets.numel()

    def evaluate(self, loader: Any) -> dict[str, float]:
        """The mean loss over all tokens of a stream, read from its beginning with the model in evaluation mode."""
        was_training, kept = self.model.training, self.memory
        self.model.eval()
        total, count = 0.0, 0
        with no_grad():
            for batch in loader:
                loss, tokens = self.batch_loss(batch)
                total += float(loss.item()) * tokens
                count += tokens
        self.model.train(was_training)
        self.memory = kept
        return {"loss": total / count}

    def state_dict(self) -> dict[str, Any]:
        """As for `Trainer`, with the memory."""
        parts = self.memory if isinstance(self.memory, tuple) else () if self.memory is None else (self.memory,)
        arrays = [np.array(part.detach().to("cpu")) for part in parts]
        memory = {"pair": isinstance(self.memory, tuple), "parts": arrays}
        return super().state_dict() | {"memory": memory, "tokenizer": self.tokenizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As for `Trainer`, with the memory."""
        super().load_state_dict(state)
        try:
            parts = self.tensors(state["memory"]["parts"])
            self.memory = tuple(parts) if state["memory"]["pair"] else parts[0] if parts else None
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"state: expected the memory of a run on a stream, got {error}") from None
