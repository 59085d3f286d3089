"""What a trusted engine promises, proved: `python -m tests.reliability` repeats every proof and stores its figures."""
