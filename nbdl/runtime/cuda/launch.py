"""Launches on the GPU: a Kernel's CUDA twin, compiled when it first sees the types of its arguments."""

from __future__ import annotations

import ast
import functools
import inspect
import math
import textwrap
import types as python_types
from typing import Any

import numpy as np

from nbdl.runtime import jit
from nbdl.runtime.cache import reachable
from nbdl.runtime.cuda import device, memory, streams
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.cuda.driver import Arguments, Launch, describe
from nbdl.runtime.errors import DeviceError

_READING = frozenset(value for value in vars(math).values() if callable(value))

MOST_BLOCKS = 2**31 - 1


def launch(pair: jit.Kernel, arguments: tuple[Any, ...]) -> None:
    """Runs the CUDA twin on arrays of the GPU and numbers. Returns at once: the GPU works through its stream in order.

    Tables that lie on the CPU are sent along, if the kernel only reads them.
    """
    driver = device.driver()
    stream = streams.current()
    blocks = pair.blocks(*arguments)
    if not blocks:
        return
    if isinstance(blocks, tuple):
        grid = (*blocks, 1, 1)[:3]
    else:
        grid = (int(blocks), 1, 1)
    if grid[0] > MOST_BLOCKS:
        raise DeviceError(f"kernel {pair.name}: {grid[0]} blocks, the most is {MOST_BLOCKS}: use smaller tensors")
    passed = tuple([_passed(pair, place, argument) for place, argument in enumerate(arguments)])
    for argument in passed:
        if type(argument) is DeviceArray and argument.allocation.stream is not stream:
            streams.use(argument.allocation, stream)
    if _takes_addresses(pair.cuda):
        streams.join(stream)
    description = tuple(map(describe, passed))
    function = _function(driver, pair, description, passed)
    slots = Arguments(description, passed)
    if memory.recorder is not None:
        memory.recorder.add(Launch(pair.name, function, grid, pair.threads, slots), description, passed)
        return
    driver.launch(pair.name, function, grid, pair.threads, slots, stream.handle)


def _function(driver: Any, pair: jit.Kernel, description: tuple[Any, ...], example: tuple[Any, ...]) -> Any:
    key = (pair.cuda, description)
    found = driver.functions.get(key)
    if found is None:
        found = driver.functions[key] = driver.function(pair.cuda, example)
    return found


def _passed(pair: jit.Kernel, place: int, argument: Any) -> Any:
    if not isinstance(argument, np.ndarray):
        return argument
    if place in written(pair.cuda):
        name = pair.cuda.py_func.__code__.co_varnames[place]
        raise DeviceError(
            f"kernel {pair.name}: {name}, {argument.dtype} {list(argument.shape)}, lies on the CPU, the others on the "
            "GPU. Move all tensors to one device"
        )
    return memory.constant(argument) if memory.recorder is None else memory.recorder.table(argument)


@functools.cache
def _takes_addresses(function: jit.CudaFunction) -> bool:
    return "addresses" in function.py_func.__code__.co_varnames


def written(function: jit.CudaFunction) -> frozenset[int]:
    """The places of the arguments whose elements the function, or one that it hands them to, may write."""
    return _written(function.py_func)


@functools.cache
def _written(function: python_types.FunctionType) -> frozenset[int]:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    source = ast.parse(textwrap.dedent(inspect.getsource(function)))
    scope = dict(reachable(function))
    found: set[str] = set()
    for node in ast.walk(source):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            found.add(node.value.id)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            found.add(node.value.id)  # another name for it, under which it may be written
        if isinstance(node, ast.Call):
            found |= _written_by_call(node, scope)
    return frozenset(place for place, name in enumerate(names) if name in found)


def _written_by_call(call: ast.Call, scope: dict[str, Any]) -> set[str]:
    handed = [argument.id if isinstance(argument, ast.Name) else "" for argument in call.args]
    if isinstance(call.func, ast.Name):
        called = scope.get(call.func.id)
        called = getattr(called, "py_func", called)
        if isinstance(called, python_types.FunctionType):
            return {handed[place] for place in _written(called) if place < len(handed)}
        known = called is None or isinstance(called, type) or called in _READING
        return set() if known else {name for name in handed if name}
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Attribute):
        return {handed[0]} if call.func.value.attr == "atomic" and handed else set()
    return set()
