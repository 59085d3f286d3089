"""Runs experiments and stores what they measured.

python -m docs.labs                all of them, as `make labs` does
python -m docs.labs overfitting    those whose names begin so
python -m docs.labs --list         their names
python -m docs.labs --quick        only try whether they work; nothing is stored
"""

from __future__ import annotations

import argparse
import os
import time

# NumPy solves the least squares of one experiment. Its BLAS adds in another order when it has more threads.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import nbdl

from . import black_box, cost, data_hunger, gan, overfitting, since_then, strengths
from .experiment import EXPERIMENTS, save

LABS = (strengths, overfitting, data_hunger, cost, black_box, gan, since_then)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m docs.labs", description="Runs the experiments behind the pages.")
    parser.add_argument("names", nargs="*", help="experiments, or what their names begin with; all when none is named")
    parser.add_argument("--list", action="store_true", help="list the experiments")
    parser.add_argument("--quick", action="store_true", help="try whether they work; store nothing")
    parser.add_argument("--threads", type=int, default=1, help="the results are the same for any number")
    options = parser.parse_args()
    nbdl.set_num_threads(options.threads)
    chosen = [e for e in EXPERIMENTS.values() if not options.names or e.name.startswith(tuple(options.names))]
    if not chosen:
        parser.error(f"no experiment named so; there are {', '.join(EXPERIMENTS)}")
    for experiment in chosen:
        if options.list:
            print(f"{experiment.name:24}{experiment.seeds:3} seeds   {experiment.about}")
            continue
        start = time.perf_counter()
        try:
            results = experiment.run(options.quick)
        except nbdl.data.DataError as error:  # data that this machine does not have: the stored results stay
            print(f"{experiment.name:24}left as it was: {error}", flush=True)
            continue
        where = "tried" if options.quick else save(results).name
        print(f"{experiment.name:24}{time.perf_counter() - start:6.1f} s   {where}", flush=True)


if __name__ == "__main__":
    main()
