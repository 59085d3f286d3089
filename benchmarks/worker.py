"""One process of a comparison: builds the case for one library, then times a block of steps on each request.

Protocol: a line `N` on standard input asks for N steps; the answer is one line of JSON, the seconds of each step.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time


def main() -> None:
    library, topic, case, threads = sys.argv[1:5]
    os.environ.setdefault("OMP_NUM_THREADS", threads)
    module = importlib.import_module(f"benchmarks.cases.{topic}")
    if library == "nbdl":
        import nbdl

        nbdl.set_num_threads(int(threads))
    else:
        import torch

        torch.set_num_threads(int(threads))
    step = getattr(module, f"{library}_step")(case)
    for _ in range(5):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mib": peak}), flush=True)


if __name__ == "__main__":
    main()
