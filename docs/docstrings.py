"""A Griffe extension: reads the docstrings of nbdl as the reference shows them."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Lets the section "Example:" be what Griffe calls "Examples:", so that its code is highlighted."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if not obj.is_alias and obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
