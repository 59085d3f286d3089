"""Operations on `device="cuda"` against their definitions: on a GPU, or on a simulated one.

from nbdl.testing import on_gpu

on_gpu.check(spec, spec.inputs(seeded(0)), np.float32)      # raises PropertyError
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from nbdl.autograd import Tensor, engine
from nbdl.testing import properties
from nbdl.testing.spec import OpSpec, to_tensors

CPU_RESULTS = {"to", "arange", "linspace", "logspace", "eye", "randn", "decoder_block"}
"""Functions that are asked for no device, or that the CPU alone has."""

WITHOUT_TENSORS = {"decoder_block"}
"""Functions that keep arrays of their own, on the CPU."""


def check(spec: OpSpec, case: dict[str, Any], dtype: Any) -> None:
    """Results on the GPU are the definition's, gradients those of float64 on the CPU, within 10 tolerances.

    Raises:
        PropertyError: They are not, or a result lies on the CPU.
    """
    if spec.function.__name__ in WITHOUT_TENSORS or (
        dtype == np.float16 and spec.operation in properties.WITHOUT_FLOAT16
    ):
        return
    rounded = properties._rounded(case, dtype)
    wanted, wanted_gradients = properties.run(spec, rounded, np.float64)
    if spec.reference is not None:
        wanted = [np.asarray(y) for y in properties._as_tuple(spec.reference(**copy.deepcopy(rounded)))]
    got, gradients, devices = run(spec, rounded, dtype)
    tolerance = 10 * spec.tolerance[np.dtype(dtype).name]
    if spec.function.__name__ not in CPU_RESULTS and any(device != "cuda" for device in devices):
        raise properties.PropertyError(f"{spec.name}: a result of tensors on the GPU lies on the CPU")
    if len(got) != len(wanted):
        raise properties.PropertyError(f"{spec.name}: {len(got)} results, the reference has {len(wanted)}")
    for number, (result, reference) in enumerate(zip(got, wanted, strict=True)):
        properties._compare(f"{spec.name} on the GPU, result {number}", result, reference, dtype, tolerance)
    for name, reference in wanted_gradients.items():
        if np.isfinite(reference).all() and np.abs(reference).max(initial=0) < 1e4:
            what = f"{spec.name} on the GPU, gradient of {name}"
            properties._compare(what, gradients[name], reference, dtype, tolerance)


def run(spec: OpSpec, case: dict[str, Any], dtype: Any) -> tuple[list[np.ndarray], dict[str, np.ndarray], list[str]]:
    """As `properties.run`, with all tensors on the GPU; and where the results lie."""
    arguments = {name: _sent(value) for name, value in to_tensors(case, dtype, grad=spec.differentiable).items()}
    everything = properties._as_tuple(spec.function(**arguments))
    results = [y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y) for y in everything]
    outputs = [y for y in everything if isinstance(y, Tensor)]
    pairs = [
        (y, Tensor(v.astype(y.dtype)).to(y.device))
        for y, v in zip(everything, properties.cotangents(results), strict=True)
        if v is not None and isinstance(y, Tensor) and y.requires_grad
    ]
    if pairs:
        engine.backward([y for y, _ in pairs], [v for _, v in pairs])
    gradients = {}
    for name in spec.differentiable:
        value = arguments.get(name)
        for position, member in enumerate(value if isinstance(value, (list, tuple)) else [value]):
            if isinstance(member, Tensor) and member.grad is not None:
                gradients[f"{name}[{position}]"] = member.grad.cpu().numpy()
    return results, gradients, [y.device for y in outputs]


def _sent(value: Any) -> Any:
    if isinstance(value, Tensor):
        sent = value.detach().to("cuda")
        return sent.requires_grad_() if value.requires_grad else sent
    if isinstance(value, (list, tuple)) and any(isinstance(item, Tensor) for item in value):
        return type(value)(_sent(item) for item in value)
    return value
