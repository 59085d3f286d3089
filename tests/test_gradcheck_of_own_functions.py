"""Gradient checks as others use them: the command on a file, the fixture in three lines, reports, reproducers."""

import json
import os
import re
import subprocess
import sys
import textwrap
from typing import Annotated

import numpy as np
import pytest

import nbdl
from nbdl import nn, ops
from nbdl.autograd import Op, Tensor
from nbdl.cli import main
from nbdl.runtime.cache import cache_folder
from nbdl.runtime.errors import ArgumentError
from nbdl.testing import Draw, GradcheckError, OpSpec, check_function, draw, replay, seeded
from nbdl.testing.complex_step import check_complex_step
from nbdl.testing.runner import check_operation, share_cases
from nbdl.testing.subjects import load_subject

pytest_plugins = ["pytester"]

CACHE = str(cache_folder())  # asked for here: pytester gives its tests another home

KERNELS = '''
from typing import Annotated
import nbdl
from nbdl import nn
from nbdl.autograd import Op, Tensor


class Cube(Op):
    """x^3, with a wrong factor when `wrong`."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.save(x)
        ctx.factor = factor
        return x**3

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved
        return ctx.factor * x * x * dy, None


def cube(x: Annotated[Tensor, "N D"]):
    return Cube.apply(x, 3.0)


def bad_cube(x: Annotated[Tensor, "N D"]):
    return Cube.apply(x, 3.001)


def linear(x, weight, bias=None):
    return nbdl.matmul(x, weight)


def labelled(scores, labels):
    return nbdl.ops.cross_entropy(scores, labels)


labelled.spec = {"scores": "N C", "labels": "N ids<C"}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Annotated[Tensor, "4 3"]):
        return self.second(nbdl.tanh(self.norm(self.first(x))))
'''


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    (tmp_path / "my_kernels.py").write_text(KERNELS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "my_kernels.py"
    sys.modules.pop("my_kernels", None)


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize("place", ["my_kernels", "my_kernels.py"])
def test_own_functions_and_modules_pass(capsys, kernels, place):
    names = [f"{place}:{name}" for name in ("cube", "linear", "labelled", "Net")]
    words = ["--input", "x=N D", "--input", "weight=D K"]
    assert main(["gradcheck", f"{place}:linear", "--examples", "20", *words]) == 0
    assert main(["gradcheck", names[0], names[2], names[3], "relu", "--examples", "20"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in names) and re.search(r"^  relu +10 ", out, re.M)


def test_a_wrong_gradient_is_reported_in_three_forms(capsys, kernels):
    assert main(["gradcheck", "my_kernels.py:bad_cube", "cos", "--json", "r.json", "--html", "r.html"]) == 1
    captured = capsys.readouterr()
    assert "FAILED" in captured.out and "central differences give" in captured.err
    document = json.loads((kernels.parent / "r.json").read_text())
    assert document["format"] == "nbdl-gradcheck-1" and document["totals"]["failed"] == 1
    rows = {row["name"]: row for row in document["rows"]}
    assert rows["cos"]["failure"] is None and rows["cos"]["complex_steps"] > 0
    page = (kernels.parent / "r.html").read_text()
    assert "1 of 2 rows failed" in page and "central differences give" in page and "@example(" in page
    assert "http" not in page and "<script" not in page  # nothing beside it


def test_the_reproducer_runs_and_fails_as_it_is(capsys, kernels):
    main(["gradcheck", "my_kernels.py:bad_cube"])
    text = capsys.readouterr().err
    snippet = text[text.index("from hypothesis") : text.index("error:")]
    (kernels.parent / "test_found.py").write_text(snippet)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_found.py"]
    done = subprocess.run(command, cwd=kernels.parent, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1 and "GradcheckError" in done.stdout and "explicit example" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["my_kernels:missing"], "my_kernels has no 'missing'"),
        (["nowhere_at_all:f"], "no module 'nowhere_at_all'"),
        (["missing.py:f"], "missing.py: expected a Python file, found none"),
        (["my_kernels:linear"], "expected to be told what the argument x is"),
        (["my_kernels:cube", "--input", "z=N"], "there is no argument z; it takes x"),
        (["my_kernels:cube", "--input", "x=N-D"], "x: expected sizes such as"),
        (["my_kernels:cube", "--input", "x=N in 3"], "x: expected an interval such as 0.1..3, got '3'"),
    ],
)
def test_what_cannot_be_checked_is_said_in_a_line(capsys, kernels, words, message):
    assert main(["gradcheck", *words]) == 1
    captured = capsys.readouterr().err
    assert message in captured and captured.count("\n") == 1


