"""The CUDA side of the runtime. Importing it imports no CUDA package: that happens at the first launch."""
