"""Models that leave Python: `trace` writes down what a function does, `wasm` compiles it for the browser."""

from nbdl.export import wasm
from nbdl.export.trace import ExportError, Program, trace

__all__ = ["ExportError", "Program", "trace", "wasm"]
