"""The command line as a user meets it: what it prints, where, and how it ends."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

import nbdl
from nbdl.cli import main
from nbdl.train import CheckpointFolder

SHORT = ["train", "mlp-digits", "--epochs", "2", "--hidden", "16", "--batch-size", "128"]


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = nbdl.get_num_threads()
    yield
    nbdl.set_num_threads(threads)


def start(*words, **options):
    command = [sys.executable, "-m", "nbdl", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


# ---------------------------------------------------------------- help and wrong usage


def test_help_names_every_command(capsys):
    assert main(["--help"]) == main([]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in ("train", "list", "gradcheck", "warmup", "doctor"))
    assert max(map(len, text.splitlines())) <= 88


@pytest.mark.parametrize("command", ["list", "gradcheck", "warmup", "doctor", "train"])
def test_every_command_has_help(capsys, command):
    try:
        code = main([command, "--help"])
    except SystemExit as exit:
        code = exit.code
    assert code == 0 and capsys.readouterr().out.startswith(f"usage: nbdl {command}")


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nbdl {nbdl.__version__}\n"


def test_the_command_itself_imports_nothing_slow():
    code = "import sys, nbdl.cli; print([name for name in ('sklearn', 'nbdl.train', 'tqdm') if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_list_and_train_show_the_recipes(capsys):
    main(["list"])
    recipes = capsys.readouterr().out
    main(["train"])
    assert "mlp-digits" in recipes and "mlp-csv" in recipes and recipes in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "no command 'trian'; did you mean train?"),
        (["fly"], "no command 'fly'; expected one of train, sample, list, gradcheck, warmup, doctor"),
        (["train", "mlp-digit"], "no recipe 'mlp-digit'; did you mean mlp-digits?"),
        (
            ["train", "mlp-digits", "--epochs", "none"],
            "argument --epochs: expected a whole number from 1 up, got 'none'",
        ),
        (["train", "mlp-digits", "--epochs", "0"], "argument --epochs: expected a whole number from 1 up, got '0'"),
        (["train", "mlp-digits", "--epochs", "2.5"], "argument --epochs: expected a whole number from 1 up"),
        (["train", "mlp-digits", "--batch-size", "0"], "expected a whole number from 1 up, or \"full\", got '0'"),
        (
            ["train", "mlp-digits", "--learning-rate", "-1"],
            "argument --learning-rate: expected a number above 0, got '-1'",
        ),
        (["train", "mlp-digits", "--learning-rate", "inf"], "expected a number above 0, got 'inf'"),
        (["train", "mlp-digits", "--optimizer", "lbfgs"], "argument --optimizer: expected one of sgd, momentum"),
        (["train", "mlp-digits", "--dropout", "1"], "argument --dropout: expected a number from 0 and under 1"),
        (["train", "mlp-digits", "--hidden", "a"], "argument --hidden: expected whole numbers from 1 up"),
        (["train", "mlp-digits", "--threads", "0"], "argument --threads: expected a whole number from 1 up"),
        (["train", "mlp-digits", "--device", "tpu"], "argument --device: invalid choice"),
        (["train", "mlp-digits", "--speed", "9"], "unrecognized arguments: --speed 9"),
        (["train", "mlp-digits", "--epoch=3"], "unrecognized arguments: --epoch=3; did you mean --epochs?"),
        (["train", "mlp-csv"], "--data and --target needed"),
        (["train", "mlp-csv", "--data", "x.csv"], "--target needed"),
        (["list", "all"], "unrecognized arguments: all"),
        (["gradcheck", "--examples", "0"], "expected a whole number from 1 up, got 0"),
        (["gradcheck", "softmx"], "no operation 'softmx'"),
        (["gradcheck", "relu", "--jobs", "0"], "argument --jobs: expected a whole number from 1 up, got 0"),
        (["gradcheck", "relu", "--seed", "-1"], "argument --seed: expected a whole number from 0 up, got -1"),
        (["gradcheck", "mine:f", "--input", "x"], "argument --input: expected NAME=\"N D\", got 'x'"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(capsys, words, message):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert message in captured.err


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (None, [], "table.csv: expected a CSV file, got no such file or directory"),
        ("", [], "table.csv: expected a header and rows, got an empty file"),
        ("a,y\n1,u\n2\n", [], "line 3: expected 2 cells as in line 1, got 1"),
        (
            "a,y\nred,u\n2,v\n",
            [],
            "line 2, column 'a': expected a number (or name the column in categorical), got 'red'",
        ),
        ("a,b\n1,u\n2,v\n", [], "target: expected one of the columns 'a', 'b', got 'y'"),
        ("a,y\n1,u\n2,u\n", [], "target 'y': expected at least two classes, got 'u' in every row"),
        ("a,y\n1,u\n2,nan\n", [], "line 3, column 'y': expected a value, got a missing value ('nan')"),
        ("a,y\n1,u\n2,v\n3,v\n", ["--task", "regression"], "line 2, column 'y': expected a number to regress on"),
        (
            "a,y\n1,u\n2,v\n3,v\n",
            ["--test-fraction", "0.9"],
            "rows: expected at least one row on each side of the split",
        ),
    ],
)
def test_bad_tables_are_one_line_and_code_1(capsys, tmp_path, text, words, message):
    if text is not None:
        (tmp_path / "table.csv").write_text(text)
    assert main(["train", "mlp-csv", "--data", "table.csv", "--target", "y", *words]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1 and message in captured.err


def test_an_unwritable_output_folder_is_said_before_training(capsys, tmp_path):
    (tmp_path / "runs").write_text("a file")
    assert main(SHORT) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: runs/mlp-digits: expected a folder to write to, got ")


def test_resuming_nothing(capsys, tmp_path):
    assert main([*SHORT, "--resume"]) == 1
    assert "checkpoint.safetensors: expected a checkpoint, got no such file" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_debug_shows_where(capsys):
    with pytest.raises(ValueError, match="no such file"):
        main(["train", "mlp-csv", "--data", "none.csv", "--target", "y", "--debug"])


def test_unforeseen_errors_are_one_line_too(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbdl.runtime.diagnosis", None)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err.startswith("error: ModuleNotFoundError: ")


# ---------------------------------------------------------------- training


def test_train_prints_a_table_and_the_metric_last(capsys, tmp_path):
    assert main(SHORT) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert re.fullmatch(r"test_accuracy=0\.\d{4}", lines[-1])
    assert [line.split()[0] for line in lines if "/2 " in line] == ["1/2", "2/2"]
    assert captured.err == "", "no bar where there is no terminal"
    result = json.loads((tmp_path / "runs" / "mlp-digits" / "result.json").read_text())
    assert f"test_accuracy={result['test_accuracy']:.4f}" == lines[-1] and result["settings"]["batch_size"] == 128
    metrics = [
        json.loads(line) for line in (tmp_path / "runs" / "mlp-digits" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [record["epoch"] for record in metrics] == [1, 2]


def test_threads_do_not_change_the_result(capsys, tmp_path):
    for threads in ("1", "2", "4"):
        assert main([*SHORT, "--threads", threads, "--out", threads]) == 0
    files = [(tmp_path / threads / "model.safetensors").read_bytes() for threads in ("1", "2", "4")]
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize("batch_size", ["1", "full"])
def test_batch_size(capsys, batch_size):
    assert main(["train", "mlp-digits", "--epochs", "1", "--hidden", "8", "--batch-size", batch_size]) == 0
    metrics = json.loads(Path("runs/mlp-digits/metrics.jsonl").read_text())
    assert metrics["step"] == {"1": 1293, "full": 1}[batch_size]


def test_train_a_table(capsys, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        f"{a:.3f},{'north' if b > 0 else 'south'},{a + (2 if b > 0 else -2):.3f}"
        for a, b in rng.standard_normal((120, 2))
    ]
    (tmp_path / "table.csv").write_text("a,side,y\n" + "\n".join(rows))
    words = ["train", "mlp-csv", "--data", "table.csv", "--target", "y", "--categorical", "side", "--epochs", "50"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert float(re.search(r"^test_r2=(.*)$", out, re.M)[1]) > 0.9
    assert main(["train", "mlp-csv", "--resume"]) == 0, "a resumed run knows its table"
    assert out.splitlines()[-1] == capsys.readouterr().out.splitlines()[-1]


def test_a_run_that_diverges_keeps_its_checkpoint(capsys):
    words = [
        "train",
        "mlp-digits",
        "--optimizer",
        "sgd",
        "--learning-rate",
        "1e30",
        "--batch-size",
        "full",
        "--epochs",
        "9",
    ]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "try a smaller learning rate (it was " in error


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


LONG = ["train", "mlp-digits", "--epochs", "60", "--hidden", "32"]


def epochs_done():
    path = Path("runs/mlp-digits/metrics.jsonl")
    return path.read_text().count("\n") if path.exists() else 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_saved_resumed(tmp_path, capsys, number, code):
    process = start(*LONG)
    wait_for(lambda: epochs_done() >= 2, process)
    process.send_signal(number)
    _, error = process.communicate(timeout=300)
    assert process.returncode == code
    assert error.splitlines()[-1] == (
        "interrupted: saved runs/mlp-digits/checkpoint.safetensors; "
        "to go on: nbdl train mlp-digits --epochs 60 --hidden 32 --resume"
    )
    assert "Traceback" not in error
    assert main([*LONG, "--resume"]) == 0
    assert main([*LONG, "--out", "whole"]) == 0
    parts, whole = (tmp_path / folder / "model.safetensors" for folder in ("runs/mlp-digits", "whole"))
    assert parts.read_bytes() == whole.read_bytes()


def test_killed_without_warning_resumed(tmp_path):
    process = start(*LONG)
    wait_for(lambda: epochs_done() >= 2, process)
    process.kill()
    process.communicate()
    assert CheckpointFolder("runs/mlp-digits").load()[0]["epoch"] >= 1
    assert main([*LONG, "--resume"]) == 0
    assert main([*LONG, "--out", "whole"]) == 0
    parts, whole = (tmp_path / folder / "model.safetensors" for folder in ("runs/mlp-digits", "whole"))
    assert parts.read_bytes() == whole.read_bytes()


def test_a_terminal_sees_a_bar():
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (30, 100))
    command = [sys.executable, "-m", "nbdl", *SHORT, "--batch-size", "4"]
    process = subprocess.Popen(command, stdout=follower, stderr=follower, stdin=follower)
    os.close(follower)
    seen = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(leader)
    assert process.wait() == 0
    text = seen.decode()
    assert re.search(r"1/2 .*% .*/324", text) and "test_accuracy=" in text


def test_a_reader_that_goes_away_is_no_error():
    process = start("list")
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()


# ---------------------------------------------------------------- the other commands


def test_doctor(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for topic in ("Python", "packages", "CPU", "threads", "cache", "CUDA", "data"):
        assert re.search(rf"^  (ok|note|fault) +{topic} ", out, re.M), topic


def test_doctor_tells_where_the_cache_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    environment = {**os.environ, "NBDL_CACHE_DIR": str(tmp_path / "file" / "cache")}
    out = start("doctor", env=environment).communicate()[0]
    assert re.search(r"note +cache +.*cannot be used\n +-> .*NBDL_CACHE_DIR", out)


def test_gradcheck_reports(capsys):
    assert main(["gradcheck", "relu", "matmul", "--examples", "5"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^  relu +\d+ +[\d,]+ +\d+ +\d+ +\d\.\d+ ", out, re.M)
    assert re.search(
        r"^\d+ operations, [\d,]+ cases, [\d,]+ gradients, \d+ kinks skipped, \d+ complex steps, largest error 0\.\d",
        out,
        re.M,
    )


def test_gradcheck_fails_with_a_reproducer(capsys, monkeypatch):
    from nbdl.testing import runner

    def broken(spec, case, directions):
        raise AssertionError("gradient of input[0]: 1.0, numeric 2.0")

    monkeypatch.setattr(runner.properties, "check_gradients", broken)
    assert main(["gradcheck", "relu", "--examples", "3"]) == 1
    captured = capsys.readouterr()
    assert "FAILED" in captured.out and "numeric 2.0" in captured.err and "replay('relu'" in captured.err
    assert re.fullmatch(r"error: (\d) of \1 rows failed", captured.err.splitlines()[-1])


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_warmup_leaves_nothing_to_compile(capsys, monkeypatch, jobs):
    from nbdl.train import warmup

    monkeypatch.setattr(warmup, "warm_up_names", lambda: ["relu", "matmul", "adamw"])
    assert main(["warmup", "--jobs", jobs]) == 0
    capsys.readouterr()
    assert main(["warmup", "--jobs", jobs]) == 0
    assert capsys.readouterr().out.startswith("everything was in the cache already")


def test_warmup_goes_on_after_a_failure(capsys, monkeypatch):
    from nbdl.train import warmup

    def broken(spec, case, dtype):
        raise ValueError("no such kernel")

    monkeypatch.setattr(warmup, "warm_up_names", lambda: ["relu", "adamw"])
    monkeypatch.setattr(warmup.properties, "run", broken)
    assert main(["warmup", "--jobs", "1"]) == 1
    assert "relu: ValueError: no such kernel\nerror: 1 could not be warmed up" in capsys.readouterr().err
