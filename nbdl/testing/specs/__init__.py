"""The spec table: one row per operation, one file per family."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from nbdl.testing.spec import OpSpec


@functools.cache
def all_specs() -> tuple[OpSpec, ...]:
    """Every row of every family, sorted by name."""
    rows: list[OpSpec] = []
    for module in pkgutil.iter_modules(__path__):
        rows.extend(importlib.import_module(f"{__name__}.{module.name}").SPECS)
    return tuple(sorted(rows, key=lambda row: row.name))


def find_specs(names: list[str]) -> tuple[OpSpec, ...]:
    """The rows whose function or full name is listed; all of them for an empty list. KeyError names the unknown."""
    if not names:
        return all_specs()
    found = [row for row in all_specs() if row.name in names or row.name.split(":")[0] in names]
    known = {row.name for row in found} | {row.name.split(":")[0] for row in found}
    for name in names:
        if name not in known:
            raise KeyError(name)
    return tuple(found)
