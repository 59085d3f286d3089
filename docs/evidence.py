"""The figures of the reliability page: what the proofs in `tests/reliability` stored in docs/reliability."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STORED = Path(__file__).parent / "reliability"


def records() -> list[dict[str, Any]]:
    """What each proof stored, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(STORED.glob("*.json"))]


def summary(words: Mapping[str, str], bars: Mapping[str, str] = {}) -> str:
    """A Markdown table of all promises, and below it the figures of each, folded.

    Args:
        words: The words 'promise', 'date', 'machine', 'seconds', 'what', 'figure' and 'none' in the page's language.
        bars: Promises in the page's language, by the name of the proof; those that are missing stay English.
    """
    stored = records()
    if not stored:
        return words["none"]
    lines = [f"| | {words['promise']} | {words['date']} |", "|---|---|---|"]
    for record in stored:
        lines.append(f"| `{record['name']}` | {bars.get(record['name'], record['bar'])} | {record['date']} |")
    for record in stored:
        lines += ["", f'??? note "{record["name"]}: {record["machine"]}, {record["seconds"]:,} {words["seconds"]}"', ""]
        lines += [f"    | {words['what']} | {words['figure']} |", "    |---|---:|"]
        lines += [f"    | {what} | {_shown(figure)} |" for what, figure in record["figures"].items()]
    return "\n".join(lines)


def _shown(figure: Any) -> str:
    if isinstance(figure, dict):
        return ", ".join(f"{name} {_shown(value)}" for name, value in figure.items())
    if isinstance(figure, list):
        return ", ".join(_shown(value) for value in figure)
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:,.4g}" if isinstance(figure, float) else str(figure)
