"""Reports of gradient checks: lines for a terminal, JSON for programs, a page for people."""

from __future__ import annotations

import datetime
import html
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from nbdl.testing.runner import OpResult

FORMAT = "nbdl-gradcheck-1"

# ---------------------------------------------------------------- terminal


def heading(widest: int) -> str:
    """The head of the table."""
    return (
        f"  {'operation':<{widest}}  {'cases':>7}  {'gradients':>9}  {'kinks':>7}  {'complex':>7}"
        f"  {'error/tolerance':>15}  {'time':>8}"
    )


def line(result: OpResult, widest: int) -> str:
    """The line of one row."""
    verdict = "" if result.failure is None else "  FAILED"
    return (
        f"  {result.name:<{widest}}  {result.cases:>7,}  {result.elements:>9,}  {result.kinks:>7,}"
        f"  {result.complex_steps:>7,}  {result.largest_error:>15.4f}  {result.seconds:>6.1f} s{verdict}"
    )


def summary(results: Sequence[OpResult]) -> str:
    """The last line."""
    worst = max(results, key=lambda result: result.largest_error)
    operations = len({r.operation for r in results})
    return (
        f"{operations} operation{'s' * (operations != 1)}, {sum(r.cases for r in results):,} cases, "
        f"{sum(r.elements for r in results):,} gradients, {sum(r.kinks for r in results):,} kinks skipped, "
        f"{sum(r.complex_steps for r in results):,} complex steps, "
        f"largest error {worst.largest_error:.4f} of the tolerance ({worst.name})"
    )


# ---------------------------------------------------------------- JSON


def totals(results: Sequence[OpResult]) -> dict[str, Any]:
    """The sums over all rows."""
    return {
        "operations": len({r.operation for r in results}),
        "rows": len(results),
        "failed": sum(r.failure is not None for r in results),
        "cases": sum(r.cases for r in results),
        "gradients": sum(r.elements for r in results),
        "kinks": sum(r.kinks for r in results),
        "complex_steps": sum(r.complex_steps for r in results),
        "analytic_rows": sum(r.complex_steps > 0 for r in results),
        "float32": sum(r.float32 for r in results),
        "largest_error": max((r.largest_error for r in results), default=0.0),
        "seconds": round(sum(r.seconds for r in results), 1),
    }


def to_json(results: Sequence[OpResult], settings: Mapping[str, Any]) -> str:
    """All results as JSON: `format`, `date`, `settings`, `totals`, and a list of `rows`."""
    document = {
        "format": FORMAT,
        "date": datetime.date.today().isoformat(),
        "machine": {"python": platform.python_version(), "numpy": np.__version__, "processor": platform.machine()},
        "settings": dict(settings),
        "totals": totals(results),
        "rows": [{**asdict(r), "seconds": round(r.seconds, 3)} for r in results],
    }
    return json.dumps(document, indent=1) + "\n"


# ---------------------------------------------------------------- HTML

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --soft: #5d6b7a; --line: #dfe5ec; --paper: #fff; --band: #f5f7fa;
  --good: #14804a; --bad: #c0262d; --bar: #3b82c4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf1; --soft: #9aa8b7; --line: #2e3945; --paper: #12181f;
  --band: #1a222b; --good: #4cc38a; --bad: #ff6b70; --bar: #5aa2e0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.75rem; } h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem; }
p { margin: .25rem 0; color: var(--soft); }
.verdict { font-weight: 600; } .good { color: var(--good); } .bad { color: var(--bad); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 1.5rem 0; }
dl div { background: var(--band); border-radius: .5rem; padding: .75rem 1rem; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th { position: sticky; top: 0; background: var(--paper); color: var(--soft); font-weight: 600; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap;
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; } tr.failed td { color: var(--bad); font-weight: 600; }
td.error { min-width: 11rem; } .track { display: inline-block; width: 6rem; height: .5rem; margin-right: .5rem;
  background: var(--band); border-radius: .25rem; vertical-align: middle; }
.track i { display: block; height: 100%; border-radius: .25rem; background: var(--bar); }
.failed .track i { background: var(--bad); }
pre { background: var(--band); border-radius: .5rem; padding: 1rem; overflow-x: auto; font-size: .85rem; }
article { border-left: .25rem solid var(--bad); padding-left: 1rem; margin: 1.5rem 0; }
article h3 { margin: 0 0 .25rem; font-size: 1rem; } article p { color: var(--ink); white-space: pre-wrap; }
"""


def to_html(results: Sequence[OpResult], settings: Mapping[str, Any]) -> str:
    """A page that needs nothing beside it."""
    sums = totals(results)
    verdict = (
        f'<span class="bad">{sums["failed"]} of {sums["rows"]} rows failed</span>'
        if sums["failed"]
        else f'<span class="good">all {sums["rows"]} rows passed</span>'
    )
    tiles = "".join(
        f"<div><dt>{label}</dt><dd>{sums[key]:,}</dd></div>"
        for label, key in (
            ("operations", "operations"),
            ("cases", "cases"),
            ("slopes compared", "gradients"),
            ("kinks skipped", "kinks"),
            ("complex steps", "complex_steps"),
            ("float32 against float64", "float32"),
        )
    )
    failures = "".join(
        f"<article><h3>{html.escape(r.name)}</h3><p>{html.escape(r.failure)}</p>"
        f"<pre>{html.escape(r.reproducer or '')}</pre></article>"
        for r in results
        if r.failure is not None
    )
    chosen = ", ".join(f"{key} {value}" for key, value in settings.items())
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Gradient checks</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>Gradient checks</h1>\n<p class="verdict">{verdict}</p>\n'
        f"<p>{datetime.date.today().isoformat()}, {html.escape(chosen)}</p>\n<dl>{tiles}</dl>\n"
        + (f"<h2>Failures</h2>\n{failures}\n" if failures else "")
        + "<h2>Every row</h2>\n<p>The bar shows the largest error on a logarithmic scale; at its right end is the "
        'tolerance.</p>\n<div class="scroll" tabindex="0" role="region" aria-label="Results of every row"><table>\n'
        '<thead><tr><th scope="col">operation</th><th scope="col">cases</th><th scope="col">slopes</th>'
        '<th scope="col">kinks</th><th scope="col">complex steps</th><th scope="col">float32</th>'
        '<th scope="col">error / tolerance</th><th scope="col">seconds</th></tr></thead>\n<tbody>\n'
        + "\n".join(map(_html_row, results))
        + "\n</tbody></table></div>\n</main>\n</body>\n</html>\n"
    )


def _html_row(result: OpResult) -> str:
    failed = ' class="failed"' if result.failure is not None else ""
    share = 0.0
    if result.largest_error > 0:
        share = min(100.0, max(2.0, 100 * (1 + math.log10(result.largest_error) / 8)))
    if result.failure is not None:
        share = 100.0
    error = "failed" if result.failure is not None else f"{result.largest_error:.1e}" if result.elements else "–"
    return (
        f"<tr{failed}><td>{html.escape(result.name)}</td><td>{result.cases:,}</td><td>{result.elements:,}</td>"
        f"<td>{result.kinks:,}</td><td>{result.complex_steps:,}</td><td>{result.float32:,}</td>"
        f'<td class="error"><span class="track"><i style="width:{share:.0f}%"></i></span>{error}</td>'
        f"<td>{result.seconds:.2f}</td></tr>"
    )
