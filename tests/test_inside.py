"""What the pages about the inside show and cannot compute when the site is built."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


@pytest.mark.ptx
def test_shown_ptx_is_what_the_compiler_makes(monkeypatch):
    """`docs/examples/row_sums.ptx`: stored because a build of the site needs no CUDA packages."""
    from numba import float32

    from nbdl.runtime.cuda.compiler import compile_to_ptx

    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "cuda_sum", raising=False)
    import cuda_sum

    text = compile_to_ptx(cuda_sum.row_sums.py_func, (float32[:, ::1], float32[::1]), (8, 0))
    stored = (EXAMPLES / "row_sums.ptx").read_text(encoding="utf-8")
    assert _body(text) == _body(stored)


@pytest.mark.ptx
@pytest.mark.parametrize("example", ["log_cosh", "generalized_mean"])
def test_kernels_to_copy_calculate_in_float32(example, monkeypatch):
    """What the pages offer as a pattern: an integer or a literal among float32 numbers makes float64 of them."""
    from numba import float32

    from nbdl.runtime.cuda.compiler import compile_to_ptx
    from nbdl.runtime.jit import CudaFunction

    monkeypatch.syspath_prepend(str(EXAMPLES))
    module = importlib.import_module(example)
    kernels = [kernel.py_func for kernel in vars(module).values() if isinstance(kernel, CudaFunction)]
    assert len(kernels) == 2
    for kernel in kernels:
        names = kernel.__code__.co_varnames[: kernel.__code__.co_argcount]
        matrices = ("x", "dx") if example == "generalized_mean" else ()
        types = tuple(float32[:, ::1] if name in matrices else float32[::1] for name in names)
        assert ".f64" not in compile_to_ptx(kernel, types, (8, 0)), kernel.__name__


def _body(text: str) -> str:
    """The instructions, without names of functions and parameters, which hold the compiler's version."""
    start = text.index("{")
    return re.sub(r"\b_?_ZN\w+|\brow_sums\w*", "name", text[start:]).strip()


def test_reliability_page_shows_what_the_proofs_stored(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES.parent))
    import evidence

    words = {key: key for key in ("promise", "date", "seconds", "what", "figure")} | {"none": "nothing yet"}
    monkeypatch.setattr(evidence, "STORED", tmp_path)
    assert evidence.summary(words) == "nothing yet"
    record = {
        "name": "files", "bar": "Damaged files are refused.", "seconds": 61, "date": "2026-11-23", "machine": "2 cores",
        "figures": {"mutated inputs": 100_000, "share": 0.25, "by reader": {"npz": 7, "wav": [1, 2]}},
    }  # fmt: skip
    (tmp_path / "files.json").write_text(json.dumps(record), encoding="utf-8")
    table = evidence.summary(words, {"files": "손상된 파일을 거절합니다."})
    assert "| `files` | 손상된 파일을 거절합니다. | 2026-11-23 |" in table
    assert '??? note "files: 2 cores, 61 seconds"' in table
    for row in ("| mutated inputs | 100,000 |", "| share | 0.25 |", "| by reader | npz 7, wav 1, 2 |"):
        assert f"    {row}\n" in table + "\n"
