"""Attention in several heads and the layers of the Transformer beside PyTorch, over random arguments."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import nbdl
from nbdl import nn
from nbdl.runtime.errors import NbdlError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make parity installs it")

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:enable_nested_tensor")]

CASES = 200
"""Configurations of a family."""

EXACT = 1e-6
SINGLE = 1e-4


@pytest.fixture(autouse=True)
def one_thread():
    """These tensors are too small for more."""
    threads, theirs = nbdl.get_num_threads(), torch.get_num_threads()
    nbdl.set_num_threads(1)
    torch.set_num_threads(1)
    yield
    nbdl.set_num_threads(threads)
    torch.set_num_threads(theirs)


class Case:
    """One call: the inputs that are differentiated, those that are not, and which of them are one tensor."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.leaves: dict[str, np.ndarray] = {}
        self.masks: dict[str, np.ndarray] = {}
        self.same: dict[str, str] = {}
        self.options: dict[str, Any] = {}

    def leaf(self, name: str, *shape: int) -> None:
        self.leaves[name] = self.rng.standard_normal(shape)

    def mask(self, name: str, *shape: int, kinds: int = 3) -> None:
        """None, a boolean or a floating-point mask that leaves something to every query."""
        kind = self.rng.integers(kinds)
        hidden = self.rng.random(shape) < 0.4
        if shape[-1:] != (0,):
            np.put_along_axis(hidden, self.rng.integers(0, shape[-1], (*shape[:-1], 1)), False, -1)
        if kind == 1:
            self.masks[name] = hidden
        elif kind == 2:
            self.leaves[name] = np.where(hidden, -np.inf, self.rng.standard_normal(shape))

    def arguments(self, tensor: Any, dtype: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The leaves of a library, and all arguments by name."""
        leaves = {name: tensor(x.astype(dtype)).requires_grad_() for name, x in self.leaves.items()}
        named = leaves | {name: tensor(x if x.dtype == bool else x.astype(dtype)) for name, x in self.masks.items()}
        return leaves, named | {name: named[other] for name, other in self.same.items()} | self.options

    def __str__(self) -> str:
        shapes = {name: x.shape for name, x in (self.leaves | self.masks).items()}
        return f"{shapes} {self.same} {self.options}"


def flat(outputs: Any) -> list[Any]:
    """The tensors of a result, in order."""
    listed = outputs if isinstance(outputs, tuple) else (outputs,)
    return [y for y in listed if y is not None]


def pair(name: str, *sizes: Any, **chosen: Any) -> tuple[Any, Any]:
    """The same module in both libraries, in float64 and with all parameters drawn anew, none of them 0."""
    theirs = getattr(torch.nn, name)(*sizes, **chosen).double()
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(tuple(parameter.shape)) * 0.5))
    ours = getattr(nn, name)(*sizes, **chosen).double()
    assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizableLinear", "Linear")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def compare(ours: Any, theirs: Any, case: Case, title: str) -> None:
    """Results and gradients in float64, and ours in float32."""
    title = f"{title}: {case}"
    leaves, arguments = case.arguments(torch.from_numpy, np.float64)
    wanted = flat(theirs(**arguments))
    cotangents = [case.rng.standard_normal(tuple(y.shape)) for y in wanted]
    theirs.zero_grad()
    torch.autograd.backward(wanted, [torch.from_numpy(v) for v in cotangents])
    references = [y.detach() for y in wanted]
    references += [x.grad for x in leaves.values()] + [p.grad for p in theirs.parameters()]
    for dtype, bound in ((np.float64, EXACT), (np.float32, SINGLE)):
        ours = ours.to(dtype=dtype)
        ours.zero_grad()
        own, arguments = case.arguments(nbdl.from_numpy, dtype)
        got = flat(ours(**arguments))
        assert [y.shape for y in got] == [tuple(y.shape) for y in wanted], title
        nbdl.autograd.backward(got, [nbdl.from_numpy(v.astype(dtype)) for v in cotangents])
        values = [y.detach() for y in got] + [x.grad for x in own.values()] + [p.grad for p in ours.parameters()]
        for number, (value, reference) in enumerate(zip(values, references, strict=True)):
            if reference is None or value is None:
                assert reference is None or not reference.any(), f"{title}: {number}"
                assert value is None or not np.asarray(value).any(), f"{title}: {number}"
                continue
            size = np.abs(reference.numpy()).max(initial=1)
            assert np.abs(value.numpy() - reference.numpy()).max(initial=0) <= bound * size, f"{title}: {number}"


def causal(rng: np.random.Generator, steps: int) -> np.ndarray:
    """The mask that hides what comes after, boolean or of floating point."""
    hidden = np.triu(np.ones((steps, steps), bool), 1)
    return hidden if rng.integers(2) else np.where(hidden, -np.inf, 0.0)


# ---------------------------------------------------------------- attention


def attention_case(rng: np.random.Generator) -> tuple[dict[str, Any], Case]:
    heads, width, sources, targets = (int(n) for n in rng.integers(1, 5, 4))
    chosen: dict[str, Any] = {"embed_dim": heads * width, "num_heads": heads}
    for name in ("bias", "add_bias_kv", "add_zero_attn", "batch_first"):
        chosen[name] = bool(rng.integers(2))
    for name in ("kdim", "vdim"):
        if rng.random() < 0.3:
            chosen[name] = int(rng.integers(1, 7))
    size = chosen["embed_dim"]
    case = Case(rng)
    batch = [None, 0, 1, 2, 3][rng.integers(5)]  # PyTorch takes an empty batch without masks only
    is_square = chosen.get("kdim", size) == size == chosen.get("vdim", size)
    together = rng.integers(3) if is_square else 0
    if together == 2:
        sources = targets

    def sequence(name: str, steps: int, features: int) -> None:
        lead = (steps,) if batch is None else (batch, steps) if chosen["batch_first"] else (steps, batch)
        case.leaf(name, *lead, features)

    sequence("query", targets, size)
    if together == 2:
        case.same = {"key": "query", "value": "query"}
    else:
        sequence("key", sources, chosen.get("kdim", size))
        if together == 1:
            case.same = {"value": "key"}
        else:
            sequence("value", sources, chosen.get("vdim", size))
    case.options = {"need_weights": bool(rng.integers(2)), "average_attn_weights": bool(rng.integers(2))}
    if batch == 0:
        return chosen, case
    if sources == targets and rng.random() < 0.3:
        mask = causal(rng, targets)
        case.masks["attn_mask"] = mask
        case.options["is_causal"] = bool(rng.integers(2))
        if mask.dtype == bool:
            return chosen, case
    else:
        lead = ((1 if batch is None else batch) * heads,) if rng.integers(2) else ()
        case.mask("attn_mask", *lead, targets, sources)
    if rng.random() < 0.5:
        case.mask("key_padding_mask", *(() if batch is None else (batch,)), sources)
    given = [mask for name in ("attn_mask", "key_padding_mask") for mask in (case.masks | case.leaves,) if name in mask]
    if len(given) == 2:  # together they might hide all keys from a query
        for name in ("attn_mask", "key_padding_mask"):
            given[0][name][..., 0] = 0
    return chosen, case


@pytest.mark.filterwarnings("ignore:Support for mismatched")
def test_attention() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2 * CASES):
        chosen, case = attention_case(rng)
        ours, theirs = pair("MultiheadAttention", **chosen)
        ours.train(bool(rng.integers(2)))
        compare(ours, theirs, case, f"MultiheadAttention {chosen}")
