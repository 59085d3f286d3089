"""What a GPU makes of nbdl: correctness and speed, into benchmarks/RESULTS-CUDA.md. `python -m benchmarks.cuda`."""
