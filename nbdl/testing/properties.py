"""The properties that every operation of the spec table must have, each a function of one drawn case."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nbdl.autograd import Tensor, backward
from nbdl.runtime import jit, threads
from nbdl.runtime.errors import NbdlError
from nbdl.testing.gradcheck import GradcheckReport, gradcheck
from nbdl.testing.spec import OpSpec, Refusal, to_tensors

Case = Mapping[str, Any]


WITHOUT_FLOAT16 = {
    "bincount": "sums of float16 weights are float64, as in PyTorch",
    "decoder_block": "works on arrays; a model of float16 goes operation by operation",
}
"""Operations whose results are not float16 for inputs of it, and why."""


class PropertyError(NbdlError, AssertionError):
    """An operation breaks a property. The message names operation, property, index and both values."""


def check_forward(spec: OpSpec, case: Case, dtype: Any) -> None:
    """The result equals the float64 reference of the same (rounded) inputs, and the inputs are left alone."""
    rounded = _rounded(case, dtype)
    arguments = to_tensors(rounded, dtype)
    before = [array.copy() for array in _arrays_of(arguments)]
    got = _as_tuple(spec.function(**arguments))
    for array, kept in zip(_arrays_of(arguments), before, strict=True):
        if not np.array_equal(array, kept, equal_nan=array.dtype.kind == "f"):
            raise PropertyError(f"{spec.name}: an input was modified")
    if spec.reference is None:
        return
    wanted = _as_tuple(spec.reference(**copy.deepcopy(dict(rounded))))
    tolerance = spec.tolerance[np.dtype(dtype).name]
    if len(got) != len(wanted):
        raise PropertyError(f"{spec.name}: {len(got)} results, the reference has {len(wanted)}")
    for number, (result, reference) in enumerate(zip(got, wanted, strict=True)):
        _compare(f"{spec.name} [{np.dtype(dtype).name}] result {number}", result, reference, dtype, tolerance)


def check_gradients(spec: OpSpec, case: Case, seed: int = 0, directions: int | None = None) -> GradcheckReport:
    """Every gradient equals central differences in float64."""
    arguments = to_tensors(case, np.float64)
    return gradcheck(
        spec.function,
        arguments,
        differentiable=spec.differentiable,
        seed=seed,
        name=spec.name,
        directions=directions,
    )


def check_narrow_gradients(spec: OpSpec, case: Case, dtype: Any) -> None:
    """Gradients in float32 or float16 agree with those in float64; results too, where there is no reference."""
    rounded = _rounded(case, dtype)
    results, wide = run(spec, rounded, np.float64)
    narrow_results, narrow = run(spec, rounded, dtype)
    kind = np.dtype(dtype).name
    tolerance = 10 * spec.tolerance[kind]
    if spec.reference is None:
        for number, (result, reference) in enumerate(zip(narrow_results, results, strict=True)):
            _compare(f"{spec.name} [{kind}] result {number}", result, reference, dtype, tolerance)
    for name, reference in wide.items():
        if np.isfinite(reference).all() and np.abs(reference).max(initial=0) < 1e4:
            _compare(f"{spec.name} [{kind}] gradient of {name}", narrow[name], reference, dtype, tolerance)


def check_threads(spec: OpSpec, case: Case) -> None:
    """Results and gradients are the same bits for 1, 2 and 4 threads, with chunks of a few tasks."""
    kept = threads.get_num_threads(), jit.SERIAL_WORK, jit.CHUNK_WORK
    runs = []
    try:
        jit.SERIAL_WORK, jit.CHUNK_WORK = 0, 4
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            outputs, gradients = run(spec, case, np.float32)
            runs.append({**{f"result {i}": y for i, y in enumerate(outputs)}, **gradients})
    finally:
        threads.set_num_threads(kept[0])
        jit.SERIAL_WORK, jit.CHUNK_WORK = kept[1:]
    for other in runs[1:]:
        for name, values in runs[0].items():
            if values.tobytes() != other[name].tobytes():
                raise PropertyError(f"{spec.name}: {name} depends on the number of threads")


def check_layouts(spec: OpSpec, case: Case) -> None:
    """Strided, reversed and broadcast inputs give what their contiguous copies give."""
    plain = {name: _contiguous(value) for name, value in case.items()}
    first, first_gradients = run(spec, case, np.float64)
    second, second_gradients = run(spec, plain, np.float64)
    for number, (a, b) in enumerate(zip(first, second, strict=True)):
        _compare(f"{spec.name} result {number} of strided inputs", a, b, np.float64, 1e-13)
    for name, values in second_gradients.items():
        _compare(f"{spec.name} gradient of {name}, strided", first_gradients[name], values, np.float64, 1e-12)


def check_twin(spec: OpSpec, case: Case, target: Callable[[], Any], dtype: Any = np.float32) -> None:
    """The CUDA twins, run in the context that `target` opens, agree with the CPU."""
    wanted, wanted_gradients = run(spec, case, dtype)
    with target():
        got, gradients = run(spec, case, dtype)
    tolerance = spec.tolerance[np.dtype(dtype).name]
    for number, (a, b) in enumerate(zip(got, wanted, strict=True)):
        _compare(f"{spec.name} CUDA twin, result {number}", a, b, dtype, tolerance)
    for name, values in wanted_gradients.items():
        _compare(f"{spec.name} CUDA twin, gradient of {name}", gradients[name], values, dtype, 10 * tolerance)


def check_refusal(spec: OpSpec, refusal: Refusal) -> None:
    """Bad arguments raise the named error, and its message names the argument."""
    arguments = refusal.arguments()
    try:
        spec.function(**{name: Tensor(v) if isinstance(v, np.ndarray) else v for name, v in arguments.items()})
    except refusal.error as error:
        if refusal.mentions not in str(error):
            raise PropertyError(f"{spec.name}: {error!r} does not mention {refusal.mentions!r}") from error
        return
    except Exception as error:
        raise PropertyError(f"{spec.name}: expected {refusal.error.__name__}, got {error!r}") from error
    raise PropertyError(f"{spec.name}: accepted {list(arguments)} that it must refuse with {refusal.error.__name__}")


def run(spec: OpSpec, case: Case, dtype: Any) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Results and gradients for a fixed cotangent, as arrays."""
    arguments = to_tensors(case, dtype, grad=spec.differentiable)
    outputs = [y for y in _as_tuple(spec.function(**arguments)) if isinstance(y, Tensor)]
    drawn = zip(outputs, cotangents([y._array for y in outputs]), strict=True)
    pairs = [(y, Tensor(v.astype(y.dtype))) for y, v in drawn if v is not None and y.requires_grad]
    if pairs:
        backward([y for y, _ in pairs], [v for _, v in pairs])
    gradients = {}
    for name in spec.differentiable:
        value = arguments.get(name)
        for position, member in enumerate(value if isinstance(value, (list, tuple)) else [value]):
            if isinstance(member, Tensor) and member.grad is not None:
                gradients[f"{name}[{position}]"] = member.grad._array.copy()
    return [y._array.copy() for y in outputs], gradients