def test_two_processes_find_what_one_finds(capsys, kernels):
    def totals(jobs):
        main(["gradcheck", "relu", "my_kernels.py:cube", "--examples", "30", "--jobs", jobs, "--json", "r.json"])
        capsys.readouterr()
        rows = json.loads((kernels.parent / "r.json").read_text())["rows"]
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    assert totals("1") == totals("2")


# ---------------------------------------------------------------- the fixture


def test_another_project_checks_its_kernel_in_three_lines(pytester, monkeypatch):
    monkeypatch.setenv("NBDL_CACHE_DIR", CACHE)
    pytester.makepyfile(my_kernels=KERNELS)
    pytester.makepyfile(
        """
        from my_kernels import Net, bad_cube, cube, linear

        def test_cube(nbdl_gradcheck):
            nbdl_gradcheck(cube)

        def test_linear(nbdl_gradcheck):
            assert nbdl_gradcheck(linear, x="N D", weight="D K", cases=7).cases == 7

        def test_net(nbdl_gradcheck):
            nbdl_gradcheck(Net())

        def test_bad(nbdl_gradcheck):
            nbdl_gradcheck(bad_cube)
        """
    )
    result = pytester.runpytest_subprocess("--nbdl-cases", "20")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        ["*GradcheckError*central differences give*", "*@example(*", "*replay('my_kernels:bad_cube'*"]
    )


# ---------------------------------------------------------------- drawing and shrinking


def test_words_say_what_arguments_are():
    def f(x, y, ids, keep, scale, times, point):
        return x

    words = {
        "x": "... N 3",
        "y": "... 2*N in 0.5..1",
        "ids": "N ids<7",
        "keep": "N bool",
        "scale": "number in 3..4",
        "times": "integer in 2..2",
        "point": "",
    }
    spec = load_subject(f, words)
    assert spec.differentiable == ("x", "y", "point")
    ranks = set()
    for seed in range(50):
        case = spec.inputs(seeded(seed))
        *leading, n, three = case["x"].shape
        ranks.add(len(leading))
        assert three == 3 and case["y"].shape == (*leading, 2 * n) and case["ids"].shape == case["keep"].shape == (n,)
        assert case["y"].size == 0 or (case["y"].min() >= 0.5 and case["y"].max() <= 1)
        assert case["ids"].dtype == np.int64 and case["ids"].min() >= 0 and case["ids"].max() < 7
        assert case["keep"].dtype == np.bool_ and 3 <= case["scale"] <= 4 and case["times"] == 2
        assert case["point"].shape == ()
    assert ranks == {0, 1, 2}


def test_hints_and_attributes_describe_arguments_too():
    def hinted(x: Annotated[Tensor, "N"], y: Tensor, z=1.0):
        return x.sum() + y.sum()

    assert check_function(hinted, cases=10).cases == 10

    def drawn(x):
        return x.exp()

    drawn.spec = lambda draw: {"x": draw.array((2, draw.integer(1, 2)))}
    drawn.reference = lambda x: np.exp(x)
    assert check_function(drawn, cases=10).complex_steps == 1
    drawn.reference = lambda x: np.exp(x) + 1e-6
    with pytest.raises(GradcheckError, match=r"result 0 at \[0, 0\]"):
        check_function(drawn, cases=10)

    with pytest.raises(ArgumentError, match="expected to be told what the argument x is"):
        load_subject(lambda x: x)


def test_any_list_of_integers_makes_a_case():
    rng = np.random.default_rng(0)
    for length in (0, 1, 5, 40):
        replay("softmax", rng.integers(0, 2**32, length).tolist())


def test_a_failing_case_is_made_small():
    def fails(candidate):
        source = draw.replayed(candidate)  # its first integer is the seed of the arrays
        return source.integer(0, 50) * source.integer(1, 9) >= 12

    small = draw.shrunk([3, 40, 9, 8, 7], fails)
    assert small == [0, 12]  # twelve times the least allowed; the last numbers were of no use


