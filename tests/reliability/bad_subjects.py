"""What is called with bad input: every public function, method, module and class, with a good call to begin from."""

from __future__ import annotations

import functools
import inspect
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nbdl
from nbdl import data, nn, ops, optim
from nbdl.autograd import Tensor
from nbdl.testing.draw import seeded
from nbdl.testing.spec import OpSpec, to_tensors
from nbdl.testing.specs import all_specs

Call = tuple[Callable[..., Any], dict[str, Any]]


@dataclass(frozen=True)
class Subject:
    """Something to call.

    Attributes:
        name: Its name.
        make: Gives a function and good arguments.
        judge: What is wrong with a result, where that can be said; the empty string when nothing is.
    """

    name: str
    make: Callable[[np.random.Generator], Call]
    judge: Callable[[dict[str, Any], Any], str] | None = None


@functools.cache
def subjects() -> tuple[Subject, ...]:
    """All of them."""
    return (*operations(), *methods(), *creation(), *modules(), *layers_forward(), *optimizers(), *readers())


# ---------------------------------------------------------------- operations and methods


@functools.cache
def _rows() -> dict[str, list[OpSpec]]:
    rows: dict[str, list[OpSpec]] = defaultdict(list)
    for spec in all_specs():
        if not any(word in spec.variant for word in ("many", "long", "wide", "pieces", "large")):
            rows[spec.operation].append(spec)
    return rows


def _case(specs: list[OpSpec], rng: np.random.Generator) -> tuple[OpSpec, dict[str, Any]]:
    spec = specs[rng.integers(len(specs))]
    dtype = np.float32 if rng.integers(2) else np.float64
    grad = spec.differentiable if rng.integers(2) else ()
    return spec, to_tensors(spec.inputs(seeded(int(rng.integers(2**31)))), dtype, grad)


def operations() -> list[Subject]:
    """Every function of nbdl.ops, through the rows of the spec table."""

    def maker(specs: list[OpSpec]) -> Callable[[np.random.Generator], Call]:
        def make(rng: np.random.Generator) -> Call:
            spec, case = _case(specs, rng)
            public = getattr(ops, spec.operation, spec.function)  # a row may hold what stands inside
            function = public if inspect.unwrap(public) is inspect.unwrap(spec.function) else spec.function
            return function, _with_defaults(function, case, rng)

        return make

    public = {name: specs for name, specs in _rows().items() if hasattr(ops, name) or hasattr(nbdl, name)}
    return [Subject(f"ops.{name}", maker(specs)) for name, specs in sorted(public.items())]


