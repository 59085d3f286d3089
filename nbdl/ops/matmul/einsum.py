r"""Einstein's summation: an equation names the dimensions, and what the output does not name is summed.

$$Y_{\text{out}} = \sum_{\text{labels not in out}} \; \prod_p X^{(p)}_{\text{labels of } p}$$

Two operands at a time become a product of matrices. Each label of the pair is of one of four kinds:

| in both, still needed | in both, no longer needed | in the left alone | in the right alone |
|---|---|---|---|
| batch | inner, K | rows, M | columns, N |

So a permutation and a reshape of each operand make `matmul` do the work, and the gradients come from those three.
With no inner label the pair is a product of elements. The order of the pairs is the cheapest of all where there are
few operands, else from left to right.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.matmul.products import matmul
from nbdl.ops.shape.diagonals import diagonal
from nbdl.ops.shape.views import permute, reshape
from nbdl.runtime.checks import check_float, check_int, check_same_dtype
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError

Label = str | int
"""A letter, or for a dimension under an ellipsis its number counted from the right: -1, -2, ..."""

Labels = tuple[Label, ...]

LETTERS = ascii_uppercase + ascii_lowercase
"""What the numbers 0 to 51 mean in lists of labels."""

MOST_SEARCHED = 5
"""Operands up to which every order of pairs is tried."""

# ---------------------------------------------------------------- reference


def einsum_reference(equation, *operands):
    """The definition, in float64: NumPy reads the same equations."""
    return np.einsum(equation, *operands)


# ---------------------------------------------------------------- the equation


@functools.lru_cache(maxsize=512)
def _parse(equation: str, ranks: tuple[int, ...]) -> tuple[tuple[Labels, ...], Labels]:
    """The labels of each operand and of the output, for operands of the given ranks."""
    text = equation.replace(" ", "")
    before, arrow, after = text.partition("->")
    parts = before.split(",")
    if len(parts) != len(ranks):
        raise ArgumentError(
            f"equation: expected one group of letters for each of {len(ranks)} operands, got {equation!r}"
        )
    inputs = tuple(_labels(part, rank, equation) for part, rank in zip(parts, ranks, strict=True))
    every = [label for labels in inputs for label in labels]
    covered = tuple(range(min([label for label in every if isinstance(label, int)], default=0), 0))
    if not arrow:
        letters = sorted({label for label in every if isinstance(label, str) and every.count(label) == 1})
        return inputs, (*covered, *letters)
    output = _labels(after, len(after.replace("...", "")) + len(covered) * ("..." in after), equation)
    for label in output:
        if output.count(label) > 1 or label not in every:
            raise ArgumentError(f"equation: expected each output label once and from an operand, got {equation!r}")
    return inputs, output


def _labels(part: str, rank: int, equation: str) -> Labels:
    """The labels of one operand, its ellipsis written out."""
    head, dots, tail = part.partition("...")
    if not all(letter.isalpha() and letter.isascii() for letter in head + tail):
        raise ArgumentError(f"equation: expected letters, commas, one '...' an operand and '->', got {equation!r}")
    covered = rank - len(head) - len(tail)
    if covered < 0 or (covered and not dots):
        raise ShapeError(f"operands: expected {len(head + tail)} dimensions for {part!r} of {equation!r}, got {rank}")
    return (*head, *range(-covered, 0), *tail)


def _from_sublists(arguments: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """Equation and operands of the form `einsum(x, [0, 1], y, [1, 2], [0, 2])`."""
    if len(arguments) < 2:
        raise ArgumentError("operands: expected a list of labels after each tensor, got one tensor alone")
    count = len(arguments) // 2
    groups = ["".join(_letters(f"sublists[{n}]", arguments[2 * n + 1])) for n in range(count)]
    output = "->" + "".join(_letters("the output's sublist", arguments[-1])) if len(arguments) % 2 else ""
    return ",".join(groups) + output, arguments[: 2 * count : 2]


def _letters(name: str, sublist: Any) -> list[str]:
    """The letters of a list of labels: A to Z are 0 to 25, a to z 26 to 51, in the order that letters have."""
    if not isinstance(sublist, (list, tuple)):
        raise ArgumentTypeError(f"{name}: expected a list of labels from 0 to 51, got {type(sublist).__name__}")
    return ["..." if label is Ellipsis else LETTERS[check_int(name, label, 0, 51)] for label in sublist]


# ---------------------------------------------------------------- the order of the pairs


@functools.lru_cache(maxsize=512)
def _cheapest(terms: tuple[Labels, ...], sizes: tuple[tuple[Label, int], ...], output: Labels) -> tuple[float, Any]:
    """The multiply-adds of the cheapest order, and its first pair."""
    if len(terms) == 1:
        return 0.0, None
    best: tuple[float, Any] = (math.inf, None)
    size = dict(sizes)
    for i in range(len(terms)):
        for j in range(i + 1, len(terms)):
            rest = [labels for position, labels in enumerate(terms) if position not in (i, j)]
            joint = tuple(dict.fromkeys(terms[i] + terms[j]))
            kept = tuple(label for label in joint if label in output or any(label in labels for labels in rest))
            cost = math.prod([float(size[label]) for label in joint])
            if cost < best[0]:
                cost += _cheapest((*rest, kept), sizes, output)[0]
                if cost < best[0]:
                    best = (cost, (i, j))
    return best


# ---------------------------------------------------------------- contraction


def _simplify(x: Tensor, labels: Labels, size: dict[Label, int]) -> tuple[Tensor, Labels]:
    """The operand with each label once, and without the dimensions that are broadcast."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x = diagonal(x, 0, first, second)
            labels = (*(other for i, other in enumerate(labels) if i not in (first, second)), label)
    kept = tuple(label for label, have in zip(labels, x.shape, strict=True) if have == size[label])
    if kept != labels:
        x, labels = reshape(x, tuple(size[label] for label in kept)), kept
    return x, labels


