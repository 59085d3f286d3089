"""From nbdl's CUDA functions to what numba-cuda compiles.

Kernels are written against a placeholder `cuda`, against device functions and against scalar mathematics that are no
numba-cuda objects yet. `build` puts the real ones in their place, once for each function. Everything that knows
numba-cuda's interfaces is in this folder.
"""

from __future__ import annotations

import functools
import types as python_types
from typing import Any

from nbdl.runtime import addresses, halves, jit, vecmath
from nbdl.runtime.cuda import tensor, vectors
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.errors import DeviceError

_KNOWN_FUNCTIONS = vecmath.FUNCTIONS | halves.FUNCTIONS | vectors.FUNCTIONS | tensor.FUNCTIONS | {addresses.array_at}
"""Python functions that numba-cuda is taught; it compiles all others."""

GLOBAL_MEMORY = 1
"""LLVM's number for the memory that arrays of the GPU lie in."""


@functools.cache
def numba_cuda() -> Any:
    """The module `numba.cuda` of the package numba-cuda, taught nbdl's mathematics. Raises DeviceError if missing."""
    from nbdl.runtime.cuda.device import require_package

    cuda = require_package()
    from numba.cuda.typing import templates

    vecmath.register(templates, forceinline=True)
    halves.register(templates)
    vectors.register()
    tensor.register()
    _teach_arrays_by_address()
    _teach_dtype_of_numbers()
    return cuda


def _teach_arrays_by_address() -> None:
    from numba.core import types
    from numba.cuda.np.arrayobj import populate_array
    from numba.cuda.typing import templates

    def array_at(context: Any, address: Any, size: Any, like: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            array = context.make_array(signature.return_type)(context, builder)
            item = context.get_data_type(like.dtype)
            itemsize = context.get_constant(types.intp, context.get_abi_sizeof(item))
            data = builder.inttoptr(values[0], item.as_pointer(GLOBAL_MEMORY))
            data = builder.addrspacecast(data, item.as_pointer())  # the compiler follows it back and knows the memory
            populate_array(array, data, [values[1]], [itemsize], itemsize, meminfo=None)
            return array._getvalue()

        return types.Array(like.dtype, 1, "C")(types.int64, types.intp, like), generate

    template = templates.make_intrinsic_template(addresses.array_at, array_at, "array_at")
    templates.infer(template)
    templates.infer_global(addresses.array_at, types.Function(template))


def _teach_dtype_of_numbers() -> None:
    """Lets kernels write `value.dtype` for a number, as for an array and as NumPy does."""
    from numba.core import types
    from numba.cuda.extending import infer_getattr, lower_getattr
    from numba.cuda.typing.templates import AttributeTemplate

    class NumberAttributes(AttributeTemplate):
        key = types.Number

        def resolve_dtype(self, number: Any) -> Any:
            return types.DType(number)

    infer_getattr(NumberAttributes)

    @lower_getattr(types.Number, "dtype")
    def number_dtype(context: Any, builder: Any, number_type: Any, value: Any) -> Any:
        return context.get_dummy_value()


@functools.cache
def build(function: python_types.FunctionType) -> python_types.FunctionType:
    """The function with numba-cuda's objects in place of nbdl's."""
    return jit.rebind(function, lambda name, value: _resolve(value))


@functools.cache
def device_function(function: python_types.FunctionType) -> Any:
    """The function as one that other CUDA functions call; NVVM inlines it."""
    return numba_cuda().jit(device=True)(build(function))


def _resolve(value: Any) -> Any:
    if value is jit.cuda:
        return numba_cuda()
    if isinstance(value, jit.CudaFunction):
        return device_function(value.py_func)
    compiled = getattr(value, "py_func", None)  # scalar mathematics, compiled for the CPU
    if isinstance(compiled, python_types.FunctionType):
        return device_function(compiled)
    if isinstance(value, python_types.FunctionType) and value not in _KNOWN_FUNCTIONS:
        return device_function(value)
    return value


@functools.cache
def kernel(function: python_types.FunctionType) -> Any:
    """A CUDA kernel that is compiled for the types it is launched with."""
    return numba_cuda().jit(build(function), launch_bounds=_bounds(function))


def load(function: Any, arguments: tuple[Any, ...]) -> Any:
    """The driver's function of a kernel for arguments like these, compiled and loaded."""
    compiled = kernel(function.py_func).compile(argument_types(arguments))
    loaded = compiled._codelibrary.get_cufunc()
    from cuda.bindings import driver as api

    error, handle = api.cuKernelGetFunction(loaded.handle)
    if int(error):
        raise DeviceError(f"kernel {function.py_func.__name__}: cuKernelGetFunction failed with error {int(error)}")
    return handle


def argument_types(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The types that a kernel is compiled for when it gets these arguments."""
    import numba

    return tuple(
        numba.typeof(argument._geometry if isinstance(argument, DeviceArray) else argument) for argument in arguments
    )


def requires_capability(major: int, minor: int) -> Any:
    """Marks a CUDA function whose instructions older GPUs do not have."""

    def mark(function: jit.CudaFunction) -> jit.CudaFunction:
        function.least_capability = (major, minor)  # type: ignore[attr-defined]
        return function

    return mark


def resident(threads: int, blocks: int) -> Any:
    """Marks a CUDA kernel of so many threads a block, of which so many blocks must fit on a multiprocessor at once.

    The compiler then keeps to the registers that this leaves for a thread.
    """

    def mark(function: jit.CudaFunction) -> jit.CudaFunction:
        function.py_func.launch_bounds = (threads, blocks)  # type: ignore[attr-defined]
        return function

    return mark


def _bounds(function: python_types.FunctionType) -> tuple[int, int] | None:
    return getattr(function, "launch_bounds", None)


def least_capability(function: Any) -> tuple[int, int]:
    """The oldest compute capability that a CUDA function runs on; (0, 0) if any will do."""
    least: tuple[int, int] = getattr(function, "least_capability", (0, 0))
    return least


@functools.lru_cache(maxsize=8)
def _lower(function: python_types.FunctionType, types: tuple[Any, ...]) -> Any:
    """The kernel as LLVM's code, which is the same for every GPU."""
    numba_cuda()
    from numba.cuda import compiler, dispatcher

    # Device functions ask the driver which GPU they are compiled for.
    ask = dispatcher.get_current_device
    capability = (7, 5)
    dispatcher.get_current_device = lambda: python_types.SimpleNamespace(compute_capability=capability)
    try:
        library, _ = compiler._compile_pyfunc_with_fixup(
            build(function), types, device=False, cc=capability, abi="numba", launch_bounds=_bounds(function)
        )
    finally:
        dispatcher.get_current_device = ask
    return library


def compile_to_ptx(function: python_types.FunctionType, types: tuple[Any, ...], capability: tuple[int, int]) -> str:
    """Compiles a kernel without a GPU or its driver: the PTX for argument types and a compute capability."""
    text: str = _lower(function, types).get_asm_str(cc=capability)
    return text
