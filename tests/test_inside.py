"""What the pages about the inside show and cannot compute when the site is built."""

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


def _body(text: str) -> str:
    """The instructions, without names of functions and parameters, which hold the compiler's version."""
    start = text.index("{")
    return re.sub(r"\b_?_ZN\w+|\brow_sums\w*", "name", text[start:]).strip()
