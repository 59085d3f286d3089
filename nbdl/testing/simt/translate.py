"""From a kernel's source to a Python function that can be interrupted where CUDA threads wait for each other.

`cuda` becomes the first parameter, the running thread: `cuda.threadIdx.x` reads its index. A barrier or warp operation
becomes a `yield` of what is asked for, whose value is the answer; a call of a device function that may wait becomes a
`yield from`. Float literals become float64 numbers, which they are to CUDA, and `math` keeps the type of its argument.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
import textwrap
import types as python_types
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.runtime import addresses, vecmath
from nbdl.runtime.cache import reachable
from nbdl.runtime.jit import CudaFunction, cuda
from nbdl.testing.simt import pieces
from nbdl.testing.simt.arrays import SimtError

BLOCK_OPERATIONS = {"syncthreads", "syncthreads_count", "syncthreads_and", "syncthreads_or"}

WARP_OPERATIONS = {
    "syncwarp", "shfl_sync", "shfl_up_sync", "shfl_down_sync", "shfl_xor_sync",
    "ballot_sync", "any_sync", "all_sync",
}  # fmt: skip

PRODUCT_NAMES = frozenset(pieces.MULTIPLY)

ALL_LANES = 0xFFFFFFFF

_THREAD = "_thread"


class Translated:
    """A kernel, device function or scalar function, ready to be interpreted."""

    def __init__(self, function: Callable[..., Any], waits: bool, takes_thread: bool) -> None:
        self.function = function
        self.waits = waits
        """Whether it is a generator."""
        self.takes_thread = takes_thread


class _Translator(ast.NodeTransformer):
    def __init__(self, name: str, scope: dict[str, Any]) -> None:
        self.name = name
        self.scope = scope
        self.waits = False

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if self.scope.get(node.id) is cuda:
            return ast.copy_location(ast.Name(_THREAD, node.ctx), node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if node.attr != "dtype":
            return node
        return ast.copy_location(ast.Call(ast.Name("_dtype", ast.Load()), [node.value], []), node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if type(node.value) is not float:
            return node
        name = f"_literal_{len(self.scope)}"
        self.scope[name] = np.float64(node.value)
        return ast.copy_location(ast.Name(name, ast.Load()), node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        stored = node.value.operand if isinstance(node.value, ast.UnaryOp) else node.value
        if isinstance(stored, ast.Constant) and all(isinstance(target, ast.Subscript) for target in node.targets):
            node.targets = [self.visit(target) for target in node.targets]
            return node  # a lone constant is converted when the kernel is compiled
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        path = self._cuda_path(node.func)
        called = self.scope.get(node.func.id) if isinstance(node.func, ast.Name) else None
        self.generic_visit(node)
        where = f"{self.name}, line {node.lineno}"
        if path in BLOCK_OPERATIONS or path in WARP_OPERATIONS:
            self.waits = True
            request = ast.Tuple([ast.Constant(path), ast.Constant(where), *node.args], ast.Load())
            return ast.copy_location(ast.Yield(request), node)
        if isinstance(called, str) and called in PRODUCT_NAMES:
            self.waits = True
            product = [ast.Constant(called), ast.Constant(where), ast.Constant(ALL_LANES), *node.args]
            return ast.copy_location(ast.Yield(ast.Tuple(product, ast.Load())), node)
        if path == "shared.array":
            node.keywords.append(ast.keyword("where", ast.Constant(where)))
        if isinstance(called, Translated):
            if called.takes_thread:
                node.args.insert(0, ast.Name(_THREAD, ast.Load()))
            if called.waits:
                self.waits = True
                return ast.copy_location(ast.YieldFrom(node), node)
        return node

    def _cuda_path(self, node: ast.AST) -> str:
        """'shared.array' for cuda.shared.array; empty for what does not start at `cuda`."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name) and self.scope.get(node.id) is cuda:
            return ".".join(reversed(parts))
        return ""


