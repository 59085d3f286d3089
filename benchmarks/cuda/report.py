"""The report as Markdown."""

from __future__ import annotations

import math

from benchmarks.cuda.correctness import Verdict
from benchmarks.cuda.speed import Row


def table(title: str, first: str, rows: list[Row], share: str = "") -> list[str]:
    """A table of times in milliseconds, with a column for the share of what the machine can do."""
    if not rows:
        return [f"## {title}", "", "Not measured: there was no time left.", ""]
    columns = list(dict.fromkeys(name for row in rows for name in row.milliseconds))
    lines = [f"## {title}", "", "| " + " | ".join([first, *columns, *([share] if share else [])]) + " |"]
    lines.append("|---" * (1 + len(columns) + bool(share)) + "|")
    for row in rows:
        cells = [_number(row.milliseconds.get(name, math.nan)) for name in columns]
        cells += ["-" if math.isnan(row.share) else f"{row.share:.1f} %"] if share else []
        lines.append("| " + " | ".join([row.name, *cells]) + " |")
    notes = [f"- {row.name}: {row.note}" for row in rows if row.note]
    return [*lines, "", *notes, *([""] if notes else [])]


def _number(milliseconds: float) -> str:
    return "-" if math.isnan(milliseconds) else f"{milliseconds:.4g}"


def correctness(verdict: Verdict, sanitizer: str) -> list[str]:
    """What the property tests and compute-sanitizer found."""
    lines = ["## Correctness", ""]
    lines.append(
        f"{verdict.operations} operations, {verdict.cases} drawn inputs, forward and backward in float32 and float64, "
        f"against float64: {len(verdict.faults)} failed."
    )
    lines += ["", *(f"- {fault}" for fault in verdict.faults)]
    if verdict.left_out:
        lines += ["", f"No time was left for {len(verdict.left_out)}: {', '.join(verdict.left_out)}."]
    return [*lines, "", f"compute-sanitizer: {sanitizer}.", ""]
