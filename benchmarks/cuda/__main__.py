"""`make gpu`: versions, correctness and speed on this machine's GPU, in under ten minutes, into RESULTS-CUDA.md."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import nbdl
from benchmarks.cuda import correctness, report, speed
from benchmarks.cuda.budget import Budget
from benchmarks.cuda.cases import TINY, Sizes
from benchmarks.cuda.libraries import Library, nbdl_library, others
from nbdl.runtime.cuda import device, installation

RESULTS = Path(__file__).parent.parent / "RESULTS-CUDA.md"

NO_GPU, WRONG = 2, 1
"""Exit statuses: there is nothing to measure on; an operation is wrong."""


def versions(libraries: list[Library]) -> list[str]:
    """What was measured, and with what."""
    driver = device.driver()
    free, total = nbdl.cuda.mem_get_info()
    found = installation.look()
    packages = ", ".join(f"{name} {version}" for name, version in sorted(found.packages.items()))
    return [
        "# nbdl on a GPU",
        "",
        "Made by `make gpu`. Times are medians in milliseconds, by events, inputs taking turns.",
        "",
        f"- GPU: {nbdl.cuda.get_device_name()}, compute capability {'.'.join(map(str, driver.capability))}, "
        f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free",
        f"- driver for CUDA {'.'.join(map(str, driver.version))}; numba-cuda {found.numba_cuda}; {packages}",
        f"- Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        f"- {', '.join(f'{library.name} {library.version}' for library in libraries)}",
        "",
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Runs what is asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda", description=__doc__)
    parser.add_argument("operations", nargs="*", help="names of operations to check; all when none are named")
    parser.add_argument("--only", choices=["correctness", "speed"], help="the other half is left out")
    parser.add_argument("--examples", type=int, default=3, help="drawn inputs an operation; default: 3")
    parser.add_argument("--seconds", type=float, default=540, help="for everything; default: 540")
    parser.add_argument("--no-sanitizer", action="store_true", help="without compute-sanitizer")
    parser.add_argument("--no-write", action="store_true", help="print the report, write no file")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, for a simulated GPU")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"the report; default: {RESULTS.name}")
    given = parser.parse_args(words)
    reason = device.why_unavailable()
    if reason is not None:
        print(f"nothing was measured: {reason}", file=sys.stderr)
        return NO_GPU
    whole = Budget(given.seconds)
    sizes = TINY if given.tiny else Sizes()
    nbdl_ = nbdl_library()
    libraries = [nbdl_, *others()]
    lines = versions(libraries)
    verdict = correctness.Verdict()
    if given.only != "speed":
        # The first launch of each kernel compiles it, which is most of the time here.
        verdict = correctness.check_operations(given.examples, tuple(given.operations), Budget(0.55 * given.seconds))
        sanitizer = "left out" if given.no_sanitizer else correctness.sanitize(0.15 * given.seconds)
        lines += report.correctness(verdict, sanitizer)
    if given.only != "correctness":
        bandwidth = speed.copy_bandwidth(nbdl_, sizes, whole)
        rows = speed.memory_bound(libraries, sizes, bandwidth, Budget(whole.left() / 3))
        lines += report.table(
            f"Memory-bound operations (a copy: {bandwidth / 1e9:.0f} GB/s)", "operation", rows, "nbdl, of the copy"
        )
        rows, peak = speed.products(libraries, sizes, Budget(whole.left() / 3))
        lines += report.table(
            f"Products of matrices, float32 (the most measured: {peak / 1e12:.1f} TFLOP/s)", "sizes", rows,
            "nbdl, of the most",
        )  # fmt: skip
        rows = speed.training_steps(libraries, sizes, whole)
        lines += report.table("Training steps: forward, backward, AdamW", "model", rows)
    text = "\n".join(lines).rstrip() + "\n"
    print(text)
    if not given.no_write:
        given.out.write_text(text, encoding="utf-8")
        print(f"written to {given.out}")
    return WRONG if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
