"""What a figure consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nbdl.export import Program


@dataclass
class Figure:
    """The programs that a figure runs, and what else its script finds in the JSON file, such as an alphabet."""

    programs: Mapping[str, Program]
    extra: Mapping[str, Any] = field(default_factory=dict)
