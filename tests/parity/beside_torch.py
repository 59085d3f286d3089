"""One configuration of a module, in nbdl and in PyTorch: the same values, gradients and refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import nn
from nbdl.runtime.errors import NbdlError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

EXACT = 1e-6
"""Largest difference in float64."""

SINGLE = 1e-4
"""Largest difference of float32 from PyTorch's float64, relative to the values' size and at least 1."""


def check_module(name: str, x: np.ndarray, rng: np.random.Generator, /, *args: Any, **kwargs: Any) -> bool:
    """Builds `name` with the same arguments in both, runs it both ways on x, and compares. False if both refuse."""
    try:
        theirs = getattr(torch.nn, name)(*args, **kwargs).double()
        reference = _run(theirs, torch.from_numpy(np.array(x)), torch.from_numpy, rng)
    except (RuntimeError, ValueError, TypeError) as error:
        with pytest.raises(NbdlError):
            getattr(nn, name)(*args, **kwargs).double()(nbdl.from_numpy(x))
            pytest.fail(f"{name}{args}{kwargs} of {x.shape}: PyTorch refuses: {error}")
        return False
    ours = getattr(nn, name)(*args, **kwargs)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict())
    cotangent = reference.pop("cotangent")
    for dtype, bound in ((np.float64, EXACT), (np.float32, SINGLE)):
        ours = ours.to(dtype=dtype)
        ours.zero_grad()
        results = _run(ours, nbdl.from_numpy(x.astype(dtype, copy=False)), nbdl.from_numpy, cotangent)
        del results["cotangent"]
        assert results.keys() == reference.keys()
        for which, wanted in reference.items():
            got, size = results[which], np.abs(wanted).max(initial=1)
            title = f"{name}{args}{kwargs} of {x.shape} [{np.dtype(dtype)}]: {which}"
            assert got.shape == wanted.shape, title
            assert np.abs(got - wanted).max(initial=0) <= bound * size, title
    return True


def _run(module: Any, x: Any, tensor: Callable[[np.ndarray], Any], cotangent: Any) -> dict[str, np.ndarray]:
    """The result of a module and its gradients; the cotangent is drawn when a generator is given."""
    x.requires_grad_()
    y = module(x)
    if isinstance(cotangent, np.random.Generator):
        cotangent = cotangent.standard_normal(tuple(y.shape))
    y.backward(tensor(cotangent.astype(np.dtype(str(y.dtype).removeprefix("torch.")))))
    gradients = {f"gradient of {name}": p.grad.numpy() for name, p in module.named_parameters()}
    return {"result": y.detach().numpy(), "gradient of x": x.grad.numpy(), **gradients, "cotangent": cotangent}
