"""What an architecture must tell so that its checkpoints can be read and written: which settings of config.json mean
what, and which tensor of the file is which parameter of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nbdl import nn
from nbdl.runtime.errors import ArgumentError

MOST = 2**31 - 1
"""The largest size that a configuration may name; every size is also held against the tensors' shapes."""

MOST_LAYERS = 10_000

_Value = TypeVar("_Value")


class Settings:
    """The settings in a config.json, each checked when it is asked for.

    Args:
        values: The file's JSON object.
        name: Of the file, for messages.
    """

    def __init__(self, values: Mapping[str, Any], name: str = "config.json") -> None:
        self.values, self.name = values, name

    def _wrong(self, key: str, expected: str) -> ArgumentError:
        got = repr(self.values[key]) if key in self.values else "nothing"
        return ArgumentError(f"{key} in {self.name}: expected {expected}, got {got}")

    def whole(self, key: str, default: int | None = None, low: int = 1, high: int = MOST) -> int:
        """A whole number; required where there is no default."""
        value = self.values.get(key, default)
        if type(value) is not int or not low <= value <= high:
            raise self._wrong(key, f"a whole number from {low} to {high}")
        return value

    def whole_or_none(self, key: str, default: int | None = None, low: int = 0, high: int = MOST) -> int | None:
        """A whole number, or null."""
        return None if self.values.get(key, default) is None else self.whole(key, default, low, high)

    def number(self, key: str, default: float, low: float = 0.0, high: float = math.inf) -> float:
        """A finite number."""
        value = self.values.get(key, default)
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
            raise self._wrong(key, f"a finite number in [{low:g}, {high:g}]")
        return float(value)

    def number_or_none(self, key: str, default: float | None = None) -> float | None:
        """A finite number from 0 up, or null."""
        return None if self.values.get(key, default) is None else self.number(key, 0.0 if default is None else default)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key, default)
        if type(value) is not bool:
            raise self._wrong(key, "true or false")
        return value

    def one_of(self, key: str, meanings: Mapping[str, _Value], default: str) -> _Value:
        """What one of several texts means."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or value not in meanings:
            raise self._wrong(key, f"one of {', '.join(meanings)}")
        return meanings[value]

    def must_be(self, key: str, wanted: Any) -> None:
        """Refuses any other value than the one that nbdl's model has."""
        if self.values.get(key, wanted) != wanted:
            raise self._wrong(key, f"{wanted!r}, the only kind that nbdl's model knows")


@dataclass(frozen=True)
class Place:
    """Where a parameter stands in a file.

    Attributes:
        name: In the model's state dict.
        published: The tensor's name in the file, without the architecture's prefix; or several, whose rows stand one
            below the other in the parameter.
        shape: The parameter's shape.
        transposed: Whether the file holds the transposed matrix.
    """

    name: str
    published: tuple[str, ...]
    shape: tuple[int, ...]
    transposed: bool = False

    @property
    def published_shape(self) -> tuple[int, ...]:
        """The shape that each tensor has in the file."""
        shape = (self.shape[0] // len(self.published), *self.shape[1:])
        return shape[::-1] if self.transposed else shape


@dataclass(frozen=True)
class Plan:
    """How to make a model of a file's tensors.

    Attributes:
        build: Makes the model, with any weights.
        places: Where its parameters are.
        twins: Tensors that a file may hold a second time under another name, as other: name. One of the two is enough.
        unused: Tensors that this file may hold and this model does not need.
    """

    build: Callable[[], nn.Module]
    places: tuple[Place, ...]
    twins: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Architecture:
    """A family of checkpoints.

    Attributes:
        kind: What config.json calls it in "model_type".
        classes: The names that "architectures" in config.json may hold, each with nbdl's class. A model is saved under
            the first name of its class.
        bare: The name among them of the encoder or decoder without a head.
        prefix: What stands before the names of all tensors but the heads', in files of models with a head.
        heads: How the names of the heads' tensors begin.
        old_names: Endings of names in old files, with today's.
        unused: Regular expressions of tensors, named without the prefix, that no model of nbdl needs.
        plan: From the settings, the name of the class and the names in the file (without the prefix) to the plan.
            May raise ArgumentError for settings that nbdl's model does not have.
        describe: From a model to the settings that config.json should hold, without "model_type", "architectures" and
            the dtype.
        places: From a model to where its parameters go in a file.
    """

    kind: str
    classes: Mapping[str, type[nn.Module]]
    bare: str
    prefix: str
    heads: tuple[str, ...]
    plan: Callable[[Settings, str, Collection[str]], Plan]
    describe: Callable[[Any], dict[str, Any]]
    places: Callable[[Any], tuple[Place, ...]]
    old_names: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    def plain_name(self, name: str) -> str:
        """A tensor's name without the prefix, as files have it today."""
        name = name.removeprefix(self.prefix)
        for old, new in self.old_names.items():
            if name.endswith(old):
                return name.removesuffix(old) + new
        return name

    def published_name(self, name: str, class_name: str) -> str:
        """The name of a tensor in the file of a model of that class; the way back from `plain_name`."""
        return name if class_name == self.bare or name.startswith(self.heads) else self.prefix + name
