"""Labs: the experiments behind the pages on the strengths and the limits of deep learning.

`make labs` runs them all and stores what they measured, one file an experiment, in `results/`; the pages read those
files and draw means and error bars when they are built. One experiment alone: `python -m docs.labs data-sizes`.
"""
