"""Checks that anyone can run on kernels: numeric gradients, drawn inputs, a CUDA interpreter, PTX compilation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdl.testing.draw import Draw, replayed, seeded
from nbdl.testing.gradcheck import GradcheckError, GradcheckReport, gradcheck
from nbdl.testing.spec import OpSpec, Refusal

__all__ = [
    "Draw",
    "GradcheckError",
    "GradcheckReport",
    "OpSpec",
    "Refusal",
    "check_function",
    "gradcheck",
    "replay",
    "replayed",
    "seeded",
]


if TYPE_CHECKING:
    from nbdl.testing.runner import check_function, replay


def __getattr__(name: str) -> Any:
    """The runner reads modules and imports processes: only those who check many cases pay for that."""
    if name in ("check_function", "replay"):
        from nbdl.testing import runner

        return getattr(runner, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
