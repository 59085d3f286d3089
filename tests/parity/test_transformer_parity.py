"""Attention in several heads and the layers of the Transformer beside PyTorch, over random arguments."""

from __future__ import annotations

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
    for _ in range(CASES):
        chosen, case = attention_case(rng)
        ours, theirs = pair("MultiheadAttention", **chosen)
        ours.train(bool(rng.integers(2)))
        compare(ours, theirs, case, f"MultiheadAttention {chosen}")


def test_rows_without_a_key() -> None:
    """A query that may see no key gets a mean of 0 without weights, and NaN with them: as PyTorch in training."""
    x = np.random.default_rng(0).standard_normal((3, 2, 4))
    hidden = np.zeros((3, 3), bool)
    hidden[1] = True
    ours, theirs = pair("MultiheadAttention", 4, 2)
    for mask in (hidden, np.where(hidden, -np.inf, 0)):
        for need_weights in (True, False):
            leaf, other = nbdl.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(x.copy()).requires_grad_()
            got, weights = ours(leaf, leaf, leaf, attn_mask=nbdl.from_numpy(mask), need_weights=need_weights)
            wanted, theirs_weights = theirs(
                other, other, other, attn_mask=torch.from_numpy(mask), need_weights=need_weights
            )
            np.testing.assert_allclose(got.detach().numpy(), wanted.detach().numpy(), atol=EXACT)
            if need_weights:
                np.testing.assert_allclose(weights.detach().numpy(), theirs_weights.detach().numpy(), atol=EXACT)
            else:
                got.sum().backward()
                wanted.sum().backward()
                np.testing.assert_allclose(leaf.grad.numpy(), other.grad.numpy(), atol=EXACT)


# ---------------------------------------------------------------- layers


def layer_options(rng: np.random.Generator) -> dict[str, Any]:
    heads, width = (int(n) for n in rng.integers(1, 4, 2))
    return {
        "d_model": heads * width,
        "nhead": heads,
        "dim_feedforward": int(rng.integers(1, 6)),
        "dropout": 0.0,
        "activation": ["relu", "gelu", "tanh", "GELU", "ReLU"][rng.integers(5)],
        "layer_norm_eps": [1e-5, 1e-2][rng.integers(2)],
        "batch_first": bool(rng.integers(2)),
        "norm_first": bool(rng.integers(2)),
        "bias": bool(rng.integers(2)),
    }


def with_activation(library: Any, functions: Any, chosen: dict[str, Any]) -> dict[str, Any]:
    """The options of a library: the activation as a string, a function, or a module."""
    name = chosen["activation"]
    value = functions.tanh if name == "tanh" else getattr(library, name)() if name[0].isupper() else name
    return chosen | {"activation": value}


def layers(name: str, chosen: dict[str, Any], count: int, with_norm: bool) -> tuple[Any, Any]:
    """A layer in both libraries, or a stack of them, drawn anew."""
    made = []
    for library, functions in ((nn, nbdl), (torch.nn, torch)):
        options = with_activation(library, functions, chosen)
        if name.endswith("Layer"):
            made.append(getattr(library, name)(**options))
        elif name == "Transformer":
            made.append(library.Transformer(num_encoder_layers=count, num_decoder_layers=count, **options))
        else:
            norm = library.LayerNorm(chosen["d_model"]) if with_norm else None
            made.append(getattr(library, name)(getattr(library, f"{name}Layer")(**options), count, norm))
    ours, theirs = made[0].double(), made[1].double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64) * 0.5)
    assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizableLinear", "Linear")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


MASKS = {
    "TransformerEncoderLayer": ("src_mask", "src_key_padding_mask", "is_causal"),
    "TransformerEncoder": ("mask", "src_key_padding_mask", "is_causal"),
    "TransformerDecoderLayer": ("tgt_mask", "tgt_key_padding_mask", "tgt_is_causal"),
    "TransformerDecoder": ("tgt_mask", "tgt_key_padding_mask", "tgt_is_causal"),
    "Transformer": ("tgt_mask", "tgt_key_padding_mask", "tgt_is_causal"),
}
"""For each module, the names of the masks of the sequence it goes through."""


