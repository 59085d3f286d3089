"""Checks that anyone can run on kernels: numeric gradients, drawn inputs, a CUDA interpreter, PTX compilation."""
