"""Models of the figures that are kept from one build to the next."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import nbdl
from nbdl import nn

sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))
kept = pytest.importorskip("live.kept")


def test_a_model_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "live")
    calls = []

    def learn(model: nn.Module) -> None:
        calls.append(model)
        model.weight.detach().copy_(nbdl.ones(2, 3))

    first, second = (kept.trained(nn.Linear(3, 2), learn, "some text") for _ in range(2))
    assert len(calls) == 1
    assert not second.training and np.array_equal(second.weight.detach().numpy(), np.ones((2, 3)))
    assert np.array_equal(first.bias.detach().numpy(), second.bias.detach().numpy())
    kept.trained(nn.Linear(3, 2), learn, "another text")
    assert len(calls) == 2
