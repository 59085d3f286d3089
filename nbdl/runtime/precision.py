"""How many digits float32 convolutions may give up for speed. Every other operation has one way to compute."""

from __future__ import annotations

from nbdl.runtime.checks import check_choice

LEVELS = {"highest": 0, "high": 2, "medium": 4}
"""The side of the tiles in which 3x3 convolutions are computed; 0 for none."""

_level = "high"


def set_precision(level: str) -> None:
    """Chooses how 3x3 convolutions of float32 images, and products on a GPU, are computed; float64 is not concerned.

    Args:
        level: 'highest': by the definition. 'high', the default: in tiles of 2x2 results, four multiplications of
            nine, with errors no larger than the definition's own. 'medium': in tiles of 4x4 results, one
            multiplication of four, with errors a few times larger (about 1e-5 of the size of the results); and large
            matrix products on a GPU read 10 bits of each number's fraction (TF32, errors of about 1e-3).

    Raises:
        ArgumentError: An unknown level.

    Example:
        >>> nbdl.set_precision("highest")
        >>> nbdl.get_precision()
        'highest'
        >>> nbdl.set_precision("high")
    """
    global _level
    _level = check_choice("level", level, tuple(LEVELS))


def get_precision() -> str:
    """The level that `set_precision` chose."""
    return _level


def tile_side() -> int:
    """The side of the tiles, in results; 0 where the definition is asked for."""
    return LEVELS[_level]