def test_seeded_cases_are_the_same_again_and_from_what_was_drawn():
    spec = load_subject(lambda x: x, {"x": "N D"})
    first = seeded(3, stream=5)
    case, again = spec.inputs(first), spec.inputs(seeded(3, stream=5))
    from_list = spec.inputs(draw.replayed(first.drawn))
    other = spec.inputs(seeded(3, stream=6))
    assert case["x"].tobytes() == again["x"].tobytes() == from_list["x"].tobytes() != other["x"].tobytes()


def test_rows_of_one_operation_share_its_cases():
    specs = [OpSpec(f, None, Draw, variant=v) for f, v in ((abs, ""), (abs, "a"), (abs, "b"), (len, ""))]
    assert share_cases(specs, 100) == {"abs": 34, "abs:a": 34, "abs:b": 34, "len": 100}


# ---------------------------------------------------------------- what single checks see


class Slope(Op):
    """tanh with an error of the gradient that central differences do not see."""

    error = 0.0

    @staticmethod
    def forward(ctx, x):
        y = np.tanh(x)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved
        return dy * (1 - y * y) * (1 + Slope.error)


def test_the_complex_step_sees_the_ninth_digit(monkeypatch):
    spec = OpSpec(lambda x: Slope.apply(x), lambda x: np.tanh(x), lambda draw: {"x": draw.array((3, 4))}, ("x",))
    assert check_operation(spec, 30).complex_steps == 3
    monkeypatch.setattr(Slope, "error", 1e-7)
    result = check_operation(spec, 30)
    assert result.failure is not None and "the complex step of the reference gives" in result.failure


@pytest.mark.parametrize("reference", [lambda x: np.abs(np.tanh(x)), lambda x: np.tanh(np.real(x))])
def test_the_complex_step_says_nothing_where_the_reference_is_not_analytic(reference):
    spec = OpSpec(lambda x: Slope.apply(x), reference, lambda draw: {"x": draw.array((3,), 0.5, 1)}, ("x",))
    assert not check_complex_step(spec, spec.inputs(seeded(0)))
    assert check_operation(spec, 30).failure is None


class Narrow(Op):
    """tanh whose gradient in float32 is worse than float32 can be."""

    @staticmethod
    def forward(ctx, x):
        y = np.tanh(x)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved
        return dy * (1 - y * y) * y.dtype.type(1 + (1e-2 if y.dtype == np.float32 else 0))


def test_gradients_in_float32_are_held_against_float64():
    result = check_operation(load_subject(lambda x: Narrow.apply(x), {"x": "N"}), 10)
    assert result.failure is not None and "[float32] gradient of x" in result.failure


def test_one_wrong_element_is_found_by_moving_everything_together():
    """All inputs move along one direction; the failure still names the argument and the index."""

    class OneOff(Op):
        @staticmethod
        def forward(ctx, x):
            ctx.save(x)
            return x * x

        @staticmethod
        def backward(ctx, dy):
            (x,) = ctx.saved
            dx = 2 * x * dy
            dx[1, 2] += 1e-3
            return dx

    x = nbdl.tensor(np.random.default_rng(0).standard_normal((3, 4)), requires_grad=True)
    with pytest.raises(GradcheckError, match=r"the gradient of 0 at \[1, 2\]"):
        nbdl.testing.gradcheck(OneOff.apply, [x], directions=1)
    report = nbdl.testing.gradcheck(ops.tanh, [x], directions=2)
    assert (report.elements, report.where) == (2, "all together")


def test_a_module_keeps_its_parameters_and_buffers():
    module = nn.BatchNorm1d(3)
    before = {name: array.numpy().copy() for name, array in module.state_dict().items()}
    assert check_function(module, {"input": "4 3"}, cases=10).elements > 0
    after = module.state_dict()
    assert all(np.array_equal(before[name], after[name].numpy()) for name in before)
    assert module.weight.dtype == np.float32 and isinstance(module.weight, nn.Parameter)


def test_the_plugin_imports_nothing_until_it_is_used(tmp_path):
    (tmp_path / "test_nothing.py").write_text(
        textwrap.dedent(
            """
            import sys

            def test_nothing():
                assert "nbdl.testing.runner" not in sys.modules
            """
        )
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