def _sum_alone(x: Tensor, labels: Labels, needed: set[Label]) -> tuple[Tensor, Labels]:
    """The operand summed over the labels that no one else needs."""
    alone = tuple(i for i, label in enumerate(labels) if label not in needed)
    return (x.sum(alone), tuple(label for label in labels if label in needed)) if alone else (x, labels)


def _arrange(x: Tensor, labels: Labels, wanted: Sequence[Label]) -> Tensor:
    """The operand with its dimensions in the wanted order."""
    order = tuple(labels.index(label) for label in wanted)
    return x if order == tuple(range(len(order))) else permute(x, order)


def _contract(a: Tensor, left: Labels, b: Tensor, right: Labels, needed: set[Label]) -> tuple[Tensor, Labels]:
    """Two operands into one, summed over the labels that both have and no one else needs."""
    size = {**dict(zip(left, a.shape, strict=True)), **dict(zip(right, b.shape, strict=True))}
    batch = [label for label in left if label in right and label in needed]
    inner = [label for label in left if label in right and label not in needed]
    rows = [label for label in left if label not in right]
    columns = [label for label in right if label not in left]
    shape = [size[label] for label in batch]
    m, k, n = (tuple(size[label] for label in group) for group in (rows, inner, columns))
    a, b = _arrange(a, left, batch + rows + inner), _arrange(b, right, batch + inner + columns)
    if inner:
        lead = math.prod(shape)
        a, b = reshape(a, (lead, math.prod(m), math.prod(k))), reshape(b, (lead, math.prod(k), math.prod(n)))
        y = reshape(matmul(a, b), (*shape, *m, *n))
    else:
        y = reshape(a, (*shape, *m, *(1,) * len(n))) * reshape(b, (*shape, *(1,) * len(m), *n))
    return y, (*batch, *rows, *columns)


# ---------------------------------------------------------------- public


def einsum(equation: Any, *operands: Any) -> Tensor:
    r"""Sums products of the operands' elements, as an equation of letters says.

    `"ij,jk->ik"` is the matrix product: each letter names a dimension, letters that the output lacks are summed. A
    letter twice in one operand takes a diagonal, `...` stands for any further dimensions, and without `->` the output
    has the ellipsis and then, in alphabetical order, the letters that occur once.

    Numbers can stand for the letters: `einsum(x, [0, 1], y, [1, 2], [0, 2])`, each list behind its operand, the
    output's, if any, at the end, `Ellipsis` for `...`.

    Args:
        equation: One group of letters for each operand, separated by commas; spaces are ignored. Or the first operand,
            if lists of numbers from 0 to 51 name the dimensions.
        operands: Tensors of one dtype, float32 or float64, or one list of them. A dimension of size 1 is broadcast
            against another size of its letter.

    Returns:
        A dimension for each letter of the output. With a single operand and nothing to sum it is a view.

    Raises:
        ArgumentError: The equation is malformed, or has another number of operands, or a number is no label.
        ShapeError: An operand's rank does not fit its letters, or one letter has two sizes.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For all operands.

    Example:
        >>> x = nbdl.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> nbdl.einsum("ii", x), nbdl.einsum("ij->j", x)
        (tensor(5.), tensor([4., 6.]))
    """
    if isinstance(equation, Tensor):
        equation, operands = _from_sublists((equation, *operands))
    if not isinstance(equation, str):
        raise ArgumentTypeError(f"equation: expected a text or a Tensor, got {type(equation).__name__}")
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not operands:
        raise ArgumentError("operands: expected at least one tensor, got none")
    for position, operand in enumerate(operands):
        name = f"operands[{position}]"
        check_same_dtype(name, check_float(name, operand), "operands[0]", operands[0])
    inputs, output = _parse(equation, tuple(operand.ndim for operand in operands))

    size: dict[Label, int] = {}
    for operand, labels in zip(operands, inputs, strict=True):
        own: dict[Label, int] = {}
        for label, have in zip(labels, operand.shape, strict=True):
            known = size.get(label, 1)
            if have != own.setdefault(label, have) or (have != known and 1 not in (have, known)):
                sizes = f"{own[label] if have != own[label] else known} and {have}"
                raise ShapeError(f"operands: expected one size of label {label!r} in {equation!r}, got {sizes}")
            size[label] = have if known == 1 else known

    simple = [_simplify(operand, labels, size) for operand, labels in zip(operands, inputs, strict=True)]
    terms = [
        _sum_alone(x, labels, set(output).union(*(group for other, (_, group) in enumerate(simple) if other != i)))
        for i, (x, labels) in enumerate(simple)
    ]
    while len(terms) > 1:
        pair = (0, 1)
        if 2 < len(terms) <= MOST_SEARCHED:
            pair = _cheapest(tuple(labels for _, labels in terms), tuple(size.items()), output)[1]
        (a, left), (b, right) = (terms[i] for i in pair)
        terms = [term for i, term in enumerate(terms) if i not in pair]
        needed = set(output).union(*(labels for _, labels in terms))
        joined = _contract(a, left, b, right, needed)
        terms = [joined, *terms] if pair == (0, 1) else [*terms, joined]
    result, labels = terms[0]
    return _arrange(result, labels, output)
