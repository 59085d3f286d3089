"""The support table of the reference: one row for each operation that the checks know, read from their table."""

from __future__ import annotations

import inspect

from nbdl.testing.specs import all_specs


def support_table() -> str:
    """A Markdown table: operation, arguments with gradients, what it is held against, tolerance."""
    functions: dict[str, list] = {}
    for spec in all_specs():
        functions.setdefault(spec.function.__name__, []).append(spec)
    lines = ["| operation | gradients for | variants | refuses | float32 within | file |", "|---|---|---|---|---|---|"]
    for name, specs in sorted(functions.items()):
        arguments = dict.fromkeys(argument for spec in specs for argument in spec.differentiable)
        refusals = sum(len(spec.refusals) for spec in specs)
        tolerance = max(spec.tolerance.get("float32", 0.0) for spec in specs)
        module = inspect.getmodule(specs[0].function)
        file = module.__name__.removeprefix("nbdl.ops.").replace(".", "/") if module else ""
        gradients = " ".join(f"`{argument}`" for argument in arguments) or "none"
        lines.append(f"| `{name}` | {gradients} | {len(specs)} | {refusals} | {tolerance:.0e} | {file} |")
    return "\n".join([f"{len(functions)} operations, {sum(map(len, functions.values()))} rows.", "", *lines])
