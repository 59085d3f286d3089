"""Rows of the losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.ops.loss import binary, divergence, nll, ranking, regression
from nbdl.ops.loss.cross_entropy import cross_entropy, cross_entropy_reference
from nbdl.ops.loss.soft_cross_entropy import soft_cross_entropy_reference
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, NbdlError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

REDUCTIONS = ("mean", "sum", "none")

# ---------------------------------------------------------------- inputs


def scores_of_classes(draw: Draw, classes: int | None = None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of scores, and that of their class ids."""
    c = classes or draw.integer(1, 6)
    if draw.integer(0, 4) == 0:
        return (c,), ()
    n = draw.shape(1, 1, 4)
    rest = draw.shape(0, 2, 3) if draw.boolean() else ()
    return (*n, c, *rest), (*n, *rest)


def class_options(draw: Draw, classes: int) -> dict[str, Any]:
    """Weights, an ignored class and the reduction."""
    options: dict[str, Any] = {"reduction": draw.choice(REDUCTIONS)}
    if draw.boolean():
        options["weight"] = draw.array((classes,), 0.2, 2.0)
    if draw.boolean():
        options["ignore_index"] = draw.integer(0, classes - 1)
    return options


def ids_with_ignored(draw: Draw, shape: tuple[int, ...], classes: int) -> np.ndarray:
    """Class ids, now and then -100."""
    ids = draw.rng.integers(0, classes, shape)
    return draw.lay_out(np.where(draw.rng.random(shape) < 0.1, -100, ids), allow_broadcast=False)


def kept_some(case: dict[str, Any]) -> dict[str, Any]:
    """Some id counts, so that the mean of the losses is one of numbers."""
    ids, ignored = case["target"], case.get("ignore_index", -100)
    classes = case["input"].shape[1 if case["input"].ndim > 1 else 0]
    if ids.size and not ((ids != ignored) & (ids != -100)).any():
        case["ignore_index"] = -100
        case["target"] = np.full(ids.shape, classes - 1)
    elif "ignore_index" in case:
        case["target"] = np.where(ids == -100, ignored, ids)
    return case


def class_ids(draw: Draw) -> dict[str, Any]:
    """Scores of any rank and class ids."""
    shape, ids_shape = scores_of_classes(draw)
    classes = shape[1] if len(shape) > 1 else shape[0]
    case = {"input": draw.array(shape), "target": ids_with_ignored(draw, ids_shape, classes)}
    return kept_some(case | class_options(draw, classes))


def smoothed(inputs: Callable[[Draw], dict[str, Any]]) -> Callable[[Draw], dict[str, Any]]:
    """The inputs, at times with label smoothing."""
    return lambda draw: inputs(draw) | {"label_smoothing": draw.choice((0.0, 0.1, 1.0))}


def many_classes(draw: Draw) -> dict[str, Any]:
    """Rows so long that their exponentials are not kept."""
    classes = draw.integer(128, 200)
    case = {"input": draw.array((3, classes)), "target": ids_with_ignored(draw, (3,), classes)}
    return kept_some(case | class_options(draw, classes))


def many_rows(draw: Draw) -> dict[str, Any]:
    """More rows than are worked on together."""
    n = draw.integer(200, 300)
    return {"input": draw.array((n, 10)), "target": draw.integers((n,), 0, 9)}


def probabilities(draw: Draw) -> dict[str, Any]:
    """Scores and probabilities of any rank."""
    shape, _ = scores_of_classes(draw)
    case = {"input": draw.array(shape), "target": draw.array(shape, 0.0, 1.0), "reduction": draw.choice(REDUCTIONS)}
    if draw.boolean():
        case["weight"] = draw.array((shape[1] if len(shape) > 1 else shape[0],), 0.2, 2.0)
    return case | {"label_smoothing": draw.choice((0.0, 0.1))}


