"""The sizes and choices of a GPT."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from nbdl.runtime.checks import check_choice, check_int, check_number
from nbdl.runtime.errors import ArgumentError

POSITIONS = ("learned", "rotary")
NORMS = ("layer_norm", "rms_norm")
FEED_FORWARDS = ("gelu", "swiglu")

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"vocabulary": 256, "context": 128, "width": 128, "layers": 4, "heads": 4},
    "gpt2": {"vocabulary": 50257, "context": 1024, "width": 768, "layers": 12, "heads": 12},
    "gpt2-medium": {"vocabulary": 50257, "context": 1024, "width": 1024, "layers": 24, "heads": 16},
    "gpt2-large": {"vocabulary": 50257, "context": 1024, "width": 1280, "layers": 36, "heads": 20},
    "gpt2-xl": {"vocabulary": 50257, "context": 1024, "width": 1600, "layers": 48, "heads": 25},
}
"""Sizes by name: "tiny" trains on a laptop in minutes, the others are those of GPT-2."""


@dataclass(frozen=True)
class GPTConfig:
    """Sizes and choices of a GPT; what is not given is GPT-2's.

    Attributes:
        vocabulary: Number of tokens, V.
        context: Tokens it can look back on, T.
        width: Features of a token, C.
        layers: Blocks, one on top of the other.
        heads: Attention heads; they divide the width.
        key_value_heads: Heads of keys and values; each serves a group of query heads, so they divide `heads`. As many
            as `heads` when None.
        hidden: Width of the feed-forward layer; 4 C when None, 8/3 C rounded up to a multiple of 32 with "swiglu",
            which has three matrices instead of two.
        dropout: Share of embeddings and of what each layer adds that is zeroed in training, in [0, 1).
        attention_dropout: Share of attention weights zeroed in training, in [0, 1).
        positions: "learned", a vector for each place, or "rotary", queries and keys turned by their place.
        norm: "layer_norm" or "rms_norm".
        feed_forward: "gelu" or "swiglu".
        bias: Whether the linear layers have biases.
        tied: Whether the table of tokens also scores the next one.
        eps: Added to the variance in each norm.
        rotary_base: The slowest rotation takes about so many places for a radian.

    Raises:
        ArgumentError: A size under 1, heads that do not divide, an unknown choice, or a number out of range.

    Example:
        >>> GPTConfig.preset("gpt2").width
        768
        >>> GPTConfig.modern(width=64, heads=4, key_value_heads=2).feed_forward
        'swiglu'
    """

    vocabulary: int = 50257
    context: int = 1024
    width: int = 768
    layers: int = 12
    heads: int = 12
    key_value_heads: int | None = None
    hidden: int | None = None
    dropout: float = 0.0
    attention_dropout: float = 0.0
    positions: str = "learned"
    norm: str = "layer_norm"
    feed_forward: str = "gelu"
    bias: bool = True
    tied: bool = True
    eps: float = 1e-5
    rotary_base: float = 10000.0

    def __post_init__(self) -> None:
        for name in ("vocabulary", "context", "width", "layers", "heads"):
            check_int(name, getattr(self, name), 1)
        if self.width % self.heads:
            raise ArgumentError(f"heads: expected a divisor of width, {self.width}, got {self.heads}")
        if self.key_value_heads is not None:
            check_int("key_value_heads", self.key_value_heads, 1)
            if self.heads % self.key_value_heads:
                raise ArgumentError(
                    f"key_value_heads: expected a divisor of heads, {self.heads}, got {self.key_value_heads}"
                )
        if self.hidden is not None:
            check_int("hidden", self.hidden, 1)
        check_number("dropout", self.dropout, 0, 1, open_high=True)
        check_number("attention_dropout", self.attention_dropout, 0, 1, open_high=True)
        check_choice("positions", self.positions, POSITIONS)
        check_choice("norm", self.norm, NORMS)
        check_choice("feed_forward", self.feed_forward, FEED_FORWARDS)
        check_number("eps", self.eps, 0)
        check_number("rotary_base", self.rotary_base, 1, open_low=True)
        if self.positions == "rotary" and self.head_width % 2:
            raise ArgumentError(f"heads: expected an even width of a head for rotary positions, got {self.head_width}")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The configuration of that name, with changes.

        Args:
            name: "tiny", "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl".
            changes: Fields that differ.

        Raises:
            ArgumentError: There is no such preset, or a change is out of range.
        """
        check_choice("name", name, SIZES)
        return cls(**{**SIZES[name], **changes})

    @classmethod
    def modern(cls, **changes: Any) -> Self:
        """What decoders have looked like since LLaMA: rotary positions, RMS norms, SwiGLU, no biases, heads untied.

        Args:
            changes: Sizes, and fields that differ.
        """
        choices = {"positions": "rotary", "norm": "rms_norm", "feed_forward": "swiglu", "bias": False, "tied": False}
        return cls(**{**choices, **changes})

    def with_changes(self, **changes: Any) -> Self:
        """This configuration with some fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def head_width(self) -> int:
        """Features of a head, D."""
        return self.width // self.heads

    @property
    def groups(self) -> int:
        """Heads of keys and values."""
        return self.key_value_heads or self.heads

    @property
    def hidden_width(self) -> int:
        """Width of the feed-forward layer."""
        if self.hidden is not None:
            return self.hidden
        return 4 * self.width if self.feed_forward == "gelu" else -(-8 * self.width // 3 // 32) * 32
