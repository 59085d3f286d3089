"""A Griffe extension: reads the docstrings of nbdl as the reference shows them."""

from __future__ import annotations

import re
from typing import Any

import griffe


DISPLAY = re.compile(r"^\$\$.+?\$\$[.,;]?$", re.MULTILINE | re.DOTALL)


class Docstrings(griffe.Extension):
    """Makes "Example:" the section that Griffe calls "Examples:", and gives each displayed formula its paragraph."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if not obj.is_alias and obj.docstring is not None:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = DISPLAY.sub(lambda formula: f"\n{formula[0]}\n", text)
