"""Checks that anyone can run on kernels: numeric gradients, drawn inputs, a CUDA interpreter, PTX compilation."""

from __future__ import annotations

from typing import Any

from nbdl.testing.draw import Draw, replayed, seeded
from nbdl.testing.gradcheck import GradcheckError, GradcheckReport, gradcheck
from nbdl.testing.spec import OpSpec, Refusal

__all__ = [
    "Draw",
    "GradcheckError",
    "GradcheckReport",
    "OpSpec",
    "Refusal",
    "gradcheck",
    "replay",
    "replayed",
    "seeded",
]


def replay(name: str, drawn: list[int]) -> Any:
    """Runs the case that a failure of `nbdl gradcheck` names again (see `nbdl.testing.runner`)."""
    from nbdl.testing.runner import replay as run  # Hypothesis and the table are needed here only

    return run(name, drawn)
