"""What a classifier gets right and wrong, as SVG drawings: the confusion matrix, and single predictions."""

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from nbdl.explain.png import png_address
from nbdl.svg import drawing
from nbdl.train.curve import COLORS

RIGHT, WRONG = COLORS[0], COLORS[3]
CELL, MARGIN, HEADING = 46, 24, 94
NAME_WIDTH = 7.2  # pixels a letter, about
COLUMNS, TILE, GAP, CAPTION = 8, 84, 12, 40
WIDTH = 2 * MARGIN + COLUMNS * TILE + (COLUMNS - 1) * GAP

PICTURE_STYLE = """
  .small { font-size: 11px } .number { font-variant-numeric: tabular-nums }
  .on { fill: #ffffff } .faint { fill: #9ca3af }
  .right { fill: #2563eb } .wrong { fill: #dc2626 }
  .frame { fill: none; stroke: #e5e7eb }
  image { image-rendering: pixelated }
  @media (prefers-color-scheme: dark) {
    .frame { stroke: #374151 } .faint { fill: #6b7280 } .on { fill: #ffffff }
    .right { fill: #60a5fa } .wrong { fill: #f87171 }
  }
"""


def confusion_matrix(labels: np.ndarray, guesses: np.ndarray, classes: int) -> np.ndarray:
    """How often each class was taken for each: int64 [C, C], a row a true class, a column an answer."""
    counts: np.ndarray = np.bincount(labels * classes + guesses, minlength=classes * classes)
    return counts.reshape(classes, classes)


def draw_confusion(matrix: np.ndarray, classes: Sequence[str], title: str) -> str:
    """Draws a confusion matrix: right answers blue, mistakes red, as strong as their share of the row.

    Args:
        matrix: [C, C], as from `confusion_matrix`.
        classes: C names.
        title: Heading, and the name that screen readers say.

    Returns:
        The text of an SVG file, readable on light and on dark pages.
    """
    count = len(classes)
    names = max(NAME_WIDTH * max(map(len, classes)), 20.0)
    upright = max(map(len, classes)) <= 3  # other names of columns are turned
    left, top = MARGIN + 20 + names, HEADING + (0 if upright else 0.6 * names)
    width, height = left + count * CELL + 72, top + count * CELL + MARGIN
    right_share = matrix.trace() / max(matrix.sum(), 1)
    middle = left + count * CELL / 2
    parts = [
        f'<text class="small" x="{MARGIN}" y="44">{matrix.trace():,} of {matrix.sum():,} right, '
        f"{100 * right_share:.2f} %</text>",
        f'<text x="{middle:.0f}" y="{HEADING - 30}" text-anchor="middle">answer</text>',
        f'<text transform="translate({MARGIN + 4} {top + count * CELL / 2:.0f}) rotate(-90)" '
        'text-anchor="middle">truth</text>',
        f'<text class="small" x="{left + count * CELL + 12}" y="{top - 6:.0f}">found</text>',
    ]
    for i, name in enumerate(classes):
        y, x = top + (i + 0.5) * CELL + 4, left + (i + 0.5) * CELL
        parts.append(f'<text x="{left - 8:.1f}" y="{y:.1f}" text-anchor="end">{escape(name)}</text>')
        if upright:
            parts.append(f'<text x="{x:.1f}" y="{top - 6:.1f}" text-anchor="middle">{escape(name)}</text>')
        else:
            parts.append(f'<text transform="translate({x:.1f} {top - 6:.1f}) rotate(-35)">{escape(name)}</text>')
        parts += _confusion_row(matrix[i], i, left, top + i * CELL)
    return drawing(width, height, title, parts, PICTURE_STYLE, MARGIN)


def _confusion_row(row: np.ndarray, truth: int, left: float, top: float) -> Iterable[str]:
    """The cells of one true class, and the share of it that was found."""
    total = int(row.sum())
    for column, number in enumerate(map(int, row)):
        x, share = left + column * CELL, number / max(total, 1)
        color = RIGHT if column == truth else WRONG
        strength = share if column == truth else min(1.0, 0.15 + 4 * share) if number else 0.0
        yield f'<rect class="frame" x="{x:.1f}" y="{top:.1f}" width="{CELL}" height="{CELL}"/>'
        if number:
            yield (
                f'<rect x="{x + 1:.1f}" y="{top + 1:.1f}" width="{CELL - 2}" height="{CELL - 2}" rx="3" '
                f'fill="{color}" fill-opacity="{strength:.3f}"/>'
            )
        tone = "on" if strength > 0.5 else "" if number else "faint"
        yield (
            f'<text class="number {tone}" x="{x + CELL / 2:.1f}" y="{top + CELL / 2 + 4:.1f}" '
            f'text-anchor="middle">{number if number else "·"}</text>'
        )
    found = f"{100 * row[truth] / total:.1f} %" if total else ""
    yield f'<text class="small number" x="{left + len(row) * CELL + 12}" y="{top + CELL / 2 + 4:.1f}">{found}</text>'


def draw_predictions(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    title: str,
    ink: bool = True,
) -> str:
    """Draws mistakes, the surest first, and below them right answers, the least sure first.

    Args:
        images: [N, C, H, W] with one channel or three, values from 0 to 1.
        labels: [N], class ids.
        probabilities: [N, classes].
        classes: Their names.
        title: Heading, and the name that screen readers say.
        ink: A value of 1 is ink on paper, not light.

    Returns:
        The text of an SVG file, readable on light and on dark pages. The images are in it.
    """
    guesses = probabilities.argmax(axis=1)
    sureness = probabilities.max(axis=1)
    wrong, right = np.flatnonzero(guesses != labels), np.flatnonzero(guesses == labels)
    wrong = wrong[np.argsort(-sureness[wrong], kind="stable")]
    right = right[np.argsort(sureness[right], kind="stable")]
    sections = [
        (f"{len(wrong):,} wrong of {len(labels):,}, the surest first", wrong[: 2 * COLUMNS]),
        ("right, the least sure first", right[:COLUMNS]),
    ]
    y, parts = 48, []
    for heading, chosen in sections:
        if len(chosen) == 0:
            continue
        parts.append(f'<text x="{MARGIN}" y="{y + 12}">{escape(heading)}</text>')
        for place, i in enumerate(map(int, chosen)):
            x, top = MARGIN + place % COLUMNS * (TILE + GAP), y + 24 + place // COLUMNS * (TILE + CAPTION)
            said = f"{classes[guesses[i]]} {100 * sureness[i]:.0f} %"
            is_right = guesses[i] == labels[i]
            tone = "right" if is_right else "wrong"
            shown = 1 - images[i] if ink else images[i]
            parts += [
                f'<image x="{x}" y="{top}" width="{TILE}" height="{TILE}" href="{png_address(shown)}"/>',
                f'<rect class="frame" x="{x}" y="{top}" width="{TILE}" height="{TILE}"/>',
                f'<text class="small {tone}" x="{x}" y="{top + TILE + 14}">{escape(said)}</text>',
            ]
            if not is_right:
                truth = f"is {classes[labels[i]]}"
                parts.append(f'<text class="small" x="{x}" y="{top + TILE + 27}">{escape(truth)}</text>')
        y += 36 + -(-len(chosen) // COLUMNS) * (TILE + CAPTION)
    return drawing(WIDTH, y + 8, title, parts, PICTURE_STYLE, MARGIN)