def pair(
    low: float = -2.0,
    high: float = 2.0,
    target_low: float = -2.0,
    target_high: float = 2.0,
    min_size: int = 0,
    **options: tuple[Any, ...],
) -> Callable[[Draw], dict[str, Any]]:
    """Input and target of one shape, a reduction and other options."""

    def inputs(draw: Draw) -> dict[str, Any]:
        shape = draw.shape(0, 3, 4, min_size)
        case = {"input": draw.array(shape, low, high), "target": draw.array(shape, target_low, target_high)}
        choices = {"reduction": REDUCTIONS, **options}
        return case | {name: draw.choice(values) for name, values in choices.items()}

    return inputs


def large_pair(low: float = -2.0, high: float = 2.0, target_low: float = -2.0, target_high: float = 2.0) -> Any:
    """More elements than one task adds up."""

    def inputs(draw: Draw) -> dict[str, Any]:
        shape = (draw.integer(8193, 8200),)
        return {"input": draw.array(shape, low, high), "target": draw.array(shape, target_low, target_high)}

    return inputs


def weighted_pair(inputs: Callable[[Draw], dict[str, Any]]) -> Callable[[Draw], dict[str, Any]]:
    """The inputs with weights that broadcast to them."""

    def weighted(draw: Draw) -> dict[str, Any]:
        case = inputs(draw)
        return case | {"weight": draw.array(draw.broadcastable(case["input"].shape), 0.2, 2.0)}

    return weighted


def with_pos_weight(draw: Draw) -> dict[str, Any]:
    """Scores and targets with both kinds of weights."""
    case = weighted_pair(pair(target_low=0.0, target_high=1.0, min_size=1))(draw)
    return case | {"pos_weight": draw.array(draw.broadcastable(case["input"].shape), 0.2, 2.0)}


