"""GPT: a decoder-only Transformer that predicts the next token, in GPT-2's architecture and in the modern one."""

from nbdl.models.gpt.config import GPTConfig
from nbdl.models.gpt.model import GPT

__all__ = ["GPT", "GPTConfig"]
