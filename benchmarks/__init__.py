"""Benchmarks: nbdl and PyTorch in separate processes, in turn. `python -m benchmarks --help`."""
