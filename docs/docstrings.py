"""A Griffe extension: reads the docstrings of nbdl as the reference shows them."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

DISPLAY = re.compile(r"^\$\$.+?\$\$[.,;]?$", re.MULTILINE | re.DOTALL)
OWN_SECTION = re.compile(r"^(Gradient|Source|Sources|Shape):\n((?:(?: {4}.*)?(?:\n|\Z))+)", re.MULTILINE)
KEPT = re.compile(r"(\$\$.+?\$\$|\$[^$\n]+\$|``?[^`\n]+``?|^ *(?:>>>|\.\.\.) .*$)", re.MULTILINE | re.DOTALL)
_SIZE = r"(?:\*\w*|\.\.\.|\d*[A-Z]\w*(?: ?[-+*/] ?\w+)?|\d+)"
SHAPE = re.compile(rf"\[(?:{_SIZE}(?:, {_SIZE})*)?\](?![(\[])")


class Docstrings(griffe.Extension):
    """Gives Markdown what it needs: paragraphs around formulas, code around shapes, and sections that it knows."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if not obj.is_alias and obj.docstring is not None:
            obj.docstring.value = readable(obj.docstring.value)


def readable(text: str) -> str:
    """The docstring in Markdown."""
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    text = OWN_SECTION.sub(lambda section: f"**{section[1]}:**\n\n{textwrap.dedent(section[2]).strip()}\n\n", text)
    text = DISPLAY.sub(lambda formula: f"\n{formula[0]}\n", text)
    parts = KEPT.split(text)  # every second part is a formula, code or an example
    parts[::2] = [SHAPE.sub(lambda shape: f"`{shape[0]}`", part) for part in parts[::2]]
    return "".join(parts)
