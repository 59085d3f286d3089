"""Training on windows of a text: every place of a window predicts the next token, so each is a sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Tensor, no_grad
from nbdl.train.loop import Trainer


class WindowTrainer(Trainer):
    """A trainer for models that give scores [B, T, V] for tokens [B, T], on batches of (inputs, targets).

    Args:
        arguments: As for `Trainer`; the loss leaves out the targets that are -100, as `CrossEntropyLoss` does.
        tokenizer: The description of the tokenizer, kept in the checkpoint so that the model can be used from it.
        options: As for `Trainer`.
    """

    def __init__(self, *arguments: Any, tokenizer: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tokenizer = tokenizer

    def batch_loss(self, batch: Any) -> tuple[Tensor, int]:
        """The mean loss of the places that count, and their number."""
        tokens, targets = self.tensors(batch)
        scores = self.model(tokens)
        return self.loss(scores.reshape(-1, scores.shape[-1]), targets.reshape(-1)), _counted(batch[1])

    def evaluate(self, loader: Any) -> dict[str, float]:
        """The mean loss over all places that count, with the model in evaluation mode."""
        was_training = self.model.training
        self.model.eval()
        total, count = 0.0, 0
        with no_grad():
            for batch in loader:
                loss, places = self.batch_loss(batch)
                total += float(loss.item()) * places
                count += places
        self.model.train(was_training)
        return {"loss": total / count}

    def state_dict(self) -> dict[str, Any]:
        """As for `Trainer`, with the tokenizer."""
        return super().state_dict() | {"tokenizer": self.tokenizer}


def _counted(targets: np.ndarray) -> int:
    """The number of targets that are tokens."""
    return int(np.count_nonzero(targets >= 0))
