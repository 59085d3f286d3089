"""Kernels: how a Python function becomes machine code for the CPU or for a GPU, and how it is launched.

A kernel is a pair of twins with the same arguments, the CPU's and CUDA's. The CPU twin takes two more, `start` and
`stop`: the range of tasks it works on. Tasks are independent, so any split of them gives the same bits.

    @scalar          scalar mathematics, written once, inlined into kernels of both targets
    @exact           scalar mathematics whose every operation is rounded as written
    @cpu_kernel      serial loops over tasks [start, stop), compiled once per signature, cached on disk
    @cpu_map         the same, where no element depends on another: results may lie where operands lie
    @cuda_kernel     a CUDA kernel, compiled when it is first launched on a GPU
    @cuda_device     a function that CUDA kernels call (a block reduction, say)
    Kernel           the pair: looks at the arrays, picks the target, splits the tasks

Nothing is compiled when a module is imported.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import types as python_types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba import njit

from nbdl.runtime import threads
from nbdl.runtime.cache import StampedCache, reachable
from nbdl.runtime.errors import DeviceError
from nbdl.runtime.lowering import Compiler, KernelCompiler, MapCompiler

FASTMATH = {"nsz", "arcp", "contract", "reassoc", "afn"}
"""Reorderings that keep the meaning of NaN and infinity ('nnan' and 'ninf' would not)."""

BLOCK = 128
"""Threads of a CUDA block, unless a kernel says otherwise."""

SERIAL_WORK = 1 << 16
"""Scalar operations under which a launch on several threads costs more than it saves."""

CHUNK_WORK = 1 << 14
"""Scalar operations that a chunk of tasks should hold at least."""

MOST_CHUNKS = 64

_ALIGNMENT = 64  # tasks: chunks of elements start at multiples of a vector's width


class _CudaPlaceholder:
    """Stands for `numba.cuda` in kernel sources; replaced when a kernel is built for a GPU or the interpreter."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # inspect and doctest ask every object for some of these
            raise AttributeError(name)
        raise DeviceError(f"cuda.{name} exists only inside a kernel that runs on a GPU or in nbdl.testing.simt")


cuda: Any = _CudaPlaceholder()


# ---------------------------------------------------------------- decorators


def scalar(function: Callable[..., Any]) -> Any:
    """Marks scalar mathematics used inside kernels of both targets. Its plain Python form stays as `.py_func`."""
    return _dispatcher(function, fastmath=FASTMATH, forceinline=True, no_cpython_wrapper=True)


def exact(function: Callable[..., Any]) -> Any:
    """As `scalar`, each operation rounded as written: no reciprocal for a quotient, nothing fused or reordered."""
    return _dispatcher(
        function, fastmath=False, forceinline=True, no_cpython_wrapper=True
    )  # unsaid, it would be the caller's


def cpu_kernel(function: Callable[..., None]) -> Any:
    """Marks a CPU twin: serial loops over the tasks `[start, stop)`, its last two arguments."""
    return _dispatcher(function, fastmath=FASTMATH, no_cpython_wrapper=True, pipeline_class=KernelCompiler)


def cpu_map(function: Callable[..., None]) -> Any:
    """Marks a CPU twin whose loops' iterations are independent: none reads, or writes, what another has written.

    An operand may be the result's own array, as in `x += y`. It must not overlap it in any other way.
    """
    return _dispatcher(function, fastmath=FASTMATH, no_cpython_wrapper=True, pipeline_class=MapCompiler)


def cpu_function(function: Callable[..., Any]) -> Any:
    """Compiles a serial function that Python calls directly (sorting, packing, anything that is no map of tasks)."""
    return _dispatcher(function, fastmath=FASTMATH)


def _dispatcher(function: Any, **options: Any) -> Any:
    options = {"pipeline_class": Compiler, **options}
    compiled = njit(nogil=True, error_model="numpy", **options)(function)
    compiled._cache = StampedCache(function, [sorted(options), options["pipeline_class"].__name__])
    if options.get("no_cpython_wrapper"):
        _refuse_calls(compiled)
    return compiled


