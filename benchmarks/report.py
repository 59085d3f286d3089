"""Writes what was measured: every case, the lost ones included, with date, versions and machine."""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


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


def write_results(path: Path, rows: Sequence[Any], start: Sequence[StartRow]) -> None:
    """Writes the file from the rows of `benchmarks.__main__` and of `benchmarks.start`."""
    lines = [
        "# Benchmark results",
        "",
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}. {_versions()}. {_machine()}.",
        "",
        _METHOD,
    ]
    for topic in dict.fromkeys(row.topic for row in rows):
        module = importlib.import_module(f"benchmarks.cases.{topic}")
        lines += [f"## {topic}", "", (module.__doc__ or "").strip(), ""]
        lines += [
            "| case | threads | nbdl | PyTorch | ratio | nbdl MiB | PyTorch MiB |",
            "|---|---|---|---|---|---|---|",
        ]
        mine = [row for row in rows if row.topic == topic]
        for row in mine:
            lines.append(
                f"| {row.case} | {row.threads} | {row.nbdl:.1f} us | {row.torch:.1f} us "
                f"| **{row.ratio:.2f}** ({row.low:.2f} to {row.high:.2f}) "
                f"| {row.nbdl_peak:.0f} | {row.torch_peak:.0f} |"
            )
        for threads in dict.fromkeys(row.threads for row in mine):
            ratios = [row.ratio for row in mine if row.threads == threads]
            if len(ratios) > 1:
                mean, lost = statistics.geometric_mean(ratios), sum(ratio < 1 for ratio in ratios)
                lines.append(f"| geometric mean of {len(ratios)} | {threads} | | | **{mean:.2f}**, {lost} lost | | |")
        lines.append("")
    if start:
        lines += ["## Start and memory", "", "| what | nbdl | PyTorch | ratio |", "|---|---|---|---|"]
    for row in start:
        torch = "" if row.torch is None else f"{row.torch:.2f} {row.unit}"
        ratio = "" if row.torch is None else f"**{row.torch / row.nbdl:.2f}**"
        lines.append(f"| {row.what} | {row.nbdl:.2f} {row.unit} | {torch} | {ratio} |")
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    lines += ["", old[old.index(NOTES) :] if NOTES in old else ""]
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


SUMMARY = "<!-- speed -->"
"""Stands above and below the table of the README."""


def write_summary(path: Path, rows: Sequence[Any]) -> None:
    """Writes the geometric mean of each topic's ratios between the marks of the README."""
    lines = ["", "| PyTorch's time by nbdl's | cases | 1 thread | 2 threads | lost |", "|---|---|---|---|---|"]
    for topic in dict.fromkeys(row.topic for row in rows):
        mine = [row for row in rows if row.topic == topic]
        means = [statistics.geometric_mean(row.ratio for row in mine if row.threads == threads) for threads in (1, 2)]
        lost = sum(row.ratio < 1 for row in mine)
        name = topic.replace("_", " ")
        lines.append(f"| {name} | {len(mine) // 2} | {means[0]:.2f} | {means[1]:.2f} | {lost} of {len(mine)} |")
    before, _, after = path.read_text(encoding="utf-8").split(SUMMARY)
    path.write_text(SUMMARY.join([before, "\n".join([*lines, "", ""]), after]), encoding="utf-8")