@pytest.mark.filterwarnings("ignore:Support for mismatched", "ignore:Converting mask")
@pytest.mark.parametrize("name", MASKS)
def test_layers(name: str) -> None:
    rng = np.random.default_rng(len(name))
    torch.manual_seed(0)
    for _ in range(CASES // 5):
        chosen = layer_options(rng)
        if name in ("TransformerDecoder", "Transformer"):  # PyTorch's copies of a decoder layer lose such a module
            chosen["activation"] = chosen["activation"].lower()
        ours, theirs = layers(name, chosen, int(rng.integers(1, 3)), bool(rng.integers(2)))
        case = Case(rng)
        sources, targets = (int(n) for n in rng.integers(1, 5, 2))
        batch = [None, 1, 3][rng.integers(3)]

        def lead(steps: int, batch: Any = batch, first: bool = chosen["batch_first"]) -> tuple[int, ...]:
            return (steps,) if batch is None else (batch, steps) if first else (steps, batch)

        size, both = chosen["d_model"], (chosen["nhead"] * (batch or 1),)
        padding = () if batch is None else (batch,)
        if "Encoder" not in name:
            case.leaf("tgt", *lead(targets), size)
            case.leaf("src" if name == "Transformer" else "memory", *lead(sources), size)
            case.mask("memory_mask", *(both if rng.integers(2) else ()), targets, sources)
            if not {"memory_mask"} & {*case.masks, *case.leaves}:
                case.mask("memory_key_padding_mask", *padding, sources)
            if name == "Transformer":
                case.mask("src_mask", sources, sources)
        else:
            case.leaf("src", *lead(targets), size)
        mask, key_padding, hint = MASKS[name]
        kind = rng.integers(4)
        if kind == 0:
            case.mask(mask, *(both if rng.integers(2) else ()), targets, targets)
        elif kind == 1:
            case.mask(key_padding, *padding, targets)
        elif kind == 2:
            case.masks[mask] = causal(rng, targets)
            if rng.integers(2):
                case.options[hint] = bool(rng.integers(2))
        elif targets > 1:
            case.masks[mask] = causal(rng, targets)
            hidden = np.zeros((*padding, targets), bool)
            hidden[..., -1] = True
            case.masks[key_padding] = hidden
        compare(ours, theirs, case, f"{name} {chosen}")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_what_is_not_padding_in_evaluation() -> None:
    """PyTorch's inference cuts padding away and fills its places with zeros; elsewhere both say the same."""
    rng = np.random.default_rng(0)
    for number in range(CASES // 10):
        chosen = layer_options(rng) | {"batch_first": True, "bias": True}
        chosen["activation"] = ["relu", "gelu"][rng.integers(2)]
        ours, theirs = layers("TransformerEncoder", chosen, 2, with_norm=bool(rng.integers(2)))
        lengths = rng.integers(1, 6, 3)
        lengths[0] = 5
        padding = np.arange(5) >= lengths[:, None]
        x = rng.standard_normal((3, 5, chosen["d_model"]))
        masks = [{}, {"src_key_padding_mask": padding}, {"mask": causal(rng, 5)}][number % 3]
        with torch.no_grad():
            wanted = theirs.eval()(torch.from_numpy(x), **{name: torch.from_numpy(m) for name, m in masks.items()})
        with nbdl.no_grad():
            got = ours.eval()(nbdl.from_numpy(x), **{name: nbdl.from_numpy(m) for name, m in masks.items()})
        read = ~padding if "src_key_padding_mask" in masks else np.ones((3, 5), bool)
        np.testing.assert_allclose(got.numpy()[read], wanted.numpy()[read], atol=EXACT)


def test_both_refuse() -> None:
    x = np.ones((3, 2, 4))
    hidden = np.zeros((3, 3), bool)

    def attend(n: Any, t: Any, *shapes: Any, **options: Any) -> Any:
        tensors = [t(np.ones(shape)) for shape in shapes]
        return n.MultiheadAttention(4, 2).double()(*tensors, **options)

    wrong: list[Any] = [
        lambda n, t: n.MultiheadAttention(4, 3),
        lambda n, t: n.MultiheadAttention(0, 1),
        lambda n, t: n.MultiheadAttention(4, -2),
        lambda n, t: n.MultiheadAttention(4, 2)(t(x), t(x), t(x)),
        lambda n, t: attend(n, t, (3,), (3,), (3,)),
        lambda n, t: attend(n, t, (3, 2, 6), (3, 2, 6), (3, 2, 6)),
        lambda n, t: attend(n, t, (3, 2, 4), (3, 4), (3, 4)),
        lambda n, t: attend(n, t, (3, 2, 4), (3, 3, 4), (3, 3, 4)),
        lambda n, t: attend(n, t, (3, 2, 4), (3, 2, 4), (2, 2, 4)),
        lambda n, t: attend(n, t, *[(3, 2, 4)] * 3, is_causal=True),
        lambda n, t: attend(n, t, *[(3, 2, 4)] * 3, attn_mask=t(hidden[:2])),
        lambda n, t: attend(n, t, *[(3, 2, 4)] * 3, attn_mask=t(hidden[None])),
        lambda n, t: attend(n, t, *[(3, 2, 4)] * 3, attn_mask=t(hidden.astype(np.int64))),
        lambda n, t: attend(n, t, *[(3, 2, 4)] * 3, key_padding_mask=t(hidden)),
        lambda n, t: attend(n, t, *[(3, 2, 4)] * 3, key_padding_mask=t(hidden[0])),
        lambda n, t: n.TransformerEncoderLayer(4, 2, activation="tanh"),
        lambda n, t: n.TransformerEncoderLayer(5, 2),
        lambda n, t: n.TransformerEncoder(n.TransformerEncoderLayer(4, 2, 8), 0)(t(x)),
        lambda n, t: n.Transformer(4, 2, 1, 1, 8).double()(t(x), t(x[:, :1])),
        lambda n, t: n.Transformer(6, 2, 1, 1, 8).double()(t(x), t(x)),
        lambda n, t: n.Transformer(4, 2, 1, 1, 8).double()(t(x), t(x), tgt_mask=t(hidden[:2])),
    ]
    for number, call in enumerate(wrong):
        with pytest.raises((RuntimeError, ValueError, AssertionError, IndexError)):
            call(torch.nn, torch.from_numpy)
            pytest.fail(f"PyTorch takes case {number}")
        with pytest.raises(NbdlError):
            call(nn, nbdl.from_numpy)
            pytest.fail(f"nbdl takes case {number}")