def _refuse_calls(compiled: Any) -> None:
    """Without a wrapper there is nothing that Python could call: an error instead of a crash."""

    def refuse(*_: Any, **__: Any) -> None:
        raise TypeError(f"{compiled.__name__} runs inside kernels only: launch its Kernel, or call .py_func")

    def keep(result: Any) -> None:  # numba would also enter it in the table that its fast path calls from
        compiled.overloads[tuple(result.signature.args)] = result

    compiled._compile_for_args, compiled.add_overload = refuse, keep


class CudaFunction:
    """A CUDA function as written: `nbdl.runtime.cuda` compiles it, `nbdl.testing.simt` interprets it."""

    def __init__(self, function: python_types.FunctionType, is_kernel: bool) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function
        self.is_kernel = is_kernel

    def __call__(self, *args: Any) -> Any:
        raise DeviceError(f"{self.py_func.__name__} is a CUDA function: launch it through its Kernel")


def cuda_kernel(function: Callable[..., None]) -> CudaFunction:
    """Marks a CUDA twin. Its arguments are the CPU twin's, without `start` and `stop`."""
    return CudaFunction(function, is_kernel=True)  # type: ignore[arg-type]


def cuda_device(function: Callable[..., Any]) -> CudaFunction:
    """Marks a function that CUDA kernels call."""
    return CudaFunction(function, is_kernel=False)  # type: ignore[arg-type]


def rebind(function: python_types.FunctionType, replace: Callable[[str, Any], Any]) -> python_types.FunctionType:
    """A copy of the function in which `replace(name, value)` stands for each global and closure variable it uses.

    The CUDA compiler and the interpreter put their own `cuda`, device functions and scalar mathematics in this way.
    """
    replaced = {name: replace(name, value) for name, value in reachable(function)}
    scope = {**function.__globals__, **replaced}
    cells = tuple(python_types.CellType(replaced[name]) for name in function.__code__.co_freevars)
    copy = python_types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, cells)
    copy.__qualname__, copy.__module__ = function.__qualname__, function.__module__
    copy.__annotations__ = {}
    return copy


# ---------------------------------------------------------------- launch

launch_override: Callable[[Kernel, tuple[Any, ...]], Any] | None = None
"""When set, every launch goes there instead (the SIMT interpreter and the profiler); NotImplemented sends it back."""

KERNELS: list[Kernel] = []
"""Every pair of the library, in the order of definition."""

_LAUNCHER = """
def {name}({arguments}, tasks, grain, threads):
    launch_ranges(body, tasks, grain, threads, {arguments})
"""


def _launcher(body: Any, source: str = _LAUNCHER, own: int = 2) -> Any:
    """The function that Python calls: it runs the body over all tasks at once, or over chunks on several threads.

    The last arguments of the body, `own` of them, are the launcher's to give.
    """
    code = body.py_func.__code__
    arguments = code.co_varnames[: code.co_argcount]
    if arguments[-2:] != ("start", "stop"):
        raise TypeError(f"{body.py_func.__qualname__}: the last two arguments of a CPU kernel are start and stop")
    name = body.py_func.__name__.lstrip("_")
    scope = {"body": body, "launch_ranges": threads.launch_ranges, "__name__": body.py_func.__module__}
    exec(source.format(name=name, arguments=", ".join(arguments[:-own])), scope)
    return _dispatcher(scope[name], no_cfunc_wrapper=True)


def split(tasks: int, work: int, count: int) -> tuple[int, int, int]:
    """How a launch is shared out among `count` threads: tasks, tasks a chunk, and the threads that are used."""
    if count == 1 or tasks < 2 or work < SERIAL_WORK:
        return tasks, tasks, 1
    return tasks, chunk_size(tasks, work), count


_SERIES_LAUNCHER = """
def {name}({arguments}):
    for step in range(program.shape[0]):
        launch_ranges(body, program[step, 0], program[step, 1], program[step, 2], {arguments}, step)
"""


