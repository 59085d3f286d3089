"""Writes what was measured: every case, the lost ones included, with date, versions and machine."""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import os
import platform
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from benchmarks.start import StartRow

_METHOD = """\
Each case runs in two processes, one with nbdl and one with PyTorch, a block of at least 20 steps each in turn.
A block's time is the median of its steps, a case's time the median of its blocks. The ratio is PyTorch's time divided
by nbdl's, the median over neighbouring blocks, with the smallest and largest in parentheses: above 1 nbdl is faster.
Cases whose blocks take more than two seconds have three blocks, all others nine. MiB is the peak of the whole process,
Python and the library included. PyTorch uses its fused optimizers. Repeat with `make bench`.
"""


def _machine() -> str:
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass  # not Linux: the name of the architecture must do
    return f"{model} ({llvm.get_host_cpu_name()}), {os.cpu_count()} cores, {platform.system()}"


def _versions() -> str:
    names = ("nbdl", "numba", "numpy", "llvmlite", "torch")
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} from source")
    return ", ".join([f"Python {platform.python_version()}", *found])


NOTES = "## In a web page"
"""What people wrote about the figures begins here; it stays when the figures are written anew."""

START = "Start and memory"


def write_results(path: Path, rows: Sequence[Any], start: Sequence[StartRow] | None) -> None:
    """Writes the file from the rows of `benchmarks.__main__` and of `benchmarks.start`.

    With no `start` (None) only the sections of the rows' topics are written, each with its date; others stay.
    """
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    figures, notes = (old[: old.index(NOTES)], old[old.index(NOTES) :]) if NOTES in old else (old, "")
    head, *sections = re.split(r"^## ", figures, flags=re.MULTILINE)
    measured = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}. {_versions()}. {_machine()}."
    texts = {text.split("\n", 1)[0]: text.split("\n", 1)[1].strip() for text in sections}
    if start is not None:
        head, texts = f"# Benchmark results\n\n{measured}\n\n{_METHOD}", {}
    for topic in dict.fromkeys(row.topic for row in rows):
        texts[topic] = _section(topic, [row for row in rows if row.topic == topic], measured if start is None else "")
    if start:
        texts[START] = _start_section(start)
    ordered = sorted(texts, key=lambda title: (title == START, title))
    parts = [head.strip(), *(f"## {title}\n\n{texts[title]}" for title in ordered), notes.strip()]
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def _section(topic: str, rows: Sequence[Any], measured: str) -> str:
    """What the topic is, where it was measured, and its table."""
    lines = [(importlib.import_module(f"benchmarks.cases.{topic}").__doc__ or "").strip(), ""]
    if measured:
        lines += [measured, ""]
    lines += [
        "| case | threads | nbdl | PyTorch | ratio | nbdl MiB | PyTorch MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.case} | {row.threads} | {row.nbdl:.1f} us | {row.torch:.1f} us "
            f"| **{row.ratio:.2f}** ({row.low:.2f} to {row.high:.2f}) "
            f"| {row.nbdl_peak:.0f} | {row.torch_peak:.0f} |"
        )
    for threads in dict.fromkeys(row.threads for row in rows):
        ratios = [row.ratio for row in rows if row.threads == threads]
        if len(ratios) > 1:
            mean, lost = statistics.geometric_mean(ratios), sum(ratio < 1 for ratio in ratios)
            lines.append(f"| geometric mean of {len(ratios)} | {threads} | | | **{mean:.2f}**, {lost} lost | | |")
    return "\n".join(lines)


def _start_section(start: Sequence[StartRow]) -> str:
    lines = ["| what | nbdl | PyTorch | ratio |", "|---|---|---|---|"]
    for row in start:
        torch = "" if row.torch is None else f"{row.torch:.2f} {row.unit}"
        ratio = "" if row.torch is None else f"**{row.torch / row.nbdl:.2f}**"
        lines.append(f"| {row.what} | {row.nbdl:.2f} {row.unit} | {torch} | {ratio} |")
    return "\n".join(lines)


SUMMARY = "<!-- speed -->"
"""Stands above and below the table of the README."""

_ROW = re.compile(r"^\| [^|]+ \| (\d+) \| [^|]+ us \| [^|]+ us \| \*\*([\d.]+)\*\* \(", re.MULTILINE)


def write_summary(path: Path, results: Path) -> None:
    """Writes the geometric mean of each topic's ratios, as the results say, between the marks of the README."""
    lines = ["", "| PyTorch's time by nbdl's | cases | 1 thread | 2 threads | lost |", "|---|---|---|---|---|"]
    for section in re.split(r"^## ", results.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        rows = [(int(threads), float(ratio)) for threads, ratio in _ROW.findall(section)]
        if not rows:
            continue
        means = [statistics.geometric_mean(ratio for count, ratio in rows if count == threads) for threads in (1, 2)]
        lost = sum(ratio < 1 for _, ratio in rows)
        name = section.split("\n", 1)[0].replace("_", " ")
        lines.append(f"| {name} | {len(rows) // 2} | {means[0]:.2f} | {means[1]:.2f} | {lost} of {len(rows)} |")
    before, _, after = path.read_text(encoding="utf-8").split(SUMMARY)
    path.write_text(SUMMARY.join([before, "\n".join([*lines, "", ""]), after]), encoding="utf-8")
