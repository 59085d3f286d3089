"""Bad input: whatever a public function is given, it answers with a named error or with a valid result.

Each call begins as a good one; one or two of its arguments are then replaced by values of another kind, rank, size,
dtype, memory or range. The calls run in a process of their own with limited memory, so that a crash or a hang is seen
and the call behind it named.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import json
import os
import queue
import re
import resource
import subprocess
import sys
import threading
import traceback
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

import nbdl
from nbdl import ops
from nbdl.autograd import Tensor
from nbdl.data import DataError
from nbdl.runtime.errors import NbdlError
from tests.reliability import bad_subjects, bad_values
from tests.reliability.area import Area, BrokenPromiseError, part

CALLS = 40
"""Calls of each function, of all its kinds together."""
MEMORY = 6 << 30
PATIENCE = 180
"""Seconds without a sign of life after which a call hangs."""
CALL_ERRORS = re.compile(
    r"^[\w.<>]+\(\) (got an unexpected keyword|missing \d+ required|takes \d+ positional|got multiple values"
    r"|argument after \* must be)|argument after \* must be an iterable"
)
NAMED = (NbdlError, DataError, MemoryError)


# ---------------------------------------------------------------- one call


def attempt(subject: bad_subjects.Subject, seed: int) -> tuple[str, str]:
    """Makes one bad call. What became of it, and what is wrong with that (nothing: the empty string)."""
    rng = np.random.default_rng([seed, zlib.crc32(subject.name.encode())])
    function, arguments = subject.make(rng)
    names = list(arguments)
    for name in rng.choice(names, size=min(len(names), 1 + int(rng.integers(4) == 0)), replace=False) if names else ():
        arguments[str(name)] = bad_values.instead_of(arguments[str(name)], rng)
    try:
        result = function(**arguments)
        for y in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(y, Tensor):
                y.numpy() if not y.requires_grad else y.detach().numpy()
                if y.requires_grad and y.numel() < 10**6:
                    ops.sum(y).backward()
        wrong = subject.judge(arguments, result) if subject.judge is not None else ""
    except NAMED as error:
        return "refused", "" if str(error) or isinstance(error, MemoryError) else "an error without a message"
    except Exception as error:
        if isinstance(error, TypeError) and CALL_ERRORS.search(str(error)):
            return "refused", ""  # Python itself: the call does not fit the signature
        if "/nbdl/testing/specs/" in traceback.extract_tb(error.__traceback__)[-1].filename:
            return "refused", ""  # the row could not hand the argument on
        if isinstance(error, IndexError) and subject.name.endswith("[]"):
            return "refused", ""  # by which Python knows where a sequence ends
        frames = traceback.extract_tb(error.__traceback__)
        where = next((f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames) if "/nbdl/" in f.filename), "")
        return "wrong", f"{type(error).__name__}: {str(error)[:160]} ({where})"
    return ("wrong", wrong) if wrong else ("answered", "")


def describe(subject: bad_subjects.Subject, seed: int) -> str:
    """The arguments of a call, for people."""
    rng = np.random.default_rng([seed, zlib.crc32(subject.name.encode())])
    _, arguments = subject.make(rng)
    names = list(arguments)
    for name in rng.choice(names, size=min(len(names), 1 + int(rng.integers(4) == 0)), replace=False) if names else ():
        arguments[str(name)] = bad_values.instead_of(arguments[str(name)], rng)
    return ", ".join(f"{name}={_short(value)}" for name, value in arguments.items())


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype}{list(value.shape)}" + (" " + str(value.tolist()) if value.numel() < 7 else "")
    if isinstance(value, np.ndarray):
        return f"array {value.dtype}{list(value.shape)}"
    return repr(value)[:80]


# ---------------------------------------------------------------- the process that calls


def work(names: list[str], calls: int, seed: int, skip: int) -> None:
    """Makes the calls and says before and after each what happens, a line of JSON each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    warnings.simplefilter("ignore")
    nbdl.set_num_threads(1)
    table = {subject.name: subject for subject in bad_subjects.subjects()}
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    number = 0
    with np.errstate(all="ignore"):
        for name in names:
            for call in range(calls):
                number += 1
                if number <= skip:
                    continue
                print(json.dumps([name, seed + call]), file=out)
                nbdl.manual_seed(0)
                what, wrong = attempt(table[name], seed + call)
                print(json.dumps([what, wrong]), file=out)


def run(names: list[str], calls: int, seed: int) -> tuple[dict[str, int], list[tuple[str, int, str]]]:
    """Lets a process call each function; begins another one behind a call that crashed or hung."""
    counts: dict[str, int] = collections.Counter()
    findings: list[tuple[str, int, str]] = []
    done = 0
    while done < len(names) * calls:
        command = [sys.executable, "-m", "tests.reliability.bad_input", "--seed", str(seed), "--skip", str(done)]
        process = subprocess.Popen(
            [*command, "--calls", str(calls), *names], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
        )
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=_feed, args=(process, lines), daemon=True).start()
        current: tuple[str, int] | None = None
        while True:
            try:
                line = lines.get(timeout=PATIENCE)
            except queue.Empty:
                process.kill()
                line = ""
            if not line:
                break
            first, second = json.loads(line)
            if current is None:
                current = first, second
                continue
            counts[first] += 1
            if first == "wrong":
                findings.append((*current, second))
            done, current = done + 1, None
        code = process.wait()
        if current is not None:
            counts["crashed"] += 1
            findings.append((*current, f"the process ended with code {code}"))
            done += 1
        elif done < len(names) * calls:
            raise BrokenPromiseError(f"the process that calls ended with code {code} between calls")
    return counts, findings


def _feed(process: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


# ---------------------------------------------------------------- the promise


def prove(share: float) -> dict[str, Any]:
    """All functions with all calls; a share under 1 takes fewer calls and every so many functions."""
    names = [subject.name for subject in bad_subjects.subjects()]
    calls = part(CALLS, min(1.0, share * 8))
    step = max(1, round(calls / (CALLS * share)))
    counts, findings = run(names[::step], calls, seed=0)
    if findings:
        table = {subject.name: subject for subject in bad_subjects.subjects()}
        said = [f"{name} (seed {seed}): {what}: {describe(table[name], seed)}" for name, seed, what in findings[:40]]
        raise BrokenPromiseError(f"{len(findings)} calls end in something else:\n" + "\n".join(said))
    return {
        "functions, methods and modules": len(names[::step]),
        "calls": sum(counts.values()),
        "named errors": counts["refused"],
        "valid results": counts["answered"],
        "crashes, hangs and other errors": 0,
    }


AREA = Area(
    "bad-input",
    "at least 30 bad calls of each public function, at least 20,000 in all: a named error or a valid result each time",
    prove,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", type=int, default=0)
    chosen = parser.parse_args()
    work(chosen.names, chosen.calls, chosen.seed, chosen.skip)


if __name__ == "__main__":
    main()
