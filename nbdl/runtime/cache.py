"""The disk cache of compiled kernels: one file per kernel and signature, checked before it is trusted.

Numba's own cache looks at the file of the compiled function only: edit a function that it calls and the old code
runs on. Here the key holds a stamp of every function, constant and file that the kernel reaches. A file is written
to a temporary name and renamed, carries a SHA-256 of its contents, and lies in a folder private to the user;
whatever does not check out is compiled again. With no writable folder kernels are compiled in memory.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import re
import tempfile
import types as python_types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import compiler, dispatcher
from numba.core.runtime import nrtdynmod, rtsys
from numba.core.serialize import dumps
from numba.extending import _Intrinsic

from nbdl.runtime.registries import prepare_registries

_DIGEST = hashlib.sha256().digest_size


def cache_folder() -> Path:
    """The folder of compiled kernels: NBDL_CACHE_DIR, or nbdl/ in the user's cache folder."""
    named = os.environ.get("NBDL_CACHE_DIR")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nbdl"


@functools.cache
def _private_folder() -> Path | None:
    """The cache folder, made and writable for this user alone; None where that is impossible."""
    try:
        folder = cache_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
            return None  # another user could plant code there
        return folder if os.access(folder, os.W_OK) else None
    except (OSError, RuntimeError):
        return None


@functools.cache
def _file_digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return "no file"


def _function_of(value: object) -> python_types.FunctionType | None:
    if isinstance(value, python_types.FunctionType):
        return value
    if isinstance(value, _Intrinsic):
        return value._defn
    function = getattr(value, "py_func", None)
    return function if isinstance(function, python_types.FunctionType) else None


def _names(code: python_types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, python_types.CodeType):
            yield from _names(constant)


def reachable(function: python_types.FunctionType) -> Iterator[tuple[str, Any]]:
    """The global and closure variables that a function uses, by name."""
    for name in sorted(set(_names(function.__code__))):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents


def stamp(function: python_types.FunctionType) -> str:
    """A digest of all that decides what the function compiles to, besides the argument types."""
    digest = hashlib.sha256()
    seen: set[int] = set()
    pending: list[python_types.FunctionType] = [function]
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        code = current.__code__
        digest.update(f"{current.__module__}.{current.__qualname__}:{code.co_firstlineno}".encode())
        digest.update(_file_digest(code.co_filename).encode() + code.co_code)
        for name, value in reachable(current):
            inner = _function_of(value)
            if inner is not None:
                if not inner.__module__.startswith(("numba.", "numpy.")):
                    pending.append(inner)
            elif isinstance(value, python_types.ModuleType):
                if value.__name__.startswith("nbdl") and value.__file__:
                    digest.update(_file_digest(value.__file__).encode())
            elif isinstance(value, np.ndarray):
                digest.update(name.encode() + value.tobytes())
            else:
                digest.update(f"{name}={re.sub(r' at 0x[0-9a-f]+', '', repr(value))}".encode())
    return digest.hexdigest()


def _seal(path: Path, payload: bytes) -> bytes:
    """The digest at the head of a cache file. The name is part of it: one kernel's file cannot pass for another's."""
    return hashlib.sha256(path.name.encode() + payload).digest()


def _read(path: Path) -> Any:
    """What `_write` put into a file of the cache; None if it is missing, damaged or another kernel's."""
    data = path.read_bytes() if path.exists() else b""
    digest, payload = data[:_DIGEST], data[_DIGEST:]
    return pickle.loads(payload) if _seal(path, payload) == digest else None


def _write(path: Path, state: Any) -> None:
    payload = dumps(state)
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(_seal(path, payload) + payload)
        os.replace(file.name, path)
    except OSError:
        return  # a full or read-only disk costs compile time, nothing else


_UNREADABLE = (OSError, EOFError, pickle.UnpicklingError, ValueError, TypeError, AttributeError, ImportError)


@functools.cache
def _start_numba(target_context: Any) -> None:
    """What Numba sets up for its first kernel, without SciPy, and without compiling what is on the disk already.

    Every kernel calls Numba's functions that count references to arrays. Compiling these few lines anew in each process
    brings in the whole compiler, 12 MB that nothing else wants when all kernels come from the disk.
    """
    prepare_registries()
    compile_functions = nrtdynmod.compile_nrt_functions
    nrtdynmod.compile_nrt_functions = _reference_counting
    try:
        rtsys.initialize(target_context)
    finally:
        nrtdynmod.compile_nrt_functions = compile_functions


def _reference_counting(target_context: Any) -> Any:
    """The library that `nrtdynmod.compile_nrt_functions` gives."""
    codegen, folder = target_context.codegen(), _private_folder()
    versions = f"{numba.__version__} {llvmlite.__version__} {numba.config.OPT!r}"
    key = f"{versions} {_file_digest(nrtdynmod.__file__)} {codegen.magic_tuple()!r}"
    path = folder / f"reference_counting-{hashlib.sha256(key.encode()).hexdigest()[:32]}.kernel" if folder else None
    with contextlib.suppress(*_UNREADABLE):
        stored = _read(path) if path else None
        if stored is not None:
            return codegen.unserialize_library(stored)
    module, library = nrtdynmod.create_nrt_module(target_context)
    library.enable_object_caching()
    library.add_ir_module(module)
    library.finalize()
    if path:
        _write(path, library.serialize_using_object_code())
    return library


def _forget_module(library: Any, bitcode: bytes) -> None:
    """Frees a loaded kernel's LLVM module: half a megabyte, wanted only when another kernel is compiled with it."""
    library._shared_module.close()
    library._shared_module = None
    library._get_module_for_linking = lambda: llvm.parse_bitcode(bitcode)


class StampedCache(dispatcher.NullCache):  # type: ignore[name-defined]
    """The cache of one kernel, in the interface that Numba's dispatchers call."""

    def __init__(self, function: python_types.FunctionType, options: object = ()) -> None:
        self._function = function
        self._options = repr(options)

    @property
    def cache_path(self) -> str:
        return str(_private_folder())

    @functools.cached_property
    def _stamp(self) -> str:
        compilation = [_file_digest(str(Path(__file__).with_name(name))) for name in ("jit.py", "lowering.py")]
        versions = f"{numba.__version__} {np.__version__} {compilation} {self._options} {numba.config.BOUNDSCHECK}"
        return versions + stamp(self._function)

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        folder = _private_folder()
        if folder is None:
            return None
        key = f"{self._stamp} {signature!r} {codegen.magic_tuple()!r}"
        return folder / f"{self._function.__name__}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.kernel"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        _start_numba(target_context)
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        if path is None:
            return None
        try:
            state = _read(path)
            if state is None:
                return None  # it is written after compiling
            result = compiler.CompileResult._rebuild(target_context, *state)
            _, kind, code = state[0]
            if kind == "object":
                _forget_module(result.library, bitcode=code[1])
            return result
        except _UNREADABLE:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        path = self._path(sig, data.codegen)
        if path is not None and not data.library.has_dynamic_globals:
            _write(path, data._reduce())
