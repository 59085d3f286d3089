"""Devices by name: "cpu", and "cuda" where there is an NVIDIA GPU."""

from __future__ import annotations

from typing import Any

from nbdl.runtime.errors import ArgumentError, ArgumentTypeError

_KINDS = ("cpu", "cuda")


class device(str):
    """The name of a device. It equals the plain string: `tensor.device == "cpu"`.

    Attributes:
        type: "cpu" or "cuda".
        index: The number behind the colon of "cuda:1"; None without one.
    """

    type: str
    index: int | None  # type: ignore[assignment] # str.index is no use on a device

    def __new__(cls, name: Any, index: int | None = None) -> device:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"device: expected 'cpu' or 'cuda', got {name!r}")
        kind, colon, number = name.partition(":")
        if kind not in _KINDS or (colon and not number.isdigit()):
            raise ArgumentError(f"device: expected 'cpu' or 'cuda', got {name!r}")
        number = number or ("" if index is None else str(index))
        result = super().__new__(cls, f"{kind}:{number}" if number else kind)
        result.type, result.index = kind, int(number) if number else None
        return result

    def __repr__(self) -> str:
        return f"device({str(self)!r})"


def is_device(value: Any) -> bool:
    """Whether the value is meant to name a device rather than a dtype."""
    return isinstance(value, str) and value.partition(":")[0] in _KINDS


def require(name: Any) -> str:
    """The kind of a device that is there: "cpu", or "cuda" if a GPU can be used. Raises DeviceError otherwise."""
    kind = device(name).type
    if kind == "cuda":
        from nbdl.runtime.cuda.device import require_device

        require_device()
    return kind
