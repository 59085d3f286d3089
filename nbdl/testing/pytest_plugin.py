"""A pytest fixture that checks gradients of a project's own functions; pytest finds it once nbdl is installed.

    def test_my_kernel(nbdl_gradcheck):
        nbdl_gradcheck(my_function, x="N D", weight="D K")

The words say what each argument is (see `nbdl.testing.subjects`); with type hints or an attribute `spec` none are
needed. `pytest --nbdl-cases 10000 --nbdl-seed 7` draws other and more cases.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from nbdl.testing.runner import OpResult


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the fixture."""
    group = parser.getgroup("nbdl", "gradient checks")
    group.addoption("--nbdl-cases", type=int, default=100, metavar="N", help="cases a gradient check; default: 100")
    group.addoption("--nbdl-seed", type=int, default=0, metavar="N", help="chooses the cases; default: 0")


@pytest.fixture
def nbdl_gradcheck(pytestconfig: pytest.Config) -> Callable[..., OpResult]:
    """Checks a function's gradients on drawn cases: `nbdl_gradcheck(function, x="N D", ...)`."""

    def check(
        function: Any,
        /,
        *,
        cases: int | None = None,
        seed: int | None = None,
        reference: Callable[..., Any] | None = None,
        **inputs: str,
    ) -> OpResult:
        __tracebackhide__ = True
        from nbdl.testing.runner import check_function  # only tests that use the fixture pay for the import

        return check_function(
            function,
            inputs or None,
            cases=pytestconfig.getoption("--nbdl-cases") if cases is None else cases,
            seed=pytestconfig.getoption("--nbdl-seed") if seed is None else seed,
            reference=reference,
        )

    return check
