"""The spec table: one row per operation, one file per family."""