@functools.cache
def translate(function: python_types.FunctionType, takes_thread: bool) -> Translated:
    """Translates a function and, before it, those it calls."""
    try:
        lines, first = inspect.getsourcelines(function)
    except OSError:
        raise SimtError(f"{function.__qualname__}: no source file, and the interpreter reads the source") from None
    definition = ast.parse(textwrap.dedent("".join(lines))).body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise SimtError(f"{function.__qualname__}: expected a function defined with def")
    ast.increment_lineno(definition, first - 1)
    scope = {name: _resolve(value) for name, value in reachable(function)}
    translator = _Translator(function.__name__, scope)
    definition.decorator_list = []
    definition.returns = None
    definition.body = [translator.visit(statement) for statement in definition.body]
    if takes_thread:
        definition.args.args.insert(0, ast.arg(_THREAD))
    module = ast.fix_missing_locations(ast.Module([definition], []))
    functions = {
        name: value.function if isinstance(value, Translated) else value for name, value in translator.scope.items()
    }
    functions["_dtype"] = _dtype
    exec(compile(module, inspect.getsourcefile(function) or "<kernel>", "exec"), functions)
    return Translated(functions[definition.name], translator.waits, takes_thread)


def _resolve(value: Any) -> Any:
    """What a global or closure variable of a kernel is to the interpreter."""
    if value is cuda:
        return value
    if value is addresses.array_at:
        return Translated(_array_at, waits=False, takes_thread=True)
    if isinstance(value, CudaFunction):
        return translate(value.py_func, True)
    compiled = getattr(value, "py_func", None)
    if isinstance(compiled, python_types.FunctionType):  # scalar mathematics
        return translate(compiled, False)
    if value is math:
        return mathematics
    if isinstance(value, python_types.FunctionType) and value in pieces.FUNCTIONS:
        return pieces.FUNCTIONS[value]
    name = getattr(value, "__name__", "")
    if name in pieces.MULTIPLY and pieces.MULTIPLY[name] is value:
        return name
    if isinstance(name, str) and name and getattr(math, name, None) is value:  # from math import sqrt
        return getattr(mathematics, name)
    return value


def _array_at(thread: Any, address: int, size: int, like: Any) -> Any:
    """An array by its address, checked like those that are passed."""
    return thread.memory.wrap(addresses.array_at(address, size, like), f"the array at {address:#x}")


def _dtype(value: Any) -> np.dtype[Any]:
    """The dtype of an array or number; integers are read as Python's, and mean int64."""
    return np.asarray(value).dtype if isinstance(value, int | float) else value.dtype


_NUMPY_NAMES = {
    "pow": "power", "fabs": "abs", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2",
    "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
}  # fmt: skip


class _Mathematics:
    """The module `math` as CUDA has it: float32 in, float32 out; infinities and NaN in place of exceptions."""

    inf = math.inf
    nan = math.nan
    pi = np.float64(math.pi)
    e = np.float64(math.e)

    def __getattr__(self, name: str) -> Any:
        if not hasattr(math, name):
            raise SimtError(f"math.{name} does not exist")
        vectorised = getattr(np, _NUMPY_NAMES.get(name, name), None)
        if vectorised is None:
            vectorised = getattr(math, name)

        def apply(*values: Any) -> Any:
            narrow = all(isinstance(value, np.float32) for value in values)
            return (np.float32 if narrow else np.float64)(vectorised(*values))

        setattr(self, name, apply)
        return apply

    def floor(self, x: Any) -> int:
        return int(np.floor(x))

    def ceil(self, x: Any) -> int:
        return int(np.ceil(x))

    def isnan(self, x: Any) -> bool:
        return bool(np.isnan(x))

    def isinf(self, x: Any) -> bool:
        return bool(np.isinf(x))

    def isfinite(self, x: Any) -> bool:
        return bool(np.isfinite(x))

    erf = staticmethod(vecmath.erf)


mathematics = _Mathematics()