def cotangents(outputs: list[np.ndarray]) -> list[np.ndarray | None]:
    """The fixed random numbers that `run` multiplies results with; None for a result without gradients."""
    rng = np.random.default_rng(7)
    return [rng.standard_normal(y.shape) if y.dtype.kind == "f" else None for y in outputs]


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _arrays_of(arguments: Mapping[str, Any]) -> list[np.ndarray]:
    found = []
    for value in arguments.values():
        for member in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(member, Tensor):
                found.append(member._array)
    return found


def _map_arrays(value: Any, function: Callable[[np.ndarray], np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        return function(value)
    if isinstance(value, (list, tuple)) and any(isinstance(member, np.ndarray) for member in value):
        return type(value)(_map_arrays(member, function) for member in value)
    return value


def _rounded(case: Case, dtype: Any) -> dict[str, Any]:
    """The case with its floating-point values rounded to the dtype, still stored as float64."""

    def to_dtype(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "f" or np.dtype(dtype) == np.float64:
            return array
        rounded = array.copy(order="K") if 0 not in array.strides else array.copy()
        rounded[...] = array.astype(dtype)
        return rounded

    return {name: _map_arrays(value, to_dtype) for name, value in case.items()}


def _contiguous(value: Any) -> Any:
    return _map_arrays(value, lambda array: np.ascontiguousarray(array).reshape(array.shape))


def _compare(title: str, got: Any, wanted: Any, dtype: Any, tolerance: float) -> None:
    """Shape, dtype kind and values; an infinity or NaN must be the same one."""
    result = got._array if isinstance(got, Tensor) else np.asarray(got)
    reference = np.asarray(wanted)
    if result.shape != reference.shape:
        raise PropertyError(f"{title}: shape {list(result.shape)}, expected {list(reference.shape)}")
    if result.dtype.kind == "f":
        if result.dtype != dtype:
            raise PropertyError(f"{title}: dtype {result.dtype}, expected {np.dtype(dtype)}")
        with np.errstate(all="ignore"):
            near = np.abs(result - reference) <= tolerance * (1 + np.abs(reference))
            good = near | (result == reference) | (np.isnan(result) & np.isnan(reference))
    else:
        good = result == reference
    if not np.all(good):
        index = tuple(int(i) for i in np.argwhere(~good)[0])
        raise PropertyError(f"{title} at {list(index)}: {result[index]!r}, expected {reference[index]!r}")