class Series:
    """Launches of one CPU kernel, each after the one before, in one call from Python.

    Args:
        cpu: The kernel. One of its arguments is `program`, int64 [steps, 3 or more]: each step's tasks, tasks a chunk
            and threads, as from `split`; the rest of a line is for the kernel. After its arguments comes the step's
            number, then `start` and `stop`.
        requires: Called once before the first launch.
    """

    def __init__(self, cpu: Any, requires: Callable[[], None]) -> None:
        self.cpu = cpu
        self._requires = requires
        self._launch: Any = None

    def __call__(self, *args: Any) -> None:
        """Runs all steps; returns when they are done."""
        (self._launch or self._prepare())(*args)

    def _prepare(self) -> Any:
        threads.start_pool()
        self._requires()
        self._launch = _launcher(self.cpu, _SERIES_LAUNCHER, own=3)
        return self._launch


class Kernel:
    """A CPU kernel and its CUDA twin.

    Args:
        cpu: The CPU twin, decorated with `cpu_kernel`.
        cuda: The CUDA twin, decorated with `cuda_kernel`.
        tasks: Number of independent tasks, from the launch's arguments.
        work: About how many scalar operations the launch does, from the same arguments; the number of tasks when
            None. It decides whether threads are used and how many tasks make a chunk.
        blocks: Number of CUDA blocks; the number of tasks when None.
        threads: CUDA threads a block.
        requires: Called once before the first launch (to register compiled symbols, say).
    """

    def __init__(
        self,
        *,
        cpu: Any,
        cuda: CudaFunction,
        tasks: Callable[..., int],
        work: Callable[..., int] | None = None,
        blocks: Callable[..., int] | None = None,
        threads: int = BLOCK,
        requires: Callable[[], None] | None = None,
    ) -> None:
        self.cpu = cpu
        self.cuda = cuda
        self.tasks = tasks
        self.work = work or tasks
        self.blocks = blocks or tasks
        self.threads = threads
        self.name = cpu.py_func.__name__.strip("_").removesuffix("_cpu")
        self._requires = requires
        self._launch: Any = None
        KERNELS.append(self)

    def __repr__(self) -> str:
        return f"Kernel({self.name})"

    def __call__(self, *args: Any) -> None:
        """Runs the kernel on the target of its arrays; returns when the CPU is done, at once on a GPU."""
        override = launch_override
        if override is not None and override(self, args) is not NotImplemented:
            return
        if not isinstance(args[0], np.ndarray):
            self._launch_cuda(args)
            return
        launch = self._launch or self._prepare()
        tasks = self.tasks(*args)
        if threads._threads == 1 or tasks < 2:
            launch(*args, tasks, tasks, 1)
            return
        work = tasks if self.work is self.tasks else self.work(*args)
        if work < SERIAL_WORK:
            launch(*args, tasks, tasks, 1)
        else:
            launch(*args, tasks, chunk_size(tasks, work), threads._threads)

    def _prepare(self) -> Any:
        threads.start_pool()
        if self._requires is not None:
            self._requires()
        self._launch = _launcher(self.cpu)
        return self._launch

    @contextlib.contextmanager
    def noting_calls(self, note: Callable[[Any, tuple[Any, ...]], None]) -> Iterator[None]:
        """Calls `note(compiled, arguments)` after each launch on the CPU: what to call, and how, to repeat it.

        Launches of this thread, that is, which go to the processor whatever `launch_override` says.
        """
        global launch_override
        launch, own = self._launch or self._prepare(), threading.get_ident()

        def noted(*arguments: Any) -> None:
            launch(*arguments)
            if threading.get_ident() != own:
                return
            # The compiled function without the search for the version that fits the arguments' types.
            found = launch.overloads.get(tuple([launch.typeof_pyval(argument) for argument in arguments]))
            note(launch if found is None else found.entry_point, arguments)

        override, launch_override, self._launch = launch_override, None, noted
        try:
            yield
        finally:
            launch_override, self._launch = override, launch

    def _launch_cuda(self, args: tuple[Any, ...]) -> None:
        from nbdl.runtime.cuda.launch import launch

        launch(self, args)


def chunk_size(tasks: int, work: int) -> int:
    """Tasks a chunk: enough to be worth a thread's while, few enough to share out; from the sizes alone."""
    grain = max(-(-tasks // MOST_CHUNKS), tasks * CHUNK_WORK // max(work, 1), 1)
    return -(-grain // _ALIGNMENT) * _ALIGNMENT if grain >= _ALIGNMENT else grain
