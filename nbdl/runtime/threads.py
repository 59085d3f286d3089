"""Threads: how many, and one launch of a compiled kernel over fixed ranges of tasks.

`launch_ranges` is the only place of nbdl where work is split. It hands chunk `c` of a kernel, the tasks
`[c * grain, (c + 1) * grain)`, to the thread pool of Numba's threading layer. The chunks depend on the sizes
alone, so a result cannot depend on the number of threads.
"""

from __future__ import annotations

import os

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nbdl.runtime.errors import ArgumentError, StateError

_threads = numba.config.NUMBA_NUM_THREADS
_pool_started = False
_forked = False


def set_num_threads(threads: int) -> None:
    """Sets how many threads a kernel may use, from 1 up. Results do not depend on it.

    A process that was forked from one whose kernels have run has one thread: a fork brings no others along.

    Raises:
        ArgumentError: The number is no integer of at least 1.
        StateError: More than one thread in a forked process.
    """
    global _threads
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ArgumentError(f"threads: expected an integer of at least 1, got {threads!r}")
    if threads > 1 and _forked:
        raise StateError(
            f"threads: expected 1 in a process forked from one that has computed, got {threads}: a fork brings no "
            "other threads along; start the process by multiprocessing's method 'spawn' to use more"
        )
    _threads = threads


def get_num_threads() -> int:
    """The number of threads that a kernel may use."""
    return _threads


def start_pool() -> None:
    """Starts Numba's thread pool, which also gives compiled code its `numba_parallel_for` symbol."""
    global _pool_started
    if _pool_started:
        return
    if "NUMBA_THREADING_LAYER_PRIORITY" not in os.environ:
        # A launch costs 3 us on OpenMP and 50 us or more on Numba's own work queue.
        numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
    from numba.np.ufunc.parallel import _launch_threads

    _launch_threads()
    _pool_started = True


def _after_fork() -> None:
    """The child computes on its only thread, with the same results; to wait for the parent's would be for ever."""
    global _threads, _forked
    if _pool_started:
        _threads, _forked = 1, True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

_POINTER = ir.IntType(8).as_pointer()
_INT = ir.IntType(64)


@intrinsic
def launch_ranges(typing_context, body, tasks, grain, threads, *arguments):
    """Runs `body(*arguments, start, stop)` over all tasks: in one call on one thread, else in chunks on the pool.

    The compiled body is called by address from both branches, so a kernel is compiled once, as serial code.
    """
    body_signature = body.get_call_type(typing_context, (*arguments, types.int64, types.int64), {})
    signature = types.void(body, types.int64, types.int64, types.int64, types.StarArgTuple.from_types(arguments))

    def codegen(context, builder, _signature, values):
        _, tasks_value, grain_value, threads_value, argument_tuple = values
        argument_values = cgutils.unpack_tuple(builder, argument_tuple)
        descriptor = body.dispatcher.overloads[body_signature.args].fndesc
        context.get_function(body, body_signature)
        context.active_code_library.add_linking_library(body.dispatcher.overloads[body_signature.args].library)
        zero, one = ir.Constant(_INT, 0), ir.Constant(_INT, 1)
        alone = builder.icmp_signed("==", threads_value, one)
        with builder.if_else(alone) as (on_one_thread, on_the_pool):
            with on_one_thread:
                context.call_internal(builder, descriptor, body_signature, [*argument_values, zero, tasks_value])
            with on_the_pool:
                _call_pool(
                    context,
                    builder,
                    descriptor,
                    body_signature,
                    argument_values,
                    tasks_value,
                    grain_value,
                    threads_value,
                )
        return context.get_dummy_value()

    return signature, codegen


def _call_pool(context, builder, descriptor, body_signature, argument_values, tasks, grain, threads):
    """Emits the call of `numba_parallel_for` with a frame of the arguments, one element for each chunk."""
    zero, one = ir.Constant(_INT, 0), ir.Constant(_INT, 1)
    frame = cgutils.alloca_once(builder, ir.LiteralStructType([value.type for value in argument_values] + [_INT, _INT]))
    for position, value in enumerate([*argument_values, tasks, grain]):
        builder.store(value, cgutils.gep_inbounds(builder, frame, 0, position))
    trampoline = _trampoline(context, builder.module, descriptor, body_signature, frame.type)
    chunks = builder.sdiv(builder.sub(builder.add(tasks, grain), one), grain)
    # The pool hands out elements of "arrays": ours starts at address 0 with a step of one byte,
    # so the address that a thread receives is the number of its chunk.
    base = cgutils.alloca_once_value(builder, ir.Constant(_POINTER, None))
    counts = cgutils.alloca_once_value(builder, chunks)
    steps = cgutils.alloca_once_value(builder, one)
    parallel_for = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(
            ir.VoidType(), [_POINTER, base.type, counts.type, steps.type, _POINTER, _INT, _INT, ir.IntType(32)]
        ),
        "numba_parallel_for",
    )
    builder.call(
        parallel_for,
        [
            builder.bitcast(trampoline, _POINTER),
            base,
            counts,
            steps,
            builder.bitcast(frame, _POINTER),
            zero,
            one,
            builder.trunc(threads, ir.IntType(32)),
        ],
    )


def _trampoline(context, module, descriptor, signature, frame_type):
    """Emits `void trampoline(char **base, int64 *counts, int64 *steps, void *frame)`, run by a pool thread."""
    function_type = ir.FunctionType(
        ir.VoidType(), [_POINTER.as_pointer(), _INT.as_pointer(), _INT.as_pointer(), _POINTER]
    )
    function = ir.Function(module, function_type, module.get_unique_name("nbdl_trampoline"))
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    base, counts, _, frame_bytes = function.args
    frame = builder.bitcast(frame_bytes, frame_type)
    members = len(frame_type.pointee.elements)
    *arguments, tasks, grain = (
        builder.load(cgutils.gep_inbounds(builder, frame, 0, position)) for position in range(members)
    )
    first = builder.ptrtoint(builder.load(base), _INT)
    start = builder.mul(first, grain)
    stop = builder.mul(builder.add(first, builder.load(counts)), grain)
    stop = builder.select(builder.icmp_signed("<", stop, tasks), stop, tasks)
    kernel = context.declare_function(module, descriptor)
    # Kernels neither raise nor return anything: the status is of no use here.
    context.call_conv.call_function(builder, kernel, signature.return_type, signature.args, [*arguments, start, stop])
    builder.ret_void()
    return function