def signs(draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """Targets 1 and -1."""
    return draw.lay_out(np.where(draw.rng.random(shape) < 0.5, 1.0, -1.0), allow_broadcast=False)


def signed_pair(draw: Draw) -> dict[str, Any]:
    """Scores and targets 1 or -1."""
    shape = draw.shape(0, 3, 4)
    return {"input": draw.array(shape), "target": signs(draw, shape), "reduction": draw.choice(REDUCTIONS)}


def observations(draw: Draw) -> dict[str, Any]:
    """Means, observations and their variances."""
    shape = draw.shape(1, 3, 4, min_size=1)
    var_shape = draw.choice((shape, (*shape[:-1], 1), shape[:-1]))
    return {
        "input": draw.array(shape),
        "target": draw.array(shape),
        "var": draw.array(var_shape, 0.3, 2.0),
        "full": draw.boolean(),
        "reduction": draw.choice(REDUCTIONS),
    }


def gaussian_reference(input, target, var, full=False, reduction="mean"):
    """The definition, for variances without the last dimension too."""
    if var.ndim < input.ndim:
        var = var[..., None]
    return divergence.gaussian_nll_loss_reference(input, target, var, full, reduction=reduction)


def ranked(draw: Draw) -> dict[str, Any]:
    """Two scores and which should be greater."""
    shape = draw.shape(0, 2, 4)
    return {
        "input1": draw.array(shape),
        "input2": draw.array(shape),
        "target": signs(draw, shape),
        "margin": draw.choice((0.0, 0.5)),
        "reduction": draw.choice(REDUCTIONS),
    }


def vectors(draw: Draw) -> dict[str, Any]:
    """Two vectors and whether they are alike."""
    batch = draw.shape(0, 1, 4)
    shape = (*batch, draw.integer(2, 4))
    return {
        "input1": draw.array(shape, avoid=(0.0,)),
        "input2": draw.array(shape, avoid=(0.0,)),
        "target": signs(draw, batch),
        "margin": draw.choice((0.0, 0.3)),
        "reduction": draw.choice(REDUCTIONS),
    }


def triplets(draw: Draw) -> dict[str, Any]:
    """An anchor, a positive and a negative."""
    shape = (*draw.shape(0, 1, 4), draw.integer(2, 4))
    return {
        "anchor": draw.array(shape, -1.0, 0.0),
        "positive": draw.array(shape, 0.2, 1.0),
        "negative": draw.array(shape, 1.2, 2.0),
        "p": draw.choice((2.0, 1.0, 3.0)),
        "swap": draw.boolean(),
        "margin": draw.choice((1.0, 3.0)),
        "reduction": draw.choice(REDUCTIONS),
    }


# ---------------------------------------------------------------- refusals


def refused(error: type[NbdlError], mentions: str, **arguments: Any) -> Refusal:
    """Bad arguments for an input of [2, 3]."""
    return Refusal(lambda: {"input": np.full((2, 3), 0.5), **arguments}, error, mentions)


IDS = np.array([0, 2])
HALVES = np.full((2, 3), 0.5)
WITH_NAN = np.array([[0.5, 0.5, np.nan], [0.5, 0.5, 0.5]])

CLASS_REFUSALS = (
    refused(IndexRangeError, "target", target=np.array([0, 3])),
    refused(IndexRangeError, "target", target=np.array([-1, 2])),
    refused(ShapeError, "target", target=np.array([0, 1, 2])),
    refused(ShapeError, "target", target=np.zeros((2, 3), np.int64)),
    refused(ShapeError, "weight", target=IDS, weight=np.ones(2)),
    refused(DTypeError, "weight", target=IDS, weight=np.ones(3, np.float32)),
    refused(ArgumentError, "reduction", target=IDS, reduction="average"),
    Refusal(lambda: {"input": np.ones((2, 3), np.int64), "target": IDS}, DTypeError, "input"),
    Refusal(lambda: {"input": np.ones(()), "target": np.array(0)}, ShapeError, "input"),
)

PAIR_REFUSALS = (
    refused(ShapeError, "shape", target=np.full((2, 4), 0.5)),
    refused(DTypeError, "target", target=np.full((2, 3), 0.5, np.float32)),
    refused(ArgumentError, "target", target=WITH_NAN),
    refused(ArgumentError, "target", target=WITH_NAN, reduction="none"),
    refused(ArgumentError, "reduction", target=HALVES, reduction="average"),
    Refusal(lambda: {"input": np.ones((2, 3), np.int64), "target": HALVES}, DTypeError, "input"),
)


def pointwise_rows(
    function: Callable[..., Any],
    reference: Callable[..., Any],
    inputs: Callable[[Draw], dict[str, Any]],
    large: Callable[[Draw], dict[str, Any]] | None,
    refusals: tuple[Refusal, ...] = (),
    differentiable: tuple[str, ...] = ("input", "target"),
) -> list[OpSpec]:
    """The rows of a loss that compares element by element."""
    rows = [
        OpSpec(
            function,
            reference,
            inputs,
            differentiable,
            {"float64": 1e-11, "float32": 1e-5},
            (*PAIR_REFUSALS, *refusals),
            benchmark=lambda rng: {"input": rng.random((1024, 1024)), "target": rng.random((1024, 1024))},
        )
    ]
    if large is not None:
        wide = {"float64": 1e-11, "float32": 1e-4}
        rows.append(OpSpec(function, reference, large, differentiable, wide, variant="several pieces"))
    return rows


def _benchmark_classes(rng: np.random.Generator) -> dict[str, Any]:
    return {"input": rng.standard_normal((4096, 1000)), "target": rng.integers(0, 1000, 4096)}


UNIT: dict[str, Any] = {"target_low": 0.05, "target_high": 0.95}

SPECS = [
    OpSpec(
        cross_entropy,
        cross_entropy_reference,
        smoothed(class_ids),
        ("input",),
        refusals=(
            *CLASS_REFUSALS,
            refused(ArgumentError, "label_smoothing", target=IDS, label_smoothing=1.5),
            refused(ArgumentTypeError, "label_smoothing", target=IDS, label_smoothing="0.1"),
            refused(ArgumentError, "ignore_index", target=HALVES, ignore_index=0),
            refused(ArgumentError, "target", target=WITH_NAN),
            refused(ArgumentError, "target", target=WITH_NAN, reduction="none"),
            refused(ShapeError, "target", target=np.full((2, 4), 0.5)),
            refused(DTypeError, "target", target=np.full((2, 3), 0.5, np.float32)),
        ),
        benchmark=_benchmark_classes,
    ),
    OpSpec(
        cross_entropy,
        cross_entropy_reference,
        smoothed(many_classes),
        ("input",),
        variant="many classes",
    ),
    OpSpec(
        cross_entropy,
        cross_entropy_reference,
        many_rows,
        ("input",),
        variant="many rows",
    ),
    OpSpec(
        cross_entropy,
        soft_cross_entropy_reference,
        probabilities,
        ("input", "target"),
        variant="probabilities",
    ),
    OpSpec(
        nll.nll_loss,
        nll.nll_loss_reference,
        class_ids,
        ("input",),
        refusals=CLASS_REFUSALS,
        benchmark=_benchmark_classes,
    ),
    *pointwise_rows(regression.mse_loss, regression.mse_loss_reference, pair(), large_pair()),
    *pointwise_rows(regression.l1_loss, regression.l1_loss_reference, pair(), large_pair()),
    *pointwise_rows(
        regression.smooth_l1_loss,
        regression.smooth_l1_loss_reference,
        pair(beta=(1.0, 0.5, 0.0)),
        large_pair(),
        (refused(ArgumentError, "beta", target=HALVES, beta=-1.0),),
    ),
    *pointwise_rows(
        regression.huber_loss,
        regression.huber_loss_reference,
        pair(delta=(1.0, 0.5)),
        large_pair(),
        (refused(ArgumentError, "delta", target=HALVES, delta=0.0),),
    ),
    *pointwise_rows(
        binary.binary_cross_entropy,
        binary.binary_cross_entropy_reference,
        pair(0.05, 0.95, **UNIT),
        large_pair(0.05, 0.95, **UNIT),
        (
            Refusal(lambda: {"input": np.array([1.5]), "target": np.array([1.0])}, ArgumentError, "input"),
            Refusal(lambda: {"input": np.array([np.nan]), "target": np.array([1.0])}, ArgumentError, "input"),
            Refusal(lambda: {"input": np.array([0.5]), "target": np.array([1.5])}, ArgumentError, "target"),
            Refusal(lambda: {"input": np.array([0.5]), "target": np.array([-0.5])}, ArgumentError, "target"),
        ),
    ),
    OpSpec(
        binary.binary_cross_entropy,
        binary.binary_cross_entropy_reference,
        weighted_pair(pair(0.05, 0.95, min_size=1, **UNIT)),
        ("input", "target", "weight"),
        variant="weights",
    ),
    OpSpec(
        binary.binary_cross_entropy,
        binary.binary_cross_entropy_reference,
        lambda draw: {"input": draw.integers((4,), 0, 1).astype(float), "target": draw.array((4,), 0.0, 1.0)},
        variant="certain",
    ),
    *pointwise_rows(
        binary.binary_cross_entropy_with_logits,
        binary.binary_cross_entropy_with_logits_reference,
        pair(**UNIT),
        large_pair(**UNIT),
    ),
    OpSpec(
        binary.binary_cross_entropy_with_logits,
        binary.binary_cross_entropy_with_logits_reference,
        weighted_pair(pair(min_size=1, **UNIT)),
        ("input", "target", "weight"),
        variant="weights",
    ),
    OpSpec(
        binary.binary_cross_entropy_with_logits,
        binary.binary_cross_entropy_with_logits_reference,
        with_pos_weight,
        ("input", "target", "weight", "pos_weight"),
        refusals=(refused(ShapeError, "shape", target=HALVES, pos_weight=np.ones(2)),),
        variant="weights of positives",
    ),
    *pointwise_rows(
        divergence.kl_div,
        divergence.kl_div_reference,
        pair(-3.0, 0.0, 0.05, 1.0, reduction=(*REDUCTIONS, "batchmean")),
        large_pair(-3.0, 0.0, 0.05, 1.0),
    ),
    OpSpec(
        divergence.kl_div,
        divergence.kl_div_reference,
        lambda draw: pair(-3.0, 0.0, -3.0, 0.0)(draw) | {"log_target": True},
        ("input", "target"),
        variant="logarithms",
    ),
    OpSpec(
        divergence.kl_div,
        divergence.kl_div_reference,
        lambda draw: {"input": draw.array((3, 4), -3.0, 0.0), "target": draw.integers((3, 4), 0, 1).astype(float)},
        ("input",),
        variant="zeros",
    ),
    *pointwise_rows(
        divergence.poisson_nll_loss,
        divergence.poisson_nll_loss_reference,
        pair(-1.0, 2.0, 1.2, 5.0, full=(False, True)),
        None,
        (refused(ArgumentError, "eps", target=HALVES, eps=-1.0),),
    ),
    OpSpec(
        divergence.poisson_nll_loss,
        divergence.poisson_nll_loss_reference,
        lambda draw: pair(0.3, 4.0, 1.2, 5.0, full=(False, True))(draw) | {"log_input": False},
        ("input", "target"),
        variant="rates",
    ),
    OpSpec(
        divergence.gaussian_nll_loss,
        gaussian_reference,
        observations,
        ("input", "target", "var"),
        refusals=(
            refused(ArgumentError, "var", target=HALVES, var=-HALVES),
            refused(ShapeError, "var", target=HALVES, var=np.ones(3)),
            refused(DTypeError, "target", target=HALVES.astype(np.float32), var=HALVES),
            refused(ArgumentError, "eps", target=HALVES, var=HALVES, eps=0.0),
            refused(ArgumentError, "reduction", target=HALVES, var=HALVES, reduction="average"),
        ),
    ),
    OpSpec(
        divergence.soft_margin_loss,
        divergence.soft_margin_loss_reference,
        signed_pair,
        ("input", "target"),
        refusals=PAIR_REFUSALS,
    ),
    OpSpec(
        ranking.margin_ranking_loss,
        ranking.margin_ranking_loss_reference,
        ranked,
        ("input1", "input2", "target"),
        refusals=(
            Refusal(
                lambda: {"input1": np.ones(3), "input2": np.ones((1, 3)), "target": np.ones(3)}, ShapeError, "input2"
            ),
            Refusal(
                lambda: {"input1": np.ones(3), "input2": np.ones(3), "target": np.ones(3), "margin": np.nan},
                ArgumentError,
                "margin",
            ),
        ),
    ),
    OpSpec(
        ranking.hinge_embedding_loss,
        ranking.hinge_embedding_loss_reference,
        lambda draw: signed_pair(draw) | {"margin": draw.choice((1.0, 0.3))},
        ("input",),
        refusals=(refused(ArgumentError, "reduction", target=HALVES, reduction="average"),),
    ),
    OpSpec(
        ranking.cosine_embedding_loss,
        ranking.cosine_embedding_loss_reference,
        vectors,
        ("input1", "input2"),
        {"float64": 1e-11, "float32": 1e-4},
        refusals=(
            Refusal(lambda: {"input1": HALVES, "input2": HALVES, "target": np.ones(3)}, ShapeError, "target"),
            Refusal(
                lambda: {"input1": HALVES, "input2": HALVES.astype(np.float32), "target": np.ones(2)},
                DTypeError,
                "input2",
            ),
        ),
    ),
    OpSpec(
        ranking.triplet_margin_loss,
        ranking.triplet_margin_loss_reference,
        triplets,
        ("anchor", "positive", "negative"),
        {"float64": 1e-11, "float32": 1e-4},
        refusals=(
            Refusal(
                lambda: {"anchor": HALVES, "positive": HALVES, "negative": HALVES, "margin": 0.0},
                ArgumentError,
                "margin",
            ),
            Refusal(lambda: {"anchor": HALVES, "positive": HALVES[0], "negative": HALVES}, ShapeError, "positive"),
        ),
    ),
]
