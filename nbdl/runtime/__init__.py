"""What kernels need from the machine: compilation, threads, memory, scalar mathematics, random numbers."""
