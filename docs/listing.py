"""Prints the source of a kernel, or of anything else in the library, as it stands at the moment of the build."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def listing(*objects: Any) -> str:
    """Markdown code blocks with the sources of functions, classes or kernels, each titled with its file and line."""
    return "\n\n".join(_block(item) for item in objects)


def _block(item: Any) -> str:
    function = inspect.unwrap(getattr(item, "py_func", item))  # a kernel's plain Python function, or what is wrapped
    lines, first = inspect.getsourcelines(function)
    path = Path(inspect.getsourcefile(function) or "").resolve()
    where = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
    code = textwrap.dedent("".join(lines)).rstrip()
    return f'````python title="{where}, line {first}"\n{code}\n````'