def _with_defaults(function: Callable[..., Any], case: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The case, and at times an optional argument that it leaves out, to be replaced."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return case
    left_out = [
        p
        for p in parameters
        if p.name not in case and p.default is not p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if left_out and rng.integers(2):
        chosen = left_out[rng.integers(len(left_out))]
        return {**case, chosen.name: chosen.default}
    return case


def methods() -> list[Subject]:
    """Every method of Tensor: as the operation of that name where there is one, else with guessed arguments."""
    found = []
    for name in sorted(dir(Tensor)):
        member = getattr(Tensor, name)
        if (name.startswith("__") and name not in OPERATORS) or (name.startswith("_") and not name.startswith("__")):
            continue
        if not callable(member) or isinstance(member, type):
            continue
        rows = [] if name in OTHER_THAN_OPERATION else _rows().get(name.removesuffix("_"), [])
        specs = [spec for spec in rows if _takes_first_tensor(spec)]
        found.append(Subject(f"Tensor.{name}", _method(name, specs) if specs else _guessed_method(name)))
    return found


OTHER_THAN_OPERATION = ("unfold", "where")
"""Methods whose arguments are not those of the function of that name."""

OPERATORS = {
    f"__{name}__"
    for name in (
        *("add", "radd", "iadd", "sub", "rsub", "isub", "mul", "rmul", "imul", "truediv", "rtruediv", "itruediv"),
        *("floordiv", "mod", "pow", "rpow", "matmul", "rmatmul", "and", "or", "xor", "lshift", "rshift", "eq", "ne"),
        *("lt", "le", "gt", "ge", "getitem", "setitem", "contains"),
    )
}


def _takes_first_tensor(spec: OpSpec) -> bool:
    case = spec.inputs(seeded(0))
    return bool(case) and isinstance(next(iter(case.values())), np.ndarray)


def _method(name: str, specs: list[OpSpec]) -> Callable[[np.random.Generator], Call]:
    def make(rng: np.random.Generator) -> Call:
        _, case = _case(specs, rng)
        first = next(iter(case))
        receiver = case.pop(first)
        if name.endswith("_") and isinstance(receiver, Tensor) and receiver.requires_grad:
            receiver = receiver * 1  # leaves may not be changed in place
        if not isinstance(receiver, Tensor):
            receiver = nbdl.tensor([[1.0, 2.0], [3.0, 4.0]])
        accepted = inspect.signature(getattr(Tensor, name)).parameters
        loose = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
        values = tuple(value for label, value in case.items() if not loose and label not in accepted)
        named = {label: value for label, value in case.items() if loose or label in accepted}
        if values:  # the method takes them under other names, or without one
            return _positional(getattr(receiver, name)), {str(i): v for i, v in enumerate((*values, *named.values()))}
        return getattr(receiver, name), _with_defaults(getattr(receiver, name), named, rng)

    return make


def _positional(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **arguments: function(*arguments.values())


def _guessed_method(name: str) -> Callable[[np.random.Generator], Call]:
    def make(rng: np.random.Generator) -> Call:
        receiver = nbdl.tensor(rng.uniform(0.1, 0.9, (2, 3)).astype(np.float32), requires_grad=bool(rng.integers(2)))
        if rng.integers(3) == 0 or name in ("__and__", "__or__", "__xor__", "__lshift__", "__rshift__"):
            receiver = nbdl.tensor(rng.integers(0, 3, (2, 3)))
        if name.endswith("_") and receiver.requires_grad:
            receiver = receiver * 1
        function = getattr(receiver, name)
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            parameters = {}
        arguments: dict[str, Any] = {}
        several = 0
        for p in parameters.values():
            if p.kind is p.VAR_POSITIONAL:
                several = 1 + int(rng.integers(2))
            elif p.kind is not p.VAR_KEYWORD and (p.default is p.empty or rng.integers(3) == 0):
                arguments[p.name] = _guess(p.name, receiver, rng)
        if name in OPERATORS or several:
            values = [*arguments.values(), *(int(rng.integers(-1, 3)) for _ in range(several))]
            return _positional(function), {str(i): value for i, value in enumerate(values)}
        positional_only = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_ONLY]
        if positional_only:
            return _positional(function), arguments
        return function, arguments

    return make


def _guess(name: str, receiver: Tensor, rng: np.random.Generator) -> Any:
    """A likely value for an argument of that name."""
    if name in ("condition",):
        return receiver.detach() > 0
    if name in (
        "other",
        "tensor",
        "mat2",
        "vec2",
        "source",
        "src",
        "value",
        "values",
        "gradient",
        "max",
        "min",
        "exponent",
    ):
        return receiver.detach().clone() if rng.integers(2) or name == "tensor" else 2
    if name in ("key", "index", "indices"):
        return (0, slice(None), nbdl.tensor([0, 1]), (slice(None), 1), None)[rng.integers(5)]
    if name == "mask":
        return receiver.detach() > 0
    if name in ("dtype",):
        return (nbdl.float32, nbdl.float64, nbdl.int64)[rng.integers(3)]
    if name == "device":
        return "cpu"
    if name in ("shape", "size", "sizes"):
        return (3, 2)
    if name in ("requires_grad", "keepdim", "copy", "inplace", "non_blocking"):
        return bool(rng.integers(2))
    if name in ("hook", "callable", "function"):
        return lambda gradient: gradient
    return (0, 1, 0.5)[rng.integers(3)]


# ---------------------------------------------------------------- functions by hand


def by_hand(prefix: str, table: dict[str, tuple[Callable[..., Any], Callable[[], dict[str, Any]]]]) -> list[Subject]:
    """Subjects of a table: name, function and what makes its good arguments."""

    def maker(function: Callable[..., Any], arguments: Callable[[], dict[str, Any]]) -> Any:
        return lambda rng: (function, _with_defaults(function, arguments(), rng))

    return [Subject(f"{prefix}.{name}", maker(*entry)) for name, entry in table.items()]


def creation() -> list[Subject]:
    """Functions that make tensors, and those of the machine."""
    x = nbdl.tensor([[0.2, 0.5], [0.3, 0.1]])
    sized = {
        name: (getattr(nbdl, name), lambda: {"size": (2, 3)}) for name in ("zeros", "ones", "empty", "rand", "randn")
    }
    like = {
        name: (getattr(nbdl, name), lambda: {"input": x})
        for name in ("zeros_like", "ones_like", "empty_like", "rand_like", "randn_like", "bernoulli", "numel")
    }
    return by_hand(
        "nbdl",
        {
            **sized,
            **like,
            "full": (nbdl.full, lambda: {"size": (2,), "fill_value": 1.0}),
            "full_like": (nbdl.full_like, lambda: {"input": x, "fill_value": 1.0}),
            "arange": (nbdl.arange, lambda: {"start": 0, "end": 5, "step": 1}),
            "linspace": (nbdl.linspace, lambda: {"start": 0.0, "end": 1.0, "steps": 3}),
            "logspace": (nbdl.logspace, lambda: {"start": 0.0, "end": 1.0, "steps": 3}),
            "eye": (nbdl.eye, lambda: {"n": 3}),
            "randint": (nbdl.randint, lambda: {"low": 0, "high": 5, "size": (2,)}),
            "randint_like": (nbdl.randint_like, lambda: {"input": x, "low": 0, "high": 5}),
            "randperm": (nbdl.randperm, lambda: {"n": 5}),
            "normal": (nbdl.normal, lambda: {"mean": 0.0, "std": 1.0, "size": (2,)}),
            "multinomial": (nbdl.multinomial, lambda: {"input": x, "num_samples": 1}),
            "tensor": (nbdl.tensor, lambda: {"data": [[1.0, 2.0]]}),
            "as_tensor": (nbdl.as_tensor, lambda: {"data": [1, 2]}),
            "from_numpy": (lambda array: nbdl.from_numpy(array), lambda: {"array": np.zeros(3)}),
            "manual_seed": (nbdl.manual_seed, lambda: {"seed": 1}),
            "set_rng_state": (nbdl.set_rng_state, lambda: {"new_state": nbdl.get_rng_state()}),
            "Generator.manual_seed": (nbdl.Generator().manual_seed, lambda: {"seed": 1}),
            "device": (lambda type: nbdl.device(type), lambda: {"type": "cpu"}),
            "can_cast": (nbdl.can_cast, lambda: {"from_": nbdl.float32, "to": nbdl.float64}),
            "promote_types": (nbdl.promote_types, lambda: {"type1": nbdl.float32, "type2": nbdl.int64}),
            "result_type": (nbdl.result_type, lambda: {"tensor1": x, "tensor2": 1}),
            "finfo": (nbdl.finfo, lambda: {"type": nbdl.float32}),
            "iinfo": (nbdl.iinfo, lambda: {"type": nbdl.int64}),
            "broadcast_shapes": (lambda a, b: nbdl.broadcast_shapes(a, b), lambda: {"a": (2, 1), "b": 3}),
            "tril_indices": (nbdl.tril_indices, lambda: {"row": 3, "col": 2, "offset": 0}),
            "triu_indices": (nbdl.triu_indices, lambda: {"row": 3, "col": 2, "offset": 0}),
            "inference_mode": (nbdl.inference_mode, lambda: {"mode": True}),
            "set_default_dtype": (_kept_default, lambda: {"d": nbdl.float32}),
            "set_num_threads": (_kept_threads, lambda: {"count": 1}),
            "set_precision": (_kept_precision, lambda: {"precision": "high"}),
            "grad": (nbdl.grad, _grad_arguments),
            "checkpoint": (
                lambda function, input: nbdl.checkpoint(function, input),
                lambda: {"function": ops.tanh, "input": x},
            ),
        },
    )


def _kept_default(d: Any) -> None:
    try:
        nbdl.set_default_dtype(d)
    finally:
        nbdl.set_default_dtype(nbdl.float32)


def _kept_threads(count: Any) -> None:
    try:
        nbdl.set_num_threads(count)
    finally:
        nbdl.set_num_threads(1)


def _kept_precision(precision: Any) -> None:
    kept = nbdl.get_precision()
    try:
        nbdl.set_precision(precision)
    finally:
        nbdl.set_precision(kept)


def _grad_arguments() -> dict[str, Any]:
    x = nbdl.ones(2, 3, requires_grad=True)
    return {"outputs": (x * 2).sum(), "inputs": x}


# ---------------------------------------------------------------- modules

SIZES = {
    "in_features": 4, "out_features": 3, "in_channels": 4, "out_channels": 4, "kernel_size": 3, "num_features": 4,
    "num_channels": 4, "num_groups": 2, "normalized_shape": 4, "input_size": 4, "hidden_size": 3, "embed_dim": 4,
    "num_heads": 2, "d_model": 4, "nhead": 2, "dim_feedforward": 8, "num_layers": 1, "num_embeddings": 5,
    "embedding_dim": 4, "output_size": 3, "padding": 1, "size": 5, "upscale_factor": 2, "downscale_factor": 2,
    "in1_features": 4, "in2_features": 4, "dim": 1, "unflattened_size": (2, 2), "threshold": 0.1, "value": 1.0,
    "norm_type": 2.0, "max_length": 8, "features": 4, "length": 8, "head_dim": 2, "groups": 2, "init_values": 1e-5,
    "scale_factor": None, "max_len": 8, "max_positions": 8, "hidden_features": 6, "bias": True,
}  # fmt: skip
"""Good values of constructor arguments that have no default."""

NOT_MADE_ALONE = {
    *("AveragedModel", "KVCache", "LayerSummary", "ModelSummary", "Module", "Parameter", "Buffer", "Sequential"),
    *("ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "TransformerEncoder", "TransformerDecoder"),
    *("Transformer", "AdaptiveLogSoftmaxWithLoss", "RNNBase", "RNNCellBase"),
}


def constructor_arguments(kind: type) -> dict[str, Any]:
    """Good values of the arguments that have no default."""
    chosen = {}
    if kind.__name__.startswith("Upsampl"):
        return {"size": 5}
    if kind.__name__ == "Fold":
        return {"output_size": 5, "kernel_size": 3}
    for p in inspect.signature(kind).parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        if p.default is p.empty:
            if p.name not in SIZES:
                raise KeyError(f"{kind.__name__}.{p.name}")
            chosen[p.name] = SIZES[p.name]
    return chosen


def module_kinds() -> list[type]:
    """The modules that can be made alone."""
    kinds = [getattr(nn, name) for name in sorted(nn.__all__)]
    return [k for k in kinds if inspect.isclass(k) and issubclass(k, nn.Module) and k.__name__ not in NOT_MADE_ALONE]


def modules() -> list[Subject]:
    """The constructor of every module."""
    table = {}
    for kind in module_kinds():
        table[kind.__name__] = (kind, functools.partial(constructor_arguments, kind))
    return by_hand("nn", table)


def layers_forward() -> list[Subject]:
    """The forward pass of every module, in training mode."""

    def maker(kind: type) -> Callable[[np.random.Generator], Call]:
        def make(rng: np.random.Generator) -> Call:
            nbdl.manual_seed(0)
            module = kind(**constructor_arguments(kind))
            return module, forward_arguments(kind.__name__, module, rng)

        return make

    return [Subject(f"nn.{kind.__name__}()", maker(kind)) for kind in module_kinds()]


def forward_arguments(name: str, module: nn.Module, rng: np.random.Generator) -> dict[str, Any]:
    """Good inputs of a module, by its name."""

    def floats(*shape: int, low: float = -1.0, high: float = 1.0) -> Tensor:
        return nbdl.tensor(rng.uniform(low, high, shape).astype(np.float32))

    def ids(*shape: int, below: int = 3) -> Tensor:
        return nbdl.tensor(rng.integers(0, below, shape))

    names = list(inspect.signature(module.forward).parameters)
    if name in ("Embedding", "EmbeddingBag", "LearnedPositions"):
        shape = (2, 3)
        return {names[0]: ids(*shape)} if name != "LearnedPositions" else {names[0]: floats(2, 3, 4)}
    if name in ("RNNCell", "LSTMCell", "GRUCell"):
        return {"input": floats(2, 4)}
    if name == "MultiheadAttention":
        return {key: floats(3, 2, 4) for key in ("query", "key", "value")}
    if name == "TransformerDecoderLayer":
        return {"tgt": floats(3, 2, 4), "memory": floats(3, 2, 4)}
    if name in ("Bilinear",):
        return {"input1": floats(2, 4), "input2": floats(2, 4)}
    if name in ("CosineSimilarity", "PairwiseDistance"):
        return {"x1": floats(3, 4), "x2": floats(3, 4)}
    if name.endswith("Loss"):
        return loss_arguments(name, names, floats, ids)
    if name.startswith("MaxUnpool"):
        rank = int(name[-2])
        pooled, indices = getattr(nn, f"MaxPool{rank}d")(3, return_indices=True)(floats(2, 4, *[9] * rank))
        return {names[0]: pooled, names[1]: indices}
    if name == "Fold":
        return {"input": floats(2, 4 * 9, 9)}
    if name == "Unflatten":
        return {"input": floats(3, 4)}
    for rank in (1, 2, 3):
        if f"{rank}d" in name:
            return {names[0]: floats(2, 4, *[9 if rank < 3 else 6] * rank)}
    if name in (
        "PixelShuffle",
        "PixelUnshuffle",
        "ChannelShuffle",
        "Upsample",
        "GroupNorm",
        "LocalResponseNorm",
        "Unfold",
    ):
        return {names[0]: floats(2, 4, 8, 8)}
    if name == "Softmax2d":
        return {names[0]: floats(2, 4, 3, 3)}
    if not names:
        return {}
    return {names[0]: floats(3, 2, 4)} if names[0] != "args" else {}


def loss_arguments(name: str, names: list[str], floats: Any, ids: Any) -> dict[str, Any]:
    """Good inputs of a loss."""
    if name == "CTCLoss":
        return {
            "log_probs": ops.log_softmax(floats(6, 2, 4), 2), "targets": ids(2, 2, below=3) + 1,
            "input_lengths": nbdl.tensor([6, 5]), "target_lengths": nbdl.tensor([2, 1]),
        }  # fmt: skip
    if name in ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss"):
        return {names[0]: floats(5, 3), names[1]: ids(5)}
    if name == "MultiLabelMarginLoss":
        return {names[0]: floats(5, 3), names[1]: ids(5, 3)}
    if name == "GaussianNLLLoss":
        return {names[0]: floats(5, 3), names[1]: floats(5, 3), names[2]: floats(5, 3, low=0.1)}
    if name == "CosineEmbeddingLoss":
        return {names[0]: floats(5, 3), names[1]: floats(5, 3), names[2]: ids(5, below=2) * 2 - 1}
    if name == "MarginRankingLoss":
        return {names[0]: floats(5), names[1]: floats(5), names[2]: ids(5, below=2) * 2 - 1}
    return {label: floats(5, 3, low=0.1, high=0.9) for label in names}


# ---------------------------------------------------------------- optimizers and schedules


def optimizers() -> list[Subject]:
    """Optimizers and schedules: made, and one step of them; clipping."""

    def stepped(kind: Any) -> Callable[..., Any]:
        def call(**options: Any) -> None:
            parameter = nbdl.ones(3, requires_grad=True)
            parameter.grad = nbdl.ones(3)
            options = {key: parameter_list(value, parameter) for key, value in options.items()}
            kind(**options).step()

        call.__signature__ = inspect.signature(kind)  # type: ignore[attr-defined]
        return call

    def parameter_list(value: Any, parameter: Tensor) -> Any:
        return [parameter] if isinstance(value, str) and value == "parameters" else value

    def scheduled(kind: Any) -> Callable[..., Any]:
        def call(**options: Any) -> None:
            parameter = nbdl.ones(3, requires_grad=True)
            optimizer = optim.SGD([parameter], lr=0.1, momentum=0.9)
            if isinstance(options.get("optimizer"), str):
                options["optimizer"] = optimizer
            schedule = kind(**options)
            for _ in range(3):
                optimizer.step()
                schedule.step(*([1.0] if kind.__name__ == "ReduceLROnPlateau" else []))

        call.__signature__ = inspect.signature(kind)  # type: ignore[attr-defined]
        return call

    kinds = ("SGD", "Adam", "AdamW", "NAdam", "Adagrad", "Adadelta", "RMSprop")
    found = by_hand(
        "optim",
        {name: (stepped(getattr(optim, name)), lambda: {"params": "parameters", "lr": 0.1}) for name in kinds},
    )
    good: dict[str, dict[str, Any]] = {
        "ConstantLR": {}, "CosineAnnealingLR": {"T_max": 5}, "CosineAnnealingWarmRestarts": {"T_0": 3},
        "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1}, "ExponentialLR": {"gamma": 0.9},
        "MultiplicativeLR": {"lr_lambda": abs}, "LambdaLR": {"lr_lambda": abs}, "LinearLR": {},
        "MultiStepLR": {"milestones": [1, 2]}, "OneCycleLR": {"max_lr": 0.1, "total_steps": 10},
        "PolynomialLR": {}, "ReduceLROnPlateau": {}, "StepLR": {"step_size": 2},
    }  # fmt: skip
    found += by_hand(
        "lr_scheduler",
        {
            name: (
                scheduled(getattr(optim.lr_scheduler, name)),
                functools.partial(lambda options: {"optimizer": "optimizer", **options}, options),
            )
            for name, options in good.items()
        },
    )

    def with_gradients() -> list[Tensor]:
        parameter = nbdl.ones(3, requires_grad=True)
        parameter.grad = nbdl.ones(3)
        return [parameter]

    found += by_hand(
        "optim",
        {
            "clip_grad_norm_": (optim.clip_grad_norm_, lambda: {"parameters": with_gradients(), "max_norm": 1.0}),
            "clip_grad_value_": (optim.clip_grad_value_, lambda: {"parameters": with_gradients(), "clip_value": 1.0}),
        },
    )
    fill = [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")]
    extra: dict[str, dict[str, Any]] = {"constant_": {"val": 0.5}, "sparse_": {"sparsity": 0.5}}
    found += by_hand(
        "nn.init",
        {
            name: (
                getattr(nn.init, name),
                functools.partial(
                    lambda name: {
                        "tensor": nbdl.zeros(*((3, 4, 3) if name == "dirac_" else (3, 4))),
                        **extra.get(name, {}),
                    },
                    name,
                ),
            )
            for name in fill
        },
    )
    return found


# ---------------------------------------------------------------- data


def readers() -> list[Subject]:
    """Datasets, loaders, tokenizers, readers of files and augmentations: their arguments."""
    folder = Path(tempfile.mkdtemp(prefix="bad-input-"))
    (folder / "a.csv").write_text("a,b,y\n1,2,u\n3,4,v\n5,6,u\n7,8,v\n")
    x, y = np.arange(24, dtype=np.float32).reshape(8, 3), np.arange(8) % 2
    images = np.zeros((4, 1, 8, 8), np.float32)
    dataset = data.ArrayDataset(x, y)
    text = "so many words, so few letters. " * 20
    characters = data.CharacterTokenizer("".join(sorted(set(text))))
    ids = characters.encode(text)

    def listed(loader: Any) -> Any:
        return [batch for _, batch in zip(range(3), loader, strict=False)]

    def listed_of(kind: Any) -> Callable[..., Any]:
        def call(**options: Any) -> Any:
            return listed(kind(**options))

        call.__signature__ = inspect.signature(kind)  # type: ignore[attr-defined]
        return call

    loaded = listed_of(data.DataLoader)

    def augmented(kind: Any) -> Callable[..., Any]:
        def call(**options: Any) -> Any:
            return kind(**options)(images, data.RandomStream(seed=0))

        call.__signature__ = inspect.signature(kind)  # type: ignore[attr-defined]
        return call

    def windows(**options: Any) -> Any:
        found = data.TokenWindows(**options)
        return found[0] if len(found) else None

    windows.__signature__ = inspect.signature(data.TokenWindows)  # type: ignore[attr-defined]

    return by_hand(
        "data",
        {
            "DataLoader": (loaded, lambda: {"dataset": dataset, "batch_size": 2, "shuffle": True}),
            "DataLoader, sampled": (loaded, lambda: {"dataset": dataset, "sampler": [0, 1], "num_workers": 0}),
            "DataLoader, batched": (loaded, lambda: {"dataset": dataset, "batch_sampler": [[0], [1]]}),
            "SequentialSampler": (listed_of(data.SequentialSampler), lambda: {"data_source": dataset}),
            "RandomSampler": (listed_of(data.RandomSampler), lambda: {"data_source": dataset, "num_samples": 3}),
            "SubsetRandomSampler": (listed_of(data.SubsetRandomSampler), lambda: {"indices": [0, 2]}),
            "WeightedRandomSampler": (
                listed_of(data.WeightedRandomSampler), lambda: {"weights": np.ones(3), "num_samples": 3}
            ),
            "BatchSampler": (
                listed_of(data.BatchSampler), lambda: {"sampler": [0, 1], "batch_size": 2, "drop_last": False}
            ),
            "ArrayDataset[]": (lambda index: dataset[index], lambda: {"index": 1}),
            "random_split": (data.random_split, lambda: {"dataset": dataset, "lengths": [5, 3]}),
            "stratified_split": (data.stratified_split, lambda: {"labels": y, "fraction": 0.5}),
            "load_csv": (data.load_csv, lambda: {"path": folder / "a.csv", "target": "y"}),
            "read_idx": (data.read_idx, lambda: {"path": folder / "a.csv"}),
            "read_wav": (data.read_wav, lambda: {"path": folder / "a.csv"}),
            "read_image": (data.read_image, lambda: {"path": folder / "a.csv"}),
            "read_text": (data.read_text, lambda: {"path": folder / "a.csv"}),
            "CharacterTokenizer": (data.CharacterTokenizer, lambda: {"symbols": "abc"}),
            "CharacterTokenizer.encode": (lambda text: characters.encode(text), lambda: {"text": "so"}),
            "CharacterTokenizer.decode": (lambda ids: characters.decode(ids), lambda: {"ids": [0, 1]}),
            "ByteTokenizer.encode": (lambda text: data.ByteTokenizer().encode(text), lambda: {"text": "so"}),
            "ByteTokenizer.decode": (lambda ids: data.ByteTokenizer().decode(ids), lambda: {"ids": [65, 66]}),
            "TokenWindows": (windows, lambda: {"tokens": ids, "length": 8, "stride": 4}),
            "NgramModel": (data.NgramModel, lambda: {"tokens": ids, "order": 2, "size": 20}),
            "pad": (data.pad, lambda: {"sequences": [np.array([1, 2]), np.array([3])]}),
            "windows": (data.windows, lambda: {"values": np.arange(20.0), "past": 4, "future": 2}),
            "mel_filters": (data.mel_filters, lambda: {"bands": 8, "size": 256, "rate": 8000}),
            "log_mel": (data.log_mel, lambda: {"samples": np.zeros(800, np.float32), "rate": 8000}),
            "default_collate": (data.default_collate, lambda: {"samples": [(x[0], 1), (x[1], 0)]}),
            "ConcatDataset": (data.ConcatDataset, lambda: {"datasets": [dataset, dataset]}),
            "Subset": (data.Subset, lambda: {"dataset": dataset, "indices": [0, 2]}),
            "ArrayDataset": (lambda x, y: data.ArrayDataset(x, y)[0], lambda: {"x": x, "y": y}),
            "Autoregression": (data.Autoregression, lambda: {"values": np.arange(20.0) % 3, "order": 2}),
            "split_syllables": (data.split_syllables, lambda: {"test_share": 0.2}),
            "seasonal_naive": (data.seasonal_naive, lambda: {"past": np.arange(24.0).reshape(2, 12), "future": 3}),
            "framed_windows": (
                data.framed_windows,
                lambda: {"texts": [np.arange(5), np.arange(9)], "length": 8, "first": 1, "between": 2},
            ),
            "judging_windows": (data.judging_windows, lambda: {"tokens": ids, "first": 0, "length": 8, "stride": 4}),
            "SequenceDataset": (
                data.SequenceDataset, lambda: {"sequences": [np.arange(3.0), np.arange(2.0)], "labels": [0, 1]}
            ),
            "StreamLoader": (
                lambda **options: listed(data.StreamLoader(**options)),
                lambda: {"tokens": ids, "batch_size": 2, "steps": 4},
            ),
            "MaskingLoader": (
                lambda **options: listed(data.MaskingLoader(**options)),
                lambda: {
                    "windows": np.ones((6, 8), np.int64), "batch_size": 2, "share": 0.2,
                    "mask": 3, "size": 9, "special": 0,
                },
            ),
            "Coverage": (data.mode_coverage, lambda: {"points": np.zeros((5, 2)), "means": np.zeros((3, 2))}),
            "RandomStream": (data.RandomStream, lambda: {"seed": 1}),
            "gaussian_ring": (data.gaussian_ring, lambda: {"count": 10}),
            **{
                name: (augmented(getattr(data, name)), lambda options=options: dict(options))
                for name, options in {
                    "RandomCrop": {"size": 6, "padding": 1}, "Cutout": {"size": 2}, "RandomRotation": {"degrees": 10},
                    "RandomShift": {"pixels": 1}, "RandomHorizontalFlip": {}, "RandomVerticalFlip": {},
                }.items()
            },
        },
    )  # fmt: skip
